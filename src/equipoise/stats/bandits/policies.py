"""Who is played next, request by request: Thompson sampling, top-two, epsilon-greedy and two upper bounds.

For simulations, and for one process that plays by itself. In production shares are made for an epoch at a time
(`probabilities`), so that several gateways agree and every unit's probability is known.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TypeVar

from equipoise.errors import UsageError
from equipoise.stats.bandits.posteriors import Draws, Posterior, Rewards

__all__ = ["epsilon_greedy", "kl_ucb", "kl_upper_bound", "thompson", "top_two", "ucb1"]

T = TypeVar("T")
_MOST_DRAWS = 1_000
_HALVINGS = 60


def thompson(arms: Sequence[Posterior], rng: Draws, *, lower: bool = False) -> int:
    """The arm whose draw is best: each is played with the probability that it is the best one.

    One draw an arm, in their order; of equal draws the first. With `lower` the lowest is best. Errors: UsageError without
    arms. Source: Thompson (1933), Biometrika 25; Chapelle & Li (2011), NeurIPS, algorithm 1.

    >>> import random
    >>> from equipoise.stats.bandits.posteriors import BetaBernoulli
    >>> thompson([BetaBernoulli(2, 9), BetaBernoulli(9, 2)], random.Random(7))
    1
    """
    return _best([arm.draw(rng) for arm in _some(arms)], lower=lower)


def top_two(arms: Sequence[Posterior], rng: Draws, *, leader: float = 0.5, lower: bool = False) -> int:
    """Thompson's choice with probability `leader`, and otherwise the first other arm that draws anew say is best.

    So the second best is played as often as it takes to tell it from the best: for finding the best arm, not for the
    reward meanwhile. After a thousand draws anew that all say the same, the second of the last draw is played. Errors:
    UsageError without arms, or for a `leader` outside [0, 1]. Source: Russo (2020), Operations Research 68, 6, algorithm 3
    (top-two Thompson sampling, β = `leader`).

    >>> import random
    >>> from equipoise.stats.bandits.posteriors import BetaBernoulli
    >>> rng = random.Random(7)
    >>> played = [top_two([BetaBernoulli(2, 9), BetaBernoulli(9, 2)], rng, leader=0.5) for _ in range(100)]
    >>> played.count(0)
    57
    """
    if not 0 <= leader <= 1:
        raise UsageError(f"leader is a probability from 0 to 1, and this is {leader}")
    best = thompson(arms, rng, lower=lower)
    if len(arms) == 1 or rng.random() < leader:
        return best
    drawn: list[float] = []
    for _ in range(_MOST_DRAWS):
        drawn = [arm.draw(rng) for arm in arms]
        other = _best(drawn, lower=lower)
        if other != best:
            return other
    others = [index for index in range(len(arms)) if index != best]
    return others[_best([drawn[index] for index in others], lower=lower)]


def epsilon_greedy(
    arms: Sequence[Posterior], rng: Draws, *, epsilon: float = 0.1, lower: bool = False
) -> int:
    """Any arm with probability `epsilon`, and otherwise the one with the best mean; of equal means the first.

    Errors: UsageError without arms, or for an `epsilon` outside [0, 1]. Source: Sutton & Barto (2018), Reinforcement
    Learning, section 2.2.

    >>> import random
    >>> from equipoise.stats.bandits.posteriors import BetaBernoulli
    >>> epsilon_greedy([BetaBernoulli(2, 9), BetaBernoulli(9, 2)], random.Random(7), epsilon=0)
    1
    """
    if not 0 <= epsilon <= 1:
        raise UsageError(f"epsilon is a probability from 0 to 1, and this is {epsilon}")
    some = _some(arms)
    if rng.random() < epsilon:
        return min(int(rng.random() * len(some)), len(some) - 1)
    return _best([arm.mean for arm in some], lower=lower)


def ucb1(arms: Sequence[Rewards]) -> int:
    """The arm with the highest bound mean + √(2·ln t / n), t being the pulls so far; one never played comes first.

    For rewards from 0 to 1 of which higher is better. Errors: UsageError without arms, or for a mean outside [0, 1].
    Source: Auer, Cesa-Bianchi & Fischer (2002), Machine Learning 47, figure 1.

    >>> ucb1([Rewards.of([1, 1, 0]), Rewards.of([0])])
    1
    """
    pulls = _pulls(arms)
    return _best([math.inf if not arm.n else arm.mean + math.sqrt(2 * pulls / arm.n) for arm in arms])


def kl_ucb(arms: Sequence[Rewards], *, lower: bool = False) -> int:
    """The arm with the highest rate that its rewards do not contradict: n·kl(mean, q) ≤ ln t, t being the pulls so far.

    For rewards from 0 to 1; one never played comes first. With `lower` it is the arm with the lowest such rate. Errors:
    UsageError without arms, or for a mean outside [0, 1]. Source: Garivier & Cappé (2011), COLT, algorithm 1 with c = 0.

    >>> kl_ucb([Rewards.of([1, 1, 0]), Rewards.of([0])])
    0
    """
    pulls = _pulls(arms)
    bounds = []
    for arm in arms:
        mean = 1.0 - arm.mean if lower else arm.mean
        bounds.append(math.inf if not arm.n else kl_upper_bound(mean, pulls / arm.n))
    return _best(bounds)


def kl_upper_bound(mean: float, room: float) -> float:
    """The largest rate q with mean·ln(mean/q) + (1 − mean)·ln((1 − mean)/(1 − q)) ≤ `room`, both from 0 to 1.

    >>> round(kl_upper_bound(0.5, 0.1), 4)
    0.7129
    """
    low, high = mean, 1.0
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        if _kl(mean, middle) <= room:
            low = middle
        else:
            high = middle
    return low


def _kl(p: float, q: float) -> float:
    some = p * math.log(p / q) if p > 0 else 0.0
    rest = 1.0 - p
    if rest > 0:
        some += rest * math.log(rest / (1.0 - q)) if q < 1 else math.inf
    return some


def _pulls(arms: Sequence[Rewards]) -> float:
    """The logarithm of the pulls so far."""
    for arm in _some(arms):
        if not 0 <= arm.mean <= 1:
            raise UsageError(
                f"an upper bound is of rewards from 0 to 1, and the mean of these is {arm.mean:g}"
            )
    return math.log(max(1.0, sum(arm.n for arm in arms)))


def _some(arms: Sequence[T]) -> Sequence[T]:
    if not arms:
        raise UsageError("there is no arm to play")
    return arms


def _best(values: Sequence[float], *, lower: bool = False) -> int:
    return (min if lower else max)(range(len(values)), key=values.__getitem__)
