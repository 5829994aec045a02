"""Statistical promises, tested as promises.

Each simulation is seeded and states its replications. The tolerance is that of a binomial count at |z| = 4,
so that over all seeds one check in 16,000 would raise a false alarm. Both sides are checked, as far as the
method promises both.
"""

from __future__ import annotations

import math

import numpy as np
import pytest

from equipoise.stats.comparison.means import difference_of_means
from equipoise.stats.comparison.proportions import difference_of_proportions
from equipoise.stats.comparison.quantiles import QuantileSummary, difference_of_quantiles, quantile_of
from equipoise.stats.comparison.ratios import difference_of_ratios
from equipoise.stats.estimate import Estimate
from equipoise.stats.health.sample_ratio import AnytimeSampleRatio, anytime_sample_ratio
from equipoise.stats.looks.sequential import boundaries, inflation
from equipoise.stats.looks.spending import Spending, obrien_fleming, pocock
from equipoise.stats.moments import Moments, PairMoments
from equipoise.stats.sizes.power import power_two_proportions, size_two_means, size_two_proportions
from equipoise.stats.sizes.power_margins import size_noninferior_proportions

FALSE_ALARM_Z = 4.0


def tolerance(share: float, replications: int) -> float:
    return FALSE_ALARM_Z * math.sqrt(share * (1 - share) / replications)


def walks(fractions: list[float], drift: float, replications: int, seed: int) -> np.ndarray:
    steps = np.diff([0.0, *fractions])
    rng = np.random.default_rng(seed)
    brownian = np.cumsum(rng.normal(drift * steps, np.sqrt(steps), (replications, len(steps))), axis=1)
    return np.asarray(brownian / np.sqrt(fractions))


@pytest.mark.parametrize("spending", [obrien_fleming, pocock])
@pytest.mark.parametrize("fractions", [[0.2, 0.4, 0.6, 0.8, 1.0], [0.1, 0.15, 0.7, 1.0]])
def test_looks_keep_the_type_one_error(spending: Spending, fractions: list[float]) -> None:
    """Equal or unequal information, 200,000 replications: 5 % false positives, neither more nor fewer."""
    z = walks(fractions, 0.0, 200_000, seed=11)
    rejected = (np.abs(z) >= boundaries(fractions, 0.05, spending)).any(axis=1).mean()
    assert rejected == pytest.approx(0.05, abs=tolerance(0.05, 200_000))


@pytest.mark.parametrize("spending", [obrien_fleming, pocock])
def test_inflated_designs_have_their_power_and_stop_when_expected(spending: Spending) -> None:
    """At the inflated information, 200,000 replications: 80 % power and the stated average information."""
    fractions = [0.25, 0.5, 0.75, 1.0]
    design = inflation(fractions, 0.05, 0.8, spending)
    z = walks(fractions, design.drift, 200_000, seed=12)
    crossed = np.abs(z) >= design.boundaries
    assert (z >= design.boundaries).any(axis=1).mean() == pytest.approx(0.8, abs=tolerance(0.8, 200_000))
    stopped = np.where(crossed.any(axis=1), np.array(fractions)[crossed.argmax(axis=1)], 1.0)
    assert stopped.mean() == pytest.approx(design.expected, abs=FALSE_ALARM_Z * stopped.std() / 200_000**0.5)


@pytest.mark.parametrize(("p_c", "p_t", "n_c", "n_t"), [(0.6, 0.65, 300, 200), (0.02, 0.01, 800, 800)])
def test_score_interval_covers(p_c: float, p_t: float, n_c: int, n_t: int) -> None:
    """By 4,000 replications; half a point is added for the discreteness of counts."""
    rng = np.random.default_rng(13)
    covered = 0
    for x_c, x_t in zip(rng.binomial(n_c, p_c, 4000), rng.binomial(n_t, p_t, 4000), strict=True):
        found = difference_of_proportions(x_c, n_c, x_t, n_t)
        covered += isinstance(found, Estimate) and found.low <= p_t - p_c <= found.high
    assert covered / 4000 == pytest.approx(0.95, abs=tolerance(0.95, 4000) + 0.005)


def test_welch_interval_covers_with_unequal_spreads() -> None:
    """12 against 30 units, spreads 3 and 1, 10,000 replications; a quarter point for the approximate df."""
    rng = np.random.default_rng(14)
    covered = 0
    for c, t in zip(rng.normal(0, 3, (10_000, 12)), rng.normal(1, 1, (10_000, 30)), strict=True):
        found = difference_of_means(Moments.of(c), Moments.of(t))
        assert isinstance(found, Estimate)
        covered += found.low <= 1.0 <= found.high
    assert covered / 10_000 == pytest.approx(0.95, abs=tolerance(0.95, 10_000) + 0.0025)


def test_ratio_interval_covers_when_turns_of_a_unit_are_alike() -> None:
    """150 units an arm with a shared effect within each, 4,000 replications; a point for linearising."""
    rng = np.random.default_rng(15)
    covered = 0
    for _ in range(4000):
        arms = []
        for _ in range(2):
            turns = rng.geometric(0.3, 150)
            arms.append(PairMoments.of(turns * rng.normal(2.0, 1.0, 150) + rng.normal(0, turns**0.5), turns))
        found = difference_of_ratios(*arms)
        assert isinstance(found, Estimate)
        covered += found.low <= 0.0 <= found.high
    assert covered / 4000 == pytest.approx(0.95, abs=tolerance(0.95, 4000) + 0.01)


def test_quantile_interval_covers_when_turns_of_a_unit_are_alike() -> None:
    """400 units of three correlated turns, 90th percentile, 1,000 replications; two points for smoothing."""
    rng = np.random.default_rng(16)
    covered, ids = 0, np.repeat(np.arange(400), 3)
    for _ in range(1000):
        arms = []
        for _ in range(2):
            arm = quantile_of(
                np.exp(np.repeat(rng.normal(0, 0.7, 400), 3) + rng.normal(0, 0.7, 1200)), ids, q=0.9
            )
            assert isinstance(arm, QuantileSummary)
            arms.append(arm)
        found = difference_of_quantiles(*arms)
        covered += found.low <= 0.0 <= found.high
    assert covered / 1000 == pytest.approx(0.95, abs=tolerance(0.95, 1000) + 0.02)


def test_designed_sizes_have_their_power() -> None:
    """Two rates (20,000 replications of the pooled test), two means (5,000) and a margin (4,000)."""
    rng = np.random.default_rng(17)
    n = size_two_proportions(0.60, 0.10, ratio=0.5)
    x_c, x_t = rng.binomial(n.control, 0.6, 20_000), rng.binomial(n.treatment, 0.7, 20_000)
    pooled = (x_c + x_t) / n.total
    z = (x_t / n.treatment - x_c / n.control) / np.sqrt(
        pooled * (1 - pooled) * (1 / n.control + 1 / n.treatment)
    )
    stated = power_two_proportions(n.control, n.treatment, 0.6, 0.1)
    assert (z >= 1.959964).mean() == pytest.approx(stated, abs=tolerance(0.8, 20_000) + 0.01)

    m = size_two_means(1.0, 0.8)
    hits = 0
    for c, t in zip(
        rng.normal(0, 1, (5000, m.control)), rng.normal(0.8, 1, (5000, m.treatment)), strict=True
    ):
        found = difference_of_means(Moments.of(c), Moments.of(t))
        assert isinstance(found, Estimate)
        hits += found.low > 0
    assert hits / 5000 == pytest.approx(0.8, abs=tolerance(0.8, 5000) + 0.012)

    k = size_noninferior_proportions(0.9, 0.05)
    held = 0
    for x, y in zip(rng.binomial(k.control, 0.9, 4000), rng.binomial(k.treatment, 0.9, 4000), strict=True):
        margin = difference_of_proportions(x, k.control, y, k.treatment, null=-0.05)
        assert isinstance(margin, Estimate)
        held += margin.low > -0.05
    assert held / 4000 == pytest.approx(0.8, abs=tolerance(0.8, 4000) + 0.01)


def test_sample_ratio_may_be_watched_daily() -> None:
    """Looked at thirty times, 1,000 replications: at most 5 % alarms at α = 0.05 (a one-sided promise)."""
    rng = np.random.default_rng(18)
    shares, alarms = {"control": 0.5, "treatment": 0.5}, 0
    for days in rng.binomial(500, 0.5, (1000, 30)).cumsum(axis=1):
        for day, treated in enumerate(days, start=1):
            found = anytime_sample_ratio(
                {"control": 500 * day - int(treated), "treatment": int(treated)}, shares
            )
            assert isinstance(found, AnytimeSampleRatio)
            if found.p_value < 0.05:
                alarms += 1
                break
    assert alarms / 1000 <= 0.05 + tolerance(0.05, 1000)
