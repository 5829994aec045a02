"""From the form of the file to the frozen values, reading the files it names on the way."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from types import MappingProxyType
from typing import Any

from pydantic import ValidationError

from equipoise.errors import DefinitionError, Fault
from equipoise.experiment.amount import Amount
from equipoise.experiment.audience import Attribute, Layer
from equipoise.experiment.bandit_form import bandit_of
from equipoise.experiment.catalogue import CATALOGUE
from equipoise.experiment.definition import (
    Capture,
    Cases,
    Clusters,
    Criterion,
    CriticalSegment,
    Experiment,
    Gate,
    Judge,
    Labels,
    Limits,
    Offline,
    OnlineJudge,
    PlanSettings,
    Price,
    Recording,
    Rollout,
    Rubric,
    Show,
    TableSource,
    Unit,
    Watch,
)
from equipoise.experiment.document import Document, read_document, read_text
from equipoise.experiment.document import Path as FieldPath
from equipoise.experiment.form import (
    CasesForm,
    CriterionForm,
    Form,
    GateForm,
    InlineForm,
    JudgeForm,
    LabelsForm,
    MetricForm,
    OfflineForm,
    PlanForm,
    PromptForm,
    RecordingForm,
    RolloutForm,
    RubricFileForm,
    RubricForm,
    SpendingForm,
    SystemForm,
    VariantForm,
)
from equipoise.experiment.interleaving_form import InterleavingForm
from equipoise.experiment.metric import PRIORITIES, TURN_COUNT, Metric, PerUnit, Tier
from equipoise.experiment.switchback_form import switchback_of
from equipoise.experiment.variant import Prompt, Variant, control_first, freeze
from equipoise.experiment.verdict_checks import rule
from equipoise.experiment.verdict_rule import USUAL

__all__ = ["build"]

_TIER: dict[str, Tier] = {"outcome": "human", "turn": "code", "score": "judge", "conversation": "code"}
_PER_UNIT: dict[str, PerUnit] = {
    "proportion": "any",
    "count": "sum",
    "ratio": "sum",
    "time_to_event": "first",
}


def build(
    form: Form, document: Document, folder: Path | None, *, dry: bool = False
) -> tuple[Experiment, list[tuple[FieldPath, Fault]]]:
    """The experiment (its digest still empty) and the faults of the files it names, with their paths.

    `folder` is None for a form out of the log, which names no files that must exist. With `dry` only
    the faults matter: the form may still be inconsistent.
    """
    builder = _Builder(document, folder)
    variants = tuple(
        builder.variant(name, form.variants[name]) for name in sorted(form.variants, key=control_first)
    )
    offline = builder.offline(form.offline) if form.offline else None
    inline = tuple(builder.inline(check, index) for index, check in enumerate(form.inline))
    if dry:
        return _nothing(variants), builder.faults
    allocation = form.allocation or {name: Fraction(1, len(variants)) for name in form.variants}
    metrics = tuple(
        sorted(
            (_metric(name, metric) for name, metric in form.metrics.items()),
            key=lambda metric: (PRIORITIES.index(metric.priority), metric.name),
        )
    )
    experiment = Experiment(
        name=form.name,
        hypothesis=form.hypothesis,
        method=form.method,
        bandit=bandit_of(form.bandit, metrics) if form.method == "bandit" else None,
        interleaving=(form.interleaving or InterleavingForm()).value
        if form.method == "interleaving"
        else None,
        switchback=switchback_of(form.switchback) if form.method == "switchback" else None,
        changes=tuple(sorted(set(form.changes))),
        unit=Unit(form.unit.type, form.unit.from_, form.unit.id, form.unit.every, form.unit.members),
        cluster=form.cluster,
        attributes=MappingProxyType(
            {name: Attribute(each.type, each.from_) for name, each in sorted(form.attributes.items())}
        ),
        traffic=form.traffic,
        target=form.target,
        layer=None if form.layer is None else Layer(form.layer.name, *form.layer.range),
        holdouts=MappingProxyType(dict(sorted(form.holdouts.items()))),
        assignment_version=form.assignment_version,
        variants=variants,
        allocation=MappingProxyType({variant.name: allocation[variant.name] for variant in variants}),
        metrics=metrics,
        plan=_plan(form.plan),
        segments=tuple(sorted(set(form.segments))),
        critical_segments=tuple(
            CriticalSegment(attribute, value, segment.metric, segment.margin)
            for segment in form.critical_segments
            for attribute, value in [segment.where.split("=", 1)]
        ),
        offline=offline,
        inline=inline,
        watches=tuple(
            Watch(
                metric=watch.metric,
                max=watch.max,
                min=watch.min,
                window=watch.window,
                # As often as it is long is what is meant where nothing is said.
                every=None if watch.every == watch.window else watch.every,
                persist=watch.for_,
                at_least=watch.at_least,
                then=watch.then,
                scope=watch.scope,
            )
            for watch in form.watches
        ),
        capture=Capture(
            form.capture.text,
            tuple(sorted(set(form.capture.redact))),
            form.capture.share,
            form.capture.keep,
        ),
        online_judge=None
        if form.online_judge is None
        else OnlineJudge(
            form.online_judge.sample,
            form.online_judge.budget_usd_per_day,
            form.online_judge.audit.labels_per_week,
            form.online_judge.audit.minimum_agreement,
            form.online_judge.audit.threshold,
            form.online_judge.turns_per_minute,
            form.online_judge.backlog,
            form.online_judge.within,
            form.online_judge.by,
            MappingProxyType(dict(sorted(form.online_judge.shares.items()))),
        ),
        rollout=_rollout(form.rollout),
        pins=form.pins,
        prices=MappingProxyType(
            {
                model: Price(price.input, price.output, price.cached)
                for model, price in sorted(form.prices.items())
            }
        ),
        source=None
        if form.source is None
        else TableSource(
            table=form.source.table,
            unit=form.source.unit,
            variant=form.source.variant,
            time=form.source.time,
            grain=form.source.grain,
            columns=freeze(form.source.columns),
            connection=form.source.connection,
        ),
        verdict=USUAL if form.verdict is None else rule(form.verdict),
        digest="",
        folder=str(folder) if folder else ".",
    )
    return experiment, builder.faults


def _plan(form: PlanForm) -> PlanSettings:
    usual = PlanSettings()
    spending, parameter = usual.spending, None
    if isinstance(form.spending, SpendingForm):
        if form.spending.hwang_shih_decani is not None:
            spending, parameter = "hwang_shih_decani", form.spending.hwang_shih_decani
        else:
            spending, parameter = "kim_demets", form.spending.kim_demets
    elif form.spending is not None:
        spending = form.spending
    return PlanSettings(
        alpha=form.alpha,
        power=form.power,
        looks=tuple(float(look) for look in form.looks),
        spending=spending,
        spending_parameter=None if parameter is None else float(parameter),
        boundaries=None if form.boundaries is None else tuple(float(each) for each in form.boundaries),
        burn_in=form.burn_in,
        cycle=form.cycle,
        units_per_day=form.units_per_day,
        crossed=form.crossed,
        whole_cycles=form.whole_cycles,
        clusters=None
        if form.clusters is None
        else Clusters(form.clusters.icc, form.clusters.size, form.clusters.size_cv),
    )


def _rollout(form: RolloutForm) -> Rollout:
    usual = Rollout()
    return Rollout(
        stages=tuple(form.stages),
        shadow_share=usual.shadow_share if form.shadow.share is None else form.shadow.share,
        shadow_budget_usd_per_day=form.shadow.budget_usd_per_day,
        shadow_turns=usual.shadow_turns if form.shadow.turns is None else form.shadow.turns,
        canary_coverage=usual.canary_coverage if form.canary.coverage is None else form.canary.coverage,
        canary_counted=form.canary.counted,
        ab_coverage=form.ab.coverage if form.ab else usual.ab_coverage,
        skip=freeze(form.skip),
    )


def _nothing(variants: tuple[Variant, ...]) -> Experiment:
    return Experiment(
        name="", hypothesis="", unit=Unit("user"), variants=variants, allocation={}, metrics=(), digest=""
    )


def _metric(name: str, form: MetricForm) -> Metric:
    fixed = CATALOGUE.get(name)
    kind = form.kind or (fixed.kind if fixed else None)
    of = form.of or (fixed.of if fixed else None)
    better = form.better or (fixed.better if fixed else None)
    if kind is None or of is None or better is None:
        raise AssertionError(f"{name} passed the checks without kind, of or better")
    default = fixed.per_unit if fixed else _PER_UNIT.get(kind, "mean")
    if of == TURN_COUNT:
        default = "sum"
    return Metric(
        name=name,
        priority=form.priority,
        tier=form.tier or (fixed.tier if fixed else _TIER[of.stream]),
        kind=kind,
        of=of,
        better=better,
        per=form.per or (fixed.per if fixed else None),
        per_unit=form.per_unit or default,
        q=form.q if form.q is not None else (fixed.q if fixed else None),
        baseline=form.baseline,
        spread=form.spread,
        mde=form.mde,
        margin=form.margin,
        limit=form.limit,
        window=form.window,
        winsorise=form.winsorise,
        # One set of columns, whatever order they are written in.
        covariates=tuple(sorted(set(form.covariates))),
        labels=form.labels,
        above=form.above,
        absent=form.absent,
    )


class _Builder:
    def __init__(self, document: Document, folder: Path | None) -> None:
        self.document = document
        self.folder = folder
        self.faults: list[tuple[FieldPath, Fault]] = []

    def _fault(self, path: FieldPath, problem: str, accepted: str | None = None) -> None:
        self.faults.append((path, self.document.fault(path, problem, accepted=accepted)))

    def _text(self, name: str, path: FieldPath, what: str) -> str | None:
        try:
            return read_text((self.folder or Path()) / name, what=what)
        except ValueError as error:
            self._fault(path, str(error))
            return None

    def variant(self, name: str, form: VariantForm) -> Variant:
        return Variant(
            name=name,
            model=form.model,
            system=self._prompt(form.system, ("variants", name, "system")),
            template=self._prompt(form.template, ("variants", name, "template")),
            params=freeze(form.params),
            retrieval=freeze(form.retrieval),
            endpoint=freeze(form.endpoint),
            serving=freeze(form.serving),
            config=freeze(form.config),
        )

    def _prompt(self, form: PromptForm | None, path: FieldPath) -> Prompt | None:
        if form is None:
            return None
        if (form.text is None) == (form.file is None):
            self._fault(path, "a prompt has either text or a file", "a text, or {file: PATH}")
            return None
        if form.file is not None:
            prompt = Prompt(self._text(form.file, path, "the prompt file") or "", form.file)
        else:
            prompt = Prompt(form.text or "")
        if isinstance(form, SystemForm):
            prompt = replace(prompt, mode=form.mode, variables=tuple(sorted(set(form.variables))))
        return prompt

    def inline(self, check: str | InlineForm, index: int) -> Any:
        if isinstance(check, str):
            return check
        if (check.check is None) == (check.json_schema is None):
            self._fault(
                ("inline", index), "an inline check is one thing", "{check: NAME} or {json_schema: FILE}"
            )
        if check.json_schema is not None and check.on != "response":
            self._fault(("inline", index, "on"), "a JSON Schema is a check on responses", "on: response")
        special = {
            key: value
            for key, value, usual in (
                ("on", check.on, "response"),
                ("buffer", check.buffer, False),
                ("fallback", check.fallback, None),
            )
            if value != usual
        }
        if check.json_schema is None:
            return freeze({"check": check.check} | special) if special else check.check
        schema: Any = check.json_schema
        if isinstance(schema, str):
            import orjson

            path = ("inline", index, "json_schema")
            text = self._text(schema, path, "the JSON Schema")
            try:
                schema = {} if text is None else orjson.loads(text)
            except orjson.JSONDecodeError as error:
                self._fault(path, f"{check.json_schema} is not JSON: {error}")
                schema = {}
            if not isinstance(schema, dict):
                self._fault(path, f"{check.json_schema} holds no JSON object", "a JSON Schema, such as {…}")
                schema = {}
        return freeze({"json_schema": schema} | special)

    def offline(self, form: OfflineForm) -> Offline:
        answers = form.answers
        if answers is not None and (answers.file is None) == (answers.python is None):
            self._fault(
                ("offline", "answers"),
                "answers come from a file or from a Python function",
                "{file: …} or {python: app.py:answer}",
            )
        return Offline(
            cases=_cases(form.cases),
            samples=form.samples,
            answers=_recording(answers) if answers and answers.file else None,
            application=answers.python if answers else None,
            rubric=self._rubric(form.rubric),
            judge=_judge(form.judge),
            labels=self._labels(form.labels),
            evaluators=tuple(freeze(each) for each in form.evaluators),
            gate=self._gate(form.gate),
        )

    def _labels(self, form: LabelsForm | None) -> Labels | None:
        recording = _recording(form)
        return (
            None if form is None or recording is None else Labels(recording=recording, at_least=form.at_least)
        )

    def _gate(self, form: GateForm) -> Gate:
        declared: list[tuple[FieldPath, str, CriterionForm]] = []
        if form.win_rate is not None:
            declared.append((("win_rate",), "win_rate", form.win_rate))
        if form.pass_rate is not None:
            declared.append((("pass_rate",), "pass_rate", form.pass_rate))
        for name, given in sorted(form.metrics.items()):
            listed = given if isinstance(given, list) else [given]
            declared += [(("metrics", name), name, each) for each in listed]
        criteria = tuple(self._criterion(("offline", "gate", *path), of, each) for path, of, each in declared)
        return Gate(
            # What is usual may be left out, and means the same written down.
            criteria=() if criteria == (Criterion(of="win_rate", margin=Amount(0.10)),) else criteria,
            must_pass=tuple(sorted(set(form.must_pass))),
            at_most=freeze(form.at_most),
            limits=Limits(
                unscored=float(form.limits.unscored),
                lean=_maybe(float, form.limits.lean),
                kappa=form.limits.kappa,
                self_preference=_maybe(float, form.limits.self_preference),
            ),
            level=form.level,
            sequential=form.sequential,
        )

    def _criterion(self, path: FieldPath, of: str, form: CriterionForm) -> Criterion:
        if form.superior and form.not_worse:
            self._fault(path, "superior and not_worse cannot both be asked of one measure", "one of them")
        if form.worst is not None and of == "win_rate":
            self._fault(
                (*path, "worst"), "the win rate has no worst cases; ask it of a measure under `metrics`"
            )
        margin = form.margin
        if of == "win_rate":
            # A share of the coin's one half, or points of win rate.
            margin = Amount(0.10 if margin is None else margin.of(0.5))
        show: Show = "superior" if form.superior else "not_worse" if form.not_worse else "non_inferior"
        if of != "win_rate" and show == "non_inferior" and margin is None:
            if form.at_least is None:
                self._fault(
                    path,
                    "it is not said what the measure must show",
                    "{margin: 5pp}, {superior: true}, {not_worse: true} or {at_least: 0.9}",
                )
            else:
                show = "not_worse"
        return Criterion(
            of=of, show=show, margin=margin, worst=_maybe(float, form.worst), at_least=form.at_least
        )

    def _rubric(self, form: RubricFileForm | None) -> Rubric | None:
        if form is None:
            return None
        path: FieldPath = ("offline", "rubric")
        if (form.file is None) == (form.axes is None):
            self._fault(path, "a rubric has either axes or a file", "{axes: …} or a path")
            return None
        for key, called in (("top", "scale"), ("revision", "revision")):
            if form.file is not None and key in form.model_fields_set:
                self._fault((*path, key), f"the {called} of a rubric in a file is written in that file")
        if form.axes is not None:
            return Rubric(freeze(form.axes), form.top, form.revision)
        text = self._text(form.file or "", path, "the rubric")
        if text is None:
            return None
        try:
            inner = read_document(text, str((self.folder or Path()) / (form.file or "")))
            self.faults += [(path, fault) for fault in inner.faults]
            rubric = RubricForm.model_validate(inner.data)
        except DefinitionError as error:
            self.faults += [(path, fault) for fault in error.faults]
            return None
        except ValidationError as error:
            # One fault per place: pydantic says of a wrong key that its value is wrong, too.
            places = dict.fromkeys(
                tuple(step for step in detail["loc"] if step != "[key]")
                for detail in error.errors(include_url=False)
            )
            self.faults += [
                (
                    path,
                    inner.fault(
                        place,
                        "this is no part of a rubric",
                        accepted="axes: {NAME: a sentence, …}, and top: a whole number from 2 to 10",
                    ),
                )
                for place in places
            ]
            return None
        return Rubric(freeze(rubric.axes), rubric.top, rubric.revision)


def _maybe(convert: Callable[[Any], Any], value: Any) -> Any:
    return None if value is None else convert(value)


def _cases(form: CasesForm) -> Cases:
    return Cases(
        file=form.file,
        format=form.format,
        id=form.id,
        input=form.input,
        reference=form.reference,
        sha256=form.sha256,
    )


def _recording(form: RecordingForm | None) -> Recording | None:
    if form is None or not form.file:
        return None
    return Recording(
        file=form.file,
        case=form.case,
        variant=form.variant,
        value=form.value,
        first=form.first,
        names=freeze(form.names),
    )


def _judge(form: JudgeForm | None) -> Judge | None:
    if form is None:
        return None
    recorded = form.pairwise if isinstance(form.pairwise, RecordingForm) else None
    return Judge(
        model=form.model,
        base_url=form.base_url,
        key_env=form.key_env,
        params=freeze(form.params),
        requests_per_minute=form.requests_per_minute,
        tokens_per_minute=form.tokens_per_minute,
        pairwise=_recording(recorded),
        grades=_recording(form.grades),
        compares=form.pairwise is not False,
        both_orders=form.both_orders,
        samples=form.samples,
        panel=tuple(
            Judge(
                model=each.model,
                base_url=each.base_url,
                key_env=each.key_env,
                params=freeze(form.params | each.params),
                requests_per_minute=each.requests_per_minute or form.requests_per_minute,
                tokens_per_minute=each.tokens_per_minute or form.tokens_per_minute,
            )
            for each in form.panel
        ),
        sha256=form.sha256,
    )
