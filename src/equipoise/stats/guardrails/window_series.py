"""What past windows were like: level, spread, how alike neighbours are, and whether readings alone would vary so."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from scipy.special import chdtrc

from equipoise.errors import UsageError
from equipoise.stats.domain import inside
from equipoise.stats.estimate import NotEstimable
from equipoise.stats.normal import critical, tail

__all__ = ["Dispersion", "Series", "describe", "dispersion"]

_SUSPICIOUS = 0.01
_MAD = 1.4826


@dataclass(frozen=True, slots=True, kw_only=True)
class Series:
    """The values of `windows` windows; mean, median and spreads on their own scale.

    `spread` is the standard deviation, `robust_spread` 1.4826 times the median distance from the median (the same for
    normal values, and blind to a few wild ones), `autocorrelation` that of windows that follow each other, and
    `effective` how many independent windows tell as much of the mean. `limit` is the quantile asked for.
    """

    windows: int
    mean: float
    median: float
    spread: float | NotEstimable
    robust_spread: float | NotEstimable
    limit: float | NotEstimable
    autocorrelation: float | NotEstimable
    effective: float | NotEstimable

    @property
    def alike(self) -> float:
        """The autocorrelation to reckon with: 0 unless chance would give more of it in one of a hundred such series."""
        if isinstance(self.autocorrelation, NotEstimable):
            return 0.0
        beyond = critical(_SUSPICIOUS) / math.sqrt(self.windows)
        return min(self.autocorrelation, 0.99) if self.autocorrelation > beyond else 0.0


def describe(values: Sequence[float | None], quantile: float) -> Series | NotEstimable:
    """The series of windows in their order; None for one without a value, whose neighbours are then no pair.

    `quantile`, in (0, 1), is the share of windows within the limit: above one half an upper limit, below it a lower one,
    the value of rank ⌈quantile·n⌉, from the bottom or from the top. It is not estimable where fewer than one window
    would lie beyond it. The autocorrelation (lag 1) needs eight pairs, and is none of windows that are all the same. Its
    effective number is n·(1 − r)/(1 + r), at most n (Bayley & Hammersley 1946, Supplement to the JRSS 8, 184, for a
    first-order series).
    Degenerate cases: no window with a value is not estimable; of one window there is no spread.
    Errors: UsageError for a quantile outside (0, 1).

    >>> series = describe([2.0, 2.2, 1.9, 2.1, None, 2.4, 2.0, 1.8, 2.1, 2.2, 2.0], 0.9)
    >>> series.windows, round(series.mean, 2), series.limit, round(series.autocorrelation, 2)
    (10, 2.07, 2.2, -0.27)
    """
    share = inside("quantile", quantile)
    known = np.array([each for each in values if each is not None])
    n = len(known)
    if n == 0:
        return NotEstimable("no window has a value")
    mean, median = float(known.mean()), float(np.median(known))
    one = NotEstimable("one window has no spread")
    alike = _autocorrelation(values, mean)
    return Series(
        windows=n,
        mean=mean,
        median=median,
        spread=one if n == 1 else float(known.std(ddof=1)),
        robust_spread=one if n == 1 else _MAD * float(np.median(np.abs(known - median))),
        limit=_ranked(np.sort(known), share),
        autocorrelation=alike,
        effective=alike
        if isinstance(alike, NotEstimable)
        else min(float(n), n * (1.0 - alike) / (1.0 + alike)),
    )


def _ranked(ascending: NDArray[np.float64], share: float) -> float | NotEstimable:
    n, rare = len(ascending), min(share, 1.0 - share)
    if n * rare < 1.0 - 1e-9:
        return NotEstimable(
            f"{n} windows do not tell their {share:g} quantile; that takes {math.ceil(1.0 / rare - 1e-9):,}"
        )
    # So many windows at least are on the inner side of the limit, the one that gives it among them.
    inner = math.ceil(round((1.0 - rare) * n, 9))
    return float(ascending[inner - 1] if share >= 0.5 else ascending[n - inner])


def _autocorrelation(values: Sequence[float | None], mean: float) -> float | NotEstimable:
    pairs = [
        (one - mean, other - mean) for one, other in pairwise(values) if one is not None and other is not None
    ]
    if len(pairs) < 8:
        return NotEstimable(
            f"{len(pairs)} pairs of windows that follow each other do not tell how alike they are"
        )
    squares = sum(one * one + other * other for one, other in pairs) / 2.0
    if squares <= 0.0:
        return NotEstimable("the windows are all the same")
    return sum(one * other for one, other in pairs) / squares


@dataclass(frozen=True, slots=True, kw_only=True)
class Dispersion:
    """`ratio` is the variance of windows by that which their readings alone would give them (1 where nothing else moves
    them), `p_value` of a ratio of 1; `excess` is the variance between windows that is left, on the readings' scale: 0
    unless the p-value is below 0.01.
    """

    ratio: float
    p_value: float
    excess: float


def dispersion(
    means: Sequence[float], counts: Sequence[float], centre: float, variance: float
) -> Dispersion | NotEstimable:
    """Whether windows vary more than the readings in them: `counts` readings each, with a mean each.

    `centre` and `variance` are those of one reading. Σ n·(mean − centre)²/variance is χ² with one degree less than there
    are windows; the excess is by moments (Kleinman 1973, JASA 68, 46). Windows without readings do not count.
    Degenerate cases: fewer than three windows, or readings that do not vary, are not estimable.
    Errors: UsageError where means and counts are not of the same number.

    >>> found = dispersion([0.010, 0.011, 0.009, 0.010], [1_000] * 4, 0.010, 0.0099)
    >>> round(found.ratio, 2), found.excess
    (0.07, 0.0)
    """
    if len(means) != len(counts):
        raise UsageError(f"{len(means)} means and {len(counts)} counts are not those of the same windows")
    kept = [(mean, count) for mean, count in zip(means, counts, strict=True) if count > 0]
    if len(kept) < 3:
        return NotEstimable("fewer than three windows do not tell how windows vary")
    if variance <= 0.0:
        return NotEstimable("the readings do not vary")
    each = [count * (mean - centre) ** 2 / variance for mean, count in kept]
    squares = math.fsum(each)
    free = len(kept) - 1
    total = math.fsum(count for _, count in kept)
    typical = (total - math.fsum(count * count for _, count in kept) / total) / free
    spread = float(np.std(each, ddof=1)) / math.sqrt(len(kept))
    own = tail((squares / len(kept) - 1.0) / spread) if spread > 0.0 else 0.0
    p_value = max(float(chdtrc(free, squares)), own)
    excess = max(squares / free - 1.0, 0.0) * variance / typical if p_value < _SUSPICIOUS else 0.0
    return Dispersion(ratio=squares / free, p_value=p_value, excess=excess)
