"""Margins: not worse than allowed, or as good as equal. Three answers, and "not shown" is not "no harm"."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from equipoise.errors import UsageError
from equipoise.stats.domain import positive
from equipoise.stats.estimate import Estimate

__all__ = ["Margin", "equivalence", "noninferiority"]

Answer = Literal["held", "breached", "not shown"]


@dataclass(frozen=True, slots=True)
class Margin:
    """The answer to a margin, the limits it was held against, and the estimate that answered.

    `low` and `high` are on the estimate's scale and infinite where that side is not limited. `alpha` is the
    error of each one-sided test.
    """

    answer: Answer
    low: float
    high: float
    alpha: float
    estimate: Estimate


def noninferiority(
    found: Estimate, margin: float, *, better: Literal["higher", "lower"] = "higher"
) -> Margin:
    """Whether an effect (treatment minus control) is not worse than `margin` in the bad direction.

    Scale: the estimate's own; `margin` is greater than 0 and counts towards worse whichever `better` is. Held: the
    whole interval is on the good side of the margin. Breached: the whole interval is beyond it. Otherwise not
    shown. Either is a one-sided test of error (1 − level)/2, so an interval at 0.95 tests at 0.025. It takes any
    `Estimate`, of whichever method, and is as right as its interval.
    Degenerate cases: a limit that is exactly the margin is not shown. Errors: UsageError for a margin not above 0
    or another direction. Source: ICH E9 (1998), section 3.3.2; Wellek (2010), chapter 2.

    >>> e = Estimate(value=-0.01, standard_error=0.01, low=-0.03, high=0.01, level=0.95, method="a difference")
    >>> noninferiority(e, 0.05).answer, noninferiority(e, 0.02).answer, noninferiority(e, 0.02, better="lower").answer
    ('held', 'not shown', 'held')
    """
    margin = positive("margin", margin)
    if better not in ("higher", "lower"):
        raise UsageError(f"better must be 'higher' or 'lower', not {better!r}")
    infinite = float("inf")
    low, high = (-margin, infinite) if better == "higher" else (-infinite, margin)
    return _answered(found, low, high)


def equivalence(found: Estimate, margin: float) -> Margin:
    """Whether an effect lies within ± `margin`, by two one-sided tests.

    Scale: the estimate's own. Held: the whole interval is inside; breached: wholly outside, on one side;
    otherwise not shown. Each test has the error (1 − level)/2: for the usual α = 0.05 give an estimate at level
    0.90. A difference that is not significant is not thereby equivalent.
    Degenerate cases: a limit that is exactly a margin is not shown. Errors: UsageError for a margin not above 0.
    Source: Schuirmann (1987), Journal of Pharmacokinetics and Biopharmaceutics 15, 657.

    >>> e = Estimate(value=-0.01, standard_error=0.01, low=-0.03, high=0.01, level=0.90, method="a difference")
    >>> equivalence(e, 0.04).answer, equivalence(e, 0.02).answer, round(equivalence(e, 0.04).alpha, 3)
    ('held', 'not shown', 0.05)
    """
    margin = positive("margin", margin)
    return _answered(found, -margin, margin)


def _answered(found: Estimate, low: float, high: float) -> Margin:
    answer: Answer = "not shown"
    if low < found.low and found.high < high:
        answer = "held"
    elif found.high < low or found.low > high:
        answer = "breached"
    return Margin(answer, low, high, (1.0 - found.level) / 2.0, found)
