"""An endpoint that speaks the OpenAI protocol, asked over HTTP with bounded patience."""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import Any, Self

import orjson

from equipoise.errors import UpstreamError
from equipoise.providers.messages import Reply, Request
from equipoise.providers.posting import Endpoint, RefusedError, kind_of, usage_of

__all__ = ["OpenAICompatible"]

_CHARACTERS_A_TOKEN = 4.0
"""Roughly, for English and most tokenisers."""

_LONGEST_WORD = 200
"""So much is taken of what an endpoint calls itself: it is kept with every score."""

Likely = tuple[tuple[tuple[str, float], ...], ...]


class OpenAICompatible:
    """A Provider for `POST {base_url}/chat/completions`.

    What may pass (429, 5xx, a broken connection, a timeout) is tried again up to `retries` times: after a
    jittered, doubling pause drawn from `rng`; or, where the endpoint asks for a time in Retry-After, after
    that, and until then nothing at all is asked. A question that is told to wait while others get through
    waits on. An endpoint that asks for more than `longest_wait_s` is not waited for.

    An endpoint that refuses a request for its wishes (400 or 422) is asked once more without them; where
    that works, wishes of those names are not sent to that model again, and replies are not `granted`.

    `requests_per_minute` and `tokens_per_minute` (at least 1; None: no limit) are kept to in any minute,
    retries included; a request counts for its characters over four and its `max_tokens`. How much is asked
    at once is the callers' affair. Raises UsageError for a base URL that cannot be asked. Messages of errors
    hold neither the key nor any part of the prompt, nor what the endpoint wrote, which may repeat them.
    """

    def __init__(
        self,
        base_url: str,
        *,
        api_key: str | None = None,
        rng: random.Random,
        timeout_s: float = 120.0,
        retries: int = 4,
        first_wait_s: float = 0.5,
        longest_wait_s: float = 60.0,
        headers: Mapping[str, str] | None = None,
        requests_per_minute: float | None = None,
        tokens_per_minute: float | None = None,
    ) -> None:
        self._endpoint = Endpoint(
            base_url,
            "chat/completions",
            api_key=api_key,
            rng=rng,
            timeout_s=timeout_s,
            retries=retries,
            first_wait_s=first_wait_s,
            longest_wait_s=longest_wait_s,
            headers=headers,
            requests_per_minute=requests_per_minute,
            tokens_per_minute=tokens_per_minute,
        )
        self._refused: set[tuple[str, frozenset[str]]] = set()

    @property
    def origin(self) -> str:
        """The base URL, without its query: which endpoint this is, and nothing secret."""
        return self._endpoint.origin

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    async def complete(self, request: Request) -> Reply:
        """Ask, patiently; `latency_s` is that of the try that succeeded."""
        wishes = (request.model, frozenset(request.wishes))
        if not request.wishes or wishes in self._refused:
            return await self._ask(request, plainly=True)
        try:
            return await self._ask(request, plainly=False)
        except RefusedError:
            # If the wishes were not the reason, this is refused as well, and nothing is learnt.
            reply = await self._ask(request, plainly=True)
            self._refused.add(wishes)
            return reply

    async def aclose(self) -> None:
        """Close the connections; a later `complete` opens new ones."""
        await self._endpoint.aclose()

    async def _ask(self, request: Request, *, plainly: bool) -> Reply:
        body = orjson.dumps(request.wire(plainly=plainly))
        tokens = _tokens(request) if self._endpoint.counts_tokens else 0.0
        raw, latency_s = await self._endpoint.post(body, tokens=tokens)
        try:
            answer = orjson.loads(raw)
            choice = answer["choices"][0]
            text = _text(choice["message"].get("content"))
        except (orjson.JSONDecodeError, KeyError, IndexError, TypeError, AttributeError):
            raise UpstreamError(
                f"{self._endpoint.shown} answered 200{kind_of(raw)} with something that is not a chat completion; "
                "check that the base URL is that of an OpenAI-compatible endpoint"
            ) from None
        return Reply(
            text=text,
            model=_word(answer.get("model")) or request.model,
            finish_reason=_word(choice.get("finish_reason")),
            usage=usage_of(answer.get("usage")),
            latency_s=latency_s,
            fingerprint=_word(answer.get("system_fingerprint")),
            likely=_likely(choice.get("logprobs")),
            granted=not (plainly and request.wishes),
        )


def _tokens(request: Request) -> float:
    length = sum(len(str(message.get("content", ""))) for message in request.messages)
    most = request.params.get("max_completion_tokens", request.params.get("max_tokens"))
    return length / _CHARACTERS_A_TOKEN + (most if isinstance(most, int) else 0)


def _text(content: Any) -> str:
    if content is None:  # a refusal or a tool call: the model wrote no text
        return ""
    if isinstance(content, str):
        return content
    return "".join(part["text"] for part in content if part.get("type") == "text")


def _word(value: Any) -> str | None:
    return value[:_LONGEST_WORD] if isinstance(value, str) and value else None


def _likely(logprobs: Any) -> Likely | None:
    """For each token what might have stood there; the one that does is among them."""
    if not isinstance(logprobs, dict) or not logprobs.get("content"):
        return None
    try:
        return tuple(_alternatives(token) for token in logprobs["content"])
    except (KeyError, TypeError, ValueError, AttributeError):
        return None


def _alternatives(token: Mapping[str, Any]) -> tuple[tuple[str, float], ...]:
    listed = {str(each["token"]): float(each["logprob"]) for each in token.get("top_logprobs") or ()}
    listed.setdefault(str(token["token"]), float(token["logprob"]))
    return tuple(listed.items())
