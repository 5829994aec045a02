"""The walk that a test statistic makes from look to look, and the probability that it leaves at each.

The statistic at information fraction t is z = effect / standard error, and over the looks it moves like a
Brownian motion divided by sqrt(t): z_k·sqrt(t_k) has independent normal increments with mean `drift`·(t_k −
t_{k−1}) and variance t_k − t_{k−1}. `drift` is the expected z at full information. What has not stopped is
carried from look to look as a density on a grid (Armitage, McPherson & Rowe 1969; grid and Simpson weights
as in Jennison & Turnbull 2000, chapter 19), so a probability is a sum and a boundary the root of one.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr

from equipoise.errors import UsageError
from equipoise.stats.domain import positive
from equipoise.stats.roots import brentq

__all__ = ["FARTHEST", "LEAST_STEP", "Walk", "rising_fractions"]

FARTHEST = 8.0
"""No boundary lies farther out. A look that may spend less than 6e-16 gets this one: nothing plausible
crosses it, the overspending is far below the accuracy of the rest, and it can be printed, drawn and written
as JSON, which infinity cannot."""

LEAST_STEP = 1e-4
"""Information must rise by this share of itself from one look to the next."""

Floats = NDArray[np.float64]


class Walk:
    """The density of z among what has not stopped yet, carried from look to look.

    At any moment `k` looks are behind: `above`, `below` and `within` speak of look k, `carry_on` performs
    it. `fractions` are those that `rising_fractions` accepts, `drift` any finite number; nothing is checked
    here. Source: Jennison & Turnbull (2000), chapter 19.

    >>> walk = Walk((0.5, 1.0), drift=0.0)
    >>> walk.carry_on((-2.1783, 2.1783))
    >>> round(2 * (0.01469 + walk.above(2.1783)), 4)
    0.05
    """

    def __init__(self, fractions: Sequence[float], drift: float) -> None:
        self._t, self._drift = fractions, drift
        self._k = 0
        self._z: Floats = np.zeros(1)  # before the first look: all the probability at z = 0, information 0
        self._mass: Floats = np.ones(1)

    def above(self, boundary: float) -> float:
        """The probability of arriving at this look, and there above `boundary`."""
        return float(self._mass @ ndtr(-self._standardised(boundary)))

    def below(self, boundary: float) -> float:
        """The probability of arriving at this look, and there below `boundary`."""
        return float(self._mass @ ndtr(self._standardised(boundary)))

    def within(self, boundary: float) -> float:
        """The probability of arriving at this look, and there between −`boundary` and `boundary`."""
        return max(0.0, self.above(-boundary) - self.above(boundary))

    def boundary_above(self, error: float) -> float:
        """The boundary above which this look spends `error`, at most `FARTHEST`."""
        if error <= 0.0 or self.above(FARTHEST) >= error:
            return FARTHEST
        if self.above(0.0) <= error:
            raise UsageError("the spending function spends more at this look than is left to spend above 0")
        return brentq(lambda b: self.above(b) - error, 0.0, FARTHEST, xtol=1e-10)

    def boundary_below(self, error: float, highest: float) -> float:
        """The boundary below which this look spends `error`, from −`FARTHEST` to `highest`."""
        if error <= 0.0 or self.below(-FARTHEST) >= error:
            return -FARTHEST
        if self.below(highest) <= error:
            return highest
        return brentq(lambda b: self.below(b) - error, -FARTHEST, highest, xtol=1e-10)

    def boundary_within(self, error: float, highest: float) -> float:
        """The half-width around 0 within which this look spends `error`, from 0 to `highest`."""
        if error <= 0.0:
            return 0.0
        if self.within(highest) <= error:
            return highest
        return brentq(lambda b: self.within(b) - error, 0.0, highest, xtol=1e-10)

    def carry_on(self, *regions: tuple[float, float]) -> None:
        """Perform this look: what lies in one of these intervals of z goes on, the rest has left."""
        if self._k + 1 < len(self._t):
            centre, r = self._drift * math.sqrt(self._t[self._k]), self._fineness()
            grids = [_grid(centre, low, high, r) for low, high in regions if low < high]
            if not grids:
                grids = [(np.zeros(1), np.zeros(1))]
            z = np.concatenate([points for points, _ in grids])
            weights = np.concatenate([weight for _, weight in grids])
            scale = self._scale()
            gaps = (z[:, None] - self._centres()[None, :]) * scale
            np.multiply(gaps, gaps, out=gaps)
            np.multiply(gaps, -0.5, out=gaps)
            np.exp(gaps, out=gaps)
            self._z, self._mass = z, weights * (gaps @ self._mass) * (scale / math.sqrt(2.0 * math.pi))
        self._k += 1

    def _before(self) -> float:
        return self._t[self._k - 1] if self._k else 0.0

    def _scale(self) -> float:
        """One over the standard deviation of this look's z given the last one's."""
        t = self._t[self._k]
        return 1.0 / math.sqrt((t - self._before()) / t)

    def _centres(self) -> Floats:
        """The mean of this look's z, for each z that the last one may have had."""
        t, before = self._t[self._k], self._before()
        return self._z * math.sqrt(before / t) + self._drift * (t - before) / math.sqrt(t)

    def _standardised(self, boundary: float) -> Floats:
        return (boundary - self._centres()) * self._scale()

    def _fineness(self) -> int:
        """The grid's r, such that Simpson's rule resolves the narrower of the two steps beside this look."""
        t, before, after = self._t[self._k], self._before(), self._t[self._k + 1]
        narrow = math.sqrt(min((t - before) / t, (after - t) / t))
        return max(32, math.ceil(2.25 / narrow))


def rising_fractions(fractions: Sequence[float]) -> tuple[float, ...]:
    """`fractions` themselves, refused unless there are some, all above 0, each clearly above the one before.

    >>> rising_fractions([0.5, 1])
    (0.5, 1.0)
    >>> rising_fractions([0.5, 0.4])
    Traceback (most recent call last):
    equipoise.errors.UsageError: information fractions must rise, but 0.5 is followed by 0.4
    """
    ts = tuple(positive("an information fraction", t) for t in fractions)
    if not ts:
        raise UsageError("at least one information fraction is needed")
    for before, t in pairwise(ts):
        if t - before < LEAST_STEP * t:
            raise UsageError(f"information fractions must rise, but {before:g} is followed by {t:g}")
    return ts


def _grid(centre: float, low: float, high: float, r: int) -> tuple[Floats, Floats]:
    """Points and Simpson weights on [low, high], dense within 3 of `centre`, out to 3 + 4·ln(r) of it.

    Source: Jennison & Turnbull (2000), chapter 19.
    """
    i = np.arange(1, 6 * r)
    outer = 3.0 + 4.0 * np.log(r / np.minimum(i, 6 * r - i).clip(max=r))
    coarse = centre + np.where(i < r, -outer, np.where(i > 5 * r, outer, -3.0 + 3.0 * (i - r) / (2.0 * r)))
    low, high = max(low, float(coarse[0])), min(high, float(coarse[-1]))
    if low >= high:
        # The boundaries lie where no probability is; two points keep the sums well defined.
        return np.array([low]), np.zeros(1)
    knots = np.concatenate(([low], coarse[(coarse > low) & (coarse < high)], [high]))
    widths = np.diff(knots)
    points = np.empty(2 * len(knots) - 1)
    points[0::2], points[1::2] = knots, knots[:-1] + widths / 2.0
    weights = np.zeros_like(points)
    weights[0:-1:2] += widths / 6.0
    weights[2::2] += widths / 6.0
    weights[1::2] = widths * (4.0 / 6.0)
    return points, weights
