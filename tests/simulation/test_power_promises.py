"""Every size function has its power at the effect it was designed for, in the test that will be run.

Each simulation is seeded and states its replications. The tolerance is that of a binomial count at |z| = 4,
so that over all seeds one check in 16,000 would raise a false alarm; what is added for a known approximation
is named beside it. Both sides are checked.
"""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from equipoise.design.conditions import Conditions
from equipoise.design.outcomes import JudgedProportion, Proportion
from equipoise.design.size import size
from equipoise.stats.comparison.quantiles import QuantileSummary, difference_of_quantiles, quantile_of
from equipoise.stats.comparison.ratios import difference_of_ratios
from equipoise.stats.estimate import Estimate
from equipoise.stats.families.dunnett import best_control_share, dunnett_adjusted, dunnett_critical
from equipoise.stats.moments import Moments, PairMoments
from equipoise.stats.sizes.power import power_two_means, power_two_proportions, size_two_means
from equipoise.stats.sizes.power_clusters import power_clusters, size_clusters
from equipoise.stats.sizes.power_judged import judge_correlation, labels_needed
from equipoise.stats.sizes.power_pilot import pilot_spread, quantile_spread, ratio_spread

FALSE_ALARM_Z = 4.0


def tolerance(share: float, replications: int) -> float:
    return FALSE_ALARM_Z * math.sqrt(share * (1 - share) / replications)


def test_ratios_have_their_power() -> None:
    """Dollars per turn, 4,000 replications; a point and a half is added for linearising.

    Turns are 1 + Poisson(2); dollars 0.5 a turn plus noise; the treatment adds 8 % to the dollars.
    """
    # x = y·(0.5 + u) + v with sd(u) = 0.2 per user, sd(v) = 0.6: E y = 3, Var y = 2, E y² = 11.
    var_x = 0.25 * 2 + 0.04 * 11 + 0.36
    spread = ratio_spread(1.5, 3.0, math.sqrt(var_x), math.sqrt(2), 0.5 * 2 / math.sqrt(var_x * 2))
    assert isinstance(spread, float)
    n = size_two_means(spread, 0.04).control
    rng, hits = np.random.default_rng(51), 0
    for _ in range(4000):
        arms = []
        for rate in (0.5, 0.54):
            y = 1.0 + rng.poisson(2, n)
            arms.append(PairMoments.of(y * (rate + rng.normal(0, 0.2, n)) + rng.normal(0, 0.6, n), y))
        found = difference_of_ratios(*arms)
        assert isinstance(found, Estimate)
        hits += found.low > 0
    assert hits / 4000 == pytest.approx(power_two_means(n, n, spread, 0.04), abs=tolerance(0.8, 4000) + 0.015)


@pytest.mark.parametrize("q", [0.5, 0.95])
def test_quantiles_have_their_power(q: float) -> None:
    """Exponential latencies shifted by the effect, 1,500 replications; two points for the density at hand."""
    spread = quantile_spread(q, 1.0 - q)  # the exponential's density at its quantile
    effect = 4.0 * spread / 40.0
    n = size_two_means(spread, effect).control
    rng, hits = np.random.default_rng(52), 0
    for _ in range(1500):
        arms = [quantile_of(rng.exponential(1.0, n) + shift, q=q) for shift in (0.0, effect)]
        assert isinstance(arms[0], QuantileSummary)
        assert isinstance(arms[1], QuantileSummary)
        hits += difference_of_quantiles(*arms).low > 0
    assert hits / 1500 == pytest.approx(0.8, abs=tolerance(0.8, 1500) + 0.02)


@pytest.mark.parametrize(
    ("icc", "m", "cv", "effect"), [(0.05, 20, 0.0, 0.3), (0.2, 10, 0.7, 0.35), (0.1, 30, 0.4, 0.6)]
)
def test_clusters_have_their_power(icc: float, m: int, cv: float, effect: float) -> None:
    """Randomised clusters of even and uneven size, the ratio of sums by cluster, 4,000 replications.

    Two and a half points are added, since with some 11 to 40 clusters an arm, uneven ones are not normal.
    """
    needed = size_clusters(1.0, effect, icc, m, cv)
    k = needed.clusters.control
    rng, hits = np.random.default_rng(53), 0
    for _ in range(4000):
        arms = []
        for shift in (0.0, effect):
            if cv:
                shape = 1.0 / cv**2
                sizes = np.maximum(1.0, np.round(rng.gamma(shape, m / shape, k)))
            else:
                sizes = np.full(k, float(m))
            means = rng.normal(shift, math.sqrt(icc), k) + rng.normal(0, np.sqrt((1 - icc) / sizes))
            arms.append(PairMoments.of(means * sizes, sizes))
        found = difference_of_ratios(*arms)
        assert isinstance(found, Estimate)
        hits += found.low > 0
    stated = power_clusters(k, k, 1.0, effect, icc, m, cv)
    assert hits / 4000 == pytest.approx(stated, abs=tolerance(0.8, 4000) + 0.025)


def test_units_counted_as_independent_would_not_have_their_power() -> None:
    """The size of a mean, spent on clusters of 20 with icc 0.05: about half, not 80 %, in 20,000 replications."""
    plain = size_two_means(1.0, 0.3).control
    k = math.ceil(plain / 20)
    rng = np.random.default_rng(54)
    spread = math.sqrt(0.05 + 0.95 / 20)
    c, t = rng.normal(0, spread, (20_000, k)), rng.normal(0.3, spread, (20_000, k))
    power = (stats.ttest_ind(t, c, axis=1).statistic > stats.t.isf(0.025, 2 * k - 2)).mean()
    assert power < 0.55
    assert power == pytest.approx(power_clusters(k, k, 1.0, 0.3, 0.05, 20), abs=tolerance(0.5, 20_000))


@pytest.mark.parametrize(("arms", "ratio"), [(4, 1.0), (5, 0.5)])
def test_each_of_several_arms_has_its_power(arms: int, ratio: float) -> None:
    """One treatment of several is better, by Dunnett's critical value, 20,000 replications; half a point more."""
    needed = size(Proportion(0.6), 0.05, ratio=ratio, conditions=Conditions(arms=arms))
    n_c, n_t = needed.control, needed.treatment
    c = dunnett_critical(n_c, [n_t] * (arms - 1))
    rng = np.random.default_rng(55)
    x_c, x_t = rng.binomial(n_c, 0.6, 20_000), rng.binomial(n_t, 0.65, 20_000)
    pooled = (x_c + x_t) / (n_c + n_t)
    z = (x_t / n_t - x_c / n_c) / np.sqrt(pooled * (1 - pooled) * (1 / n_c + 1 / n_t))
    assert (z >= c).mean() == pytest.approx(0.8, abs=tolerance(0.8, 20_000) + 0.005)


@pytest.mark.parametrize(
    ("spreads", "sizes", "replications"),
    [
        ((1.0, 1.0, 1.0, 1.0), (400, 400, 400, 400), 20_000),
        ((1.0, 2.0, 0.5, 1.0), (600, 150, 300, 300), 20_000),
        pytest.param((1.0, 1.0, 1.0, 1.0), (400, 400, 400, 400), 200_000, marks=pytest.mark.long),
    ],
)
def test_dunnett_keeps_the_family_wise_error(
    spreads: tuple[float, ...], sizes: tuple[int, ...], replications: int
) -> None:
    """Three treatments without any effect: some rejection in 5 %, with even and uneven arms and spreads.

    Each arm weighs one over the variance of its mean. The error is exact for known variances.
    """
    rng = np.random.default_rng(56)
    variances = [s * s / n for s, n in zip(spreads, sizes, strict=True)]
    means = rng.normal(0, np.sqrt(variances), (replications, 4))
    z = (means[:, 1:] - means[:, :1]) / np.sqrt(np.array(variances[1:]) + variances[0])
    c = dunnett_critical(1 / variances[0], [1 / v for v in variances[1:]])
    assert (np.abs(z) >= c).any(axis=1).mean() == pytest.approx(0.05, abs=tolerance(0.05, replications))
    few = z[:200]
    by_p = [
        min(dunnett_adjusted(list(row), 1 / variances[0], [1 / v for v in variances[1:]])) <= 0.05
        for row in few
    ]
    assert by_p == list((np.abs(few) >= c).any(axis=1))


def test_dunnett_keeps_the_error_of_small_normal_samples_by_its_degrees_of_freedom() -> None:
    """Six units an arm, pooled variance, 40,000 replications: 5 % with df = 20; the z table would err in 7 %."""
    rng = np.random.default_rng(57)
    data = rng.normal(0, 1, (40_000, 4, 6))
    pooled = data.var(axis=2, ddof=1).mean(axis=1)
    means = data.mean(axis=2)
    t = np.abs(means[:, 1:] - means[:, :1]).max(axis=1) / np.sqrt(pooled * 2 / 6)
    assert (t >= dunnett_critical(1, [1, 1, 1], degrees_of_freedom=20)).mean() == pytest.approx(
        0.05, abs=tolerance(0.05, 40_000)
    )
    assert (t >= dunnett_critical(1, [1, 1, 1])).mean() > 0.065


def test_units_as_weights_would_lie_where_spreads_differ() -> None:
    """A control that spreads three times as much as its treatments correlates them far more than units say.

    With units as weights the error is 3.4 %, with one over the variance 5 %; 100,000 replications.
    """
    rng = np.random.default_rng(58)
    v_c, v_t = 9.0 / 100, 1.0 / 100
    means = rng.normal(0, np.sqrt([v_c, v_t, v_t, v_t]), (100_000, 4))
    z = np.abs(means[:, 1:] - means[:, :1]).max(axis=1) / math.sqrt(v_c + v_t)
    by_units = (z >= dunnett_critical(100, [100] * 3)).mean()
    by_variance = (z >= dunnett_critical(1 / v_c, [1 / v_t] * 3)).mean()
    assert by_variance == pytest.approx(0.05, abs=tolerance(0.05, 100_000))
    assert by_units < 0.05 - tolerance(0.05, 100_000)


def test_root_k_control_has_the_most_power_for_its_total() -> None:
    """Nine treatments, 4,000 units: a quarter for control beats equal arms by several points of power."""

    def power(share: float) -> float:
        n_c = 4000 * share
        n_t = (4000 - n_c) / 9
        c = dunnett_critical(n_c, [n_t] * 9)
        return float(stats.norm.sf(c - 0.2 / math.sqrt(1 / n_c + 1 / n_t)))

    best = best_control_share(9)
    assert power(best) > power(0.1) + 0.1
    # The optimum with Dunnett's own critical value is flat, and lies a little below √k.
    assert power(best) > max(power(s) for s in (0.15, 0.2, 0.3, 0.35)) - 0.003


def test_judged_rates_have_their_power() -> None:
    """Truth, then verdict, then the pooled test of the verdicts: 20,000 replications; half a point more.

    The size for the true rates, spent on the judge's, has some 50 %.
    """
    judged = JudgedProportion(0.60, 0.9, 0.8)
    n = size(judged, 0.05).control
    rng = np.random.default_rng(59)

    def power(n: int) -> float:
        seen = []
        for rate in (0.60, 0.65):
            good = rng.binomial(n, rate, 20_000)
            seen.append(rng.binomial(good, 0.9) + rng.binomial(n - good, 0.2))
        pooled = (seen[0] + seen[1]) / (2 * n)
        z = (seen[1] - seen[0]) / n / np.sqrt(pooled * (1 - pooled) * 2 / n)
        return float((z >= 1.959964).mean())

    assert power(n) == pytest.approx(0.8, abs=tolerance(0.8, 20_000) + 0.005)
    assert power(size(Proportion(0.60), 0.05).control) < 0.55


def test_labels_give_the_corrected_estimate_its_power() -> None:
    """3,000 judged units an arm, labels drawn among them, the coefficient estimated: 2,000 replications.

    Two points are added for the estimated coefficient and a rate's spread at the middle of both arms.
    """
    n, (p, delta, se, sp) = 3000, (0.6, 0.05, 0.9, 0.8)
    spread = math.sqrt((p * (1 - p) + (p + delta) * (1 - p - delta)) / 2)
    labels = labels_needed(spread, delta, n, judge_correlation(p, se, sp))
    assert isinstance(labels, int)
    rng, hits = np.random.default_rng(60), 0
    for _ in range(2000):
        values, variances = [], []
        for rate in (p, p + delta):
            truth = rng.random(n) < rate
            verdict = np.where(truth, rng.random(n) < se, rng.random(n) >= sp).astype(float)
            y, f = truth[:labels].astype(float), verdict[:labels]
            slope = np.cov(y, f)[0, 1] / f.var(ddof=1)
            values.append(y.mean() + slope * (verdict.mean() - f.mean()))
            variances.append(
                (y - slope * f).var(ddof=2) / labels
                + slope**2 * verdict.var() / n
                + 2 * slope * np.cov(y - slope * f, f)[0, 1] / n
            )
        hits += (values[1] - values[0]) / math.sqrt(sum(variances)) >= 1.959964
    assert hits / 2000 == pytest.approx(0.8, abs=tolerance(0.8, 2000) + 0.02)


def test_a_small_pilot_misses_the_power_half_of_the_time_unless_it_is_assured() -> None:
    """Pilots of 20 units, 4,000 replications: the planned size suffices in 45 % or, assured, in 80 %."""
    rng = np.random.default_rng(61)
    needed = size_two_means(1.0, 0.25).control
    enough = {0.5: 0, 0.8: 0}
    for values in rng.normal(0, 1, (4000, 20)):
        pilot = Moments.of(values)
        for assurance in enough:
            spread = pilot_spread(pilot, assurance=assurance)
            assert isinstance(spread, float)
            enough[assurance] += size_two_means(spread, 0.25).control >= needed
    # P(s ≥ σ) = P(χ² ≥ 19 | 19) = 0.457; a size is whole, which is worth about half a point.
    assert enough[0.5] / 4000 == pytest.approx(float(stats.chi2.sf(19, 19)), abs=tolerance(0.46, 4000) + 0.01)
    assert enough[0.8] / 4000 == pytest.approx(0.8, abs=tolerance(0.8, 4000) + 0.01)


def test_looks_keep_the_power_in_the_units_they_are_sized_for() -> None:
    """Four looks at a rate, 20,000 replications of the pooled test; half a point more for the pooling."""
    from equipoise.stats.looks.sequential import inflation
    from equipoise.stats.looks.spending import obrien_fleming

    needed = size(Proportion(0.6), 0.05, conditions=Conditions(looks=4))
    n = needed.control
    bounds = inflation([0.25, 0.5, 0.75, 1.0], 0.05, 0.8, obrien_fleming).boundaries
    rng = np.random.default_rng(62)
    parts = [n * k // 4 - n * (k - 1) // 4 for k in range(1, 5)]
    x_c, x_t = (np.cumsum([rng.binomial(m, p, 20_000) for m in parts], axis=0) for p in (0.6, 0.65))
    size_now = np.cumsum(parts)[:, None]
    pooled = (x_c + x_t) / (2 * size_now)
    z = (x_t - x_c) / size_now / np.sqrt(pooled * (1 - pooled) * 2 / size_now)
    assert (z >= np.array(bounds)[:, None]).any(axis=0).mean() == pytest.approx(
        0.8, abs=tolerance(0.8, 20_000) + 0.005
    )
    assert power_two_proportions(n, n, 0.6, 0.05) > 0.8
