"""Headers on their way through: what the upstream is to see of the client, and the client of the upstream."""

from __future__ import annotations

from collections.abc import Mapping

from equipoise.gateway.http1 import Exchange

__all__ = ["passed_back", "passed_on"]

_PASSED_BACK = frozenset(
    {"x-request-id", "retry-after", "openai-processing-ms", "openai-organization", "openai-version"}
)
_KEPT_BACK = frozenset(
    {
        "accept",
        "accept-encoding",
        "api-key",
        "authorization",
        "connection",
        "content-encoding",
        "content-length",
        "content-type",
        "cookie",
        "expect",
        "forwarded",
        "host",
        "http2-settings",
        "keep-alive",
        "ocp-apim-subscription-key",
        "proxy-authenticate",
        "proxy-authorization",
        "proxy-connection",
        "te",
        "trailer",
        "traceparent",
        "transfer-encoding",
        "upgrade",
        "via",
        "x-access-token",
        "x-amz-security-token",
        "x-api-key",
        "x-auth-token",
        "x-goog-api-key",
        "x-real-ip",
    }
)
_OURS = ("x-equipoise-", "x-forwarded-")


def passed_on(exchange: Exchange, parent: str) -> bytes:
    """The client's headers that the upstream is to see: none of its credentials, and nothing of the hop."""
    hop = exchange.headers.get("connection", "").lower()
    named = {each.strip() for each in hop.split(",")} if hop not in ("", "keep-alive", "close") else ()
    said = [
        f"{name}: {value}\r\n"
        for name, value in exchange.headers.items()
        if name not in _KEPT_BACK and not name.startswith(_OURS) and name not in named
    ]
    said.append(f"traceparent: {parent}\r\n")
    return "".join(said).encode("latin-1", "replace")


def passed_back(headers: Mapping[str, str]) -> bytes:
    """The upstream's headers that the client is to see, as lines."""
    said = [
        f"{name}: {value}\r\n"
        for name, value in headers.items()
        if name in _PASSED_BACK or name.startswith("x-ratelimit-")
    ]
    return "".join(said).encode("latin-1") if said else b""
