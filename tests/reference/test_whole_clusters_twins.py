"""Twins for clusters that are randomised: the jackknife left out one by one, and the analysis of variance by the book."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from equipoise.errors import UsageError
from equipoise.stats.comparison.clusters import clustered_difference
from equipoise.stats.estimate import Estimate
from equipoise.stats.moments import Moments
from equipoise.stats.sizes.intraclass import Intraclass, intraclass


@pytest.mark.parametrize("seed", range(5))
def test_the_jackknife_is_that_of_leaving_out_each_cluster(seed: int) -> None:
    """Each arm's ratio without one cluster at a time, squared deviations; and the degrees of freedom are those of CR2."""
    rng = np.random.default_rng(seed)
    sizes = rng.integers(10, 40, 15).astype(float)
    sums = sizes * rng.normal(3.0, 1.0, 15)
    treated = np.arange(15) < 5 + seed
    value, variance = 0.0, 0.0
    for sign, arm in ((1.0, treated), (-1.0, ~treated)):
        y, m = sums[arm], sizes[arm]
        full = y.sum() / m.sum()
        without = [np.delete(y, g).sum() / np.delete(m, g).sum() for g in range(y.size)]
        variance += (y.size - 1) / y.size * sum((each - full) ** 2 for each in without)
        value += sign * full
    totals = [np.where(arm, of, 0) for arm in (~treated, treated) for of in (sums, sizes)]
    found, working = clustered_difference(*totals, correction="CR3"), clustered_difference(*totals)
    assert isinstance(working, Estimate)
    freedom = working.degrees_of_freedom
    assert freedom is not None
    assert isinstance(found, Estimate)
    assert found.value == pytest.approx(value, rel=1e-12)
    assert found.standard_error == pytest.approx(variance**0.5, rel=1e-9)
    assert found.p_value == pytest.approx(2 * stats.t.sf(abs(value) / variance**0.5, freedom), rel=1e-8)


def test_a_cluster_in_both_arms_has_no_jackknife() -> None:
    """It would have to leave both arms at once, and the arms would not be independent."""
    with pytest.raises(UsageError) as refused:
        clustered_difference([1.0, 2.0], [1, 1], [1.0, 2.0], [1, 1], correction="CR3")
    assert str(refused.value) == (
        "CR3 is for clusters that are in one arm as a whole, and one of these is in both; use CR2"
    )


@pytest.mark.parametrize("equal", [True, False])
def test_the_intraclass_correlation_is_that_of_the_analysis_of_variance(equal: bool) -> None:
    """F is scipy's one-way analysis; the correlation and, for clusters of one size, Searle's exact interval follow from it."""
    rng = np.random.default_rng(9)
    groups = [
        rng.normal(level, 1.0, 12 if equal else int(rng.integers(2, 30))) for level in rng.normal(0, 0.7, 15)
    ]
    found = intraclass([Moments.of(group.tolist()) for group in groups], level=0.9)
    assert isinstance(found, Intraclass)
    k, total = len(groups), sum(map(len, groups))
    f = stats.f_oneway(*groups).statistic
    n0 = (total - sum(len(group) ** 2 for group in groups) / total) / (k - 1)
    assert found.icc == pytest.approx((f - 1) / (f + n0 - 1), rel=1e-10)
    low, high = (f / stats.f.ppf(q, k - 1, total - k) for q in (0.95, 0.05))
    assert found.low == pytest.approx((low - 1) / (low + n0 - 1), rel=1e-8)
    assert found.high == pytest.approx((high - 1) / (high + n0 - 1), rel=1e-8)
    assert found.size == pytest.approx(total / k)
    assert found.size_cv == pytest.approx(np.std([len(group) for group in groups]) / (total / k))
