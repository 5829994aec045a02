"""Relative effects: by which fraction of the control's value the treatment differs.

Fieller's method, without logarithms: "treatment = (1 + ρ) · control" is a linear hypothesis about two
means, tested by t; the interval holds every ρ that the test keeps. At ρ = 0 the test is that of the plain
difference, so the relative and the absolute effect can never disagree about significance.
"""

from __future__ import annotations

import math

from equipoise.errors import UsageError
from equipoise.stats.comparison.means import short_arm
from equipoise.stats.comparison.ratios import linear_variance, shared_variance, unsteady_denominator
from equipoise.stats.comparison.shared_clusters import ALIKE, NOTHING, ArmVariance, variance_of_difference
from equipoise.stats.cross_moments import CrossMoments
from equipoise.stats.domain import finite, inside
from equipoise.stats.estimate import Estimate, NotEstimable
from equipoise.stats.moments import Moments, PairMoments
from equipoise.stats.student import satterthwaite, t_estimate

__all__ = ["fieller", "fieller_limits", "relative_difference_of_means", "relative_difference_of_ratios"]


def relative_difference_of_means(
    control: Moments, treatment: Moments, *, level: float = 0.95, null: float = 0.0
) -> Estimate | NotEstimable:
    """The relative difference of two means, (treatment − control) / control, by Fieller's method.

    Scale: a fraction, so 0.1 is ten per cent more than control. `null` is a fraction greater than −1: a
    relative margin of 10% more is null=0.1. `standard_error` is the delta method's; interval and two-sided
    p-value are Fieller's with the degrees of freedom of Welch's test.

    Degenerate cases: not estimable with fewer than two units in an arm, where the outcome is constant in
    both, where the control's mean is not above 0, or where it is not clearly so at `level`, since every ρ
    would then be possible.
    Errors: UsageError for a level outside (0, 1) or an unusable null.
    Source: Fieller (1954), JRSS B 16, 175; Deng, Knoblich & Lu (2018), section 2, for the delta method.

    >>> e = relative_difference_of_means(Moments(100, 10.0, 99.0), Moments(100, 11.0, 99.0))
    >>> round(e.value, 3), round(e.low, 4), round(e.high, 4)
    (0.1, 0.0711, 0.1298)
    """
    short = short_arm(control.n, treatment.n)
    if short:
        return short
    return fieller(
        (control.mean, 0.0 if control.constant else control.m2 / (control.n - 1) / control.n, control.n),
        (
            treatment.mean,
            0.0 if treatment.constant else treatment.m2 / (treatment.n - 1) / treatment.n,
            treatment.n,
        ),
        level,
        null,
        "relative difference of means, Fieller",
    )


def relative_difference_of_ratios(
    control: PairMoments,
    treatment: PairMoments,
    *,
    shared: CrossMoments | None = None,
    level: float = 0.95,
    null: float = 0.0,
) -> Estimate | NotEstimable:
    """The relative difference of sum(x)/sum(y), (treatment − control) / control, by Fieller's method.

    Scale, domain, `shared`, degenerate cases and errors are those of `relative_difference_of_means` and
    `difference_of_ratios` together. Source: Fieller (1954); Deng, Knoblich & Lu (2018), section 3.

    >>> control = PairMoments.of([10.0, 12.0, 20.0, 18.0] * 25, [1, 1, 2, 2] * 25)
    >>> treatment = PairMoments.of([11.0, 13.0, 23.0, 19.0] * 25, [1, 1, 2, 2] * 25)
    >>> round(relative_difference_of_ratios(control, treatment).value, 4)
    0.1
    """
    short = short_arm(control.n, treatment.n)
    if short:
        return short
    unsteady = unsteady_denominator(control, treatment)
    if unsteady:
        return unsteady
    var_c, var_t = linear_variance(control), linear_variance(treatment)
    together = shared_variance(control, treatment, shared)
    covariance, freedom = 0.0, None
    if together is not None and var_c + var_t > 0.0:
        variance, freedom = variance_of_difference(
            ArmVariance(var_c, control.n, control.n - 1.0),
            ArmVariance(var_t, treatment.n, treatment.n - 1.0),
            together,
        )
        if variance == 0.0:
            return NotEstimable(ALIKE)
        covariance = together.covariance
    return fieller(
        (control.mean_x / control.mean_y, var_c, control.n),
        (treatment.mean_x / treatment.mean_y, var_t, treatment.n),
        level,
        null,
        "relative difference of ratios, delta method and Fieller",
        covariance=covariance,
        freedom=freedom,
    )


def fieller(
    control: tuple[float, float, float],
    treatment: tuple[float, float, float],
    level: float,
    null: float,
    method: str,
    *,
    covariance: float = 0.0,
    freedom: float | None = None,
) -> Estimate | NotEstimable:
    """The relative difference of two values, each given as (value, its variance, its units: its degrees of freedom and
    one).

    The values are independent, or have a `covariance`, and `freedom` is then that of their difference.
    Scale: a fraction, as for `relative_difference_of_means`, whose degenerate cases and errors these are; every
    arm has at least two units. Source: Fieller (1954).

    >>> e = fieller((10.0, 0.01, 100), (11.0, 0.01, 100), 0.95, 0.0, "relative difference")
    >>> round(e.value, 3), round(e.low, 4), round(e.high, 4)
    (0.1, 0.0711, 0.1298)
    """
    level, null = inside("level", level), finite("null", null)
    if null <= -1.0:
        raise UsageError(f"null must be a fraction greater than -1, not {null:g}")
    (c, var_c, n_c), (t, var_t, n_t) = control, treatment
    if var_c + var_t == 0.0:
        return NotEstimable("the outcome is constant in both arms")
    if c <= 0.0:
        return NotEstimable("the control's value is not above 0, so no change can be a fraction of it")
    df = satterthwaite((var_c, n_c), (var_t, n_t)) if freedom is None else freedom
    error = math.hypot(math.sqrt(var_t) / c, t / c * math.sqrt(var_c) / c)
    tested = var_t + (1.0 + null) ** 2 * var_c
    if covariance:
        alone, beside = error * error, tested
        tested -= 2.0 * (1.0 + null) * covariance
        error = math.sqrt(max(0.0, alone - 2.0 * (t / c) * covariance / (c * c)))
        if error * error <= NOTHING * alone or tested <= NOTHING * beside:
            return NotEstimable(
                "in every cluster the treatment is the same fraction of control, so it has no spread"
            )
    if error == 0.0:
        # All the spread is the control's and the treatment is exactly 0.
        return NotEstimable("the treatment is 0 for every unit, so its fraction of control has no spread")
    limits = fieller_limits(
        (c, var_c), (t, var_t), covariance, error, tested, df, level=level, null=null, method=method
    )
    return limits or NotEstimable(
        f"the control's value is not clearly above 0, so the relative effect has no limits at level {level:g}"
    )


def fieller_limits(
    control: tuple[float, float],
    treatment: tuple[float, float],
    covariance: float,
    error: float,
    tested: float,
    freedom: float,
    *,
    level: float,
    null: float,
    method: str,
) -> Estimate | None:
    """What `fieller` gives for values above 0 that have a spread, each with its variance; None where it has no limits.

    `error` is the standard error of their ratio, and `tested` the variance, at the null, of treatment less 1 + null times
    control. Source: Fieller (1954).
    """
    (c, var_c), (t, var_t) = control, treatment
    plain = t_estimate(t / c - 1.0, error, freedom, level=level, null=null, method=method)
    q2 = ((plain.high - plain.value) / error) ** 2
    # The roots in R = 1 + ρ of (t − R·c)² = q²(var_t − 2R·cov + R²·var_c).
    lead = c * c - q2 * var_c
    if lead <= 0.0:
        return None
    middle = t * c - q2 * covariance
    spread = math.sqrt(q2 * max(0.0, var_t * lead + t * t * var_c - covariance * (t * c + middle)))
    statistic = (t - (1.0 + null) * c) / math.sqrt(tested)
    return Estimate(
        value=plain.value,
        standard_error=error,
        low=(middle - spread) / lead - 1.0,
        high=(middle + spread) / lead - 1.0,
        level=level,
        method=method,
        null=null,
        statistic=statistic,
        p_value=t_estimate(statistic, 1.0, freedom, level=level, null=0.0, method=method).p_value,
        degrees_of_freedom=freedom,
    )
