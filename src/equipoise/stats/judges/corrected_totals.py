"""The judge's mean corrected by labels where both are samples: sums of each randomised unit are all it takes.

A judge reads some of the turns, people label some of what it read, each drawn with a known probability. Every turn counts
by one over it, so that the sums of a unit stand for all its turns; a mean over turns is a ratio of such sums. The
unit, or its cluster, carries the variance: turns of one conversation are alike, and so are their labels.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from equipoise.errors import UsageError
from equipoise.stats.comparison.ratios import difference_of_ratios
from equipoise.stats.comparison.relative import fieller
from equipoise.stats.comparison.shared_clusters import (
    ALIKE,
    ArmVariance,
    SharedVariance,
    outcomes,
    shared_spread,
    variance_of_difference,
)
from equipoise.stats.cross_moments import CrossMoments
from equipoise.stats.domain import counted, finite, inside
from equipoise.stats.estimate import Estimate, NotEstimable
from equipoise.stats.judges.prediction_powered import LABELS, LABELS_TUNED, STRANGE
from equipoise.stats.student import t_estimate

__all__ = [
    "JudgedTotals",
    "corrected_difference_of_totals",
    "corrected_mean_of_totals",
    "corrected_relative_difference_of_totals",
    "judged_difference_of_totals",
]

_JUDGED, _JUDGED_WEIGHT, _SAID, _SAID_WEIGHT, _JUDGED_WHERE_SAID = range(5)


@dataclass(frozen=True, slots=True)
class JudgedTotals:
    """One arm: five sums of every independent unit (a randomised unit, or a cluster of them) as cross moments.

    With a turn's judge's score s, label y, and weights w = 1/P(scored) and v = 1/P(scored and labelled), of which
    only the proportions matter, each perhaps divided by the unit's number of turns so that every unit counts alike, the
    columns are Σws and Σw over the scored turns, and Σvy, Σv and Σvs over the labelled ones (0 where a unit has none).
    `judged` and `labels` count those turns. Units of which nothing was scored may be left out.

    Errors: UsageError unless there are five columns, and no more labels than judged turns.

    >>> moments = CrossMoments.of([3, 1, 2, 0], [4, 2, 2, 2], [1, 0, 0, 1], [2, 0, 0, 2], [1, 0, 0, 0])
    >>> JudgedTotals(moments, judged=10, labels=2).moments.n
    4
    """

    moments: CrossMoments
    judged: int
    labels: int

    def __post_init__(self) -> None:
        if len(self.moments.means) != 5:
            raise UsageError(f"there are five columns of sums, not {len(self.moments.means)}")
        if counted("labels", self.labels) > counted("judged", self.judged):
            raise UsageError(f"of {self.judged} judged turns {self.labels} cannot be labelled")

    @classmethod
    def nothing(cls) -> JudgedTotals:
        """An arm of which nothing was scored."""
        return cls(CrossMoments.zero(5), 0, 0)

    @property
    def effective_labels(self) -> float:
        """How many units labelled alike tell as much: (ΣV)² / ΣV² over the units' sums of label weights V (Kish 1965).

        >>> v = [2.0, 2.0, 0.0, 0.0]
        >>> JudgedTotals(CrossMoments.of(v, v, v, v, v), 4, 2).effective_labels
        2.0
        """
        return _effective(self.moments, _SAID_WEIGHT)


def corrected_mean_of_totals(
    arm: JudgedTotals, *, judge_weight: float | None = None, level: float = 0.95, null: float = 0.0
) -> Estimate | NotEstimable:
    """The mean label over all turns that could be scored: prediction-powered, weighted, clustered by unit.

    θ = mean(label) + λ·(mean judge − mean judge on the labelled), each a ratio of weighted sums. Scale: that of the
    labels. Linearised, its error is a sum over units, a(i) + λ·b(i), with a the share of the labels' error and b of
    the judge's. λ is `judge_weight`, or the slope −Σab / Σb² that makes it least from labels in 50 units on, and 1 below.
    The variance is Σ(a + λb)² · G / (G − 1 − tuned), and t has G − 1 − tuned degrees of freedom, with G the effective
    number of labelled units (`JudgedTotals.effective_labels`). Where everything judged is labelled it is the mean of
    the labels. With yes-or-no labels near 0 or 1 it falls short: at a rate of 0.95 a difference with 108 labels an
    arm covers 93.4 per cent, with 315 it covers 94.4.

    Degenerate cases: not estimable with labels worth fewer than 20 units, where the judge's means on the labelled and
    on all turns lie further apart than chance would put them (five standard errors: the labels are then no random
    sample), or where the error is 0, since a judge without a fault on these labels has faults that they do not show.
    Errors: UsageError for a level outside (0, 1), a weight or a null that is not finite.
    Source: Angelopoulos, Bates, Fannjiang, Jordan & Zrnic (2023), Science 382, 669; Angelopoulos, Duchi & Zrnic (2023),
    PPI++ (arXiv 2311.01453), section 6, for λ; Horvitz & Thompson (1952), JASA 47, 663, for the weights; Särndal,
    Swensson & Wretman (1992), Model Assisted Survey Sampling, section 6.3, for the difference estimator in two phases.

    >>> judge, said = [1, 0, 1, 1, 0, 1, 1, 0] * 40, [1, 0, 1, 0, 0, 1, 1, 1] * 10 + [0] * 240
    >>> asked = [1] * 80 + [0] * 240
    >>> where = [s * v for s, v in zip(judge, asked)]
    >>> arm = JudgedTotals(CrossMoments.of(judge, [1] * 320, said, asked, where), judged=320, labels=80)
    >>> e = corrected_mean_of_totals(arm)
    >>> round(e.value, 3), round(e.standard_error, 3), round(e.degrees_of_freedom)
    (0.625, 0.05, 78)
    """
    level, null = inside("level", level), finite("null", null)
    fitted = _fitted(arm, None if judge_weight is None else finite("judge_weight", judge_weight))
    if isinstance(fitted, NotEstimable):
        return fitted
    return t_estimate(
        fitted.value,
        math.sqrt(fitted.variance),
        fitted.df,
        level=level,
        null=null,
        method=f"mean, {fitted.kind}, t interval, variance by unit",
    )


def corrected_difference_of_totals(
    control: JudgedTotals,
    treatment: JudgedTotals,
    *,
    judge_weight: float | None = None,
    shared: CrossMoments | None = None,
    level: float = 0.95,
    null: float = 0.0,
) -> Estimate | NotEstimable:
    """The difference of two arms' mean labels, treatment minus control, each arm corrected by its own labels.

    Each arm has its own λ and its own correction, so that a judge who favours one arm's style does no harm. Scale:
    that of the labels. Arms are independent; Welch's t with Satterthwaite's degrees of freedom. Or the units are clusters,
    of which `shared` has those that are in both arms (five columns of control, then the treatment's): the covariance of the
    arms then comes off (`shared_clusters.variance_of_difference`). Degenerate cases and
    errors: those of `corrected_mean_of_totals`, with the arm named. Source: as there; Welch (1947), Biometrika 34, 28.

    >>> said, judge = [3, 4, 2, 5] * 15, [3, 4, 3, 5] * 50
    >>> said, asked = [*said, *[0] * 140], [1] * 60 + [0] * 140
    >>> where = [s * v for s, v in zip(judge, asked)]
    >>> arm = JudgedTotals(CrossMoments.of(judge, [1] * 200, said, asked, where), judged=200, labels=60)
    >>> e = corrected_difference_of_totals(arm, arm)
    >>> e.value, round(e.standard_error, 3), round(e.p_value, 2)
    (0.0, 0.127, 1.0)
    """
    level, null = inside("level", level), finite("null", null)
    arms = _both(control, treatment, judge_weight)
    if isinstance(arms, NotEstimable):
        return arms
    c, t = arms
    variance = c.variance + t.variance
    freedom = variance**2 / (c.variance**2 / c.df + t.variance**2 / t.df)
    together = _together(control, treatment, c, t, shared)
    if together is not None:
        variance, freedom = variance_of_difference(c.spread, t.spread, together)
        if variance == 0.0:
            return NotEstimable(ALIKE)
    return t_estimate(
        t.value - c.value,
        math.sqrt(variance),
        freedom,
        level=level,
        null=null,
        method=f"difference of means, {t.kind if t.kind == c.kind else 'prediction-powered'}, Welch's t, variance by unit",
    )


def corrected_relative_difference_of_totals(
    control: JudgedTotals,
    treatment: JudgedTotals,
    *,
    shared: CrossMoments | None = None,
    level: float = 0.95,
    null: float = 0.0,
) -> Estimate | NotEstimable:
    """The relative difference of two arms' corrected means, (treatment − control) / control, by Fieller's method.

    Scale, `shared`, degenerate cases and errors: those of `corrected_difference_of_totals` and of `relative.fieller`.

    >>> said, judge = [3, 4, 2, 5] * 15, [3, 4, 3, 5] * 50
    >>> said, asked = [*said, *[0] * 140], [1] * 60 + [0] * 140
    >>> where = [s * v for s, v in zip(judge, asked)]
    >>> arm = JudgedTotals(CrossMoments.of(judge, [1] * 200, said, asked, where), judged=200, labels=60)
    >>> e = corrected_relative_difference_of_totals(arm, arm)
    >>> e.value, round(e.low, 3), round(e.high, 3)
    (0.0, -0.07, 0.075)
    """
    arms = _both(control, treatment, None)
    if isinstance(arms, NotEstimable):
        return arms
    c, t = arms
    together, freedom = _together(control, treatment, c, t, shared), None
    if together is not None:
        variance, freedom = variance_of_difference(c.spread, t.spread, together)
        if variance == 0.0:
            return NotEstimable(ALIKE)
    return fieller(
        (c.value, c.variance, c.df + 1.0),
        (t.value, t.variance, t.df + 1.0),
        level,
        null,
        "relative difference of corrected means, Fieller",
        covariance=0.0 if together is None else together.covariance,
        freedom=freedom,
    )


def judged_difference_of_totals(
    control: JudgedTotals,
    treatment: JudgedTotals,
    *,
    shared: CrossMoments | None = None,
    level: float = 0.95,
    null: float = 0.0,
) -> Estimate | NotEstimable:
    """The difference of the judge's own means, treatment minus control, over the same turns: what labels correct.

    It is `ratios.difference_of_ratios` of Σws / Σw, with its scale, degenerate cases and errors; `shared` has five columns
    of either arm.

    >>> judge = JudgedTotals(CrossMoments.of(*[[3, 1, 2, 2], [4, 2, 2, 3]], *[[0] * 4] * 3), judged=11, labels=0)
    >>> judged_difference_of_totals(judge, judge).value
    0.0
    """
    pairs = [arm.moments.pair(_JUDGED, _JUDGED_WEIGHT) for arm in (control, treatment)]
    return difference_of_ratios(*pairs, shared=outcomes(shared), level=level, null=null)


class _Fitted(NamedTuple):
    value: float
    variance: float
    df: float
    kind: str
    units: int
    row: tuple[float, ...]
    """What one more of each sum adds to the value, so that a unit's square is its part of the variance."""

    @property
    def spread(self) -> ArmVariance:
        return ArmVariance(self.variance, self.units, self.df)


def _together(
    control: JudgedTotals, treatment: JudgedTotals, c: _Fitted, t: _Fitted, shared: CrossMoments | None
) -> SharedVariance | None:
    """What clusters in both arms give to the variances of their values; None where none is in both."""
    if shared is None or not shared.n:
        return None
    means = control.moments.means, treatment.moments.means
    return shared_spread(shared, *means, np.array([c.row]), np.array([t.row])).along(np.ones(1))


def _both(
    control: JudgedTotals, treatment: JudgedTotals, weight: float | None
) -> tuple[_Fitted, _Fitted] | NotEstimable:
    c, t = _fitted(control, weight), _fitted(treatment, weight)
    if isinstance(c, NotEstimable):
        return NotEstimable(f"control: {c.reason}")
    return NotEstimable(f"treatment: {t.reason}") if isinstance(t, NotEstimable) else (c, t)


def _fitted(arm: JudgedTotals, weight: float | None) -> _Fitted | NotEstimable:
    effective = arm.effective_labels
    if effective < LABELS:
        return NotEstimable(
            f"the labels are worth {effective:.3g} units labelled alike, and a corrected estimate needs {LABELS}"
        )
    moments = arm.moments
    sums = [moments.n * mean for mean in moments.means]
    all_turns, labelled = sums[_JUDGED_WEIGHT], sums[_SAID_WEIGHT]
    said = sums[_SAID] / labelled
    judged, where_said = sums[_JUDGED] / all_turns, sums[_JUDGED_WHERE_SAID] / labelled
    # Each unit's share of the labels' error, and of the judge's, as sums of its five columns.
    a = (0.0, 0.0, 1.0 / labelled, -said / labelled, 0.0)
    b = (1.0 / all_turns, -judged / all_turns, 0.0, where_said / labelled, -1.0 / labelled)
    aa, ab, bb = _form(moments, a, a), _form(moments, a, b), _form(moments, b, b)
    error = math.sqrt(max(0.0, bb))
    apart = abs(judged - where_said)
    # Were the labels drawn at random, the labelled turns would spread as all do; by their own they spread too little just
    # when they lie far off.
    own = (1.0 / all_turns, -judged / all_turns, 0.0, 0.0, 0.0)
    spread = _form(moments, own, own) * _effective(moments, _JUDGED_WEIGHT) / effective
    chance = math.sqrt(max(0.0, bb, spread))
    if apart > STRANGE * chance + 1e-9 * (abs(judged) + abs(where_said)):
        return NotEstimable(
            f"the judge gives the labelled turns {where_said:.3g} and all turns {judged:.3g} on average: "
            "the labels are not a random sample"
        )
    useful = error > 1e-12
    tuned = 1 if weight is None and useful and effective >= LABELS_TUNED else 0
    factor = (-ab / bb if tuned else 1.0) if weight is None else weight
    factor = factor if useful else 0.0
    df = effective - 1.0 - tuned
    parts = (aa, 2.0 * factor * ab, factor * factor * bb)
    variance = math.fsum(parts) * effective / df
    if variance <= 2.0**-40 * sum(map(abs, parts)):
        return NotEstimable(
            f"no label differs from what the judge's score says, and {arm.labels} labels cannot show "
            "how often one would"
        )
    kind = "labels alone" if factor == 0.0 else f"prediction-powered ({'PPI++' if tuned else 'PPI'})"
    scale = math.sqrt(effective / df)
    row = tuple(scale * (own + factor * judge) for own, judge in zip(a, b, strict=True))
    return _Fitted(said + factor * (judged - where_said), variance, df, kind, moments.n, row)


def _effective(moments: CrossMoments, at: int) -> float:
    """(Σx)² / Σx² of a column."""
    squares = moments.products[at][at] + moments.n * moments.means[at] ** 2
    return (moments.n * moments.means[at]) ** 2 / squares if squares > 0.0 else 0.0


def _form(moments: CrossMoments, left: tuple[float, ...], right: tuple[float, ...]) -> float:
    """Σ (left·x)(right·x) over units, centred: the sums of both are 0."""
    return math.fsum(
        left[i] * right[j] * product
        for i, row in enumerate(moments.products)
        for j, product in enumerate(row)
        if left[i] and right[j]
    )
