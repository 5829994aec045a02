"""Laws of posteriors, of the probabilities of being best, and of the shares made of them, on invented arms."""

from __future__ import annotations

import math
from fractions import Fraction

from hypothesis import given, settings
from hypothesis import strategies as st

from equipoise.stats.bandits.posteriors import BetaBernoulli, GammaPoisson, Gaussian, Posterior, Rewards
from equipoise.stats.bandits.probabilities import (
    best_probabilities,
    epsilon_greedy_probabilities,
    kl_ucb_probabilities,
    shares_of,
    top_two_probabilities,
)

quiet = settings(max_examples=30, deadline=None, derandomize=True)
counts = st.floats(0.3, 3000, allow_nan=False)
rates = st.builds(BetaBernoulli, counts, counts)
means = st.builds(Gaussian, st.floats(-50, 50), counts, counts, counts)
events = st.builds(GammaPoisson, counts, counts)
arms = st.one_of(*(st.lists(each, min_size=2, max_size=5) for each in (rates, means, events)))
chances = st.lists(st.floats(0.0, 1.0), min_size=2, max_size=8).filter(lambda some: sum(some) > 0.01)


@quiet
@given(arms, st.data())
def test_arms_may_stand_in_any_order(some: list[Posterior], data: st.DataObject) -> None:
    """Probabilities add up to 1, go with their arms, and are the same whether the best or the worst is asked for, mirrored."""
    found = best_probabilities(some)
    assert math.isclose(sum(found), 1.0, abs_tol=1e-12)
    order = data.draw(st.permutations(range(len(some))))
    again = best_probabilities([some[place] for place in order])
    assert all(math.isclose(again[at], found[place], abs_tol=3e-7) for at, place in enumerate(order))


@quiet
@given(st.lists(rates, min_size=2, max_size=4))
def test_the_lowest_rate_is_the_highest_of_the_failures(some: list[BetaBernoulli]) -> None:
    """To look for the least success is to look for the most failure."""
    lowest = best_probabilities(some, lower=True)
    mirrored = best_probabilities([BetaBernoulli(each.beta, each.alpha) for each in some])
    assert all(math.isclose(a, b, abs_tol=3e-7) for a, b in zip(lowest, mirrored, strict=True))


@quiet
@given(st.lists(rates, min_size=2, max_size=4), st.integers(1, 50))
def test_a_success_never_makes_an_arm_less_likely_the_best(some: list[BetaBernoulli], successes: int) -> None:
    """Nor a failure more likely."""
    before = best_probabilities(some)[0]
    better = best_probabilities([some[0].updated(Rewards.of([1.0] * successes)), *some[1:]])[0]
    worse = best_probabilities([some[0].updated(Rewards.of([0.0] * successes)), *some[1:]])[0]
    assert worse - 3e-7 <= before <= better + 3e-7


@quiet
@given(chances, st.floats(0, 1), st.fractions(Fraction(1, 1000), Fraction(1, 10), max_denominator=1000))
def test_shares_add_up_to_one_and_none_is_below_the_floor(
    some: list[float], leader: float, explore: Fraction
) -> None:
    """Of whatever probabilities, of either Thompson policy; what is rounded is less than a ten-thousandth."""
    best = [each / sum(some) for each in some]
    for played in (best, top_two_probabilities(best, leader)):
        assert math.isclose(sum(played), 1.0, abs_tol=1e-9)
        found = shares_of({str(n): min(p, 1.0) for n, p in enumerate(played)}, explore)
        assert sum(found.values()) == 1
        assert min(found.values()) >= explore
        for share, p in zip(found.values(), played, strict=True):
            assert abs(float(share) - float(explore) - float(1 - len(some) * explore) * p) < 1e-3


@quiet
@given(st.lists(st.lists(st.sampled_from([0.0, 1.0]), max_size=30), min_size=2, max_size=5), st.floats(0, 1))
def test_greed_and_bounds_are_probabilities_too(told: list[list[float]], epsilon: float) -> None:
    """They add up to 1; no arm has less than its part of what is given to all alike."""
    some = [Rewards.of(each) for each in told]
    greedy = epsilon_greedy_probabilities([each.mean for each in some], epsilon)
    assert math.isclose(sum(greedy), 1.0, abs_tol=1e-12)
    assert min(greedy) >= epsilon / len(some) - 1e-12
    assert math.isclose(sum(kl_ucb_probabilities(some)), 1.0, abs_tol=1e-12)


@quiet
@given(st.lists(st.floats(-1e6, 1e6), max_size=20), st.lists(st.floats(-1e6, 1e6), max_size=20))
def test_rewards_add_up(left: list[float], right: list[float]) -> None:
    """Two batches are one; what counts half twice is what counts once."""
    both, whole = Rewards.of(left) + Rewards.of(right), Rewards.of([*left, *right])
    assert both.n == whole.n
    assert math.isclose(both.mean, whole.mean, rel_tol=1e-9, abs_tol=1e-6)
    assert math.isclose(both.m2, whole.m2, rel_tol=1e-6, abs_tol=1e-2)
    halves = whole.times(0.5) + whole.times(0.5)
    assert math.isclose(halves.m2, whole.m2, rel_tol=1e-9, abs_tol=1e-9)
