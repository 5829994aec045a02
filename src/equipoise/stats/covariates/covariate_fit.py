"""One set of regression coefficients for two arms, from moments alone."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import fdtrc

from equipoise.stats.comparison.shared_clusters import (
    ALIKE,
    NOTHING,
    ArmVariance,
    SharedSpread,
    shared_spread,
    variance_of_difference,
)
from equipoise.stats.cross_moments import CrossMoments
from equipoise.stats.estimate import NotEstimable

__all__ = [
    "IMBALANCE",
    "CovariateArm",
    "CovariateFit",
    "fit_covariates",
    "left_of_difference",
    "mean_arm",
    "ratio_arm",
    "shared_with_covariates",
    "unexplained",
]

IMBALANCE = 1e-6
"""Covariates that differ between the arms with a p-value below this were not settled before treatment."""

_ALIKE = 1e-10
Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class CovariateArm:
    """One arm's outcome, with the variances and covariances of its own mean and of the covariates' means.

    `value` is a mean or a ratio, on its own scale; `covariances` has one entry per covariate and
    `covariate_variances` one row per covariate.
    """

    n: int
    value: float
    variance: float
    covariances: Floats
    covariate_means: Floats
    covariate_variances: Floats


@dataclass(frozen=True, slots=True)
class CovariateFit:
    """The pooled coefficients and what estimating them costs.

    `theta` is in outcome per unit of covariate; `rank` the number of covariates that say something of their own;
    `shift` the covariates' means, treatment minus control; `inflation` the factor on the residual variance;
    `balance_p` the p-value of Hotelling's test that `shift` is 0.
    """

    theta: Floats
    rank: int
    shift: Floats
    inflation: float
    balance_p: float


def mean_arm(arm: CrossMoments) -> CovariateArm:
    """A mean (column 0) beside its covariates (the rest), from at least two units. Source: Deng et al. (2013).

    >>> mean_arm(CrossMoments.of([1.0, 3.0], [5.0, 7.0])).covariances
    array([1.])
    """
    products = np.array(arm.products) / (arm.n * (arm.n - 1.0))
    return CovariateArm(
        arm.n, arm.means[0], float(products[0, 0]), products[0, 1:], np.array(arm.means[1:]), products[1:, 1:]
    )


def ratio_arm(arm: CrossMoments) -> CovariateArm:
    """A ratio of sums (columns 0 and 1) beside its covariates (the rest), by its linear form (x − R·y)/ȳ.

    At least two units and a mean of column 1 other than 0. Source: Deng, Knoblich & Lu (2018), KDD, section 3.

    >>> arm = ratio_arm(CrossMoments.of([1.0, 3.0], [1.0, 1.0], [5.0, 7.0]))
    >>> arm.value, arm.covariances
    (2.0, array([1.]))
    """
    ratio, form = arm.means[0] / arm.means[1], _form(arm)
    products = form @ np.array(arm.products) @ form.T / (arm.n * (arm.n - 1.0))
    return CovariateArm(
        arm.n, ratio, float(products[0, 0]), products[0, 1:], np.array(arm.means[2:]), products[1:, 1:]
    )


def _form(arm: CrossMoments) -> Floats:
    """Rows: the linear form (x − R·y)/ȳ, then the covariates as they are."""
    k = len(arm.means)
    ratio = arm.means[0] / arm.means[1]
    form = np.zeros((k - 1, k))
    form[0, 0], form[0, 1] = 1.0 / arm.means[1], -ratio / arm.means[1]
    form[1:, 2:] = np.eye(k - 2)
    return form


def shared_with_covariates(
    control: CrossMoments, treatment: CrossMoments, shared: CrossMoments | None
) -> SharedSpread | None:
    """What clusters in both arms give to two ratios and to the means of their covariates; None where none is in both.

    Each arm has at least two clusters and a mean of column 1 other than 0. `shared` has control's columns, then the
    treatment's. Errors: UsageError where it has not twice as many as an arm.

    >>> arm, both = CrossMoments.of([1.0, 3.0], [1.0, 1.0], [5.0, 7.0]), [[1.0, 3.0], [1.0, 1.0], [5.0, 7.0]]
    >>> shared_with_covariates(arm, arm, CrossMoments.of(*both, *both)).between.round(6)
    array([[1., 1.],
           [1., 1.]])
    """
    if shared is None or not shared.n:
        return None
    rows = [_form(arm) / np.sqrt(arm.n * (arm.n - 1.0)) for arm in (control, treatment)]
    return shared_spread(shared, control.means, treatment.means, *rows)


def fit_covariates(
    control: CovariateArm, treatment: CovariateArm, shared: SharedSpread | None = None
) -> CovariateFit | NotEstimable:
    """The coefficients that make the variance of the difference least, over both arms.

    Of clusters in both arms (`shared`) the covariance of the arms comes off, of outcomes and covariates alike, and such
    a cluster counts once. Collinear covariates share their coefficient (the smallest that does), one that does not vary
    gets 0; neither counts in the rank. Not estimable with too few units, or where the covariates differ between the arms
    with a p-value below `IMBALANCE`.
    Source: Lin (2013), Annals of Applied Statistics 7, 295, for the weights; Hotelling (1931) for the balance.

    >>> c, t = (mean_arm(CrossMoments.of(y, [1.0, 2.0, 3.0])) for y in ([1.0, 2.0, 3.5], [2.0, 3.0, 4.5]))
    >>> fit_covariates(c, t).theta
    array([1.25])
    """
    total = control.n + treatment.n
    spread = control.covariate_variances + treatment.covariate_variances
    together = control.covariances + treatment.covariances
    if shared is not None:
        total -= shared.clusters
        between, apart = shared.between + shared.between.T, np.diag(spread)
        spread, together = spread - between[1:, 1:], together - between[0, 1:]
        # What differs alike in every cluster does not vary, up to rounding.
        np.fill_diagonal(spread, np.where(np.diag(spread) > NOTHING * apart, np.diag(spread), 0.0))
    shift = treatment.covariate_means - control.covariate_means
    scale = np.sqrt(np.diag(spread))
    # What is left of a constant column is rounding.
    noise = np.abs(control.covariate_means) + np.abs(treatment.covariate_means)
    varies = scale > noise * 1e-13
    safe = np.where(varies, scale, 1.0)
    correlations = np.where(np.outer(varies, varies), spread / np.outer(safe, safe), 0.0)
    values, vectors = np.linalg.eigh(correlations)
    kept = values > _ALIKE * len(values)
    rank = int(kept.sum())
    half = vectors[:, kept] / np.sqrt(values[kept])
    inverse = (half @ half.T) / np.outer(safe, safe)
    theta = inverse @ together
    free = total - 2 - rank
    if free < 1:
        return NotEstimable(
            f"{total} units are too few for {rank} covariate{'' if rank == 1 else 's'} and two arms"
        )
    hotelling = float(shift @ inverse @ shift)
    balance_p = 1.0
    if rank:
        balance_p = float(fdtrc(rank, free + 1.0, hotelling * (free + 1.0) / (rank * (total - 2.0))))
    if balance_p < IMBALANCE:
        return NotEstimable(
            f"the covariates differ between the arms (p = {balance_p:.1e}), so they were not settled before "
            "treatment, or the units were not randomised"
        )
    inflation = (total - 2.0) / free * (1.0 + hotelling / (total - 2.0))
    return CovariateFit(theta, rank, shift, inflation, balance_p)


def unexplained(arm: CovariateArm, theta: Floats) -> float:
    """The variance of the arm's value less theta times its covariates; what is no larger than rounding counts as 0.

    >>> arm = mean_arm(CrossMoments.of([2.0, 4.0, 6.0], [1.0, 2.0, 3.0]))
    >>> unexplained(arm, np.array([2.0]))
    0.0
    """
    left = (
        arm.variance - 2.0 * float(theta @ arm.covariances) + float(theta @ arm.covariate_variances @ theta)
    )
    return left if left > arm.variance * 1e-12 else 0.0


def left_of_difference(
    control: CovariateArm, treatment: CovariateArm, fit: CovariateFit, shared: SharedSpread | None
) -> tuple[float, float] | NotEstimable:
    """What the covariates leave of the variance of treatment minus control, and its degrees of freedom, one at least.

    `shared` is what clusters in both arms give to the values and the covariates. Not estimable where nothing is left.

    >>> c, t = (mean_arm(CrossMoments.of(y, [1.0, 2.0, 3.0])) for y in ([1.0, 2.0, 3.5], [2.0, 3.0, 4.0]))
    >>> variance, freedom = left_of_difference(c, t, fit_covariates(c, t), None)
    >>> round(variance, 4), round(freedom, 4)
    (0.0174, 2.4483)
    """
    left_c, left_t = unexplained(control, fit.theta), unexplained(treatment, fit.theta)
    if left_c + left_t == 0.0:
        return NotEstimable("the covariates explain the outcome entirely, so no spread is left")
    variance, freedom = variance_of_difference(
        ArmVariance(left_c, control.n, control.n - 1.0),
        ArmVariance(left_t, treatment.n, treatment.n - 1.0),
        None if shared is None else shared.along(np.concatenate(([1.0], -fit.theta))),
    )
    if variance == 0.0:
        return NotEstimable(ALIKE)
    return variance, max(1.0, freedom - fit.rank)
