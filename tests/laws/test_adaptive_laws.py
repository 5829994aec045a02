"""Laws of adaptive estimates: what may not matter does not, on invented batches."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from equipoise.stats.adaptive.batches import Batch
from equipoise.stats.adaptive.estimates import arm_mean, difference
from equipoise.stats.estimate import Estimate
from equipoise.stats.moments import Moments

VALUES = st.lists(st.floats(-10, 10), min_size=2, max_size=6)
YES_NO = st.lists(st.sampled_from([0.0, 1.0]), min_size=2, max_size=12)


def batches(values):
    return st.lists(
        st.tuples(st.floats(0.05, 0.9), values, values).map(
            lambda drawn: Batch(
                {"a": drawn[0], "b": 0.95 - drawn[0], "c": 0.05},
                {"a": Moments.of(drawn[1]), "b": Moments.of(drawn[2])},
            )
        ),
        min_size=1,
        max_size=5,
    )


def close(found, expected):
    assert isinstance(found, Estimate) == isinstance(expected, Estimate)
    if isinstance(found, Estimate):
        assert found.value == pytest.approx(expected.value, abs=1e-6)
        assert (found.low, found.high) == pytest.approx((expected.low, expected.high), abs=1e-6)


@given(batches(VALUES), st.floats(-5, 5), st.sampled_from([-2.0, 0.5, 3.0]))
def test_another_scale_gives_the_same_in_that_scale(found, shift, factor):
    """Means move and stretch with the outcome, differences stretch with it."""
    moved = [
        Batch(
            each.shares,
            {
                arm: Moments(m.n, m.mean * factor + shift, m.m2 * factor * factor)
                for arm, m in each.moments.items()
            },
        )
        for each in found
    ]
    gap, other = difference(found, "a", "b"), difference(moved, "a", "b")
    mean, stretched = arm_mean(found, "a"), arm_mean(moved, "a")
    if isinstance(gap, Estimate) and gap.standard_error > 1e-6:
        assert isinstance(other, Estimate)
        assert other.value == pytest.approx(gap.value * factor, abs=1e-6)
        assert other.standard_error == pytest.approx(gap.standard_error * abs(factor), rel=1e-6)
    if isinstance(mean, Estimate) and mean.standard_error > 1e-6:
        assert isinstance(stretched, Estimate)
        assert stretched.value == pytest.approx(mean.value * factor + shift, abs=1e-6)


@pytest.mark.parametrize("rate", [True, False])
@given(found=batches(YES_NO))
def test_a_difference_turned_round_is_the_opposite(rate, found):
    """a less b and b less a have the same interval with its ends exchanged, and the same p-value."""
    there, back = difference(found, "a", "b", rate=rate), difference(found, "b", "a", rate=rate)
    assert isinstance(there, Estimate) == isinstance(back, Estimate)
    if isinstance(there, Estimate) and isinstance(back, Estimate):
        assert back.value == pytest.approx(-there.value, abs=1e-9)
        assert (back.low, back.high) == pytest.approx((-there.high, -there.low), abs=1e-9)
        assert back.p_value == pytest.approx(there.p_value, abs=1e-9)


@given(batches(YES_NO), st.floats(0.5, 0.999), st.floats(-0.9, 0.9))
def test_an_interval_excludes_exactly_what_its_test_rejects(found, level, null):
    """For rates, whose interval and test are both of the score, at every level and null."""
    gap = difference(found, "a", "b", rate=True, level=level, null=null)
    if isinstance(gap, Estimate):
        assert gap.p_value is not None
        inside = gap.low < null < gap.high
        if abs(gap.p_value - (1.0 - level)) > 1e-9 and min(abs(null - gap.low), abs(null - gap.high)) > 1e-9:
            assert inside == (gap.p_value > 1.0 - level)


@given(batches(YES_NO), YES_NO)
def test_a_batch_in_which_an_arm_had_no_share_says_nothing_of_it(found, values):
    """Put before the others, or between them, it changes neither the arm's mean nor its differences."""
    aside = Batch({"a": 0.0, "b": 0.5, "c": 0.5}, {"c": Moments.of(values)})
    close(arm_mean([aside, *found], "a", rate=True), arm_mean(found, "a", rate=True))
    close(difference([aside, *found, aside], "a", "b"), difference(found, "a", "b"))
