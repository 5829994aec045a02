"""The judge's mean corrected from sums by unit: what it cannot say, and what must not move it."""

from __future__ import annotations

import numpy as np
import pytest

from equipoise.errors import UsageError
from equipoise.stats.cross_moments import CrossMoments
from equipoise.stats.estimate import Estimate, NotEstimable
from equipoise.stats.judges.agreement import correlation
from equipoise.stats.judges.corrected_totals import (
    JudgedTotals,
    corrected_difference_of_totals,
    corrected_mean_of_totals,
    corrected_relative_difference_of_totals,
)

RNG = np.random.default_rng(3)
PEOPLE = RNG.random(400)
JUDGE = PEOPLE + RNG.normal(0.1, 0.2, 400)


def arm(people: np.ndarray, judge: np.ndarray, labels: int, scale: float = 1.0) -> JudgedTotals:
    """One turn a unit, the first of them labelled, all with one weight."""
    on = scale * (np.arange(judge.size) < labels)
    one = np.full(judge.size, scale)
    return JudgedTotals(CrossMoments.of(scale * judge, one, on * people, on, on * judge), judge.size, labels)


def estimated(result: object) -> Estimate:
    assert isinstance(result, Estimate)
    return result


FINE = arm(PEOPLE, JUDGE, 100)


@pytest.mark.parametrize(
    ("result", "reason"),
    [
        (corrected_mean_of_totals(JudgedTotals.nothing()), "the labels are worth 0 units labelled alike, and a corrected estimate needs 20"),
        (corrected_mean_of_totals(arm(PEOPLE, JUDGE, 19)), "the labels are worth 19 units labelled alike, and a corrected estimate needs 20"),
        (corrected_mean_of_totals(arm(PEOPLE, np.where(np.arange(400) < 100, 1.0, JUDGE), 100)), "the judge gives the labelled turns 1 and all turns 0.712 on average: the labels are not a random sample"),
        (corrected_mean_of_totals(arm(np.ones(400), np.ones(400), 100)), "no label differs from what the judge's score says, and 100 labels cannot show how often one would"),
        (corrected_difference_of_totals(FINE, arm(PEOPLE, JUDGE, 10)), "treatment: the labels are worth 10 units labelled alike, and a corrected estimate needs 20"),
        (corrected_relative_difference_of_totals(arm(PEOPLE, JUDGE, 10), FINE), "control: the labels are worth 10 units labelled alike, and a corrected estimate needs 20"),
        (correlation([1, 2, 3], [1, 2, 3]), "there are 3 cases, and a correlation needs four"),
        (correlation([2, 2, 2, 2], [1, 2, 3, 4]), "a rater gives every case the same grade, and what is constant moves with nothing"),
        (correlation([1, 2, 3, 4], [3, 5, 7, 9]), "all pairs lie on one line"),
    ],
)  # fmt: skip
def test_what_cannot_be_estimated_says_why(result: object, reason: str) -> None:
    """Each reason whole, with the numbers it rests on."""
    assert isinstance(result, NotEstimable)
    assert result.reason == reason


@pytest.mark.parametrize(
    ("ask", "says"),
    [
        (lambda: JudgedTotals(CrossMoments.zero(4), 0, 0), "there are five columns of sums, not 4"),
        (lambda: JudgedTotals(CrossMoments.zero(5), 3, 4), "of 3 judged turns 4 cannot be labelled"),
        (lambda: corrected_mean_of_totals(FINE, judge_weight=float("nan")), "judge_weight must be a finite number, not nan"),
        (lambda: corrected_mean_of_totals(FINE, level=1.0), "level must lie strictly between 0 and 1, not 1.0"),
        (lambda: correlation([1, 2, 3, 4], [1, 2, 3]), "both raters must grade the same cases, not 4 and 3"),
    ],
)  # fmt: skip
def test_what_cannot_be_used_is_refused(ask, says) -> None:
    """Each refusal whole."""
    with pytest.raises(UsageError) as refused:
        ask()
    assert str(refused.value) == says


def test_all_weights_times_a_number_change_nothing() -> None:
    """Only proportions of probabilities matter."""
    once, thrice = (estimated(corrected_mean_of_totals(arm(PEOPLE, JUDGE, 100, by))) for by in (1.0, 3.0))
    assert (thrice.value, thrice.low, thrice.high) == pytest.approx((once.value, once.low, once.high))


def test_a_judge_on_another_scale_tells_the_same() -> None:
    """The tuned weight takes up scale and sign: a judge that says the reverse is as good."""
    plain = estimated(corrected_mean_of_totals(FINE))
    for judge in (10.0 * JUDGE + 3.0, -JUDGE):
        other = estimated(corrected_mean_of_totals(arm(PEOPLE, judge, 100)))
        assert (other.value, other.standard_error) == pytest.approx((plain.value, plain.standard_error))


def test_a_judge_who_always_says_the_same_leaves_the_labels_alone() -> None:
    """The estimate is then the mean of the labels with its own error."""
    found = estimated(corrected_mean_of_totals(arm(PEOPLE, np.full(400, 0.7), 100)))
    alone = PEOPLE[:100]
    assert found.value == pytest.approx(alone.mean())
    assert found.standard_error == pytest.approx(alone.std(ddof=1) / 10.0)
    assert found.method == "mean, labels alone, t interval, variance by unit"
    assert estimated(corrected_mean_of_totals(FINE)).standard_error < 0.8 * found.standard_error


def test_below_fifty_labelled_units_the_weight_is_not_tuned() -> None:
    """The judge is then taken at its word, and the method says so."""
    few, many = (estimated(corrected_mean_of_totals(arm(PEOPLE, JUDGE, n))) for n in (40, 60))
    assert few.method == "mean, prediction-powered (PPI), t interval, variance by unit"
    assert many.method == "mean, prediction-powered (PPI++), t interval, variance by unit"
    given = estimated(corrected_mean_of_totals(arm(PEOPLE, JUDGE, 40), judge_weight=1.0))
    assert (few.value, few.low) == (given.value, given.low)


def test_the_interval_excludes_zero_exactly_when_the_test_rejects() -> None:
    """Test and interval are one method, at any level."""
    other = arm(PEOPLE + 0.05, JUDGE + 0.05, 100)
    for level in (0.5, 0.8, 0.9, 0.95, 0.99):
        found = estimated(corrected_difference_of_totals(FINE, other, level=level))
        assert found.p_value is not None
        assert (found.low > 0.0 or found.high < 0.0) == (found.p_value < 1.0 - level)
