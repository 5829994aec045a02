"""Sufficient statistics of several columns at once: an outcome with what was known of its unit beforehand."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from equipoise.errors import UsageError
from equipoise.stats.domain import counted, finite
from equipoise.stats.moments import Moments, PairMoments

__all__ = ["CrossMoments", "known_or_missing"]

Values = Sequence[float] | NDArray[np.floating] | NDArray[np.integer] | NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class CrossMoments:
    """Count, means and sums of products of deviations of k columns with one row per unit.

    `means` has k entries and `products` k rows of k: products[i][j] = Σ (xᵢ − x̄ᵢ)(xⱼ − x̄ⱼ), symmetric. The
    caller fixes what each column is (the outcome first, by custom of `cuped`). They are centred and merge
    with `+` like `Moments`; up to rounding neither order nor grouping matters.

    Degenerate cases: no rows of k columns are `CrossMoments.zero(k)`, the neutral element of `+`.
    Errors: UsageError for a negative count or sum of squares, shapes that do not fit, numbers that are not
    finite, or merging different numbers of columns.
    Source: Chan, Golub & LeVeque (1983), eq. (2.1); Pébay (2008), SAND2008-6212, for products.

    >>> CrossMoments.of([1.0, 2.0], [1.0, 3.0]) + CrossMoments.of([6.0], [5.0])
    CrossMoments(n=3, means=(3.0, 3.0), products=((14.0, 10.0), (10.0, 8.0)))
    """

    n: int
    means: tuple[float, ...]
    products: tuple[tuple[float, ...], ...]

    def __post_init__(self) -> None:
        counted("n", self.n)
        k = len(self.means)
        if k == 0:
            raise UsageError("at least one column is needed")
        if len(self.products) != k or any(len(row) != k for row in self.products):
            raise UsageError(f"products must be {k} rows of {k}, as there are {k} means")
        for i, row in enumerate(self.products):
            finite(f"means[{i}]", self.means[i])
            for j, product in enumerate(row):
                finite(f"products[{i}][{j}]", product)
            if row[i] < 0.0:
                raise UsageError(f"products[{i}][{i}] must be at least 0, not {row[i]}")

    @classmethod
    def zero(cls, columns: int) -> CrossMoments:
        """The moments of no rows of so many columns. Errors: UsageError for fewer than one.

        >>> CrossMoments.zero(2).means
        (0.0, 0.0)
        """
        k = counted("columns", columns, at_least=1)
        return cls(0, (0.0,) * k, ((0.0,) * k,) * k)

    @classmethod
    def of(cls, *columns: Values) -> CrossMoments:
        """The moments of raw columns, by two passes.

        Errors: UsageError for no columns, unequal lengths and values that are not finite.

        >>> CrossMoments.of([1.0, 3.0], [2.0, 2.0]).products
        ((2.0, 0.0), (0.0, 0.0))
        """
        arrays = [np.asarray(column, dtype=np.float64).ravel() for column in columns]
        sizes = {array.size for array in arrays}
        if len(sizes) != 1:
            raise UsageError(f"columns must have one length, not {sorted(sizes)}")
        rows = np.array(arrays)
        if not np.isfinite(rows).all():
            raise UsageError(
                "columns must all be finite numbers; see known_or_missing for those that are not"
            )
        (n,) = sizes
        if n == 0:
            return cls.zero(len(arrays))
        # Taking away each column's first value leaves a constant column exactly constant.
        shifted = rows - rows[:, :1]
        offsets = shifted.mean(axis=1, keepdims=True)
        deviations = shifted - offsets
        return cls._made(int(n), (rows[:, :1] + offsets).ravel(), deviations @ deviations.T)

    def __add__(self, other: CrossMoments) -> CrossMoments:
        if not isinstance(other, CrossMoments):
            return NotImplemented
        if len(self.means) != len(other.means):
            raise UsageError(f"{len(self.means)} columns cannot be merged with {len(other.means)}")
        if self.n == 0 or other.n == 0:
            return other if self.n == 0 else self
        n = self.n + other.n
        mine, theirs = np.array(self.means), np.array(other.means)
        delta = theirs - mine
        products = np.array(self.products) + np.array(other.products)
        return self._made(
            n,
            mine + delta * (other.n / n),
            products + np.outer(delta, delta) * (self.n * (other.n / n)),
        )

    def column(self, i: int) -> Moments:
        """The moments of one column alone. Errors: UsageError for a column that is not there.

        >>> CrossMoments.of([1.0, 3.0], [2.0, 2.0]).column(0)
        Moments(n=2, mean=2.0, m2=2.0)
        """
        i = self._index(i)
        return Moments(self.n, self.means[i], self.products[i][i])

    def pair(self, i: int, j: int) -> PairMoments:
        """The joint moments of two columns. Errors: UsageError for a column that is not there.

        >>> CrossMoments.of([1.0, 3.0], [2.0, 4.0]).pair(0, 1).c_xy
        2.0
        """
        i, j = self._index(i), self._index(j)
        products = self.products
        return PairMoments(
            self.n, self.means[i], self.means[j], products[i][i], products[j][j], products[i][j]
        )

    def columns(self, *at: int) -> CrossMoments:
        """The cross moments of some columns, in the order given. Errors: UsageError for a column that is not there.

        >>> CrossMoments.of([1.0, 3.0], [2.0, 4.0]).columns(1).means
        (3.0,)
        """
        kept = [self._index(i) for i in at]
        return CrossMoments(
            self.n,
            tuple(self.means[i] for i in kept),
            tuple(tuple(self.products[i][j] for j in kept) for i in kept),
        )

    def _index(self, i: int) -> int:
        i = counted("column", i)
        if i >= len(self.means):
            raise UsageError(f"column must be below {len(self.means)}, the number of columns, not {i}")
        return i

    @classmethod
    def _made(cls, n: int, means: NDArray[np.float64], products: NDArray[np.float64]) -> CrossMoments:
        return cls(n, tuple(means.tolist()), tuple(map(tuple, products.tolist())))


def known_or_missing(values: Values, *, fill: float = 0.0) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """A covariate with gaps (NaN) as two columns without: the values with `fill` in the gaps, and 1 where missing.

    New units have no pre-period, and dropping them would change who is studied. With both columns as
    covariates the adjusted estimate is the same whatever the fill, and the same as imputing the mean, because
    the second column takes up any constant; so the moments can be counted before any mean is known. A fill
    near the values keeps the digits of a covariate with a large mean.
    Without gaps the second column is all 0, which `cuped` leaves out by itself.
    Right only where being missing was settled before treatment; a covariate missing *because of* the treatment
    shows as a difference between the arms, which `cuped` refuses.

    Errors: UsageError for infinite values or a fill that is not finite.
    Source: Lin (2013), Annals of Applied Statistics 7, 295, for adjusting by any pre-treatment columns; Zhao &
    Ding (2024), Journal of the American Statistical Association 119, 450, for the missing indicator.

    >>> known_or_missing([3.0, float("nan")])
    (array([3., 0.]), array([0., 1.]))
    """
    array = np.asarray(values, dtype=np.float64).ravel()
    if np.isinf(array).any():
        raise UsageError("values must be finite numbers, or NaN where they are missing")
    missing = np.isnan(array)
    return np.where(missing, finite("fill", fill), array), missing.astype(np.float64)
