"""What is asked of a model, what it replies, and the port that carries the one to the other."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Protocol

import rfc8785

from equipoise.errors import UsageError

__all__ = ["Provider", "Reply", "Request", "Usage"]

_OURS = frozenset({"model", "messages", "stream", "stream_options", "n"})


def _none() -> Mapping[str, Any]:
    return MappingProxyType({})


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One question to a model: its messages and sampling parameters.

    `about` says what the question is for (`case`, `variant`); it is never sent and not part of the digest.
    """

    model: str
    messages: tuple[Mapping[str, Any], ...]
    params: Mapping[str, Any] = field(default_factory=_none)
    about: Mapping[str, str] = field(default_factory=_none, compare=False)

    def __post_init__(self) -> None:
        if taken := sorted(_OURS.intersection(self.params)):
            raise UsageError(
                f"the parameter {', '.join(taken)} is set by Equipoise and cannot stand among `params`; remove it"
            )

    def wire(self) -> dict[str, Any]:
        """The body of a chat completion, as plain JSON.

        >>> Request(model="m", messages=({"role": "user", "content": "Hi"},), params={"seed": 7}).wire()
        {'seed': 7, 'model': 'm', 'messages': [{'role': 'user', 'content': 'Hi'}]}
        """
        body: dict[str, Any] = _plain(self.params)
        return body | {"model": self.model, "messages": _plain(self.messages)}

    @property
    def digest(self) -> str:
        """SHA-256 of what is sent, in canonical JSON (RFC 8785): the order of keys does not matter.

        >>> Request(model="m", messages=({"role": "user", "content": "Hi"},)).digest[:12]
        '3b13ba4d5238'
        """
        try:
            return hashlib.sha256(rfc8785.dumps(self.wire())).hexdigest()
        except (rfc8785.CanonicalizationError, ValueError) as error:
            raise UsageError(
                f"a request to {self.model} holds something that JSON cannot say exactly: {error}; "
                "write large numbers in `params` as text"
            ) from None


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens read and written, as the endpoint counted them."""

    input_tokens: int
    output_tokens: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """What a model answered; what was not said or not measured is None, not zero."""

    text: str
    model: str
    finish_reason: str | None = None
    usage: Usage | None = None
    latency_s: float | None = None
    fingerprint: str | None = None


class Provider(Protocol):
    """Something that answers requests. Raises UpstreamError where it gets no usable answer."""

    async def complete(self, request: Request) -> Reply:
        """Answer one request."""
        ...

    async def aclose(self) -> None:
        """Let go of connections; harmless when called twice."""
        ...


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value
