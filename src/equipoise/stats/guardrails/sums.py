"""The chance that a sum of many readings is above 0, without drawing any: the saddlepoint of what was read.

What resampling the readings would give, were it done for ever, also far out in the tails.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from equipoise.errors import UsageError
from equipoise.stats.normal import tail
from equipoise.stats.roots import brentq

__all__ = ["Term", "above_zero"]

_NEAR = 1e-4
_STEPS = 12
_LARGEST = 600.0


@dataclass(frozen=True, slots=True, eq=False)
class Term:
    """`factor` times the sum of `n` readings, each one of `values` with the chance `weights` gives it.

    `values` are finite, and `weights` add up to 1. Where `n` is itself by chance (`poisson`) it is the expected number.
    """

    values: NDArray[np.float64]
    weights: NDArray[np.float64]
    n: float
    factor: float = 1.0
    poisson: bool = False

    def cumulants(self, at: float) -> tuple[float, float, float]:
        """The cumulant generating function at a point, and its first two derivatives.

        >>> coin = Term(np.array([0.0, 1.0]), np.array([0.5, 0.5]), 100)
        >>> coin.cumulants(0.0)
        (0.0, 50.0, 25.0)
        """
        exponents = at * self.factor * self.values
        # Of a number by chance the function itself grows, of a given one only its logarithm.
        top = 0.0 if self.poisson else float(exponents.max())
        grown = self.weights * np.exp(np.minimum(exponents - top, _LARGEST))
        moment, first, second = (
            float(grown @ self.values**power) * self.factor**power for power in (0, 1, 2)
        )
        if self.poisson:
            return self.n * (moment - 1.0), self.n * first, self.n * second
        mean = first / moment
        return (
            self.n * (top + math.log(moment)),
            self.n * mean,
            self.n * max(second / moment - mean * mean, 0.0),
        )

    def reach(self) -> tuple[float, float]:
        """The least and the greatest that the term can be."""
        low, high = sorted((self.factor * float(self.values.min()), self.factor * float(self.values.max())))
        if self.poisson:
            return (-math.inf if low < 0.0 else 0.0), (math.inf if high > 0.0 else 0.0)
        return self.n * low, self.n * high


def above_zero(terms: Sequence[Term], constant: float, *, spread: float = 0.0) -> float:
    """The chance that `constant` plus independent terms, plus a normal deviate of the standard deviation `spread`, is > 0.

    The saddlepoint approximation of the distribution that resampling the readings has. Its relative error is small in
    both tails; where the terms are whole numbers it is that of the sum smoothed, half a step off at most.
    Degenerate cases: a sum that cannot vary is above 0 or not; one that cannot reach 0 is never above it, or always.
    Errors: UsageError for a negative `spread`.
    Source: Lugannani & Rice (1980), Advances in Applied Probability 12, 475, equation 10; for resampling Davison &
    Hinkley (1988), Biometrika 75, 417.

    >>> coins = Term(np.array([0.0, 1.0]), np.array([0.5, 0.5]), 100)
    >>> round(above_zero([coins], -60.5), 4)  # a fair coin, more than sixty heads of a hundred: 0.0176
    0.0178
    """
    if spread < 0.0:
        raise UsageError(f"the spread must not be negative, and this is {spread:g}")
    reaches = [term.reach() for term in terms]
    low, high = (constant + sum(each[side] for each in reaches) for side in (0, 1))
    if spread == 0.0 and high <= 0.0:
        return 0.0
    if spread == 0.0 and low > 0.0:
        return 1.0

    def cumulants(at: float) -> tuple[float, float, float]:
        parts = [term.cumulants(at) for term in terms]
        return (
            constant * at + spread * spread * at * at / 2.0 + sum(part[0] for part in parts),
            constant + spread * spread * at + sum(part[1] for part in parts),
            spread * spread + sum(part[2] for part in parts),
        )

    mean, variance = cumulants(0.0)[1:]
    if variance <= 0.0:
        return 1.0 if mean > 0.0 else 0.0
    unit = 1.0 / math.sqrt(variance)
    saddle = _saddle(lambda at: cumulants(at)[1:], unit)
    if saddle is None:
        return 0.0 if mean < 0.0 else 1.0
    if abs(saddle) < _NEAR * unit:
        # Where the formula is 0 / 0 it is smooth: the mean of both sides.
        sides = [_beyond(step, *cumulants(step)) for step in (saddle - 0.01 * unit, saddle + 0.01 * unit)]
        return min(max(sum(sides) / 2.0, 0.0), 1.0)
    return min(max(_beyond(saddle, *cumulants(saddle)), 0.0), 1.0)


def _beyond(at: float, value: float, first: float, second: float) -> float:
    """The chance of more than the tilted sum's mean `first`, which is 0 at the saddlepoint."""
    w = math.copysign(math.sqrt(max(2.0 * (at * first - value), 0.0)), at)
    u = at * math.sqrt(second)
    if w == 0.0 or u == 0.0:
        return 0.5
    return tail(w) + math.exp(-w * w / 2.0) / math.sqrt(2.0 * math.pi) * (1.0 / u - 1.0 / w)


def _saddle(slopes: Callable[[float], tuple[float, float]], unit: float) -> float | None:
    """Where the slope, which grows, is 0; None where that lies so far out that the chance is nothing.

    `slopes` are the slope and its own. Newton's steps arrive in a few where the sum is nearly normal; a bracket always does.
    """
    start, at = slopes(0.0)[0], 0.0
    if start == 0.0:
        return 0.0
    for _ in range(_STEPS):
        slope, bend = slopes(at)
        if abs(slope) <= 1e-10 * abs(start):
            return at
        if not (bend > 0.0 and abs(slope) <= abs(start)):
            break
        at -= slope / bend
    step = -math.copysign(unit, start)
    for _ in range(60):
        if (slopes(step)[0] > 0.0) != (start > 0.0):
            return brentq(lambda point: slopes(point)[0], *sorted((0.0, step)), xtol=1e-12 * abs(step))
        step *= 2.0
    return None
