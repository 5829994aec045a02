"""What the win rate would be at equal length: a preference corrected for the lure of long answers."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from scipy.special import expit

from equipoise.stats.case_means import Clusters, cases_of, share_over_cases
from equipoise.stats.domain import inside
from equipoise.stats.estimate import Estimate, NotEstimable
from equipoise.stats.logistic import fit_logistic
from equipoise.stats.moments import Values
from equipoise.stats.student import t_estimate

__all__ = ["LengthControlled", "length_controlled_win_rate"]

BOTH_SIDES = 5
"""So many answers must be no shorter, and so many no longer, than those they are compared with."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LengthControlled:
    """The win rate as it is, at equal length, and what length does, in log-odds from 0 to very long.

    `longer` counts the cases in which the variant's answer was the longer one.
    """

    raw: Estimate
    win_rate: Estimate
    length_effect: Estimate
    longer: int
    cases: int


def length_controlled_win_rate(
    scores: Values,
    length_differences: Values,
    *,
    clusters: Clusters | None = None,
    level: float = 0.95,
) -> LengthControlled | NotEstimable:
    """The win rate if the two answers to each case were of equal length, by a logistic regression.

    A score is 1 for a win, 0 for a loss, 0.5 for a tie, or a judge's probability. A length difference is the
    variant's length minus the other's, in any unit. Model: log-odds θ + φ·tanh(d / sd(d)); the answer is
    1 / (1 + e^−θ), a share with null 0.5, its limits those of θ (t, sandwich variance) carried over.

    The published figure of AlpacaEval differs in three ways: it has a third term, how hard each instruction
    is, whose values were fitted once on many other models; it adds two gamed baselines (the reference told
    to be short and to be long) as rows of weight 0.1, which pull φ towards the reference's; and it
    penalises the coefficients by an L1 term chosen by cross-validation. None of these is in the answers
    themselves, so this is another estimate of the same question. On its three prompts (19.30, 15.77, 22.00
    per cent published) this gives 21.6, 19.0 and 20.6; the interval of the middle one, in which 8 of 805
    answers are the longer one, is wide.

    It takes all that goes with length for the lure of length. Where better answers are longer because they
    say more, it takes away what was earned; it says nothing of causes. It also reaches beyond the data
    where nearly all answers of one side are longer.

    Degenerate cases: not estimable with fewer than five answers no longer, or five no shorter, than those
    they meet, since equal length is then outside the data; where all differ by the same; and those of
    `fit_logistic`. Errors: UsageError for a score outside [0, 1], values that are not finite, unequal
    lengths or a level outside (0, 1).
    Source: Dubois, Galambosi, Liang & Hashimoto (2024), Length-Controlled AlpacaEval (arXiv 2404.04475),
    section 3, eq. (1)-(3), without the instruction term.

    >>> found = length_controlled_win_rate([1, 1, 1, 0, 1, 0, 0, 1, 0, 0], [9, 8, 6, 5, 2, -1, -3, -4, -7, -8])
    >>> round(found.raw.value, 2), round(found.win_rate.value, 2), round(found.length_effect.value, 2)
    (0.5, 0.42, 2.01)
    """
    level = inside("level", level)
    y, d = cases_of("scores", scores), cases_of("length_differences", length_differences)
    longer, shorter = int((d > 0.0).sum()), int((d < 0.0).sum())
    if min(d.size - shorter, d.size - longer) < BOTH_SIDES:
        side, count = ("longer", longer) if longer < shorter else ("shorter", shorter)
        return NotEstimable(
            f"only {count} of {d.size} answers are {side} than those they are compared with, "
            "so equal length lies outside the data"
        )
    spread = float(np.std(d, ddof=1))
    if spread == 0.0:
        return NotEstimable("all answers have the same length as those they are compared with")
    fit = fit_logistic(
        y, {"constant": np.ones(d.size), "length": np.tanh(d / spread)}, clusters=clusters
    )
    if isinstance(fit, NotEstimable):
        return fit
    raw = share_over_cases(y, clusters, level=level, null=0.5)
    if isinstance(raw, NotEstimable):
        return raw
    method = "logistic regression on tanh of the standardised length difference, sandwich covariance"
    theta, phi = (
        t_estimate(b, math.sqrt(v), fit.clusters - 1.0, level=level, null=0.0, method=method)
        for b, v in zip(fit.coefficients, (fit.covariance[0][0], fit.covariance[1][1]), strict=True)
    )
    rate = float(expit(theta.value))
    return LengthControlled(
        raw=raw,
        win_rate=Estimate(
            value=rate,
            standard_error=theta.standard_error * rate * (1.0 - rate),
            low=float(expit(theta.low)),
            high=float(expit(theta.high)),
            level=level,
            method=f"win rate at equal length, {method}",
            null=0.5,
            statistic=theta.statistic,
            p_value=theta.p_value,
            degrees_of_freedom=theta.degrees_of_freedom,
        ),
        length_effect=phi,
        longer=longer,
        cases=int(d.size),
    )
