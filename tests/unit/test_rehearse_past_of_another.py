"""A rehearsal on the past of another experiment: what is new has no past of its own."""

from __future__ import annotations

import random
from typing import Any

import pytest

from equipoise import Router
from equipoise.clock import ManualClock
from equipoise.conduct.past.units import past_units
from equipoise.conduct.register import register
from equipoise.conduct.rehearse import rehearse
from equipoise.errors import DataError, RecordError, UsageError
from equipoise.events.log import EventLog, MemoryLog
from equipoise.experiment.definition import Experiment
from equipoise.experiment.reading import read_canonical

BASE: dict[str, Any] = {
    "name": "old",
    "hypothesis": "h.",
    "unit": {"type": "conversation", "id": "any"},
    "changes": ["system"],
    "attributes": {"user": {"type": "text"}},
    "variants": {"control": {"system": "a"}, "warm": {"system": "b"}, "brief": {"system": "c"}},
    "metrics": {"resolution_rate": {"priority": "primary", "baseline": 0.5, "mde": "10pp"}},
    "plan": {"units_per_day": 100},
}
NEW: dict[str, Any] = BASE | {
    "name": "new",
    "cluster": "user",
    "variants": {"control": {"system": "d"}, "treatment": {"system": "e"}},
    "metrics": {"cost": {"priority": "primary", "kind": "mean", "of": "turn.cost_usd", "better": "lower",
                         "baseline": 1.0, "spread": 1.0, "mde": 0.5}},
}  # fmt: skip


def read(keys: dict[str, Any], **more: Any) -> Experiment:
    return read_canonical(keys | more)


@pytest.fixture
def log() -> EventLog:
    """An A/B of three arms, 300 conversations of 60 users, and what a turn cost."""
    clock, rng = ManualClock(1_790_000_000.0), random.Random(5)
    log, old = MemoryLog(clock=clock), read(BASE)
    register(log, old, by="ann", reason="a test", clock=clock)
    with Router(old, log=log, clock=clock) as router:
        for n in range(300):
            clock.advance(60.0)
            seen = router.assign(f"c{n}", {"user": f"u{n % 60}"})
            seen.expose()
            seen.turn(cost_usd=rng.gammavariate(4.0, 0.25))
    return log


def test_its_units_are_measured_by_the_metrics_of_the_new_one(log):
    """Arms, and who counts, are those of the experiment that ran; metrics and clusters those of the one to come."""
    new = read(NEW)
    past = past_units(log, "old", new)
    assert set(past.crowd.values) == {"cost"}
    assert (
        past.says
        == f"{past.crowd.size} past units of control in {len(set(past.crowd.clusters))} clusters in the log, drawn again"
    )
    warm = past_units(log, "old", new, arm="warm")
    assert past.crowd.size + warm.crowd.size + past_units(log, "old", new, arm="brief").crowd.size == 300
    found = rehearse(new, past, runs=2, processes=1, only=["nothing"])
    assert found.population == past.says


def test_what_is_no_past_of_it_is_refused(log):
    """Another kind of unit, an arm that was not there, and a name that nobody registered."""
    new = read(NEW)
    with pytest.raises(UsageError) as units:
        past_units(log, "old", read(NEW, unit={"type": "user"}))
    assert str(units.value) == (
        f"{read(BASE).identity} randomises each conversation, and {read(NEW, unit={'type': 'user'}).identity} each user; name "
        "an experiment whose units are the same: --like NAME"
    )
    with pytest.raises(UsageError) as arm:
        past_units(log, "old", new, arm="treatment")
    assert (
        str(arm.value) == f"{read(BASE).identity} has no variant 'treatment'; accepted: control, brief, warm"
    )
    with pytest.raises(DataError) as none:
        past_units(log, "new", new)
    assert str(none.value) == (
        f"the log holds no exposure to {new.identity} yet. Serve traffic through a Router with this log; the past of "
        "another experiment is drawn by --like NAME"
    )
    with pytest.raises(RecordError, match=r"^no experiment called 'nobody' is registered in this log"):
        past_units(log, "nobody", new)
