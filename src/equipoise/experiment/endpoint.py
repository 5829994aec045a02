"""Where a variant's requests go: the endpoint, how long it may take, and what answers where it does not."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any
from urllib.parse import urlsplit

from equipoise.experiment.amount import parse_duration

__all__ = ["Endpoint", "Fallback", "Timeouts", "parse_endpoint"]

_ENVIRONMENT = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_MOST_RETRIES = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Timeouts:
    """Patience in seconds: to connect, until the first byte, between two chunks, and in all."""

    connect: float = 5.0
    first_byte: float = 60.0
    between_chunks: float = 30.0
    total: float = 600.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Fallback:
    """What answers instead where the endpoint fails; the turn stays in its arm and is marked."""

    model: str | None = None
    base_url: str | None = None
    key_env: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """Where an arm's requests go; None means the gateway's own upstream, and its key.

    `retries` are made before the first byte and stay in the arm; connections refused, timeouts before the first
    byte and the statuses 429, 500, 502, 503 and 504 are tried again. The offline gate keeps to
    `requests_per_minute` and `tokens_per_minute` (at least 1; None: no limit); live traffic is not held up.
    """

    base_url: str | None = None
    key_env: str | None = None
    retries: int = 1
    timeouts: Timeouts = Timeouts()
    fallback: Fallback | None = None
    requests_per_minute: float | None = None
    tokens_per_minute: float | None = None


def parse_endpoint(said: Mapping[str, Any]) -> Endpoint:
    """Read a variant's `endpoint`; ValueError(path, problem, accepted) for what cannot be used.

    >>> parse_endpoint({"base_url": "http://127.0.0.1:8000/v1", "timeouts": {"total": "2m"}}).timeouts.total
    120.0
    """
    _known(said, Endpoint, ())
    return Endpoint(
        base_url=_url(said.get("base_url"), ("base_url",)),
        key_env=_variable(said.get("key_env"), ("key_env",)),
        retries=_count(said.get("retries", 1)),
        timeouts=_timeouts(said.get("timeouts", {})),
        fallback=_fallback(said["fallback"]) if "fallback" in said else None,
        requests_per_minute=_rate(said, "requests_per_minute"),
        tokens_per_minute=_rate(said, "tokens_per_minute"),
    )


def _known(said: object, form: type, path: tuple[str, ...]) -> None:
    names = [each.name for each in fields(form)]
    if not isinstance(said, Mapping):
        raise ValueError(path, f"{said!r} cannot be read here", f"a mapping with {', '.join(names)}")
    for key in said:
        if key not in names:
            raise ValueError((*path, key), f"unknown key '{key}'", ", ".join(names))


def _url(value: object, path: tuple[str, ...]) -> str | None:
    if value is None:
        return None
    accepted = "a URL such as https://api.example.org/v1, without user, password, query or fragment"
    try:
        parts = urlsplit(value if isinstance(value, str) else "")
        usable = (
            parts.scheme in ("http", "https")
            and bool(parts.hostname)
            and parts.port != 0
            and not (parts.username or parts.password or parts.query or parts.fragment)
            and not any(each.isspace() or not each.isprintable() for each in str(value))
        )
    except ValueError:
        usable = False
    if not usable:
        raise ValueError(path, "this is not the address of an endpoint", accepted)
    return str(value).rstrip("/")


def _variable(value: object, path: tuple[str, ...]) -> str | None:
    if value is None:
        return None
    if not isinstance(value, str) or not _ENVIRONMENT.fullmatch(value):
        # The value is not repeated: it may be the key itself.
        raise ValueError(
            path, "this is not the name of an environment variable", "a name such as OPENAI_API_KEY"
        )
    return value


def _rate(said: Mapping[str, Any], name: str) -> float | None:
    value = said.get(name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not 1 <= value < float("inf"):
        raise ValueError((name,), f"{value!r} cannot be read here", "a number from 1 on")
    return float(value)


def _count(value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= _MOST_RETRIES:
        raise ValueError(("retries",), f"{value!r} cannot be read here", f"a whole number to {_MOST_RETRIES}")
    return value


def _timeouts(said: Any) -> Timeouts:
    _known(said, Timeouts, ("timeouts",))
    values = {}
    for name, value in said.items():
        try:
            seconds = float(value) if isinstance(value, int | float) else parse_duration(value)
        except ValueError:
            seconds = 0.0
        if isinstance(value, bool) or not 0 < seconds <= 86_400:
            raise ValueError(
                ("timeouts", name), f"{value!r} cannot be read here", "a duration such as '30s', to one day"
            )
        values[name] = seconds
    return Timeouts(**values)


def _fallback(said: Any) -> Fallback:
    path = ("fallback",)
    _known(said, Fallback, path)
    model = said.get("model")
    if model is not None and not (isinstance(model, str) and model.strip()):
        raise ValueError((*path, "model"), f"{model!r} cannot be read here", "the name of a model")
    found = Fallback(
        model=model,
        base_url=_url(said.get("base_url"), (*path, "base_url")),
        key_env=_variable(said.get("key_env"), (*path, "key_env")),
    )
    if found == Fallback():
        raise ValueError(path, "a fallback is another model or another endpoint", "model, base_url, key_env")
    return found
