"""Sizes for metrics that a judge scores: an instrument with errors of its own.

A judge who errs makes a difference look smaller (`judged_rates`, `judged_spread`): planning with the true
difference would promise too much. If the estimate is to be corrected by human labels, `labels_needed` says
how many.
"""

from __future__ import annotations

import math
from typing import SupportsIndex

from equipoise.errors import UsageError
from equipoise.stats.domain import counted, finite, inside, positive
from equipoise.stats.estimate import NotEstimable
from equipoise.stats.looks.sequential import information_for
from equipoise.stats.sizes.power import SampleSize, size_two_proportions

__all__ = ["judge_correlation", "judged_rates", "judged_spread", "labels_needed", "size_judged_proportions"]


def judged_rates(
    baseline: float, mde: float, sensitivity: float, specificity: float
) -> tuple[float, float] | NotEstimable:
    """The rate and the difference that the judge will show, for a true rate `baseline` and difference `mde`.

    Scale: rates. Of the true successes the judge passes a share `sensitivity`, of the failures it fails a
    share `specificity`, both in [0, 1] and alike in both arms: the rate becomes p·se + (1 − p)(1 − sp), and
    the difference shrinks to mde·(se + sp − 1).

    Degenerate cases: not estimable where se + sp is not above 1, since such a judge passes failures as
    readily as successes. Errors: UsageError outside the domain.
    Source: Rogan & Gladen (1978), American Journal of Epidemiology 107, 71; Bross (1954), Biometrics 10, 478.

    >>> [round(x, 4) for x in judged_rates(0.60, 0.05, 0.9, 0.8)]
    [0.62, 0.035]
    """
    p, delta = inside("baseline", baseline), finite("mde", mde)
    informed = _informed(sensitivity, specificity)
    if isinstance(informed, NotEstimable):
        return informed
    return p * sensitivity + (1.0 - p) * (1.0 - specificity), delta * informed


def size_judged_proportions(
    baseline: float,
    mde: float,
    sensitivity: float,
    specificity: float,
    *,
    alpha: float = 0.05,
    power: float = 0.8,
    ratio: float = 1.0,
    sides: int = 2,
) -> SampleSize | NotEstimable:
    """Units with which the *judge's* rates show a true difference `mde` with probability `power`.

    It is `size_two_proportions` of `judged_rates`. Scale, domain, degenerate cases and errors as there.
    What is tested is whether the judge's rates differ; if the judge leans towards one arm they do without
    any true difference, and no size repairs that.
    Source: Bross (1954); Fleiss, Levin & Paik (2003), chapter 17.

    >>> size_judged_proportions(0.60, 0.05, 0.9, 0.8).total, size_judged_proportions(0.60, 0.05, 1, 1).total
    (5922, 2942)
    """
    seen = judged_rates(baseline, mde, sensitivity, specificity)
    if isinstance(seen, NotEstimable):
        return seen
    inside("baseline + mde", baseline + mde)
    return size_two_proportions(*seen, alpha=alpha, power=power, ratio=ratio, sides=sides)


def judged_spread(spread: float, correlation: float) -> float:
    """The spread to plan with on the scale of the *true* score, when a judge's score stands in: spread / |ρ|.

    `spread` is the standard deviation of the true score between units and `correlation` that between the
    judge's score and the true one within an arm (not 0). A standardised difference shrinks by ρ, so units
    grow by 1/ρ². A pilot of judge scores already contains the judge's error: then its own spread, with an
    effect in the judge's points, needs no correction. Errors: UsageError for a spread not above 0 or a
    correlation of 0 or outside [−1, 1].
    Source: Spearman (1904), American Journal of Psychology 15, 72; Lord & Novick (1968), Statistical Theories of
    Mental Test Scores, chapter 3.

    >>> judged_spread(1.0, 0.8)
    1.25
    """
    rho = abs(finite("correlation", correlation))
    if not 0.0 < rho <= 1.0:
        raise UsageError(f"correlation must lie between -1 and 1 and not be 0, not {correlation:g}")
    return positive("spread", spread) / rho


def judge_correlation(rate: float, sensitivity: float, specificity: float) -> float:
    """The correlation between truth and verdict of a judge with this sensitivity and specificity.

    `rate` is the true rate of successes. (se + sp − 1)·sqrt(p(1 − p) / (p_j(1 − p_j))) with p_j the judge's
    rate; negative for a judge that is wrong more often than right. Errors: UsageError for a rate outside
    (0, 1), shares outside [0, 1], or a judge that always says the same, which correlates with nothing.
    Source: the phi coefficient, Yule (1912), JRSS 75, 579.

    >>> round(judge_correlation(0.6, 0.9, 0.8), 4)
    0.7065
    """
    p = inside("rate", rate)
    se, sp = _share("sensitivity", sensitivity), _share("specificity", specificity)
    passed = p * se + (1.0 - p) * (1.0 - sp)
    if not 0.0 < passed < 1.0:
        raise UsageError("the judge always says the same, so it correlates with nothing")
    return (se + sp - 1.0) * math.sqrt(p * (1.0 - p) / (passed * (1.0 - passed)))


def labels_needed(
    spread: float,
    mde: float,
    judged: SupportsIndex,
    correlation: float,
    *,
    alpha: float = 0.05,
    power: float = 0.8,
    sides: int = 2,
) -> int | NotEstimable:
    """Labels *per arm*, drawn at random from `judged` units per arm, for a corrected estimate that finds `mde`.

    Scale: `spread` (standard deviation of the true score between units; for a rate sqrt(p(1 − p))) and
    `mde` in the outcome's unit; `correlation` between judge and truth, in [−1, 1]. The corrected mean of an
    arm has the variance spread²·[(1 − ρ²)/labels + ρ²/judged], so a perfect judge needs no more than the
    two labels without which nothing is estimated, and a useless one as many as there would be without a
    judge. Two arms of equal size; the arm-wise coefficient is estimated, which costs about one label in
    thirty at thirty labels, and below that the answer is a lower bound.

    Degenerate cases: not estimable where `judged` units would not suffice even if all were labelled; the
    reason names the number. Errors: UsageError for a spread not above 0, no effect, fewer than two judged
    units, a correlation outside [−1, 1], alpha or power outside (0, 1) or a power not above alpha/sides.
    Source: Cochran (1977), Sampling Techniques, section 12.7 (regression in double sampling); Angelopoulos,
    Duchi & Zrnic (2023), PPI++, of which it is the planned variance.

    >>> labels_needed(0.49, 0.05, 5000, 0.7)
    903
    """
    sigma, n, rho = (
        positive("spread", spread),
        counted("judged", judged, at_least=2),
        finite("correlation", correlation),
    )
    if not -1.0 <= rho <= 1.0:
        raise UsageError(f"correlation must lie between -1 and 1, not {rho:g}")
    # The variance that each arm may have, over that of one unit.
    allowed = 1.0 / (2.0 * information_for(mde, alpha, power, sides) * sigma * sigma)
    if allowed < 1.0 / n:
        return NotEstimable(
            f"with every one of {n} judged units per arm labelled the effect would still be missed; "
            f"it needs {math.ceil(1.0 / allowed)} units per arm"
        )
    left = allowed - rho * rho / n
    return min(n, max(2, math.ceil((1.0 - rho * rho) / left - 1e-9))) if left > 0.0 else n


def _informed(sensitivity: float, specificity: float) -> float | NotEstimable:
    total = _share("sensitivity", sensitivity) + _share("specificity", specificity) - 1.0
    if total <= 1e-12:
        return NotEstimable(
            "a judge whose sensitivity and specificity sum to no more than 1 "
            "passes failures as readily as successes, so it shows no difference"
        )
    return total


def _share(name: str, value: float) -> float:
    share = finite(name, value)
    if not 0.0 <= share <= 1.0:
        raise UsageError(f"{name} must lie between 0 and 1, not {share:g}")
    return share
