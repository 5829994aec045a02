"""Head to head: how often one variant's answer is preferred to another's, case by case."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.special import bdtrc

from equipoise.errors import UsageError
from equipoise.stats.cases.binomial import clopper_pearson
from equipoise.stats.cases.case_means import Clusters, share_over_cases
from equipoise.stats.domain import inside, positive
from equipoise.stats.estimate import Estimate, NotEstimable
from equipoise.stats.moments import Moments
from equipoise.stats.normal import critical
from equipoise.stats.student import t_estimate

__all__ = ["cases_to_settle", "clustered_win_rate", "win_rate"]

ENOUGH = 30
"""From this many cases on the mean of scores is taken to be nearly normal."""

Scores = Sequence[float] | NDArray[np.floating]


def win_rate(scores: Scores, *, level: float = 0.95) -> Estimate | NotEstimable:
    """The mean of scores in [0, 1], one per case.

    A score is 1 for a win, 0 for a loss, 0.5 for a tie, or a judge's probability of a win. Scale: a share
    of cases; `null` is 0.5. `standard_error` is the scores' standard deviation (n − 1) over sqrt(n).

    From 30 cases on, if scores differ: Student's t interval, clipped to [0, 1], and the t test. Otherwise
    the Clopper–Pearson beta interval at the *sum* of scores, whole or not. It is conservative for a tie as
    for a probability, because a score between 0 and 1 varies less than the coin with the same mean. The
    test is then the exact two-sided sign test of wins against losses (ties set aside), with the number of
    wins as `statistic`; where a score is neither 0, 0.5 nor 1 it is the t test. A t interval may thus stand
    beside no sign test or the reverse, and below 30 cases test and interval need not agree at the edge.

    Degenerate cases: fewer than two cases are not estimable. Where all scores are equal, `standard_error`
    is half the interval's width over z, since it cannot be 0; where there is neither a win nor a loss (or
    equal probabilities that permit no test), `statistic` and `p_value` are None.
    Errors: UsageError for a score outside [0, 1] or a level outside (0, 1).
    Source: Clopper & Pearson (1934), Biometrika 26, 404; Dixon & Mood (1946), JASA 41, 557, for the sign
    test; Dubois et al. (2024), Length-controlled AlpacaEval, for win rate and standard error as reported
    there.

    >>> e = win_rate([1, 1, 1, 1, 0.5])
    >>> e.value, round(e.standard_error, 2), round(e.low, 3), e.p_value
    (0.9, 0.1, 0.371, 0.125)
    """
    level = inside("level", level)
    array = np.asarray(scores, dtype=np.float64).ravel()
    if not ((array >= 0.0) & (array <= 1.0)).all():
        raise UsageError("every score must lie between 0 (loss) and 1 (win)")
    n = int(array.size)
    if n < 2:
        return NotEstimable(f"there {'is 1 case' if n == 1 else 'are 0 cases'}, and a spread needs two")
    moments = Moments.of(array)
    error = 0.0 if moments.constant else math.sqrt(moments.m2 / (n - 1) / n)
    by_t = (
        None
        if error == 0.0
        else t_estimate(moments.mean, error, n - 1.0, level=level, null=0.5, method="win rate, Student's t")
    )
    if by_t is not None and n >= ENOUGH:
        return Estimate(
            value=by_t.value,
            standard_error=error,
            low=max(0.0, by_t.low),
            high=min(1.0, by_t.high),
            level=level,
            method=by_t.method,
            null=0.5,
            statistic=by_t.statistic,
            p_value=by_t.p_value,
            degrees_of_freedom=by_t.degrees_of_freedom,
        )
    low, high = clopper_pearson(float(array.sum()), n, (1.0 - level) / 2.0)
    wins, losses = int((array == 1.0).sum()), int((array == 0.0).sum())
    statistic: float | None
    p_value: float | None
    if np.isin(array, (0.0, 0.5, 1.0)).all():
        test = "exact sign test"
        statistic, p_value = (float(wins), _sign_test(wins, losses)) if wins + losses else (None, None)
    else:
        test = "Student's t test"
        statistic, p_value = (by_t.statistic, by_t.p_value) if by_t is not None else (None, None)
    return Estimate(
        value=moments.mean,
        standard_error=error or (high - low) / 2.0 / critical((1.0 - level) / 2.0),
        low=low,
        high=high,
        level=level,
        method=f"win rate, Clopper-Pearson interval, {test}",
        null=0.5,
        statistic=statistic,
        p_value=p_value,
    )


def clustered_win_rate(scores: Scores, clusters: Clusters, *, level: float = 0.95) -> Estimate | NotEstimable:
    """The mean of scores in [0, 1] where some cases belong together: turns of one talk, questions on one text.

    Scores and scale are those of `win_rate`, `null` is 0.5; `clusters` names each case's cluster. Every case
    weighs the same; the standard error is that of `case_means.mean_over_cases` (CR2, Bell-McCaffrey degrees of
    freedom), the interval that of `share_over_cases`: t from 30 cases in clusters worth ten, Clopper and
    Pearson's at the effective number of cases below. Without a cluster of two cases the interval from 30
    cases on is that of `win_rate`.

    Degenerate cases: fewer than two clusters are not estimable; without any spread there is no test. Errors:
    UsageError for a score outside [0, 1], clusters that do not match, or a level outside (0, 1).
    Source: as `case_means.share_over_cases`; Miller (2024), Adding Error Bars to Evals (arXiv 2411.00640),
    section 2.2, for clustered evaluations.

    >>> scores, documents = [1, 1, 1, 0, 0, 0.5] * 12, [f"document {i // 3}" for i in range(72)]
    >>> e = clustered_win_rate(scores, documents)
    >>> round(e.value, 4), round(e.standard_error, 4), round(win_rate(scores).standard_error, 4)
    (0.5833, 0.0869, 0.0533)
    """
    found = share_over_cases(scores, clusters, level=level, null=0.5)
    if isinstance(found, NotEstimable):
        return found
    return dataclasses.replace(found, method=found.method.replace("mean of shares", "win rate"))


def cases_to_settle(margin: float, *, level: float = 0.95, power: float = 0.8, variance: float = 0.25) -> int:
    """How many cases a gate needs that an arm equal to control should pass with probability `power`.

    The gate: the win rate is not below 0.5 by more than `margin`. Needed are
    ceil((z_{(1+level)/2} + z_power)² · variance / margin²). `margin` is a share above 0, `level` that of
    the two-sided interval whose lower end must clear 0.5 − margin; `variance` that of one score: 0.25
    without ties, less with.
    Errors: UsageError for a margin or variance not above 0, or a level or power outside (0, 1). No
    degenerate cases.
    Source: Chow, Shao & Wang (2008), Sample Size Calculations in Clinical Research, chapter 4.

    >>> cases_to_settle(0.10)
    197
    """
    z = critical((1.0 - inside("level", level)) / 2.0) + critical(1.0 - inside("power", power))
    return max(2, math.ceil((max(z, 0.0) / positive("margin", margin)) ** 2 * positive("variance", variance)))


def _sign_test(wins: int, losses: int) -> float:
    """Twice the binomial tail of the commoner outcome, at most 1."""
    decided, more = wins + losses, max(wins, losses)
    return min(1.0, 2.0 * float(bdtrc(more - 1, decided, 0.5)))
