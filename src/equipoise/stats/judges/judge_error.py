"""A judge that errs at known rates: what share of answers is good, if it says good of so many?"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import SupportsIndex

from equipoise.errors import UsageError
from equipoise.stats.comparison.proportions import wilson_interval
from equipoise.stats.domain import counted, inside
from equipoise.stats.estimate import Estimate, NotEstimable
from equipoise.stats.normal import critical

__all__ = ["JudgeErrors", "corrected_rate", "sensitivity", "specificity"]

STEADY = 3.0
"""Sensitivity + specificity − 1 must be so many standard errors above 0 before anything is divided by it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class JudgeErrors:
    """Counts of labelled cases: good ones that the judge passed or failed, bad ones that it failed or passed.

    They add up with `+`. Errors: UsageError for counts that are negative or not whole.

    >>> JudgeErrors(good_passed=45, good_failed=5, bad_failed=40, bad_passed=10).good
    50
    """

    good_passed: int
    good_failed: int
    bad_failed: int
    bad_passed: int

    def __post_init__(self) -> None:
        for name in ("good_passed", "good_failed", "bad_failed", "bad_passed"):
            counted(name, getattr(self, name))

    def __add__(self, other: JudgeErrors) -> JudgeErrors:
        if not isinstance(other, JudgeErrors):
            return NotImplemented
        return JudgeErrors(
            good_passed=self.good_passed + other.good_passed,
            good_failed=self.good_failed + other.good_failed,
            bad_failed=self.bad_failed + other.bad_failed,
            bad_passed=self.bad_passed + other.bad_passed,
        )

    @property
    def good(self) -> int:
        """How many labelled cases are good."""
        return self.good_passed + self.good_failed

    @property
    def bad(self) -> int:
        """How many labelled cases are bad."""
        return self.bad_failed + self.bad_passed


def sensitivity(errors: JudgeErrors, *, level: float = 0.95) -> Estimate | NotEstimable:
    """The share of good cases that the judge passes, with its Wilson interval.

    Scale: a share from 0 to 1. Degenerate cases: without a good case it is not estimable.
    Errors: UsageError for a level outside (0, 1). Source: Wilson (1927), JASA 22, 209.

    >>> round(sensitivity(JudgeErrors(good_passed=45, good_failed=5, bad_failed=40, bad_passed=10)).value, 2)
    0.9
    """
    if errors.good == 0:
        return NotEstimable("no labelled case is good, so the judge's sensitivity is unknown")
    return wilson_interval(errors.good_passed, errors.good, level)


def specificity(errors: JudgeErrors, *, level: float = 0.95) -> Estimate | NotEstimable:
    """The share of bad cases that the judge fails, with its Wilson interval.

    Scale: a share from 0 to 1. Degenerate cases: without a bad case it is not estimable.
    Errors: UsageError for a level outside (0, 1). Source: Wilson (1927), JASA 22, 209.

    >>> round(specificity(JudgeErrors(good_passed=45, good_failed=5, bad_failed=40, bad_passed=10)).value, 2)
    0.8
    """
    if errors.bad == 0:
        return NotEstimable("no labelled case is bad, so the judge's specificity is unknown")
    return wilson_interval(errors.bad_failed, errors.bad, level)


def corrected_rate(
    passed: SupportsIndex, judged: SupportsIndex, errors: JudgeErrors, *, level: float = 0.95
) -> Estimate | NotEstimable:
    """The share of good answers behind a judge's pass rate, by Rogan and Gladen's correction.

    π = (r + Sp − 1) / (Se + Sp − 1), with r the pass rate among `judged` cases, which are not those that were
    labelled; Se and Sp come from `errors`. Scale: a share, set to 0 or 1 where the formula leaves [0, 1].
    Interval: all π which a test of r = π·Se + (1 − π)(1 − Sp) keeps, the variances of all three added
    (Fieller's method), each rate with one success and one failure added, so that a judge seen to make no
    mistake is not taken for one that makes none. `standard_error` is the delta method's, from the same rates.
    There is no test, so `p_value` is None.

    It trusts that the judge errs as often on the judged cases as on the labelled ones. That is a strong
    claim where the labelled cases were chosen (hard ones, or another product's): the answer is then biased
    and no interval shows it. Where labels are a random sample of the judged cases, take
    `prediction_powered.corrected_proportion`, which does not need the claim.

    Degenerate cases: not estimable without judged cases, or without labelled cases of both kinds; where
    Se + Sp is at most 1, or within three of its standard errors (or z, if more), since such a judge may be
    guessing; or where no share in [0, 1] agrees with the pass rate at
    `level` (near 0 and 1 luck alone does that in one sample of forty). Errors: UsageError for more passed than
    judged, counts that are not whole, or a level outside (0, 1).
    Source: Rogan & Gladen (1978), American Journal of Epidemiology 107, 71; Fieller (1954), JRSS B
    16, 175; Lang & Reiczigel (2014), Preventive Veterinary Medicine 113, 13, for the added counts.

    >>> errors = JudgeErrors(good_passed=45, good_failed=5, bad_failed=40, bad_passed=10)
    >>> e = corrected_rate(3100, 5000, errors)
    >>> round(e.value, 4), round(e.low, 3), round(e.high, 3)
    (0.6, 0.5, 0.712)
    """
    level = inside("level", level)
    x, n = counted("passed", passed), counted("judged", judged)
    if x > n:
        raise UsageError(f"the passed cannot exceed the judged, but {x} is more than {n}")
    if n == 0:
        return NotEstimable("there are no judged cases")
    for found in (sensitivity(errors), specificity(errors)):
        if isinstance(found, NotEstimable):
            return found
    plain_se, plain_sp = errors.good_passed / errors.good, errors.bad_failed / errors.bad
    if plain_se + plain_sp <= 1.0:
        return NotEstimable(
            f"sensitivity {plain_se:.3g} and specificity {plain_sp:.3g} add up to no more than 1: "
            "the judge tells nothing, or the reverse of what it says"
        )
    se, var_se = _softened(errors.good_passed, errors.good)
    sp, var_sp = _softened(errors.bad_failed, errors.bad)
    rate, var_rate = _softened(x, n)
    z = critical((1.0 - level) / 2.0)
    gain = se + sp - 1.0
    if gain <= max(z, STEADY) * math.sqrt(var_se + var_sp):
        return NotEstimable(
            f"sensitivity {plain_se:.3g} and specificity {plain_sp:.3g} are not clearly better than guessing "
            f"with {errors.good} good and {errors.bad} bad labelled cases"
        )
    lead = gain * gain - z * z * (var_se + var_sp)
    excess = rate + sp - 1.0
    middle = excess * gain - z * z * var_sp
    root = math.sqrt(max(0.0, middle**2 - lead * (excess**2 - z * z * (var_rate + var_sp))))
    low, high = (middle - root) / lead, (middle + root) / lead
    if high < 0.0 or low > 1.0:
        return NotEstimable(
            f"the judge passes {x / n:.3g} of the judged cases, which no share of good ones explains: "
            "it seems to err at other rates than on the labelled cases"
        )
    value = min(1.0, max(0.0, (x / n + plain_sp - 1.0) / (plain_se + plain_sp - 1.0)))
    variance = (var_rate + value**2 * var_se + (1.0 - value) ** 2 * var_sp) / gain**2
    return Estimate(
        value=value,
        standard_error=math.sqrt(variance),
        low=min(max(0.0, low), value),
        high=max(min(1.0, high), value),
        level=level,
        method="corrected rate, Rogan-Gladen with Fieller's interval",
    )


def _softened(x: int, n: int) -> tuple[float, float]:
    """A rate with one success and one failure added, and its variance."""
    p = (x + 1.0) / (n + 2.0)
    return p, p * (1.0 - p) / (n + 2.0)
