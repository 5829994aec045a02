"""The outbox: every fact of a log to a collector, at least once and in order.

Facts are read after a durable cursor and posted a batch at a time; the cursor moves when the collector has
acknowledged, and never before. What fails is tried again, for ever. A batch in which the collector finds fault is
halved until the fact at fault is alone; that one goes into quarantine, and the others go on.
"""

from __future__ import annotations

import asyncio
import logging
import os
import random
import socket
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from threading import Event, Thread
from types import TracebackType
from typing import Self

from equipoise.errors import RecordError, UpstreamError
from equipoise.events.cursors import (
    Cursor,
    CursorLostError,
    Cursors,
    HeldError,
    Quarantined,
    StrayCursorError,
)
from equipoise.events.ids import new_id
from equipoise.events.log import EventLog, LogGoneError
from equipoise.integrations.batches import PATIENCE, Patience, Sieve, batches, belongs, unavailable
from equipoise.integrations.collectors import Away, Receiver, Refused
from equipoise.integrations.parcels import Parcel

__all__ = ["Delivered", "Patience", "deliver"]

_logger = logging.getLogger("equipoise.outbox")
_IN_VAIN = 100
_NEWS_S = 1.0
_BLINK_S = 0.2


@dataclass(slots=True)
class Delivered:
    """What one call of `deliver` did: facts delivered, facts put into quarantine, posts that were repeated."""

    delivered: int = 0
    refused: int = 0
    retries: int = 0


def deliver(
    log: EventLog,
    cursors: Cursors,
    collector: Receiver,
    *,
    rng: random.Random,
    once: bool = False,
    patience: Patience = PATIENCE,
    stopping: Callable[[], bool] = lambda: False,
    kinds: Sequence[str] | None = None,
) -> Delivered:
    """Deliver what is in the log and whatever comes, until `stopping`; with `once`, what is in it now; of `kinds` alone.

    Of several processes one delivers to a collector and the others wait for their turn. With `once` nobody waits:
    HeldError where another delivers, UpstreamError where the collector took nothing in `patience.tries` tries. In
    either case UpstreamError where it refused a hundred facts in a row and took none (then it is rather the address
    than the facts), StrayCursorError where the cursor belongs to another log, LogGoneError where the log was
    taken away. `stopping` is asked between posts, so that what is acknowledged is also noted; an interruption
    anywhere is as harmless as a crash: what was under way is sent again.
    """
    return _Delivery(log, cursors, collector, rng, patience, stopping, kinds).run(once=once)


class _Delivery:
    def __init__(
        self,
        log: EventLog,
        cursors: Cursors,
        collector: Receiver,
        rng: random.Random,
        patience: Patience,
        stopping: Callable[[], bool],
        kinds: Sequence[str] | None,
    ) -> None:
        self._kinds = kinds
        self._log, self._cursors, self._collector = log, cursors, collector
        self._rng, self._patience, self._stopping = rng, patience, stopping
        self._done = Delivered()
        self._in_vain = 0
        self._failures = 0

    def run(self, *, once: bool) -> Delivered:
        until = self._log.head() if once else None
        with asyncio.Runner() as runner:
            sieve = Sieve(runner, self._collector)
            try:
                while not (self._stopping() or self._turn(sieve, until)):
                    pass
            finally:
                runner.run(self._collector.aclose())
        return self._done

    def _turn(self, sieve: Sieve, until: int | None) -> bool:
        """Deliver as long as it is this one's turn and all is well; whether that is all there was to do."""
        try:
            with _Turn(self._cursors, self._collector.name, self._patience.turn_s) as turn:
                cursor = turn.cursor
                belongs(self._log, cursor)
                # Of some kinds alone the log is looked through once, and no alert is far from the end for long.
                looked = position = cursor.position
                while (until is None or position < until) and not self._stopping():
                    head = self._log.head()
                    position, away = self._drain(sieve, turn, max(position, looked), until)
                    if away is not None:
                        self._wait(away, waited_for=until is not None)
                    elif until is not None:
                        break
                    elif self._kinds is None:
                        self._log.wait(position, _NEWS_S)
                    else:
                        looked = max(looked, head)
                        self._pause(_NEWS_S)
                return True
        except HeldError as error:
            if until is not None:
                raise
            self._aside(error)
        except CursorLostError as error:
            _logger.warning("%s", error)
        except (LogGoneError, StrayCursorError):
            raise
        except RecordError as error:
            # A database that is started anew is no reason to give up.
            if until is not None:
                raise
            self._wait(Away(str(error)), waited_for=False)
        return False

    def _drain(self, sieve: Sieve, turn: _Turn, position: int, until: int | None) -> tuple[int, Away | None]:
        """Deliver what is there: how far it went, and what ended it before its time."""
        for batch in batches(self._log, position, until, most=self._collector.most, kinds=self._kinds):
            turn.check()
            for part, answer in sieve.through(batch):
                if isinstance(answer, Away):
                    return position, answer
                last = part[-1]
                refused = (
                    [_quarantined(self._collector.name, last, answer)] if isinstance(answer, Refused) else []
                )
                self._cursors.advance(
                    self._collector.name,
                    turn.holder,
                    position=last.position,
                    event_id=last.row.event_id,
                    delivered=len(part) - len(refused),
                    refused=refused,
                )
                position = last.position
                self._count(part, refused)
                if self._stopping():
                    return position, None
        return position, None

    def _count(self, part: Sequence[Parcel], refused: Sequence[Quarantined]) -> None:
        self._failures = 0
        self._done.delivered += len(part) - len(refused)
        self._done.refused += len(refused)
        self._in_vain = self._in_vain + len(refused) if refused else 0
        for each in refused:
            _logger.warning(
                "%s would not take the %s %s of %s at position %d: %s; it is in quarantine, and "
                "`equipoise outbox replay` sends it again",
                *(each.collector, each.kind, each.event_id, each.experiment, each.position, each.reason),
            )
        if self._in_vain >= _IN_VAIN:
            raise UpstreamError(
                f"{self._collector.name} refused {_IN_VAIN} facts one after another and took none; they are in "
                "quarantine. Check the address and the kind of the collector, then send them again with "
                "`equipoise outbox replay`; to go on past them, deliver again"
            )

    def _wait(self, away: Away, *, waited_for: bool) -> None:
        self._failures += 1
        self._done.retries += 1
        name = self._collector.name
        wait = self._patience.after(self._failures, away.wait_s, self._rng)
        with suppress(RecordError):
            self._cursors.hindered(name, away.reason)
        if waited_for and (self._failures >= self._patience.tries or wait > self._patience.longest_s):
            raise unavailable(name, away, self._failures)
        _logger.warning("%s %s; trying again in %.1f s", name, away.reason, wait)
        self._pause(wait)

    def _aside(self, held: HeldError) -> None:
        _logger.warning("%s delivers to %s; waiting for its turn to end", held.who, held.collector)
        # Where the cursors cannot be read just now, taking the turn says so.
        with suppress(RecordError):
            while held.who in (each.who for each in self._cursors.all() if each.collector == held.collector):
                if self._stopping():
                    return
                time.sleep(min(_NEWS_S, self._patience.turn_s / 4))

    def _pause(self, seconds: float) -> None:
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0 and not self._stopping():
            time.sleep(min(left, _BLINK_S))


class _Turn:
    """A collector's cursor held by this process, and kept so by a thread."""

    def __init__(self, cursors: Cursors, collector: str, seconds: float) -> None:
        self._cursors, self._collector, self._seconds = cursors, collector, seconds
        self.holder = new_id()
        who = f"process {os.getpid()} on {socket.gethostname()}"
        self.cursor: Cursor = cursors.take(collector, self.holder, who, seconds)
        self._over, self._lost = Event(), False
        self._thread = Thread(target=self._keep, name="equipoise-outbox-turn", daemon=True)
        self._thread.start()

    def _keep(self) -> None:
        while not self._over.wait(self._seconds / 3):
            # Where the database is away the turn may run out; then the cursor is another's, and moves no more.
            with suppress(RecordError):
                if not self._cursors.renew(self._collector, self.holder, self._seconds):
                    self._lost = True
                    return

    def check(self) -> None:
        """CursorLostError where another took over."""
        if self._lost:
            raise CursorLostError(
                f"another process took over the delivery to {self._collector}; this one waits for its turn"
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        self._thread.join()
        with suppress(RecordError):
            self._cursors.release(self._collector, self.holder)


def _quarantined(collector: str, refused: Parcel, answer: Refused) -> Quarantined:
    row = refused.row
    return Quarantined(
        collector, refused.position, row.event_id, row.experiment, row.kind, answer.status, answer.reason
    )
