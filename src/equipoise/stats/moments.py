"""Sufficient statistics that cannot change and that add up.

A whole analysis of means and ratios needs only these, so the counting can happen wherever the rows lie.
They are centred: a sum of squares about 0 would lose every digit of a spread that is small beside its mean.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from equipoise.errors import UsageError
from equipoise.stats.domain import counted, finite

__all__ = ["Moments", "PairMoments"]

Values = Sequence[float] | NDArray[np.floating] | NDArray[np.integer] | NDArray[np.bool_]

# Rounding alone may leave each deviation wrong by a few units in the last place of the mean.
_ROUNDING = (8.0 * sys.float_info.epsilon) ** 2


@dataclass(frozen=True, slots=True)
class Moments:
    """Count, mean and sum of squared deviations from the mean, of one outcome with one value per unit.

    `mean` is on the outcome's scale and `m2` on its square. Moments merge with `+`; up to rounding neither
    order nor grouping matters. Errors: UsageError for a negative count or sum of squares and for numbers
    that are not finite.

    Source: Chan, Golub & LeVeque (1983), Algorithms for computing the sample variance, eq. (2.1).

    >>> Moments.of([1.0, 2.0]) + Moments.of([6.0])
    Moments(n=3, mean=3.0, m2=14.0)
    """

    n: int
    mean: float
    m2: float

    def __post_init__(self) -> None:
        counted("n", self.n)
        finite("mean", self.mean)
        if finite("m2", self.m2) < 0:
            raise UsageError(f"m2 must be at least 0, not {self.m2}")

    @classmethod
    def zero(cls) -> Moments:
        """The moments of no values: the neutral element of `+`.

        >>> Moments.zero() + Moments.of([4.0])
        Moments(n=1, mean=4.0, m2=0.0)
        """
        return cls(0, 0.0, 0.0)

    @classmethod
    def of(cls, values: Values) -> Moments:
        """The moments of raw values, by two passes. Errors: UsageError where a value is not finite.

        >>> Moments.of([0.1, 0.1, 0.1])
        Moments(n=3, mean=0.1, m2=0.0)
        """
        array = _column("values", values)
        if array.size == 0:
            return cls.zero()
        mean, deviations = _centred(array)
        return cls(int(array.size), mean, float(deviations @ deviations))

    def __add__(self, other: Moments) -> Moments:
        if not isinstance(other, Moments):
            return NotImplemented
        if self.n == 0 or other.n == 0:
            return other if self.n == 0 else self
        n = self.n + other.n
        delta = other.mean - self.mean
        return Moments(
            n,
            self.mean + delta * (other.n / n),
            self.m2 + other.m2 + delta * delta * (self.n * (other.n / n)),
        )

    @property
    def variance(self) -> float | None:
        """The sample variance m2 / (n − 1), unbiased; None where there are fewer than two values.

        >>> Moments.of([1.0, 2.0, 6.0]).variance
        7.0
        >>> Moments.of([1.0]).variance is None
        True
        """
        return self.m2 / (self.n - 1) if self.n > 1 else None

    @property
    def constant(self) -> bool:
        """Whether all values are the same, so far as rounding lets one tell.

        >>> Moments(3, 0.1, 1e-34).constant
        True
        """
        return self.m2 <= self.n * self.mean * self.mean * _ROUNDING


@dataclass(frozen=True, slots=True)
class PairMoments:
    """The joint moments of two outcomes with one pair per unit: what a ratio or a covariate needs.

    `c_xy` is the sum of products of deviations. They merge with `+` like `Moments`.
    Source: Chan, Golub & LeVeque (1983), eq. (2.1), and Pébay (2008), SAND2008-6212, for the product.

    >>> PairMoments.of([1.0, 2.0], [1.0, 3.0]) + PairMoments.of([6.0], [5.0])
    PairMoments(n=3, mean_x=3.0, mean_y=3.0, m2_x=14.0, m2_y=8.0, c_xy=10.0)
    """

    n: int
    mean_x: float
    mean_y: float
    m2_x: float
    m2_y: float
    c_xy: float

    def __post_init__(self) -> None:
        counted("n", self.n)
        for name in ("mean_x", "mean_y", "m2_x", "m2_y", "c_xy"):
            value = finite(name, getattr(self, name))
            if name.startswith("m2") and value < 0:
                raise UsageError(f"{name} must be at least 0, not {value}")

    @classmethod
    def zero(cls) -> PairMoments:
        """The moments of no pairs: the neutral element of `+`.

        >>> PairMoments.zero().n
        0
        """
        return cls(0, 0.0, 0.0, 0.0, 0.0, 0.0)

    @classmethod
    def of(cls, xs: Values, ys: Values) -> PairMoments:
        """The moments of raw pairs. Errors: UsageError for unequal lengths and values that are not finite.

        >>> PairMoments.of([1.0, 3.0], [2.0, 2.0]).c_xy
        0.0
        """
        x, y = _column("xs", xs), _column("ys", ys)
        if x.size != y.size:
            raise UsageError(f"xs and ys must have the same length, not {x.size} and {y.size}")
        if x.size == 0:
            return cls.zero()
        mean_x, dx = _centred(x)
        mean_y, dy = _centred(y)
        return cls(int(x.size), mean_x, mean_y, float(dx @ dx), float(dy @ dy), float(dx @ dy))

    def __add__(self, other: PairMoments) -> PairMoments:
        if not isinstance(other, PairMoments):
            return NotImplemented
        if self.n == 0 or other.n == 0:
            return other if self.n == 0 else self
        n = self.n + other.n
        share, weight = other.n / n, self.n * (other.n / n)
        dx, dy = other.mean_x - self.mean_x, other.mean_y - self.mean_y
        return PairMoments(
            n,
            self.mean_x + dx * share,
            self.mean_y + dy * share,
            self.m2_x + other.m2_x + dx * dx * weight,
            self.m2_y + other.m2_y + dy * dy * weight,
            self.c_xy + other.c_xy + dx * dy * weight,
        )

    @property
    def x(self) -> Moments:
        """The moments of the first outcome alone.

        >>> PairMoments.of([1.0, 3.0], [2.0, 2.0]).x
        Moments(n=2, mean=2.0, m2=2.0)
        """
        return Moments(self.n, self.mean_x, self.m2_x)

    @property
    def y(self) -> Moments:
        """The moments of the second outcome alone.

        >>> PairMoments.of([1.0, 3.0], [2.0, 2.0]).y
        Moments(n=2, mean=2.0, m2=0.0)
        """
        return Moments(self.n, self.mean_y, self.m2_y)


def _column(name: str, values: Values) -> NDArray[np.float64]:
    array = np.asarray(values, dtype=np.float64).ravel()
    if not np.isfinite(array).all():
        raise UsageError(f"{name} must all be finite numbers")
    return array


def _centred(array: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
    """The mean and the deviations; a constant column keeps exactly its value and deviations of 0."""
    first = array[0]
    shifted = array - first
    mean = first + shifted.mean()
    deviations = shifted - shifted.mean()
    return float(mean), deviations
