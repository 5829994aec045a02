"""The vectors of texts during a run: each text is asked for once."""

from __future__ import annotations

import asyncio
import math
from array import array
from collections.abc import Sequence
from operator import mul
from typing import TypeAlias

from equipoise.errors import UpstreamError
from equipoise.providers.messages import Embedded, Embedder, Usage

__all__ = ["UnitVector", "Vectors", "cosine"]

UnitVector: TypeAlias = "array[float]"
"""Numbers in 8 bytes each, of length 1; empty where the model gave a vector of length 0."""


class Vectors:
    """Unit vectors from an Embedder, kept: a text that is known or under way is not asked for again.

    Raises UpstreamError where there is none; what failed is asked again when it is next wanted.
    """

    def __init__(self, embedder: Embedder, model: str) -> None:
        self._embedder = embedder
        self._model = model
        self._known: dict[str, UnitVector] = {}
        self._under_way: dict[str, asyncio.Task[None]] = {}
        self._dimensions: int | None = None
        self.usage: Usage | None = Usage(0, 0)
        """Tokens read so far; None once an endpoint did not count them."""

    async def of(self, texts: Sequence[str]) -> tuple[list[UnitVector], bool]:
        """One unit vector a text, and whether anything was asked for these."""
        missing = [
            text for text in dict.fromkeys(texts) if text not in self._known and text not in self._under_way
        ]
        if missing:
            task = asyncio.ensure_future(self._ask(missing))
            task.add_done_callback(_heard)
            self._under_way.update(dict.fromkeys(missing, task))
        # Whoever waits may be cancelled; others may wait for the same, and it is paid for.
        waited = {self._under_way[text] for text in texts if text in self._under_way}
        for task in waited:
            await asyncio.shield(task)
        return [self._known[text] for text in texts], bool(missing)

    async def _ask(self, texts: Sequence[str]) -> None:
        try:
            embedded = await self._embedder.embed(self._model, texts)
            vectors = self._checked(embedded, len(texts))
            self._known.update(zip(texts, map(_unit, vectors), strict=True))
        finally:
            for text in texts:
                self._under_way.pop(text, None)
        self.usage = _plus(self.usage, embedded.usage)

    def _checked(self, embedded: Embedded, wanted: int) -> Sequence[Sequence[float]]:
        lengths = {len(vector) for vector in embedded.vectors} | {
            self._dimensions or len(embedded.vectors[0])
        }
        if len(embedded.vectors) != wanted or len(lengths) != 1:
            raise UpstreamError(
                f"the embeddings of {self._model or embedded.model} are not one vector a text, all of one length; "
                "see that one model answers for that name"
            )
        self._dimensions = lengths.pop()
        return embedded.vectors


def cosine(first: UnitVector, second: UnitVector) -> float:
    """The cosine of the angle between two unit vectors.

    >>> cosine(array("d", (1.0, 0.0)), array("d", (0.6, 0.8)))
    0.6
    """
    return math.fsum(map(mul, first, second))


def _heard(task: asyncio.Task[None]) -> None:
    """A failure that nobody waits for any longer is no news."""
    if not task.cancelled():
        task.exception()


def _unit(vector: Sequence[float]) -> UnitVector:
    length = math.hypot(*vector)
    return array("d", (number / length for number in vector) if length > 0 else ())


def _plus(first: Usage | None, second: Usage | None) -> Usage | None:
    if first is None or second is None:
        return None
    return Usage(first.input_tokens + second.input_tokens, first.output_tokens + second.output_tokens)
