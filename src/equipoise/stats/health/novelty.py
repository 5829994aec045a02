"""Whether an effect fades or grows with the days since a unit first met it: novelty and primacy."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from equipoise.errors import UsageError
from equipoise.stats.comparison.means import difference_of_means
from equipoise.stats.domain import counted, finite, inside
from equipoise.stats.estimate import Estimate, NotEstimable
from equipoise.stats.moments import Moments

__all__ = ["DailyMoments", "Novelty", "effect_trend"]


@dataclass(frozen=True, slots=True)
class DailyMoments:
    """The moments of outcomes observed on each of several days since first exposure, one row per unit.

    `means` by day, and `products`: the sums of products of deviations, as rows. Every unit has a value on
    every day, a unit that was not seen counts with what not being seen is worth (0 turns, 0 dollars).
    Additive with `+`. Errors: UsageError for parts of unlike length, or numbers that are not finite.
    Source: Chan, Golub & LeVeque (1983), eq. (2.1); Pébay (2008), SAND2008-6212.

    >>> DailyMoments.of([[1.0, 2.0], [3.0, 2.0]])
    DailyMoments(n=2, means=(2.0, 2.0), products=((2.0, 0.0), (0.0, 0.0)))
    """

    n: int
    means: tuple[float, ...]
    products: tuple[tuple[float, ...], ...]

    def __post_init__(self) -> None:
        counted("n", self.n)
        if not all(len(part) == len(self.means) for part in (self.products, *self.products)):
            raise UsageError("means and products must have one entry for each day")
        for value in (*self.means, *(x for row in self.products for x in row)):
            finite("a mean or product", value)

    @classmethod
    def of(cls, rows: Sequence[Sequence[float]] | NDArray[np.floating]) -> DailyMoments:
        """The moments of raw rows, one unit each. Errors: UsageError for ragged rows or values not finite.

        >>> DailyMoments.of([[1.0, 5.0]]).n
        1
        """
        if len({len(row) for row in rows}) > 1:
            raise UsageError("every unit must have a value for each day, but the rows differ in length")
        array = np.asarray(rows, dtype=np.float64)
        array = array if array.ndim == 2 else array.reshape(len(array), 1 if len(array) else 0)
        if not np.isfinite(array).all():
            raise UsageError("values must all be finite numbers")
        means = array.mean(axis=0) if len(array) else np.zeros(array.shape[1])
        deviations = array - means
        return cls(
            len(array),
            tuple(float(m) for m in means),
            tuple(tuple(float(x) for x in row) for row in deviations.T @ deviations),
        )

    def __add__(self, other: DailyMoments) -> DailyMoments:
        if not isinstance(other, DailyMoments):
            return NotImplemented
        if self.n == 0 or other.n == 0:
            return other if self.n == 0 else self
        if len(self.means) != len(other.means):
            raise UsageError(
                f"only moments of the same days add up, not {len(self.means)} and {len(other.means)} of them"
            )
        n = self.n + other.n
        gap = np.array(other.means) - np.array(self.means)
        products = (
            np.array(self.products) + np.array(other.products) + np.outer(gap, gap) * (self.n * (other.n / n))
        )
        return DailyMoments(
            n,
            tuple(float(m) for m in np.array(self.means) + gap * (other.n / n)),
            tuple(tuple(float(x) for x in row) for row in products),
        )

    def weighted(self, weights: Sequence[float]) -> Moments:
        """The moments of each unit's weighted sum over the days; a spread within rounding counts as 0.

        >>> DailyMoments.of([[1.0, 2.0], [3.0, 2.0]]).weighted([-1.0, 1.0])
        Moments(n=2, mean=0.0, m2=2.0)
        """
        w = np.array(weights, dtype=np.float64)
        products = np.array(self.products).reshape(len(w), len(w))
        m2, size = float(w @ products @ w), float(np.abs(w) @ np.abs(products) @ np.abs(w))
        scale = size + self.n * float(np.abs(w) @ np.abs(np.array(self.means))) ** 2 * 2.0**-50
        return Moments(self.n, float(w @ np.array(self.means)), m2 if m2 > scale * 2.0**-46 else 0.0)


@dataclass(frozen=True, slots=True)
class Novelty:
    """The effect by day, its average over the days, and its trend per day, all treatment minus control.

    `fading` (novelty) and `growing` (primacy) say that the trend's interval excludes 0 and points towards
    or away from 0, seen from the average; `reversing` that the effect also changes its sign between the
    first and the last day of the fitted line; `steady` that no trend was found, which is not the same as
    there being none: see the interval.
    """

    days: tuple[float, ...]
    by_day: tuple[Estimate | NotEstimable, ...]
    average: Estimate
    trend: Estimate
    reading: Literal["fading", "growing", "reversing", "steady"]


def effect_trend(
    days: Sequence[float], control: DailyMoments, treatment: DailyMoments, *, level: float = 0.95
) -> Novelty | NotEstimable:
    """The trend of an effect over the days since first exposure, with its interval.

    `days` are rising; the outcome has its own unit and the trend that unit per day. Each unit's slope over
    its own days is one number, so the trend is the difference of two means of slopes, by Welch's t: it
    holds however alike the days of a unit are. (Regressing daily effects on days as if they were
    independent would be wrong by the correlation between the days.)

    Only units with *all* the days belong here. Were younger units counted on the early days, the units of
    late days would be the early birds alone, and a difference between early and late comers would look
    like a trend. Calendar effects touch both arms alike and cancel.

    Degenerate cases: not estimable with fewer than two units in an arm, or where slopes or averages are
    constant in both arms. Errors: UsageError for fewer than two days, days that do not rise or moments of
    another number of days, or a level outside (0, 1).
    Source: Welch (1947), Biometrika 34, 28, on summary measures, Matthews et al. (1990), BMJ 300, 230;
    Hohnhold, O'Brien & Tang (2015), Focusing on the long-term, KDD, for the effects themselves.

    >>> control = DailyMoments.of([[1.0, 1.0, 1.1], [2.0, 2.2, 2.0], [1.5, 1.4, 1.5], [1.0, 1.2, 1.1]])
    >>> treatment = DailyMoments.of([[3.0, 2.5, 2.1], [4.0, 3.2, 3.0], [3.5, 2.9, 2.5], [3.0, 2.2, 2.1]])
    >>> found = effect_trend([1, 2, 3], control, treatment)
    >>> found.reading, round(found.trend.value, 3), round(found.trend.low, 3), round(found.trend.high, 3)
    ('fading', -0.5, -0.55, -0.45)
    """
    level = inside("level", level)
    ds = [finite("a day", day) for day in days]
    if len(ds) < 2 or any(b <= a for a, b in pairwise(ds)):
        raise UsageError("a trend needs at least two days, and they must rise")
    for arm, moments in (("control", control), ("treatment", treatment)):
        if len(moments.means) != len(ds):
            raise UsageError(f"{arm} has moments of {len(moments.means)} days, and {len(ds)} days are named")
    centred = np.array(ds) - np.mean(ds)
    slope = centred / float(centred @ centred)
    trend = _difference(control, treatment, slope, level)
    average = _difference(control, treatment, np.full(len(ds), 1.0 / len(ds)), level)
    if isinstance(trend, NotEstimable):
        return trend
    if isinstance(average, NotEstimable):
        return average
    by_day = tuple(_difference(control, treatment, row, level) for row in np.eye(len(ds)))
    first, last = (average.value + trend.value * float(x) for x in (centred[0], centred[-1]))
    reading: Literal["fading", "growing", "reversing", "steady"]
    if trend.low <= 0.0 <= trend.high:
        reading = "steady"
    elif first * last < 0.0:
        reading = "reversing"
    else:
        reading = "fading" if abs(last) < abs(first) else "growing"
    return Novelty(tuple(ds), by_day, average, trend, reading)


def _difference(
    control: DailyMoments, treatment: DailyMoments, weights: NDArray[np.float64], level: float
) -> Estimate | NotEstimable:
    w = [float(x) for x in weights]
    return difference_of_means(control.weighted(w), treatment.weighted(w), level=level)
