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
from equipoise.stats.comparison.relative import relative_difference_of_means, relative_difference_of_ratios
from equipoise.stats.covariates.covariate_fit import (
    CovariateArm,
    fit_covariates,
    mean_arm,
    ratio_arm,
    unexplained,
)
from equipoise.stats.covariates.cross_moments import CrossMoments
from equipoise.stats.domain import finite, inside
from equipoise.stats.estimate import Estimate, NotEstimable
from equipoise.stats.student import satterthwaite, t_estimate

__all__ = [
    "Adjusted",
    "cuped_means",
    "cuped_means_relative",
    "cuped_proportions",
    "cuped_ratios",
    "cuped_ratios_relative",
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
    refused = _refused(control, treatment, outcomes=1)
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
    refused = _refused(control, treatment, outcomes=1)
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
    control: CrossMoments, treatment: CrossMoments, *, level: float = 0.95, null: float = 0.0
) -> Adjusted | NotEstimable:
    """The difference of sum(x)/sum(y), treatment minus control, adjusted by pre-treatment covariates.

    Scale: x's unit per y's unit. Column 0 is x, column 1 is y, each further column a covariate of the randomised
    unit (or its cluster). The adjustment acts on (x − R·y)/ȳ, the linear form whose variance is the ratio's. For
    a ratio in the pre-period give its two sums as two covariates: they span its own linear form.

    Degenerate cases and errors: those of `cuped_means` and `difference_of_ratios` together.
    Source: Deng et al. (2013), appendix B, for ratios; Deng, Knoblich & Lu (2018), section 3.

    >>> control = CrossMoments.of([1.0, 2.0, 3.0, 6.0], [1, 1, 2, 2], [0.9, 2.2, 1.4, 2.8])
    >>> treatment = CrossMoments.of([2.0, 2.0, 5.0, 6.0], [1, 1, 2, 2], [1.8, 1.9, 2.4, 2.9])
    >>> a = cuped_ratios(control, treatment)
    >>> round(a.plain.value, 3), round(a.estimate.value, 3), round(a.gain, 2)
    (0.5, 0.075, 0.83)
    """
    level, null = inside("level", level), finite("null", null)
    refused = _refused(control, treatment, outcomes=2)
    if refused:
        return refused
    plain = difference_of_ratios(control.pair(0, 1), treatment.pair(0, 1), level=level, null=null)
    if isinstance(plain, NotEstimable):
        return plain
    return _difference(
        ratio_arm(control),
        ratio_arm(treatment),
        plain,
        "difference of ratios, delta method, adjusted by covariates (CUPED)",
    )


def cuped_means_relative(
    control: CrossMoments, treatment: CrossMoments, *, level: float = 0.95, null: float = 0.0
) -> Adjusted | NotEstimable:
    """The relative difference of two means, (treatment − control) / control, adjusted by covariates.

    Scale: a fraction, so 0.1 is ten per cent more than control. Columns are as in `cuped_means`. Both arms'
    means are brought to the covariates' mean over both arms and then compared by Fieller's method, which counts
    that they share it. Zeros and ones make it the relative difference of rates.
    The 95 % interval covers 95 ± 0.5 % from 200 units per arm for arms of one size, normal or log-normal (log-sd 1
    and 1.5) and correlations from 0 to 0.9. Where one arm is four times the other and the outcome log-normal it
    covers 94 % with 200 units in the smaller arm and is within half a point from 2,000.

    Degenerate cases: those of `cuped_means` and of `relative_difference_of_means` together. Errors: as there.
    Source: Deng et al. (2013); Fieller (1954), JRSS B 16, 175, with covariance.

    >>> x = [1.0, 2.0, 3.0, 4.0] * 25
    >>> control = CrossMoments.of([10.0, 12.0, 13.0, 15.0] * 25, x)
    >>> treatment = CrossMoments.of([11.0, 13.0, 15.0, 16.0] * 25, x)
    >>> a = cuped_means_relative(control, treatment)
    >>> round(a.estimate.value, 3), round(a.estimate.low, 3), round(a.estimate.high, 3)
    (0.1, 0.094, 0.106)
    """
    refused = _refused(control, treatment, outcomes=1)
    if refused:
        return refused
    plain = relative_difference_of_means(control.column(0), treatment.column(0), level=level, null=null)
    if isinstance(plain, NotEstimable):
        return plain
    return _relative(
        mean_arm(control),
        mean_arm(treatment),
        plain,
        "relative difference of means, Fieller, adjusted by covariates (CUPED)",
    )


def cuped_ratios_relative(
    control: CrossMoments, treatment: CrossMoments, *, level: float = 0.95, null: float = 0.0
) -> Adjusted | NotEstimable:
    """The relative difference of sum(x)/sum(y), adjusted by covariates.

    Scale: a fraction. Columns are as in `cuped_ratios`, the method as in `cuped_means_relative`, with their
    degenerate cases, errors and sources.

    >>> control = CrossMoments.of([10.0, 12.0, 20.0, 18.0] * 25, [1, 1, 2, 2] * 25, [1.0, 2.0, 1.0, 0.0] * 25)
    >>> treatment = CrossMoments.of([11.0, 13.0, 23.0, 19.0] * 25, [1, 1, 2, 2] * 25, [1.0, 2.0, 2.0, 0.0] * 25)
    >>> round(cuped_ratios_relative(control, treatment).plain.value, 3)
    0.1
    """
    refused = _refused(control, treatment, outcomes=2)
    if refused:
        return refused
    plain = relative_difference_of_ratios(control.pair(0, 1), treatment.pair(0, 1), level=level, null=null)
    if isinstance(plain, NotEstimable):
        return plain
    return _relative(
        ratio_arm(control),
        ratio_arm(treatment),
        plain,
        "relative difference of ratios, delta method and Fieller, adjusted by covariates (CUPED)",
    )


def _difference(
    control: CovariateArm, treatment: CovariateArm, plain: Estimate, method: str
) -> Adjusted | NotEstimable:
    fit = fit_covariates(control, treatment)
    if isinstance(fit, NotEstimable):
        return fit
    left_c, left_t = unexplained(control, fit.theta), unexplained(treatment, fit.theta)
    if left_c + left_t == 0.0:
        return NotEstimable("the covariates explain the outcome entirely, so no spread is left")
    estimate = t_estimate(
        treatment.value - control.value - float(fit.theta @ fit.shift),
        math.sqrt((left_c + left_t) * fit.inflation),
        max(1.0, satterthwaite((left_c, control.n), (left_t, treatment.n)) - fit.rank),
        level=plain.level,
        null=plain.null,
        method=method,
    )
    # Beside the plain variance of the same arms, not that of another method's standard error.
    gain = 1.0 - estimate.standard_error**2 / (control.variance + treatment.variance)
    return Adjusted(
        estimate=estimate,
        plain=plain,
        gain=gain,
        coefficients=tuple(fit.theta.tolist()),
        balance_p=fit.balance_p,
    )


def _relative(
    control: CovariateArm, treatment: CovariateArm, plain: Estimate, method: str
) -> Adjusted | NotEstimable:
    fit = fit_covariates(control, treatment)
    if isinstance(fit, NotEstimable):
        return fit
    theta, level, null = fit.theta, plain.level, plain.null
    left_c, left_t = unexplained(control, theta), unexplained(treatment, theta)
    if left_c + left_t == 0.0:
        return NotEstimable("the covariates explain the outcome entirely, so no spread is left")
    share_c, share_t = (a.n / (control.n + treatment.n) for a in (control, treatment))
    moved = float(theta @ fit.shift)
    c, t = control.value + share_t * moved, treatment.value - share_c * moved
    # Each arm's part of the variance of u·c + v·t, as a quadratic in what its own outcome and covariates weigh.
    together = [
        (a.variance, float(theta @ a.covariances), float(theta @ a.covariate_variances @ theta))
        for a in (control, treatment)
    ]
    (yy_c, xy_c, xx_c), (yy_t, xy_t, xx_t) = together
    extra = fit.inflation
    var_c = extra * (yy_c - 2.0 * share_t * xy_c + share_t**2 * (xx_c + xx_t))
    var_t = extra * (yy_t - 2.0 * share_c * xy_t + share_c**2 * (xx_c + xx_t))
    both = extra * (share_c * xy_c + share_t * xy_t - share_c * share_t * (xx_c + xx_t))
    df = max(1.0, satterthwaite((left_c, control.n), (left_t, treatment.n)) - fit.rank)
    if c <= 0.0:
        return NotEstimable(
            "the control's adjusted value is not above 0, so no change can be a fraction of it"
        )
    ratio = t / c
    error2 = (var_t - 2.0 * ratio * both + ratio**2 * var_c) / (c * c)
    if error2 <= 0.0:
        return NotEstimable("the adjusted relative effect has no spread")
    flat = t_estimate(ratio - 1.0, math.sqrt(error2), df, level=level, null=null, method=method)
    q2 = ((flat.high - flat.value) / flat.standard_error) ** 2
    # The roots in R = 1 + ρ of (t − R·c)² = q²(var_t − 2R·both + R²·var_c).
    lead, middle, last = c * c - q2 * var_c, t * c - q2 * both, t * t - q2 * var_t
    inner = middle * middle - lead * last
    if lead <= 0.0 or inner < 0.0:
        return NotEstimable(
            "the control's adjusted value is not clearly above 0, "
            f"so the relative effect has no limits at level {level:g}"
        )
    tested = 1.0 + null
    tested_error = math.sqrt(var_t - 2.0 * tested * both + tested**2 * var_c)
    statistic = (t - tested * c) / tested_error
    root = math.sqrt(inner)
    estimate = Estimate(
        value=ratio - 1.0,
        standard_error=flat.standard_error,
        low=(middle - root) / lead - 1.0,
        high=(middle + root) / lead - 1.0,
        level=level,
        method=method,
        null=null,
        statistic=statistic,
        p_value=t_estimate(statistic, 1.0, df, level=level, null=0.0, method=method).p_value,
        degrees_of_freedom=df,
    )
    return Adjusted(
        estimate=estimate,
        plain=plain,
        gain=1.0 - (estimate.standard_error / plain.standard_error) ** 2,
        coefficients=tuple(theta.tolist()),
        balance_p=fit.balance_p,
    )


def _refused(control: CrossMoments, treatment: CrossMoments, *, outcomes: int) -> NotEstimable | None:
    widths: Sequence[int] = (len(control.means), len(treatment.means))
    if widths[0] != widths[1]:
        raise UsageError(f"both arms need the same columns, not {widths[0]} and {widths[1]}")
    if widths[0] <= outcomes:
        raise UsageError(f"at least one covariate is needed after the first {outcomes} columns")
    return short_arm(control.n, treatment.n)
