"""Variance reduction: what was known of a unit before treatment explains part of its outcome.

The covariates x of both arms were measured before the treatment, so their means differ by chance alone; θ
times that difference can be taken off the effect without moving what is estimated. One θ serves both arms.
It is the one that makes the variance of the difference least,

    θ = (Σₐ Sxx / (n(n − 1)))⁻¹ · Σₐ Sxy / (n(n − 1)),      a = control, treatment,

which for equal arms is the pooled regression coefficient and for unequal ones is as efficient as a regression
in each arm. The gain is 1 − (adjusted variance / plain variance), near ρ², the squared correlation; it is
reported and never promised.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from equipoise.errors import UsageError
from equipoise.stats.comparison.means import difference_of_means, short_arm
from equipoise.stats.comparison.proportions import difference_of_proportions
from equipoise.stats.comparison.ratios import difference_of_ratios
from equipoise.stats.comparison.shared_clusters import SharedSpread, outcomes
from equipoise.stats.covariates.covariate_fit import (
    CovariateArm,
    fit_covariates,
    left_of_difference,
    mean_arm,
    ratio_arm,
    shared_with_covariates,
)
from equipoise.stats.cross_moments import CrossMoments
from equipoise.stats.domain import finite, inside
from equipoise.stats.estimate import Estimate, NotEstimable
from equipoise.stats.student import t_estimate

__all__ = [
    "Adjusted",
    "cuped_means",
    "cuped_proportions",
    "cuped_ratios",
    "unfit",
]

EVENTS = 10
"""A rate needs as many successes, and as many failures, in each arm before it is adjusted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Adjusted:
    """An effect after adjustment, the same effect before it, and what the adjustment did.

    `gain` is 1 − (adjusted SE / plain SE)², the share of variance taken away; a little below 0 where the
    covariates explain nothing. `coefficients` are θ, one per covariate, in outcome per unit of covariate, and
    0 for a covariate that does not vary. `balance_p` tests whether the covariates' means agree between the arms.
    """

    estimate: Estimate
    plain: Estimate
    gain: float
    coefficients: tuple[float, ...]
    balance_p: float


def cuped_means(
    control: CrossMoments, treatment: CrossMoments, *, level: float = 0.95, null: float = 0.0
) -> Adjusted | NotEstimable:
    """The difference of two means, treatment minus control, adjusted by pre-treatment covariates.

    Scale: the outcome's own. Column 0 is the outcome and each further column a covariate; one row per unit.
    The arms may differ in size and spread. The standard error counts that θ was estimated: residual spread
    with N − 2 − k degrees of freedom for k covariates, and Hotelling's T² of the covariates' imbalance over
    N − 2 on top, so that it is the regression's own for equal arms with equal spreads. Interval and p-value
    are Student's with Welch–Satterthwaite degrees of freedom less k.

    Collinear covariates share their coefficient; a constant one gets 0 and does not count.
    It would lie with a covariate that the treatment moved: where the covariates' means differ with a p-value
    below `covariate_fit.IMBALANCE` there is no estimate.
    Degenerate cases: not estimable with fewer than two units in an arm, no more units than columns plus one,
    a constant outcome, or where the covariates explain the outcome entirely.
    Errors: UsageError for fewer than one covariate or different columns in the arms, a level outside (0, 1) or
    a null that is not finite.
    Source: Deng, Xu, Kohavi & Walker (2013), WSDM, section 3.2; Lin (2013), Annals of Applied Statistics 7,
    295, section 4 and remark (iv) of corollary 1.1, for the coefficient.

    >>> control = CrossMoments.of([1.0, 2.0, 3.0, 4.0], [1.1, 1.9, 3.2, 3.8])
    >>> treatment = CrossMoments.of([2.0, 3.0, 4.0, 6.0], [0.9, 2.1, 2.9, 4.3])
    >>> a = cuped_means(control, treatment)
    >>> round(a.plain.value, 3), round(a.estimate.value, 3), round(a.gain, 2)
    (1.25, 1.194, 0.97)
    """
    level, null = inside("level", level), finite("null", null)
    refused = unfit(control, treatment, outcomes=1)
    if refused:
        return refused
    plain = difference_of_means(control.column(0), treatment.column(0), level=level, null=null)
    if isinstance(plain, NotEstimable):
        return plain
    return _difference(
        mean_arm(control), mean_arm(treatment), plain, "difference of means, adjusted by covariates (CUPED)"
    )


def cuped_proportions(
    control: CrossMoments, treatment: CrossMoments, *, level: float = 0.95, null: float = 0.0
) -> Adjusted | NotEstimable:
    """The difference of two rates, treatment minus control, adjusted by pre-treatment covariates.

    Scale: a difference of rates. Column 0 is the outcome, 0 or 1; the rest is as in `cuped_means`, and `plain`
    is the score method's. The adjusted interval is Student's, so rare outcomes are refused: each arm needs
    `EVENTS` successes and failures.

    Degenerate cases: as in `cuped_means`, and fewer events than that. Errors: as there, and UsageError where
    column 0 is not of zeros and ones.
    Source: Deng et al. (2013); Freedman (2008), Annals of Applied Statistics 2, 176, for linear adjustment of
    rates.

    >>> x = [0.0, 1.0, 2.0, 3.0] * 25
    >>> control = CrossMoments.of([0.0, 0.0, 0.0, 1.0] * 25, x)
    >>> treatment = CrossMoments.of([0.0, 0.0, 1.0, 1.0] * 25, x)
    >>> a = cuped_proportions(control, treatment)
    >>> round(a.estimate.value, 2), round(a.gain, 2)
    (0.25, 0.7)
    """
    level = inside("level", level)
    refused = unfit(control, treatment, outcomes=1)
    if refused:
        return refused
    counts = []
    for arm, moments in (("control", control), ("treatment", treatment)):
        rate, n = moments.means[0], moments.n
        successes = round(rate * n)
        if (
            abs(rate * n - successes) > 1e-6
            or abs(moments.products[0][0] - n * rate * (1.0 - rate)) > 1e-6 * n
        ):
            raise UsageError(f"the outcome of {arm} must be 0 or 1 for every unit")
        if min(successes, n - successes) < EVENTS:
            return NotEstimable(
                f"{arm} has {successes} successes and {n - successes} failures, "
                f"and adjusting a rate needs {EVENTS} of either"
            )
        counts += [successes, n]
    plain = difference_of_proportions(*counts, level=level, null=null)
    if isinstance(plain, NotEstimable):
        return plain
    return _difference(
        mean_arm(control),
        mean_arm(treatment),
        plain,
        "difference of proportions, adjusted by covariates (CUPED)",
    )


def cuped_ratios(
    control: CrossMoments,
    treatment: CrossMoments,
    *,
    shared: CrossMoments | None = None,
    level: float = 0.95,
    null: float = 0.0,
) -> Adjusted | NotEstimable:
    """The difference of sum(x)/sum(y), treatment minus control, adjusted by pre-treatment covariates.

    Scale: x's unit per y's unit. Column 0 is x, column 1 is y, each further column a covariate of the randomised
    unit (or its cluster). The adjustment acts on (x − R·y)/ȳ, the linear form whose variance is the ratio's. For
    a ratio in the pre-period give its two sums as two covariates: they span its own linear form.
    Where rows are clusters with units in both arms, `shared` has those that are in both, with control's columns and then
    the treatment's: the covariances of the arms come off, and θ is the one that makes what is left least.

    Degenerate cases and errors: those of `cuped_means` and `difference_of_ratios` together.
    Source: Deng et al. (2013), appendix B, for ratios; Deng, Knoblich & Lu (2018), section 3.

    >>> control = CrossMoments.of([1.0, 2.0, 3.0, 6.0], [1, 1, 2, 2], [0.9, 2.2, 1.4, 2.8])
    >>> treatment = CrossMoments.of([2.0, 2.0, 5.0, 6.0], [1, 1, 2, 2], [1.8, 1.9, 2.4, 2.9])
    >>> a = cuped_ratios(control, treatment)
    >>> round(a.plain.value, 3), round(a.estimate.value, 3), round(a.gain, 2)
    (0.5, 0.075, 0.83)
    """
    level, null = inside("level", level), finite("null", null)
    refused = unfit(control, treatment, outcomes=2)
    if refused:
        return refused
    plain = difference_of_ratios(
        control.pair(0, 1), treatment.pair(0, 1), shared=outcomes(shared), level=level, null=null
    )
    if isinstance(plain, NotEstimable):
        return plain
    return _difference(
        ratio_arm(control),
        ratio_arm(treatment),
        plain,
        "difference of ratios, delta method, adjusted by covariates (CUPED)",
        shared_with_covariates(control, treatment, shared),
    )


def _difference(
    control: CovariateArm,
    treatment: CovariateArm,
    plain: Estimate,
    method: str,
    shared: SharedSpread | None = None,
) -> Adjusted | NotEstimable:
    fit = fit_covariates(control, treatment, shared)
    if isinstance(fit, NotEstimable):
        return fit
    left = left_of_difference(control, treatment, fit, shared)
    if isinstance(left, NotEstimable):
        return left
    variance, freedom = left
    estimate = t_estimate(
        treatment.value - control.value - float(fit.theta @ fit.shift),
        math.sqrt(variance * fit.inflation),
        freedom,
        level=plain.level,
        null=plain.null,
        method=method,
    )
    # Beside the plain variance of the same arms, not that of another method's standard error.
    apart = control.variance + treatment.variance
    if shared is not None:
        apart -= 2.0 * float(shared.between[0, 0])
    gain = 1.0 - estimate.standard_error**2 / apart
    return Adjusted(
        estimate=estimate,
        plain=plain,
        gain=gain,
        coefficients=tuple(fit.theta.tolist()),
        balance_p=fit.balance_p,
    )


def unfit(control: CrossMoments, treatment: CrossMoments, *, outcomes: int) -> NotEstimable | None:
    """Why two arms cannot be adjusted, if one has too few units; columns that do not fit raise UsageError.

    >>> unfit(CrossMoments.zero(2), CrossMoments.zero(2), outcomes=1).reason
    'control has 0 units, and a spread needs at least two'
    """
    widths: Sequence[int] = (len(control.means), len(treatment.means))
    if widths[0] != widths[1]:
        raise UsageError(f"both arms need the same columns, not {widths[0]} and {widths[1]}")
    if widths[0] <= outcomes:
        raise UsageError(f"at least one covariate is needed after the first {outcomes} columns")
    return short_arm(control.n, treatment.n)
