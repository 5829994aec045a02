"""What a proportion means where whole clusters are randomised: a share of their readings, or one yes or no of each."""

from __future__ import annotations

from collections.abc import Iterator

from equipoise.errors import Fault
from equipoise.experiment.catalogue import CATALOGUE
from equipoise.experiment.definition import Experiment
from equipoise.experiment.document import Document
from equipoise.experiment.document import Path as FieldPath
from equipoise.experiment.form import Form

__all__ = ["cluster_cautions", "cluster_faults", "may_be_shares"]

Found = Iterator[tuple[FieldPath, Fault]]


def may_be_shares(form: Form, name: str) -> bool:
    """Whether a built-in yes or no of units may say `per_unit: mean`, which makes it a share of a cluster's readings."""
    return form.unit.type == "cluster" and CATALOGUE[name].kind == "proportion"


def cluster_faults(form: Form, document: Document) -> Found:
    """A share of a cluster's readings where a bandit counts successes: a cluster would have to be one."""
    if form.unit.type != "cluster" or form.method != "bandit":
        return
    for name, metric in form.metrics.items():
        fixed = CATALOGUE.get(name)
        kind = metric.kind or (fixed.kind if fixed else None)
        if kind == "proportion" and metric.per_unit == "mean" and metric.above is None:
            path: FieldPath = ("metrics", name, "per_unit")
            yield (
                path,
                document.fault(
                    path,
                    "a bandit's reward is one yes or no of each cluster, and this is the share of its readings",
                    accepted="any, all, first or last",
                    next="or give a metric of your own `kind: mean`",
                ),
            )


def cluster_cautions(experiment: Experiment, document: Document) -> Iterator[Fault]:
    """Proportions of clusters of which it is not written what they are of: a team is rarely one yes or no."""
    if experiment.unit.type != "cluster":
        return
    for metric in experiment.metrics:
        path: FieldPath = ("metrics", metric.name)
        written = (*path, "per_unit") in document.lines
        if metric.kind != "proportion" or metric.above is not None or written:
            continue
        yield document.fault(
            path,
            f"of each cluster '{metric.name}' is one yes or no, made of its readings by `{metric.per_unit}`",
            next=f"`per_unit: mean` takes the share of a cluster's readings; say `per_unit: {metric.per_unit}` to keep one "
            "yes or no",
        )
