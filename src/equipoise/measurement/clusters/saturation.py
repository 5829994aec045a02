"""Control by how many of its cluster's others are treated: what tells whether units feel what others beside them get."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from equipoise.experiment.definition import Experiment
from equipoise.measurement.control_days import Share
from equipoise.measurement.counting import Counted
from equipoise.stats.estimate import NotEstimable
from equipoise.stats.health.saturation import Saturated
from equipoise.stats.moments import PairMoments

if TYPE_CHECKING:
    import duckdb

__all__ = ["saturations", "within_clusters"]


def within_clusters(experiment: Experiment) -> bool:
    """Whether units are drawn one by one within declared clusters, by shares that follow no reward."""
    apart = experiment.unit.type in ("cluster", "slot") or experiment.method != "ab"
    return experiment.cluster is not None and not apart


def saturations(
    connection: duckdb.DuckDBPyConnection,
    experiment: Experiment,
    counted: Counted | None,
    ramp: Sequence[Share] = (),
) -> tuple[Saturated, ...] | NotEstimable | None:
    """A metric of control's units by their cluster's number of units and of treated ones, summed up over such clusters.

    Clusters of a single unit, which has nobody beside it, and those without a value of control are left out. None where
    units are not drawn within clusters, or the metric does not add up.
    """
    if counted is None or not within_clusters(experiment):
        return None
    if len({each.drawn for each in ramp}) > 1:
        return NotEstimable(
            "the allocation changed, so that clusters whose units came in later have more or less treatment for that alone"
        )
    valued = f"FILTER (WHERE variant = 'control' AND {counted.valued})"
    rows = connection.execute(
        f"""SELECT units, treated, count(*), avg(x), avg(y), var_pop(x), var_pop(y), covar_pop(x, y)
            FROM (SELECT count(*) AS units, count(*) FILTER (WHERE variant <> 'control') AS treated,
                         sum({counted.x}) {valued} AS x, sum({counted.y or "1.0::DOUBLE"}) {valued} AS y
                  FROM units GROUP BY cluster)
            WHERE units > 1 AND y > 0 GROUP BY units, treated ORDER BY units, treated"""
    ).fetchall()
    return tuple(
        Saturated(units, treated, PairMoments(n, x, y, max(n * xx, 0.0), max(n * yy, 0.0), n * xy))
        for units, treated, n, x, y, xx, yy, xy in rows
    )
