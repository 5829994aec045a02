"""A name that a definition uses and declares nowhere: what there is, what was probably meant, how to declare it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from equipoise.errors import Fault, nearest
from equipoise.experiment.document import Document
from equipoise.experiment.document import Path as FieldPath

__all__ = ["undeclared_attribute", "unknown_metric"]

Found = Iterator[tuple[FieldPath, Fault]]


def undeclared_attribute(path: FieldPath, name: str, known: Iterable[str], document: Document) -> Found:
    """The fault of an attribute that is not among those `known`; nothing for one that is."""
    known = list(known)
    if name not in known:
        fault = document.fault(
            path,
            f"'{name}' is not a declared attribute",
            accepted=", ".join(known) or None,
            next=nearest(name, known) or f"declare it: `attributes: {{{name}: {{from: header:x-{name}}}}}`",
        )
        yield path, fault


def unknown_metric(path: FieldPath, name: str, metrics: Iterable[str], document: Document) -> Found:
    """The fault of a metric that is not among those there are; nothing for one that is."""
    metrics = list(metrics)
    if name not in metrics:
        fault = document.fault(
            path, f"there is no metric '{name}'", accepted=", ".join(metrics), next=nearest(name, metrics)
        )
        yield path, fault
