"""What must hold for mean times to an event whatever the times are."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from equipoise.stats.comparison.means import difference_of_means
from equipoise.stats.comparison.relative import relative_difference_of_means
from equipoise.stats.comparison.restricted_means import (
    RestrictedMean,
    difference_of_restricted_means,
    relative_difference_of_restricted_means,
    restricted_mean_of,
)
from equipoise.stats.estimate import Estimate
from equipoise.stats.moments import Moments

HORIZON = 10.0
# Eighths, so that there are ties and sums are exact; half of the units are followed to the horizon.
times = st.integers(0, 100).map(lambda eighths: eighths / 8)
units = st.lists(st.tuples(times, st.booleans()), min_size=4, max_size=60).map(
    lambda found: [*found, (HORIZON, False)]
)


def restricted(found: list[tuple[float, bool]], **more: object) -> RestrictedMean:
    summary = restricted_mean_of(
        [time for time, _ in found],
        [event for _, event in found],
        **{"horizon": HORIZON} | more,  # type: ignore[arg-type]
    )
    assert isinstance(summary, RestrictedMean)
    return summary


def same(one: RestrictedMean, other: RestrictedMean, scale: float = 1.0) -> None:
    assert (one.blocks, one.events) == (other.blocks, other.events)
    assert one.value * scale == pytest.approx(other.value, rel=1e-12)
    assert one.standard_error * scale == pytest.approx(other.standard_error, rel=1e-9, abs=1e-9)


@given(units, st.randoms(use_true_random=False))
def test_neither_order_nor_the_clock_nor_the_names_of_clusters_matter(found, random):
    """Shuffled, in minutes instead of seconds, each unit a cluster of its own: the same."""
    plain = restricted(found)
    shuffled = found[:]
    random.shuffle(shuffled)
    same(plain, restricted(shuffled))
    names = random.sample(range(1000), len(found))
    same(plain, restricted(found, clusters=names))
    seconds = restricted([(60.0 * time, event) for time, event in found], horizon=60.0 * HORIZON)
    same(plain, seconds, scale=60.0)


@given(units)
def test_what_happens_after_the_horizon_does_not_matter(found):
    """An event there, or none, or later still: it is the horizon."""
    later = [(time + 5.0, not event) if time >= HORIZON else (time, event) for time, event in found]
    same(restricted(found), restricted(later))


@given(units)
def test_units_told_twice_as_one_cluster_say_no_more(found):
    """Every unit doubled: the same mean, and with the pairs as clusters the same error."""
    doubled = restricted([*found, *found], clusters=[*range(len(found)), *range(len(found))])
    assert doubled.value == pytest.approx(restricted(found).value, rel=1e-12)
    assert doubled.standard_error == pytest.approx(restricted(found).standard_error, rel=1e-9, abs=1e-9)


@given(st.lists(times, min_size=20, max_size=60), st.lists(times, min_size=20, max_size=60))
def test_without_censoring_it_is_welchs_test_of_the_restricted_times(control, treatment):
    """Everybody followed to the horizon: difference, interval, p and relative change are those of the means."""
    arms = []
    for arm in (control, treatment):
        arm += [index / 2 for index in range(1, 11)]
        arms.append([min(time, HORIZON) for time in arm])
    summaries = [restricted([(time, time < HORIZON) for time in arm]) for arm in arms]
    for found, expected in (
        (difference_of_restricted_means(*summaries), difference_of_means(*map(Moments.of, arms))),
        (
            relative_difference_of_restricted_means(*summaries),
            relative_difference_of_means(*map(Moments.of, arms)),
        ),
    ):
        assert isinstance(found, Estimate)
        assert isinstance(expected, Estimate)
        for name in ("value", "standard_error", "low", "high", "p_value", "degrees_of_freedom"):
            assert getattr(found, name) == pytest.approx(getattr(expected, name), rel=1e-8, abs=1e-9)


@given(units, units)
def test_relabelled_arms_turn_the_difference_round(control, treatment):
    """Control and treatment exchanged: the sign, and nothing else; so with the time lost instead of the time had."""
    base = [(index / 2, True) for index in range(1, 12)]
    one, other = restricted([*control, *base]), restricted([*treatment, *base])
    there, back = difference_of_restricted_means(one, other), difference_of_restricted_means(other, one)
    assert isinstance(there, Estimate)
    assert isinstance(back, Estimate)
    assert (back.value, back.p_value) == (-there.value, there.p_value)
    assert math.isclose(back.low, -there.high, rel_tol=1e-12)
    excluded = there.p_value is not None and there.p_value < 0.05
    assert excluded == (not there.low <= 0.0 <= there.high)


def test_an_interval_excludes_a_margin_exactly_when_its_test_rejects_it():
    """Test and interval are one method, at any margin."""
    rng = np.random.default_rng(3)
    one, other = (
        restricted([(time, time < 8.0) for time in rng.exponential(6.0, 80)] + [(HORIZON, False)])
        for _ in range(2)
    )
    for margin in np.linspace(-4.0, 4.0, 81):
        found = difference_of_restricted_means(one, other, level=0.9, null=float(margin))
        assert isinstance(found, Estimate)
        assert found.p_value is not None
        assert (found.p_value < 0.1) == (not found.low <= margin <= found.high)
