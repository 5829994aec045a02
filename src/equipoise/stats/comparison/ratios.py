"""Ratios of sums, such as cost per success or clicks per turn: the difference between two arms.

The unit that was randomised carries the variance, not the denominator's pieces: turns of one conversation
are alike, and counting them as independent would claim more than is known.
"""

from __future__ import annotations

import math

import numpy as np

from equipoise.stats.comparison.means import short_arm
from equipoise.stats.comparison.shared_clusters import (
    ALIKE,
    ArmVariance,
    SharedVariance,
    ratio_form,
    shared_spread,
    variance_of_difference,
)
from equipoise.stats.cross_moments import CrossMoments
from equipoise.stats.domain import finite, inside
from equipoise.stats.estimate import Estimate, NotEstimable
from equipoise.stats.moments import PairMoments
from equipoise.stats.student import t_estimate

__all__ = ["difference_of_ratios", "linear_variance", "shared_variance", "unsteady_denominator"]


# Linearising 1/ȳ is poor while ȳ could still be near 0; at three standard errors the omitted term is a ninth.
STEADY = 3.0


def difference_of_ratios(
    control: PairMoments,
    treatment: PairMoments,
    *,
    shared: CrossMoments | None = None,
    level: float = 0.95,
    null: float = 0.0,
) -> Estimate | NotEstimable:
    """The difference of sum(x)/sum(y), treatment minus control, by the delta method.

    Scale: x's unit per y's unit, for instance dollars per resolved conversation. Each pair belongs to one
    randomised unit (or its cluster). Per arm Var(R) = (s²x − 2R·sxy + R²·s²y) / (n·ȳ²), which is the
    variance of the mean of (x − R·y)/ȳ; the degrees of freedom are Welch–Satterthwaite's for those, so that
    y = 1 gives exactly the difference of means, and few clusters are not taken for many.

    Where pairs are those of clusters, and clusters have units in both arms, `shared` has the clusters that are in both,
    with x and y of control and then of the treatment: the covariance of the arms comes off their variances
    (`shared_clusters.variance_of_difference`). Without it the arms are taken as independent.

    Degenerate cases: not estimable with fewer than two units in an arm, a mean of y within three of its own
    standard errors of 0, x an exact multiple of y in both arms, or arms that differ alike in every cluster.
    Errors: UsageError for a level outside (0, 1), a null that is not finite, or `shared` without four columns.
    Source: Deng, Knoblich & Lu (2018), Applying the delta method in metric analytics, KDD, section 3.

    >>> control = PairMoments.of([1.0, 2.0, 3.0, 6.0], [1, 1, 2, 2])
    >>> treatment = PairMoments.of([2.0, 2.0, 5.0, 6.0], [1, 1, 2, 2])
    >>> e = difference_of_ratios(control, treatment)
    >>> round(e.value, 4), round(e.standard_error, 4)
    (0.5, 0.527)
    >>> both = CrossMoments.of([1.0, 2.0, 3.0, 6.0], [1, 1, 2, 2], [2.0, 2.0, 5.0, 6.0], [1, 1, 2, 2])
    >>> round(difference_of_ratios(control, treatment, shared=both).standard_error, 4)
    0.3043
    """
    level, null = inside("level", level), finite("null", null)
    short = short_arm(control.n, treatment.n)
    if short:
        return short
    unsteady = unsteady_denominator(control, treatment)
    if unsteady:
        return unsteady
    variance_c, variance_t = linear_variance(control), linear_variance(treatment)
    if variance_c + variance_t == 0.0:
        return NotEstimable("the ratio is the same for every unit of each arm, so it has no spread")
    variance, freedom = variance_of_difference(
        ArmVariance(variance_c, control.n, control.n - 1.0),
        ArmVariance(variance_t, treatment.n, treatment.n - 1.0),
        shared_variance(control, treatment, shared),
    )
    if variance == 0.0:
        return NotEstimable(ALIKE)
    return t_estimate(
        treatment.mean_x / treatment.mean_y - control.mean_x / control.mean_y,
        math.sqrt(variance),
        freedom,
        level=level,
        null=null,
        method="difference of ratios, delta method",
    )


def shared_variance(
    control: PairMoments, treatment: PairMoments, shared: CrossMoments | None
) -> SharedVariance | None:
    """What clusters in both arms give to the variances of two ratios; None where no cluster is in both.

    At least two clusters in each arm, and means of y other than 0.

    >>> arm = PairMoments.of([1.0, 3.0], [1.0, 1.0])
    >>> found = shared_variance(arm, arm, CrossMoments.of([1.0, 3.0], [1.0, 1.0], [1.0, 3.0], [1.0, 1.0]))
    >>> round(found.control, 6), round(found.covariance, 6)
    (1.0, 1.0)
    """
    if shared is None or not shared.n:
        return None
    return shared_spread(
        shared,
        (control.mean_x, control.mean_y),
        (treatment.mean_x, treatment.mean_y),
        ratio_form(control),
        ratio_form(treatment),
    ).along(np.ones(1))


def linear_variance(arm: PairMoments) -> float:
    """The delta-method variance of mean(x)/mean(y), on the square of the ratio's scale.

    At least two units and a mean of y other than 0. What is no larger than rounding counts as 0.
    Source: Deng, Knoblich & Lu (2018), section 3.

    >>> linear_variance(PairMoments.of([1.0, 2.0], [2.0, 4.0]))
    0.0
    """
    ratio = arm.mean_x / arm.mean_y
    parts = (arm.m2_x, -2.0 * ratio * arm.c_xy, ratio * ratio * arm.m2_y)
    residual = math.fsum(parts)
    scale = sum(map(abs, parts)) + arm.n * arm.mean_x * arm.mean_x * 2.0**-50
    if residual <= scale * 2.0**-46:
        return 0.0
    return residual / (arm.n - 1) / arm.n / (arm.mean_y * arm.mean_y)


def unsteady_denominator(control: PairMoments, treatment: PairMoments) -> NotEstimable | None:
    """Why a ratio cannot be linearised, if an arm's denominator is too near 0; None when both are steady.

    >>> unsteady_denominator(PairMoments.of([1, 2], [0, 0]), PairMoments.of([1, 2], [1, 1])).reason
    'the denominator of control adds up to 0'
    """
    for name, arm in (("control", control), ("treatment", treatment)):
        if arm.mean_y == 0.0:
            return NotEstimable(f"the denominator of {name} adds up to 0")
        error = math.sqrt(arm.m2_y / (arm.n - 1) / arm.n)
        if abs(arm.mean_y) < STEADY * error:
            return NotEstimable(
                f"the denominator of {name} is within {STEADY:g} standard errors of 0, too near to divide by"
            )
    return None
