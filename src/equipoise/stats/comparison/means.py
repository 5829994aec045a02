"""Averages of outcomes with one value per unit: the difference between two arms."""

from __future__ import annotations

import math

from equipoise.stats.domain import finite, inside
from equipoise.stats.estimate import Estimate, NotEstimable
from equipoise.stats.moments import Moments
from equipoise.stats.student import satterthwaite, t_estimate

__all__ = ["difference_of_means", "short_arm"]


def difference_of_means(
    control: Moments, treatment: Moments, *, level: float = 0.95, null: float = 0.0
) -> Estimate | NotEstimable:
    """The difference of two means, treatment minus control, by Welch's t test.

    Scale: the outcome's own (seconds, points, dollars per unit). Units are independent; the arms may differ
    in size and spread. Interval, two-sided p-value and degrees of freedom belong together: the interval
    excludes `null` exactly when p is below 1 − level.

    Degenerate cases: not estimable with fewer than two units in an arm, or where the outcome is constant in
    both arms. One constant arm is allowed; the degrees of freedom are then the other arm's.
    Errors: UsageError for a level outside (0, 1) or a null that is not finite.
    Source: Welch (1947), Biometrika 34, 28; Satterthwaite (1946).

    >>> e = difference_of_means(Moments.of([1, 2, 3, 4]), Moments.of([3, 5, 7, 9]))
    >>> round(e.value, 2), round(e.standard_error, 4), round(e.degrees_of_freedom, 3), round(e.p_value, 4)
    (3.5, 1.4434, 4.412, 0.0665)
    """
    level, null = inside("level", level), finite("null", null)
    short = short_arm(control.n, treatment.n)
    if short:
        return short
    if control.constant and treatment.constant:
        return NotEstimable("the outcome is constant in both arms")
    variance_c = control.m2 / (control.n - 1) / control.n
    variance_t = treatment.m2 / (treatment.n - 1) / treatment.n
    return t_estimate(
        treatment.mean - control.mean,
        math.sqrt(variance_c + variance_t),
        satterthwaite((variance_c, control.n), (variance_t, treatment.n)),
        level=level,
        null=null,
        method="difference of means, Welch's t",
    )


def short_arm(n_c: int, n_t: int) -> NotEstimable | None:
    """Why no spread can be estimated, if an arm has fewer than two units; None when both have enough.

    >>> short_arm(1, 50).reason
    'control has 1 unit, and a spread needs at least two'
    """
    for arm, n in (("control", n_c), ("treatment", n_t)):
        if n < 2:
            return NotEstimable(f"{arm} has {n} unit{'' if n == 1 else 's'}, and a spread needs at least two")
    return None
