"""What a rehearsal says of rankers that share lists is true of the plan: its size finds the effect as often as it says.

Searches come from the click model, through the real drafting, credit and test. Runs are seeded; bounds hold but once in
10,000 times by chance on either side. With a hundred people in place of some hundreds errors are nearer to 8 % than to 5:
a look that waits for information comes sooner where what was seen varies little by chance.
"""

from __future__ import annotations

import pytest
from searching import BASE, rankers

from equipoise.conduct.rehearsal.clicks import AssumedSearches
from equipoise.conduct.rehearse import rehearse
from equipoise.stats.cases.binomial import clopper_pearson_interval
from equipoise.stats.estimate import Estimate

EXPERIMENT = rankers(
    metrics={"preference": BASE["metrics"]["preference"] | {"mde": "6pp"}},
    plan={"looks": [0.5, 1.0], "cycle": "1d"},
)
PACE = 72.0
"""Queries a day, on each of which somebody looks: the plan takes fifteen days."""


def wide(share: float, runs: int) -> Estimate:
    found = clopper_pearson_interval(round(share * runs), runs, level=0.9998)
    assert isinstance(found, Estimate)
    return found


@pytest.mark.parametrize("runs", [100, pytest.param(2_000, marks=pytest.mark.long)])
def test_power_and_errors_are_those_of_the_plan(runs: int) -> None:
    """Rankers that are better as often are told apart in 5 % of the runs; the planned effect is found in 80 %."""
    found = rehearse(EXPERIMENT, runs=runs, seed=7, units_per_day=PACE, only=["nothing", "planned"])
    nothing, planned = (wide(each.crossed.value, runs) for each in found.outcomes)
    # The last look waits for information, which comes up to a fifteenth late.
    assert nothing.low < 0.05 < nothing.high + 0.005
    assert planned.low < 0.84
    assert planned.high > 0.79


@pytest.mark.parametrize("runs", [100, pytest.param(2_000, marks=pytest.mark.long)])
def test_people_who_ask_often_are_no_false_alarm_and_take_more_queries(runs: int) -> None:
    """With four searches each, alike by 0.1, errors hold; and it takes the 1.3 times the queries that `plan` warns of."""
    alone, alike = (
        rehearse(EXPERIMENT, AssumedSearches(EXPERIMENT, icc, each), runs=runs, seed=3, units_per_day=PACE, only=["nothing", "planned"])
        for icc, each in ((0.0, 1), (0.1, 4))
    )  # fmt: skip
    nothing = wide(alike.outcomes[0].crossed.value, runs)
    assert nothing.low < 0.05 < nothing.high + 0.005
    # The look waits for the same information, and that takes so many more.
    assert alike.outcomes[0].units.mean / alone.outcomes[0].units.mean == pytest.approx(1.3, abs=0.06)
    assert wide(alike.outcomes[1].crossed.value, runs).high > 0.79
