"""Shares of teams that are randomised: the planned power is the power that is found, and 5 % alarm where nothing differs.

Seeded. A team's readings are lognormal in number (20 on average, with the coefficient of variation of the plan), its rate is drawn
from a beta distribution that makes two of its readings correlate by the plan's intraclass correlation, and each reading is drawn;
what is read out is what the record's measurement would count. Short tests tolerate a binomial count at |z| = 4 (one false alarm in
16,000); long ones half a point for false alarms and a point and a half for the power: sizes are whole numbers and none is 0.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from equipoise.analysis.effects import difference
from equipoise.design.plan import plan
from equipoise.experiment.definition import Experiment
from equipoise.experiment.reading import read_canonical
from equipoise.measurement.rehearsed.drawn import Drawn
from equipoise.measurement.rehearsed.population import Crowd
from equipoise.stats.estimate import Estimate

ALPHA, POWER = 0.05, 0.8
ICC, SIZE = 0.05, 20.0


def teams(mde: float, cv: float) -> Experiment:
    """From as far below one half to as far above it, so that both arms vary alike, as the plan takes them to."""
    primary: dict[str, Any] = {
        "priority": "primary",
        "per_unit": "mean",
        "baseline": 0.5 - mde / 2,
        "mde": mde,
    }
    return read_canonical({
        "name": "teams", "hypothesis": "Notes help.", "unit": {"type": "cluster"}, "changes": ["config"],
        "variants": {"control": {"config": {"notes": 0}}, "treatment": {"config": {"notes": 1}}},
        "metrics": {"thumbs": primary},
        "plan": {"alpha": ALPHA, "power": POWER, "clusters": {"icc": ICC, "size": SIZE, "size_cv": cv}},
    })  # fmt: skip


def found(experiment: Experiment, units: int, effect: float, cv: float, rng: np.random.Generator) -> bool:
    """Whether a difference is seen among so many teams, half of which have the treatment."""
    arms = rng.permutation(np.arange(units) % 2)
    width = math.sqrt(math.log1p(cv * cv))
    sizes = np.maximum(1, np.round(SIZE * np.exp(rng.normal(-width * width / 2, width, units)))).astype(int)
    metric, spare = experiment.primary, 1.0 / ICC - 1.0
    assert metric.baseline is not None
    mean = metric.baseline + effect * arms
    shares = rng.binomial(sizes, rng.beta(mean * spare, (1.0 - mean) * spare)) / sizes
    drawn = Drawn(experiment, Crowd(units, {metric.name: shares}), arms)
    tallies = drawn.at(units, {metric.name: units}, 0.0).tallies[metric.name]
    estimate = difference(metric, tallies["control"], tallies["treatment"], level=1.0 - ALPHA)
    assert isinstance(estimate, Estimate)
    assert estimate.p_value is not None
    return estimate.p_value < ALPHA


@pytest.mark.parametrize("replications", [800, pytest.param(40_000, marks=pytest.mark.long)])
@pytest.mark.parametrize(("mde", "cv"), [(0.06, 0.0), (0.06, 0.6), (0.18, 0.6)])
def test_planned_power_is_found_power(mde: float, cv: float, replications: int) -> None:
    """Many and few teams (the last has fewer than thirty an arm), of one size and of sizes that vary by six tenths."""
    experiment = teams(mde, cv)
    units = plan(experiment).total
    assert units is not None
    assert (units < 60) == (mde == 0.18)
    rng = np.random.default_rng((round(mde * 100), round(cv * 10)))
    power = sum(found(experiment, units, mde, cv, rng) for _ in range(replications)) / replications
    alarms = sum(found(experiment, units, 0.0, cv, rng) for _ in range(replications)) / replications
    count = 4.0 * math.sqrt(POWER * (1 - POWER) / replications)
    assert power == pytest.approx(POWER, abs=max(count, 0.015))
    assert alarms == pytest.approx(ALPHA, abs=max(4.0 * math.sqrt(ALPHA * (1 - ALPHA) / replications), 0.005))
