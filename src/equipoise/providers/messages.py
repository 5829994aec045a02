"""What is asked of a model, what it replies, and the port that carries the one to the other."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Protocol

import rfc8785

from equipoise.errors import UsageError

__all__ = ["Embedded", "Embedder", "Provider", "Reply", "Request", "Usage"]

_OURS = frozenset({"model", "messages", "stream", "stream_options", "n"})


def _none() -> Mapping[str, Any]:
    return MappingProxyType({})


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One question to a model: its messages and sampling parameters.

    `wishes` are parameters that an endpoint may not know (a seed, a reply by JSON Schema, log-probabilities):
    one that refuses them is asked again without. `draw` tells apart independent answers to the same request
    (which sample, for which variant). `about` says what the question is for (`case`, `variant`). Neither of
    the two is sent or part of the digest.
    """

    model: str
    messages: tuple[Mapping[str, Any], ...]
    params: Mapping[str, Any] = field(default_factory=_none)
    wishes: Mapping[str, Any] = field(default_factory=_none)
    draw: str = ""
    about: Mapping[str, str] = field(default_factory=_none, compare=False)

    def __post_init__(self) -> None:
        if taken := sorted(_OURS.intersection({*self.params, *self.wishes})):
            raise UsageError(
                f"the parameter {', '.join(taken)} is set by Equipoise and cannot stand among `params`; remove it"
            )

    def wire(self, *, plainly: bool = False) -> dict[str, Any]:
        """The body of a chat completion, as plain JSON; `plainly` leaves the wishes out.

        >>> Request(model="m", messages=({"role": "user", "content": "Hi"},), params={"seed": 7}).wire()
        {'seed': 7, 'model': 'm', 'messages': [{'role': 'user', 'content': 'Hi'}]}
        """
        body: dict[str, Any] = {} if plainly else _plain(self.wishes)
        body |= _plain(self.params)
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
    """What a model answered; what was not said or not measured is None, not zero.

    `likely` holds, for each token of the text, the tokens that might have stood there with their natural
    log-probabilities, where they were asked for and offered. `granted` is False where the endpoint refused
    the request's wishes and answered without them. `cost_usd` is what the reply cost when it was given,
    a replayed one too; None where the price is not known. `context` holds the passages that an application
    retrieved for its answer.
    """

    text: str
    model: str
    finish_reason: str | None = None
    usage: Usage | None = None
    latency_s: float | None = None
    fingerprint: str | None = None
    likely: tuple[tuple[tuple[str, float], ...], ...] | None = None
    granted: bool = True
    cost_usd: float | None = None
    context: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Embedded:
    """The vectors of some texts, in their order, and what the endpoint said of itself."""

    vectors: tuple[tuple[float, ...], ...]
    model: str
    usage: Usage | None = None


class Provider(Protocol):
    """Something that answers requests. Raises UpstreamError where it gets no usable answer.

    One that has an `origin` (a text without secrets, such as its base URL) is told apart by it from others
    that are asked the same.
    """

    async def complete(self, request: Request) -> Reply:
        """Answer one request."""
        ...

    async def aclose(self) -> None:
        """Let go of connections; harmless when called twice."""
        ...


class Embedder(Protocol):
    """Something that turns texts into vectors. Raises UpstreamError where it gets none."""

    async def embed(self, model: str, texts: Sequence[str]) -> Embedded:
        """One vector a text, all of one length."""
        ...


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value
