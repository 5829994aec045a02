"""Bandits against closed forms, brute force and a textbook's own program."""

from __future__ import annotations

import math
import random
from fractions import Fraction

import numpy as np
import pytest
from scipy import stats
from scipy.optimize import brentq
from scipy.special import betaln

from equipoise.stats.bandits.policies import epsilon_greedy, kl_ucb, kl_upper_bound, thompson, top_two, ucb1
from equipoise.stats.bandits.posteriors import BetaBernoulli, GammaPoisson, Gaussian, Rewards
from equipoise.stats.bandits.probabilities import (
    best_probabilities,
    kl_ucb_probabilities,
    shares_of,
    top_two_probabilities,
)


def second_is_better(a: BetaBernoulli, b: BetaBernoulli) -> float:
    """P(b > a) for whole numbers, as a finite sum."""
    return math.fsum(
        math.exp(betaln(a.alpha + i, a.beta + b.beta) - math.log(b.beta + i) - betaln(1 + i, b.beta) - betaln(a.alpha, a.beta))
        for i in range(int(b.alpha))
    )  # fmt: skip


@pytest.mark.parametrize("a, b", [
    ((1, 1), (1, 1)), ((89, 64), (227, 124)), ((1, 50), (3, 40)), ((5000, 5000), (5100, 4900)), ((1, 1), (2000, 3)),
])  # fmt: skip
def test_the_probability_of_being_best_of_two_rates_is_the_finite_sum(a, b):
    """Quadrature and closed form agree to nine digits, from either side."""
    arms = [BetaBernoulli(*a), BetaBernoulli(*b)]
    exact = second_is_better(*arms)
    first, second = best_probabilities(arms)
    assert math.isclose(second, exact, abs_tol=1e-9)
    assert math.isclose(first, 1 - exact, abs_tol=1e-9)
    assert math.isclose(best_probabilities(arms, lower=True)[0], exact, abs_tol=1e-9)


@pytest.mark.parametrize("a, b", [((1, 1), (1, 1)), ((40, 10), (50, 10)), ((7, 100), (3, 60))])
def test_the_probability_of_being_best_of_two_counts_is_a_beta(a, b):
    """Of two Gamma rates the share of the first is a Beta where the rates are scaled to be alike."""
    arms = [GammaPoisson(*a), GammaPoisson(*b)]
    # x/p > y/q for Gamma(k, 1) x and y: x/(x + y) > p/(p + q).
    exact = float(stats.beta(a[0], b[0]).sf(a[1] / (a[1] + b[1])))
    assert math.isclose(best_probabilities(arms)[0], exact, abs_tol=1e-9)


MANY = {
    "rates": [BetaBernoulli(5 + i, 20) for i in range(6)],
    "means": [Gaussian(0.1 * i, 3.0 + i, 2.0 + i, 1.0 + i / 3) for i in range(5)],
    "counts": [GammaPoisson(3.0 + i, 2.0 + i / 2) for i in range(5)],
    "a hundred rates": [BetaBernoulli(1 + 37 * i % 101, 1 + 53 * i % 97) for i in range(100)],
    "one that nothing is known of": [Gaussian(0, 1, 1, 1), Gaussian(0.3, 1e5, 1e5, 1e5), Gaussian(0.31, 1e4, 1e4, 1e4)],
}  # fmt: skip


@pytest.mark.parametrize("case", MANY)
@pytest.mark.parametrize("lower", [False, True])
def test_thompson_plays_each_arm_with_its_probability_of_being_best(case, lower):
    """200,000 draws: every arm's share is within 4.5 standard errors (one false alarm in 3,000 such tests)."""
    arms, rng = MANY[case], random.Random(case)
    n = 200_000 // len(arms)
    expected = best_probabilities(arms, lower=lower)
    assert math.isclose(sum(expected), 1.0, abs_tol=1e-12)
    played = [0] * len(arms)
    for _ in range(n):
        played[thompson(arms, rng, lower=lower)] += 1
    for count, p in zip(played, expected, strict=True):
        assert abs(count / n - p) <= 4.5 * math.sqrt(p * (1 - p) / n) + 1e-9


def test_top_two_plays_each_arm_with_its_own_probability():
    """20,000 plays: every arm's share is within 4.5 standard errors of what the probabilities of being best make of it."""
    arms, rng, n = MANY["rates"], random.Random(3), 20_000
    expected = top_two_probabilities(best_probabilities(arms), 0.6)
    assert math.isclose(sum(expected), 1.0, abs_tol=1e-12)
    played = [0] * len(arms)
    for _ in range(n):
        played[top_two(arms, rng, leader=0.6)] += 1
    for count, p in zip(played, expected, strict=True):
        assert abs(count / n - p) <= 4.5 * math.sqrt(p * (1 - p) / n)


def test_posteriors_are_what_the_likelihood_makes_of_the_prior():
    """On a fine grid, prior × likelihood has the mean and the quantiles of the posterior of a mean and of a rate of counts."""
    values = [1.2, 0.4, 2.2, 1.9, 0.8]
    found = Gaussian(0.5, 2.0, 1.5, 0.8).updated(Rewards.of(values))
    mu = np.linspace(-6, 8, 2_801)[:, None]
    tau = np.exp(np.linspace(-9, 5, 2_801))[None, :]
    # The prior: τ^(1.5 − 1)·exp(−0.8·τ), and √τ·exp(−2·τ·(μ − 0.5)²/2); the grid is even in log τ, which makes one τ more.
    log = 2.0 * np.log(tau) - 0.8 * tau - 2.0 * tau * (mu - 0.5) ** 2 / 2
    for value in values:
        log = log + 0.5 * np.log(tau) - tau * (value - mu) ** 2 / 2
    mass = np.exp(log).sum(axis=1)
    mass /= mass.sum()
    belief = stats.t(
        2 * found.shape, loc=found.location, scale=math.sqrt(found.scale / (found.shape * found.weight))
    )
    assert abs(float((mass * mu[:, 0]).sum()) - found.mean) < 2e-3
    for q in (0.1, 0.5, 0.9):
        at = float(mu[np.searchsorted(np.cumsum(mass), q), 0])
        assert abs(float(belief.cdf(at)) - q) < 5e-3
    counts = GammaPoisson(2.0, 1.0).updated(Rewards.of([3, 0, 4]))
    rate = np.linspace(1e-6, 15, 30_001)
    weight = stats.gamma(2.0, scale=1.0).pdf(rate) * np.prod(
        [stats.poisson(rate).pmf(k) for k in (3, 0, 4)], axis=0
    )
    assert abs(float((weight * rate).sum() / weight.sum()) - counts.mean) < 1e-6


def test_one_by_one_and_all_at_once_are_the_same():
    """A posterior does not mind in how many batches its rewards came, nor in which order."""
    rng = random.Random(5)
    values = [rng.gauss(2, 3) for _ in range(200)]
    whole = Gaussian(0.0, 1.0, 1.0, 1.0).updated(Rewards.of(values))
    single = Gaussian(0.0, 1.0, 1.0, 1.0)
    for value in values:
        single = single.updated(value)
    batched = Gaussian(0.0, 1.0, 1.0, 1.0).updated(Rewards.of(values[120:])).updated(Rewards.of(values[:120]))
    for other in (single, batched):
        assert all(math.isclose(other.parameters[k], v, rel_tol=1e-9) for k, v in whole.parameters.items())
    added = Rewards.of(values[:70]) + Rewards.of(values[70:])
    assert math.isclose(added.m2, Rewards.of(values).m2, rel_tol=1e-9)


def test_upper_bounds_are_roots():
    """KL-UCB's bound is where n·kl reaches ln t, by another root finder; UCB1's is its formula."""
    for mean, n, t in ((0.5, 10, 100), (0.0, 3, 50), (0.9, 400, 5000), (0.2, 1, 7)):

        def beyond(q: float, mean: float = mean, room: float = math.log(t) / n) -> float:
            return float(stats.entropy([mean, 1 - mean], [q, 1 - q])) - room

        assert math.isclose(
            kl_upper_bound(mean, math.log(t) / n), brentq(beyond, mean, 1 - 1e-15), abs_tol=1e-9
        )
    arms = [Rewards.of([1, 0] * 20), Rewards.of([1, 1, 0]), Rewards.of([0])]
    bounds = [arm.mean + math.sqrt(2 * math.log(44) / arm.n) for arm in arms]
    assert ucb1(arms) == bounds.index(max(bounds))
    assert kl_ucb_probabilities(arms)[kl_ucb(arms)] == 1.0
    assert kl_ucb([Rewards(), *arms]) == ucb1([Rewards(), *arms]) == 0
    assert kl_ucb(arms, lower=True) == kl_ucb([Rewards(arm.n, 1 - arm.mean, arm.m2) for arm in arms])


RATES = (0.55, 0.62)


def regret_of(policy, seed: int, rounds: int) -> float:
    """What a run of our policy lost beside playing the better arm all the time, in expected successes."""
    rng, arms, lost = random.Random(seed), [BetaBernoulli(), BetaBernoulli()], 0.0
    for _ in range(rounds):
        played = policy(arms, rng)
        lost += max(RATES) - RATES[played]
        arms[played] = arms[played].updated(float(rng.random() < RATES[played]))
    return lost


def textbook_regret(seed: int, rounds: int, leader: float | None) -> float:
    """The same by the program that textbooks print: two lists of counts and a loop."""
    generator = np.random.default_rng(seed)
    successes, failures, lost = np.ones(2), np.ones(2), 0.0
    for _ in range(rounds):
        arm = int(np.argmax(generator.beta(successes, failures)))
        if leader is not None and generator.random() > leader:
            # Until another one comes, a hundred at a time.
            others = np.empty(0, dtype=int)
            while not others.size:
                drawn = generator.beta(successes, failures, size=(100, 2)).argmax(axis=1)
                others = drawn[drawn != arm]
            arm = int(others[0])
        if generator.random() < RATES[arm]:
            successes[arm] += 1
        else:
            failures[arm] += 1
        lost += max(RATES) - RATES[arm]
    return lost


POLICIES = {
    "thompson": (thompson, None, 500),
    # The surer it is, the longer it looks for a second: fewer rounds.
    "top_two": (lambda arms, rng: top_two(arms, rng, leader=0.5), 0.5, 250),
}


def compared(policy: str, runs: int) -> tuple[float, float]:
    """The ratio of the mean regrets, ours beside the textbook's, and its standard error."""
    ours, leader, rounds = POLICIES[policy]
    mine = np.array([regret_of(ours, 1_000 + run, rounds) for run in range(runs)])
    theirs = np.array([textbook_regret(run, rounds, leader) for run in range(runs)])
    ratio = float(mine.mean() / theirs.mean())
    relative = [float(each.std(ddof=1) / each.mean()) / math.sqrt(runs) for each in (mine, theirs)]
    return ratio, ratio * math.hypot(*relative)


@pytest.mark.parametrize("policy", POLICIES)
def test_a_hundredth_of_the_regret_is_that_of_the_textbook(policy):
    """Ten runs: within four standard errors of the textbook's (one false alarm in 10,000)."""
    ratio, error = compared(policy, 10)
    assert abs(ratio - 1) <= 4 * error


@pytest.mark.long
@pytest.mark.parametrize("policy", POLICIES)
def test_regret_is_within_a_tenth_of_the_textbook(policy):
    """1,000 runs: the mean regret is within 10 % of the textbook's, which is two standard errors or more."""
    ratio, error = compared(policy, 1_000)
    print(f"{policy}: {ratio:.3f} ± {error:.3f}")
    assert abs(ratio - 1) <= 0.10
    assert error < 0.05


def test_what_is_shared_out_is_what_is_played_and_explored():
    """With shares of an epoch each arm gets its probability, but for what is explored and the rounding."""
    best = best_probabilities(MANY["rates"])
    found = shares_of(dict(zip("abcdef", best, strict=True)), Fraction(1, 50))
    for share, p in zip(found.values(), best, strict=True):
        assert abs(float(share) - (0.02 + 0.88 * p)) <= 1e-4


def test_greed_goes_to_the_best_mean_and_now_and_then_to_any():
    """10,000 plays at ε = 0.2: the best mean has 0.9 of them, within 4.5 standard errors."""
    rng, arms = random.Random(8), [BetaBernoulli(2, 9), BetaBernoulli(9, 2)]
    share = sum(epsilon_greedy(arms, rng, epsilon=0.2) for _ in range(10_000)) / 10_000
    assert abs(share - 0.9) <= 4.5 * math.sqrt(0.09 / 10_000)
