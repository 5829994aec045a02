"""Dunnett, sizes and multiplicity beside slow and obvious ways, and beside other libraries."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats
from statsmodels.stats.multitest import multipletests  # type: ignore[import-untyped]

from equipoise.stats.comparison.quantiles import QuantileSummary, quantile_of
from equipoise.stats.families.dunnett import dunnett_adjusted, dunnett_critical
from equipoise.stats.families.multiplicity import benjamini_yekutieli
from equipoise.stats.moments import Moments, PairMoments
from equipoise.stats.sizes.power import size_two_proportions
from equipoise.stats.sizes.power_clusters import design_effect
from equipoise.stats.sizes.power_judged import judge_correlation, judged_rates, labels_needed
from equipoise.stats.sizes.power_pilot import pilot_spread, quantile_spread, ratio_spread


@pytest.mark.parametrize(
    ("control", "treatments"), [(100, [100, 100]), (300, [100, 50, 200]), (10, [500, 20])]
)
@pytest.mark.parametrize("sides", [1, 2])
def test_dunnett_is_a_rectangle_of_a_multivariate_normal(
    control: float, treatments: list[float], sides: int
) -> None:
    """With unequal arms, by Genz's integration over the whole correlation matrix; 1e-5 is its own error."""
    lean = np.sqrt([w / (w + control) for w in treatments])
    matrix = np.outer(lean, lean)
    np.fill_diagonal(matrix, 1.0)
    c = dunnett_critical(control, treatments, sides=sides)
    k = len(treatments)
    inside = stats.multivariate_normal(cov=matrix, seed=1, abseps=1e-7, releps=1e-7).cdf(
        np.full(k, c), lower_limit=np.full(k, -c if sides == 2 else -np.inf)
    )
    assert 1 - inside == pytest.approx(0.05, abs=2e-5)


def test_adjusted_p_values_are_those_of_scipy_with_a_pooled_variance() -> None:
    """scipy integrates the multivariate t by quasi-Monte Carlo, to about 1e-3."""
    rng = np.random.default_rng(21)
    control, arms = rng.normal(0, 1, 12), [rng.normal(m, 1, n) for m, n in ((0.4, 9), (1.1, 15), (0.0, 7))]
    other = stats.dunnett(*arms, control=control, rng=np.random.default_rng(1))
    df = len(control) + sum(map(len, arms)) - 4
    pooled = sum(((x - x.mean()) ** 2).sum() for x in (control, *arms)) / df
    ts = [(x.mean() - control.mean()) / math.sqrt(pooled * (1 / len(x) + 1 / len(control))) for x in arms]
    ours = dunnett_adjusted(ts, len(control), [len(x) for x in arms], degrees_of_freedom=df)
    assert ts == pytest.approx(list(other.statistic))
    assert ours == pytest.approx(list(other.pvalue), abs=3e-3)


def test_limits_of_the_correlation_have_closed_forms() -> None:
    """A huge control leaves independent tests (Šidák); a tiny one makes all treatments one test."""
    sidak = stats.norm.isf((1 - 0.95 ** (1 / 3)) / 2)
    assert dunnett_critical(1e9, [1, 1, 1]) == pytest.approx(sidak, abs=1e-6)
    assert dunnett_critical(1e-6, [1, 1, 1]) == pytest.approx(1.959964, abs=2e-3)


def test_far_tails_keep_their_digits() -> None:
    """At z = 20 the union of two events is hardly less than their sum, and is not 0."""
    found = dunnett_adjusted([20.0, 0.0], 1, [1, 1])[0]
    assert found == pytest.approx(4 * stats.norm.sf(20.0), rel=1e-3)


def test_benjamini_yekutieli_is_that_of_statsmodels() -> None:
    """On random families with ties."""
    rng = np.random.default_rng(22)
    for _ in range(20):
        ps = list(np.round(rng.uniform(0, 0.2, rng.integers(1, 9)), 2))
        assert benjamini_yekutieli(ps) == pytest.approx(multipletests(ps, method="fdr_by")[1])


def test_the_design_effect_is_the_variance_of_a_ratio_of_sums() -> None:
    """By the full covariance matrix of one arm's units, over that of independent ones."""
    sizes, icc = np.array([3, 8, 8, 20, 41]), 0.2
    owner = np.repeat(np.arange(5), sizes)
    covariance = np.where(owner[:, None] == owner[None, :], icc, 0.0)
    np.fill_diagonal(covariance, 1.0)
    n = sizes.sum()
    assert design_effect(icc, sizes.mean(), sizes.std() / sizes.mean()) == pytest.approx(
        covariance.sum() / n**2 * n
    )


def test_the_spread_of_a_ratio_from_its_parts_is_that_from_its_rows() -> None:
    """The summary formula and the moments of a pilot agree."""
    rng = np.random.default_rng(23)
    y = rng.poisson(3, 500) + 1.0
    x = y * rng.normal(2, 0.3, 500)
    pilot = pilot_spread(PairMoments.of(x, y))
    parts = ratio_spread(x.mean(), y.mean(), x.std(ddof=1), y.std(ddof=1), float(np.corrcoef(x, y)[0, 1]))
    linear = (x - x.sum() / y.sum() * y) / y.mean()
    assert pilot == pytest.approx(parts, rel=1e-9) == pytest.approx(linear.std(ddof=1), rel=1e-9)


def test_the_spread_of_a_quantile_by_density_and_by_pilot_agree() -> None:
    """Exponential outcomes, 95th percentile, 200,000 turns: within the error of the pilot, some 3 %."""
    pilot = quantile_of(np.random.default_rng(24).exponential(1.0, 200_000), q=0.95)
    assert isinstance(pilot, QuantileSummary)
    assert pilot_spread(pilot) == pytest.approx(quantile_spread(0.95, 0.05), rel=0.05)


def test_a_judge_seen_through_its_table_of_errors() -> None:
    """Rate and correlation of the verdicts, by listing the four cells."""
    p, se, sp = 0.6, 0.9, 0.8
    cells = np.array([[p * se, p * (1 - se)], [(1 - p) * (1 - sp), (1 - p) * sp]])
    seen = judged_rates(p, 0.05, se, sp)
    assert isinstance(seen, tuple)
    assert seen[0] == pytest.approx(cells[:, 0].sum())
    moved = (p + 0.05) * se + (0.35) * (1 - sp)
    assert seen[1] == pytest.approx(moved - cells[:, 0].sum())
    phi = (cells[0, 0] * cells[1, 1] - cells[0, 1] * cells[1, 0]) / math.sqrt(
        cells[0].sum() * cells[1].sum() * cells[:, 0].sum() * cells[:, 1].sum()
    )
    assert judge_correlation(p, se, sp) == pytest.approx(phi)


def test_labels_of_a_useless_judge_are_those_of_no_judge() -> None:
    """With correlation 0 the labels are the classic size (unpooled z) and with 1 none matter."""
    spread = math.sqrt((0.6 * 0.4 + 0.65 * 0.35) / 2)
    found = labels_needed(spread, 0.05, 100_000, 0.0)
    assert found == pytest.approx(size_two_proportions(0.6, 0.05).control, rel=0.003)
    assert labels_needed(spread, 0.05, 100_000, 1.0) == 2


def test_assurance_is_the_upper_limit_of_the_spread() -> None:
    """scipy's chi-square quantile, 25 units, 80 %."""
    values = np.random.default_rng(25).normal(0, 2, 25)
    limit = values.std(ddof=1) * math.sqrt(24 / stats.chi2.ppf(0.2, 24))
    assert pilot_spread(Moments.of(values), assurance=0.8) == pytest.approx(limit)
