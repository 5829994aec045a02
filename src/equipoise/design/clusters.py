"""What randomised clusters add to a plan: sizes in clusters, with the likeness of what is in them."""

from __future__ import annotations

import math
from dataclasses import replace

from equipoise.experiment.definition import Experiment
from equipoise.experiment.metric import Metric
from equipoise.stats.sizes.power_clusters import cluster_mean_spread, cluster_spread

__all__ = ["FEW_CLUSTERS", "cluster_notes", "in_clusters"]

FEW_CLUSTERS = 30
"""An arm with fewer clusters than this is read out with corrections for few, and a few odd ones weigh much."""


def in_clusters(experiment: Experiment) -> Experiment:
    """The experiment with metrics of clusters: a share, a mean or a ratio of single readings by what clusters differ in it.

    A share of a cluster's readings is a mean of clusters, whether or not it is said how alike they are (`plan.clusters`); of
    what takes one value of each cluster (a yes or no, a sum, the last reading) baseline and spread are those of clusters
    already, and stay.
    """
    if experiment.unit.type != "cluster":
        return experiment
    return replace(
        experiment, metrics=tuple(_of_clusters(experiment, metric) for metric in experiment.metrics)
    )


def _of_clusters(experiment: Experiment, metric: Metric) -> Metric:
    expected, share = experiment.plan.clusters, experiment.is_share(metric)
    if expected is None:
        return replace(metric, kind="mean") if share else metric
    spread = metric.spread
    if spread is None and share and metric.baseline is not None:
        spread = math.sqrt(metric.baseline * (1.0 - metric.baseline))
    if metric.kind != "ratio" and not _read_one_by_one(experiment, metric):
        return metric
    if spread is None:
        return replace(metric, kind="mean") if share else metric
    between = cluster_spread if metric.kind == "ratio" else cluster_mean_spread
    return replace(
        metric, kind="mean", per=None, spread=between(spread, expected.icc, expected.size, expected.size_cv)
    )


def _read_one_by_one(experiment: Experiment, metric: Metric) -> bool:
    """Whether a cluster's value is the mean of its readings."""
    return experiment.is_share(metric) or (metric.kind == "mean" and metric.per_unit == "mean")


def _of_one_value(experiment: Experiment) -> dict[str, str]:
    """The metrics that a plan asks of and that take one value of each cluster, with how they take it."""
    return {
        metric.name: metric.per_unit
        for metric in experiment.metrics
        if metric.kind in ("proportion", "mean", "count")
        and not _read_one_by_one(experiment, metric)
        and (metric.priority in ("primary", "guardrail") or metric.mde is not None)
    }


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
        between = cluster_mean_spread if _read_one_by_one(experiment, experiment.primary) else cluster_spread
        factor = expected.size * between(1.0, expected.icc, expected.size, expected.size_cv) ** 2
        notes.append(
            f"a unit is a cluster of {expected.size:g} readings; with an intraclass correlation of {expected.icc:g} they "
            f"tell as much as {expected.size / factor:.3g} independent ones (design effect {factor:.3g})"
        )
        if single := _of_one_value(experiment):
            listed = ", ".join(f"{name} (the {how} of its readings)" for name, how in single.items())
            notes.append(
                f"one value of each cluster: {listed}. Their `baseline` and `spread` are those of clusters, and "
                "`plan.clusters` says nothing of them; `per_unit: mean` takes a cluster's mean, or its share of yeses"
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
