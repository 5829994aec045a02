"""What a bandit refuses to learn from or to play, in whole sentences."""

from __future__ import annotations

import math
from fractions import Fraction

import pytest

from equipoise.errors import UsageError
from equipoise.stats.bandits.policies import epsilon_greedy, kl_ucb, thompson, top_two, ucb1
from equipoise.stats.bandits.posteriors import BetaBernoulli, GammaPoisson, Gaussian, Rewards, prior_of
from equipoise.stats.bandits.probabilities import (
    best_probabilities,
    policy_probabilities,
    shares_of,
    top_two_probabilities,
)

EVEN = [BetaBernoulli(1, 1), BetaBernoulli(1, 1)]
REFUSED = {
    "half a success": (lambda: BetaBernoulli().updated(0.5), "a rate is of rewards that are 0 or 1, and this one is 0.5; play a gaussian or gamma_poisson"),
    "half a success among others": (lambda: BetaBernoulli().updated(Rewards.of([0, 1, 0.5])), "a rate is of rewards that are 0 or 1, and among 3 with a mean of 0.5 there are others; play a gaussian or gamma_poisson"),
    "a stars rating": (lambda: BetaBernoulli().updated(Rewards.of([4, 5])), "a rate is of rewards that are 0 or 1, and among 2 with a mean of 4.5 there are others; play a gaussian or gamma_poisson"),
    "nothing known as a reward": (lambda: Gaussian(0, 1, 1, 1).updated(math.nan), "a reward must be a finite number, not nan"),
    "nothing among rewards": (lambda: Rewards.of([1.0, math.inf]), "a reward must be a finite number, not inf"),
    "less than no rewards": (lambda: Rewards(-1.0, 0.0, 0.0), "n must be at least 0, not -1.0"),
    "a count below 0": (lambda: GammaPoisson(1, 1).updated(-2.0), "a count is not negative, and this reward is -2; play a gaussian"),
    "no prior successes": (lambda: BetaBernoulli(0, 1), "alpha must be a finite number greater than 0, not 0"),
    "a model nobody knows": (lambda: prior_of("poisson", {}), "there is no model 'poisson'; accepted: beta_bernoulli, gaussian, gamma_poisson"),
    "half a prior": (lambda: prior_of("gamma_poisson", {"shape": 1.0}), "the prior of gamma_poisson has no 'rate'"),
    "nobody to play": (lambda: thompson([], None), "there is no arm to play"),
    "too sure of the leader": (lambda: top_two(EVEN, None, leader=1.5), "leader is a probability from 0 to 1, and this is 1.5"),
    "a leader's share of none": (lambda: top_two_probabilities([0.5, 0.5], -0.1), "leader is a probability from 0 to 1, and this is -0.1"),
    "too greedy": (lambda: epsilon_greedy(EVEN, None, epsilon=-1), "epsilon is a probability from 0 to 1, and this is -1"),
    "a bound of stars": (lambda: ucb1([Rewards.of([4])]), "an upper bound is of rewards from 0 to 1, and the mean of these is 4"),
    "a closer bound of stars": (lambda: kl_ucb([Rewards.of([4])]), "an upper bound is of rewards from 0 to 1, and the mean of these is 4"),
    "no arm that is best": (lambda: best_probabilities([]), "there is no arm to play"),
    "rates beside means": (lambda: best_probabilities([BetaBernoulli(), Gaussian(0, 1, 1, 1)]), "what is believed of the arms must be of one model, so that they can be compared"),
    "a policy nobody knows": (lambda: policy_probabilities("exp3", EVEN, []), "there is no policy 'exp3'; accepted: thompson, top_two, epsilon_greedy, ucb"),
    "nothing to explore": (lambda: shares_of({"a": 1.0, "b": 0.0}, Fraction(0)), "2 arms cannot have 0 each and leave anything to the better ones"),
    "nothing but exploring": (lambda: shares_of({"a": 1.0, "b": 0.0}, Fraction(1, 2)), "2 arms cannot have 1/2 each and leave anything to the better ones"),
    "hardly anything to give": (lambda: shares_of({"a": 1.0, "b": 0.0}, Fraction(4_999_999, 10_000_000)), "2 arms cannot have 4999999/10000000 each and leave anything to the better ones"),
    "more than a choice": (lambda: shares_of({"a": 1.0, "b": 0.5}, Fraction(1, 20)), "these are no probabilities of one choice: {'a': 1.0, 'b': 0.5}"),
}  # fmt: skip


@pytest.mark.parametrize("what", REFUSED)
def test_what_cannot_be_is_refused_in_a_sentence(what):
    """Each refusal names what was wrong and, where there is a way, the way."""
    call, said = REFUSED[what]
    with pytest.raises(UsageError) as refused:
        call()
    assert str(refused.value) == said


def test_one_arm_alone_is_played():
    """Where there is no choice, there is none to make."""
    assert best_probabilities([BetaBernoulli(3, 4)]) == (1.0,)
    assert top_two_probabilities([1.0]) == (1.0,)


def test_challengers_of_an_arm_that_is_surely_best_are_alike():
    """Where all but one have a probability of 0, nothing tells them apart, and each is the challenger as often."""
    assert top_two_probabilities([1.0, 0.0, 0.0], 0.5) == (0.5, 0.25, 0.25)


def test_shares_are_exact_whatever_the_probabilities():
    """They add up to 1 to the last digit, none is below the floor, and what was rounded off goes to the largest remainder."""
    third = dict.fromkeys("abc", 1 / 3)
    found = shares_of(third, Fraction(1, 20))
    assert sum(found.values()) == 1
    assert {arm: str(share) for arm, share in found.items()} == {
        "a": "1667/5000",
        "b": "3333/10000",
        "c": "3333/10000",
    }
    seventh = shares_of({"a": 1.0, "b": 0.0}, Fraction(1, 7))
    assert seventh == {"a": Fraction(8571, 10_000), "b": Fraction(1429, 10_000)}
    none = shares_of({"a": 1.0, "b": 0.0}, Fraction(1, 20))
    assert none == {"a": Fraction(19, 20), "b": Fraction(1, 20)}
