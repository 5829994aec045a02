"""How alike units of one cluster are: the intraclass correlation, from each cluster's own moments."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from scipy.special import fdtri

from equipoise.stats.domain import inside
from equipoise.stats.estimate import NotEstimable
from equipoise.stats.moments import Moments

__all__ = ["Intraclass", "intraclass"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Intraclass:
    """The intraclass correlation with its interval, and what else a plan needs of clusters.

    `icc` is the share of the variance that lies between clusters; below 0 it says that units of a cluster differ more than
    units of different ones, and a plan takes 0. `spread` is the standard deviation between units, the clusters' and their
    own together. `size` is the mean number of units in a cluster, `size_cv` their standard deviation over that.
    """

    icc: float
    low: float
    high: float
    level: float
    clusters: int
    size: float
    size_cv: float
    spread: float


def intraclass(clusters: Sequence[Moments], *, level: float = 0.95) -> Intraclass | NotEstimable:
    """The intraclass correlation of an outcome by the analysis of variance, from each cluster's moments.

    Scale: a share of the variance. (MSB − MSW)/(MSB + (n₀ − 1)·MSW) with the mean squares between and within clusters and
    n₀ = (N − Σn²/N)/(k − 1); the interval is Searle's, exact for normal outcomes in clusters of one size and near it with
    n₀ for others. Clusters without units are left out.

    Degenerate cases: not estimable with fewer than three clusters, without a cluster of two units, or where the outcome is
    constant. Errors: UsageError for a level outside (0, 1).
    Source: Searle (1971), Linear Models, chapter 9; Donner (1986), International Statistical Review 54, 67.

    >>> found = intraclass([Moments.of([1.0, 2.0, 1.5]), Moments.of([4.0, 5.0]), Moments.of([2.0, 3.0, 2.5, 2.0])])
    >>> round(found.icc, 3), round(found.low, 3), round(found.high, 3), found.size
    (0.866, 0.371, 0.996, 3.0)
    """
    level = inside("level", level)
    held = [each for each in clusters if each.n]
    k, total = len(held), sum(each.n for each in held)
    if k < 3:
        return NotEstimable(
            f"{k} clusters have a value, and to tell how alike their units are takes at least three"
        )
    if total == k:
        return NotEstimable("every cluster has a single unit, which is like nobody")
    mean = math.fsum(each.n * each.mean for each in held) / total
    between = math.fsum(each.n * (each.mean - mean) ** 2 for each in held) / (k - 1)
    within = math.fsum(each.m2 for each in held) / (total - k)
    if between == 0.0 and within == 0.0:
        return NotEstimable("the outcome is the same for every unit")
    typical = (total - math.fsum(each.n**2 for each in held) / total) / (k - 1)
    icc = (between - within) / (between + (typical - 1.0) * within)

    def bound(quantile: float) -> float:
        if within == 0.0:
            return 1.0
        ratio = between / within / float(fdtri(k - 1, total - k, quantile))
        return (ratio - 1.0) / (ratio + typical - 1.0)

    average = total / k
    return Intraclass(
        icc=icc,
        low=bound((1.0 + level) / 2.0),
        high=bound((1.0 - level) / 2.0),
        level=level,
        clusters=k,
        size=average,
        size_cv=math.sqrt(math.fsum((each.n - average) ** 2 for each in held) / k) / average,
        spread=math.sqrt(max(within + (between - within) / typical, 0.0)),
    )
