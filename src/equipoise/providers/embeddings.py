"""Vectors of texts, from an OpenAI-compatible endpoint."""

from __future__ import annotations

import math
import random
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Self

import orjson

from equipoise.errors import UpstreamError, UsageError
from equipoise.providers.messages import Embedded, Usage
from equipoise.providers.posting import Endpoint, kind_of, usage_of

__all__ = ["OpenAIEmbeddings"]

_MOST_AT_ONCE = 256
_CHARACTERS_A_TOKEN = 4.0

Vector = tuple[float, ...]


class OpenAIEmbeddings:
    """An Embedder for `POST {base_url}/embeddings`, as patient as OpenAICompatible, which see.

    Texts are asked for in batches of at most `at_once` (1 to 256), each text once however often it stands in
    the list. Most endpoints refuse an empty text.
    """

    def __init__(
        self,
        base_url: str,
        *,
        api_key: str | None = None,
        rng: random.Random,
        at_once: int = _MOST_AT_ONCE,
        timeout_s: float = 120.0,
        retries: int = 4,
        first_wait_s: float = 0.5,
        longest_wait_s: float = 60.0,
        headers: Mapping[str, str] | None = None,
        requests_per_minute: float | None = None,
        tokens_per_minute: float | None = None,
    ) -> None:
        if not 1 <= at_once <= _MOST_AT_ONCE:
            raise UsageError(f"at_once must lie from 1 to {_MOST_AT_ONCE}, not {at_once}")
        self._at_once = at_once
        self._endpoint = Endpoint(
            base_url,
            "embeddings",
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

    @property
    def origin(self) -> str:
        """The base URL, without its query: which endpoint this is, and nothing secret."""
        return self._endpoint.origin

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    async def embed(self, model: str, texts: Sequence[str]) -> Embedded:
        """One vector a text, in the order of the texts; `usage` is None where a batch was not counted."""
        wanted = list(dict.fromkeys(texts))
        vectors: dict[str, Vector] = {}
        counted: list[Usage | None] = []
        said = model
        for start in range(0, len(wanted), self._at_once):
            batch = wanted[start : start + self._at_once]
            found, usage, said = await self._batch(model, batch)
            vectors.update(zip(batch, found, strict=True))
            counted.append(usage)
        if len({len(vector) for vector in vectors.values()}) > 1:
            raise self._unreadable()
        return Embedded(vectors=tuple(vectors[text] for text in texts), model=said, usage=_sum(counted))

    async def aclose(self) -> None:
        """Close the connections; a later `embed` opens new ones."""
        await self._endpoint.aclose()

    async def _batch(self, model: str, texts: Sequence[str]) -> tuple[list[Vector], Usage | None, str]:
        body = orjson.dumps({"model": model, "input": texts, "encoding_format": "float"})
        raw, _ = await self._endpoint.post(body, tokens=sum(map(len, texts)) / _CHARACTERS_A_TOKEN)
        try:
            answer = orjson.loads(raw)
            placed = {entry["index"]: entry["embedding"] for entry in answer["data"]}
            vectors = [_vector(placed[place]) for place in range(len(texts))]
            usage = answer.get("usage")
            said = answer.get("model")
        except (orjson.JSONDecodeError, KeyError, TypeError, ValueError, AttributeError):
            raise self._unreadable(kind_of(raw)) from None
        # Embeddings write no tokens, and their endpoints do not say so.
        counted = usage_of({"completion_tokens": 0, **usage}) if isinstance(usage, dict) else None
        return vectors, counted, said if isinstance(said, str) and said else model

    def _unreadable(self, kind: str = "") -> UpstreamError:
        return UpstreamError(
            f"{self._endpoint.shown} answered 200{kind} with something that is not one vector a text; "
            "check that the base URL and the model are those of embeddings"
        )


def _vector(numbers: Any) -> Vector:
    vector = tuple(map(float, _listed(numbers)))
    if not vector or not all(map(math.isfinite, vector)):
        raise ValueError("a vector is a list of finite numbers")
    return vector


def _listed(numbers: Any) -> Iterator[float]:
    if not isinstance(numbers, list) or not all(type(each) in (int, float) for each in numbers):
        raise TypeError("a vector is a list of numbers")
    return iter(numbers)


def _sum(counted: Sequence[Usage | None]) -> Usage | None:
    known = [usage for usage in counted if usage is not None]
    if len(known) < len(counted):
        return None
    return Usage(sum(usage.input_tokens for usage in known), sum(usage.output_tokens for usage in known))
