"""A win rate with an interval that is right far out in its tails, where judging in steps reads it."""

from __future__ import annotations

import math

import numpy as np

from equipoise.stats.cases.case_means import (
    ENOUGH_CASES,
    ENOUGH_CLUSTERS,
    Clusters,
    case_weights,
    cases_of,
    cluster_codes,
    share_over_cases,
    spread_over_cases,
)
from equipoise.stats.domain import inside
from equipoise.stats.estimate import Estimate, NotEstimable
from equipoise.stats.moments import Values
from equipoise.stats.student import t_estimate

__all__ = ["score_win_rate"]


def score_win_rate(
    scores: Values,
    clusters: Clusters | None = None,
    *,
    weights: Values | None = None,
    level: float = 0.95,
) -> Estimate | NotEstimable:
    """The mean of scores in [0, 1], with Wilson's interval at the effective number of cases.

    Scores, clusters and weights are those of `share_over_cases`, and so is the standard error s. A mean of m with
    this error is worth n = m(1 − m)/s² tosses of a coin, more than there are cases where some are ties and fewer where
    they are alike; the limits are Wilson's for those n, with Student's t for z. A t interval takes its width from
    the scores, and they vary least when their mean is far out: read in steps at levels of .99 and .999 it then shuts
    out the truth too often on one side, which this does not. Scale: a share; there is no test.

    Degenerate cases: below 30 cases, below what ten clusters of equal size are worth, or without spread it is
    `share_over_cases`; fewer than two clusters are not estimable. Errors: those of `share_over_cases`.
    Source: Wilson (1927), JASA 22, 209; Dean & Pagano (2015), Journal of Survey Statistics and Methodology 3,
    484, for the effective number; the ties are ours, proven by simulation.

    >>> found = score_win_rate([1, 1, 0, 0.5] * 25, level=0.99)
    >>> round(found.value, 3), round(found.low, 3), round(found.high, 3)
    (0.625, 0.512, 0.726)
    """
    level = inside("level", level)
    rough = share_over_cases(scores, clusters, weights=weights, level=level, null=0.5)
    found = spread_over_cases(scores, clusters, weights=weights)
    if isinstance(rough, NotEstimable) or isinstance(found, NotEstimable):
        return rough
    mean, error, df = found
    cases = cases_of("scores", scores).size
    codes, weight = cluster_codes(clusters, cases), case_weights(weights, cases)
    sizes = np.bincount(codes, weights=weight)
    worth = float(sizes.sum() ** 2 / (sizes @ sizes))
    if error == 0.0 or cases < ENOUGH_CASES or worth < ENOUGH_CLUSTERS:
        return rough
    n = mean * (1.0 - mean) / error**2
    t = t_estimate(0.0, 1.0, df, level=level, null=0.0, method="").high
    centre = (mean + t * t / (2.0 * n)) / (1.0 + t * t / n)
    half = t * math.sqrt(error**2 + (t / (2.0 * n)) ** 2) / (1.0 + t * t / n)
    return Estimate(
        value=mean,
        standard_error=error,
        low=max(0.0, centre - half),
        high=min(1.0, centre + half),
        level=level,
        method="win rate, Wilson interval at the effective number of cases"
        + (", clustered by CR2" if clusters is not None else ""),
        null=0.5,
        degrees_of_freedom=df,
    )
