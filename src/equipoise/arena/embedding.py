"""Embeddings for a run: a text that was embedded once is never asked for again."""

from __future__ import annotations

from collections.abc import Sequence

import orjson

from equipoise.arena.asking import Turns
from equipoise.arena.journal import key_of
from equipoise.providers.messages import Embedded, Embedder, Reply, Request

__all__ = ["AskingEmbedder"]


class AskingEmbedder:
    """An Embedder in front of another: vectors in the journal cost nothing, new ones are written there."""

    def __init__(self, embedder: Embedder, turns: Turns) -> None:
        self._embedder = embedder
        self._turns = turns
        self.origin = str(getattr(embedder, "origin", type(embedder).__name__))

    async def embed(self, model: str, texts: Sequence[str]) -> Embedded:
        """One vector a text; only those not in the journal are asked for."""
        requests = {text: _request(model, text) for text in texts}
        keys = {text: key_of(self.origin, request) for text, request in requests.items()}
        journal = self._turns.journal
        known = {text: reply for text, key in keys.items() if (reply := journal.find(key)) is not None}
        missing = [text for text in requests if text not in known]
        usage = None
        if missing:
            embedded = await self._embedder.embed(model, missing)
            usage = embedded.usage
            for text, vector in zip(missing, embedded.vectors, strict=True):
                known[text] = Reply(text=orjson.dumps(vector).decode(), model=embedded.model)
                journal.keep(keys[text], self.origin, requests[text], known[text])
        return Embedded(
            vectors=tuple(tuple(orjson.loads(known[text].text)) for text in texts),
            model=model,
            usage=usage,
        )

    async def aclose(self) -> None:
        """Close the connections of the one behind, where it has any."""
        close = getattr(self._embedder, "aclose", None)
        if close is not None:
            await close()


def _request(model: str, text: str) -> Request:
    return Request(
        model=model,
        messages=({"role": "user", "content": text},),
        draw="embedding",
        about={"ask": "embedding"},
    )
