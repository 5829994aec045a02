"""Laws of the intervals over cases, on invented inputs: weights, clusters, copies, and the worst cases."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from equipoise.errors import UsageError
from equipoise.stats.cases.binomial import clopper_pearson_interval
from equipoise.stats.cases.case_means import mean_over_cases
from equipoise.stats.cases.pass_rates import difference_of_pass_rates, pass_rate_over_cases
from equipoise.stats.cases.worst_cases import difference_of_worst, mean_of_worst
from equipoise.stats.estimate import Estimate, NotEstimable

values = st.lists(st.integers(-20, 20).map(float), min_size=3, max_size=25)
flips = st.lists(st.tuples(st.booleans(), st.booleans()), min_size=3, max_size=60)


def numbers(found):
    assert isinstance(found, Estimate)
    return found.value, found.standard_error, found.low, found.high


@given(values, st.floats(0.1, 50))
def test_weights_matter_by_their_proportions_alone(x, factor):
    """Equal weights are no weights, and all of them times a factor are the same."""
    plain = mean_over_cases(x)
    weights = [1.0 + n % 3 for n in range(len(x))]
    if isinstance(plain, NotEstimable):
        return
    assert numbers(mean_over_cases(x, weights=[factor] * len(x))) == pytest.approx(numbers(plain))
    scaled = [factor * weight for weight in weights]
    assert numbers(mean_over_cases(x, weights=scaled)) == pytest.approx(
        numbers(mean_over_cases(x, weights=weights))
    )


@given(values)
def test_a_cluster_of_copies_is_one_case_of_their_weight(x):
    """Mean, error, degrees of freedom and limits of m copies in a cluster are those of one case of weight m."""
    times = [1 + n % 4 for n in range(len(x))]
    copies = np.repeat(x, times)
    found = mean_over_cases(copies, np.repeat(np.arange(len(x)), times))
    weighed = mean_over_cases(x, weights=times)
    if isinstance(found, NotEstimable):
        assert isinstance(weighed, NotEstimable)
        return
    assert numbers(found) == pytest.approx(numbers(weighed))
    assert found.degrees_of_freedom == pytest.approx(weighed.degrees_of_freedom)


@given(flips)
def test_the_difference_turns_with_its_arms(pairs):
    """Exchanging the arms turns the sign, in every way it is computed; the limits hold the value."""
    a, b = (np.array(arm, dtype=float) for arm in zip(*pairs, strict=True))
    thirds = np.arange(a.size) // 3
    for more in ({}, {"clusters": thirds}, {"weights": 1.0 + np.arange(a.size) % 2}):
        there, back = difference_of_pass_rates(a, b, **more), difference_of_pass_rates(b, a, **more)
        if isinstance(there, NotEstimable):
            assert isinstance(back, NotEstimable)
            continue
        assert (there.value, there.low, there.high) == pytest.approx(
            (-back.value, -back.high, -back.low), abs=1e-9
        )
        assert -1.0 <= there.low <= there.value <= there.high <= 1.0
        assert there.low < there.high


@given(flips)
def test_clusters_of_one_case_hardly_change_a_difference(pairs):
    """The interval at the effective number of pairs is near the score interval where many pairs are discordant."""
    a, b = (np.array(arm * 10, dtype=float) for arm in zip(*pairs, strict=True))
    found, plain = difference_of_pass_rates(a, b, np.arange(a.size)), difference_of_pass_rates(a, b)
    if abs(a - b).sum() >= 30:
        assert found.low == pytest.approx(plain.low, abs=0.25 * (plain.high - plain.low))
        assert found.high == pytest.approx(plain.high, abs=0.25 * (plain.high - plain.low))


@given(flips)
def test_a_test_of_no_difference_agrees_with_its_interval(pairs):
    """Below 5 % exactly where the 95 % interval leaves 0 out, also with clusters."""
    a, b = (np.array(arm, dtype=float) for arm in zip(*pairs, strict=True))
    for clusters in (None, np.arange(a.size) // 2):
        found = difference_of_pass_rates(a, b, clusters)
        if isinstance(found, Estimate) and found.p_value is not None and abs(found.p_value - 0.05) > 1e-9:
            assert (found.p_value < 0.05) == (not found.low <= 0.0 <= found.high)


def test_one_rate_is_exact_where_cases_are_simple():
    """Without clusters, weights and samples it is Clopper and Pearson's interval; with copies that of the clusters."""
    for passed in (0, 3, 20):
        found = pass_rate_over_cases([1.0] * passed + [0.0] * (20 - passed))
        exact = clopper_pearson_interval(passed, 20)
        assert (found.low, found.high) == pytest.approx((exact.low, exact.high))
    copies = pass_rate_over_cases([1.0] * 100, np.arange(100) // 5)
    assert copies.low == pytest.approx(clopper_pearson_interval(20, 20).low, abs=0.03)


@given(st.lists(st.floats(-100, 100), min_size=60, max_size=120), st.sampled_from([0.1, 0.25, 0.5]))
def test_the_mean_of_the_worst_is_that_of_the_lowest_values(x, share):
    """A plain mean of the lowest, the last in part; the difference is one of two such means."""
    ordered, k = np.sort(x), share * len(x)
    whole = int(k)
    parts = np.append(np.ones(whole), k - whole)
    expected = float(parts @ np.append(ordered[:whole], ordered[min(whole, len(x) - 1)])) / k
    found = mean_of_worst(x, share)
    if isinstance(found, Estimate):
        assert found.value == pytest.approx(expected, abs=1e-6)
        shifted = difference_of_worst(x, np.asarray(x) ** 3 / 1e4, share)
        other = mean_of_worst(np.asarray(x) ** 3 / 1e4, share)
        if isinstance(shifted, Estimate) and isinstance(other, Estimate):
            assert shifted.value == pytest.approx(other.value - found.value, abs=1e-6)


def test_the_error_of_the_worst_is_that_of_a_bootstrap():
    """400 skewed pairs, 2,000 resamples: within 15 % of the bootstrap's standard error."""
    rng = np.random.default_rng(3)
    a = -np.exp(rng.normal(size=400))
    b = a * np.exp(0.3 * rng.normal(size=400))
    found = difference_of_worst(a, b, 0.1)
    resampled = []
    for _ in range(2000):
        drawn = rng.integers(0, 400, 400)
        resampled.append(np.sort(b[drawn])[:40].mean() - np.sort(a[drawn])[:40].mean())
    assert found.standard_error == pytest.approx(float(np.std(resampled)), rel=0.15)


def test_what_has_too_few_worst_cases_says_so():
    """Four of eighty cases, four clusters, and worst cases that are all alike have no interval."""
    x = [float(n) for n in range(80)]
    assert mean_of_worst(x, 0.05) == NotEstimable(
        "the worst 5% of 80 cases are 4, and their mean needs at least 5"
    )
    assert mean_of_worst(x, 0.1, [n // 2 for n in range(80)]) == NotEstimable(
        "the worst 10% of 80 cases come from 4 clusters, and their mean needs at least 5"
    )
    assert mean_of_worst([1.0] * 200, 0.05) == NotEstimable("the worst 5% of the cases show no spread")
    assert isinstance(mean_of_worst([], 0.05), NotEstimable)


def test_worst_cases_without_spread_are_bounded_by_their_scale():
    """At the bottom in both arms nothing is worse; all at 3, a few of the unseen may lie at 1."""
    bottom = [1.0] * 60 + [4.0] * 140
    same = difference_of_worst(bottom, bottom, 0.05, scale=(1, 5))
    assert (same.value, same.low, same.high, same.p_value) == (0.0, 0.0, 0.0, None)
    threes = mean_of_worst([3.0] * 200, 0.05, scale=(1, 5))
    assert (threes.value, threes.high) == (3.0, 3.0)
    assert threes.low == pytest.approx(3.0 - 2.0 * (1 - 0.025 ** (1 / 200)) / 0.05, abs=1e-6)
    fewer = difference_of_worst([3.0] * 200, bottom, 0.05, scale=(1, 5))
    assert fewer.value == -2.0
    assert fewer.high < 0.0
    mixed = [1.0] * 4 + [2.0] * 100 + [5.0] * 96
    equal = difference_of_worst(mixed, mixed, 0.05, scale=(1, 5))
    assert equal.value == 0.0
    assert equal.high == -equal.low == pytest.approx(4.0 * (1 - 0.0125 ** (1 / 200)) / 0.05, abs=1e-6)
    with pytest.raises(UsageError) as caught:
        mean_of_worst([7.0] * 200, 0.05, scale=(1, 5))
    assert str(caught.value) == "every value must lie on the scale from 1 to 5"


@pytest.mark.parametrize(
    "call, message",
    [
        (
            lambda: mean_over_cases([1, 2], weights=[1]),
            "weights must give one number per case, but there are 1 for 2 cases",
        ),
        (
            lambda: mean_over_cases([1, 2], weights=[1, 0]),
            "every weight must be a finite number above 0; leave out a case that is to count for nothing",
        ),
        (
            lambda: difference_of_pass_rates([1.0], [1.0, 0.0]),
            "both arms need one share per case, not 1 and 2",
        ),
        (lambda: difference_of_pass_rates([1.0, 2.0], [1.0, 0.0]), "every share must lie between 0 and 1"),
        (lambda: pass_rate_over_cases([1.0, -0.5]), "every share must lie between 0 and 1"),
        (lambda: difference_of_worst([1.0], [1.0, 0.0]), "both arms need one value per case, not 1 and 2"),
        (lambda: mean_of_worst([1.0, 2.0], 1.0), "share must lie strictly between 0 and 1, not 1.0"),
    ],
)
def test_unusable_input_is_refused(call, message):
    """The message says what is wrong with it."""
    with pytest.raises(UsageError) as caught:
        call()
    assert str(caught.value) == message


def test_few_cases_have_no_difference():
    """One case, and one cluster of many."""
    assert difference_of_pass_rates([1.0], [0.0]) == NotEstimable(
        "there is 1 case, and a difference needs two"
    )
    one = difference_of_pass_rates([1.0, 0.0], [0.0, 0.0], ["a", "a"])
    assert one == NotEstimable("there is 1 cluster, and a spread needs two")
