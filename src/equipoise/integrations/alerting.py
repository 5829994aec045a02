"""The chore of telling: alerts to one destination, by a cursor of its own, and never in the way of the watching."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import asdict
from itertools import takewhile
from typing import Any

from equipoise.clock import Clock, SystemClock
from equipoise.errors import RecordError
from equipoise.events.cursors import Cursors, HeldError
from equipoise.events.facts import Alert
from equipoise.events.ids import new_id
from equipoise.events.log import EventLog
from equipoise.integrations.batches import PATIENCE, Patience
from equipoise.integrations.collectors import Receiver
from equipoise.integrations.outbox import deliver
from equipoise.monitor.loop import News

__all__ = ["Alerting"]

_ALERTS = (Alert.kind,)
_BEFORE_S = 60.0
_AGAIN_S = 10.0


class Alerting:
    """Delivers alerts to a destination, at least once and in order, as an outbox delivers facts: until `stopping`, or with
    `once` those that are in the log now.

    A destination that was never delivered to is told of what happened from now on, and of the last minute. `cursors`
    opens the cursors beside the log, once the log is there; each such chore opens its own.
    """

    every = _AGAIN_S

    def __init__(
        self,
        log: EventLog,
        cursors: Callable[[], Cursors],
        receiver: Receiver,
        *,
        rng: random.Random,
        once: bool = False,
        patience: Patience = PATIENCE,
        clock: Clock | None = None,
    ) -> None:
        self.name = receiver.name
        self._log, self._open, self._receiver = log, cursors, receiver
        self._rng, self._once, self._patience = rng, once, patience
        self._since = (clock or SystemClock()).now() - _BEFORE_S
        self._cursors: Cursors | None = None

    def run(self, now: float, stopping: Callable[[], bool]) -> Iterator[News]:
        """Deliver, for as long as that goes well; whatever ends it is tried again ten seconds later."""
        del now
        head = self._log.head()
        if self._cursors is None:
            self._cursors = self._open()
        try:
            self._begin(self._cursors, head)
            done = deliver(
                self._log,
                self._cursors,
                self._receiver,
                rng=self._rng,
                once=self._once,
                patience=self._patience,
                stopping=stopping,
                kinds=_ALERTS,
            )
        except HeldError as held:
            if not self._once:
                raise
            yield News(says=f"{held.who} delivers there")
            return
        except RecordError:
            # Whoever mends what is beside the log takes the file away: the next try opens what is there then.
            self.close()
            raise
        if done.delivered:
            yield News(says=f"{done.delivered:,} {'alert' if done.delivered == 1 else 'alerts'} delivered")

    def _begin(self, cursors: Cursors, head: int) -> None:
        """Pass by what happened before there was such a destination."""
        name = self._receiver.name
        if any(each.collector == name for each in cursors.all()):
            return
        last = None
        records = self._log.read_since(0, kinds=_ALERTS)
        for record in takewhile(
            lambda record: record.position <= head and record.received < self._since, records
        ):
            last = record
        holder = new_id()
        cursors.take(name, holder, "the monitor", self._patience.turn_s)
        try:
            if last is not None:
                cursors.advance(name, holder, position=last.position, event_id=last.fact.event_id)
        finally:
            cursors.release(name, holder)

    def state(self) -> Mapping[str, Any]:
        """Where the destination stands: delivered, refused, retries, and why nothing gets through."""
        cursors = self._cursors
        if cursors is None:
            return {}
        with suppress(RecordError):
            for each in cursors.all():
                if each.collector == self._receiver.name:
                    return asdict(each)
        return {}

    def close(self) -> None:
        """Let go of the cursors; the log is the caller's."""
        cursors, self._cursors = self._cursors, None
        if cursors is not None:
            cursors.close()
