"""Calibration: how far a judge says what people say, and what to do about it.

A judge is an instrument, and a series is its readings while it stays as it is: another model, prompt or rubric starts
a new one. Only labels of turns that were drawn at random say how good it is; where it was looked for disagreement,
disagreement is found.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

from equipoise.analysis.findings import describe
from equipoise.stats.cases.case_means import share_over_cases
from equipoise.stats.estimate import Estimate, NotEstimable
from equipoise.stats.judges.agreement import (
    agreement,
    cohens_kappa,
    correlation,
    krippendorffs_alpha,
    self_consistency,
)
from equipoise.stats.judges.judge_error import JudgeErrors, sensitivity, specificity
from equipoise.stats.judges.prediction_powered import LABELS_TUNED
from equipoise.stats.normal import critical

__all__ = ["Calibration", "Labelled", "Series", "calibrate"]

Advice = Literal["recalibrate", "label more", "none"]

_MOST_GRADES = 20
"""With more distinct values a score is a measurement, and no weighted kappa of grades is taken."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Labelled:
    """One turn with a judge's score and what people said of it, by rater.

    `weight` is one over the probability that the turn was labelled, or proportional to that. `at_random` is False
    where it was chosen because judge and outcome disagree.
    """

    score: float
    said: Mapping[str, float]
    unit: str
    weight: float = 1.0
    at_random: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Series:
    """The scores of one name that one evaluator gave: how many, and from when to when (seconds since 1970 UTC)."""

    score: str
    evaluator: str
    scored: int
    first: float
    last: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Calibration:
    """How far the judge of a series says what people say.

    `labels` turns were drawn at random and labelled, of `units` units; on `split` more the raters are evenly divided
    and count for nothing. `apart` turns were drawn where judge and outcome disagree, and judge and people say the same
    on `apart_alike` of them: they are in no estimate. Yes-or-no scores, or those cut at `threshold`, have sensitivity
    and specificity; grades have a correlation and a weighted kappa instead (None for what does not apply).
    `rater_agreement` is how often two raters of a turn say the same, and `alpha` Krippendorff's; both over the
    `rated_twice` turns that have several raters.

    `advice`: `recalibrate` where the agreement is below the `minimum`; `label more` where it is not shown to reach it
    yet, with about `more` labels (None: no number would show it); else `none`. `says` is all that in a sentence.
    """

    series: Series
    labels: int
    units: int
    split: int
    apart: int
    apart_alike: int
    graded: bool
    threshold: float | None
    minimum: float | None
    agreement: Estimate | NotEstimable
    kappa: Estimate | NotEstimable
    sensitivity: Estimate | NotEstimable | None
    specificity: Estimate | NotEstimable | None
    correlation: Estimate | NotEstimable | None
    raters: int
    rated_twice: int
    rater_agreement: Estimate | NotEstimable
    alpha: Estimate | NotEstimable
    advice: Advice
    more: int | None
    says: str

    @property
    def trend_withheld(self) -> bool:
        """Whether the judge's own numbers over time are not to be shown."""
        return self.advice == "recalibrate"

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON; a result that does not exist is {"not_estimable": reason}, what does not apply is null."""
        found: dict[str, Any] = asdict(self.series)
        for name in (
            "labels",
            "units",
            "split",
            "apart",
            "apart_alike",
            "graded",
            "threshold",
            "minimum",
            "raters",
            "rated_twice",
        ):
            found[name] = getattr(self, name)
        for name in (
            "agreement",
            "kappa",
            "sensitivity",
            "specificity",
            "correlation",
            "rater_agreement",
            "alpha",
        ):
            result = getattr(self, name)
            found[name] = None if result is None else describe(result)
        return found | {
            "advice": self.advice,
            "more": self.more,
            "trend_withheld": self.trend_withheld,
            "says": self.says,
        }


def calibrate(
    series: Series,
    turns: Sequence[Labelled],
    *,
    threshold: float | None = None,
    minimum: float | None = None,
    level: float = 0.95,
) -> Calibration:
    """Hold a series of scores against what people said of some of its turns.

    With `threshold` a score of at least so much is good, and so is a label; what is all 0 or 1, with some 0, is yes and
    no already. Without, scores and labels that are all 0 or 1 are yes and no; others are grades. Several raters'
    yes and no are put together by majority, grades by the lower middle one. Turns count by `weight`, and those of one
    unit are taken as belonging together. Agreement below `minimum` means recalibrate, whatever its interval: a judge is
    trusted because it was shown to be good, not because it was not shown to be bad.

    >>> one = Series(score="polite", evaluator="judge 1", scored=100, first=0.0, last=9.0)
    >>> turns = [Labelled(score=1, said={"ann": said}, unit=f"u{i}") for i, said in enumerate([1, 1, 1, 1, 1, 1, 0, 0])]
    >>> found = calibrate(one, turns, minimum=0.8)
    >>> found.agreement.value, found.advice
    (0.75, 'recalibrate')
    """
    labels = [value for turn in turns for value in turn.said.values()]
    cut = _cut(labels, threshold)
    scores = [_cut([turn.score for turn in turns], threshold)(turn.score) for turn in turns]
    graded = not {*scores, *map(cut, labels)} <= {0.0, 1.0}
    verdicts = [_together([cut(value) for value in turn.said.values()], graded=graded) for turn in turns]
    kept = [
        (score, said, turn)
        for score, said, turn in zip(scores, verdicts, turns, strict=True)
        if turn.at_random and said is not None
    ]
    judge, people = [score for score, _, _ in kept], [said for _, said, _ in kept]
    units = [turn.unit for _, _, turn in kept]
    clusters = units if len(set(units)) < len(units) else None
    drawn = [turn.weight for _, _, turn in kept]
    weights = drawn if len(set(drawn)) > 1 else None
    plain = clusters is None and weights is None
    same = agreement(people, judge, clusters=clusters, case_weights=weights, level=level)
    grades = sorted({*judge, *people})
    if graded and len(grades) > _MOST_GRADES:
        kappa: Estimate | NotEstimable = NotEstimable(
            f"{len(grades)} different values are no grades; read the correlation"
        )
    else:
        kappa = cohens_kappa(
            people,
            judge,
            weights="quadratic" if graded else "none",
            categories=grades,
            clusters=clusters,
            case_weights=weights,
            level=level,
        )
    twice = [turn for turn in turns if turn.at_random and len(turn.said) > 1]
    between, alpha = _between_raters(twice, cut, graded=graded, level=level)
    apart = [
        score == said
        for score, said, turn in zip(scores, verdicts, turns, strict=True)
        if not turn.at_random and said is not None
    ]
    advice, more = _advice(same, len(kept), minimum, level)
    return Calibration(
        series=series,
        labels=len(kept),
        units=len(set(units)),
        split=sum(turn.at_random for turn in turns) - len(kept),
        apart=len(apart),
        apart_alike=sum(apart),
        graded=graded,
        threshold=threshold,
        minimum=minimum,
        agreement=same,
        kappa=kappa,
        sensitivity=None if graded else _share(kept, good=True, plain=plain, level=level),
        specificity=None if graded else _share(kept, good=False, plain=plain, level=level),
        correlation=correlation(people, judge, clusters=clusters, case_weights=weights, level=level)
        if graded
        else None,
        raters=len({rater for turn in turns for rater in turn.said}),
        rated_twice=len(twice),
        rater_agreement=between,
        alpha=alpha,
        advice=advice,
        more=more,
        says=_says(series, same, len(kept), minimum, advice, more, graded=graded),
    )


def _cut(values: Sequence[float], threshold: float | None) -> Callable[[float], float]:
    """How values are read: as they are, or as yes and no by the threshold."""
    if threshold is None or (set(values) <= {0.0, 1.0} and (0.0 in values or threshold <= 1.0)):
        return float
    return lambda value: float(value >= threshold)


def _together(said: Sequence[float], *, graded: bool) -> float | None:
    """What several raters say of one turn; None where they are evenly divided between yes and no."""
    if graded:
        return statistics.median_low(said)
    middle = statistics.median(said)
    return middle if middle in {0.0, 1.0} else None


def _share(
    kept: Sequence[tuple[float, float, Labelled]], *, good: bool, plain: bool, level: float
) -> Estimate | NotEstimable:
    """Sensitivity among the good turns, specificity among the bad: the share on which the judge says so, too.

    `plain` turns each have a unit of their own and count alike.
    """
    mine = [(float(score == said), turn) for score, said, turn in kept if (said > 0.5) == good]
    if plain or not mine:
        right = int(sum(each for each, _ in mine))
        found = JudgeErrors(
            good_passed=right if good else 0,
            good_failed=len(mine) - right if good else 0,
            bad_failed=0 if good else right,
            bad_passed=0 if good else len(mine) - right,
        )
        return sensitivity(found, level=level) if good else specificity(found, level=level)
    return share_over_cases(
        [each for each, _ in mine],
        [turn.unit for _, turn in mine],
        weights=[turn.weight for _, turn in mine],
        level=level,
    )


def _between_raters(
    turns: Sequence[Labelled], cut: Callable[[float], float], *, graded: bool, level: float
) -> tuple[Estimate | NotEstimable, Estimate | NotEstimable]:
    if not turns:
        nobody = NotEstimable("no turn has labels of several raters")
        return nobody, nobody
    rows = [[cut(value) for value in turn.said.values()] for turn in turns]
    units = [turn.unit for turn in turns]
    clusters = units if len(set(units)) < len(units) else None
    raters = sorted({rater for turn in turns for rater in turn.said})
    matrix = [[cut(turn.said[rater]) if rater in turn.said else None for turn in turns] for rater in raters]
    return (
        self_consistency(rows, clusters=clusters, level=level),
        krippendorffs_alpha(
            matrix, scale="interval" if graded else "nominal", clusters=clusters, level=level
        ),
    )


def _advice(
    same: Estimate | NotEstimable, labels: int, minimum: float | None, level: float
) -> tuple[Advice, int | None]:
    if isinstance(same, NotEstimable):
        return "label more", max(1, LABELS_TUNED - labels)
    if minimum is None:
        return ("label more", LABELS_TUNED - labels) if labels < LABELS_TUNED else ("none", None)
    if same.value < minimum - 1e-12:
        return "recalibrate", None
    if same.low >= minimum:
        return "none", None
    room = same.value - minimum
    if room < 1e-9:
        return "label more", None
    # Wilson's lower limit at the same agreement reaches the minimum; turns of one unit are worth fewer.
    z = critical((1.0 - level) / 2.0)
    binomial = same.value * (1.0 - same.value) / labels
    alike = max(1.0, same.standard_error**2 / binomial) if binomial > 0.0 else 1.0
    needed = math.ceil(z * z * minimum * (1.0 - minimum) / room**2 * alike - 1e-9)
    return "label more", max(1, needed - labels)


def _says(
    series: Series,
    same: Estimate | NotEstimable,
    labels: int,
    minimum: float | None,
    advice: Advice,
    more: int | None,
    *,
    graded: bool,
) -> str:
    who = f"{series.score} by {series.evaluator}"
    asked = f"label more: {more:,}" if more is not None else "label more"
    if isinstance(same, NotEstimable):
        few = "no turn drawn at random is labelled" if not labels else same.reason
        return f"{who} is a judge's opinion: {few}; {asked}"
    says = (
        f"{who} {'gives the same grade as' if graded else 'agrees with'} people on {same.value:.1%} of {labels:,} labelled "
        f"turn{'' if labels == 1 else 's'} ({same.low:.1%} to {same.high:.1%})"
    )
    if minimum is None:
        return says + (f"; {asked}" if advice == "label more" else "; no minimum is declared")
    least = f"the minimum of {100.0 * minimum:.4g}%"
    if advice == "recalibrate":
        return f"{says}, below {least}: recalibrate; its trend is withheld"
    if advice == "label more":
        none = "" if more is not None else ", and no number of labels would show that it is above"
        return f"{says}, not shown to reach {least}{none}; {asked}"
    return f"{says}, shown to reach {least}"
