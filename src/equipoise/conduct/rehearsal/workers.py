"""Runs, shared out among processes: they are the same whoever does them, and when it is broken off nobody stays behind."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from multiprocessing import active_children
from multiprocessing.reduction import ForkingPickler
from types import MappingProxyType
from typing import Any, Protocol

from equipoise.conduct.rehearsal.run import Ending
from equipoise.errors import UsageError

__all__ = ["Runs", "carried_out"]

_ROUND = 25
"""Runs that a process does at a time,"""
_UNITS = 2_000_000
"""and fewer of large ones, so that somebody who waits sees that it goes on."""


class Runs(Protocol):
    """The runs of one scenario."""

    @property
    def largest(self) -> int:
        """How many units one of them draws."""
        ...

    def between(self, first: int, last: int) -> list[Ending]:
        """Some of them by their numbers, each with chances of its own."""
        ...


def carried_out(
    scenarios: Sequence[Runs], runs: int, processes: int, told: Callable[[int, int], None]
) -> list[list[Ending]]:
    """So many runs of each scenario, in their order; `told` hears (scenario, runs done) on the way.

    Raises UsageError where a process was ended from outside, which is what happens when memory runs out.
    """
    rounds = [
        (place, first, min(first + step, runs))
        for place, each in enumerate(scenarios)
        for step in [max(1, min(_ROUND, _UNITS // max(1, each.largest)))]
        for first in range(0, runs, step)
    ]
    endings: list[list[Ending]] = [[] for _ in scenarios]
    with _workers(scenarios, min(processes, len(rounds))) as done:
        for (place, _, last), found in zip(rounds, done(rounds), strict=True):
            endings[place] += found
            told(place, last)
    return endings


Round = tuple[int, int, int]


@contextmanager
def _workers(
    scenarios: Sequence[Runs], processes: int
) -> Iterator[Callable[[Sequence[Round]], Iterator[list[Ending]]]]:
    if processes == 1:
        yield lambda rounds: (scenarios[place].between(first, last) for place, first, last in rounds)
        return
    others = set(active_children())
    # What all rounds have in common is given once: past units may be many.
    pool = ProcessPoolExecutor(processes, initializer=_begin, initargs=(tuple(scenarios),))

    def done(rounds: Sequence[Round]) -> Iterator[list[Ending]]:
        with _interrupted_later():
            submitted = [pool.submit(_round, of) for of in rounds]
        for each in submitted:
            yield each.result()

    try:
        yield done
    except BaseException as error:
        # Nobody waits for the rest, whether that is an error or somebody at the keyboard. The pool is told by their end:
        # of rounds that were cancelled it would complain.
        for child in set(active_children()) - others:
            child.terminate()
        pool.shutdown()
        if isinstance(error, BrokenProcessPool):
            raise UsageError(
                "a process at work was ended from outside, as happens when memory runs out; take fewer of them "
                "(--processes 1), or rehearse a smaller design"
            ) from error
        raise
    pool.shutdown()


@contextmanager
def _interrupted_later() -> Iterator[None]:
    """An interruption waits until processes are begun: raised in what is called at a fork it would be lost."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT}) if os.name == "posix" else None
    try:
        yield
    finally:
        if before is not None:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)


_given: tuple[Runs, ...] = ()


def _begin(scenarios: tuple[Runs, ...]) -> None:
    """A process is told what it works on; who ends it is the one that began it, also from the keyboard."""
    global _given  # noqa: PLW0603 - a process's own, and set before its first round
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _given = scenarios


def _round(of: Round) -> list[Ending]:
    place, first, last = of
    return _given[place].between(first, last)


def _thawed(frozen: Mapping[Any, Any]) -> tuple[Callable[..., Any], tuple[dict[Any, Any]]]:
    return _frozen, (dict(frozen),)


def _frozen(items: dict[Any, Any]) -> Mapping[Any, Any]:
    return MappingProxyType(items)


# Python does not know how to send another process a mapping that cannot be changed, and definitions have some.
ForkingPickler.register(MappingProxyType, _thawed)
