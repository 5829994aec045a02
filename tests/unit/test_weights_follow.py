"""How the monitor's weights follow the ledger: no fact is looked through twice, and another log is read from its beginning."""

from __future__ import annotations

import random

from playing import bandit, playing, served

from equipoise.clock import ManualClock
from equipoise.events.log import MemoryLog
from equipoise.monitor.weights import Weights


class Asked(MemoryLog):
    """A log that notes from where the ledger is asked for."""

    since: list[int]

    def read_since(self, position=0, *, experiment=None, kinds=None):
        if kinds is not None and experiment is None:
            self.since.append(position)
        return super().read_since(position, experiment=experiment, kinds=kinds)


def filled(units: int) -> tuple[Asked, ManualClock]:
    clock = ManualClock(1_800_000_000.0)
    log, experiment = Asked(clock), bandit()
    log.since = []
    playing(log, experiment, clock)
    served(log, experiment, clock, random.Random(1), units, {"control": 0.4, "b": 0.4, "c": 0.8})
    log.since.clear()
    return log, clock


class Place:
    """Where a log is, whichever that is."""

    def __init__(self, log: Asked) -> None:
        self.log = log

    def head(self) -> int:
        return self.log.head()

    def read_since(self, *words, **more):
        return self.log.read_since(*words, **more)


def test_traffic_is_not_looked_through_again():
    """However much came in since the last fact of the ledger, the next run begins where this one ended."""
    log, clock = filled(50)
    weights = Weights(log, lambda *_: None)
    for _ in range(3):
        list(weights.run(clock.now(), lambda: False))
    assert log.since == [0, log.head(), log.head()]


def test_a_log_in_its_place_is_read_from_its_beginning():
    """One that ends earlier, or holds something else where the last one was read to, is another one."""
    first, clock = filled(50)
    place = Place(first)
    weights = Weights(place, lambda *_: None)
    list(weights.run(clock.now(), lambda: False))
    for units in (10, 80):
        other, _ = filled(units)
        place.log = other
        list(weights.run(clock.now(), lambda: False))
        assert other.since[0] == 0
        assert list(weights.state()["bandits"])
