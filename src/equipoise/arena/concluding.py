"""From what was found case by case to the result: who judged, what was seen, what follows."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType
from typing import Literal

from equipoise.arena.deciding import conclude_variants
from equipoise.arena.measuring import MeasureInfo
from equipoise.arena.preferring import prefer
from equipoise.arena.preparing import Prepared
from equipoise.arena.result import ArenaResult, CaseResult, Preference, Settings, Spent, Used, VariantResult
from equipoise.arena.stepping import Judging
from equipoise.experiment.definition import Experiment
from equipoise.scoring.evaluating import Evaluator
from equipoise.scoring.recorded import RecordedGrades
from equipoise.scoring.rubric import RubricEvaluator

__all__ = ["Heard", "conclude"]

Heard = Mapping[tuple[bool, str], set[tuple[str, str | None]]]
"""What endpoints said of themselves (model, fingerprint), by whether it was an answer and the model asked."""


def conclude(
    experiment: Experiment,
    prepared: Prepared,
    cases: tuple[CaseResult, ...],
    judging: Mapping[str, Judging],
    *,
    heard: Heard,
    changed: bool = False,
    spent: Spent,
    seed: int,
    sent: int,
    replayed: int,
) -> ArenaResult:
    """Count, estimate and decide.

    `judging` says how far judging in steps went, by treatment. `changed` says that the cases are no longer
    what they were when the run began.
    """
    control, *treatments = prepared.names
    preferences: dict[str, Preference] = {}
    for treatment in treatments if prepared.comparator is not None else ():
        preferences[treatment] = prefer(
            cases,
            control=control,
            treatment=treatment,
            level=prepared.gate.level,
            judge_models=prepared.comparator.models if prepared.comparator else (),
            variant_models={variant.name: variant.model for variant in prepared.variants},
            labels=experiment.offline.labels if experiment.offline else None,
            judging=judging.get(treatment),
        )
    variants, gate = conclude_variants(
        cases,
        variants=prepared.names,
        infos=_infos(prepared),
        preferences=preferences,
        rule=prepared.gate,
        must_pass=prepared.must_pass,
        invalid=tuple(_invalid(prepared, heard, changed=changed)),
    )
    return ArenaResult(
        experiment=experiment.name,
        digest=experiment.digest,
        cases_digest=prepared.cases.digest,
        cases_origin=prepared.cases.origin,
        answers_origin=prepared.answers.origin,
        samples=prepared.samples,
        evaluators=tuple(_used(prepared)),
        variants=tuple(_settled(prepared, cases, variant) for variant in variants),
        cases=cases,
        gate=gate,
        rule=prepared.gate,
        seed=seed,
        spent=spent,
        remarks=tuple(_remarks(prepared, heard)),
        sent=sent,
        replayed=replayed,
    )


def _infos(prepared: Prepared) -> dict[str, MeasureInfo]:
    """What is measured, by name."""
    infos = {
        measure: MeasureInfo(
            does=_does(evaluator),
            top=getattr(evaluator, "top", None),
            bar=evaluator.kind == "rule",
            must_pass=evaluator.name in prepared.must_pass,
        )
        for evaluator in prepared.evaluators
        for measure in evaluator.measures
    }
    if prepared.own:
        infos["assertions"] = MeasureInfo(does="rule", bar=True)
    return infos


def _invalid(prepared: Prepared, heard: Heard, *, changed: bool) -> Iterator[str]:
    """Why nothing can be concluded, whatever the numbers say."""
    if changed:
        yield "the cases changed while the run was on; run it again"
    pin = prepared.cases.pinned
    if pin is not None and not prepared.cases.digest.startswith(pin):
        yield f"the cases are not those that are pinned: their sha256 is {prepared.cases.digest}"
    comparator, pinned = prepared.comparator, prepared.judge.sha256
    if comparator is not None and pinned is not None and not comparator.digest.startswith(pinned):
        yield f"the judge is not the one that is pinned: its sha256 is {comparator.digest}"
    for (is_answer, model), said in sorted(heard.items()):
        models = sorted({named for named, _ in said})
        if not is_answer and len(models) > 1:
            yield f"the judge {model} changed during the run: it called itself {' and '.join(models)}"


def _remarks(prepared: Prepared, heard: Heard) -> Iterator[str]:
    yield from prepared.cases.remarks
    for evaluator in prepared.evaluators:
        caution = getattr(evaluator, "caution", None)
        if caution:
            yield f"{evaluator.name}: {caution}"
    for (is_answer, model), said in sorted(heard.items()):
        prints = sorted({mark for _, mark in said if mark is not None})
        if not is_answer and len(prints) > 1:
            yield (
                f"the judge {model} gave {len(prints)} different system fingerprints: its endpoint changed while it judged"
            )


def _used(prepared: Prepared) -> Iterator[Used]:
    comparator = prepared.comparator
    if comparator is not None:
        yield Used(
            name="pairwise",
            does="pairwise",
            how="recorded" if comparator.recorded else "asked",
            digest=comparator.digest,
            model=", ".join(comparator.models) or None,
        )
    for evaluator in prepared.evaluators:
        yield Used(
            name=evaluator.name,
            does=_does(evaluator),
            how=_how(evaluator),
            digest=evaluator.digest,
            revision=evaluator.revision,
            model=", ".join(getattr(evaluator, "models", ())) or None,
        )


def _does(evaluator: Evaluator) -> Literal["rule", "similarity", "judge", "plugin", "rubric"]:
    """What an evaluator does; grades by the axes of a rubric are a kind of their own, on a scale from 1."""
    return "rubric" if isinstance(evaluator, RubricEvaluator | RecordedGrades) else evaluator.kind


def _how(evaluator: Evaluator) -> Literal["computed", "asked", "recorded"]:
    if getattr(evaluator, "recorded", False):
        return "recorded"
    return "asked" if evaluator.kind == "judge" else "computed"


def _settled(prepared: Prepared, cases: Sequence[CaseResult], variant: VariantResult) -> VariantResult:
    """The variant with how its answers were made."""
    asked = next(each for each in prepared.variants if each.name == variant.name)
    answers = [answer for case in cases for answer in case.answers.get(variant.name, ())]
    live = bool(prepared.answers.live) and prepared.answers.application is None
    return replace(
        variant,
        settings=Settings(
            asked=MappingProxyType(asked.settings),
            models=tuple(sorted({answer.model for answer in answers if answer.model})),
            fingerprints=tuple(sorted({answer.fingerprint for answer in answers if answer.fingerprint})),
            seed_granted=all(answer.granted for answer in answers) if live and answers else None,
        ),
    )
