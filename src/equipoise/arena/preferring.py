"""A treatment against control, as the pairwise judge sees it; and the judge itself, held against people."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Literal

from equipoise.arena.result import CaseResult, Preference
from equipoise.arena.stepping import Judging, interval_after
from equipoise.experiment.definition import Labels
from equipoise.scoring.families import family_of, sharing
from equipoise.scoring.pairwise import Comparison, Winner
from equipoise.stats.cases.case_means import mean_over_cases, share_over_cases
from equipoise.stats.estimate import Estimate, NotEstimable
from equipoise.stats.judges.agreement import agreement, cohens_kappa, krippendorffs_alpha, self_consistency
from equipoise.stats.judges.judge_lean import (
    length_lean,
    order_consistency,
    position_lean,
    position_lean_one_order,
)
from equipoise.stats.judges.prediction_powered import JudgedArm, corrected_mean
from equipoise.stats.moments import Moments, PairMoments
from equipoise.stats.preference.length_control import length_controlled_win_rate
from equipoise.stats.preference.preference import clustered_win_rate, win_rate

__all__ = ["prefer"]

_SCORE: Mapping[Winner, float] = {"treatment": 1.0, "tie": 0.5, "control": 0.0}
_TUNED = 50
_CATEGORIES = ("loss", "tie", "win")
Maybe = Estimate | NotEstimable


def prefer(
    cases: Sequence[CaseResult],
    *,
    control: str,
    treatment: str,
    level: float,
    judge_models: Sequence[str] = (),
    variant_models: Mapping[str, str | None] | None = None,
    labels: Labels | None = None,
    judging: Judging | None = None,
) -> Preference:
    """Everything the comparisons say of a treatment, and of the judge that made them.

    A case's score is the mean over its samples. Rates are over cases, robust to likeness within clusters, and
    weighted where weights differ. With `judging` the interval of the win rate is the repeated one of the step that was
    reached, and cases that were not judged are not unscored. With `labels` the win rate corrected by them
    decides; without enough of them it has no estimate.

    Methods and sources: `win_rate`, `clustered_win_rate`, `length_controlled_win_rate`, `corrected_mean`
    (prediction-powered), `position_lean`, `order_consistency`, `cohens_kappa`, `krippendorffs_alpha`,
    `self_consistency`, which see.

    >>> won = Comparison(score=1.0, treatment_first="treatment", control_first="treatment")
    >>> cases = [CaseResult(id=str(n), asked="?", comparisons={"b": (won,)}) for n in range(40)]
    >>> found = prefer(cases, control="a", treatment="b", level=0.95)
    >>> found.wins, found.raw.value, found.consistency.value
    (40, 1.0, 1.0)
    """
    seen = [case for case in cases if treatment in case.comparisons]
    scored = [(case, score) for case in seen if (score := case.preference(treatment)) is not None]
    scores = [score for _, score in scored]
    clusters = _clusters([case for case, _ in scored])
    comparisons = [each for case in seen for each in case.comparisons[treatment]]
    raw = (
        _rate([case for case, _ in scored], scores, level)
        if judging is None
        else interval_after(judging, scores, clusters)
    )
    leaning = _leaning(seen, treatment, level)
    people = _people(scored, treatment, labels, level)
    shares = sharing(judge_models, variant_models or {})
    return Preference(
        raw=raw,
        controlled=_controlled(scored, control, treatment, level),
        corrected=people.corrected,
        decides="corrected" if labels is not None else "raw",
        wins=sum(score > 0.5 for score in scores),
        ties=sum(score == 0.5 for score in scores),
        losses=sum(score < 0.5 for score in scores),
        unscored=len(seen) - len(scores) if judging is not None else len(cases) - len(scores),
        errored=sum(each.errored for each in comparisons),
        disagreements=leaning.disagreements,
        first_preferred=leaning.first_preferred,
        lean=leaning.lean,
        consistency=leaning.consistency,
        length_lean=_length_lean(scored, control, treatment, level),
        labels=people.labels,
        agreement=people.agreement,
        kappa=people.kappa,
        panel_alpha=_panel(comparisons, level) if len(judge_models) > 1 else None,
        judge_noise=_noise(seen, treatment, level),
        shares_family=shares,
        self_preference=_self_preference(
            scored, treatment, shares, judge_models, variant_models or {}, level
        ),
        by_tag=_by_tag(scored, level),
        judged=len(seen),
        saved=len(cases) - len(seen) if judging is not None else 0,
        steps=judging.step + 1 if judging is not None else 1,
    )


def _clusters(cases: Sequence[CaseResult]) -> list[str] | None:
    """The cluster of each case, or None where every case is its own."""
    if all(case.cluster is None for case in cases):
        return None
    return [f"case {case.id}" if case.cluster is None else f"cluster {case.cluster}" for case in cases]


def _rate(cases: Sequence[CaseResult], scores: Sequence[float], level: float) -> Maybe:
    clusters = _clusters(cases)
    weights = [case.weight for case in cases]
    if len(set(weights)) > 1:
        return share_over_cases(scores, clusters, weights=weights, level=level, null=0.5)
    return (
        win_rate(scores, level=level)
        if clusters is None
        else clustered_win_rate(scores, clusters, level=level)
    )


def _length(case: CaseResult, variant: str) -> float | None:
    texts = [answer.text for answer in case.answers.get(variant, ()) if answer.text is not None]
    return math.fsum(map(len, texts)) / len(texts) if texts else None


def _with_lengths(
    scored: Sequence[tuple[CaseResult, float]], control: str, treatment: str
) -> list[tuple[CaseResult, float, float]]:
    return [
        (case, score, ours - theirs)
        for case, score in scored
        if (ours := _length(case, treatment)) is not None and (theirs := _length(case, control)) is not None
    ]


def _controlled(
    scored: Sequence[tuple[CaseResult, float]], control: str, treatment: str, level: float
) -> Maybe:
    known = _with_lengths(scored, control, treatment)
    if not known:
        return NotEstimable("the lengths of the answers are not known")
    found = length_controlled_win_rate(
        [score for _, score, _ in known],
        [apart for _, _, apart in known],
        clusters=_clusters([case for case, _, _ in known]),
        level=level,
    )
    return found if isinstance(found, NotEstimable) else found.win_rate


def _length_lean(
    scored: Sequence[tuple[CaseResult, float]], control: str, treatment: str, level: float
) -> Maybe | None:
    known = [
        (case, score, apart) for case, score, apart in _with_lengths(scored, control, treatment) if apart
    ]
    if not known:
        return None
    labelled = [each for each in known if treatment in each[0].labels]
    # Beside people's own scores where there are enough of them, as quality then cancels.
    use = labelled if len(labelled) >= 30 else known
    return length_lean(
        [score for _, score, _ in use],
        [apart for _, _, apart in use],
        [case.labels[treatment] for case, _, _ in use] if use is labelled else None,
        clusters=_clusters([case for case, _, _ in use]),
        level=level,
    )


class _Leaning:
    """What the two orders say of the judge; None where both were not asked."""

    disagreements: int | None = None
    first_preferred: int | None = None
    lean: Maybe | None = None
    consistency: Maybe | None = None


def _leaning(cases: Sequence[CaseResult], treatment: str, level: float) -> _Leaning:
    found = _Leaning()
    pairs = [
        (case, each)
        for case in cases
        for one in case.comparisons[treatment]
        for each in one.repeats or (one,)
    ]
    both = [(case, each) for case, each in pairs if each.asked]
    if both:
        first = [_SCORE[each.treatment_first] for _, each in both if each.treatment_first]
        second = [_SCORE[each.control_first] for _, each in both if each.control_first]
        # Several comparisons of one case (its samples) belong together.
        groups = [f"{case.cluster or case.id}" for case, _ in both]
        clusters = groups if len(set(groups)) < len(groups) else None
        found.disagreements = sum(each.disagreed for _, each in both)
        found.first_preferred = sum(
            each.treatment_first == "treatment" and each.control_first == "control" for _, each in both
        )
        found.lean = position_lean(first, second, clusters=clusters, level=level)
        found.consistency = order_consistency(first, second, clusters=clusters, level=level)
        return found
    one = [(each, each.treatment_first or each.control_first) for _, each in pairs]
    known = [(_SCORE[winner], each.treatment_first is not None) for each, winner in one if winner is not None]
    if known:
        found.lean = position_lean_one_order(
            [score for score, _ in known], [shown_first for _, shown_first in known], level=level
        )
    return found


class _People:
    """The judge beside people's labels."""

    labels: int = 0
    corrected: Maybe | None = None
    agreement: Maybe | None = None
    kappa: Maybe | None = None


def _people(
    scored: Sequence[tuple[CaseResult, float]], treatment: str, labels: Labels | None, level: float
) -> _People:
    found = _People()
    labelled = [(case, score) for case, score in scored if treatment in case.labels]
    found.labels = len(labelled)
    if labels is None:
        return found
    said = [case.labels[treatment] for case, _ in labelled]
    judged = [score for _, score in labelled]
    clusters = _clusters([case for case, _ in labelled])
    ours, theirs = [_category(score) for score in judged], [_category(score) for score in said]
    found.agreement = agreement(ours, theirs, clusters=clusters, level=level)
    found.kappa = cohens_kappa(ours, theirs, categories=_CATEGORIES, clusters=clusters, level=level)
    if len(labelled) < labels.at_least:
        found.corrected = NotEstimable(
            f"{len(labelled)} of the cases are labelled, and from {labels.at_least} on the labels decide"
        )
    elif _clusters([case for case, _ in scored]) is not None:
        found.corrected = NotEstimable(
            "the correction by labels takes every case for its own, and these have clusters"
        )
    else:
        rest = [score for case, score in scored if treatment not in case.labels]
        arm = JudgedArm(PairMoments.of(said, judged), Moments.of(rest))
        # A weight tuned on few labels promises too much; fixed beforehand at 1 it is plain PPI.
        weight = None if len(labelled) >= _TUNED else 1.0
        found.corrected = corrected_mean(arm, judge_weight=weight, level=level, null=0.5)
    return found


def _category(score: float) -> Literal["loss", "tie", "win"]:
    return "win" if score > 0.5 else "loss" if score < 0.5 else "tie"


def _panel(comparisons: Sequence[Comparison], level: float) -> Maybe | None:
    rows = [
        [_category(each.score) for each in one.by_judge.values() if each.score is not None]
        for one in comparisons
        if one.by_judge
    ]
    rows = [row for row in rows if len(row) > 1]
    return krippendorffs_alpha(rows, categories=_CATEGORIES, level=level) if rows else None


def _noise(cases: Sequence[CaseResult], treatment: str, level: float) -> Maybe | None:
    rows = [
        [_category(each.score) for each in one.repeats if each.score is not None]
        for case in cases
        for one in case.comparisons[treatment]
        if one.repeats
    ]
    return self_consistency(rows, level=level) if rows else None


def _self_preference(
    scored: Sequence[tuple[CaseResult, float]],
    treatment: str,
    shares: str | None,
    judge_models: Sequence[str],
    variant_models: Mapping[str, str | None],
    level: float,
) -> Maybe | None:
    """By how much the judge prefers the arm of its own family: beyond people, or beyond judges of other families.

    In points of win rate; None where no arm alone shares the judge's family, or the arm is neither of the two.
    """
    if shares is None:
        return None
    control = next(iter(variant_models))
    if shares not in (treatment, control):
        return None
    sign = 1.0 if shares == treatment else -1.0
    labelled = [(case, score - case.labels[treatment]) for case, score in scored if treatment in case.labels]
    if len(labelled) >= 2:
        return mean_over_cases(
            [sign * apart for _, apart in labelled], _clusters([case for case, _ in labelled]), level=level
        )
    family = family_of(variant_models[shares] or "")
    own = {model for model in judge_models if family_of(model) == family}
    apart = [
        (case, sign * (ours - others))
        for case, _ in scored
        if (ours := _of(case, treatment, lambda name: name in own)) is not None
        and (others := _of(case, treatment, lambda name: name not in own)) is not None
    ]
    if not apart:
        return NotEstimable("neither people's labels nor judges of another family say what to expect")
    return mean_over_cases([each for _, each in apart], _clusters([case for case, _ in apart]), level=level)


def _of(case: CaseResult, treatment: str, wanted: Callable[[str], bool]) -> float | None:
    scores = [
        each.score
        for one in case.comparisons[treatment]
        for name, each in one.by_judge.items()
        if wanted(name) and each.score is not None
    ]
    return math.fsum(scores) / len(scores) if scores else None


def _by_tag(scored: Sequence[tuple[CaseResult, float]], level: float) -> dict[str, Maybe]:
    tags = sorted({tag for case, _ in scored for tag in case.tags})
    found = {}
    for tag in tags:
        within = [(case, score) for case, score in scored if tag in case.tags]
        if len(within) > 1:
            found[tag] = _rate([case for case, _ in within], [score for _, score in within], level)
    return found
