"""Control by how many of its cluster's others are treated, counted where the rows are."""

from __future__ import annotations

from typing import TYPE_CHECKING

from equipoise.experiment.definition import Experiment
from equipoise.measurement.clusters.saturation import within_clusters
from equipoise.measurement.warehouse.asking import answer
from equipoise.measurement.warehouse.counting import Counted
from equipoise.stats.health.saturation import Saturated
from equipoise.stats.moments import PairMoments

if TYPE_CHECKING:
    from ibis.expr.types import Table

__all__ = ["saturations"]


def saturations(
    experiment: Experiment, units: Table, counted: Counted | None
) -> tuple[Saturated, ...] | None:
    """As `measurement.clusters.saturation.saturations`, of a table whose columns are those of `Counted`."""
    if counted is None or not within_clusters(experiment):
        return None
    control = units.variant == "control"
    known = control & units[counted.x].notnull()
    size = units[counted.y].sum(where=known) if counted.y else units.count(where=known).cast("float64")
    clusters = units.group_by("cluster").aggregate(
        units=units.count(),
        treated=units.count(where=~control),
        x=units[counted.x].sum(where=known),
        y=size,
    )
    held = clusters.filter((clusters.units > 1) & (clusters.y > 0))
    cells = held.group_by("units", "treated").aggregate(
        n=held.count(),
        mean_x=held.x.mean(),
        mean_y=held.y.mean(),
        var_x=held.x.var(how="pop"),
        var_y=held.y.var(how="pop"),
        cov=held.x.cov(held.y, how="pop"),
    )
    rows = sorted(answer(cells), key=lambda row: (row["units"], row["treated"]))
    return tuple(
        Saturated(
            row["units"],
            row["treated"],
            PairMoments(
                row["n"],
                row["mean_x"],
                row["mean_y"],
                max(row["n"] * row["var_x"], 0.0),
                max(row["n"] * row["var_y"], 0.0),
                row["n"] * row["cov"],
            ),
        )
        for row in rows
    )
