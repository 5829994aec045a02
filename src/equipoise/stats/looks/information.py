"""Information: how much an estimate knows, on the scale that every sequential method shares.

The information of an estimate is 1 / standard error². It adds up over independent data, whatever was estimated: a
mean, a ratio, an adjusted mean, a quantile, a clustered rate, a corrected judge score. What a plan
registers is its maximum; what a look uses is the fraction of it that has been seen.
"""

from __future__ import annotations

import math

from equipoise.stats.domain import inside, positive
from equipoise.stats.estimate import Estimate, NotEstimable
from equipoise.stats.looks.brownian import LEAST_STEP
from equipoise.stats.normal import critical

__all__ = ["as_z", "information", "information_fraction"]


def information(estimate: Estimate | NotEstimable) -> float | NotEstimable:
    """The information of an estimate, 1 / standard error², in one over the square of the estimate's unit.

    Degenerate cases: what could not be estimated has no information, for the same reason; a standard error
    that is 0 or not finite would claim infinite or no knowledge and is not estimable. Source: Jennison &
    Turnbull (2000), chapter 11; Scharfstein, Tsiatis & Robins (1997), JASA 92, 1342.

    >>> seen = Estimate(value=0.03, standard_error=0.02, low=-0.01, high=0.07, level=0.95, method="difference")
    >>> round(information(seen), 6)
    2500.0
    """
    if isinstance(estimate, NotEstimable):
        return estimate
    error = estimate.standard_error
    if not (math.isfinite(error) and error > 0.0):
        return NotEstimable(f"a standard error of {error:g} says nothing about how much has been learnt")
    return 1.0 / error / error


def information_fraction(
    estimate: Estimate | NotEstimable, maximum: float, *, before: float = 0.0
) -> float | NotEstimable:
    """The fraction of the registered `maximum` that `estimate` has seen, if it has risen since the last look.

    `maximum` is information as in `information`, above 0; `before` is the fraction of the last look made, 0
    if there was none. Fractions above 1 are returned as they are: nothing but what is left may be spent there.

    Degenerate cases: information that has not risen by at least 1e-4 of itself is not estimable, and no look
    can be made there: the walk behind every boundary has no step of length 0 or less. It may happen with real data
    (a spread estimated larger than before, exclusions, late corrections); wait for more.
    Errors: UsageError for a maximum not above 0 or a `before` below 0.
    Source: Jennison & Turnbull (2000), section 7.3; Lan & DeMets (1989), Biometrics 45, 1017.

    >>> seen = Estimate(value=0.03, standard_error=0.02, low=-0.01, high=0.07, level=0.95, method="difference")
    >>> information_fraction(seen, 10_000.0, before=0.2)
    0.25
    >>> information_fraction(seen, 10_000.0, before=0.26).reason
    'the information is 0.25 of the maximum and was 0.26 at the look before: wait until it has risen'
    """
    most, last = positive("maximum", maximum), before if before == 0.0 else positive("before", before)
    seen = information(estimate)
    if isinstance(seen, NotEstimable):
        return seen
    fraction = seen / most
    if fraction - last < LEAST_STEP * fraction:
        return NotEstimable(
            f"the information is {fraction:.4g} of the maximum and was {last:.4g} at the look before: "
            "wait until it has risen"
        )
    return fraction


def as_z(estimate: Estimate) -> tuple[float, float] | NotEstimable:
    """The z that has the estimate's own p-value, and the standard error at which it is that many from the null.

    A boundary is a z, but a test may be a t or a score test: its two-sided p-value, not its statistic, is
    what the boundary is about (so does the interval at the boundary's level). Where p has no quantile (0, or
    so near to 1 that it says nothing about the spread), or the method has no test, the statistic (value −
    null)/standard_error and the standard error stand as they are.

    Degenerate cases: as for `information`. Source: Jennison & Turnbull (2000), section 3.8 (significance
    levels in place of normal statistics).

    >>> from equipoise.stats.student import t_estimate
    >>> z, error = as_z(t_estimate(2.0, 1.0, 10.0, level=0.95, null=0.0, method="mean, t"))
    >>> round(z, 4), round(error, 4)
    (1.7904, 1.1171)
    """
    seen = information(estimate)
    if isinstance(seen, NotEstimable):
        return seen
    distance = estimate.value - estimate.null
    if not math.isfinite(distance):
        return NotEstimable("the estimate is not a finite number")
    p = estimate.p_value
    if p is None or not 1e-300 < p < 1.0 - 1e-6:
        return distance / estimate.standard_error, estimate.standard_error
    size = critical(inside("p-value", p) / 2.0)
    return math.copysign(size, distance), abs(distance) / size
