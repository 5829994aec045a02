"""Asking an endpoint for a run: out of the journal first, a few at a time, and not on and on in vain."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from functools import partial

from equipoise.arena.journal import Journal, key_of
from equipoise.arena.spending import Purse
from equipoise.errors import BudgetError, OutOfReachError, UpstreamError
from equipoise.providers.messages import Provider, Reply, Request

__all__ = ["Asking", "Turns", "each"]

_GRACE_S = 20.0
"""How long a run that is stopped waits for replies that are under way: they are paid for."""


class Turns:
    """What all endpoints of a run share: how many requests are out at once, and whether the run goes on."""

    def __init__(self, concurrency: int, journal: Journal, purse: Purse) -> None:
        self.concurrency = concurrency
        self.journal = journal
        self.purse = purse
        self.said: dict[tuple[bool, str], set[tuple[str, str | None]]] = {}
        self.stopped: BudgetError | OutOfReachError | None = None
        self._free = asyncio.Semaphore(concurrency)
        self._out: dict[str, asyncio.Task[Reply]] = {}

    def hear(self, request: Request, reply: Reply) -> Reply:
        """Note what an endpoint says of itself, answers and judgements apart: it may change under a run."""
        is_answer = request.about.get("ask") == "answer"
        self.said.setdefault((is_answer, request.model), set()).add((reply.model, reply.fingerprint))
        return reply

    async def take(self, key: str, call: Callable[[], Awaitable[Reply]]) -> Reply:
        """Make a call when it is its turn; the same one that is under way already is waited for.

        Whoever waits for it may be cancelled; the call goes on.
        """
        if key not in self._out:
            async with self._free:
                if self.stopped is not None:
                    raise self.stopped
                known = self.journal.find(key)
                if known is not None:
                    return known
                # Somebody else may have begun the same call while this one waited for its turn.
                if key not in self._out:
                    task = asyncio.ensure_future(call())
                    task.add_done_callback(partial(self._ended, key))
                    self._out[key] = task
                return await asyncio.shield(self._out[key])
        return await asyncio.shield(self._out[key])

    def _ended(self, key: str, task: asyncio.Task[Reply]) -> None:
        del self._out[key]
        if not task.cancelled():
            task.exception()  # seen, also where whoever asked has gone

    async def settle(self) -> None:
        """Wait for what is under way, so that no reply that was paid for is lost."""
        if self._out:
            _, late = await asyncio.wait(set(self._out.values()), timeout=_GRACE_S)
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)


class Asking:
    """A Provider in front of another: replies in the journal cost nothing, new ones are written there.

    After `patience` failures with no success between them the run is stopped with OutOfReachError; a request
    that the purse does not let out stops it with BudgetError.
    """

    def __init__(self, provider: Provider, turns: Turns) -> None:
        self._provider = provider
        self._turns = turns
        self.origin = str(getattr(provider, "origin", type(provider).__name__))
        self._patience = max(5, 2 * turns.concurrency)
        self._in_a_row = 0
        self.sent = 0
        self.replayed = 0
        self.failed = 0
        self._last: UpstreamError | None = None

    async def complete(self, request: Request) -> Reply:
        """The reply, from the journal or from the endpoint."""
        turns = self._turns
        key = key_of(self.origin, request)
        known = turns.journal.find(key)
        if known is not None:
            self.replayed += 1
            return turns.hear(request, turns.purse.count(key, request, known))
        return turns.hear(request, await turns.take(key, lambda: self._ask(key, request)))

    async def _ask(self, key: str, request: Request) -> Reply:
        turns = self._turns
        try:
            expected = turns.purse.take(request)
        except BudgetError as error:
            turns.stopped = turns.stopped or error
            raise
        self.sent += 1
        try:
            reply = await self._provider.complete(request)
        except UpstreamError as error:
            turns.purse.drop(expected)
            self._failed(error)
            raise
        except BaseException:
            turns.purse.drop(expected)
            raise
        self._in_a_row = 0
        turns.journal.keep(key, self.origin, request, reply)
        return turns.purse.pay(expected, key, request, reply)

    def _failed(self, error: UpstreamError) -> None:
        self.failed += 1
        self._last = error
        self._in_a_row += 1
        if self._in_a_row >= self._patience:
            self._turns.stopped = OutOfReachError(
                f"{self._in_a_row} requests in a row failed, the last because {error}. What was answered is in "
                "the journal, if one is kept: run again to go on from there"
            )
            raise self._turns.stopped from None

    def check_reached(self) -> None:
        """Raise UpstreamError where every request so far has failed: then there is nothing to report on."""
        if self._last is not None and self.failed == self.sent and not self.replayed:
            raise UpstreamError(f"none of {self.sent} requests was answered, the last because {self._last}")

    async def aclose(self) -> None:
        """The provider belongs to the caller and is left open."""


async def each(jobs: Iterable[Callable[[], Awaitable[None]]], *, at_once: int) -> None:
    """Run the jobs in order, `at_once` at a time; the first error stops all."""
    waiting = iter(jobs)

    async def work() -> None:
        for job in waiting:
            await job()

    workers = [asyncio.ensure_future(work()) for _ in range(max(1, at_once))]
    try:
        await asyncio.gather(*workers)
    finally:
        for worker in workers:
            worker.cancel()
        await asyncio.gather(*workers, return_exceptions=True)
