"""Mean times to an event, and the curve under them, as others have printed them."""

from __future__ import annotations

import math

import pytest

from equipoise.stats.comparison.restricted_means import RestrictedMean, restricted_mean_of

# Acute myelogenous leukaemia, weeks; Miller (1981), Survival Analysis, p. 49. A sign marks who was censored.
MAINTAINED = [9, 13, -13, 18, 23, -28, 31, 34, -45, 48, -161]
NOT_MAINTAINED = [5, 5, 8, 8, 12, -16, 23, 27, 30, 33, 43, 45]

# Remissions under 6-mercaptopurine, weeks; Freireich et al. (1963), Blood 21, 699.
REMISSIONS = [
    6, 6, 6, -6, 7, -9, 10, -10, -11, 13, 16, -17, -19, -20, 22, 23, -25, -32, -32, -34, -35,
]  # fmt: skip


def restricted(signed: list[int], horizon: float) -> RestrictedMean:
    found = restricted_mean_of([abs(time) for time in signed], [time > 0 for time in signed], horizon=horizon)
    assert isinstance(found, RestrictedMean)
    return found


@pytest.mark.parametrize(
    ("signed", "events", "mean", "error"),
    [(MAINTAINED, 7, "52.6", "19.83"), (NOT_MAINTAINED, 11, "22.7", "4.18")],
)
def test_restricted_means_of_the_leukaemia_data_are_those_that_r_prints(
    signed: list[int], events: int, mean: str, error: str
) -> None:
    """R's `survival` up to week 161; its standard error is Greenwood's, ours has k / (k − 1) in its square."""
    found = restricted(signed, 161.0)
    greenwood = found.standard_error * math.sqrt((found.blocks - 1) / found.blocks)
    assert (found.events, f"{found.value:.1f}", f"{greenwood:.2f}") == (events, mean, error)


def test_the_curve_under_the_mean_is_the_published_one() -> None:
    """What a longer horizon adds to the mean is the curve's height there: Kaplan–Meier as textbooks print it."""
    printed = {6: 0.857, 7: 0.807, 10: 0.753, 13: 0.690, 16: 0.627, 22: 0.538, 23: 0.448}
    for week, height in printed.items():
        added = restricted(REMISSIONS, week + 1.0).value - restricted(REMISSIONS, week + 0.5).value
        assert added / 0.5 == pytest.approx(height, abs=5e-4)
