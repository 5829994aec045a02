"""From the form of the file to the frozen values, reading the files it names on the way."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from types import MappingProxyType
from typing import Any

from equipoise.errors import Fault
from equipoise.experiment.audience import Attribute, Layer
from equipoise.experiment.bandit_form import bandit_of
from equipoise.experiment.catalogue import CATALOGUE
from equipoise.experiment.definition import (
    Capture,
    Clusters,
    CriticalSegment,
    Experiment,
    OnlineJudge,
    PlanSettings,
    Price,
    Rollout,
    TableSource,
    Unit,
    Watch,
)
from equipoise.experiment.document import Document
from equipoise.experiment.document import Path as FieldPath
from equipoise.experiment.form import (
    Form,
    InlineForm,
    MetricForm,
    PlanForm,
    PromptForm,
    RolloutForm,
    SpendingForm,
    SystemForm,
    VariantForm,
)
from equipoise.experiment.interleaving_form import InterleavingForm
from equipoise.experiment.metric import PRIORITIES, TURN_COUNT, Metric, PerUnit, Tier
from equipoise.experiment.named_files import NamedFiles
from equipoise.experiment.offline_building import OfflineBuilder
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
    gate = OfflineBuilder(document, folder)
    offline = gate.build(form.offline) if form.offline else None
    inline = tuple(builder.inline(check, index) for index, check in enumerate(form.inline))
    if dry:
        return _nothing(variants), builder.faults + gate.faults
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
    return experiment, builder.faults + gate.faults


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


class _Builder(NamedFiles):
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
            self.fault(path, "a prompt has either text or a file", "a text, or {file: PATH}")
            return None
        if form.file is not None:
            prompt = Prompt(self.text(form.file, path, "the prompt file") or "", form.file)
        else:
            prompt = Prompt(form.text or "")
        if isinstance(form, SystemForm):
            prompt = replace(prompt, mode=form.mode, variables=tuple(sorted(set(form.variables))))
        return prompt

    def inline(self, check: str | InlineForm, index: int) -> Any:
        if isinstance(check, str):
            return check
        if (check.check is None) == (check.json_schema is None):
            self.fault(
                ("inline", index), "an inline check is one thing", "{check: NAME} or {json_schema: FILE}"
            )
        if check.json_schema is not None and check.on != "response":
            self.fault(("inline", index, "on"), "a JSON Schema is a check on responses", "on: response")
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
            text = self.text(schema, path, "the JSON Schema")
            try:
                schema = {} if text is None else orjson.loads(text)
            except orjson.JSONDecodeError as error:
                self.fault(path, f"{check.json_schema} is not JSON: {error}")
                schema = {}
            if not isinstance(schema, dict):
                self.fault(path, f"{check.json_schema} holds no JSON object", "a JSON Schema, such as {…}")
                schema = {}
        return freeze({"json_schema": schema} | special)
