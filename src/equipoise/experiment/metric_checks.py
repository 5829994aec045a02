"""What a metric must say for itself, and that exactly one of them is primary."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from equipoise.errors import Fault, nearest
from equipoise.experiment.catalogue import CATALOGUE, BuiltIn
from equipoise.experiment.cluster_checks import may_be_shares
from equipoise.experiment.definition import Experiment
from equipoise.experiment.document import Document
from equipoise.experiment.document import Path as FieldPath
from equipoise.experiment.form import Form, MetricForm, SourceForm
from equipoise.experiment.metric import CHECKED, OF_TURNS, Quantity

__all__ = ["metric_cautions", "metric_faults"]

Found = Iterator[tuple[FieldPath, Fault]]


def metric_faults(form: Form, document: Document) -> Found:
    """Every contradiction within a metric, and of metrics with each other, with the path it belongs to."""
    for name, metric in form.metrics.items():
        yield from _metric(name, metric, form, document)
        of = metric.of or (CATALOGUE[name].of if name in CATALOGUE else None)
        if metric.labels is not None and form.source is not None and of is not None:
            yield from _labels_of_table(name, of, form.source, document)
    primaries = [name for name, metric in form.metrics.items() if metric.priority == "primary"]
    path: FieldPath = ("metrics",)
    if not primaries:
        yield (
            path,
            document.fault(
                path, "no metric is primary", accepted="exactly one metric with `priority: primary`"
            ),
        )
    for extra in primaries[1:]:
        here = ("metrics", extra, "priority")
        yield (
            here,
            document.fault(
                here,
                f"'{primaries[0]}' is already primary",
                accepted="exactly one metric with `priority: primary`",
                next="make this one secondary or a guardrail",
            ),
        )


def metric_cautions(experiment: Experiment, document: Document) -> Iterator[Fault]:
    """Numbers of turns that no log will hold, where nothing but a log is named: a watch on them waits for ever."""
    if experiment.source is not None:
        return
    checks = {each if isinstance(each, str) else each.get("check") for each in experiment.inline}
    for metric in experiment.metrics:
        for each in dict.fromkeys(metric.quantities):
            if each.stream != "turn":
                continue
            if each.name not in OF_TURNS:
                yield document.fault(
                    ("metrics", metric.name),
                    f"the log has nothing called {each}, so '{metric.name}' has no value there",
                    accepted=", ".join(sorted(OF_TURNS)),
                    next=nearest(each.name, OF_TURNS) or "name a table that has it under `source:`",
                )
            elif each.name in CHECKED and each.name not in checks:
                yield document.fault(
                    ("metrics", metric.name),
                    f"{each} is what the inline check '{each.name}' finds, and no such check is declared",
                    next=f"add `inline: [{each.name}]`",
                )


def _metric(name: str, metric: MetricForm, form: Form, document: Document) -> Found:
    here: FieldPath = ("metrics", name)
    fixed = CATALOGUE.get(name)

    def fault(
        key: str, problem: str, accepted: str | None = None, next: str | None = None
    ) -> tuple[FieldPath, Fault]:
        path = (*here, key)
        return path, document.fault(path, problem, accepted=accepted, next=next)

    if fixed:
        for key in ("kind", "of", "better", "per", "q", "per_unit"):
            said, meant = getattr(metric, key), getattr(fixed, key)
            share = key == "per_unit" and said == "mean" and may_be_shares(form, name)
            if said is not None and said != meant and not share:
                yield fault(
                    key,
                    f"'{name}' is a built-in metric whose {key} is {meant}, not {said}",
                    accepted=str(meant),
                    next="give a metric of your own another name",
                )
    else:
        for key in ("kind", "of", "better"):
            if getattr(metric, key) is None:
                yield fault(
                    key,
                    f"'{name}' is not a built-in metric, so it must say its {key}",
                    accepted={
                        "kind": "proportion, mean, ratio, count, quantile or time_to_event",
                        "of": "outcome.NAME, turn.NAME, score.NAME or conversation.returned",
                        "better": "higher or lower",
                    }[key],
                    next=nearest(name, CATALOGUE),
                )
    kind = metric.kind or (fixed.kind if fixed else None)
    if kind == "ratio" and metric.per is None and not (fixed and fixed.per):
        yield fault("per", "a ratio needs what it is taken per", accepted="per: outcome.NAME or turn.NAME")
    if kind == "quantile" and metric.q is None and not (fixed and fixed.q):
        yield fault("q", "a quantile needs its q", accepted="a number between 0 and 1, such as q: 0.95")
    if kind not in (None, "ratio") and metric.per is not None:
        yield fault("per", f"`per` belongs to ratios, and this is a {kind}")
    if kind not in (None, "quantile") and metric.q is not None and not fixed:
        yield fault("q", f"`q` belongs to quantiles, and this is a {kind}")
    if kind == "time_to_event":
        yield from _time_to_event(metric, fault)
    if metric.window == 0:
        yield fault(
            "window", "a window of no length holds no value", accepted="a duration above 0, such as 7d"
        )
    if metric.winsorise is not None and kind not in (None, "mean", "count"):
        yield fault("winsorise", f"only values that are added up can be winsorised, and this is a {kind}")
    if metric.covariates and kind in ("quantile", "time_to_event"):
        yield fault("covariates", f"a {kind} cannot be adjusted by covariates")
    if metric.labels is not None:
        yield from _labels(metric, fixed, kind, fault)
    if metric.priority == "guardrail" and metric.margin is None:
        yield fault(
            "margin",
            "a guardrail needs the margin by which it may get worse",
            accepted="a number in the metric's unit, '10%' or '1pp'",
        )
    if metric.margin is not None and metric.margin.value <= 0:
        yield fault("margin", "a margin is how much worse is still acceptable", accepted="more than 0")
    if metric.mde is not None and metric.mde.value <= 0:
        yield fault("mde", "the effect to detect must not be zero or negative", accepted="more than 0")
    if kind == "proportion" and metric.baseline is not None:
        if not 0 < metric.baseline < 1:
            yield fault("baseline", f"{metric.baseline:g} is not a rate", accepted="a number between 0 and 1")
        elif metric.mde is not None:
            better = metric.better or (fixed.better if fixed else "higher")
            target = metric.baseline + (1 if better == "higher" else -1) * metric.mde.of(metric.baseline)
            if not 0 < target < 1:
                yield fault(
                    "mde", f"from {metric.baseline:g} this effect leads to {target:g}, which is no rate"
                )


def _labels(
    metric: MetricForm, fixed: BuiltIn | None, kind: str | None, fault: Callable[..., tuple[FieldPath, Fault]]
) -> Found:
    of = metric.of or (fixed.of if fixed else None)
    tier = metric.tier or (fixed.tier if fixed else None)
    if of is None or of.stream != "score" or tier not in (None, "judge"):
        yield fault(
            "labels", "labels correct what a judge scored, and this is none", accepted="`of: score.NAME`"
        )
    elif kind not in (None, "proportion", "mean"):
        yield fault("labels", f"labels correct a share or a mean, and this is a {kind}")
    for key in ("covariates", "winsorise"):
        if getattr(metric, key):
            yield fault(
                key,
                f"an effect is corrected by labels or changed by {key}, not both",
                next=f"leave out {key} or `labels`",
            )


def _labels_of_table(name: str, of: Quantity, source: SourceForm, document: Document) -> Found:
    column = f"label.{of.name}"
    if source.connection is not None:
        path: FieldPath = ("metrics", name, "labels")
        yield (
            path,
            document.fault(
                path, "labels in a warehouse's table are not read", next="leave out `labels`, or read a file"
            ),
        )
    elif column not in source.columns:
        path = ("source", "columns")
        yield (
            path,
            document.fault(
                path,
                f"'{name}' is corrected by labels, and no column is named for them",
                accepted=f"{column}: COLUMN",
            ),
        )


def _time_to_event(metric: MetricForm, fault: Callable[..., tuple[FieldPath, Fault]]) -> Found:
    if metric.window is None:
        yield fault(
            "window",
            "a time_to_event needs the window within which the event is waited for",
            accepted="a duration such as 1d",
        )
    if metric.per_unit not in (None, "first"):
        yield fault(
            "per_unit",
            f"a time_to_event ends with the first event, not the {metric.per_unit}",
            accepted="first",
        )
    for key in ("baseline", "limit"):
        seconds = getattr(metric, key)
        if seconds is not None and metric.window and not 0 < seconds < metric.window:
            yield fault(
                key,
                f"{seconds:g} is no mean time within the window",
                accepted=f"seconds, more than 0 and less than {metric.window:g}",
            )
