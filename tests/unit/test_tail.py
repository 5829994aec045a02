"""The end of a log, followed: each fact once, what is of other kinds passed over once, and another log told from this one."""

from __future__ import annotations

import pytest

from equipoise.clock import ManualClock
from equipoise.events.facts import Loss, Outcome
from equipoise.events.log import MemoryLog
from equipoise.events.tail import AnotherLogError, Tail


class Asked(MemoryLog):
    """A log that notes from where facts of some kinds are asked for."""

    since: list[int]

    def read_since(self, position=0, *, experiment=None, kinds=None):
        if kinds is not None:
            self.since.append(position)
        return super().read_since(position, experiment=experiment, kinds=kinds)


def filled(losses: int, outcomes: int) -> Asked:
    log = Asked(ManualClock(0.0))
    log.since = []
    log.append([Loss(experiment="e", happened=0.0, since=0.0, facts={}) for _ in range(losses)])
    log.append(
        [Outcome(experiment="e", happened=0.0, unit="u", name="n", value=True) for _ in range(outcomes)]
    )
    return log


def test_each_fact_comes_once_and_the_others_are_passed_over_once():
    """Asking again begins at the end of all that was there, whatever kind it was of."""
    log = filled(2, 50)
    tail = Tail(log, ("loss",))
    assert len(list(tail.new())) == 2
    assert list(tail.new()) == []
    log.append([Loss(experiment="e", happened=0.0, since=0.0, facts={})])
    assert len(list(tail.new())) == 1
    assert log.since == [0, 52, 52]


def test_a_fact_that_could_not_be_taken_is_not_given_again():
    """Whoever takes it may fail: the next call goes on behind it."""
    log = filled(3, 0)
    tail = Tail(log, ("loss",))
    next(tail.new())
    assert len(list(tail.new())) == 2


@pytest.mark.parametrize(("losses", "outcomes"), [(1, 0), (5, 80)])
def test_another_log_is_told_from_this_one_and_read_from_its_beginning(losses, outcomes):
    """One that ends earlier, and one that holds something else where the last one was read to."""
    tail = Tail(filled(2, 50), ("loss",))
    list(tail.new())
    tail._log = filled(losses, outcomes)
    with pytest.raises(
        AnotherLogError, match=r"^the log is not the one it was: where it was read to, it ends"
    ):
        next(tail.new())
    assert len(list(tail.new())) == losses
