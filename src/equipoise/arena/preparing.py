"""Everything that can be known to be wrong with a run before anything is asked and paid for."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from equipoise.arena.answering import AnswerSource, answer_request
from equipoise.arena.application import load_application
from equipoise.arena.case import CaseSet
from equipoise.arena.cases import read_cases
from equipoise.errors import DataError, UsageError, nearest
from equipoise.experiment.definition import Experiment
from equipoise.experiment.evaluators import GRAMMAR, declared
from equipoise.experiment.offline import Gate, Judge, Offline
from equipoise.experiment.variant import Variant
from equipoise.providers.messages import Embedder, Provider
from equipoise.providers.recorded import RecordedAnswers
from equipoise.scoring.evaluating import Evaluator
from equipoise.scoring.evaluators import AskedJudge, Tools, read_evaluators
from equipoise.scoring.pairwise import Comparator, pairwise_comparator
from equipoise.scoring.recorded import read_labels, recorded_comparator, recorded_grades
from equipoise.scoring.rubric import rubric_evaluator

__all__ = ["Answerers", "Endpoints", "Prepared", "prepare"]

Answerers = Provider | Mapping[str, Provider]


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoints:
    """What may be asked: for answers, for judgements (one for each model of the panel), for embeddings."""

    answers: Answerers | None = None
    judges: Sequence[Provider] = ()
    embedder: Callable[[str | None, str], Embedder] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
    """A run that can be carried out, control first.

    `own` holds the evaluators that a case brings with it, by case. `labels` is what people said, by case
    and treatment.
    """

    variants: tuple[Variant, ...]
    cases: CaseSet
    samples: int
    answers: AnswerSource
    evaluators: tuple[Evaluator, ...]
    must_pass: frozenset[str]
    own: Mapping[str, tuple[Evaluator, ...]]
    comparator: Comparator | None
    labels: Mapping[tuple[str, str], float]
    gate: Gate
    judge: Judge

    @property
    def names(self) -> tuple[str, ...]:
        """The variants by name, control first."""
        return tuple(variant.name for variant in self.variants)


def prepare(
    experiment: Experiment,
    endpoints: Endpoints,
    *,
    through: Callable[[Provider], Provider] = lambda provider: provider,
    seed: int = 0,
) -> Prepared:
    """Read and check everything the run needs; `through` is put in front of every endpoint that is asked.

    Raises DefinitionError, DataError or UsageError.
    """
    offline = experiment.offline
    if offline is None:
        raise UsageError(
            f"{experiment.name} has no offline gate; add `offline:` with `cases:` to its definition"
        )
    folder = Path(experiment.folder)
    cases = read_cases(offline.cases, folder)
    judging = offline.judge or Judge()
    judges = _judges(offline, judging, cases, endpoints, through)
    tools = Tools(folder=folder, judges=judges, embedder=endpoints.embedder)
    evaluators, must_pass = read_evaluators(offline.evaluators, tools=tools, must_pass=offline.gate.must_pass)
    evaluators += _rubric(experiment, offline, judging, judges, folder, seed)
    comparator = _comparator(experiment, offline, judging, judges, folder, seed)
    own = {case.id: read_evaluators(case.evaluators, tools=tools)[0] for case in cases if case.evaluators}
    reads = any(not getattr(evaluator, "recorded", False) for evaluator in evaluators)
    needed = reads or bool(own) or _compares_live(judging)
    source = _answers(experiment, offline, endpoints.answers, through, needed=needed, seed=seed)
    _require_references(offline, cases)
    _require_filled(source, cases, experiment.variants)
    prepared = Prepared(
        variants=experiment.variants,
        cases=cases,
        samples=offline.samples,
        answers=source,
        evaluators=evaluators,
        must_pass=must_pass,
        own=own,
        comparator=comparator,
        labels=read_labels(offline.labels, folder, variants=[each.name for each in experiment.treatments])
        if offline.labels
        else {},
        gate=offline.gate,
        judge=judging,
    )
    _require_measures(prepared)
    _require_common_cases(prepared)
    return prepared


def _compares_live(judging: Judge) -> bool:
    return bool(judging.asked) and judging.compares and judging.pairwise is None


def _judges(
    offline: Offline,
    judging: Judge,
    cases: CaseSet,
    endpoints: Endpoints,
    through: Callable[[Provider], Provider],
) -> tuple[AskedJudge, ...]:
    """The judges that are asked; their endpoints must be there where anything asks them."""
    grades = offline.rubric is not None and judging.grades is None and bool(judging.asked)
    wanted = [
        what
        for what, is_wanted in (
            ("comparisons", _compares_live(judging)),
            ("grades", grades),
            ("evaluators", _any_judge(offline, cases)),
        )
        if is_wanted
    ]
    if not wanted or not judging.asked:
        return ()
    if len(endpoints.judges) != len(judging.asked):
        names = ", ".join(judge.model or "" for judge in judging.asked)
        raise UsageError(
            f"the judge {names} has to be asked for {' and '.join(wanted)}, and no endpoint "
            "was given for it; give one, or name a recording under `offline.judge`"
        )
    return tuple(
        AskedJudge(provider=through(provider), model=judge.model or "", params=judge.params)
        for judge, provider in zip(judging.asked, endpoints.judges, strict=True)
    )


def _any_judge(offline: Offline, cases: CaseSet) -> bool:
    listed = [*offline.evaluators, *(each for case in cases for each in case.evaluators)]
    return any(key in GRAMMAR and GRAMMAR[key].kind in ("judge", "plugin") for each in listed for key in each)


def _rubric(
    experiment: Experiment,
    offline: Offline,
    judging: Judge,
    judges: tuple[AskedJudge, ...],
    folder: Path,
    seed: int,
) -> tuple[Evaluator, ...]:
    if offline.rubric is None:
        return ()
    if judging.grades is not None:
        names = [variant.name for variant in experiment.variants]
        return (recorded_grades(judging.grades, folder, variants=names, rubric=offline.rubric),)
    if not judges:
        return ()
    return (rubric_evaluator(offline.rubric, judges, samples=judging.samples, seed=seed),)


def _comparator(
    experiment: Experiment,
    offline: Offline,
    judging: Judge,
    judges: tuple[AskedJudge, ...],
    folder: Path,
    seed: int,
) -> Comparator | None:
    if judging.pairwise is not None:
        names = [variant.name for variant in experiment.treatments]
        return recorded_comparator(judging.pairwise, folder, variants=names)
    if not (judges and judging.compares):
        return None
    return pairwise_comparator(judging, judges, offline.rubric, seed=seed)


def _require_references(offline: Offline, cases: CaseSet) -> None:
    """Comparing with references of which there are none at all is a slip; a few missing ones are counted."""
    for each in declared(offline.evaluators):
        needs = GRAMMAR[each.rule].kind == "similarity" or each.argument == {"from": "reference"}
        if needs and all(case.reference is None for case in cases):
            raise DataError(
                f"the evaluator '{each.name}' compares with a reference, and no case of {cases.origin} has one; "
                "name the column under `cases.reference`, or add what is missing"
            )


def _require_filled(source: AnswerSource, cases: CaseSet, variants: tuple[Variant, ...]) -> None:
    """Every template can be filled for every case: found out now, and not at the last of a thousand."""
    if source.live and source.application is None:
        for variant in variants:
            for case in cases if variant.template or variant.system else ():
                answer_request(case, variant)


def _require_measures(prepared: Prepared) -> None:
    known = {name for evaluator in prepared.evaluators for name in evaluator.measures}
    known |= {"pass_rate"} | ({"win_rate"} if prepared.comparator else set())
    known |= {"assertions"} if prepared.own else set()
    for criterion in prepared.gate.criteria:
        if criterion.of not in known:
            near = nearest(criterion.of, known)
            raise UsageError(
                f"the gate asks for '{criterion.of}', and nothing measures it. Measured are: "
                f"{', '.join(sorted(known))}" + (f"; {near}" if near else "")
            )


def _require_common_cases(prepared: Prepared) -> None:
    ids = {case.id for case in prepared.cases}
    about: dict[str, set[str]] = {}
    cases_of = getattr(prepared.comparator, "cases", None)
    if cases_of is not None:
        about["verdicts"] = set(cases_of)
    for evaluator in prepared.evaluators:
        cases_of = getattr(evaluator, "cases", None)
        if cases_of is not None:
            about["grades"] = set(cases_of)
    if prepared.labels:
        about["labels"] = {case for case, _ in prepared.labels}
    for kind, known in about.items():
        if known.isdisjoint(ids):
            raise DataError(
                f"the recorded {kind} are about none of the cases in {prepared.cases.origin}; check that `case` names the "
                f"column with their ids, such as '{prepared.cases.cases[0].id}'"
            )


def _answers(
    experiment: Experiment,
    offline: Offline,
    given: Answerers | None,
    through: Callable[[Provider], Provider],
    *,
    needed: bool,
    seed: int,
) -> AnswerSource:
    names = [variant.name for variant in experiment.variants]
    if offline.answers is not None:
        if offline.samples > 1:
            raise UsageError(
                f"`samples: {offline.samples}` asks for several answers a case, and recorded answers are one a case; "
                "leave `samples` out"
            )
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
    if offline.application is not None and given is None:
        application = load_application(offline.application, Path(experiment.folder))
        asked = through(application)
        return AnswerSource(live=dict.fromkeys(names, asked), application=application.origin)
    if given is None or not needed:
        if needed:
            raise UsageError(
                "answers are needed, and there is neither a recording or a function under `offline.answers` nor an "
                "endpoint to ask"
            )
        return AnswerSource()
    for variant in experiment.variants:
        if variant.model is None:
            raise UsageError(f"the variant '{variant.name}' names no model to ask; give it a `model`")
    _require_carried(experiment, given)
    if isinstance(given, Mapping):
        if missing := [name for name in names if name not in given]:
            raise UsageError(f"no endpoint was given for the variant {', '.join(missing)}")
        return AnswerSource(live={name: through(given[name]) for name in names}, seed=seed)
    return AnswerSource(live=dict.fromkeys(names, through(given)), seed=seed)


def _require_carried(experiment: Experiment, given: Answerers) -> None:
    """Refuse a comparison of two variants that an endpoint could not tell apart.

    A request carries model, prompt and parameters. Where a variant's retrieval or configuration differs,
    the application makes the difference, and asking a model directly would compare a thing with itself.
    """
    carried = {"model", "system", "template", "params"} | (
        {"endpoint", "serving"} if isinstance(given, Mapping) else set()
    )
    for difference in experiment.differences:
        if difference.path.split(".", 1)[0] not in carried:
            raise UsageError(
                f"'{difference.variant}' differs from control in {difference.path}, of which a request to "
                "this endpoint says nothing. Name your application's function under `offline.answers` "
                "(`{python: app.py:answer}`), or record its answers and name them there"
                + ("" if isinstance(given, Mapping) else ", or give each variant an endpoint of its own")
            )
