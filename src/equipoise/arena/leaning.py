"""The pairwise judge itself: what it leans to, how steady it is, whether it prefers its own family."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from equipoise.arena.result import CaseResult
from equipoise.scoring.families import family_of, sharing
from equipoise.scoring.pairwise import Comparison, Winner
from equipoise.stats.cases.case_means import mean_over_cases
from equipoise.stats.estimate import Estimate, NotEstimable
from equipoise.stats.judges.agreement import krippendorffs_alpha, self_consistency
from equipoise.stats.judges.judge_lean import (
    length_lean,
    order_consistency,
    position_lean,
    position_lean_one_order,
)

__all__ = [
    "CATEGORIES",
    "Leaning",
    "Scored",
    "category",
    "clusters_of",
    "leaning_of",
    "length_differences",
    "length_leaning",
    "noise_of",
    "panel_agreement",
    "self_preference",
]

Maybe = Estimate | NotEstimable
Category = Literal["loss", "tie", "win"]
Scored = Sequence[tuple[CaseResult, float]]
"""Cases with the treatment's score, the mean over samples."""

CATEGORIES: tuple[Category, ...] = ("loss", "tie", "win")
_SCORE: Mapping[Winner, float] = {"treatment": 1.0, "tie": 0.5, "control": 0.0}
_ENOUGH_LABELS = 20
"""From so many labelled cases on, people are the better measure of what a judge's own family earns."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Leaning:
    """What the two orders say of a judge; None where both were not asked (`lean` may then come from one)."""

    disagreements: int | None = None
    first_preferred: int | None = None
    lean: Maybe | None = None
    consistency: Maybe | None = None


def category(score: float) -> Category:
    """A score as a win, a tie or a loss of the treatment.

    >>> category(0.5), category(0.75)
    ('tie', 'win')
    """
    return "win" if score > 0.5 else "loss" if score < 0.5 else "tie"


def clusters_of(cases: Sequence[CaseResult]) -> list[str] | None:
    """The cluster of each entry, or None where every one stands alone; a case that is listed twice is a cluster.

    >>> clusters_of([CaseResult(id="1", asked="?"), CaseResult(id="2", asked="?", cluster="1")])
    ['case 1', 'cluster 1']
    """
    names = [f"case {case.id}" if case.cluster is None else f"cluster {case.cluster}" for case in cases]
    alone = all(case.cluster is None for case in cases) and len(set(names)) == len(names)
    return None if alone else names


def length_differences(scored: Scored, control: str, treatment: str) -> list[tuple[CaseResult, float, float]]:
    """Case, score, and mean length of the treatment's answers minus control's, in characters, where both are known."""
    return [
        (case, score, ours - theirs)
        for case, score in scored
        if (ours := _length(case, treatment)) is not None and (theirs := _length(case, control)) is not None
    ]


def _length(case: CaseResult, variant: str) -> float | None:
    texts = [answer.text for answer in case.answers.get(variant, ()) if answer.text is not None]
    return math.fsum(map(len, texts)) / len(texts) if texts else None


def leaning_of(cases: Sequence[CaseResult], treatment: str, level: float) -> Leaning:
    """Position lean and consistency over all askings; of a panel, those of its members on average.

    Askings of one case belong together. Disagreements are counted as they show: one for each comparison.
    """
    said = [(case, one) for case in cases for one in case.comparisons.get(treatment, ())]
    asked = [(case, each) for case, one in said for each in _askings(one)]
    both = [(case, each) for case, each in asked if each.asked]
    if both:
        first = [_SCORE[each.treatment_first] for _, each in both if each.treatment_first]
        second = [_SCORE[each.control_first] for _, each in both if each.control_first]
        clusters = clusters_of([case for case, _ in both])
        turned = [one for _, one in said if one.disagreed]
        return Leaning(
            disagreements=len(turned),
            first_preferred=sum(
                one.treatment_first == "treatment" and one.control_first == "control" for one in turned
            ),
            lean=position_lean(first, second, clusters=clusters, level=level),
            consistency=order_consistency(first, second, clusters=clusters, level=level),
        )
    known = [
        (_SCORE[winner], each.treatment_first is not None)
        for _, each in asked
        if (winner := each.treatment_first or each.control_first) is not None
    ]
    if not known:
        return Leaning()
    scores, shown_first = [score for score, _ in known], [first for _, first in known]
    return Leaning(lean=position_lean_one_order(scores, shown_first, level=level))


def _askings(one: Comparison) -> Iterator[Comparison]:
    """Each asking of each judge behind a comparison."""
    for member in one.by_judge.values() or (one,):
        yield from member.repeats or (member,)


def length_leaning(scored: Scored, control: str, treatment: str, level: float) -> Maybe | None:
    """By how much the judge prefers the longer answer; None where no two lengths differ.

    Beside people's own scores where 30 of these cases are labelled, since quality then cancels.
    """
    known = [each for each in length_differences(scored, control, treatment) if each[2]]
    if not known:
        return None
    labelled = [each for each in known if treatment in each[0].labels]
    use = labelled if len(labelled) >= 30 else known
    return length_lean(
        [score for _, score, _ in use],
        [apart for _, _, apart in use],
        [case.labels[treatment] for case, _, _ in use] if use is labelled else None,
        clusters=clusters_of([case for case, _, _ in use]),
        level=level,
    )


def panel_agreement(cases: Sequence[CaseResult], treatment: str, level: float) -> Maybe | None:
    """Krippendorff's alpha of a panel over win, tie and loss; None where no panel judged."""
    said = [(case, one) for case in cases for one in case.comparisons.get(treatment, ()) if one.by_judge]
    judges = list(dict.fromkeys(name for _, one in said for name in one.by_judge))
    if len(judges) < 2:
        return None
    ratings = [[_rating(one.by_judge.get(judge)) for _, one in said] for judge in judges]
    clusters = clusters_of([case for case, _ in said])
    return krippendorffs_alpha(ratings, categories=CATEGORIES, clusters=clusters, level=level)


def _rating(one: Comparison | None) -> Category | None:
    return None if one is None or one.score is None else category(one.score)


def noise_of(cases: Sequence[CaseResult], treatment: str, level: float) -> Maybe | None:
    """How often a judge that was asked the same several times says the same; None where it was asked once."""
    rows = [
        (case, [_rating(each) for each in member.repeats])
        for case in cases
        for one in case.comparisons.get(treatment, ())
        for member in one.by_judge.values() or (one,)
        if member.repeats
    ]
    if not rows:
        return None
    return self_consistency(
        [row for _, row in rows], clusters=clusters_of([case for case, _ in rows]), level=level
    )


def self_preference(
    scored: Scored,
    *,
    control: str,
    treatment: str,
    judge_models: Sequence[str],
    variant_models: Mapping[str, str | None],
    level: float,
) -> tuple[str | None, Maybe | None]:
    """The arm of the two that alone shares a judge's family, and by how much the judges of that family prefer it.

    In points of win rate, beyond people's labels on the same cases; with fewer than 20 of those, beyond the
    members of the panel that are of other families, if there are any. Another pair's models do not matter. It holds
    a judge's errors of any other kind for self-preference, too: one that often calls a tie seems to prefer
    the worse arm. (None, None) where neither arm, or both, share a judge's family.
    Source: Panickssery, Bowman & Feng (2024), LLM Evaluators Recognize and Favor Their Own Generations
    (arXiv 2404.13076), section 3, for the phenomenon.
    """
    pair = {name: variant_models.get(name) for name in (control, treatment)}
    shares = sharing(judge_models, pair)
    if shares is None:
        return None, None
    family = family_of(pair[shares] or "")
    own = {model for model in judge_models if family_of(model) == family}
    others = set(judge_models) - own
    sign = 1.0 if shares == treatment else -1.0
    labelled, beside = [], []
    for case, score in scored:
        ours = _mean_of(case, treatment, own) if others else score
        theirs = _mean_of(case, treatment, others)
        if ours is not None and treatment in case.labels:
            labelled.append((case, sign * (ours - case.labels[treatment])))
        if ours is not None and theirs is not None:
            beside.append((case, sign * (ours - theirs)))
    use = labelled if len(labelled) >= _ENOUGH_LABELS or not beside else beside
    if not use:
        return shares, NotEstimable("neither people's labels nor judges of another family say what to expect")
    clusters = clusters_of([case for case, _ in use])
    return shares, mean_over_cases([apart for _, apart in use], clusters, level=level)


def _mean_of(case: CaseResult, treatment: str, judges: set[str]) -> float | None:
    """What these members of a panel say of the case on average."""
    scores = [
        each.score
        for one in case.comparisons.get(treatment, ())
        for name, each in one.by_judge.items()
        if name in judges and each.score is not None
    ]
    return math.fsum(scores) / len(scores) if scores else None
