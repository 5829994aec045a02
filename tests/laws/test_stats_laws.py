"""What holds for every input: merging, symmetry, and that a test and its interval never disagree."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from equipoise.stats.comparison.means import difference_of_means
from equipoise.stats.comparison.proportions import difference_of_proportions
from equipoise.stats.comparison.ratios import difference_of_ratios
from equipoise.stats.comparison.relative import relative_difference_of_means
from equipoise.stats.estimate import Estimate, NotEstimable
from equipoise.stats.families.multiplicity import benjamini_hochberg, bonferroni, holm
from equipoise.stats.looks.sequential import boundaries, crossing_probabilities, next_boundary
from equipoise.stats.looks.spending import obrien_fleming, pocock
from equipoise.stats.moments import Moments, PairMoments
from equipoise.stats.preference.preference import win_rate
from equipoise.stats.sizes.power import (
    detectable_two_proportions,
    power_two_proportions,
    size_two_proportions,
)
from equipoise.stats.sizes.power_margins import size_noninferior_proportions

columns = st.lists(st.floats(-1e6, 1e6), max_size=30)


def close(a: Moments, b: Moments, scale: float) -> bool:
    return (
        a.n == b.n
        and math.isclose(a.mean, b.mean, rel_tol=1e-9, abs_tol=1e-9 * scale)
        and math.isclose(a.m2, b.m2, rel_tol=1e-9, abs_tol=1e-9 * scale * scale)
    )


@given(columns, columns, columns)
def test_moments_merge_in_any_order_and_grouping(a: list[float], b: list[float], c: list[float]) -> None:
    """Sums of moments equal the moments of all rows together, up to rounding."""
    scale = max(map(abs, [*a, *b, *c, 1.0]))
    whole = Moments.of([*a, *b, *c])
    ma, mb, mc = Moments.of(a), Moments.of(b), Moments.of(c)
    assert close((ma + mb) + mc, whole, scale)
    assert close(ma + (mb + mc), whole, scale)
    assert close(mc + ma + mb, whole, scale)
    assert ma + Moments.zero() == ma == Moments.zero() + ma


@given(st.lists(st.tuples(st.floats(-1e3, 1e3), st.floats(-1e3, 1e3)), max_size=30), st.integers(0, 30))
def test_pair_moments_merge_and_contain_both_moments(rows: list[tuple[float, float]], cut: int) -> None:
    """Merged pairs equal the whole, cross product included, and each view merges as `Moments` does."""

    def of(part: list[tuple[float, float]]) -> PairMoments:
        return PairMoments.of([x for x, _ in part], [y for _, y in part])

    merged, whole = of(rows[:cut]) + of(rows[cut:]), of(rows)
    assert close(merged.x, whole.x, 1e3)
    assert close(merged.y, whole.y, 1e3)
    assert math.isclose(merged.c_xy, whole.c_xy, rel_tol=1e-9, abs_tol=1e-3)


@given(st.integers(0, 2**32 - 1))
@settings(max_examples=20)
def test_a_small_spread_on_a_large_mean_keeps_six_digits(seed: int) -> None:
    """A mean of 1e9 with a spread of 1, merged from pieces."""
    values = np.random.default_rng(seed).normal(0.0, 1.0, 1000)
    moments = sum((Moments.of(part + 1e9) for part in np.split(values, 20)), Moments.zero())
    # Adding 1e9 itself rounds each value to 1.2e-7.
    assert moments.variance == pytest.approx(float(values.var(ddof=1)), rel=1e-6)


@st.composite
def tables(draw: Any) -> tuple[int, int, int, int]:
    n_c, n_t = draw(st.integers(1, 400)), draw(st.integers(1, 400))
    return draw(st.integers(0, n_c)), n_c, draw(st.integers(0, n_t)), n_t


@given(tables(), st.floats(0.5, 0.999), st.one_of(st.just(0.0), st.floats(-0.9, 0.9)))
def test_proportion_interval_excludes_the_null_exactly_when_the_test_rejects(
    table: tuple[int, int, int, int], level: float, null: float
) -> None:
    """Duality of the score test and the score interval, for every null."""
    found = difference_of_proportions(*table, level=level, null=null)
    if isinstance(found, NotEstimable):
        assert abs(null) < 1e-15
        assert table[0] + table[2] in (0, table[1] + table[3])
        return
    assert found.p_value is not None
    assert found.low <= found.value <= found.high
    assert found.standard_error > 0
    assume(abs(found.p_value - (1 - level)) > 1e-7)
    assume(min(abs(null - found.low), abs(null - found.high)) > 1e-9)
    assert (found.p_value < 1 - level) == (not found.low <= null <= found.high)


@given(tables())
def test_exchanging_arms_or_outcomes_turns_the_difference_round(table: tuple[int, int, int, int]) -> None:
    """Arms exchanged, or success called failure: the same numbers with the other sign."""
    xc, nc, xt, nt = table
    found = difference_of_proportions(xc, nc, xt, nt)
    for other in (
        difference_of_proportions(xt, nt, xc, nc),
        difference_of_proportions(nc - xc, nc, nt - xt, nt),
    ):
        if isinstance(found, NotEstimable):
            assert found == other
            continue
        assert isinstance(other, Estimate)
        assert (other.low, other.value, other.high) == pytest.approx(
            (-found.high, -found.value, -found.low), abs=1e-9
        )
        assert other.p_value == pytest.approx(found.p_value, rel=1e-9)


arms = st.lists(st.floats(-100, 100).map(lambda x: round(x, 3)), min_size=2, max_size=20)


@given(arms, arms, st.floats(-1e3, 1e3), st.floats(0.01, 100))
def test_mean_difference_ignores_a_shift_and_follows_a_scale(
    control: list[float], treatment: list[float], shift: float, scale: float
) -> None:
    """Adding to every value changes nothing; multiplying multiplies value and limits and keeps p."""
    assume(max(np.ptp(control), np.ptp(treatment)) > 0.1)
    a = difference_of_means(Moments.of(control), Moments.of(treatment))
    b = difference_of_means(
        Moments.of([scale * (x + shift) for x in control]),
        Moments.of([scale * (x + shift) for x in treatment]),
    )
    assert isinstance(a, Estimate)
    assert isinstance(b, Estimate)
    assert (b.value / scale, b.low / scale, b.high / scale) == pytest.approx(
        (a.value, a.low, a.high), abs=1e-6
    )
    assert b.p_value == pytest.approx(a.p_value, abs=1e-6)


@given(arms, arms)
def test_a_ratio_to_one_is_a_mean(control: list[float], treatment: list[float]) -> None:
    """With y = 1 the delta method is Welch's test."""
    assume(max(np.ptp(control), np.ptp(treatment)) > 0.1)
    a = difference_of_means(Moments.of(control), Moments.of(treatment))
    b = difference_of_ratios(
        PairMoments.of(control, [1] * len(control)), PairMoments.of(treatment, [1] * len(treatment))
    )
    assert isinstance(a, Estimate)
    assert isinstance(b, Estimate)
    assert (b.low, b.high, b.p_value) == pytest.approx((a.low, a.high, a.p_value), abs=1e-7)


@given(arms, arms, st.floats(-0.5, 0.5))
def test_relative_and_absolute_effects_agree_about_significance(
    control: list[float], treatment: list[float], null: float
) -> None:
    """At null 0 the p-values are equal; at any null the interval excludes it exactly when p < 0.05."""
    c, t = Moments.of([x + 150 for x in control]), Moments.of([x + 150 for x in treatment])
    assume(max(np.ptp(control), np.ptp(treatment)) > 0.1)
    plain, relative = difference_of_means(c, t), relative_difference_of_means(c, t)
    assume(isinstance(relative, Estimate))
    assert isinstance(plain, Estimate)
    assert isinstance(relative, Estimate)
    assert relative.p_value == pytest.approx(plain.p_value, rel=1e-6)
    at = relative_difference_of_means(c, t, null=null)
    assert isinstance(at, Estimate)
    assert at.p_value is not None
    assume(abs(at.p_value - 0.05) > 1e-9)
    assert (at.p_value < 0.05) == (not at.low <= null <= at.high)


@given(st.lists(st.floats(0, 1), min_size=1, max_size=12))
def test_adjustments_keep_order_and_rank_among_themselves(ps: list[float]) -> None:
    """p ≤ Benjamini-Hochberg ≤ Holm ≤ Bonferroni ≤ 1, and a smaller p never gets a larger adjusted one."""
    rows = sorted(zip(ps, benjamini_hochberg(ps), holm(ps), bonferroni(ps), strict=True))
    for p, bh, h, b in rows:
        assert p <= bh * (1 + 1e-12) <= h * (1 + 1e-11) <= b * (1 + 1e-10) <= 1 + 1e-9
    for column in (1, 2, 3):
        assert [row[column] for row in rows] == sorted(row[column] for row in rows)


@given(
    st.lists(st.floats(0.05, 1.0), min_size=1, max_size=6),
    st.sampled_from([obrien_fleming, pocock]),
    st.sampled_from([1, 2]),
    st.floats(0.001, 0.2),
)
@settings(max_examples=60, deadline=None)
def test_boundaries_spend_what_they_should_and_no_more(
    steps: list[float], spending: Any, sides: int, alpha: float
) -> None:
    """Unequal information, either function: by each look each tail has spent what the function grants it."""
    ts = list(np.cumsum(steps) / sum(steps))
    bounds = boundaries(ts, alpha, spending, sides)
    crossed = crossing_probabilities(ts, bounds, 0.0, sides)
    for i, t in enumerate(ts):
        assert sum(crossed.upper[: i + 1]) == pytest.approx(spending(t, alpha / sides), abs=1e-8)
    assert crossed.lower == pytest.approx(crossed.upper if sides == 2 else [0.0] * len(ts), abs=1e-12)
    again = next_boundary(ts[:-1], bounds[:-1], ts[-1], alpha, spending, last=True, sides=sides)
    assert again == pytest.approx(bounds[-1], abs=1e-6)


@given(st.floats(0.02, 0.98), st.floats(0.01, 0.3), st.sampled_from([0.2, 1.0, 3.0]), st.floats(0.5, 0.99))
def test_size_power_and_detectable_effect_invert_one_another(
    baseline: float, mde: float, ratio: float, power: float
) -> None:
    """The size has the power, a little less does not, and it can detect about the effect asked for."""
    assume(baseline + mde < 0.99)
    n = size_two_proportions(baseline, mde, power=power, ratio=ratio)
    assert power_two_proportions(n.control, n.treatment, baseline, mde) >= power - 0.02 / n.control
    assume(n.control > 20 and n.treatment > 20)
    assert power_two_proportions(n.control - 1, n.treatment - max(1, int(ratio)), baseline, mde) < power
    smallest = detectable_two_proportions(n.control, n.treatment, baseline, power=power)
    assert isinstance(smallest, float)
    assert smallest == pytest.approx(mde, rel=0.06)


@given(st.floats(0.1, 0.9), st.floats(0.01, 0.09))
def test_calling_success_failure_needs_the_same_size(baseline: float, margin: float) -> None:
    """A resolution rate that may not fall is a failure rate that may not rise."""
    a = size_noninferior_proportions(baseline, margin, better="higher")
    b = size_noninferior_proportions(1 - baseline, margin, better="lower")
    assert abs(a.control - b.control) <= 1


@given(st.lists(st.sampled_from([0.0, 0.5, 1.0, 0.25]), min_size=2, max_size=45))
def test_win_rate_turns_round_with_the_arms(scores: list[float]) -> None:
    """Scored from the other side, value and limits are mirrored at one half and p is the same."""
    a, b = win_rate(scores), win_rate([1 - s for s in scores])
    assert isinstance(a, Estimate)
    assert isinstance(b, Estimate)
    assert (1 - b.high, 1 - b.value, 1 - b.low) == pytest.approx((a.low, a.value, a.high), abs=1e-9)
    assert b.p_value == pytest.approx(a.p_value)
    assert 0 <= a.low <= a.value <= a.high <= 1
