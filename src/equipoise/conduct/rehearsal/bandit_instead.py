"""What a bandit in place of the test would lose: Thompson sampling on the primary, its shares made anew at each look."""

from __future__ import annotations

import math
from collections.abc import Sequence
from fractions import Fraction

import numpy as np

from equipoise.experiment.metric import Metric
from equipoise.measurement.rehearsed.population import Numbers, Population
from equipoise.stats.bandits.posteriors import BetaBernoulli, Gaussian, Posterior, Rewards
from equipoise.stats.bandits.probabilities import best_probabilities, shares_of

__all__ = ["lost_by_a_bandit"]

_SEEN = 20_000
"""Units that are drawn to learn how much one differs from another."""
_EXPLORE = Fraction(1, 20)
_ROUNDS = 60
"""Shares are made anew so often at most: more changes what is lost by little, and takes long."""


def lost_by_a_bandit(
    metric: Metric,
    population: Population,
    means: Sequence[float],
    horizon: int,
    per_look: int,
    *,
    delay: int,
    runs: int,
    rng: np.random.Generator,
) -> list[float]:
    """What each run loses against the best arm from the first unit on, in the metric added up over `horizon` units.

    `means` are the true ones of the arms. Rewards of a unit are known `delay` units later. Every arm keeps a twentieth of
    the units. Numbers are taken as normal, with the spread that units of the population have.
    """
    sample = population.draw(_SEEN, rng).values[metric.name]
    spread = float(np.nanstd(sample))
    per_epoch = max(per_look, math.ceil(horizon / _ROUNDS))
    return [_run(metric, means, spread, horizon, per_epoch, delay, rng) for _ in range(runs)]


def _run(
    metric: Metric,
    means: Sequence[float],
    spread: float,
    horizon: int,
    per_epoch: int,
    delay: int,
    rng: np.random.Generator,
) -> float:
    best = max(metric.sign * mean for mean in means)
    known = [Rewards() for _ in means]
    waiting: list[list[Rewards]] = []
    late = math.ceil(delay / per_epoch)
    lost, served = 0.0, 0
    while served < horizon:
        units = min(per_epoch, horizon - served)
        counts = rng.multinomial(units, _shares(metric, known))
        served += units
        lost += sum(count * (best - metric.sign * mean) for count, mean in zip(counts, means, strict=True))
        waiting.append(
            [_rewards(metric, int(n), mean, spread, rng) for n, mean in zip(counts, means, strict=True)]
        )
        if len(waiting) > late:
            known = [some + more for some, more in zip(known, waiting.pop(0), strict=True)]
    return lost


def _shares(metric: Metric, known: Sequence[Rewards]) -> Numbers:
    if not all(each.n for each in known):
        return np.full(len(known), 1.0 / len(known))
    beliefs: list[Posterior]
    if metric.kind == "proportion":
        beliefs = [BetaBernoulli().updated(each) for each in known]
    else:
        # Next to nothing is believed at first, and that at the height of what was seen.
        middle = sum(each.mean for each in known) / len(known)
        scale = max(sum(each.m2 for each in known) / sum(each.n for each in known), 1e-12)
        beliefs = [Gaussian(middle, 1e-3, 1.0, scale).updated(each) for each in known]
    probabilities = best_probabilities(beliefs, lower=metric.sign < 0)
    named = {str(place): share for place, share in enumerate(probabilities)}
    shares: Numbers = np.array([float(share) for share in shares_of(named, _EXPLORE).values()])
    # Exact fractions add up to 1; what they round to is put right by the last of them.
    shares[-1] = 1.0 - shares[:-1].sum()
    return shares


def _rewards(metric: Metric, n: int, mean: float, spread: float, rng: np.random.Generator) -> Rewards:
    if n == 0:
        return Rewards()
    if metric.kind == "proportion":
        seen = float(rng.binomial(n, mean)) / n
        return Rewards(float(n), seen, n * seen * (1.0 - seen))
    drawn = float(rng.normal(mean, spread / math.sqrt(n)))
    return Rewards(float(n), drawn, spread * spread * float(rng.chisquare(n - 1)) if n > 1 else 0.0)
