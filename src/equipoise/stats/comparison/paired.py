"""Each case answered by both variants: differences within pairs, of means and of yes-or-no outcomes."""

from __future__ import annotations

import math
from typing import SupportsIndex

from scipy.special import bdtr

from equipoise.stats.comparison.proportions import wilson_interval
from equipoise.stats.domain import counted, finite, inside
from equipoise.stats.estimate import Estimate, NotEstimable
from equipoise.stats.moments import Moments
from equipoise.stats.normal import critical, two_sided
from equipoise.stats.roots import brentq
from equipoise.stats.student import t_estimate

__all__ = [
    "mcnemar_mid_p",
    "newcombe_paired_interval",
    "paired_difference_of_means",
    "paired_difference_of_proportions",
]


def paired_difference_of_means(
    differences: Moments, *, level: float = 0.95, null: float = 0.0
) -> Estimate | NotEstimable:
    """The mean of differences within pairs, treatment minus control, by Student's paired t.

    Scale: the outcome's own. `differences` has one value per pair; pairs are independent of one another.
    Degenerate cases: not estimable with fewer than two pairs or where all differ by the same amount. Errors:
    UsageError for a level outside (0, 1) or a null that is not finite. Source: Student (1908), Biometrika 6, 1.

    >>> sleep = Moments.of([1.2, 2.4, 1.3, 1.3, 0.0, 1.0, 1.8, 0.8, 4.6, 1.4])
    >>> e = paired_difference_of_means(sleep)
    >>> round(e.value, 2), round(e.statistic, 4), round(e.p_value, 6)
    (1.58, 4.0621, 0.002833)
    """
    level, null = inside("level", level), finite("null", null)
    n = differences.n
    if n < 2:
        return NotEstimable(f"there {'is 1 pair' if n == 1 else 'are 0 pairs'}, and a spread needs two")
    if differences.constant:
        return NotEstimable("all pairs differ by the same amount, so there is no spread")
    return t_estimate(
        differences.mean,
        math.sqrt(differences.m2 / (n - 1) / n),
        n - 1.0,
        level=level,
        null=null,
        method="mean of paired differences, t",
    )


def paired_difference_of_proportions(
    both: SupportsIndex,
    only_c: SupportsIndex,
    only_t: SupportsIndex,
    neither: SupportsIndex,
    *,
    level: float = 0.95,
    null: float = 0.0,
) -> Estimate | NotEstimable:
    """The difference of two rates over the same cases, treatment minus control, by the score method.

    Scale: a difference of rates. The four counts are pairs in which both, only the control, only the treatment or
    neither succeeded. At null 0 the test is McNemar's, z = (only_t − only_c)/sqrt(only_t + only_c), without
    continuity correction; against δ it uses the likeliest split of the discordant pairs under δ. The interval
    is Tango's: all δ which that test keeps. `standard_error` is sqrt(only_c + only_t − (only_t − only_c)²/n)/n, or
    half the interval's width over z where that is 0.
    With few discordant pairs (fewer than about ten) `mcnemar_mid_p` is the better test of 0.

    Degenerate cases: no pairs are not estimable, nor is a test of 0 without a discordant pair; against any other
    null such pairs are estimable. Errors: UsageError for unusable counts, or a level or null outside its domain.
    Source: Tango (1998), Statistics in Medicine 17, 891; McNemar (1947), Psychometrika 12, 153.

    >>> e = paired_difference_of_proportions(1, 7, 1, 12)
    >>> round(e.value, 4), round(e.low, 3), round(e.high, 3), round(e.p_value, 3)
    (-0.2857, -0.517, -0.026, 0.034)
    """
    level, null = inside("level", level), inside("null", null, -1.0, 1.0)
    b, c, n = _discordant(both, only_c, only_t, neither)
    if n == 0:
        return NotEstimable("there are no pairs")
    error = _error(b, c, n, null)
    if error == 0.0:
        return NotEstimable("both answers agree in every pair, so there is nothing to compare")
    z = critical((1.0 - level) / 2.0)
    value = (b - c) / n
    low, high = _lower_limit(b, c, n, z), -_lower_limit(c, b, n, z)
    statistic = (value - null) / error
    return Estimate(
        value=value,
        standard_error=math.sqrt(max(0.0, b + c - (b - c) ** 2 / n)) / n or (high - low) / (2.0 * z),
        low=low,
        high=high,
        level=level,
        method="paired difference of proportions, McNemar and Tango score",
        null=null,
        statistic=statistic,
        p_value=two_sided(statistic),
    )


def mcnemar_mid_p(only_c: SupportsIndex, only_t: SupportsIndex) -> float | NotEstimable:
    """The two-sided mid-p-value of McNemar's exact test: are the discordant pairs split evenly?

    The counts are pairs in which only the control or only the treatment succeeded. Half of the chance of the
    split seen is counted, so that the error stays near α instead of far below it; it may pass α by a little.
    Degenerate cases: without discordant pairs there is no test. Errors: UsageError for counts below 0.
    Source: Fagerland, Lydersen & Laake (2013), BMC Medical Research Methodology 13, 91, eq. (4) and table 1.

    >>> round(mcnemar_mid_p(7, 1), 4)
    0.0391
    """
    c, t = counted("only_c", only_c), counted("only_t", only_t)
    if c + t == 0:
        return NotEstimable("both answers agree in every pair, so there is nothing to compare")
    fewer, all_ = min(c, t), c + t
    below = float(bdtr(fewer - 1, all_, 0.5)) if fewer else 0.0
    return min(1.0, below + float(bdtr(fewer, all_, 0.5)))


def newcombe_paired_interval(
    both: SupportsIndex,
    only_c: SupportsIndex,
    only_t: SupportsIndex,
    neither: SupportsIndex,
    level: float = 0.95,
) -> Estimate | NotEstimable:
    """The difference of two rates over the same cases with Newcombe's square-and-add interval, and no test.

    Scale: a difference of rates, treatment minus control. It joins the two Wilson intervals with the correlation
    of the answers, φ = (ad − bc)/sqrt(...) with the numerator lessened by n/2 where positive, and 0 where a
    margin is empty; the closed-form alternative to `paired_difference_of_proportions`, with which it need not
    agree at the edge. `standard_error` is as there.
    Degenerate cases: no pairs are not estimable. Errors: UsageError for unusable counts or level.
    Source: Newcombe (1998), Statistics in Medicine 17, 2635, method 10.

    >>> e = newcombe_paired_interval(14, 0, 5, 22)
    >>> round(e.value, 2), round(e.low, 2), round(e.high, 2)
    (0.12, 0.01, 0.23)
    """
    level = inside("level", level)
    t, c, n = _discordant(both, only_c, only_t, neither)
    if n == 0:
        return NotEstimable("there are no pairs")
    a, d = counted("both", both), counted("neither", neither)
    first, second = wilson_interval(a + t, n, level), wilson_interval(a + c, n, level)
    assert isinstance(first, Estimate)
    assert isinstance(second, Estimate)
    margins = (a + t) * (c + d) * (a + c) * (t + d)
    cross = float(a * d - t * c)
    if cross > 0:
        cross = max(cross - n / 2.0, 0.0)
    phi = cross / math.sqrt(margins) if margins else 0.0
    value = (t - c) / n
    down_1, up_1 = first.value - first.low, first.high - first.value
    down_2, up_2 = second.value - second.low, second.high - second.value
    low = value - math.sqrt(max(0.0, down_1**2 - 2.0 * phi * down_1 * up_2 + up_2**2))
    high = value + math.sqrt(max(0.0, up_1**2 - 2.0 * phi * up_1 * down_2 + down_2**2))
    plain = math.sqrt(max(0.0, t + c - (t - c) ** 2 / n)) / n
    return Estimate(
        value=value,
        standard_error=plain or (high - low) / (2.0 * critical((1.0 - level) / 2.0)),
        low=low,
        high=high,
        level=level,
        method="paired difference of proportions, Newcombe's square-and-add interval",
    )


def _discordant(
    both: SupportsIndex, only_c: SupportsIndex, only_t: SupportsIndex, neither: SupportsIndex
) -> tuple[int, int, int]:
    """Pairs won by the treatment alone, by the control alone, and all pairs."""
    a, c = counted("both", both), counted("only_c", only_c)
    t, d = counted("only_t", only_t), counted("neither", neither)
    return t, c, a + c + t + d


def _error(b: int, c: int, n: int, difference: float) -> float:
    """The standard error under `difference`, with the likeliest rate of pairs that only the control won."""
    linear = -(b + c) + (2 * n - b + c) * difference
    constant = -c * difference * (1.0 - difference)
    rate = (math.sqrt(max(0.0, linear * linear - 8.0 * n * constant)) - linear) / (4.0 * n)
    return math.sqrt(max(0.0, 2.0 * rate + difference * (1.0 - difference)) / n)


def _lower_limit(b: int, c: int, n: int, z: float) -> float:
    """The difference below the observed one at which the score statistic is exactly z."""
    value = (b - c) / n
    if value <= -1.0:
        return -1.0

    def excess(difference: float) -> float:
        return value - difference - z * _error(b, c, n, difference)

    step = (value + 1.0) / 2.0
    while excess(value - step) >= 0.0:
        step /= 2.0
    return brentq(excess, -1.0, value - step, xtol=1e-13, rtol=1e-13)
