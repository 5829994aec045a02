"""From what was found case by case to what is known of each variant, and the decision."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

from equipoise.arena.gate import decide, decide_arm
from equipoise.arena.preparing import Prepared
from equipoise.arena.result import ArenaResult, CaseResult, CheckCount, VariantResult
from equipoise.experiment.definition import Experiment, Gate
from equipoise.scoring.passing import Failed, Passed
from equipoise.scoring.rubric import rubric_means
from equipoise.stats.estimate import Estimate, NotEstimable
from equipoise.stats.preference.preference import win_rate

__all__ = ["conclude"]


def conclude(
    experiment: Experiment,
    prepared: Prepared,
    cases: tuple[CaseResult, ...],
    *,
    seed: int,
    asked: int,
    replayed: int,
) -> ArenaResult:
    """Count, estimate and decide."""
    gate = experiment.offline.gate if experiment.offline else Gate()
    control, *treatments = (variant.name for variant in prepared.variants)
    variants = (
        _base(prepared, cases, control),
        *(_treatment(prepared, cases, name, gate) for name in treatments),
    )
    return ArenaResult(
        experiment=experiment.name,
        digest=experiment.digest,
        cases_digest=prepared.cases.digest,
        cases_origin=prepared.cases.origin,
        answers_origin=prepared.answers.origin,
        evaluators=prepared.evaluators,
        variants=variants,
        cases=cases,
        gate=decide([variant.decision for variant in variants if variant.decision is not None]),
        margin=gate.margin,
        superior=gate.superior,
        level=gate.level,
        seed=seed,
        asked=asked,
        replayed=replayed,
    )


def _treatment(prepared: Prepared, cases: Sequence[CaseResult], name: str, gate: Gate) -> VariantResult:
    known = _base(prepared, cases, name)
    comparisons = [case.comparisons[name] for case in cases if name in case.comparisons]
    scores = [each.score for each in comparisons if each.score is not None]
    rate: Estimate | NotEstimable
    if not comparisons:
        rate = NotEstimable("nothing compares the answers: name a pairwise judge under `offline.judge`")
    else:
        rate = win_rate(scores, level=gate.level)
    both = [each for each in comparisons if each.asked]
    failing = [(check.name, check.failed) for check in known.checks if check.must_pass and check.failed]
    decision = decide_arm(
        name,
        gate=gate,
        win_rate=rate,
        cases=len(cases),
        scored=len(scores),
        failing=failing,
        unchecked=max((check.not_run for check in known.checks if check.must_pass), default=0),
    )
    return replace(
        known,
        win_rate=rate,
        wins=sum(score > 0.5 for score in scores),
        ties=sum(score == 0.5 for score in scores),
        losses=sum(score < 0.5 for score in scores),
        unscored=len(cases) - len(scores),
        disagreements=sum(each.disagreed for each in both) if both else None,
        first_preferred=sum(
            each.treatment_first == "treatment" and each.control_first == "control" for each in both
        )
        if both
        else None,
        decision=decision,
    )


def _base(prepared: Prepared, cases: Sequence[CaseResult], name: str) -> VariantResult:
    """What is known of a variant without comparing it."""
    answers = [case.answers[name] for case in cases if name in case.answers]
    texts = [answer.text for answer in answers if answer.text is not None]
    return VariantResult(
        name=name,
        cases=len(cases),
        answered=len(texts) if answers else None,
        errored=len(answers) - len(texts) if answers else None,
        mean_chars=math.fsum(map(len, texts)) / len(texts) if texts else None,
        checks=tuple(
            CheckCount(
                name=check.name,
                must_pass=check.name in prepared.must_pass,
                passed=sum(isinstance(result, Passed) for result in results),
                failed=sum(isinstance(result, Failed) for result in results),
                not_run=len(cases) - len(results),
            )
            for check in prepared.checks
            for results in [[case.checks[name][check.name] for case in cases if name in case.checks]]
        ),
        rubric=rubric_means(case.grades[name].scores for case in cases if name in case.grades),
    )
