"""From what was found case by case to what is known of each variant, and the decision on it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import chain

from equipoise.arena.gate import (
    ArmDecision,
    Decided,
    GateResult,
    decide,
    decide_arm,
    decide_criterion,
    usual_criteria,
)
from equipoise.arena.measuring import EVERY_CHECK, MeasureInfo, measure, values_of, worst_of
from equipoise.arena.result import CaseResult, Measured, Preference, VariantResult
from equipoise.arena.validity import invalid_reasons
from equipoise.experiment.offline import Criterion, Gate
from equipoise.stats.estimate import Estimate, NotEstimable

__all__ = ["conclude_variants", "failing_cases"]


def conclude_variants(
    cases: Sequence[CaseResult],
    *,
    variants: Sequence[str],
    infos: Mapping[str, MeasureInfo],
    preferences: Mapping[str, Preference],
    rule: Gate,
    must_pass: frozenset[str] = frozenset(),
    invalid: Sequence[str] = (),
) -> tuple[tuple[VariantResult, ...], GateResult]:
    """What is known of every variant, control first, and the gate's decision on each treatment.

    `infos` names the measures, `preferences` holds the pairwise judge's numbers by treatment, `must_pass` the
    evaluators that hold on every case. `invalid` says what is wrong with the run as a whole. Where `rule` has no
    criteria, the usual ones are asked.

    >>> scores = {"a": ({},), "b": ({},)}
    >>> cases = [CaseResult(id=str(number), asked="?", scores=scores) for number in range(20)]
    >>> conclude_variants(cases, variants=["a", "b"], infos={}, preferences={}, rule=Gate())[1].decision
    'inconclusive'
    """
    control, *treatments = variants
    measures = measure(cases, variants=variants, names=infos, level=rule.level)
    criteria = rule.criteria or usual_criteria(
        compares=bool(preferences), passes=EVERY_CHECK in measures[control]
    )
    decisions: dict[str, ArmDecision] = {}
    for treatment in treatments:
        preference = preferences.get(treatment)
        decisions[treatment] = decide_arm(
            treatment,
            criteria=[
                _decided(each, cases, control, treatment, measures, preference, rule.level)
                for each in criteria
            ],
            cases=len(cases),
            failing=failing_cases(cases, treatment, rule=rule, must_pass=must_pass),
            invalid=(
                *invalid,
                *invalid_reasons(
                    cases,
                    control=control,
                    treatment=treatment,
                    criteria=criteria,
                    measures=measures,
                    preference=preference,
                    limits=rule.limits,
                ),
            ),
            unchecked=_unchecked(cases, treatment, must_pass),
        )
    results = tuple(
        _result(cases, name, measures[name], preferences.get(name), decisions.get(name), rule, must_pass)
        for name in variants
    )
    return results, decide([decisions[name] for name in treatments])


def failing_cases(
    cases: Sequence[CaseResult], variant: str, *, rule: Gate, must_pass: frozenset[str]
) -> dict[str, tuple[str, ...]]:
    """The cases that may not fail and did on any sample, by what they failed; nothing where there are none.

    An evaluator of `must_pass` by its name; the cases that must pass as `every check of a must-pass case`;
    cases of a severity of which more fail than `rule.at_most` allows as `severity high (at most 1)`.

    >>> from equipoise.scoring.evaluating import Score
    >>> case = CaseResult(id="7", asked="?", scores={"b": ({"safe": Score(value=0.0, passed=False)},)})
    >>> failing_cases([case], "b", rule=Gate(), must_pass=frozenset({"safe"}))
    {'safe': ('7',)}
    """
    failed = [case for case in cases if (share := case.passed(variant)) is not None and share < 1.0]
    found = {
        name: tuple(
            case.id
            for case in cases
            if any(name in scores and scores[name].passed is False for scores in case.scores.get(variant, ()))
        )
        for name in sorted(must_pass)
    }
    found["every check of a must-pass case"] = tuple(case.id for case in failed if case.must_pass)
    for severity, most in sorted(rule.at_most.items()):
        ids = tuple(case.id for case in failed if case.severity == severity)
        if len(ids) > most:
            found[f"severity {severity} (at most {most})"] = ids
    return {name: ids for name, ids in found.items() if ids}


def _decided(
    criterion: Criterion,
    cases: Sequence[CaseResult],
    control: str,
    treatment: str,
    measures: Mapping[str, Mapping[str, Measured]],
    preference: Preference | None,
    level: float,
) -> Decided:
    samples = max((len(each) for case in cases for each in case.scores.values()), default=1) or 1
    if criterion.of == "win_rate":
        scored = sum(case.preference(treatment) is not None for case in cases)
        found = _win_rate(preference)
        return decide_criterion(criterion, estimate=found, cases=scored, level=level, samples=samples)
    ours, theirs = measures[treatment].get(criterion.of), measures[control].get(criterion.of)
    if ours is None or theirs is None or ours.difference is None:
        missing = NotEstimable("nothing was measured of it")
        return decide_criterion(criterion, estimate=missing, cases=0, level=level)
    values = values_of(cases, criterion.of, control, treatment)
    estimates = ours.difference, ours.mean, theirs.mean
    if criterion.worst is not None:
        scale = MeasureInfo(does=ours.does, top=ours.top).scale
        estimates = worst_of(values, criterion.worst, scale=scale, level=level)
    estimate, own, base = estimates
    return decide_criterion(
        criterion,
        estimate=estimate,
        own=own,
        control=base,
        cases=len(values.control),
        level=level,
        samples=samples,
    )


def _win_rate(preference: Preference | None) -> Estimate | NotEstimable:
    if preference is None:
        return NotEstimable("nothing compares the answers: name a pairwise judge under `offline.judge`")
    if preference.decides == "raw":
        return preference.raw
    if preference.corrected is None:
        return NotEstimable(
            f"people's labels are to correct the win rate, and there are {preference.labels} of them"
        )
    return preference.corrected


def _unchecked(cases: Sequence[CaseResult], variant: str, must_pass: frozenset[str]) -> int:
    """The cases on which something that must pass has no say on some sample."""
    return sum(
        any(
            name not in scores or scores[name].passed is None
            for name in must_pass
            for scores in case.scores.get(variant) or ({},)
        )
        or (case.must_pass and case.passed(variant) is None)
        for case in cases
    )


def _result(
    cases: Sequence[CaseResult],
    name: str,
    measures: Mapping[str, Measured],
    preference: Preference | None,
    decision: ArmDecision | None,
    rule: Gate,
    must_pass: frozenset[str],
) -> VariantResult:
    answers = list(chain.from_iterable(case.answers.get(name, ()) for case in cases))
    texts = [answer.text for answer in answers if answer.text is not None]
    costs = [answer.cost_usd for answer in answers]
    known = [cost for cost in costs if cost is not None]
    return VariantResult(
        name=name,
        cases=len(cases),
        answered=len(texts) if answers else None,
        errored=len(answers) - len(texts) if answers else None,
        mean_chars=math.fsum(map(len, texts)) / len(texts) if texts else None,
        # A sum that leaves some out would look like a cheaper arm.
        cost_usd=math.fsum(known) if costs and len(known) == len(costs) else None,
        measures=measures,
        preference=preference,
        flaky=tuple(
            case.id for case in cases if (share := case.passed(name)) is not None and 0.0 < share < 1.0
        ),
        failing=failing_cases(cases, name, rule=rule, must_pass=must_pass),
        decision=decision,
    )
