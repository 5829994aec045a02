"""The only file that reads the environment."""

from __future__ import annotations

import getpass
import os
from pathlib import Path

from .errors import UsageError

__all__ = ["base_url", "default_log", "key", "user"]

DEFAULT_LOG = "equipoise.db"
DEFAULT_BASE_URL = "https://api.openai.com/v1"


def default_log() -> Path:
    """Where the log is: EQUIPOISE_LOG, or `equipoise.db` in the working folder."""
    return Path(os.environ.get("EQUIPOISE_LOG") or DEFAULT_LOG)


def base_url() -> str:
    """The OpenAI-compatible endpoint: EQUIPOISE_BASE_URL, OPENAI_BASE_URL, or OpenAI's own."""
    return os.environ.get("EQUIPOISE_BASE_URL") or os.environ.get("OPENAI_BASE_URL") or DEFAULT_BASE_URL


def key(name: str) -> str:
    """The secret in the environment variable of that name; UsageError where it is not set."""
    value = os.environ.get(name)
    if not value:
        raise UsageError(
            f"the environment variable {name} is not set, and the endpoint wants a key. "
            f"Set it (export {name}=…), or name another with `key_env:`"
        )
    return value


def user() -> str:
    """Who is acting, for the record: EQUIPOISE_USER, or the login name."""
    try:
        return os.environ.get("EQUIPOISE_USER") or getpass.getuser()
    except (KeyError, OSError):
        return "unknown"
