"""What of a definition's audience and endpoints no single field can tell."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from equipoise.errors import Fault
from equipoise.experiment.audience import parse_source
from equipoise.experiment.document import Document
from equipoise.experiment.document import Path as FieldPath
from equipoise.experiment.endpoint import parse_endpoint
from equipoise.experiment.form import Form
from equipoise.experiment.unknown_names import undeclared_attribute

__all__ = ["audience_faults"]

Found = Iterator[tuple[FieldPath, Fault]]


def audience_faults(form: Form, document: Document) -> Found:
    """Every fault of units, attributes, conditions, layers and endpoints, with the path it belongs to."""
    yield from _unit(form, document)
    known = list(form.attributes)
    yield from _undeclared(("target",), (each.attribute for each in form.target), known, document)
    yield from _undeclared(
        ("traffic",), (each.attribute for each in form.traffic), ["model", *known], document
    )
    for variant, settings in form.variants.items():
        if settings.system is not None:
            path: FieldPath = ("variants", variant, "system")
            yield from _undeclared(path, settings.system.variables, known, document)
            for name in settings.system.variables:
                if settings.system.text is not None and f"{{{{{name}}}}}" not in settings.system.text:
                    yield (
                        path,
                        document.fault(
                            path,
                            f"the text does not hold {{{{{name}}}}}",
                            next=f"write {{{{{name}}}}} where its value belongs, or leave '{name}' out",
                        ),
                    )
        try:
            parse_endpoint(settings.endpoint)
        except ValueError as error:
            below, problem, accepted = error.args
            path = ("variants", variant, "endpoint", *below)
            yield path, document.fault(path, problem, accepted=accepted)
    if form.layer is not None and form.layer.range[0] >= form.layer.range[1]:
        path = ("layer", "range")
        yield path, document.fault(path, "this range is empty", accepted="[from, to], such as [0, 1/2]")


def _unit(form: Form, document: Document) -> Found:
    source = form.unit.from_
    path: FieldPath = ("unit", "from")
    # Without a colon it is the column of a table.
    if source is not None and ":" in source:
        try:
            parse_source(source)
        except ValueError:
            yield (
                path,
                document.fault(
                    path,
                    f"'{source}' is not a place in a request",
                    accepted="header:NAME, cookie:NAME or body:PATH",
                ),
            )
    if form.unit.members is not None:
        yield from _members(form, form.unit.members, document)
    if form.plan.clusters is not None and form.unit.type != "cluster":
        path = ("plan", "clusters")
        yield (
            path,
            document.fault(
                path,
                f"this is about clusters that are randomised, and the unit is a {form.unit.type}",
                next="set `unit: {type: cluster}`, or leave it out",
            ),
        )
    path = ("unit", "from")
    if form.unit.type == "slot" and form.unit.every <= 0:
        path = ("unit", "every")
        yield path, document.fault(path, "a time slot takes time", accepted="a duration such as '1h'")


def _members(form: Form, members: str, document: Document) -> Found:
    path: FieldPath = ("unit", "members")
    if form.unit.type != "cluster":
        yield (
            path,
            document.fault(
                path,
                f"members belong to a cluster, and the unit is a {form.unit.type}",
                accepted="`unit: {type: cluster, from: …, members: ATTRIBUTE}`",
            ),
        )
    elif form.source is None:
        yield from undeclared_attribute(path, members, form.attributes, document)
    elif form.source is not None and members not in form.source.columns:
        yield (
            path,
            document.fault(
                path, f"no column is named for the members '{members}'", accepted=f"{members}: COLUMN"
            ),
        )


def _undeclared(path: FieldPath, names: Iterable[str], known: list[str], document: Document) -> Found:
    for name in dict.fromkeys(names):
        here = (*path, name) if path in (("target",), ("traffic",)) else path
        yield from undeclared_attribute(here, name, known, document)
