"""Few units and looks at the information: who waits for a small standard error must not find one by chance."""

from __future__ import annotations

import math

import numpy as np
import pytest

from equipoise.analysis.information import FEW, information_now
from equipoise.analysis.looks import look_now
from equipoise.experiment.reading import read_canonical
from equipoise.measurement.tally import Measurement, Tally
from equipoise.stats.comparison.means import difference_of_means
from equipoise.stats.moments import Moments

EXPERIMENT = read_canonical(
    {
        "name": "few",
        "hypothesis": "Few units keep the promise, too.",
        "unit": "conversation",
        "changes": ["model"],
        "variants": {"control": {"model": "a"}, "treatment": {"model": "b"}},
        "metrics": {"cost": {"priority": "primary", "kind": "mean", "of": "outcome.cost", "better": "lower"}},
    }
)


def measured(control: Moments, treatment: Moments) -> Measurement:
    arms = {"control": control, "treatment": treatment}
    return Measurement(
        source="numbers",
        rows=control.n + treatment.n,
        units={arm: moments.n for arm, moments in arms.items()},
        crossed=0,
        kept=True,
        rows_without_unit=0,
        clusters=None,
        first=0.0,
        last=1.0,
        tallies={"cost": {arm: Tally(units=each.n, missing=0, moments=each) for arm, each in arms.items()}},
    )


def moments(values: np.ndarray) -> Moments:
    return Moments(values.size, float(values.mean()), float(((values - values.mean()) ** 2).sum()))


def ended(rng: np.random.Generator, units: int, *, planned: float | None) -> bool:
    """One A/A test whose only look is due when its information is there, asked every two units: whether it errs."""
    values = rng.standard_normal((2, 2 * units))
    for n in range(2, 2 * units):
        control, treatment = moments(values[0, :n]), moments(values[1, :n])
        maximum = units / 4.0
        information = information_now(
            EXPERIMENT, measured(control, treatment), maximum=maximum, units=planned
        )
        assert isinstance(information, float)
        if look_now(EXPERIMENT, information=information, maximum=maximum).due:
            break
    found = difference_of_means(control, treatment)
    return found.p_value < 0.05


@pytest.mark.parametrize("runs", [1_200, pytest.param(40_000, marks=pytest.mark.long)])
def test_a_look_of_few_units_is_not_due_because_they_happen_to_be_alike(runs):
    """Forty units: 5.2 % of A/A tests err, and 7.7 % where the look is due by the information alone (n 100,000 each).

    Both are held to within four standard errors of so many runs, which are of the same draws.
    """
    kept = sum(ended(np.random.default_rng(seed), 40, planned=40.0) for seed in range(runs)) / runs
    alone = sum(ended(np.random.default_rng(seed), 40, planned=None) for seed in range(runs)) / runs
    assert kept == pytest.approx(0.052, abs=4.0 * math.sqrt(0.052 * 0.948 / runs))
    assert alone == pytest.approx(0.077, abs=4.0 * math.sqrt(0.077 * 0.923 / runs))
    assert kept < alone


def test_many_units_say_themselves_how_much_is_known():
    """From so many degrees of freedom on a small variance is one, and nobody waits for units that are not needed."""
    few, many = (moments(np.tile([0.0, 1.0], n)) for n in (FEW // 4, FEW))
    known = measured(many, many)
    assert information_now(EXPERIMENT, known, maximum=1e6, units=1e6) == pytest.approx(
        difference_of_means(many, many).standard_error ** -2
    )
    # A tenth of the planned units says no more than a tenth of what is to be known.
    assert information_now(EXPERIMENT, measured(few, few), maximum=300.0, units=2_000.0) == pytest.approx(
        30.0
    )
    assert information_now(EXPERIMENT, measured(few, few), maximum=1e6, units=None) == pytest.approx(
        difference_of_means(few, few).standard_error ** -2
    )
