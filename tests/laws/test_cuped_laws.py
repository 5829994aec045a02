"""What holds for every input of the adjusted, clustered, paired and stratified methods."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from equipoise.stats.anytime.normal_mixture import Mixture, over_looks
from equipoise.stats.comparison.clusters import clustered_difference
from equipoise.stats.comparison.equivalence import equivalence, noninferiority
from equipoise.stats.comparison.paired import newcombe_paired_interval, paired_difference_of_proportions
from equipoise.stats.comparison.proportion_ratios import relative_difference_of_proportions
from equipoise.stats.comparison.proportions import difference_of_proportions
from equipoise.stats.comparison.stratified import Stratum, mantel_haenszel_difference
from equipoise.stats.covariates.cuped import Adjusted, cuped_means
from equipoise.stats.cross_moments import CrossMoments, known_or_missing
from equipoise.stats.estimate import Estimate, NotEstimable

seeds = st.integers(0, 2**32 - 1)
tables = st.lists(st.tuples(st.floats(-1e3, 1e3), st.floats(-1e3, 1e3), st.floats(-1e3, 1e3)), max_size=20)


def of(rows: list[tuple[float, float, float]]) -> CrossMoments:
    return CrossMoments.of(*np.array(rows).T) if rows else CrossMoments.zero(3)


@given(tables, tables, tables)
def test_cross_moments_merge_in_any_order_and_grouping(a: Any, b: Any, c: Any) -> None:
    """Sums of moments equal the moments of all rows together, up to rounding; the views agree."""
    whole = of([*a, *b, *c])
    for merged in ((of(a) + of(b)) + of(c), of(a) + (of(b) + of(c)), of(c) + of(a) + of(b)):
        assert merged.n == whole.n
        assert merged.means == pytest.approx(whole.means, rel=1e-9, abs=1e-9)
        assert np.array(merged.products) == pytest.approx(np.array(whole.products), rel=1e-9, abs=1e-5)
    assert of(a) + CrossMoments.zero(3) == of(a)
    assert whole.pair(0, 2).x == whole.column(0)
    assert whole.pair(0, 2).c_xy == whole.products[0][2]


@given(seeds)
@settings(max_examples=20)
def test_a_small_spread_on_a_large_mean_keeps_six_digits(seed: int) -> None:
    """Means of 1e9 with spreads of 1, merged from pieces."""
    x = np.random.default_rng(seed).normal(size=(2, 1000))
    x[1] += x[0]
    merged = sum((CrossMoments.of(*(part + 1e9)) for part in np.split(x, 20, axis=1)), CrossMoments.zero(2))
    assert np.array(merged.products) / 999 == pytest.approx(np.cov(x), rel=1e-6)


@given(seeds, st.floats(-50, 50), st.floats(0.1, 10), st.floats(-100, 100))
@settings(max_examples=30)
def test_adjustment_ignores_the_covariate_s_scale_and_the_fill(
    seed: int, shift: float, scale: float, fill: float
) -> None:
    """Neither the unit of a covariate, nor its origin, nor what stands in the gaps moves the estimate."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(2, 60))
    y = x + rng.normal(size=(2, 60))
    gaps = rng.random((2, 60)) < 0.3

    def adjusted(a: float, b: float, fill: float) -> Estimate:
        arms = []
        for i in (0, 1):
            values = np.where(gaps[i], math.nan, a + b * x[i])
            arms.append(CrossMoments.of(y[i], *known_or_missing(values, fill=fill)))
        result = cuped_means(*arms)
        assert isinstance(result, Adjusted)
        return result.estimate

    one, other = adjusted(0.0, 1.0, 0.0), adjusted(shift, scale, fill)
    assert (one.value, one.standard_error) == pytest.approx(
        (other.value, other.standard_error), rel=1e-6, abs=1e-9
    )


@given(seeds)
@settings(max_examples=30)
def test_a_covariate_given_twice_says_nothing_new(seed: int) -> None:
    """Collinear covariates share one coefficient."""
    rng = np.random.default_rng(seed)
    x, y = rng.normal(size=(2, 30)), rng.normal(size=(2, 30))
    once = cuped_means(*(CrossMoments.of(y[i], x[i]) for i in (0, 1)))
    twice = cuped_means(*(CrossMoments.of(y[i], x[i], 3 * x[i]) for i in (0, 1)))
    assert isinstance(once, Adjusted)
    assert isinstance(twice, Adjusted)
    assert once.estimate.standard_error == pytest.approx(twice.estimate.standard_error, rel=1e-9)
    assert once.estimate.value == pytest.approx(twice.estimate.value, rel=1e-9, abs=1e-12)


counts = st.integers(0, 60)


@given(counts, counts, counts, counts, st.floats(0.5, 0.999), st.one_of(st.just(0.0), st.floats(-0.9, 0.9)))
def test_paired_interval_excludes_the_null_exactly_when_the_test_rejects(
    a: int, b: int, c: int, d: int, level: float, null: float
) -> None:
    """Duality of McNemar's (Tango's) test and interval, for every null; and exchange of the variants."""
    e = paired_difference_of_proportions(a, b, c, d, level=level, null=null)
    if isinstance(e, NotEstimable):
        assert a + b + c + d == 0 or (b + c == 0 and abs(null) < 1e-15)
        return
    assert e.p_value is not None
    assert -1.0 <= e.low <= e.value <= e.high <= 1.0
    if abs(e.p_value - (1 - level)) > 1e-6 and min(abs(null - e.low), abs(null - e.high)) > 1e-9:
        assert (e.p_value < 1 - level) == (not e.low <= null <= e.high)
    turned = paired_difference_of_proportions(a, c, b, d, level=level)
    if isinstance(turned, Estimate):
        assert (turned.low, turned.high) == pytest.approx((-e.high, -e.low), abs=1e-9)
    other = newcombe_paired_interval(a, b, c, d, level)
    assert isinstance(other, Estimate)
    assert other.low <= e.value + 1e-12
    assert other.high >= e.value - 1e-12


@given(
    st.integers(1, 300), st.integers(0, 300), st.integers(0, 300), st.integers(1, 300), st.floats(0.5, 0.999)
)
def test_relative_and_absolute_rates_never_disagree(xc: int, fc: int, xt: int, nt: int, level: float) -> None:
    """One test at no effect, and each interval excludes 0 exactly when it rejects."""
    xt = min(xt, nt)
    e = relative_difference_of_proportions(xc, xc + fc, xt, nt, level=level)
    plain = difference_of_proportions(xc, xc + fc, xt, nt, level=level)
    if isinstance(plain, NotEstimable):
        assert e == plain
        return
    assert isinstance(e, Estimate)
    assert e.p_value == pytest.approx(plain.p_value, rel=1e-7, abs=1e-300)
    assert e.low <= e.value + 1e-9
    assert e.value <= e.high + 1e-9
    if abs(e.p_value - (1 - level)) > 1e-6:  # type: ignore[operator]
        assert (e.p_value < 1 - level) == (not e.low <= 0.0 <= e.high)  # type: ignore[operator]


@given(st.lists(st.tuples(counts, counts, counts, counts), min_size=1, max_size=5), st.floats(0.5, 0.999))
def test_stratified_interval_excludes_the_null_exactly_when_the_test_rejects(rows: Any, level: float) -> None:
    """Duality of Sato's test and Klingenberg's interval; strata without both arms change nothing."""
    strata = [Stratum(a, a + b, c, c + d) for a, b, c, d in rows]
    e = mantel_haenszel_difference(strata, level=level)
    assert mantel_haenszel_difference([*strata, Stratum(0, 0, 3, 5)], level=level) == e
    if isinstance(e, Estimate) and abs(e.p_value - (1 - level)) > 1e-6:  # type: ignore[operator]
        assert (e.p_value < 1 - level) == (not e.low <= 0.0 <= e.high)  # type: ignore[operator]


@given(seeds, st.floats(0.1, 100))
@settings(max_examples=30)
def test_clusters_ignore_the_unit_of_size_and_empty_clusters(seed: int, unit: float) -> None:
    """Sizes in other units scale the effect; clusters without units add nothing."""
    rng = np.random.default_rng(seed)
    sizes, sums = rng.uniform(1, 9, (2, 12)), rng.normal(size=(2, 12))
    one = clustered_difference(sums[0], sizes[0], sums[1], sizes[1])
    empty = [np.r_[part, 0.0] for part in (sums[0], sizes[0] * unit, sums[1], sizes[1] * unit)]
    other = clustered_difference(*empty)
    assert isinstance(one, Estimate)
    assert isinstance(other, Estimate)
    assert one.p_value == pytest.approx(other.p_value, rel=1e-6)
    assert one.value == pytest.approx(other.value * unit, rel=1e-9)
    assert one.degrees_of_freedom == pytest.approx(other.degrees_of_freedom)


@given(st.floats(-1, 1), st.floats(0.001, 1), st.floats(0.001, 1))
def test_a_margin_has_one_answer_and_a_wider_one_is_no_harder(
    value: float, half: float, margin: float
) -> None:
    """Held at a margin stays held at any wider one; equivalence is non-inferiority both ways round."""
    e = Estimate(
        value=value,
        standard_error=half,
        low=value - half,
        high=value + half,
        level=0.9,
        method="a difference",
    )
    higher, lower = noninferiority(e, margin), noninferiority(e, margin, better="lower")
    assert (equivalence(e, margin).answer == "held") == (higher.answer == lower.answer == "held")
    assert (equivalence(e, margin).answer == "breached") == ("breached" in (higher.answer, lower.answer))
    if higher.answer == "held":
        assert noninferiority(e, 2 * margin).answer == "held"


@given(st.floats(0.5, 0.999), st.floats(0.01, 1e4), st.floats(0, 1e3), st.floats(1e-3, 1e6))
def test_a_later_start_never_widens_and_p_falls_with_z(
    level: float, rho: float, start: float, more: float
) -> None:
    """The bound of a late start is at most Ville's, and a larger |z| has a smaller p-value."""
    information = start + more
    late, always = Mixture(level, rho, start), Mixture(level, rho)
    assert late.boundary(information) <= always.boundary(information) * (1 + 1e-9)
    ps = [late.p_value(z, information) for z in (0.0, 1.0, 2.0, 4.0)]
    assert ps == sorted(ps, reverse=True)
    assert late.p_value(-2.0, information) == ps[2]


@given(st.lists(st.tuples(st.floats(-1, 0), st.floats(0, 1), st.floats(0, 1)), min_size=1, max_size=6))
def test_looks_together_say_at_least_as_much_as_each(rows: list[tuple[float, float, float]]) -> None:
    """The common interval lies in every look's, and the p-value is the least."""
    looks = [
        Estimate(value=0.0, standard_error=1.0, low=a, high=b, level=0.95, method="m", p_value=p)
        for a, b, p in rows
    ]
    together = over_looks(looks)
    assert isinstance(together, Estimate)
    assert all(e.low <= together.low <= together.high <= e.high for e in looks)
    assert together.p_value == min(p for *_, p in rows)
