"""The loop: chores, each with a period and a thread of its own, so that a slow one never holds another up.

A chore is one thing to be looked after, such as the watches of all experiments. What it says is passed on as it comes;
what goes wrong is said when it begins and when it is over, and tried again the next time.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Protocol

from equipoise.clock import Clock, SystemClock
from equipoise.errors import EquipoiseError, words_of

__all__ = ["Chore", "News", "keep_going", "once"]


@dataclass(frozen=True, slots=True, kw_only=True)
class News:
    """Something that a chore did or met: a sentence, of which experiment (None: of none), and the facts of it.

    `trouble` says that something is the matter that somebody should look at.
    """

    says: str
    experiment: str | None = None
    trouble: bool = False
    facts: Mapping[str, Any] = field(default_factory=dict)


class Chore(Protocol):
    """Something that is done again and again."""

    @property
    def name(self) -> str:
        """One word, by which it is told from the others."""
        ...

    @property
    def every(self) -> float:
        """Seconds between two runs."""
        ...

    def run(self, now: float, stopping: Callable[[], bool]) -> Iterable[News]:
        """Do what there is to do at `now` (seconds since 1970 UTC), and say what was done as it is done.

        An EquipoiseError ends this run and not the chore. Whatever takes longer asks `stopping` in between, and ends
        soon when that is true. Always called from one and the same thread.
        """
        ...

    def state(self) -> Mapping[str, Any]:
        """How it stands, as plain JSON; asked from any thread."""
        ...

    def close(self) -> None:
        """Let go of what it opened, after its last run; for whoever made it."""
        ...


class _Kept:
    """A chore, and how it fares."""

    def __init__(self, chore: Chore, told: Callable[[str, News], None], clock: Clock) -> None:
        self.chore, self._told, self._clock = chore, told, clock
        self.trouble: str | None = None
        self.ran: float | None = None

    def run(self, stopping: Callable[[], bool]) -> EquipoiseError | None:
        """One run; what went wrong is returned, too."""
        failed, trouble = None, None
        try:
            for news in self.chore.run(self._clock.now(), stopping):
                self._say(news)
        except EquipoiseError as error:
            failed, trouble = error, str(error)
        except Exception as error:  # noqa: BLE001 - a fault of one chore must not end the others
            trouble = words_of(error)
            failed = EquipoiseError(trouble)
        self.ran = self._clock.now()
        if trouble != self.trouble:
            before, self.trouble = self.trouble, trouble
            if trouble is not None:
                self._say(News(says=trouble, trouble=True))
            elif before is not None:
                self._say(News(says="it goes on"))
        return failed

    def _say(self, news: News) -> None:
        # Whoever listens may be gone (a pipe that was closed, a full disk): what is done is done all the same.
        with suppress(OSError, ValueError):
            self._told(self.chore.name, news)

    def state(self) -> dict[str, Any]:
        return {"ran": self.ran, "trouble": self.trouble, **self.chore.state()}


def once(
    chores: Sequence[Chore], *, told: Callable[[str, News], None], clock: Clock | None = None
) -> dict[str, Any]:
    """Run each chore once, in order; how they stand then. What went wrong first is raised at the end."""
    kept = [_Kept(chore, told, clock or SystemClock()) for chore in chores]
    failed = [error for each in kept if (error := each.run(lambda: False)) is not None]
    if failed:
        raise failed[0]
    return _states(kept)


def keep_going(
    chores: Sequence[Chore],
    *,
    stop: threading.Event,
    told: Callable[[str, News], None],
    state: Callable[[dict[str, Any]], None] | None = None,
    state_every: float = 5.0,
    clock: Clock | None = None,
) -> None:
    """Run chores until `stop` is set, each in its thread; `state` is given how they stand every so many seconds.

    `told` is called from several threads, one at a time. Returns when every chore has ended its run.
    """
    lock = threading.Lock()

    def said(name: str, news: News) -> None:
        with lock:
            told(name, news)

    kept = [_Kept(chore, said, clock or SystemClock()) for chore in chores]

    def keep(one: _Kept) -> None:
        while not stop.is_set():
            one.run(stop.is_set)
            stop.wait(one.chore.every)

    threads = [
        threading.Thread(target=keep, args=(one,), name=f"equipoise-{one.chore.name}", daemon=True)
        for one in kept
    ]
    for thread in threads:
        thread.start()
    while not stop.is_set():
        if state is not None:
            state(_states(kept))
        stop.wait(state_every)
    for thread in threads:
        thread.join()
    if state is not None:
        state(_states(kept))


def _states(kept: Iterable[_Kept]) -> dict[str, Any]:
    return {each.chore.name: each.state() for each in kept}
