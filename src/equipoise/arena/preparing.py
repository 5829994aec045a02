"""Everything that can be known to be wrong with a run before anything is asked and paid for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from equipoise.arena.cases import CaseSet, read_cases
from equipoise.arena.result import Evaluator
from equipoise.errors import DataError, UsageError
from equipoise.experiment.definition import Experiment, Judge, Offline
from equipoise.experiment.variant import Variant
from equipoise.providers.messages import Provider
from equipoise.providers.recorded import RecordedAnswers
from equipoise.scoring.pairwise import PairwiseJudge
from equipoise.scoring.recorded import RecordedGrades, RecordedVerdicts, read_grades, read_verdicts
from equipoise.scoring.rubric import RubricJudge
from equipoise.scoring.rules import Check, read_checks

__all__ = ["AnswerSource", "Prepared", "prepare"]


@dataclass(frozen=True, slots=True)
class AnswerSource:
    """Where answers come from: a recording, an endpoint for each variant, or nowhere (none are needed)."""

    recorded: RecordedAnswers | None = None
    live: Mapping[str, Provider] = field(default_factory=dict)

    @property
    def origin(self) -> str:
        """In words, for the report."""
        if self.recorded is not None:
            return f"recorded in {self.recorded.origin} (sha256 {self.recorded.digest[:12]})"
        return "asked live" if self.live else "none: only what was judged earlier is read"


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
    """A run that can be carried out, control first."""

    variants: tuple[Variant, ...]
    cases: CaseSet
    answers: AnswerSource
    checks: tuple[Check, ...]
    must_pass: frozenset[str]
    axes: tuple[str, ...] = ()
    grades: RecordedGrades | None = None
    rubric_judge: RubricJudge | None = None
    verdicts: RecordedVerdicts | None = None
    pairwise_judge: PairwiseJudge | None = None

    def does(self, what: str) -> bool:
        """Whether the run has answers, grades or comparisons."""
        match what:
            case "answers":
                return self.answers.recorded is not None or bool(self.answers.live)
            case "grades":
                return self.grades is not None or self.rubric_judge is not None
        return self.verdicts is not None or self.pairwise_judge is not None

    @property
    def evaluators(self) -> tuple[Evaluator, ...]:
        """Who judges, for the result."""
        found = []
        if self.verdicts is not None:
            found.append(
                Evaluator(
                    does="pairwise", kind="recorded", name=self.verdicts.origin, digest=self.verdicts.digest
                )
            )
        if self.pairwise_judge is not None:
            judge = self.pairwise_judge
            found.append(Evaluator(does="pairwise", kind="live", name=judge.model, digest=judge.digest))
        if self.grades is not None:
            found.append(
                Evaluator(does="rubric", kind="recorded", name=self.grades.origin, digest=self.grades.digest)
            )
        if self.rubric_judge is not None:
            grader = self.rubric_judge
            found.append(Evaluator(does="rubric", kind="live", name=grader.model, digest=grader.digest))
        return tuple(found)


def prepare(
    experiment: Experiment, *, answers: Provider | Mapping[str, Provider] | None, judge: Provider | None
) -> Prepared:
    """Read and check everything the run needs. Raises DefinitionError, DataError or UsageError."""
    offline = experiment.offline
    if offline is None:
        raise UsageError(
            f"{experiment.name} has no offline gate; add `offline:` with `cases:` to its definition"
        )
    folder = Path(experiment.folder)
    checks, must_pass = read_checks(offline.checks, must_pass=offline.gate.must_pass)
    cases = read_cases(offline.cases, folder)
    _require_references(checks, cases)
    judging = offline.judge or Judge()
    rubric = offline.rubric
    names = [variant.name for variant in experiment.variants]
    treatments = names[1:]
    verdicts = read_verdicts(judging.pairwise, folder, variants=treatments) if judging.pairwise else None
    grades = (
        read_grades(judging.grades, folder, variants=names, axes=rubric.axes, top=rubric.top)
        if judging.grades and rubric
        else None
    )
    judged = {
        "verdicts": {case for case, _ in verdicts.scores} if verdicts else None,
        "grades": {case for case, _ in grades.grades} if grades else None,
    }
    for kind, known in judged.items():
        if known is not None and known.isdisjoint(case.id for case in cases):
            raise DataError(
                f"the recorded {kind} are about none of the cases in {cases.origin}; check that `case` names the "
                f"column with their ids, such as '{cases.cases[0].id}'"
            )
    to_compare = judging.model is not None and verdicts is None
    to_grade = judging.model is not None and rubric is not None and grades is None
    if (to_compare or to_grade) and judge is None:
        raise UsageError(
            f"the judge {judging.model} has to be asked for {' and '.join(_asked(to_compare, to_grade))}, and no endpoint "
            "was given for it; give one, or name a recording under `offline.judge`"
        )
    source = _answers(experiment, offline, answers, needed=bool(checks) or to_compare or to_grade)
    model = judging.model or ""
    return Prepared(
        variants=experiment.variants,
        cases=cases,
        answers=source,
        checks=checks,
        must_pass=must_pass,
        axes=tuple(rubric.axes) if rubric else (),
        grades=grades,
        rubric_judge=RubricJudge(provider=judge, model=model, axes=rubric.axes, top=rubric.top)
        if to_grade and judge and rubric
        else None,
        verdicts=verdicts,
        pairwise_judge=PairwiseJudge(provider=judge, model=model, axes=rubric.axes if rubric else {})
        if to_compare and judge
        else None,
    )


def _asked(to_compare: bool, to_grade: bool) -> list[str]:
    return [what for what, wanted in (("comparisons", to_compare), ("grades", to_grade)) if wanted]


def _require_references(checks: tuple[Check, ...], cases: CaseSet) -> None:
    for check in checks:
        without = [case.id for case in cases if case.reference is None] if check.needs_reference else []
        if without:
            raise DataError(
                f"the check '{check.name}' compares with a reference, and {len(without)} of {len(cases)} cases have none, "
                f"the first '{without[0]}'; name the column under `cases.reference`, or add what is missing"
            )


def _answers(
    experiment: Experiment,
    offline: Offline,
    given: Provider | Mapping[str, Provider] | None,
    *,
    needed: bool,
) -> AnswerSource:
    names = [variant.name for variant in experiment.variants]
    if offline.answers is not None:
        recording = offline.answers
        recorded = RecordedAnswers.read(
            Path(experiment.folder) / recording.file,
            case=recording.case,
            variant=recording.variant,
            value=recording.value,
            names=recording.names,
        )
        recorded.require(names)
        return AnswerSource(recorded=recorded)
    if given is None:
        if needed:
            raise UsageError(
                "answers are needed, and there is neither a recording under `offline.answers` nor an endpoint to ask"
            )
        return AnswerSource()
    for variant in experiment.variants:
        if variant.model is None:
            raise UsageError(f"the variant '{variant.name}' names no model to ask; give it a `model`")
    _require_carried(experiment, given)
    if isinstance(given, Mapping):
        if missing := [name for name in names if name not in given]:
            raise UsageError(f"no endpoint was given for the variant {', '.join(missing)}")
        return AnswerSource(live={name: given[name] for name in names})
    return AnswerSource(live=dict.fromkeys(names, given))


def _require_carried(experiment: Experiment, given: Provider | Mapping[str, Provider]) -> None:
    """Refuse a comparison of two variants that an endpoint could not tell apart.

    A request carries model, prompt and parameters. Where a variant's retrieval or configuration differs,
    the application makes the difference, and asking a model directly would compare a thing with itself.
    """
    carried = {"model", "system", "params"} | (
        {"endpoint", "serving"} if isinstance(given, Mapping) else set()
    )
    for difference in experiment.differences:
        if difference.path.split(".", 1)[0] not in carried:
            raise UsageError(
                f"'{difference.variant}' differs from control in {difference.path}, of which a request to "
                "this endpoint says nothing. Record the answers of your application and name them under "
                "`offline.answers`"
                + ("" if isinstance(given, Mapping) else ", or give each variant an endpoint of its own")
            )
