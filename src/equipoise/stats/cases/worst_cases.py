"""The mean of the worst cases: a change that helps the median can break the hardest ones.

It is known as expected shortfall. Each arm has its own worst cases, so a change that moves the trouble from
some cases to others neither helps nor hurts.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from equipoise.errors import UsageError
from equipoise.stats.cases.binomial import clopper_pearson
from equipoise.stats.cases.case_means import (
    Clusters,
    case_weights,
    cases_of,
    cluster_codes,
    spread_over_cases,
)
from equipoise.stats.domain import finite, inside
from equipoise.stats.estimate import Estimate, NotEstimable
from equipoise.stats.moments import Values
from equipoise.stats.normal import critical
from equipoise.stats.student import t_estimate

__all__ = ["FEWEST_WORST", "difference_of_worst", "mean_of_worst"]

FEWEST_WORST = 5
"""With fewer cases (or clusters) among the worst than these, nothing is said of their mean."""


def mean_of_worst(
    values: Values,
    share: float = 0.05,
    clusters: Clusters | None = None,
    *,
    weights: Values | None = None,
    scale: tuple[float, float] | None = None,
    level: float = 0.95,
) -> Estimate | NotEstimable:
    """The mean over the worst `share` of the cases, the lowest values being the worst.

    Scale: the values' own. `share` lies strictly between 0 and 1; the case at its edge counts in part. The
    error is that of `mean_over_cases` for v − max(v − x, 0)/share, v being the highest of the worst values
    (its mean is the mean of the worst), enlarged by sqrt(k/(k − 1)) and read by a t distribution with at
    most k − 1 degrees of freedom, k being the number of worst cases, or of the clusters they come from.
    Intervals at 95 % cover 92 to 97 % from 100 cases on; skewed values are the lower end.

    Where all of the worst are equal, as at the bottom of a scale, there is no spread. If the least and the
    greatest value there can be are given as `scale`, the limits are then what Clopper and Pearson's bounds
    leave open, with clusters as copies: how many cases may lie below, at the least value, and how many of
    those that seem to be the worst may not be, with the greatest in their place. There is no test then.

    Degenerate cases: not estimable where k is below `FEWEST_WORST`, or without spread and `scale`. Errors:
    UsageError for a share outside (0, 1), values outside their scale, and those of `mean_over_cases`.
    Source: Rockafellar & Uryasev (2000), Journal of Risk 2(3), 21, theorem 1; Chen (2008), Journal of
    Financial Econometrics 6, 87, for its error.

    >>> e = mean_of_worst([float(x) for x in range(100)], 0.1)
    >>> e.value, round(e.standard_error, 2)
    (4.5, 1.72)
    """
    array = cases_of("values", values)
    method = f"mean of the worst {inside('share', share):.0%}, t"
    return _estimate((array,), share, clusters, weights, scale, inside("level", level), 0.0, method)


def difference_of_worst(
    control: Values,
    treatment: Values,
    share: float = 0.05,
    clusters: Clusters | None = None,
    *,
    weights: Values | None = None,
    scale: tuple[float, float] | None = None,
    level: float = 0.95,
    null: float = 0.0,
) -> Estimate | NotEstimable:
    """The difference of the means of each arm's own worst cases, treatment minus control, on the same cases.

    Scale, method, domain and source: `mean_of_worst`. The arms have one value a case each, in one order; what a
    case adds to the one is set against what it adds to the other, so cases that are hard for both cancel.

    Degenerate cases: as there. Where the arms have spread, but no case adds more to one than to the other, the
    limits are what a whole scale's difference on as many cases as may have gone unseen would make. Errors:
    those of `mean_of_worst`, and UsageError for arms of unequal number.

    >>> usual = [float(x) for x in range(100)]
    >>> broken = [0.0 if x % 10 == 5 else x for x in usual]
    >>> e = difference_of_worst(usual, broken, 0.1)
    >>> e.value, round(e.low, 2), round(e.high, 2)
    (-4.5, -8.4, -0.6)
    """
    c, t = cases_of("control's values", control), cases_of("treatment's values", treatment)
    if c.size != t.size:
        raise UsageError(f"both arms need one value per case, not {c.size} and {t.size}")
    method = f"difference of the means of the worst {inside('share', share):.0%}, paired, t"
    level, null = inside("level", level), finite("null", null)
    return _estimate((c, t), share, clusters, weights, scale, level, null, method)


def _estimate(
    arms: tuple[NDArray[np.float64], ...],
    share: float,
    clusters: Clusters | None,
    weights: Values | None,
    scale: tuple[float, float] | None,
    level: float,
    null: float,
    method: str,
) -> Estimate | NotEstimable:
    """The last arm's mean of the worst, minus that of the first where there are two."""
    n = arms[0].size
    codes, weight = cluster_codes(clusters, n), case_weights(weights, n)
    found = [_parts(array, weight, share) for array in arms]
    k = min((len(set(codes[worst].tolist())) for _, worst in found), default=0)
    if k < FEWEST_WORST:
        there = f"are {k}" if clusters is None else f"come from {k} cluster{'' if k == 1 else 's'}"
        return NotEstimable(
            f"the worst {share:.0%} of {n} cases {there}, and their mean needs at least {FEWEST_WORST}"
        )
    parts = found[0][0] if len(found) == 1 else found[1][0] - found[0][0]
    spread = spread_over_cases(parts, clusters, weights=weights)
    if isinstance(spread, NotEstimable):
        return spread
    value, error, df = spread
    if error == 0.0:
        if scale is None:
            return NotEstimable(f"the worst {share:.0%} of the cases show no spread")
        sizes = np.bincount(codes, weights=weight)
        copies = float(sizes.sum() ** 2 / (sizes @ sizes))
        low, high = _without_spread(arms, [each for each, _ in found], weight, share, scale, copies, level)
        return Estimate(
            value=value,
            standard_error=(high - low) / 2.0 / critical((1.0 - level) / 2.0),
            low=low,
            high=high,
            level=level,
            method=f"{method.removesuffix(', t')}, Clopper-Pearson bounds of what has no spread",
            null=null,
        )
    error *= math.sqrt(k / (k - 1))
    return t_estimate(value, error, min(df, k - 1.0), level=level, null=null, method=method)


def _parts(
    array: NDArray[np.float64], weight: NDArray[np.float64], share: float
) -> tuple[NDArray[np.float64], NDArray[np.intp]]:
    """What each case adds to the mean of the worst, and which cases are the worst."""
    if not array.size:
        return array, np.arange(0)
    order = np.argsort(array, kind="stable")
    reached = np.cumsum(weight[order])
    # A sum of weights may miss a whole number of cases by rounding.
    edge = min(array.size - 1, int(np.searchsorted(reached, share * reached[-1] * (1.0 - 1e-12))))
    highest = array[order[edge]]
    parts: NDArray[np.float64] = highest - np.maximum(highest - array, 0.0) / share
    return parts, order[: edge + 1]


def _without_spread(
    arms: tuple[NDArray[np.float64], ...],
    parts: list[NDArray[np.float64]],
    weight: NDArray[np.float64],
    share: float,
    scale: tuple[float, float],
    copies: float,
    level: float,
) -> tuple[float, float]:
    """The limits where no spread shows, though more cases might show some."""
    least, greatest = scale
    if any(array.min() < least or array.max() > greatest for array in arms):
        raise UsageError(f"every value must lie on the scale from {least:g} to {greatest:g}")
    # The chance of missing is shared out among the arms' limits.
    miss = (1.0 - level) / 2.0 / len(arms)
    unseen = min(1.0, clopper_pearson(0.0, copies, miss)[1] / share)
    if any(float(np.ptp(each)) > 0.0 for each in parts):
        value = float((parts[-1] - parts[0])[0])
        width, most = unseen * (greatest - least), greatest - least
        return max(-most, value - width), min(most, value + width)
    limits = []
    for array, each in zip(arms, parts, strict=True):
        value = float(each[0])
        reached = float(weight[array <= value].sum() / weight.sum())
        there = clopper_pearson(reached * copies, copies, miss)[0]
        low = value - unseen * (value - least)
        limits.append((low, value + max(0.0, 1.0 - there / share) * (greatest - value)))
    low, high = limits[-1]
    return (low, high) if len(limits) == 1 else (low - limits[0][1], high - limits[0][0])
