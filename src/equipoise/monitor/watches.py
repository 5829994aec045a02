"""The chore of the watches: every experiment that is served is followed through the log, and what is decided is done."""

from __future__ import annotations

import math
from collections.abc import Callable, Generator, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from equipoise.clock import Clock, SystemClock
from equipoise.conduct.act import Acted, carry_out
from equipoise.conduct.watch import Watcher
from equipoise.errors import words_of
from equipoise.events.log import EventLog
from equipoise.events.tail import AnotherLogError, Tail
from equipoise.events.windows import Windows
from equipoise.experiment.definition import Experiment
from equipoise.experiment.reading import read_canonical
from equipoise.measurement.guardrails.cells import GRACE_S
from equipoise.measurement.guardrails.watching import Standing
from equipoise.monitor.loop import News
from equipoise.rollout.stages import LEDGER, State, fold

__all__ = ["Watches"]

_EVERY_S = 1.0
_SOON_S = 0.02
_TOGETHER = 5_000
"""So many facts go into one transaction at most: those of a second or two, at the rate that is promised."""
_HURT_S = 1.0
_PUT_BACK_S = 60.0
"""Clocks are put right by seconds all the time."""


@dataclass(slots=True)
class _Watched:
    """An experiment that is watched, and how that goes. `settled` is a position reached when nothing was due."""

    experiment: Experiment
    watcher: Watcher
    settled: int = 0
    closed: tuple[int, ...] | None = None


class Watches:
    """Follows a log: experiments that are entered are watched, and those that are over are let go.

    What is the matter with one experiment is said, and its next try is a second later; the others go on meanwhile. Of each
    one the watcher's minutes are in memory, and no facts but those of a batch. `windows` opens the windows beside the
    log, once the log is there. `arrival` is the clock by which facts arrive; without it that of whoever keeps the windows,
    which is the log's own.
    """

    name = "watches"

    def __init__(
        self,
        log: EventLog,
        windows: Callable[[], Windows],
        *,
        every: float = _EVERY_S,
        together: int = _TOGETHER,
        clock: Clock | None = None,
        arrival: Clock | None = None,
    ) -> None:
        self._period = self._pause = every
        self._arrival = arrival
        self._log, self._open, self._together = log, windows, together
        self._clock = clock or SystemClock()
        self._windows: Windows | None = None
        self._ledger = Tail(log, LEDGER)
        self._states: dict[str, State] = {}
        self._watched: dict[str, _Watched] = {}
        self._troubles: dict[str, str] = {}
        self._again: dict[str, tuple[float, float]] = {}
        self._leaving: list[State] = []
        self._acted = 0

    @property
    def every(self) -> float:
        """Seconds to the next run: a second, and no longer than to the next end of a window."""
        return self._pause

    def run(self, now: float, stopping: Callable[[], bool]) -> Iterator[News]:
        """Take in what is new, close what is over, and carry out what is due, until all of that is done."""
        del now  # Windows close by the clock of whoever writes the log.
        self._pause = self._period
        busy = True
        while busy and not stopping():
            self._follow()
            if self._windows is None:
                self._windows = self._open()
            yield from self._leave()
            # Asked before anything is read: what had arrived by then is taken in before a window closes.
            arrived = (self._arrival or self._windows).now()
            busy = False
            for state in tuple(self._states.values()):
                if stopping():
                    return
                if state.answering and self._may(state):
                    busy = (yield from self._one(state, arrived)) or busy
        self._pause = self._until_next()

    def _until_next(self) -> float:
        """How long nothing is to be done, but to take in what arrives."""
        if self._windows is None:
            return self._period
        ends = (
            end + watch.step
            for each in self._watched.values()
            for end, watch in zip(each.watcher.standing.closed, each.experiment.watches, strict=False)
        )
        soonest = min(ends, default=math.inf) + GRACE_S
        return min(self._period, max(_SOON_S, soonest - (self._arrival or self._windows).now()))

    def close(self) -> None:
        """Let go of the windows; the log is the caller's."""
        if self._windows is not None:
            self._windows.close()
            self._windows = None

    def state(self) -> Mapping[str, Any]:
        """The experiments that are watched, how far and until when, what is the matter, and what was done."""
        return {
            "watched": {
                each.experiment.identity: {
                    "position": each.watcher.position,
                    "watermark": each.watcher.standing.watermark,
                }
                for each in tuple(self._watched.values())
            },
            "troubles": dict(self._troubles),
            "acted": self._acted,
        }

    def _follow(self) -> None:
        """Fold what happened in the ledger since the last time."""
        try:
            for record in self._ledger.new():
                name = record.fact.experiment
                before = self._states.get(name, State())
                after = fold([record.fact], before)
                self._states[name] = after
                if before.answering and (after.digest != before.digest or not after.answering):
                    self._leaving.append(before)
        except AnotherLogError:
            self._states, self._leaving = {}, []
            self._watched.clear()
            raise

    def _leave(self) -> Iterator[News]:
        """What was decided before an experiment was over is carried out; then it is let go."""
        for state in tuple(self._leaving):
            if not self._may(state):
                continue
            name, watched = _name(state), self._watched.get(_name(state))
            known = watched is not None and watched.experiment.digest == state.digest
            try:
                watched = watched if known else self._begin(state)
                if watched is not None:
                    # Whatever was looked at before: another may have decided since.
                    watched.closed = None
                    yield from self._carry_out(watched)
            except Exception as error:  # noqa: BLE001 - what is the matter with one must not keep the others from being watched
                yield from self._hurt(state, error)
                continue
            self._leaving.remove(state)
            self._troubles.pop(_identity(state), None)
            if known:
                del self._watched[name]
                now = self._states[name]
                why = f"it is {now.stage}" if now.digest == state.digest else "another revision is registered"
                yield News(says=f"no longer watched: {why}", experiment=name)

    def _one(self, state: State, now: float) -> Generator[News, None, bool]:
        """A batch of one experiment; whether there is more to do: facts, or what follows from a move."""
        name = _name(state)
        try:
            watched = self._watched.get(name)
            if watched is None or watched.experiment.digest != state.digest:
                watched = self._begin(state)
                if watched is None:
                    return False
                self._watched[name] = watched
                yield News(says=_watching(watched.experiment), experiment=name)
            more = watched.watcher.advance(self._together, now=now) == self._together
            more = (yield from self._carry_out(watched)) or more
        except Exception as error:  # noqa: BLE001 - as above
            # What it had in mind may be half of what is kept: it begins again from that.
            self._watched.pop(name, None)
            yield from self._hurt(state, error)
            return False
        if (early := _early(watched.watcher.standing, now)) is not None:
            yield from self._tell(state, early)
            return more
        if self._troubles.pop(_identity(state), None) is not None:
            yield News(says="watched again", experiment=name)
        return more

    def _may(self, state: State) -> bool:
        since, until = self._again.get(_identity(state), (0.0, 0.0))
        # A clock that was put back is no reason to wait until it is where it was.
        return not since <= self._clock.now() < until

    def _hurt(self, state: State, error: Exception) -> Iterator[News]:
        """What is the matter is said when it is new, and there is a breath before the next try."""
        now = self._clock.now()
        self._again[_identity(state)] = now, now + _HURT_S
        yield from self._tell(state, words_of(error))

    def _tell(self, state: State, said: str) -> Iterator[News]:
        identity = _identity(state)
        if self._troubles.get(identity) != said:
            self._troubles[identity] = said
            yield News(says=said, experiment=_name(state), trouble=True)

    def _begin(self, state: State) -> _Watched | None:
        """An experiment as it was registered, with its watcher; None where nothing of it is to be watched."""
        assert state.registration is not None
        assert self._windows is not None
        if not state.registration.definition.get("watches"):
            return None
        experiment = read_canonical(state.registration.definition)
        return _Watched(experiment, Watcher(experiment, self._log, self._windows))

    def _carry_out(self, watched: _Watched) -> Generator[News, None, bool]:
        """Carry out what is due, and whether that moved it; it is asked for only where a window was closed."""
        watcher, moved = watched.watcher, False
        if watcher.standing.closed == watched.closed:
            return False
        closed, reached = watcher.standing.closed, watcher.position
        for acted in carry_out(
            self._log, watched.experiment, watcher, since=watched.settled, clock=self._clock
        ):
            moved = moved or acted.transition is not None
            self._acted += acted.ours
            if acted.ours:
                yield _news(acted)
        watched.closed, watched.settled = closed, reached
        return moved


def _early(standing: Standing, now: float) -> str | None:
    """What is the matter where windows are closed that are not over, by a clock that was put back since."""
    if standing.watermark is None or standing.watermark - now < _PUT_BACK_S:
        return None
    until = max(standing.closed, default=standing.watermark)
    return (
        f"the clock of the log was put back: windows up to {datetime.fromtimestamp(until, UTC):%Y-%m-%d %H:%M:%S} UTC are "
        "closed, what happens before then is late, and none closes until then. Look after the experiment meanwhile"
    )


def _watching(experiment: Experiment) -> str:
    number = len(experiment.watches)
    return f"watching {experiment.identity}: {number} {'watch' if number == 1 else 'watches'}"


def _news(acted: Acted) -> News:
    alert = acted.alert
    return News(
        says=alert.says,
        experiment=alert.experiment,
        facts={
            "event_id": alert.event_id,
            "action": alert.action,
            "sustained": alert.sustained,
            "metric": alert.metric,
            "variant": alert.variant,
            "value": alert.value,
            "limit": alert.limit,
            "ends": alert.ends,
        },
    )


def _name(state: State) -> str:
    assert state.registration is not None
    return state.registration.experiment


def _identity(state: State) -> str:
    return f"{_name(state)}@{(state.digest or '')[:12]}"
