"""What must fit together where a metric is of a whole conversation: turns counted, slopes, returns, thresholds, silence."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from equipoise.errors import Fault
from equipoise.experiment.catalogue import CATALOGUE
from equipoise.experiment.document import Document
from equipoise.experiment.document import Path as FieldPath
from equipoise.experiment.form import Form, MetricForm
from equipoise.experiment.metric import RETURNED, TURN_COUNT, Quantity

__all__ = ["conversation_faults"]

Found = Iterator[tuple[FieldPath, Fault]]


class _Wrong(NamedTuple):
    """A key of a metric that does not fit, and what would."""

    key: str
    problem: str
    accepted: str | None = None
    next: str | None = None


def conversation_faults(form: Form, document: Document) -> Found:
    """Every contradiction in metrics of whole conversations, and watches on what no window of minutes can tell."""
    for name, metric in form.metrics.items():
        for key, problem, accepted, way in (
            *_threshold(name, metric),
            *_absence(name, metric),
            *_slope(metric),
            *_turns(metric),
            *_returns(form, metric),
        ):
            path: FieldPath = ("metrics", name, key)
            yield path, document.fault(path, problem, accepted=accepted, next=way)
    for index, watch in enumerate(form.watches):
        watched = form.metrics.get(watch.metric)
        why = None if watched is None else _unwatchable(watched)
        if why is not None:
            path = ("watches", index, "metric")
            problem = f"'{watch.metric}' is {why}, and a window counts reading by reading what happened in it"
            yield (
                path,
                document.fault(path, problem, next="watch a rate, a mean or a quantile of turns or outcomes"),
            )


def _threshold(name: str, metric: MetricForm) -> Iterator[_Wrong]:
    if metric.above is not None and name in CATALOGUE:
        yield _Wrong(
            "above",
            f"'{name}' is a built-in metric without a threshold",
            next="give a metric of your own another name",
        )
    if metric.above is not None and metric.kind not in (None, "proportion"):
        yield _Wrong("above", f"`above` makes a proportion of units, and this is a {metric.kind}")


def _absence(name: str, metric: MetricForm) -> Iterator[_Wrong]:
    if metric.absent is None:
        return
    fixed = CATALOGUE.get(name)
    kind, of = (fixed.kind, fixed.of) if fixed else (metric.kind, metric.of)
    if kind not in (None, "proportion", "mean", "count"):
        yield _Wrong("absent", f"a unit of which nothing was said has no value to add to a {kind}")
    elif of == RETURNED or metric.per_unit == "slope":
        yield _Wrong("absent", "what is not known here is not nothing", next="leave it out")
    elif kind == "proportion" and metric.above is None and metric.absent not in (0, 1):
        yield _Wrong("absent", f"{metric.absent:g} is neither yes nor no", accepted="0 or 1")


def _slope(metric: MetricForm) -> Iterator[_Wrong]:
    if metric.per_unit != "slope":
        return
    if metric.of in (TURN_COUNT, RETURNED):
        return
    if metric.kind == "proportion" and metric.above is None:
        yield _Wrong(
            "per_unit",
            "a slope is neither 0 nor 1",
            accepted="kind: mean, or `above: 0` for the share of units whose slope is above 0",
        )
    elif metric.kind not in (None, "mean", "proportion", "time_to_event"):
        yield _Wrong("per_unit", f"a slope is averaged over units, and this is a {metric.kind}", "kind: mean")


def _turns(metric: MetricForm) -> Iterator[_Wrong]:
    if metric.of != TURN_COUNT:
        return
    if metric.kind == "proportion" and metric.above is None:
        yield _Wrong(
            "kind",
            "how many turns a unit had is no proportion",
            accepted="`above: 3` for the share of units with a turn after the third, or kind: count",
        )
    if metric.kind in ("quantile", "time_to_event"):
        yield _Wrong("kind", f"every turn counts 1, which has no {metric.kind}", accepted="kind: count")
    if metric.per_unit not in (None, "sum"):
        yield _Wrong("per_unit", f"turns are counted, and `{metric.per_unit}` of ones is 1", accepted="sum")


def _returns(form: Form, metric: MetricForm) -> Iterator[_Wrong]:
    of_conversation = [
        (key, quantity)
        for key, quantity in (("of", metric.of), ("per", metric.per))
        if quantity is not None and quantity.stream == RETURNED.stream
    ]
    for key, quantity in of_conversation:
        if quantity != RETURNED:
            yield _Wrong(key, f"nothing called {quantity} is known of a conversation", accepted=str(RETURNED))
        elif key == "per":
            yield _Wrong(key, f"{RETURNED} is true or false of a unit, and nothing is taken per it")
    if metric.of != RETURNED:
        return
    if metric.kind not in (None, "proportion", "time_to_event"):
        yield _Wrong(
            "kind", f"{RETURNED} is true or false, and no {metric.kind}", "proportion or time_to_event"
        )
    elif metric.per_unit not in (None, "any") and metric.kind == "proportion":
        yield _Wrong("per_unit", f"{RETURNED} tells of the next conversation alone", accepted="any")
    if metric.above is not None:
        yield _Wrong("above", f"{RETURNED} is true or false, and needs no threshold")
    if metric.window is None and metric.kind == "proportion":
        yield _Wrong(
            "window",
            "whoever is seen for longer has longer to come back, so the time for it must be said",
            accepted="a duration such as 7d",
        )
    if form.source is not None:
        return
    if form.unit.type in ("cluster", "slot"):
        yield _Wrong("of", f"a {form.unit.type} does not come back", accepted="a unit that is a user or less")
    elif form.unit.type != "user" and form.cluster is None:
        yield _Wrong(
            "of",
            f"whose the next {form.unit.type} is, nobody says",
            accepted="`cluster:` with the attribute that names the user, or `unit: user`",
        )


def _unwatchable(metric: MetricForm) -> str | None:
    """What a metric is, where that takes a unit's whole time to tell; None where minutes tell it."""
    quantities: list[Quantity | None] = [metric.of, metric.per]
    if RETURNED in quantities:
        return "known of a unit only when its window is over"
    if metric.above is not None:
        return "the share of units above a number"
    if metric.absent is not None and metric.kind != "count":
        return "of units of which nothing was said, too"
    if metric.per_unit == "slope":
        return "a slope over a unit's readings"
    if metric.of == TURN_COUNT:
        return "the number of a unit's turns"
    if metric.kind == "time_to_event":
        return "how long it takes a unit"
    return None
