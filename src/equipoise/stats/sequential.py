"""Looking more than once: boundaries that keep the promised error however often, and whenever, one looks.

The statistic at information fraction t is z = effect / standard error, and over the looks it moves like a
Brownian motion divided by sqrt(t): z_k·sqrt(t_k) has independent normal increments with mean `drift`·(t_k −
t_{k−1}) and variance t_k − t_{k−1}. `drift` is the expected z at full information. What has not crossed a
boundary is carried from look to look as a density on a grid (Armitage, McPherson & Rowe 1969; grid and
Simpson weights as in Jennison & Turnbull 2000, chapter 19), so a probability is a sum and a boundary the
root of one.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq
from scipy.special import ndtr

from equipoise.errors import UsageError
from equipoise.stats.domain import finite, inside, positive, sided
from equipoise.stats.normal import critical
from equipoise.stats.spending import Spending

__all__ = [
    "FARTHEST",
    "Crossings",
    "Inflation",
    "boundaries",
    "crossing_probabilities",
    "inflation",
    "information_for",
    "next_boundary",
    "power",
]

FARTHEST = 8.0
"""No boundary lies farther out. A look that may spend less than 6e-16 gets this one: nothing plausible
crosses it, the overspending is far below the accuracy of the rest, and it can be printed, drawn and written
as JSON, which infinity cannot."""

_LEAST_ALPHA = 1e-9
_LEAST_STEP = 1e-4

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Crossings:
    """The probability of crossing for the first time at each look, above and below."""

    upper: tuple[float, ...]
    lower: tuple[float, ...]

    @property
    def total(self) -> float:
        """The probability of crossing at all.

        >>> Crossings((0.01, 0.02), (0.01, 0.02)).total
        0.06
        """
        return math.fsum(self.upper + self.lower)


@dataclass(frozen=True, slots=True)
class Inflation:
    """What looking costs and saves, beside a test with one look of the same error and power.

    `factor` is the maximum information over the fixed test's; `drift` the expected z at the maximum under
    the design effect; `expected` the average information at stopping, as a fraction of the *maximum*, under
    that effect. Multiply `expected` by `factor` to compare it with the fixed test.
    """

    factor: float
    drift: float
    expected: float
    boundaries: tuple[float, ...]


def boundaries(
    fractions: Sequence[float], alpha: float, spending: Spending, sides: int = 2
) -> tuple[float, ...]:
    """The z boundary of each look, for a test of level `alpha` that spends as `spending` says.

    `fractions` are information fractions, rising, above 0; they need not be equally spaced nor end in 1,
    and what lies beyond 1 counts as 1. `alpha` is the error of the whole test and each tail spends
    alpha/sides by itself. Two sides: reject where |z| ≥ boundary; one side: where z ≥ boundary. No boundary
    is above `FARTHEST`.

    Degenerate cases: one look at 1 gives the fixed test's critical value. Errors: UsageError for no
    fractions, ones that do not rise by at least 1e-4 of themselves, alpha below 1e-9 or not below 1, or
    other sides.
    Source: Lan & DeMets (1983), Biometrika 70, 659; Armitage, McPherson & Rowe (1969), JRSS A 132,
    235.

    >>> from equipoise.stats.spending import obrien_fleming
    >>> [round(b, 4) for b in boundaries([0.2, 0.4, 0.6, 0.8, 1.0], 0.05, obrien_fleming)]
    [4.8769, 3.357, 2.6803, 2.2898, 2.031]
    """
    ts, tail = _fractions(fractions), _tail(alpha, sides)
    walk, found, spent = _Walk(ts, 0.0, sides), [], 0.0
    for t in ts:
        boundary = walk.boundary_for(spending(t, tail) - spent)
        spent += walk.upper(boundary)
        walk.stop_at(boundary)
        found.append(boundary)
    return tuple(found)


def next_boundary(
    previous_fractions: Sequence[float],
    previous_boundaries: Sequence[float],
    fraction: float,
    alpha: float,
    spending: Spending,
    *,
    last: bool = False,
    sides: int = 2,
) -> float:
    """The boundary of the look at hand, at the information seen, after looks already made.

    What those looks spent is worked out from their own boundaries at their own fractions, not from the
    plan; this look may spend up to spending(fraction), or all that is left if it is the `last`. So the
    error is kept when looks come early, late, or more often than planned, as long as the choice does not
    depend on the effect seen.

    Degenerate cases: where nothing is left to spend the answer is `FARTHEST`. Errors: as for `boundaries`,
    and UsageError where fractions and boundaries differ in number or a boundary is not above 0.
    Source: Lan & DeMets (1983), section 2; Jennison & Turnbull (2000), chapter 7.

    >>> from equipoise.stats.spending import obrien_fleming
    >>> round(next_boundary([0.5], [2.9626], 0.9, 0.05, obrien_fleming, last=True), 4)
    1.9667
    """
    ts, tail = _fractions([*previous_fractions, fraction]), _tail(alpha, sides)
    used = _boundaries(previous_boundaries, len(ts) - 1)
    walk, spent = _Walk(ts, 0.0, sides), 0.0
    for boundary in used:
        spent += walk.upper(boundary)
        walk.stop_at(boundary)
    return walk.boundary_for((tail if last else spending(ts[-1], tail)) - spent)


def crossing_probabilities(
    fractions: Sequence[float], boundaries: Sequence[float], drift: float = 0.0, sides: int = 2
) -> Crossings:
    """The probability of crossing first at each look, when the expected z at full information is `drift`.

    Boundaries are on the z scale, above 0, one for each fraction; with one side only crossings above stop
    the test and `lower` is all 0. Errors: UsageError for unusable fractions or boundaries, or a drift that
    is not finite.
    Source: Armitage, McPherson & Rowe (1969); Jennison & Turnbull (2000), chapter 19.

    >>> pocock_five = crossing_probabilities([0.2, 0.4, 0.6, 0.8, 1.0], [2.413] * 5)
    >>> round(pocock_five.total, 4)
    0.05
    """
    ts = _fractions(fractions)
    used = _boundaries(boundaries, len(ts))
    walk, upper, lower = _Walk(ts, finite("drift", drift), sided(sides)), [], []
    for boundary in used:
        upper.append(walk.upper(boundary))
        lower.append(walk.lower(boundary))
        walk.stop_at(boundary)
    return Crossings(tuple(upper), tuple(lower))


def power(fractions: Sequence[float], boundaries: Sequence[float], drift: float, sides: int = 2) -> float:
    """The probability of crossing, at any look, on the side to which `drift` points (above, if it is 0).

    Domain and errors as for `crossing_probabilities`; a negative drift has no power in a one-sided test,
    only error.
    Source: Jennison & Turnbull (2000), chapter 19.

    >>> round(power([1.0], [1.959964], 2.801585), 4)
    0.8
    """
    crossed = crossing_probabilities(fractions, boundaries, drift, sides)
    return math.fsum(crossed.lower if drift < 0.0 and sides == 2 else crossed.upper)


def inflation(
    fractions: Sequence[float], alpha: float, power: float, spending: Spending, sides: int = 2
) -> Inflation:
    """The maximum information a design with looks needs, over that of one look with the same error and power.

    `fractions` are of the maximum and end in 1. Errors: UsageError as for `boundaries`, where they do not
    end in 1, and for a power outside (alpha/sides, 1). Degenerate case: one look at 1 has factor 1 and
    expected fraction 1.
    Source: Jennison & Turnbull (2000), chapter 2 (where the factor is R), and
    chapter 7 for spending functions.

    >>> from equipoise.stats.spending import obrien_fleming
    >>> cost = inflation([0.25, 0.5, 0.75, 1.0], 0.05, 0.8, obrien_fleming)
    >>> round(cost.factor, 4), round(cost.expected, 4)
    (1.0196, 0.8226)
    """
    ts, tail = _fractions(fractions), _tail(alpha, sides)
    if abs(ts[-1] - 1.0) > 1e-9:
        raise UsageError(f"the last information fraction must be 1, not {ts[-1]:g}")
    wanted = inside("power", power, tail, 1.0)
    bounds = boundaries(ts, alpha, spending, sides)
    fixed = critical(tail) - critical(wanted)

    def lacking(drift: float) -> float:
        return math.fsum(crossing_probabilities(ts, bounds, drift, sides).upper) - wanted

    # The fixed test has the greatest power there is at this drift, so the root lies above it.
    high = fixed * 1.2 + 0.1
    while lacking(high) < 0.0:
        high *= 1.5
    drift = float(brentq(lacking, 0.0, high, xtol=1e-8)) if len(ts) > 1 else fixed
    crossed = crossing_probabilities(ts, bounds, drift, sides)
    early = [up + down for up, down in zip(crossed.upper[:-1], crossed.lower[:-1], strict=True)]
    expected = math.fsum(t * p for t, p in zip(ts, early, strict=False)) + ts[-1] * (1.0 - math.fsum(early))
    return Inflation((drift / fixed) ** 2, drift, expected, bounds)


def information_for(mde: float, alpha: float, power: float, sides: int = 2) -> float:
    """The information, 1 / standard error², at which one look finds an effect of `mde` with that power.

    ((z_{alpha/sides} + z_power) / mde)²; `mde` is on the estimate's scale, of either sign, and information
    on one over its square. Multiply by `inflation(...).factor` for a design with looks. Errors: UsageError
    for no effect, or alpha or power outside (0, 1), or a power not above alpha/sides. Source: Jennison &
    Turnbull (2000), chapter 3.

    >>> round(information_for(0.05, 0.05, 0.8), 1)
    3139.6
    """
    effect, tail = finite("mde", mde), inside("alpha", alpha) / sided(sides)
    if effect == 0.0:
        raise UsageError("mde must not be 0: no amount of information finds an effect that is not there")
    return ((critical(tail) - critical(inside("power", power, tail, 1.0))) / effect) ** 2


class _Walk:
    """The density of z among what has not crossed yet, carried from look to look.

    At any moment `k` looks are behind: `upper`, `lower` and `boundary_for` speak of look k, `stop_at`
    performs it.
    """

    def __init__(self, fractions: Sequence[float], drift: float, sides: int) -> None:
        self._t, self._drift, self._sides = fractions, drift, sides
        self._k = 0
        self._z: Floats = np.zeros(1)  # before the first look: all the probability at z = 0, information 0
        self._mass: Floats = np.ones(1)

    def upper(self, boundary: float) -> float:
        """The probability of first crossing above `boundary` at this look."""
        return float(self._mass @ ndtr(-self._standardised(boundary)))

    def lower(self, boundary: float) -> float:
        """The probability of first crossing below −`boundary` at this look; 0 for a one-sided test."""
        return float(self._mass @ ndtr(self._standardised(-boundary))) if self._sides == 2 else 0.0

    def boundary_for(self, error: float) -> float:
        """The boundary above which this look spends `error`, at most `FARTHEST`."""
        if error <= 0.0 or self.upper(FARTHEST) >= error:
            return FARTHEST
        if self.upper(0.0) <= error:
            raise UsageError("the spending function spends more at this look than is left to spend above 0")
        return float(brentq(lambda b: self.upper(b) - error, 0.0, FARTHEST, xtol=1e-10))

    def stop_at(self, boundary: float) -> None:
        """Perform this look: what lies beyond the boundary leaves, the rest is carried on."""
        if self._k + 1 < len(self._t):
            t = self._t[self._k]
            z, weights = _grid(
                self._drift * math.sqrt(t),
                -boundary if self._sides == 2 else -math.inf,
                boundary,
                self._fineness(),
            )
            scale, _ = self._scale()
            gaps = (z[:, None] - self._centres()[None, :]) * scale
            np.multiply(gaps, gaps, out=gaps)
            np.multiply(gaps, -0.5, out=gaps)
            np.exp(gaps, out=gaps)
            self._z, self._mass = z, weights * (gaps @ self._mass) * (scale / math.sqrt(2.0 * math.pi))
        self._k += 1

    def _before(self) -> float:
        return self._t[self._k - 1] if self._k else 0.0

    def _scale(self) -> tuple[float, float]:
        """One over the standard deviation of this look's z given the last one's, and that deviation."""
        t = self._t[self._k]
        spread = math.sqrt((t - self._before()) / t)
        return 1.0 / spread, spread

    def _centres(self) -> Floats:
        """The mean of this look's z, for each z that the last one may have had."""
        t, before = self._t[self._k], self._before()
        return self._z * math.sqrt(before / t) + self._drift * (t - before) / math.sqrt(t)

    def _standardised(self, boundary: float) -> Floats:
        return (boundary - self._centres()) * self._scale()[0]

    def _fineness(self) -> int:
        """The grid's r, such that Simpson's rule resolves the narrower of the two steps beside this look."""
        t, before, after = self._t[self._k], self._before(), self._t[self._k + 1]
        narrow = math.sqrt(min((t - before) / t, (after - t) / t))
        return max(18, math.ceil(1.25 / narrow))


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


def _fractions(fractions: Sequence[float]) -> tuple[float, ...]:
    ts = tuple(positive("an information fraction", t) for t in fractions)
    if not ts:
        raise UsageError("at least one information fraction is needed")
    for before, t in pairwise(ts):
        if t - before < _LEAST_STEP * t:
            raise UsageError(f"information fractions must rise, but {before:g} is followed by {t:g}")
    return ts


def _boundaries(boundaries: Sequence[float], wanted: int) -> tuple[float, ...]:
    found = tuple(positive("a boundary", b) for b in boundaries)
    if len(found) != wanted:
        raise UsageError(f"each look needs one boundary, but {wanted} looks came with {len(found)}")
    return found


def _tail(alpha: float, sides: int) -> float:
    return inside("alpha", alpha, _LEAST_ALPHA, 0.5 * sided(sides)) / sides
