"""The last registered look, read out again: as it was taken, whatever came since; and where it cannot be, why."""

from __future__ import annotations

import pytest
from boarding import definition, served

from equipoise.clock import ManualClock
from equipoise.conduct.look import look
from equipoise.conduct.purge import purge_unit
from equipoise.conduct.read_out import read_out
from equipoise.conduct.register import register
from equipoise.errors import RecordError
from equipoise.events.log import MemoryLog
from equipoise.events.sqlite import SQLiteLog
from equipoise.experiment.reading import read_canonical


def test_it_is_the_look_that_was_taken_whatever_came_since():
    """The same numbers to the last digit after a hundred units that look very different; nothing is recorded by it."""
    clock = ManualClock(1_780_000_200.0)
    log = MemoryLog(clock)
    of = read_canonical(definition("looked"))
    register(log, of, by="test", reason="a test", clock=clock)
    assert read_out(log, "looked") is None
    served(log, of, range(400), clock, lift=0.1)
    taken = look(log, "looked", clock=clock)
    assert taken.findings.look.due
    assert not taken.findings.look.final
    served(log, of, range(400, 500), clock, lift=0.5)
    head = log.head()
    found = read_out(log, "looked")
    assert found is not None
    assert found.analysis is not None
    assert (found.analysis.to_dict(), found.because) == (taken.to_dict(), None)
    assert found.look.number == 1
    assert log.head() == head
    with pytest.raises(RecordError) as refused:
        read_out(log, "loked")
    assert str(refused.value).startswith(
        "no experiment called 'loked' is registered in this log; it holds: looked"
    )


def test_a_look_that_comes_out_otherwise_is_not_shown(tmp_path):
    """After a purge of a unit that it read nobody registered what would be seen now."""
    clock = ManualClock(1_780_000_200.0)
    log = SQLiteLog(tmp_path / "l.db", clock=clock)
    of = read_canonical(definition("looked"))
    register(log, of, by="test", reason="a test", clock=clock)
    served(log, of, range(400), clock, lift=0.1)
    look(log, "looked", clock=clock)
    purge_unit(str(tmp_path / "l.db"), "u7", by="test", clock=clock)
    found = read_out(log, "looked")
    assert found is not None
    assert (found.analysis, found.because) == (
        None,
        "what it was computed from has changed since, by a purge or in the table; `equipoise verify looked` tells more",
    )
