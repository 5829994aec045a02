"""With what probability a policy plays each arm: what an epoch's shares are made of."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cache
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from equipoise.errors import UsageError
from equipoise.stats.bandits.policies import kl_upper_bound
from equipoise.stats.bandits.posteriors import BetaBernoulli, GammaPoisson, Posterior, Rewards

__all__ = [
    "RESOLUTION",
    "best_probabilities",
    "epsilon_greedy_probabilities",
    "kl_ucb_probabilities",
    "policy_probabilities",
    "shares_of",
    "top_two_probabilities",
]

RESOLUTION = 1e-7
"""Probabilities of being best add up to 1 but for this; one below it is told as no less than a thousandth of it."""
_TAILS = 0.5 ** np.arange(1, 41)
"""The probabilities of the quantiles between which is integrated, and of those that mirror them."""
_MOST_EDGES = 1_500
_PARTS = 10_000
"""Shares are told in parts of so many: finer than any traffic could show."""

Numbers = NDArray[np.float64]


def best_probabilities(arms: Sequence[Posterior], *, lower: bool = False) -> tuple[float, ...]:
    """The probability of each arm that its parameter is the best of all: that with which Thompson sampling plays it.

    It is ∫ f_i(x) ∏_{j≠i} F_j(x) dx, by Gauss–Legendre quadrature between the quantiles 2^−k and 1 − 2^−k of all arms
    (k to 40), rates being taken by their log odds and those of counts by their logarithm. They add up to 1 because the
    integrands are the derivative of ∏ F; how far they do not is the error of the quadrature, and nodes are doubled until
    that is below `RESOLUTION`. Nothing is drawn. With `lower` the least parameter is best.

    Degenerate: one arm has 1. Errors: UsageError without arms or with arms of several models; ArithmeticError where the
    quadrature does not come to an end (priors such as Beta(0.01, 0.01)). Source: Chapelle & Li (2011), NeurIPS, section 2;
    Cook (2008), Numerical computation of stochastic inequality probabilities.

    >>> from equipoise.stats.bandits.posteriors import BetaBernoulli
    >>> [round(p, 6) for p in best_probabilities([BetaBernoulli(1, 1), BetaBernoulli(2, 1)])]
    [0.333333, 0.666667]
    """
    if not arms:
        raise UsageError("there is no arm to play")
    if len(arms) == 1:
        return (1.0,)
    if len({type(arm) for arm in arms}) > 1:
        raise UsageError("what is believed of the arms must be of one model, so that they can be compared")
    beliefs = [_belief(arm) for arm in arms]
    edges = np.unique(np.concatenate([each.edges() for each in beliefs]))
    edges = edges[np.isfinite(edges)]
    # Of a hundred arms the quantiles lie close together, and not all are needed.
    edges = np.append(edges[:-1][:: 1 + edges.size // _MOST_EDGES], edges[-1])
    nodes = 8
    while nodes <= 128:
        found = _integrals(beliefs, edges, nodes, lower=lower)
        if abs(float(found.sum()) - 1.0) < RESOLUTION:
            found = np.maximum(found, RESOLUTION / 1000)
            return tuple(float(each) for each in found / found.sum())
        nodes *= 2
    raise ArithmeticError(f"the probabilities of being best of {arms} add up to {float(found.sum())!r}")


_gauss = cache(np.polynomial.legendre.leggauss)


def _integrals(beliefs: Sequence[_Belief], edges: Numbers, nodes: int, *, lower: bool) -> Numbers:
    at, weight = _gauss(nodes)
    half = np.diff(edges)[:, None] / 2
    y = (edges[:-1, None] + half + half * at).ravel()
    w = (half * weight).ravel()
    beaten = np.stack([each.above(y) if lower else each.below(y) for each in beliefs])
    # The product of all but one, without a division by what may be 0.
    ones = np.ones((1, y.size))
    before = np.vstack([ones, np.cumprod(beaten[:-1], axis=0)])
    after = np.vstack([np.cumprod(beaten[:0:-1], axis=0)[::-1], ones])
    dense = np.stack([each.density(y) for each in beliefs])
    # A density of millions of units is known but for a factor next to 1, by which its own integral is off.
    found: Numbers = ((dense * before * after) @ w) / (dense @ w)
    return found


class _Belief(Protocol):
    """A posterior on a scale on which it has no edge: probabilities below and above, the density, and its quantiles."""

    def below(self, y: Numbers) -> Numbers: ...
    def above(self, y: Numbers) -> Numbers: ...
    def density(self, y: Numbers) -> Numbers: ...
    def edges(self) -> Numbers: ...


def _belief(arm: Posterior) -> _Belief:
    if isinstance(arm, BetaBernoulli):
        return _Logit(arm.alpha, arm.beta)
    if isinstance(arm, GammaPoisson):
        return _Log(arm.shape, arm.rate)
    return _Line(2.0 * arm.shape, arm.location, math.sqrt(arm.scale / (arm.shape * arm.weight)))


@dataclass(frozen=True)
class _Logit:
    """A rate by its log odds: next to 0 and 1, where a Beta may have most of its mass, numbers keep their digits."""

    a: float
    b: float

    def below(self, y: Numbers) -> Numbers:
        from scipy.special import betainc, expit

        # From the side on which the number is not next to 1, and from no other: this is most of what a share takes.
        found, low = np.empty_like(y), y <= 0
        found[low] = betainc(self.a, self.b, expit(y[low]))
        found[~low] = 1.0 - betainc(self.b, self.a, expit(-y[~low]))
        return found

    def above(self, y: Numbers) -> Numbers:
        return _Logit(self.b, self.a).below(-y)

    def density(self, y: Numbers) -> Numbers:
        from scipy.special import betaln, log_expit

        found: Numbers = np.exp(self.a * log_expit(y) + self.b * log_expit(-y) - betaln(self.a, self.b))
        return found

    def edges(self) -> Numbers:
        from scipy.special import betaincinv, logit

        with np.errstate(divide="ignore"):
            return np.concatenate(
                [logit(betaincinv(self.a, self.b, _TAILS)), -logit(betaincinv(self.b, self.a, _TAILS))]
            )


@dataclass(frozen=True)
class _Log:
    """A rate of counts by its logarithm."""

    shape: float
    rate: float

    def below(self, y: Numbers) -> Numbers:
        from scipy.special import gammainc

        return np.asarray(gammainc(self.shape, self.rate * np.exp(y)), dtype=np.float64)

    def above(self, y: Numbers) -> Numbers:
        from scipy.special import gammaincc

        return np.asarray(gammaincc(self.shape, self.rate * np.exp(y)), dtype=np.float64)

    def density(self, y: Numbers) -> Numbers:
        from scipy.special import gammaln

        x = y + math.log(self.rate)
        found: Numbers = np.exp(self.shape * x - np.exp(x) - gammaln(self.shape))
        return found

    def edges(self) -> Numbers:
        from scipy.special import gammainccinv, gammaincinv

        with np.errstate(divide="ignore"):
            found: Numbers = np.log(
                np.concatenate([gammaincinv(self.shape, _TAILS), gammainccinv(self.shape, _TAILS)])
            )
        return found - math.log(self.rate)


@dataclass(frozen=True)
class _Line:
    """A mean, which may be anything: Student's t."""

    degrees: float
    location: float
    spread: float

    def below(self, y: Numbers) -> Numbers:
        from scipy.special import stdtr

        return np.asarray(stdtr(self.degrees, (y - self.location) / self.spread), dtype=np.float64)

    def above(self, y: Numbers) -> Numbers:
        from scipy.special import stdtr

        return np.asarray(stdtr(self.degrees, (self.location - y) / self.spread), dtype=np.float64)

    def density(self, y: Numbers) -> Numbers:
        from scipy.special import gammaln

        v, t = self.degrees, (y - self.location) / self.spread
        top = gammaln((v + 1) / 2) - gammaln(v / 2) - 0.5 * math.log(v * math.pi)
        found: Numbers = np.exp(top - (v + 1) / 2 * np.log1p(t * t / v)) / self.spread
        return found

    def edges(self) -> Numbers:
        from scipy.special import stdtrit

        low = self.spread * stdtrit(self.degrees, _TAILS)
        return np.concatenate([self.location + low, self.location - low])


def top_two_probabilities(best: Sequence[float], leader: float = 0.5) -> tuple[float, ...]:
    """With what probability top-two Thompson sampling plays each arm, by the probabilities of being best.

    An arm is first with p_i and played then with probability `leader`; it is the challenger of j with p_i / (1 − p_j):
    p_i·(leader + (1 − leader)·Σ_{j≠i} p_j / (1 − p_j)). Where one arm alone may be best, the others are its challengers
    alike. Errors: UsageError for a `leader` outside [0, 1]. Source: Russo (2020), Operations Research 68, 6, section 4.

    >>> [round(p, 3) for p in top_two_probabilities([0.9, 0.08, 0.02])]
    [0.498, 0.401, 0.101]
    """
    if not 0 <= leader <= 1:
        raise UsageError(f"leader is a probability from 0 to 1, and this is {leader}")
    if len(best) == 1:
        return (1.0,)
    # 1 − p_j loses its digits where p_j is near 1; the sum of the others does not.
    rest = [math.fsum(p for i, p in enumerate(best) if i != j) for j in range(len(best))]
    found = []
    for i, own in enumerate(best):
        follows = math.fsum(
            best[j] * (own / rest[j] if rest[j] > 0 else 1.0 / (len(best) - 1))
            for j in range(len(best))
            if j != i
        )
        found.append(leader * own + (1.0 - leader) * follows)
    return tuple(found)


def epsilon_greedy_probabilities(
    means: Sequence[float], epsilon: float = 0.1, *, lower: bool = False
) -> tuple[float, ...]:
    """With what probability epsilon-greedy plays each arm: `epsilon` among all alike, the rest among the best alike.

    >>> epsilon_greedy_probabilities([0.5, 0.6], 0.5)
    (0.25, 0.75)
    """
    if not 0 <= epsilon <= 1:
        raise UsageError(f"epsilon is a probability from 0 to 1, and this is {epsilon}")
    return _among(means, epsilon, lower=lower)


def kl_ucb_probabilities(arms: Sequence[Rewards], *, lower: bool = False) -> tuple[float, ...]:
    """With what probability KL-UCB plays each arm: the highest bound all, and those with equal bounds alike.

    >>> kl_ucb_probabilities([Rewards.of([1, 1, 0]), Rewards.of([0])])
    (1.0, 0.0)
    """
    pulls = math.log(max(1.0, sum(arm.n for arm in arms)))
    bounds = [
        kl_upper_bound(1.0 - arm.mean if lower else arm.mean, pulls / arm.n) if arm.n else math.inf
        for arm in arms
    ]
    return _among(bounds, 0.0, lower=False)


def _among(values: Sequence[float], all_alike: float, *, lower: bool) -> tuple[float, ...]:
    if not values:
        raise UsageError("there is no arm to play")
    top = min(values) if lower else max(values)
    first = [value == top for value in values]
    return tuple(all_alike / len(values) + (1.0 - all_alike) * is_first / sum(first) for is_first in first)


def shares_of(probabilities: Mapping[str, float], explore: Fraction) -> dict[str, Fraction]:
    """An epoch's shares: `explore` at least for every arm, and of the rest what the policy plays it with; they add up to 1.

    They are whole ten-thousandths: the floor is rounded up to one, and what is left over by the rest goes to the largest
    remainders. Errors: UsageError where `explore` is not above 0 or leaves no rest, or where the probabilities are none.

    >>> {arm: str(share) for arm, share in shares_of({"a": 0.8, "b": 0.2}, Fraction(1, 20)).items()}
    {'a': '77/100', 'b': '23/100'}
    """
    least = math.ceil(explore * _PARTS)
    rest = _PARTS - least * len(probabilities)
    if explore <= 0 or rest <= 0:
        raise UsageError(
            f"{len(probabilities)} arms cannot have {explore} each and leave anything to the better ones"
        )
    if any(not 0 <= p <= 1 for p in probabilities.values()) or not math.isclose(
        math.fsum(probabilities.values()), 1.0, abs_tol=1e-6
    ):
        raise UsageError(f"these are no probabilities of one choice: {dict(probabilities)}")
    parts = {arm: int(p * rest) for arm, p in probabilities.items()}
    order = sorted(probabilities, key=lambda arm: (parts[arm] - probabilities[arm] * rest, arm))
    for arm in order[: rest - sum(parts.values())]:
        parts[arm] += 1
    return {arm: Fraction(least + part, _PARTS) for arm, part in parts.items()}


def policy_probabilities(
    policy: str,
    arms: Sequence[Posterior],
    rewards: Sequence[Rewards],
    *,
    leader: float = 0.5,
    epsilon: float = 0.1,
    lower: bool = False,
) -> tuple[float, ...]:
    """With what probability a policy plays each arm: `thompson`, `top_two`, `epsilon_greedy` or `ucb` (KL-UCB).

    `arms` are what is believed of each, `rewards` (of which `ucb` makes its bounds) what that is made of. Errors:
    UsageError for a policy that is not known, and as the policy's own.

    >>> from equipoise.stats.bandits.posteriors import BetaBernoulli
    >>> told = [Rewards.of([1, 1, 0]), Rewards.of([0])]
    >>> believed = [BetaBernoulli().updated(each) for each in told]
    >>> [round(p, 4) for p in policy_probabilities("thompson", believed, told)]
    [0.8, 0.2]
    """
    if policy == "epsilon_greedy":
        return epsilon_greedy_probabilities([arm.mean for arm in arms], epsilon, lower=lower)
    if policy == "ucb":
        return kl_ucb_probabilities(rewards, lower=lower)
    if policy not in ("thompson", "top_two"):
        raise UsageError(f"there is no policy '{policy}'; accepted: thompson, top_two, epsilon_greedy, ucb")
    best = best_probabilities(arms, lower=lower)
    return best if policy == "thompson" else top_two_probabilities(best, leader)
