"""Shares of passes over cases that may belong together, weigh differently or be tried several times.

A t interval trusts the spread it sees, and where nearly every case passes, or nearly every pair agrees, there
is next to none to see. These intervals count in effective cases instead, and stay open where nothing differs.
"""

from __future__ import annotations

import dataclasses
import math

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtr, stdtrit

from equipoise.errors import UsageError
from equipoise.stats.cases.binomial import clopper_pearson
from equipoise.stats.cases.case_means import (
    Clusters,
    case_weights,
    cases_of,
    cluster_codes,
    spread_over_cases,
)
from equipoise.stats.comparison.paired import paired_difference_of_proportions
from equipoise.stats.domain import inside
from equipoise.stats.estimate import Estimate, NotEstimable
from equipoise.stats.moments import Values
from equipoise.stats.normal import critical

__all__ = ["difference_of_pass_rates", "pass_rate_over_cases"]

FEW = 10.0
"""With fewer clusters than these that show anything, their likeness cannot be seen and is taken to be whole."""


def pass_rate_over_cases(
    shares: Values,
    clusters: Clusters | None = None,
    *,
    weights: Values | None = None,
    level: float = 0.95,
) -> Estimate | NotEstimable:
    """The mean share of passes over cases, with Clopper and Pearson's interval at the effective number of cases.

    Scale: a rate from 0 to 1. `shares` has one value a case: 0 or 1, or the share of its samples that passed.
    The effective number is p(1 − p) over the squared standard error of `mean_over_cases` times (z/t)², at
    most the number of cases that are worth as much (Kish); where fewer than ten clusters differ from all
    passing or all failing, the number is that of cases that are copies of each other within clusters.
    Without clusters, weights and samples it is the exact interval of `binomial.clopper_pearson_interval`.

    Degenerate cases: fewer than two clusters are not estimable. Where there is no spread, `standard_error` is
    half the interval's width over z. There is no test. Errors: UsageError for a share outside [0, 1], and
    those of `mean_over_cases`.
    Source: Korn & Graubard (1998), Survey Methodology 24, 193; Kish (1965), Survey Sampling.

    >>> e = pass_rate_over_cases([1.0] * 20)
    >>> e.value, round(e.low, 4), e.high
    (1.0, 0.8316, 1.0)
    """
    level = inside("level", level)
    array = cases_of("shares", shares)
    if not ((array >= 0.0) & (array <= 1.0)).all():
        raise UsageError("every share must lie between 0 and 1")
    found = spread_over_cases(array, clusters, weights=weights)
    if isinstance(found, NotEstimable):
        return found
    mean, error, df = found
    z = critical((1.0 - level) / 2.0)
    if clusters is None and weights is None and np.isin(array, (0.0, 1.0)).all():
        effective, method = float(array.size), "pass rate, Clopper-Pearson exact interval"
    else:
        # What is rarer tells how many clusters have anything to say.
        rarer = array if mean < 0.5 else 1.0 - array
        spread = mean * (1.0 - mean)
        effective = _effective(rarer, spread, error, clusters, weights)
        effective *= min(1.0, (z / _t(df, level)) ** 2)
        method = "pass rate, Clopper-Pearson interval at the effective number of cases"
    low, high = clopper_pearson(mean * effective, effective, (1.0 - level) / 2.0)
    return Estimate(
        value=mean,
        standard_error=error or (high - low) / 2.0 / z,
        low=low,
        high=high,
        level=level,
        method=method,
    )


def difference_of_pass_rates(
    control: Values,
    treatment: Values,
    clusters: Clusters | None = None,
    *,
    weights: Values | None = None,
    level: float = 0.95,
) -> Estimate | NotEstimable:
    """The difference of two pass rates over the same cases, treatment minus control, however alike they are.

    Scale: a difference of rates. Both have one share a case, as in `pass_rate_over_cases`. Where every case is
    its own, counts once and passes or fails, this is `paired_difference_of_proportions` (Tango's interval,
    McNemar's test). Otherwise it is Bonett and Price's interval at the effective number m of pairs: with b
    and c the mean gain and the mean loss a case, b' = (bm + 1)/(m + 2), likewise c', the limits are
    b' − c' ± t·sqrt((b' + c' − (b' − c')²)/(m + 2)), with the degrees of freedom of `mean_over_cases`; and
    the test is that of the same shifted centre. m is b + c − (b − c)² over the squared standard error there,
    at most the number of cases (k samples a case make it worth at most k); where fewer than ten clusters
    differ between the arms, cases of a cluster count as copies.

    Degenerate cases: fewer than two clusters are not estimable. Arms that are equal on every case have a
    difference of 0, an interval about it, and no test; `standard_error` is then half the interval's width over
    z. Errors: UsageError for shares outside [0, 1] or of unequal number, and those of `mean_over_cases`.
    Source: Bonett & Price (2012), Journal of Educational and Behavioral Statistics 37, 479; Korn & Graubard
    (1998), Survey Methodology 24, 193, for the effective number.

    >>> same = difference_of_pass_rates([1.0] * 100, [1.0] * 100)
    >>> same.value, round(same.low, 3), round(same.high, 3), same.p_value
    (0.0, -0.037, 0.037, None)
    """
    level = inside("level", level)
    c, t = cases_of("control's shares", control), cases_of("treatment's shares", treatment)
    if c.size != t.size:
        raise UsageError(f"both arms need one share per case, not {c.size} and {t.size}")
    both = np.concatenate((c, t))
    if not ((both >= 0.0) & (both <= 1.0)).all():
        raise UsageError("every share must lie between 0 and 1")
    if clusters is None and weights is None and np.isin(both, (0.0, 1.0)).all():
        return _of_yes_or_no(c, t, level)
    return _of_effective_pairs(t - c, clusters, weights, level)


def _of_yes_or_no(c: NDArray[np.float64], t: NDArray[np.float64], level: float) -> Estimate | NotEstimable:
    if c.size < 2:
        return NotEstimable(
            f"there {'is 1 case' if c.size == 1 else 'are 0 cases'}, and a difference needs two"
        )
    counts = int(c @ t), int(c @ (1.0 - t)), int((1.0 - c) @ t), int((1.0 - c) @ (1.0 - t))
    if counts[1] + counts[2]:
        return paired_difference_of_proportions(*counts, level=level)
    # The interval does not depend on the null; without a discordant pair only the test of 0 is out of reach.
    found = paired_difference_of_proportions(*counts, level=level, null=0.5)
    if isinstance(found, NotEstimable):
        return found
    return dataclasses.replace(found, null=0.0, statistic=None, p_value=None)


def _of_effective_pairs(
    differences: NDArray[np.float64], clusters: Clusters | None, weights: Values | None, level: float
) -> Estimate | NotEstimable:
    found = spread_over_cases(differences, clusters, weights=weights)
    if isinstance(found, NotEstimable):
        return found
    mean, error, df = found
    weight = case_weights(weights, differences.size)
    changed = float(np.abs(differences) @ weight / weight.sum())
    m = _effective(differences, changed - mean * mean, error, clusters, weights)
    centre = mean * m / (m + 2.0)
    width = math.sqrt(((changed * m + 2.0) / (m + 2.0) - centre * centre) / (m + 2.0))
    half = _t(df, level) * width
    low, high = max(-1.0, centre - half), min(1.0, centre + half)
    tested = changed > 0.0
    return Estimate(
        value=mean,
        standard_error=error or (high - low) / 2.0 / critical((1.0 - level) / 2.0),
        low=low,
        high=high,
        level=level,
        method="paired difference of pass rates, Bonett-Price interval at the effective number of pairs",
        statistic=centre / width if tested else None,
        p_value=2.0 * float(stdtr(df, -abs(centre / width))) if tested else None,
        degrees_of_freedom=df,
    )


def _effective(
    values: NDArray[np.float64],
    spread: float,
    error: float,
    clusters: Clusters | None,
    weights: Values | None,
) -> float:
    """How many independent yes-or-no cases say as much about the mean of `values`.

    `spread` is the variance of one such case with the same mean, `error` the standard error that was found.
    """
    codes, weight = cluster_codes(clusters, values.size), case_weights(weights, values.size)
    sizes = np.bincount(codes, weights=weight)
    copies = float(sizes.sum() ** 2 / (sizes @ sizes))
    speaking = int((np.bincount(codes, weights=np.abs(values) * weight) > 0.0).sum())
    if error == 0.0 or spread <= 0.0 or (clusters is not None and speaking < FEW):
        return copies
    own = float(weight.sum() ** 2 / (weight @ weight))
    mean = float(values @ weight / weight.sum())
    variance = float((values - mean) ** 2 @ weight / weight.sum())
    return min(spread / (error * error), own * max(1.0, spread / variance))


def _t(df: float, level: float) -> float:
    return -float(stdtrit(df, (1.0 - level) / 2.0))
