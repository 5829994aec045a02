"""The only file that reads the environment."""

from __future__ import annotations

import getpass
import os
import re
from urllib.parse import unquote

from equipoise.errors import UsageError

__all__ = [
    "alerts",
    "base_url",
    "connect",
    "default_log",
    "outbox_headers",
    "place",
    "spans_wanted",
    "upstream",
    "user",
    "variable",
]

DEFAULT_LOG = "equipoise.db"
DEFAULT_BASE_URL = "https://api.openai.com/v1"
# RFC 9110, section 5.6.2: what a name of a header is made of.
_HEADER = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")


def default_log() -> str:
    """Where the log is: EQUIPOISE_LOG, a path or an address, or `equipoise.db` in the working folder."""
    return os.environ.get("EQUIPOISE_LOG") or DEFAULT_LOG


def alerts() -> str | None:
    """The file that says where alerts go: EQUIPOISE_ALERTS; None where nobody is told."""
    return os.environ.get("EQUIPOISE_ALERTS") or None


def base_url() -> str:
    """The OpenAI-compatible endpoint: EQUIPOISE_BASE_URL, OPENAI_BASE_URL, or OpenAI's own."""
    return os.environ.get("EQUIPOISE_BASE_URL") or os.environ.get("OPENAI_BASE_URL") or DEFAULT_BASE_URL


def connect(named: str | None, key_name: str) -> tuple[str, str | None]:
    """The base URL to use and its key: the definition's URL, else the environment's.

    The key is read from the environment variable that the definition names. OpenAI's own endpoint cannot
    be used without one (UsageError); another may not want any.
    """
    url = named or base_url()
    key = os.environ.get(key_name) or None
    if key is None and url == DEFAULT_BASE_URL:
        raise UsageError(
            f"the environment variable {key_name} is not set, and {url} wants a key. Set it (export {key_name}=…), "
            "name another variable with `key_env:`, or use another endpoint with EQUIPOISE_BASE_URL"
        )
    return url, key


def place(named: str | None, key_name: str) -> tuple[str, str | None]:  # noqa: ARG001 - as `connect`
    """As `connect`, for a look ahead that asks nobody: a missing key does not matter."""
    return named or base_url(), None


def upstream(named: str | None) -> tuple[str, str | None]:
    """Where a gateway passes requests on to that no variant places, and the key for it (OPENAI_API_KEY)."""
    return named or base_url(), variable("OPENAI_API_KEY")


def variable(name: str) -> str | None:
    """The value of an environment variable that a definition or a command names; None where it is not set."""
    return os.environ.get(name) or None


def spans_wanted() -> bool:
    """Whether OpenTelemetry's own variables name a collector, and do not switch it off."""
    named = variable("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT") or variable("OTEL_EXPORTER_OTLP_ENDPOINT")
    off = os.environ.get("OTEL_SDK_DISABLED", "").lower() == "true"
    return named is not None and not off and os.environ.get("OTEL_TRACES_EXPORTER", "otlp") != "none"


def outbox_headers() -> dict[str, str]:
    """What a collector must be shown: EQUIPOISE_OUTBOX_HEADERS, as `authorization=Bearer%20abc,x-tenant=7`.

    Written as OpenTelemetry writes its own: pairs between commas, special characters of a value as %20. UsageError
    for what is no such pair; the message repeats no value.
    """
    headers: dict[str, str] = {}
    for number, pair in enumerate((os.environ.get("EQUIPOISE_OUTBOX_HEADERS") or "").split(","), 1):
        name, equals, value = (part.strip() for part in pair.partition("="))
        if not name and not equals:
            continue
        said = unquote(value)
        if not equals or not _HEADER.fullmatch(name) or not said.isprintable():
            raise UsageError(
                f"pair {number} of EQUIPOISE_OUTBOX_HEADERS is no header; accepted: name=value,name=value, "
                "with commas and special characters of a value written as %2C"
            )
        headers[name.lower()] = said
    return headers


def user() -> str:
    """Who is acting, for the record: EQUIPOISE_USER, or the login name."""
    try:
        return os.environ.get("EQUIPOISE_USER") or getpass.getuser()
    except (KeyError, OSError):
        return "unknown"
