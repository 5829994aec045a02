"""What must fit together where rankers share a list: everybody sees all of them, so little else can be told apart."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from equipoise.errors import Fault
from equipoise.experiment.catalogue import CATALOGUE
from equipoise.experiment.document import Document
from equipoise.experiment.document import Path as FieldPath
from equipoise.experiment.form import Form, MetricForm

__all__ = ["interleaving_faults"]

Found = Iterator[tuple[FieldPath, Fault]]
_CREDITED = ("proportion", "count", "mean")
_BY = {"team_draft": "by team draft", "balanced": "balanced", "probabilistic": "probabilistic"}
_OF_UNITS = ("per_unit", "winsorise", "covariates", "labels", "above", "absent", "limit")


class _Wrong(NamedTuple):
    path: FieldPath
    problem: str
    accepted: str | None = None
    next: str | None = None


def interleaving_faults(form: Form, document: Document) -> Found:
    """Every contradiction in an interleaved experiment, and the section where the method is another."""
    if form.method == "interleaving":
        found = (
            *_section(form),
            *_no_arms(form),
            *(each for name in form.metrics for each in _metric(form, name)),
        )
    elif form.interleaving is not None:
        found = (
            _Wrong(
                ("interleaving",),
                f"`interleaving` belongs to `method: interleaving`, and this is `method: {form.method}`",
                next="set the method, or leave the section out",
            ),
        )
    else:
        return
    for path, problem, accepted, way in found:
        yield path, document.fault(path, problem, accepted=accepted, next=way)


def _section(form: Form) -> Iterator[_Wrong]:
    section = form.interleaving
    if section is None:
        return
    if section.scheme == "balanced" and len(form.variants) > 2:
        yield _Wrong(
            ("interleaving", "scheme"),
            f"a balanced list is made of two rankings, and there are {len(form.variants)} variants",
            accepted="team_draft or probabilistic",
        )
    for key in ("coin", "agreed"):
        if getattr(section, key) is not None and section.scheme != "team_draft":
            yield _Wrong(
                ("interleaving", key),
                f"`{key}` belongs to team draft, and this list is {_BY[section.scheme]}",
            )
    if section.tau is not None and section.scheme != "probabilistic":
        yield _Wrong(
            ("interleaving", "tau"),
            f"`tau` belongs to a probabilistic list, and this list is {_BY[section.scheme]}",
        )


def _no_arms(form: Form) -> Iterator[_Wrong]:
    """What a unit's arm would be needed for."""
    if form.allocation is not None and len(set(form.allocation.values())) > 1:
        yield _Wrong(
            ("allocation",),
            "in an interleaved list every ranker has the same chance",
            accepted="no `allocation`, or equal shares",
        )
    if form.source is not None:
        yield _Wrong(
            ("source",),
            "an interleaved experiment is read out of its log, where lists and clicks are; a table has neither",
            next="leave out `source`",
        )
    if form.pins == "required":
        yield _Wrong(
            ("pins",), "no unit belongs to an arm of an interleaved experiment, so there is nothing to pin"
        )
    if "shadow" in form.rollout.stages:
        yield _Wrong(
            ("rollout", "stages"), "an interleaved list has no shadow: it is shown", accepted="canary, ab"
        )
    for index, _ in enumerate(form.watches):
        yield _Wrong(
            ("watches", index),
            "a watch compares arms window by window, and an interleaved list is of all of them",
            next="make it a guardrail, or watch the ranking service itself",
        )


def _metric(form: Form, name: str) -> Iterator[_Wrong]:
    metric, fixed = form.metrics[name], CATALOGUE.get(name)
    here: FieldPath = ("metrics", name)
    of, kind = metric.of or (fixed.of if fixed else None), metric.kind or (fixed.kind if fixed else None)
    if of is not None and of.stream != "outcome":
        yield _Wrong(
            (*here, "of") if metric.of else here,
            f"{of} is of the whole list, which all rankers made: it cannot be told apart by ranker",
            accepted="outcome.NAME, told of an item",
            next="measure it in an A/B",
        )
    if kind is not None and kind not in _CREDITED:
        yield _Wrong(
            (*here, "kind") if metric.kind else here,
            f"a {kind} cannot be credited to the rankers of a list",
            accepted="proportion (queries won), count (items, per query) or mean (the sum of values, per query)",
        )
    for key in _OF_UNITS:
        if _said(metric, key):
            yield _Wrong(
                (*here, key),
                f"`{key}` is of units in arms; here a metric is the credit of a ranker per query",
            )
    if (
        kind == "proportion"
        and metric.mde is not None
        and metric.mde.scale == "absolute"
        and metric.mde.value >= 1
    ):
        yield _Wrong(
            (*here, "mde"),
            "the effect is the share of queries won less the share lost",
            accepted="less than 1, such as 5pp",
        )


def _said(metric: MetricForm, key: str) -> bool:
    return getattr(metric, key) not in (None, [])
