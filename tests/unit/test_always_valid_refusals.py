"""What the always-valid methods cannot estimate says why, and what they cannot use is refused in one sentence."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from equipoise.errors import UsageError
from equipoise.stats.anytime.betting import bounded_difference, bounded_mean, bounded_mean_bernstein
from equipoise.stats.anytime.confidence_sequences import (
    sequence_of_difference_of_means,
    sequence_of_difference_of_proportions,
    sequence_of_mean,
    sequence_with_known_spread,
)
from equipoise.stats.anytime.normal_mixture import Mixture, always_valid, over_looks, sequence_design
from equipoise.stats.estimate import Estimate, NotEstimable
from equipoise.stats.moments import Moments

LOOK = Estimate(value=1.0, standard_error=0.1, low=0.8, high=1.2, level=0.95, method="a difference")
LATER = Estimate(value=2.0, standard_error=0.1, low=1.8, high=2.2, level=0.95, method="a difference")
FLAT = Estimate(value=1.0, standard_error=0.0, low=1.0, high=1.0, level=0.95, method="a difference")
FEW, MANY = Moments(400, 1.0, 400.0), Moments(2000, 1.0, 2000.0)


@pytest.mark.parametrize(
    ("result", "reason"),
    [
        (
            always_valid(LOOK, Mixture(0.95, 10.0, start=200.0)),
            "looking starts at information 200, and there is 100 so far",
        ),
        (
            always_valid(FLAT, Mixture(0.95, 10.0)),
            "the estimate has no spread, so there is no information to count",
        ),
        (over_looks([]), "there are no looks yet"),
        (
            over_looks([LOOK, LATER]),
            "the intervals of the looks have nothing in common, so the effect has changed",
        ),
        (
            sequence_of_difference_of_means(FEW, FEW, planned=1000),
            "the sequence starts at 500 units per arm, and there are 400 so far",
        ),
        (
            sequence_of_difference_of_means(FEW, MANY, planned=9000),
            "the sequence starts at 5000 units per arm, and there are 667 so far",
        ),
        (
            sequence_of_difference_of_means(Moments(600, 1.0, 0.0), Moments(600, 1.0, 0.0), planned=1000),
            "the outcome is constant in both arms",
        ),
        (
            sequence_of_mean(MANY, planned=20_000),
            "the sequence starts at 10000 units, and there are 2000 so far",
        ),
        (sequence_of_mean(Moments(600, 1.0, 0.0), planned=600, burn_in=500), "the outcome is constant"),
        (
            sequence_of_difference_of_proportions(19, 1000, 30, 1000, planned=2000),
            "control has 19 successes and 981 failures, and the sequence needs 20 of either",
        ),
        (
            sequence_of_difference_of_proportions(0, 0, 3, 5, planned=2000),
            "there are no units in control",
        ),
        (
            sequence_with_known_spread(Moments.zero(), MANY, spread=1.0, planned=100),
            "there are no units in control",
        ),
        (bounded_mean([], planned=10), "there are no values"),
        (bounded_mean_bernstein([], planned=10), "there are no values"),
        (
            bounded_difference([1, 0], [1] * 8, planned=10, block=(1, 9)),
            "there is no full block of 1 control and 9 treatment units yet",
        ),
    ],
)
def test_what_cannot_be_estimated_says_why(result: object, reason: str) -> None:
    """The whole sentence, and never a number."""
    assert result == NotEstimable(reason)


@pytest.mark.parametrize(
    ("call", "sentence"),
    [
        (lambda: Mixture(95, 1.0), "level must lie strictly between 0 and 1, not 95"),
        (lambda: Mixture(0.95, 0.0), "precision must be a finite number greater than 0, not 0.0"),
        (lambda: Mixture(0.95, 1.0, -1.0), "start must be at least 0, not -1"),
        (lambda: Mixture.tuned(10, start=20), "looking must start by the planned 10, not at 20"),
        (
            lambda: Mixture(0.95, 1.0, 5.0).boundary(4.0),
            "looking starts at 5, so there is no boundary at 4",
        ),
        (
            lambda: Mixture(0.95, 1.0, 5.0).p_value(1.0, 4.0),
            "looking starts at 5, so there is no p-value at 4",
        ),
        (lambda: sequence_design([0.5], tuned_at=0.5), "the last fraction must be 1, which is the horizon"),
        (
            lambda: sequence_design([1.0], tuned_at=1.5),
            "tuned_at must be a fraction of the horizon, at most 1, not 1.5",
        ),
        (
            lambda: over_looks([LOOK, replace(LOOK, null=1.0)]),
            "all looks must be of one sequence, with the same level, null and method",
        ),
        (
            lambda: sequence_with_known_spread(MANY, MANY, spread=0.0, planned=100),
            "spread must be a finite number greater than 0, not 0.0",
        ),
        (lambda: bounded_mean([0.5, 1.5], planned=10), "every value must lie between 0 and 1"),
        (lambda: bounded_mean([0.5, math.nan], planned=10), "every value must lie between 0 and 1"),
        (lambda: bounded_mean([0.5], low=1, high=1, planned=10), "low must be below high, not 1 and 1"),
        (
            lambda: bounded_difference([0.5], [0.5], planned=10, null=1.0),
            "null must lie strictly between -1 and 1, not 1.0",
        ),
        (
            lambda: bounded_difference([0.5], [0.5], planned=10, block=(0, 1)),
            "block[0] must be a whole number of at least 1, not 0",
        ),
    ],
)
def test_what_cannot_be_used_is_refused_in_one_sentence(call: Callable[[], Any], sentence: str) -> None:
    """The whole message: what was wrong and what is accepted."""
    with pytest.raises(UsageError) as refused:
        call()
    assert str(refused.value) == sentence


def test_a_plan_before_the_burn_in_counts_as_the_burn_in() -> None:
    """Looking has to start somewhere, and the narrowest interval is then the first."""
    early, at = (sequence_of_difference_of_means(MANY, MANY, planned=n) for n in (100, 500))
    assert early == at


def test_constant_bounded_values_claim_no_certainty() -> None:
    """A thousand successes and no failure still leave room below 1, and the error is not 0."""
    found = bounded_mean([1.0] * 1000, planned=1000)
    assert isinstance(found, Estimate)
    assert found.low < found.high == 1.0
    assert found.standard_error > 0
