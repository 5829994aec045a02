"""Slots that were drawn are measured as a log of the same slots is: which wait for their blocks, totals, carry-over."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from switched import switchback

from equipoise.analysis.switchback import carry_overs
from equipoise.clock import ManualClock
from equipoise.conduct.rehearsal.run import Scenario
from equipoise.conduct.rehearsal.slots import assumed_slots
from equipoise.events.facts import Exposure, Fact, Turn
from equipoise.events.log import MemoryLog
from equipoise.experiment.definition import Experiment
from equipoise.measurement.measuring import measure_log
from equipoise.measurement.rehearsed.drawn_slots import DrawnSlots

PLANNED = Scenario("planned", "cheaper", "treatment", {"cost": -0.05})


def facts(experiment: Experiment, drawn: DrawnSlots, slots: int) -> Iterator[Fact]:
    """Each slot as one turn, which costs what the slot came to."""
    arms = [variant.name for variant in experiment.variants]
    for place in range(slots):
        name, arm = drawn.names[place], arms[drawn.arms[place]]
        start, _, by = name.partition("/")
        common: dict[str, Any] = {
            "experiment": experiment.name,
            "unit": name,
            "variant": arm,
            "reason": "split",
        }
        yield Exposure(
            **common, happened=float(start) + 2000.0, digest=experiment.digest, unit_type="slot", probability=0.5,
            attributes={"region": by} if by else {}, event_id=f"e{name}",
        )  # fmt: skip
        yield Turn(
            **common, happened=float(start) + 2001.0, digest=experiment.digest, latency_s=1.0,
            cost_usd=float(drawn.crowd.values["cost"][place]), trace=name, event_id=f"t{name}",
        )  # fmt: skip


@pytest.mark.parametrize(
    ("more", "per_day"),
    [
        ({}, 4),
        ({"balance": ["hour"]}, 4),
        ({"balance": ["weekday"]}, 4),
        ({"balance": []}, 4),
        ({"by": "region"}, 12),
    ],
)
@pytest.mark.parametrize("slots", [20, 45, 110, 168])
def test_drawn_slots_are_measured_as_a_log_of_them(more, per_day, slots):
    """Units, totals by block and effects of slots before are those that the engine counts, while blocks become whole."""
    attributes = {"attributes": {"region": {"from": "header:x-region"}}} if more.get("by") else {}
    experiment = switchback(switchback=more, **attributes)
    drawn = assumed_slots(experiment).draw(200, per_day, PLANNED, np.random.default_rng(slots))
    log = MemoryLog(ManualClock(10_000_000.0))
    log.append(list(facts(experiment, drawn, slots)))
    wanted = measure_log(experiment, log)
    found = drawn.at(slots, {"cost": slots}, 0.0)
    assert found.units == wanted.units
    assert found.clusters == wanted.clusters
    for arm in ("control", "treatment"):
        mine, theirs = found.tallies["cost"][arm], wanted.tallies["cost"][arm]
        assert (mine.units, mine.missing, mine.immature) == (theirs.units, theirs.missing, theirs.immature)
        assert (mine.totals is None) is (theirs.totals is None)
        if mine.totals is not None and theirs.totals is not None:
            # The order of the blocks is one for all arms, whatever it is.
            assert sorted(mine.totals.sizes) == pytest.approx(sorted(theirs.totals.sizes))
            assert sorted(mine.totals.sums) == pytest.approx(sorted(theirs.totals.sums))
        assert mine.moments is not None
        assert theirs.moments is not None
        assert (mine.moments.mean, mine.moments.m2) == pytest.approx((theirs.moments.mean, theirs.moments.m2))
    (one,), (other,) = (
        carry_overs(experiment, each) for each in (replace(found, slots=drawn.values(slots)), wanted)
    )
    assert type(one.estimate) is type(other.estimate)
    if hasattr(one.estimate, "value"):
        assert (one.estimate.value, one.estimate.p_value) == pytest.approx(
            (other.estimate.value, other.estimate.p_value)
        )
