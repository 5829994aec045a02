"""What holds for every sequential plan: spending, duality of test and interval, mirror images, and scale."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from equipoise.stats.estimate import Estimate
from equipoise.stats.looks.after_stopping import after_stopping, repeated_interval, stagewise_tails
from equipoise.stats.looks.classic_boundaries import wang_tsiatis_boundaries
from equipoise.stats.looks.futility import futility_design, stopping_probabilities
from equipoise.stats.looks.information import as_z, information, information_fraction
from equipoise.stats.looks.overrun import after_overrun
from equipoise.stats.looks.registered_boundaries import registered_rule
from equipoise.stats.looks.sequential import boundaries, crossing_probabilities, next_boundary
from equipoise.stats.looks.spending import (
    hwang_shih_decani,
    kim_demets,
    obrien_fleming,
    obrien_fleming_of_both_tails,
    pocock,
)
from equipoise.stats.student import t_estimate

functions = st.one_of(
    st.sampled_from([obrien_fleming, obrien_fleming_of_both_tails, pocock]),
    st.floats(-8, 4).map(hwang_shih_decani),
    st.floats(0.3, 6).map(kim_demets),
)
steps = st.lists(st.floats(0.1, 1.0), min_size=1, max_size=6)


def fractions(parts: list[float]) -> list[float]:
    return [float(t) for t in np.cumsum(parts) / sum(parts)]


def estimate(value: float, error: float, null: float = 0.0) -> Estimate:
    return Estimate(
        value=value, standard_error=error, low=-9.0, high=9.0, level=0.95, method="difference", null=null
    )


@given(functions, st.floats(0.001, 0.4), st.floats(0.01, 1.5), st.floats(0.01, 1.5))
def test_spending_rises_from_nothing_to_alpha(spending: Any, alpha: float, a: float, b: float) -> None:
    """It never falls, never exceeds alpha, and is alpha from full information on."""
    low, high = sorted((a, b))
    assert 0.0 <= spending(low, alpha) <= spending(high, alpha) * (1 + 1e-12) <= alpha * (1 + 1e-11)
    assert spending(1.0, alpha) == spending(1.3, alpha) == alpha
    assert spending(1e-12, alpha) < 0.02 * alpha or spending(1e-12, alpha) < 1e-3


@given(steps, functions, st.sampled_from([1, 2]), st.floats(0.001, 0.2))
@settings(max_examples=60, deadline=None)
def test_every_function_is_spent_as_it_says(
    parts: list[float], spending: Any, sides: int, alpha: float
) -> None:
    """Unequal information, one or two sides: each tail has spent what the function grants by each look."""
    ts = fractions(parts)
    found = crossing_probabilities(ts, boundaries(ts, alpha, spending, sides), 0.0, sides)
    for k, t in enumerate(ts):
        assert math.fsum(found.upper[: k + 1]) == pytest.approx(spending(t, alpha / sides), abs=1e-8)


@given(steps, st.lists(st.floats(0.02, 0.6), min_size=1, max_size=5), functions, st.booleans())
@settings(max_examples=60, deadline=None)
def test_more_looks_than_planned_and_more_information_than_planned_keep_alpha(
    parts: list[float], extra: list[float], spending: Any, over: bool
) -> None:
    """Boundaries found look by look at whatever was seen, short of the plan or beyond it, spend alpha together."""
    ts = sorted({round(t, 3) for t in [*fractions(parts), *extra]})
    assume(ts[0] > 0.005)
    if over:
        ts = [round(1.2 * t, 4) for t in ts]
    limits: list[float] = []
    for k, t in enumerate(ts):
        limits.append(next_boundary(ts[:k], limits, t, 0.05, spending, last=k == len(ts) - 1))
    assert crossing_probabilities(ts, limits).total == pytest.approx(0.05, abs=1e-7)


@given(steps, st.floats(-0.4, 0.6), st.sampled_from([1, 2]), st.floats(0.001, 0.2), st.floats(0.2, 9.0))
@settings(max_examples=40, deadline=None)
def test_a_constant_spends_alpha_whatever_the_unit_of_information(
    parts: list[float], delta: float, sides: int, alpha: float, unit: float
) -> None:
    """Only ratios of information matter, and what is registered as plain boundaries has the same error."""
    ts = fractions(parts)
    found = wang_tsiatis_boundaries(ts, alpha, delta, sides)
    assert registered_rule(ts, found.boundaries, sides=sides).type_one_error == pytest.approx(alpha, abs=1e-7)
    scaled = wang_tsiatis_boundaries([t * unit for t in ts], alpha, delta, sides)
    assert scaled.boundaries == pytest.approx(found.boundaries, abs=1e-7)


@given(steps, functions, functions, st.sampled_from([1, 2]), st.booleans(), st.floats(0.6, 0.95))
@settings(max_examples=40, deadline=None)
def test_futility_designs_keep_alpha_and_have_their_power(
    parts: list[float], spending: Any, beta_spending: Any, sides: int, binding: bool, power: float
) -> None:
    """Obeyed, the power is as asked; overruled, a non-binding plan still has alpha; everything stops somewhere."""
    ts, alpha = fractions(parts), 0.025 * sides
    plan = futility_design(ts, alpha, power, spending, beta_spending, sides=sides, binding=binding)
    effect = stopping_probabilities(ts, plan.boundaries, plan.futility, plan.drift, sides)
    assert math.fsum(effect.upper) == pytest.approx(power, abs=1e-6)
    assert math.fsum(effect.upper + effect.lower + effect.futility) == pytest.approx(1.0, abs=1e-6)
    overruled = crossing_probabilities(ts, plan.boundaries, 0.0, sides).total
    if binding:
        assert plan.type_one_error == pytest.approx(alpha, abs=1e-6)
        assert overruled >= alpha - 1e-7
    else:
        assert overruled == pytest.approx(alpha, abs=1e-7)
        assert plan.type_one_error <= alpha + 1e-7
    assert all(inner <= outer for inner, outer in zip(plan.futility, plan.boundaries, strict=True))
    assert plan.futility[-1] == plan.boundaries[-1]


endings = st.tuples(
    st.lists(st.floats(0.2, 1.0), min_size=1, max_size=4),
    st.floats(-5, 5),
    st.floats(0.01, 10),
    st.floats(-3, 3),
)


@given(endings)
@settings(max_examples=40, deadline=None)
def test_stage_wise_test_and_interval_agree_and_turn_round(ending: Any) -> None:
    """p < 0.05 exactly where the interval excludes the null; exchanged arms give the mirror image."""
    parts, z, error, null = ending
    ts = fractions(parts)
    limits = boundaries(ts, 0.05, pocock)
    found = after_stopping(estimate(null + z * error, error, null), ts, limits, last=True)
    other = after_stopping(estimate(null - z * error, error, null), ts, limits, last=True)
    assert isinstance(found, Estimate)
    assert isinstance(other, Estimate)
    assert found.p_value is not None
    assert found.low <= found.value <= found.high
    assert (found.low - null) / error == pytest.approx((null - other.high) / error, abs=1e-5)
    assert found.p_value == pytest.approx(other.p_value, abs=1e-7)
    assume(abs(found.p_value - 0.05) > 1e-6)
    assert (found.p_value < 0.05) == (not found.low <= null <= found.high)


@given(endings)
@settings(max_examples=40, deadline=None)
def test_crossing_is_significance_at_the_last_look(ending: Any) -> None:
    """Where alpha is spent exactly, the stage-wise p is below alpha exactly where a boundary is crossed."""
    parts, z, error, _ = ending
    ts = fractions(parts)
    limits = boundaries(ts, 0.05, obrien_fleming)
    assume(abs(abs(z) - limits[-1]) > 1e-4)
    found = after_stopping(estimate(z * error, error), ts, limits, last=True)
    assert isinstance(found, Estimate)
    assert found.p_value is not None
    assert (found.p_value < 0.05) == (abs(z) >= limits[-1])


@given(steps, st.floats(-4, 4), st.floats(-4, 4), st.floats(0.01, 1.0))
@settings(max_examples=60, deadline=None)
def test_stage_wise_tails_rise_with_the_effect_and_fall_with_the_evidence(
    parts: list[float], z: float, drift: float, more: float
) -> None:
    """A larger drift makes endings above likelier; a larger z leaves fewer of them; both tails make 1."""
    ts = fractions(parts)
    limits = boundaries(ts, 0.05, pocock)
    here = stagewise_tails(ts, limits, z, drift)
    assert stagewise_tails(ts, limits, z, drift + more).above >= here.above - 1e-7
    assert stagewise_tails(ts, limits, z + more, drift).above <= here.above + 1e-7
    assert here.above + here.below == pytest.approx(1.0, abs=1e-6)


@given(st.floats(-5, 5), st.floats(0.01, 10.0))
def test_at_the_first_look_the_ending_is_the_fixed_test(z: float, error: float) -> None:
    """Nothing was looked at before, so nothing is corrected."""
    found = after_stopping(estimate(z * error, error), [0.4], [0.001], last=True)
    assert isinstance(found, Estimate)
    assert found.value == pytest.approx(z * error, abs=1e-6 * error)
    assert (found.high - found.low) / error == pytest.approx(2 * 1.959963985, abs=1e-6)


@given(st.floats(-5, 5), st.floats(1.0, 6.0), st.integers(1, 30))
def test_a_repeated_interval_excludes_the_null_exactly_at_its_boundary(
    z: float, boundary: float, df: int
) -> None:
    """For a z and for a t: the boundary is compared with the z that has the same p-value."""
    for seen in (estimate(z, 1.0), t_estimate(z, 1.0, df, level=0.95, null=0.0, method="mean, t")):
        scaled = as_z(seen)
        assert isinstance(scaled, tuple)
        assume(abs(abs(scaled[0]) - boundary) > 1e-9)
        found = repeated_interval(seen, boundary)
        assert isinstance(found, Estimate)
        assert (abs(scaled[0]) >= boundary) == (not found.low <= 0.0 <= found.high)


@given(st.floats(-4, 4), st.floats(-3, 3), st.floats(0.05, 0.6))
@settings(max_examples=25, deadline=None)
def test_overrun_at_the_only_look_is_the_whole_data(z: float, later: float, added: float) -> None:
    """With one look nothing was selected: with the share observed, the combination is the final analysis."""
    final_error = math.sqrt(1.0 / (1.0 + added))
    final_value = (z + later * math.sqrt(added)) / (1.0 + added)
    found = after_overrun(estimate(z, 1.0), estimate(final_value, final_error), [1.0], [1.96], last=True)
    assert isinstance(found, Estimate)
    expected = [final_value + x * final_error for x in (-1.959963985, 0.0, 1.959963985)]
    assert [found.low, found.value, found.high] == pytest.approx(expected, abs=1e-6)


@given(st.floats(1e-6, 1e6), st.floats(1e-3, 1e3))
def test_information_follows_the_scale_and_its_fraction_does_not(error: float, unit: float) -> None:
    """In another unit of the outcome information changes by its square and the fraction seen stays."""
    one, other = information(estimate(0.0, error)), information(estimate(0.0, error * unit))
    assert isinstance(one, float)
    assert other == pytest.approx(one / unit**2)
    seen = information_fraction(estimate(0.0, error * unit), 2.0 * one / unit**2)
    assert seen == pytest.approx(0.5)
