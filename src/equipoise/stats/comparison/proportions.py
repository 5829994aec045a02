"""Rates of yes-or-no outcomes: the difference between two arms, and one rate alone.

Test and interval are one method. The interval holds exactly those differences which the test would not
reject, so that a report can never say "significant" above an interval that contains the null, or the
reverse.
"""

from __future__ import annotations

import math
from typing import SupportsIndex

from equipoise.errors import UsageError
from equipoise.stats.domain import counted, inside
from equipoise.stats.estimate import Estimate, NotEstimable
from equipoise.stats.normal import critical, two_sided
from equipoise.stats.roots import brentq

__all__ = ["difference_of_proportions", "restricted_rates", "wilson_interval"]


def difference_of_proportions(
    successes_c: SupportsIndex,
    n_c: SupportsIndex,
    successes_t: SupportsIndex,
    n_t: SupportsIndex,
    *,
    level: float = 0.95,
    null: float = 0.0,
) -> Estimate | NotEstimable:
    """The difference of two rates, treatment minus control, by the score method.

    Scale: everything is a difference of rates, so 0.05 is five percentage points. `null` lies strictly
    between −1 and 1; with a `null` other than 0 this is the test of a non-inferiority margin.

    Test: z = (p̂t − p̂c − δ) / sqrt(p̃t(1−p̃t)/nt + p̃c(1−p̃c)/nc), where p̃ are the maximum-likelihood
    rates among those that differ by δ. At δ = 0 they are both the pooled rate and z is the classic pooled z
    test. `p_value` is two-sided.
    Interval: all δ which that test keeps at 1 − level, in Mee's form. (Miettinen and Nurminen multiply the
    variance by n/(n−1); without the factor the interval excludes 0 exactly when the pooled test rejects.)
    `standard_error` is the unpooled one, sqrt(p̂t(1−p̂t)/nt + p̂c(1−p̂c)/nc), which is what information
    1/SE² is counted in. Where both arms are constant that is 0; there it is half the interval's width over
    z instead.

    Degenerate cases: an empty arm is not estimable, nor is a test of 0 when all units of both arms have the
    same outcome. Against any other null such spotless arms are estimable: they do show that a margin holds.
    Errors: UsageError for negative counts, more successes than units, or a level or null outside its
    domain.

    Source: Mee (1984), Biometrics 40, 1175; Farrington & Manning (1990), Statistics in Medicine 9, 1447,
    appendix; Miettinen & Nurminen (1985), Statistics in Medicine 4, 213.

    >>> charity = difference_of_proportions(298, 16687, 736, 33396)
    >>> f"{charity.value:.4%} z={charity.statistic:.2f} p={charity.p_value:.4f}"
    '0.4180% z=3.10 p=0.0019'
    >>> f"[{charity.low:.3%}, {charity.high:.3%}]"
    '[0.157%, 0.669%]'
    """
    level = inside("level", level)
    null = inside("null", null, -1.0, 1.0)
    xc, nc = _rate_counts("control", successes_c, n_c)
    xt, nt = _rate_counts("treatment", successes_t, n_t)
    empty = [arm for arm, n in (("control", nc), ("treatment", nt)) if n == 0]
    if empty:
        return NotEstimable(f"there are no units in {' or '.join(empty)}")
    # It is 0 only for arms that are constant and equal, and a null that is 0 or lost beside 1 in rounding.
    error = _restricted_error(xc, nc, xt, nt, null)
    if error == 0.0:
        return NotEstimable("every unit in both arms has the same outcome, so there is nothing to compare")
    z = critical((1.0 - level) / 2.0)
    value = xt / nt - xc / nc
    statistic = (value - null) / error
    low = _lower_limit(xc, nc, xt, nt, z)
    # Exchanging success and failure in both arms turns every difference round.
    high = -_lower_limit(nc - xc, nc, nt - xt, nt, z)
    unpooled = math.sqrt(_binomial_variance(xc, nc) + _binomial_variance(xt, nt))
    return Estimate(
        value=value,
        standard_error=unpooled or (high - low) / (2.0 * z),
        low=low,
        high=high,
        level=level,
        method="difference of proportions, score test and Mee score interval",
        null=null,
        statistic=statistic,
        p_value=two_sided(statistic),
    )


def wilson_interval(
    successes: SupportsIndex, n: SupportsIndex, level: float = 0.95
) -> Estimate | NotEstimable:
    """One rate with its Wilson score interval; there is no test, so `p_value` is None.

    Scale: a rate from 0 to 1. `standard_error` is sqrt(p̂(1−p̂)/n); where no or all units succeed that is
    0, and half the interval's width over z stands instead.
    Degenerate cases: no units is not estimable. Errors: UsageError for unusable counts or level.
    Source: Wilson (1927), JASA 22, 209; Brown, Cai & DasGupta (2001), Statistical Science 16, 101, eq. (4).

    >>> one = wilson_interval(0, 20)
    >>> round(one.low, 4), round(one.high, 4)
    (0.0, 0.1611)
    """
    level = inside("level", level)
    x, n = _rate_counts("the sample", successes, n)
    if n == 0:
        return NotEstimable("there are no units")
    z = critical((1.0 - level) / 2.0)
    p = x / n
    centre = (x + z * z / 2.0) / (n + z * z)
    half = z * math.sqrt(n) / (n + z * z) * math.sqrt(p * (1.0 - p) + z * z / (4.0 * n))
    return Estimate(
        value=p,
        standard_error=math.sqrt(_binomial_variance(x, n)) or half / z,
        # At an edge the limit is the edge itself, which subtraction only nearly finds.
        low=0.0 if x == 0 else max(0.0, centre - half),
        high=1.0 if x == n else min(1.0, centre + half),
        level=level,
        method="proportion, Wilson score interval",
    )


def restricted_rates(
    rate_c: float, n_c: float, rate_t: float, n_t: float, difference: float
) -> tuple[float, float]:
    """The likeliest rates (control, treatment) among those with treatment − control = `difference`.

    Rates in [0, 1], sizes greater than 0 (only their ratio matters), difference in [−1, 1]. The cubic score
    equation is solved in closed form and then polished, since the closed form alone loses half the digits
    of a small rate.
    Source: Farrington & Manning (1990), appendix, with the treatment as their first group.

    >>> [round(rate, 4) for rate in restricted_rates(0.5, 100, 0.5, 100, -0.1)]
    [0.55, 0.45]
    """
    floor, ceiling = max(0.0, difference), min(1.0, 1.0 + difference)  # of the treatment's rate
    if difference == 0.0:
        pooled = (n_c * rate_c + n_t * rate_t) / (n_c + n_t)
        return pooled, pooled
    theta = n_c / n_t
    a = 1.0 + theta
    b = -(1.0 + theta + rate_t + theta * rate_c + difference * (theta + 2.0))
    c = difference * difference + difference * (2.0 * rate_t + theta + 1.0) + rate_t + theta * rate_c
    d = -rate_t * difference * (1.0 + difference)
    third = b / (3.0 * a)
    v = third**3 - b * c / (6.0 * a * a) + d / (2.0 * a)
    u = math.copysign(math.sqrt(max(0.0, third * third - c / (3.0 * a))), v)
    cosine = max(-1.0, min(1.0, v / u**3)) if u else 1.0
    root = 2.0 * u * math.cos((math.pi + math.acos(cosine)) / 3.0) - third
    for _ in range(3):
        slope = (3.0 * a * root + 2.0 * b) * root + c
        if slope == 0.0:
            break
        step = (((a * root + b) * root + c) * root + d) / slope
        if abs(step) > 1e-4:  # a double root: the slope says nothing, and the closed form is exact enough
            break
        root -= step
    root = min(max(root, floor), ceiling)
    return min(max(root - difference, 0.0), 1.0), root


def _restricted_error(xc: int, nc: int, xt: int, nt: int, difference: float) -> float:
    pc, pt = restricted_rates(xc / nc, nc, xt / nt, nt, difference)
    return math.sqrt(pc * (1.0 - pc) / nc + pt * (1.0 - pt) / nt)


def _lower_limit(xc: int, nc: int, xt: int, nt: int, z: float) -> float:
    """The difference below the observed one at which the score statistic is exactly z."""
    value = xt / nt - xc / nc
    if value <= -1.0:
        return -1.0

    # Multiplied out, so that the function stays finite where the restricted error vanishes.
    def excess(difference: float) -> float:
        return value - difference - z * _restricted_error(xc, nc, xt, nt, difference)

    # At the estimate itself the error may be 0 (constant arms); a little below it is not.
    step = (value + 1.0) / 2.0
    while excess(value - step) >= 0.0:
        step /= 2.0
    return brentq(excess, -1.0, value - step, xtol=1e-13, rtol=1e-13)


def _rate_counts(arm: str, successes: SupportsIndex, n: SupportsIndex) -> tuple[int, int]:
    x, size = counted(f"the successes of {arm}", successes), counted(f"the units of {arm}", n)
    if x > size:
        raise UsageError(f"the successes of {arm} cannot exceed its units, but {x} is more than {size}")
    return x, size


def _binomial_variance(x: int, n: int) -> float:
    return x * (n - x) / n**3
