"""What adaptive estimates refuse, and what they say where there is none."""

from __future__ import annotations

import pytest

from equipoise.errors import UsageError
from equipoise.stats.adaptive.batches import Batch, PairBatch, naive_mean
from equipoise.stats.adaptive.estimates import arm_mean, difference, difference_of_ratios, shared_units
from equipoise.stats.estimate import Estimate, NotEstimable
from equipoise.stats.moments import Moments, PairMoments

HALF = {"a": 0.5, "b": 0.5}


def test_shares_that_are_no_probabilities_are_refused() -> None:
    """They lie between 0 and 1 and add up, and no unit came in under a share of 0."""
    with pytest.raises(UsageError, match=r"^the shares of a batch must sum to 1, not 0.9$"):
        Batch({"a": 0.5, "b": 0.4}, {})
    with pytest.raises(UsageError, match=r"^shares must lie between 0 and 1, not \{'a': 1.5, 'b': -0.5\}$"):
        Batch({"a": 1.5, "b": -0.5}, {})
    with pytest.raises(
        UsageError, match=r"^b has units and no share in a batch; no unit can have come in under it$"
    ):
        Batch({"a": 1.0, "b": 0.0}, {"b": Moments.of([1.0])})


def test_an_unknown_weighting_is_refused() -> None:
    """By name, with those that there are."""
    with pytest.raises(
        UsageError,
        match=r"^weighting must be one of stabilised, doubly_robust, inverse_probability, not equal$",
    ):
        arm_mean([], "a", weighting="equal")  # type: ignore[arg-type]


def test_what_has_no_estimate_says_why() -> None:
    """No units, no common batch, nothing that varies."""
    ones = [Batch(HALF, {"a": Moments.of([1.0, 1.0]), "b": Moments.of([1.0, 1.0])})]
    apart = [
        Batch({"a": 1.0, "b": 0.0}, {"a": Moments.of([1.0, 0.0])}),
        Batch({"a": 0.0, "b": 1.0}, {"b": Moments.of([1.0, 0.0])}),
    ]
    assert naive_mean([], "a") == NotEstimable("no unit of a has a value")
    assert arm_mean([], "a") == NotEstimable("a has 0 units, and a spread needs at least two")
    assert arm_mean(ones, "a") == NotEstimable("the outcome is the same for every unit of a")
    assert difference(ones, "a", "b", rate=True) == NotEstimable(
        "the outcome is the same for every unit of both arms"
    )
    assert difference(apart, "a", "b") == NotEstimable(
        "a and b never had shares at the same time, so nothing compares them"
    )
    assert shared_units(apart, "a", "b") == 0


def test_a_ratio_with_a_denominator_near_nothing_is_none() -> None:
    """Its mean must lie more than three standard errors from 0."""
    pairs = PairMoments.of([1.0, 2.0, 3.0], [1.0, -1.0, 0.5])
    assert difference_of_ratios([PairBatch(HALF, {"a": pairs, "b": pairs})], "b", "a") == NotEstimable(
        "the denominator of b is too near 0 for a ratio to be told"
    )


@pytest.mark.parametrize("null", [-0.2, 0.0, 0.1, 0.35, 0.9])
@pytest.mark.parametrize("level", [0.5, 0.8, 0.95, 0.999])
def test_an_interval_excludes_what_its_test_rejects(null: float, level: float) -> None:
    """At each level and null, the score interval of a difference of rates and its test are one method."""
    batches = [
        Batch(HALF, {"a": Moments.of([1, 0] * 30), "b": Moments.of([1, 0, 0] * 20)}),
        Batch({"a": 0.9, "b": 0.1}, {"a": Moments.of([1, 1, 0] * 40), "b": Moments.of([0, 0, 1] * 4)}),
    ]
    found = difference(batches, "a", "b", rate=True, level=level, null=null)
    assert isinstance(found, Estimate)
    assert found.p_value is not None
    assert (found.p_value < 1.0 - level) == (not found.low <= null <= found.high)


def test_an_arm_that_never_succeeds_still_has_a_difference() -> None:
    """Nothing of sixty against half of sixty: an interval that excludes 0 and stays within what rates can differ by."""
    batches = [Batch(HALF, {"a": Moments.of([0.0] * 60), "b": Moments.of([1.0, 0.0] * 30)})]
    found = difference(batches, "a", "b", rate=True)
    assert isinstance(found, Estimate)
    assert -1.0 <= found.low < found.value < found.high < 0.0
