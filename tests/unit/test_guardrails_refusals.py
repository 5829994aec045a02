"""What the mathematics of guardrails refuses, and what it says of nothing at all."""

from __future__ import annotations

import numpy as np
import pytest

from equipoise.errors import UsageError
from equipoise.stats.estimate import NotEstimable
from equipoise.stats.guardrails.overlapping import Runs, drawn_runs, normal_runs
from equipoise.stats.guardrails.streaks import Streaks, expected_streaks, first_run_chance
from equipoise.stats.guardrails.sums import Term, above_zero
from equipoise.stats.guardrails.window_series import dispersion
from equipoise.stats.guardrails.window_values import QuantileOf, Quotient, RateOf

RNG = np.random.default_rng(1)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: expected_streaks([0.1, 1.2], 2), "the chance of a breach must be in [0, 1], not 1.2"),
        (lambda: expected_streaks([0.1], 0), "persist must be a whole number of at least 1, not 0"),
        (lambda: first_run_chance(0.1, 2, autocorrelation=1.0), "the autocorrelation must be strictly between -1 and 1, not 1"),
        (lambda: drawn_runs(RateOf(9, 0.1), None, 0.2, above=True, blocks=0, run=1, rng=RNG), "blocks must be a whole number of at least 1, not 0"),
        (lambda: drawn_runs(RateOf(9, 0.1, 0.1), None, 0.2, above=True, blocks=5, run=1, rng=RNG), "windows that vary more than their readings are not drawn reading by reading"),
        (lambda: normal_runs(1.5, blocks=5, run=1, rng=RNG), "the chance of a breach must be in [0, 1], not 1.5"),
        (lambda: normal_runs(0.5, blocks=5, run=1, alike=1.0, rng=RNG), "alike must be in [0, 1), not 1"),
        (lambda: above_zero([], -1.0, spread=-0.1), "the spread must not be negative, and this is -0.1"),
        (lambda: dispersion([0.1], [1.0, 2.0], 0.1, 0.1), "1 means and 2 counts are not those of the same windows"),
    ],
)  # fmt: skip
def test_what_cannot_be_meant_is_refused(call, message):
    """Each with the number that was given."""
    with pytest.raises(UsageError) as refused:
        call()
    assert str(refused.value) == message


def test_nothing_and_certainty_are_no_chance():
    """No windows, unknown ones, and those that are always or never breached."""
    assert expected_streaks([], 2) == expected_streaks([None, None], 2) == Streaks(0.0, 0.0)
    assert expected_streaks([0.0] * 5, 1) == Streaks(0.0, 0.0)
    # One streak that began before the first window, and never ends.
    assert expected_streaks([1.0] * 5, 2) == Streaks(0.0, 0.0)
    assert first_run_chance(0.0, 3) == 0.0
    assert first_run_chance(1.0, 3, autocorrelation=0.5) == 1.0
    assert dispersion([0.5] * 4, [9.0] * 4, 0.5, 0.0) == NotEstimable("the readings do not vary")


def test_windows_that_overlap_may_be_breached_never_or_always():
    """No rate is beyond 1, and what is always so never begins."""
    given = {"above": True, "blocks": 5, "run": 2, "rng": RNG}
    assert drawn_runs(RateOf(50, 0.5), None, 1.0, **given) == Runs(0.0, 0.0)
    assert drawn_runs(RateOf(50, 0.0), None, 0.5, **given) == Runs(0.0, 0.0)
    assert drawn_runs(RateOf(50, 1.0), None, 0.5, **given) == Runs(0.0, 1.0)
    assert normal_runs(0.0, blocks=5, run=2, rng=RNG) == Runs(0.0, 0.0)
    assert normal_runs(1.0, blocks=5, run=2, rng=RNG) == Runs(0.0, 1.0)


def test_readings_that_cannot_vary_are_beyond_a_limit_or_not():
    """All failed, none failed, one latency, one cost: at the limit is not beyond it."""
    for rate in (0.0, 1.0):
        for intraclass in (0.0, 0.01):
            value = RateOf(50, rate, intraclass)
            assert value.beyond(rate, above=True) == value.beyond(rate, above=False) == 0.0
            assert value.beyond(0.5, above=rate > 0.5) == 1.0
    one = np.array([2.0]), np.array([1.0])
    quick = QuantileOf(10, 0.95, *one)
    assert [quick.beyond(limit, above=True) for limit in (1.9, 2.0, 2.1)] == [1.0, 0.0, 0.0]
    assert [quick.beyond(limit, above=False) for limit in (1.9, 2.0, 2.1)] == [0.0, 0.0, 1.0]
    cost = Quotient(Term(*one, 10), 10.0)
    assert [cost.beyond(limit, above=True) for limit in (1.9, 2.0, 2.1)] == [1.0, 0.0, 0.0]


def test_a_sum_that_cannot_reach_is_never_there():
    """Beyond the largest reading times their number, and below the least; a deviate besides reaches anywhere."""
    coins = Term(np.array([0.0, 1.0]), np.array([0.5, 0.5]), 10)
    assert above_zero([coins], -10.0) == 0.0
    assert above_zero([coins], 0.5) == 1.0
    assert 0.0 < above_zero([coins], -10.0, spread=3.0) < 0.2
    # One that is hardly anything still is a chance, not a failure of arithmetic.
    assert 0.0 <= above_zero([Term(coins.values, coins.weights, 2_000)], -1_999.5) < 1e-300
