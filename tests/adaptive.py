"""A plain batched bandit, many runs at once: data whose probabilities followed what came before."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from equipoise.stats.adaptive.batches import Batch
from equipoise.stats.moments import Moments

_DRAWS = 400


@dataclass(frozen=True, kw_only=True)
class Setting:
    """`means` of the arms, `epochs` of `units` each, the least share of an arm, and how many epochs a reward takes.

    A `rate` is 0 or 1, other outcomes are normal with variance 1. `moving` is how far all arms' means go up and down.
    """

    means: tuple[float, ...]
    epochs: int = 20
    units: int = 100
    least: float = 0.05
    policy: Literal["thompson", "top_two"] = "thompson"
    delay: int = 0
    rate: bool = True
    moving: float = 0.0


def runs(setting: Setting, replications: int, seed: int) -> Iterator[list[Batch]]:
    """What each of so many bandits leaves behind; arms are called "0", "1", …"""
    rng = np.random.default_rng(seed)
    arms, means = len(setting.means), np.array(setting.means)
    shape = (replications, setting.epochs, arms)
    sums, m2, shares = np.zeros(shape), np.zeros(shape), np.zeros(shape)
    counts = np.zeros(shape, dtype=np.int64)
    for epoch in range(setting.epochs):
        known = max(0, epoch - setting.delay)
        given = np.full((replications, arms), 1.0 / arms)
        if known:
            given = _probabilities(setting, sums[:, :known].sum(1), counts[:, :known].sum(1), rng)
        shares[:, epoch] = setting.least + (1.0 - arms * setting.least) * given
        counts[:, epoch] = n = np.array([rng.multinomial(setting.units, each) for each in shares[:, epoch]])
        now = means + setting.moving * np.sin(2.0 * np.pi * epoch / setting.epochs)
        if setting.rate:
            sums[:, epoch] = rng.binomial(n, now)
            m2[:, epoch] = sums[:, epoch] * (1.0 - sums[:, epoch] / np.maximum(n, 1))
        else:
            sums[:, epoch] = n * now + np.sqrt(n) * rng.standard_normal(n.shape)
            m2[:, epoch] = np.where(n > 1, rng.chisquare(np.maximum(n - 1, 1)), 0.0)
    for run in range(replications):
        yield [
            Batch(
                {str(arm): shares[run, epoch, arm] for arm in range(arms)},
                {
                    str(arm): Moments(int(n), sums[run, epoch, arm] / n, m2[run, epoch, arm])
                    for arm in range(arms)
                    if (n := counts[run, epoch, arm])
                },
            )
            for epoch in range(setting.epochs)
        ]


def _probabilities(
    setting: Setting, sums: NDArray[np.float64], counts: NDArray[np.int64], rng: np.random.Generator
) -> NDArray[Any]:
    """The probability of being best by draws from the posterior; for top-two, of being played."""
    size = (len(sums), _DRAWS, len(setting.means))
    if setting.rate:
        drawn = rng.beta(1.0 + sums[:, None], 1.0 + (counts - sums)[:, None], size=size)
    else:
        n = np.maximum(counts, 1)[:, None]
        drawn = sums[:, None] / n + rng.standard_normal(size) / np.sqrt(n)
    best = drawn.argmax(2)
    chance = np.stack([(best == arm).mean(1) for arm in range(size[2])], axis=1)
    if setting.policy == "top_two":
        odds = chance / np.maximum(1.0 - chance, 1e-9)
        chance = 0.5 * chance + 0.5 * chance * (odds.sum(1, keepdims=True) - odds)
        chance /= chance.sum(1, keepdims=True)
    return chance


def arms(setting: Setting) -> Sequence[str]:
    """The arms' names."""
    return [str(arm) for arm in range(len(setting.means))]
