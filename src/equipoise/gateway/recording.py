"""The gateway's side of the record: what must be durable before a byte is read, and what may wait a moment."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from time import monotonic
from typing import Any

from equipoise.assignment.assigning import Draw
from equipoise.assignment.enrolled import Enrolled
from equipoise.assignment.exposing import Exposed
from equipoise.assignment.hashing import HASH_VERSION
from equipoise.clock import Clock
from equipoise.errors import UsageError
from equipoise.events.facts import Encoded, Fact, Loss, compact, encoded
from equipoise.events.ids import new_id
from equipoise.events.log import EventLog
from equipoise.events.writer import LogWriter

__all__ = ["Recorder"]

_GATHER = 0.05
_SLOW = 2.0
_PARTING = 5.0
"""Seconds that a process that ends gives its log to take in what is left."""
_AGAIN = 0.5
_logger = logging.getLogger("equipoise.gateway")


class Recorder:
    """Writes facts for a process that may not stand still.

    Exposures are handed over at once, and whoever serves them is told when they are durable. Turns gather for
    50 ms. While the log does not take facts in, turns wait in memory up to a bound and are dropped, counted,
    beyond it; units that are not known are served unenrolled (`unrecorded`). What was lost is written into the
    record as soon as that is possible. Whoever was exposed is `enrolled`.
    """

    def __init__(
        self,
        log: EventLog | None,
        loop: asyncio.AbstractEventLoop,
        clock: Clock,
        *,
        backlog: int = 2_500,
        remembered: int = 10_000,
        enrolled: Enrolled | None = None,
    ) -> None:
        self.exposed = Exposed(remembered)
        self._enrolled = enrolled
        self._backlog = backlog
        self._loop, self._clock = loop, clock
        self._writer = None if log is None else LogWriter(log, backlog=backlog, patient=True)
        self._gathered: list[Encoded] = []
        self._pending: dict[object, tuple[float, list[tuple[Draw, str]]]] = {}
        self._exposing: list[tuple[tuple[Draw, str], Encoded]] = []
        self._telling: dict[tuple[Draw, str], list[Callable[[bool], None]]] = {}
        self._lost: dict[str, Counter[str]] = {}
        self._lost_since = 0.0
        self.lost = 0
        """Facts that were lost since the process began. What was refused is not: its sender was told, and has it."""
        self._alarmed = False
        self._down_since = 0.0

    @property
    def down_since(self) -> float:
        """When the record was last known to be up (seconds since 1970 UTC); now, where it is."""
        return self._down_since or self._clock.now()

    @property
    def down(self) -> bool:
        """Whether the log takes nothing in: it refused, or somebody has waited for it for two seconds."""
        down = self._is_down()
        if not down:
            self._down_since = 0.0
        elif not self._down_since:
            self._down_since = self._clock.now() - _SLOW
        return down

    def _is_down(self) -> bool:
        writer = self._writer
        if writer is None or writer.trouble is not None or writer.stuck_s > _SLOW:
            return True
        if self._pending:
            oldest, _ = next(iter(self._pending.values()))
            return monotonic() - oldest > _SLOW
        return False

    @property
    def trouble(self) -> str | None:
        """Why the log takes nothing in, in a sentence."""
        if self._writer is None:
            return "there is no log"
        if self._writer.trouble is not None:
            return str(self._writer.trouble)
        return f"the log took more than {_SLOW:g} s" if self.down else None

    @property
    def waiting(self) -> int:
        """Facts that are not written yet."""
        return 0 if self._writer is None else self._writer.waiting

    @property
    def conflicts(self) -> int:
        """Facts that came under the id of another one since the process began."""
        return 0 if self._writer is None else self._writer.conflicts

    def expose(
        self, draw: Draw, unit: str, attributes: Mapping[str, Any], done: Callable[[bool], None]
    ) -> None:
        """Tell of an exposure; `done` is called in the loop with whether it is durable.

        What a turn of the loop has to tell goes into one commit.
        """
        key = (draw, unit)
        if (waiting := self._telling.get(key)) is not None:
            # The same unit twice at once: it is the same promise.
            waiting.append(done)
            return
        self._telling[key] = [done]
        experiment = draw.experiment
        body = {
            "digest": experiment.digest,
            "unit": unit,
            "unit_type": experiment.unit.type,
            "variant": draw.variant,
            "probability": draw.probability,
            "reason": draw.reason,
            "epoch": draw.epoch,
            "hash_version": HASH_VERSION,
            "attributes": dict(attributes),
        }
        row = Encoded(new_id(), "exposure", experiment.name, self._clock.now(), compact(body))
        if not self._exposing:
            self._loop.call_soon(self._hand_over)
        self._exposing.append((key, row))

    def _hand_over(self) -> None:
        group, self._exposing = self._exposing, []
        mark = object()
        self._pending[mark] = monotonic(), [key for key, _ in group]

        def told(error: Exception | None) -> None:
            # In the writer's thread. A loop that is closed has nobody left who waits.
            with suppress(RuntimeError):
                self._loop.call_soon_threadsafe(settle, error is None)

        def settle(ok: bool) -> None:
            self._pending.pop(mark, None)
            for (draw, unit), _ in group:
                if ok:
                    self.exposed.remember(draw, unit)
                for done in self._telling.pop((draw, unit), ()):
                    done(ok)
            if ok and self._enrolled is not None:
                for (draw, unit), _ in group:
                    self._enrolled.add(draw.experiment.name, unit)

        if self._writer is None:
            settle(ok=False)
            return
        try:
            self._writer.hand_over([row for _, row in group], told)
        except UsageError:
            settle(ok=False)

    def sweep(self, now: float) -> None:
        """Nobody waits for an exposure longer than two seconds; what becomes durable later is known when it does."""
        for since, keys in tuple(self._pending.values()):
            if now - since <= _SLOW:
                break
            for key in keys:
                waiting, self._telling[key] = self._telling.get(key, []), []
                for done in waiting:
                    done(False)

    def keep(self, kind: str, experiment: str, body: dict[str, Any]) -> str:
        """A fact nobody waits for, given as its body; what is None in it is left out. Its id."""
        event_id = new_id()
        if self._writer is None:
            return event_id
        said = {name: value for name, value in body.items() if value is not None}
        self._gather(Encoded(event_id, kind, experiment, self._clock.now(), compact(said)))
        return event_id

    def tell(self, facts: Sequence[Fact], done: Callable[[bool], None]) -> None:
        """Facts whose teller waits; `done` is called in the loop with whether they all are durable.

        UsageError for a fact that no log can keep: none of them is taken in then. While the log takes nothing in,
        or too much is waiting for it, the teller is refused at once: who may send it again need not be remembered.
        """
        rows = [encoded(fact) for fact in facts]
        if self._writer is None or self.down or self.waiting + len(rows) > self._backlog:
            self._loop.call_soon(done, False)
            return

        def told(error: Exception | None) -> None:
            # In the writer's thread. A loop that is closed has nobody left who waits.
            with suppress(RuntimeError):
                self._loop.call_soon_threadsafe(done, error is None)

        try:
            self._writer.hand_over(rows, told)
        except UsageError:
            self._loop.call_soon(done, False)

    def _gather(self, row: Encoded) -> None:
        self._gathered.append(row)
        if len(self._gathered) == 1:
            self._loop.call_later(_GATHER, self.flush)
        elif len(self._gathered) >= 500:
            self.flush()

    def flush(self) -> None:
        """Hand over what has gathered."""
        rows, self._gathered = self._gathered, []
        if rows and self._writer is not None and not self._writer.offer_all(rows):
            for row in rows:
                self._lose(row.experiment, row.kind)

    def unrecorded(self, experiment: str) -> None:
        """A unit was served unenrolled because its exposure could not be kept."""
        self._lose(experiment, "exposure")

    def _lose(self, experiment: str, kind: str) -> None:
        if not self._lost:
            self._lost_since = self._clock.now()
            self._loop.call_later(_AGAIN, self._confess)
        self._lost.setdefault(experiment, Counter())[kind] += 1
        self.lost += 1
        if not self._alarmed:
            self._alarmed = True
            _logger.error("the record is down, facts are being lost: %s", self.trouble)

    def _confess(self) -> None:
        """Say in the record what was lost, once it is up and has room again; till then, look again."""
        if self.down or self.waiting > self._backlog // 2 or not self._told_of_losses():
            self._loop.call_later(_AGAIN, self._confess)
            return
        self._alarmed = False
        _logger.warning("the record is up again; what was lost is in it")

    def _told_of_losses(self) -> bool:
        now = self._clock.now()
        for experiment, kinds in tuple(self._lost.items()):
            fact = Loss(experiment=experiment, happened=now, since=self._lost_since, facts=dict(kinds))
            if self._writer is None or not self._writer.offer(fact):
                return False
            del self._lost[experiment]
        return True

    def close(self) -> None:
        """Write what is left and what was lost, if the log takes it in soon enough; else say so, and end."""
        self.flush()
        if self._writer is None:
            return
        self._told_of_losses()
        failed = self._writer.failed
        # A log that hangs must not keep the process from ending.
        closing = threading.Thread(target=self._writer.close, name="equipoise-parting", daemon=True)
        closing.start()
        closing.join(_PARTING)
        if lost := self.waiting + self._writer.failed - failed:
            _logger.error("%d facts were not written before the end: %s", lost, self.trouble)
