"""One rate from few cases: intervals of the beta distribution, for the small golden sets of an offline gate."""

from __future__ import annotations

import math
from typing import SupportsIndex

from scipy.special import betaincinv

from equipoise.errors import UsageError
from equipoise.stats.domain import counted, inside
from equipoise.stats.estimate import Estimate, NotEstimable
from equipoise.stats.normal import critical

__all__ = ["clopper_pearson", "clopper_pearson_interval", "jeffreys_interval"]


def clopper_pearson(total: float, n: float, tail: float) -> tuple[float, float]:
    """The limits (low, high) of a rate whose `n` cases add up to `total`, each missing with at most `tail`.

    `total` lies in [0, n], whole or not: the sum of n independent scores in [0, 1] varies less than that of
    coins with the same mean, so the limits are then conservative. `n` is greater than 0 and may be an
    effective number of cases. With a total of 0 the lower limit is 0, with a total of n the upper is 1.
    Source: Clopper & Pearson (1934), Biometrika 26, 404, in the form of beta quantiles.

    >>> [round(limit, 4) for limit in clopper_pearson(4.5, 5, 0.025)]
    [0.3714, 0.9999]
    """
    low = 0.0 if total <= 0.0 else float(betaincinv(total, n - total + 1.0, tail))
    high = 1.0 if total >= n else float(betaincinv(total + 1.0, n - total, 1.0 - tail))
    return low, high


def clopper_pearson_interval(
    successes: SupportsIndex, n: SupportsIndex, *, level: float = 0.95
) -> Estimate | NotEstimable:
    """One rate with its exact interval: it never covers less often than `level`, and often more.

    Scale: a rate from 0 to 1. Cases are independent. `standard_error` is half the interval's width over z.
    There is no test, so `p_value` is None. Wilson's interval (`proportions.wilson_interval`) covers at the
    level on average over rates and is narrower; take this one where a promise must hold for every rate.
    Degenerate cases: no cases is not estimable; with no success the lower limit is 0, with no failure the
    upper is 1. Errors: UsageError for unusable counts or level.
    Source: Clopper & Pearson (1934), Biometrika 26, 404.

    >>> e = clopper_pearson_interval(0, 20)
    >>> round(e.low, 4), round(e.high, 4)
    (0.0, 0.1684)
    """
    x, size, level = _counts(successes, n, level)
    if size == 0:
        return NotEstimable("there are no cases")
    tail = (1.0 - level) / 2.0
    low, high = clopper_pearson(float(x), size, tail)
    return _interval(x / size, low, high, level, "proportion, Clopper-Pearson exact interval")


def jeffreys_interval(
    successes: SupportsIndex, n: SupportsIndex, *, level: float = 0.95
) -> Estimate | NotEstimable:
    """One rate with the central interval of its beta posterior under Jeffreys' prior, Beta(½, ½).

    Scale: a rate from 0 to 1. Read as a confidence interval it covers near the level on average over rates
    from some ten cases on, and may fall short by several points at single rates near 0 or 1. `value` is the
    share itself, not the posterior mean; `standard_error` is the posterior's.
    Degenerate cases: no cases is not estimable; with no success the lower limit is set to 0, with no
    failure the upper to 1. Errors: UsageError for unusable counts or level.
    Source: Brown, Cai & DasGupta (2001), Statistical Science 16, 101.

    >>> e = jeffreys_interval(9, 10)
    >>> round(e.low, 4), round(e.high, 4)
    (0.6187, 0.989)
    """
    x, size, level = _counts(successes, n, level)
    if size == 0:
        return NotEstimable("there are no cases")
    a, b, tail = x + 0.5, size - x + 0.5, (1.0 - level) / 2.0
    return Estimate(
        value=x / size,
        standard_error=math.sqrt(a * b / (a + b + 1.0)) / (a + b),
        low=0.0 if x == 0 else float(betaincinv(a, b, tail)),
        high=1.0 if x == size else float(betaincinv(a, b, 1.0 - tail)),
        level=level,
        method="proportion, Jeffreys beta interval",
    )


def _counts(successes: SupportsIndex, n: SupportsIndex, level: float) -> tuple[int, int, float]:
    x, size = counted("the successes", successes), counted("the cases", n)
    if x > size:
        raise UsageError(f"the successes cannot exceed the cases, but {x} is more than {size}")
    return x, size, inside("level", level)


def _interval(value: float, low: float, high: float, level: float, method: str) -> Estimate:
    error = (high - low) / 2.0 / critical((1.0 - level) / 2.0)
    return Estimate(value=value, standard_error=error, low=low, high=high, level=level, method=method)
