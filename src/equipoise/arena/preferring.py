"""A treatment against control, as the pairwise judge sees it, and corrected by what people say."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from equipoise.arena.leaning import (
    CATEGORIES,
    Scored,
    category,
    clusters_of,
    leaning_of,
    length_differences,
    length_leaning,
    noise_of,
    panel_agreement,
    self_preference,
)
from equipoise.arena.result import CaseResult, Preference
from equipoise.arena.stepping import Judging, interval_after, repeated, repeated_level
from equipoise.experiment.offline import Labels
from equipoise.stats.cases.case_means import share_over_cases
from equipoise.stats.estimate import Estimate, NotEstimable
from equipoise.stats.judges.agreement import agreement, cohens_kappa
from equipoise.stats.judges.corrected_cases import corrected_mean_over_cases
from equipoise.stats.judges.prediction_powered import LABELS_TUNED, JudgedArm, corrected_mean
from equipoise.stats.moments import Moments, PairMoments
from equipoise.stats.preference.length_control import length_controlled_win_rate
from equipoise.stats.preference.preference import clustered_win_rate, win_rate

__all__ = ["prefer"]

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
    weighted where weights differ; the rate at equal length is not weighted. With `judging` the raw and the
    corrected win rate have the repeated interval of the step that was reached, and cases that were not judged
    are not unscored. With `labels` the win rate corrected by them decides; without enough of them it has no
    estimate.

    Methods and sources: `win_rate`, `clustered_win_rate`, `length_controlled_win_rate`, `corrected_mean` and
    `corrected_mean_over_cases` (prediction-powered), `position_lean`, `order_consistency`, `cohens_kappa`,
    `krippendorffs_alpha`, `self_consistency`, which see.

    >>> from equipoise.scoring.pairwise import Comparison
    >>> won = Comparison(score=1.0, treatment_first="treatment", control_first="treatment")
    >>> cases = [CaseResult(id=str(n), asked="?", comparisons={"b": (won,)}) for n in range(40)]
    >>> found = prefer(cases, control="a", treatment="b", level=0.95)
    >>> found.wins, found.raw.value, found.consistency.value
    (40, 1.0, 1.0)
    """
    seen = [case for case in cases if treatment in case.comparisons]
    scored = [(case, score) for case in seen if (score := case.preference(treatment)) is not None]
    scores = [score for _, score in scored]
    comparisons = [each for case in seen for each in case.comparisons[treatment]]
    leaning = leaning_of(seen, treatment, level)
    people = _people(scored, treatment, labels, level, judging)
    shares, preferred = self_preference(
        scored,
        control=control,
        treatment=treatment,
        judge_models=judge_models,
        variant_models=variant_models or {},
        level=level,
    )
    return Preference(
        raw=_rate(scored, level) if judging is None else _after(judging, scored),
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
        length_lean=length_leaning(scored, control, treatment, level),
        labels=people.labels,
        agreement=people.agreement,
        kappa=people.kappa,
        panel_alpha=panel_agreement(seen, treatment, level),
        judge_noise=noise_of(seen, treatment, level),
        shares_family=shares,
        self_preference=preferred,
        by_tag=_by_tag(scored, level),
        judged=len(seen),
        saved=len(cases) - len(seen) if judging is not None else 0,
        steps=judging.step + 1 if judging is not None else 1,
    )


def _weights(scored: Scored) -> list[float] | None:
    """The weight of each case, or None where all count alike."""
    weights = [case.weight for case, _ in scored]
    return weights if len(set(weights)) > 1 else None


def _rate(scored: Scored, level: float) -> Maybe:
    scores, clusters = [score for _, score in scored], clusters_of([case for case, _ in scored])
    weights = _weights(scored)
    if weights is not None:
        return share_over_cases(scores, clusters, weights=weights, level=level, null=0.5)
    if clusters is None:
        return win_rate(scores, level=level)
    return clustered_win_rate(scores, clusters, level=level)


def _after(judging: Judging, scored: Scored) -> Maybe:
    clusters = clusters_of([case for case, _ in scored])
    return interval_after(judging, [score for _, score in scored], clusters, weights=_weights(scored))


def _controlled(scored: Scored, control: str, treatment: str, level: float) -> Maybe:
    known = length_differences(scored, control, treatment)
    if not known:
        return NotEstimable("the lengths of the answers are not known")
    found = length_controlled_win_rate(
        [score for _, score, _ in known],
        [apart for _, _, apart in known],
        clusters=clusters_of([case for case, _, _ in known]),
        level=level,
    )
    return found if isinstance(found, NotEstimable) else found.win_rate


@dataclass(frozen=True, slots=True, kw_only=True)
class _People:
    """The judge beside people's labels; None where none are declared."""

    labels: int
    corrected: Maybe | None = None
    agreement: Maybe | None = None
    kappa: Maybe | None = None


def _people(
    scored: Scored, treatment: str, labels: Labels | None, level: float, judging: Judging | None
) -> _People:
    labelled = [(case, score) for case, score in scored if treatment in case.labels]
    if labels is None:
        return _People(labels=len(labelled))
    clusters = clusters_of([case for case, _ in labelled])
    ours = [category(score) for _, score in labelled]
    theirs = [category(case.labels[treatment]) for case, _ in labelled]
    if len(labelled) < labels.at_least:
        corrected: Maybe = NotEstimable(
            f"{len(labelled)} of the cases are labelled, and from {labels.at_least} on the labels decide"
        )
    elif judging is None:
        corrected = _corrected(scored, treatment, level)
    else:
        corrected = repeated(judging, _corrected(scored, treatment, repeated_level(judging)))
    return _People(
        labels=len(labelled),
        corrected=corrected,
        agreement=agreement(ours, theirs, clusters=clusters, level=level),
        kappa=cohens_kappa(ours, theirs, categories=CATEGORIES, clusters=clusters, level=level),
    )


def _corrected(scored: Scored, treatment: str, level: float) -> Maybe:
    clusters, weights = clusters_of([case for case, _ in scored]), _weights(scored)
    if clusters is not None or weights is not None:
        return corrected_mean_over_cases(
            [case.labels.get(treatment) for case, _ in scored],
            [score for _, score in scored],
            clusters=clusters,
            weights=weights,
            level=level,
            null=0.5,
        )
    labelled = [(case.labels[treatment], score) for case, score in scored if treatment in case.labels]
    rest = [score for case, score in scored if treatment not in case.labels]
    said, judged = [label for label, _ in labelled], [score for _, score in labelled]
    # A weight tuned on few labels promises too much; fixed beforehand at 1 it is plain PPI. Where (nearly) every
    # case is labelled, the judge has nothing to add.
    weight = 0.0 if len(rest) < 2 else None if len(labelled) >= LABELS_TUNED else 1.0
    arm = JudgedArm(PairMoments.of(said, judged), Moments.of(rest))
    return corrected_mean(arm, judge_weight=weight, level=level, null=0.5)


def _by_tag(scored: Scored, level: float) -> dict[str, Maybe]:
    tags = sorted({tag for case, _ in scored for tag in case.tags})
    within = {tag: [(case, score) for case, score in scored if tag in case.tags] for tag in tags}
    return {tag: _rate(those, level) for tag, those in within.items() if len(those) > 1}
