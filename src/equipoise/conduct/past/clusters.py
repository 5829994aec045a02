"""Past clusters: how alike the readings of a cluster were, in a log or a table, for the plan of clusters to come."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from equipoise.conduct.ledger import registered
from equipoise.errors import UsageError
from equipoise.events.log import EventLog
from equipoise.experiment.definition import Experiment
from equipoise.measurement.clusters.past import clusters_of_log, clusters_of_table
from equipoise.stats.estimate import NotEstimable
from equipoise.stats.sizes.intraclass import Intraclass, intraclass

__all__ = ["past_clusters", "past_clusters_of_table"]


def past_clusters(
    log: EventLog, name: str, experiment: Experiment, *, cluster: str | None = None
) -> Intraclass | NotEstimable:
    """How alike the readings of a cluster's primary were under control of an experiment in a log.

    A cluster is what the attribute `cluster` of its exposures names; None means what the past experiment was clustered by,
    and else its unit. UsageError where the definition does not randomise clusters, RecordError where nothing is registered
    under the name, DataError where nothing was recorded.
    """
    _check(experiment)
    past, _, _ = registered(log, name)
    asked = replace(
        experiment, name=past.name, digest=past.digest, variants=past.variants, unit=past.unit, segments=(),
        switchback=past.switchback, rollout=past.rollout, cluster=cluster or past.cluster,
        metrics=(replace(experiment.primary, covariates=()),), critical_segments=(),
    )  # fmt: skip
    return intraclass(clusters_of_log(asked, log))


def past_clusters_of_table(
    experiment: Experiment, table: str | Path | Any, *, cluster: str | None = None
) -> Intraclass | NotEstimable:
    """The same of a table with the columns of the definition's `source`, or `unit`, `variant` and the quantity's name."""
    _check(experiment)
    asked = replace(
        experiment, cluster=cluster, segments=(), metrics=(replace(experiment.primary, covariates=()),),
        critical_segments=(),
    )  # fmt: skip
    return intraclass(clusters_of_table(asked, table))


def _check(experiment: Experiment) -> None:
    if experiment.unit.type != "cluster":
        raise UsageError(
            f"{experiment.identity} randomises a {experiment.unit.type}, and past clusters tell its plan nothing. "
            "Set `unit: {type: cluster, from: …}`"
        )
