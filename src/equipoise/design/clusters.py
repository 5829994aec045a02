"""What randomised clusters add to a plan: sizes in clusters, with the likeness of what is in them."""

from __future__ import annotations

import math
from dataclasses import replace

from equipoise.experiment.definition import Clusters, Experiment
from equipoise.experiment.metric import Metric
from equipoise.stats.sizes.power_clusters import cluster_spread, design_effect

__all__ = ["FEW_CLUSTERS", "cluster_notes", "in_clusters"]

FEW_CLUSTERS = 30
"""An arm with fewer clusters than this is read out with corrections for few, and a few odd ones weigh much."""


def in_clusters(experiment: Experiment) -> Experiment:
    """The experiment with metrics of clusters: a rate or a mean of single readings as the mean of a cluster's.

    What is not said to be in clusters (`plan.clusters`) stays as it is, and `spread` is then that between clusters.
    """
    expected = experiment.plan.clusters
    if experiment.unit.type != "cluster" or expected is None:
        return experiment
    return replace(experiment, metrics=tuple(_of_clusters(metric, expected) for metric in experiment.metrics))


def _of_clusters(metric: Metric, expected: Clusters) -> Metric:
    spread = metric.spread
    if spread is None and metric.kind == "proportion" and metric.baseline is not None:
        spread = math.sqrt(metric.baseline * (1.0 - metric.baseline))
    if spread is None or metric.kind not in ("proportion", "mean", "count", "ratio"):
        return metric
    between = cluster_spread(spread, expected.icc, expected.size, expected.size_cv)
    return replace(metric, kind="mean", per=None, q=None, spread=between)


def cluster_notes(experiment: Experiment, total: int | None) -> tuple[str, ...]:
    """What the numbers of randomised clusters rest on, and whether they are few; nothing for other units."""
    if experiment.unit.type != "cluster":
        return ()
    expected = experiment.plan.clusters
    notes = []
    if expected is None:
        notes.append(
            "a unit is a cluster, and `spread` is the standard deviation between clusters; where only that between readings "
            "is known, say how alike those of a cluster are: `plan: {clusters: {icc: 0.05, size: 20, size_cv: 0.6}}`"
        )
    else:
        factor = design_effect(expected.icc, expected.size, expected.size_cv)
        notes.append(
            f"a unit is a cluster of {expected.size:g} readings; with an intraclass correlation of {expected.icc:g} they "
            f"tell as much as {expected.size / factor:.3g} independent ones (design effect {factor:.3g})"
        )
    least = None if total is None else float(min(experiment.allocation.values())) * total
    if least is not None and least < FEW_CLUSTERS:
        notes.append(
            f"an arm has fewer than {FEW_CLUSTERS} clusters: the read-out corrects for it (CR3 and Student's t) and its "
            "intervals are wide, a few odd clusters weigh much, and arms may differ by chance in what nobody thought of. "
            "More clusters help, more readings in each hardly do"
        )
    notes.append(
        "clusters fit where members of one feel what others get (a team that shares answers, documents that are linked). "
        "Where nobody does, randomise users; where everybody does, all at once, switch back and forth in time"
    )
    return tuple(notes)
