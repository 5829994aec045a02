"""What must fit together where time slots are randomised: their length, their blocks, and what a slot can be asked."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date

from equipoise.errors import Fault
from equipoise.experiment.catalogue import CATALOGUE
from equipoise.experiment.definition import Experiment
from equipoise.experiment.document import Document
from equipoise.experiment.document import Path as FieldPath
from equipoise.experiment.form import Form
from equipoise.experiment.switchback import MOST_IN_BLOCK, block_size
from equipoise.experiment.switchback_form import SwitchbackForm
from equipoise.experiment.unknown_names import undeclared_attribute

__all__ = ["switchback_cautions", "switchback_faults"]

Found = Iterator[tuple[FieldPath, Fault]]
_DAY_S = 86_400.0


def switchback_faults(form: Form, document: Document) -> Found:
    """Every fault of the section `switchback`, and of what stands beside it, with the path it belongs to."""
    path: FieldPath
    if form.method != "switchback":
        if form.switchback is not None:
            path = ("switchback",)
            yield (
                path,
                document.fault(
                    path,
                    f"this section says how time slots are drawn, and the method is {form.method}",
                    next="set `method: switchback`, or leave the section out",
                ),
            )
        return
    if form.unit.type != "slot":
        path = ("unit", "type")
        yield (
            path,
            document.fault(
                path,
                f"a switchback randomises time slots, and this is a {form.unit.type}",
                accepted="`unit: {type: slot, every: 1h}`",
            ),
        )
        return
    yield from _slots(form, form.switchback or SwitchbackForm(), document)
    yield from _beside(form, document)
    for name, metric in form.metrics.items():
        kind = metric.kind or (CATALOGUE[name].kind if name in CATALOGUE else None)
        if kind in ("proportion", "time_to_event"):
            path = ("metrics", name, "kind")
            yield (
                path,
                document.fault(
                    path,
                    f"a slot has many turns and is no {'yes or no' if kind == 'proportion' else 'one event'}",
                    accepted="mean (the slot's mean, such as the share of its turns), count, ratio or quantile",
                    next="give it a name of its own" if name in CATALOGUE else None,
                ),
            )
        if metric.covariates:
            path = ("metrics", name, "covariates")
            yield (
                path,
                document.fault(path, "of a slot nothing is known before it begins", next="leave it out"),
            )


def _slots(form: Form, said: SwitchbackForm, document: Document) -> Found:
    every = form.unit.every
    path: FieldPath = ("unit", "every")
    if every % 1:
        yield path, document.fault(path, "a slot is named by the second it begins", accepted="whole seconds")
    elif every > 0 and said.balance and _DAY_S % every:
        yield (
            path,
            document.fault(
                path,
                f"slots of {every:g} s do not begin at the same times of day, so they cannot be balanced over them",
                accepted="a part of a day, such as 15m, 30m, 1h, 6h or 1d",
                next="or draw each slot by itself: `switchback: {balance: []}`",
            ),
        )
    if 0 < every <= said.wash_out:
        path = ("switchback", "wash_out")
        yield (
            path,
            document.fault(
                path, f"nothing is left of slots of {every:g} s", accepted="less than `unit.every`"
            ),
        )
    if len(set(said.balance)) < len(said.balance):
        path = ("switchback", "balance")
        yield path, document.fault(path, "it is balanced over each of these once", accepted="[hour, weekday]")
    if said.begins is not None and not _is_day(said.begins):
        path = ("switchback", "begins")
        yield path, document.fault(path, f"'{said.begins}' is no day", accepted="a day such as 2026-11-30")
    if said.by is not None:
        yield from undeclared_attribute(("switchback", "by"), said.by, form.attributes, document)
        by = form.attributes.get(said.by)
        if by is not None and by.type != "text":
            path = ("attributes", said.by, "type")
            yield path, document.fault(path, "slots are named by it, and names are texts", accepted="text")
    if said.balance and form.allocation and all(form.allocation.values()):
        yield from _shares(form, said, document)


def _shares(form: Form, said: SwitchbackForm, document: Document) -> Found:
    assert form.allocation is not None
    path: FieldPath = ("allocation",)
    size, slots = block_size(form.allocation), _DAY_S / form.unit.every if form.unit.every else 0
    if size > MOST_IN_BLOCK:
        yield (
            path,
            document.fault(
                path,
                f"a block that shares out its slots so has {size} of them",
                accepted=f"shares with a common denominator of at most {MOST_IN_BLOCK}",
                next="or draw each slot by itself: `switchback: {balance: []}`",
            ),
        )
    elif list(said.balance) == ["weekday"] and slots % size:
        yield (
            path,
            document.fault(
                path,
                f"a day has {slots:g} slots, which cannot be shared out so",
                accepted=f"slots of which a day has a multiple of {size}",
            ),
        )


def _beside(form: Form, document: Document) -> Found:
    """What belongs to units that come back, or is drawn otherwise."""
    wrong: list[tuple[FieldPath, str, str]] = []
    if form.unit.from_ is not None and form.source is None:
        wrong.append((("unit", "from"), "a slot is told by the clock, not by the request", "leave it out"))
    if form.unit.id != "any":
        wrong.append((("unit", "id"), "when a slot began is in its name", "leave it out"))
    if form.pins != "none":
        wrong.append((("pins",), "no slot comes back, and nothing is pinned to one", "leave it out"))
    if form.cluster is not None:
        wrong.append(
            (
                ("cluster",),
                "slots are correlated in time, and their blocks see to it",
                "use `switchback: {by: …}`",
            )
        )
    for path, problem, following in wrong:
        yield path, document.fault(path, problem, next=following)


def switchback_cautions(experiment: Experiment, document: Document) -> Iterator[Fault]:
    """What is allowed and probably not meant: no wash-out, and watches that compare what is never there at once."""
    drawn = experiment.switchback
    if drawn is None:
        return
    if not drawn.wash_out:
        yield document.fault(
            ("switchback", "wash_out"),
            "no time is left for one arm to wear off before the other is counted",
            next="declare it, such as `wash_out: 5m`, unless nothing of an arm outlasts its slot",
        )
    if drawn.by is None:
        for index, watch in enumerate(experiment.watches):
            if watch.bound is not None and watch.bound.reference == "control":
                yield document.fault(
                    ("watches", index),
                    "in a switchback one arm runs at a time, so a window has no control to compare with",
                    accepted="a limit that is a number, or relative to the baseline",
                )


def _is_day(text: str) -> bool:
    try:
        return date.fromisoformat(text).isoformat() == text
    except ValueError:
        return False
