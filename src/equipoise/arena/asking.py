"""Asking an endpoint for a run: out of the journal first, a few at a time, and not on and on in vain."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from typing import TypeVar

from equipoise.arena.journal import Journal
from equipoise.errors import UpstreamError
from equipoise.providers.messages import Provider, Reply, Request

__all__ = ["Asking", "OutOfReachError", "each"]

T = TypeVar("T")


class OutOfReachError(UpstreamError):
    """So many requests failed in a row that the run was stopped; what was paid for is in the journal."""


class Asking:
    """A Provider in front of another: replies in the journal cost nothing, new ones are written there.

    After `patience` failures with no success between them the run is stopped with OutOfReachError.
    """

    def __init__(self, provider: Provider, journal: Journal, *, concurrency: int) -> None:
        self._provider = provider
        self._journal = journal
        self._turns = asyncio.Semaphore(concurrency)
        self._patience = max(5, 2 * concurrency)
        self._in_a_row = 0
        self.asked = 0
        self.replayed = 0
        self.failed = 0
        self._last: UpstreamError | None = None

    async def complete(self, request: Request) -> Reply:
        """The reply, from the journal or from the endpoint."""
        known = self._journal.find(request)
        if known is not None:
            self.replayed += 1
            return known
        async with self._turns:
            self.asked += 1
            try:
                reply = await self._provider.complete(request)
            except UpstreamError as error:
                self.failed += 1
                self._last = error
                self._in_a_row += 1
                if self._in_a_row >= self._patience:
                    raise OutOfReachError(
                        f"{self._in_a_row} requests in a row failed, the last because {error}. What was answered is in "
                        "the journal, if one is kept: run again to go on from there"
                    ) from None
                raise
            self._in_a_row = 0
            self._journal.keep(request, reply)
            return reply

    def check_reached(self) -> None:
        """Raise UpstreamError where every request so far has failed: then there is nothing to report on."""
        if self._last is not None and self.failed == self.asked and not self.replayed:
            raise UpstreamError(f"none of {self.asked} requests was answered, the last because {self._last}")

    async def aclose(self) -> None:
        """The provider belongs to the caller and is left open."""


async def each(
    jobs: Iterable[Callable[[], Awaitable[T]]], *, at_once: int, on_done: Callable[[], None]
) -> list[T]:
    """Run the jobs, `at_once` at a time, and return their results in order; the first error stops all."""
    waiting = list(enumerate(jobs))
    waiting.reverse()
    results: dict[int, T] = {}

    async def work() -> None:
        while waiting:
            index, job = waiting.pop()
            results[index] = await job()
            on_done()

    workers = [asyncio.ensure_future(work()) for _ in range(max(1, at_once))]
    try:
        await asyncio.gather(*workers)
    finally:
        for worker in workers:
            worker.cancel()
        await asyncio.gather(*workers, return_exceptions=True)
    return [results[index] for index in range(len(results))]
