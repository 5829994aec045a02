"""What a rehearsal says of a switchback is true of the plan: its size finds the effect as often as it says.

Slots of six hours vary with an autocorrelation of 0.5 and an intraclass correlation of 0.2 among fifty turns each, and what
slots of a block have in common is half of it. Runs are seeded; bounds hold but once in 10,000 times by chance on either side.

The design takes ten weeks and is looked at as often as blocks are whole. With a fourth of the slots errors are nearer to 7 %
than to 5: a look that waits for information comes sooner where what was seen varies little by chance.
"""

from __future__ import annotations

import pytest
from switched import BASE, switchback

from equipoise.conduct.rehearsal.slots import assumed_slots
from equipoise.conduct.rehearse import rehearse
from equipoise.stats.cases.binomial import clopper_pearson_interval
from equipoise.stats.estimate import Estimate

EXPERIMENT = switchback(
    switchback={"expected_correlation": 0.5, "wash_out": "1h"},
    plan={"looks": [0.5, 1.0], "cycle": "14d"},
    metrics={"cost": BASE["metrics"]["cost"] | {"mde": 0.024}},
)
WHOLE = 14 * 86_400.0
SHORT = pytest.mark.parametrize("runs", [120, pytest.param(2_000, marks=pytest.mark.long)])


def wide(share: float, runs: int) -> Estimate:
    found = clopper_pearson_interval(round(share * runs), runs, level=0.9998)
    assert isinstance(found, Estimate)
    return found


@SHORT
def test_power_and_errors_are_those_of_the_plan_and_turns_err(runs: int) -> None:
    """5 % alarms and 80 % power by slots in their blocks; a test of turns raises many times the alarms."""
    slots = assumed_slots(EXPERIMENT, autocorrelation=0.5, turns=50, icc=0.2)
    found = rehearse(EXPERIMENT, slots, runs=runs, seed=7, every=WHOLE, only=["nothing", "planned"])
    nothing, planned = (wide(each.crossed.value, runs) for each in found.outcomes)
    assert nothing.low < 0.05 < nothing.high + 0.005
    # A look waits until blocks are whole, and slots of two weeks more tell somewhat more.
    assert planned.low < 0.85
    assert planned.high > 0.78
    turns = found.outcomes[0].beside["turns one by one"]
    assert wide(turns.value, runs).low > 0.2
    carried = wide(found.outcomes[0].beside["carry-over"].value, runs)
    assert carried.low < 0.05 < carried.high + 0.015


@SHORT
def test_what_is_carried_over_costs_power_and_is_washed_out(runs: int) -> None:
    """Arms that work on for half of a slot are found to, and the effect of a slot is less; within the wash-out nothing of it is left."""
    long, washed = (
        rehearse(
            EXPERIMENT, assumed_slots(EXPERIMENT, carry_over=hours * 3600.0), runs=runs, seed=5, every=WHOLE, only=["planned"]
        ).outcomes[0]
        for hours in (3.5, 1.0)
    )  # fmt: skip
    assert wide(long.crossed.value, runs).high < 0.78
    assert wide(washed.crossed.value, runs).high > 0.78
    assert wide(long.beside["carry-over"].value, runs).low > 0.05
    alarms = wide(washed.beside["carry-over"].value, runs)
    assert alarms.low < 0.05 < alarms.high + 0.015
