"""Rates compared as a ratio, and two other well-known intervals for their difference.

The relative difference is by the score method, as the absolute one in `proportions` is: at no effect both are the
pooled z test, so that the two can never disagree about significance.
"""

from __future__ import annotations

import math
from typing import SupportsIndex

from equipoise.errors import UsageError
from equipoise.stats.comparison.proportions import difference_of_proportions, wilson_interval
from equipoise.stats.domain import finite, inside
from equipoise.stats.estimate import Estimate, NotEstimable
from equipoise.stats.normal import critical, two_sided
from equipoise.stats.roots import brentq

__all__ = ["miettinen_nurminen_interval", "newcombe_interval", "relative_difference_of_proportions"]

_FAR = 100.0


def relative_difference_of_proportions(
    successes_c: SupportsIndex,
    n_c: SupportsIndex,
    successes_t: SupportsIndex,
    n_t: SupportsIndex,
    *,
    level: float = 0.95,
    null: float = 0.0,
) -> Estimate | NotEstimable:
    """The relative difference of two rates, (treatment − control) / control, by the score method.

    Scale: a fraction, so 0.1 is ten per cent more than the control's rate; `null` is one, greater than −1.
    Test: z = (p̂t − R·p̂c) / sqrt(p̃t(1−p̃t)/nt + R²·p̃c(1−p̃c)/nc) with R = 1 + null and p̃ the likeliest rates of
    ratio R. The interval holds all that the test keeps (Koopman's). It needs no logarithm and no correction
    for zeros, and holds its level for rare outcomes where the delta method does not. `standard_error` is the
    delta method's, or half the interval's width over z where the treatment has no successes.

    Degenerate cases: not estimable with an empty arm, without a success in the control (every ratio above some
    limit would be possible), or where all units of both arms succeed.
    Errors: UsageError for unusable counts, a level outside (0, 1) or a null not above −1.
    Source: Koopman (1984), Biometrics 40, 513; Miettinen & Nurminen (1985), Statistics in Medicine 4, 213,
    appendix I, without their factor n/(n−1).

    >>> e = relative_difference_of_proportions(298, 16687, 736, 33396)
    >>> f"{e.value:.1%} [{e.low:.1%}, {e.high:.1%}] z={e.statistic:.2f}"
    '23.4% [8.0%, 41.0%] z=3.10'
    """
    plain = difference_of_proportions(successes_c, n_c, successes_t, n_t, level=level)
    null = finite("null", null)
    if null <= -1.0:
        raise UsageError(f"null must be a fraction greater than -1, not {null:g}")
    xc, nc, xt, nt = int(successes_c), int(n_c), int(successes_t), int(n_t)
    if isinstance(plain, NotEstimable):
        return plain
    if xc == 0:
        return NotEstimable("the control has no success, so no change can be a fraction of its rate")
    z = critical((1.0 - level) / 2.0)
    ratio = (xt / nt) / (xc / nc)
    low = 0.0 if xt == 0 else _limit(xc, nc, xt, nt, math.log(ratio), -z)
    # Without a success in the treatment the statistic is 0 at a ratio of 0, and nearly so at one far below 1.
    high = _limit(xc, nc, xt, nt, math.log(ratio) if xt else -_FAR / 2.0, z)
    error = ratio * math.sqrt((nt - xt) / (xt * nt) + (nc - xc) / (xc * nc)) if xt else 0.0
    statistic = _score(xc, nc, xt, nt, 1.0 + null)
    return Estimate(
        value=ratio - 1.0,
        standard_error=error or (high - low) / (2.0 * z),
        low=low - 1.0,
        high=high - 1.0,
        level=level,
        method="relative difference of proportions, Koopman score",
        null=null,
        statistic=statistic,
        p_value=two_sided(statistic),
    )


def miettinen_nurminen_interval(
    successes_c: SupportsIndex,
    n_c: SupportsIndex,
    successes_t: SupportsIndex,
    n_t: SupportsIndex,
    *,
    level: float = 0.95,
    null: float = 0.0,
) -> Estimate | NotEstimable:
    """The difference of two rates by the score method with Miettinen and Nurminen's variance factor n/(n−1).

    As `difference_of_proportions` in all else, and a little wider: what most regulated trials report. Test and
    interval agree with one another; at null 0 the test is the pooled z times sqrt((n − 1)/n).
    Degenerate cases and errors: as there, and not estimable with a single unit in all.
    Source: Miettinen & Nurminen (1985), Statistics in Medicine 4, 213, eqs. (8) and (9).

    >>> e = miettinen_nurminen_interval(48, 80, 56, 70)
    >>> round(e.low, 4), round(e.high, 4)
    (0.0528, 0.3382)
    """
    level = inside("level", level)
    z = critical((1.0 - level) / 2.0)
    plain = difference_of_proportions(successes_c, n_c, successes_t, n_t, level=level, null=null)
    if isinstance(plain, NotEstimable):
        return plain
    total = int(n_c) + int(n_t)
    stretch = math.sqrt(total / (total - 1.0))
    inner_level = 1.0 - two_sided(z * stretch)
    wider = difference_of_proportions(successes_c, n_c, successes_t, n_t, level=inner_level, null=null)
    assert isinstance(wider, Estimate)
    assert plain.statistic is not None
    statistic = plain.statistic / stretch
    return Estimate(
        value=plain.value,
        standard_error=plain.standard_error,
        low=wider.low,
        high=wider.high,
        level=level,
        method="difference of proportions, Miettinen–Nurminen score",
        null=plain.null,
        statistic=statistic,
        p_value=two_sided(statistic),
    )


def newcombe_interval(
    successes_c: SupportsIndex,
    n_c: SupportsIndex,
    successes_t: SupportsIndex,
    n_t: SupportsIndex,
    *,
    level: float = 0.95,
) -> Estimate | NotEstimable:
    """The difference of two rates with Newcombe's hybrid of the two Wilson intervals, and no test.

    Scale: a difference of rates, treatment minus control. In closed form; it need not agree with the pooled test at
    the edge. `standard_error` is the unpooled one, or half the interval's width over z where that is 0.
    Degenerate cases: not estimable with an empty arm. Errors: UsageError for unusable counts or level.
    Source: Newcombe (1998), Statistics in Medicine 17, 873, method 10.

    >>> e = newcombe_interval(48, 80, 56, 70)
    >>> round(e.low, 4), round(e.high, 4)
    (0.0524, 0.3339)
    """
    c, t = wilson_interval(successes_c, n_c, level), wilson_interval(successes_t, n_t, level)
    if isinstance(c, NotEstimable) or isinstance(t, NotEstimable):
        empty = [arm for arm, one in (("control", c), ("treatment", t)) if isinstance(one, NotEstimable)]
        return NotEstimable(f"there are no units in {' or '.join(empty)}")
    value = t.value - c.value
    low = value - math.hypot(t.value - t.low, c.high - c.value)
    high = value + math.hypot(t.high - t.value, c.value - c.low)
    error = math.sqrt(t.value * (1.0 - t.value) / int(n_t) + c.value * (1.0 - c.value) / int(n_c))
    return Estimate(
        value=value,
        standard_error=error or (high - low) / (2.0 * critical((1.0 - level) / 2.0)),
        low=low,
        high=high,
        level=level,
        method="difference of proportions, Newcombe's hybrid of Wilson intervals",
    )


def _score(xc: int, nc: int, xt: int, nt: int, ratio: float) -> float:
    """The score statistic of treatment = ratio · control."""
    a = (nc + nt) * ratio
    b = ratio * nt + xt + nc + ratio * xc
    # The smaller root of a·p² − b·p + (xc + xt) = 0, in the form that loses no digits.
    control = 2.0 * (xc + xt) / (b + math.sqrt(max(0.0, b * b - 4.0 * a * (xc + xt))))
    treatment = min(1.0, ratio * control)
    variance = treatment * (1.0 - treatment) / nt + ratio * ratio * control * (1.0 - control) / nc
    distance = xt / nt - ratio * xc / nc
    if variance <= 0.0:
        return 0.0 if distance == 0.0 else math.copysign(math.inf, distance)
    return distance / math.sqrt(variance)


def _limit(xc: int, nc: int, xt: int, nt: int, start: float, z: float) -> float:
    """The ratio on the side of `z` at which the score statistic is exactly −z."""

    def excess(log_ratio: float) -> float:
        return max(-1e9, min(1e9, _score(xc, nc, xt, nt, math.exp(log_ratio)))) + z

    step = math.copysign(0.1, z)
    while excess(start + step) * z > 0.0 and abs(step) < _FAR:
        step *= 2.0
    return math.exp(float(brentq(excess, start, start + step, xtol=1e-13, rtol=1e-13)))
