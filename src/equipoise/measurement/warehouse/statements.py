"""The statements that a read-out runs in a warehouse, to be read before it is let in."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from equipoise.experiment.definition import Experiment
from equipoise.measurement.by_turn import others
from equipoise.measurement.clusters.members import across
from equipoise.measurement.epochs import SETTLED
from equipoise.measurement.slots import by_block
from equipoise.measurement.tables import covariate_names, implied_source, named_columns
from equipoise.measurement.warehouse.counting import (
    Counted,
    cluster_moments,
    cluster_sums,
    moments,
    shared_moments,
    valued,
    with_part,
)
from equipoise.measurement.warehouse.epochs import epoch_moments, share_rows, told_epochs
from equipoise.measurement.warehouse.facts import Facts, typed
from equipoise.measurement.warehouse.members import counted_members
from equipoise.measurement.warehouse.restricted_means import restricted_rows
from equipoise.measurement.warehouse.slots import blocks_of, settled_rows, slot_names, slot_rows, with_blocks
from equipoise.measurement.warehouse.units import per_unit, slopes

if TYPE_CHECKING:
    from ibis.expr.types import Table

__all__ = ["statements"]


def statements(experiment: Experiment, relation: Table, dialect: str) -> dict[str, str]:
    """The chief statements in an engine's dialect, in their order: what each is for, and its SQL.

    `relation` may be `ibis.table(schema, name=…)`, which is connected to nothing. `facts` and `units` are
    temporary tables made by the statements of these names. Of a switchback the names of `slots`, their values and the sums
    of their blocks come home. Beside these there are checks of values, a look-up of who came first
    for units whose rows differ in it, counts in buckets for quantiles, what clusters have in several arms of a quantile
    and of a time to an event, and the same moments for each segment;
    the condition of a window and a time to an event hold the time of the last row, which is known only then: here a time
    to an event has 0 in its place.

    Raises DataError for columns that are not there or cannot be read, as the read-out does.
    """
    import ibis

    getattr(ibis, dialect)  # which makes the dialect's options known
    source = experiment.source or implied_source(experiment, list(relation.columns))
    named = named_columns(experiment, source, list(relation.columns))
    metrics = [metric for metric in experiment.metrics if metric.kind != "quantile"]
    read = typed(relation, source, named, dialect)
    facts = Facts(
        table=ibis.table(read.schema(), name="facts"),
        names={quantity: f"q{index}" for index, quantity in enumerate(named.quantities)},
        timed=source.time is not None,
        rows=0,
        without_unit=0,
        first=None,
        last=None,
    )
    settled = [f"s{index}" for index in range(len(experiment.segments))]
    settled += [f"z{index}" for index in range(len(covariate_names(experiment)))]
    told = told_epochs(read)
    settled += SETTLED if told else ()
    shown = {"facts": read}
    if experiment.switchback is not None:
        shown["slots"] = slot_names(facts.table)
        facts = replace(facts, table=settled_rows(experiment, facts.table))
        experiment = by_block(experiment)
    figures = others(experiment)
    grouped = per_unit(experiment, facts, metrics, figures, settled)
    counted = [
        Counted(metric=metric, index=index)
        for index, metric in enumerate(metrics)
        if metric.kind != "time_to_event"
    ] + [Counted(metric=each, index=index) for index, each in enumerate(figures, len(metrics))]
    kept = ibis.table(grouped.schema(), name="units")
    kept = kept if experiment.switchback is None else with_blocks(experiment, kept)
    units = with_part(valued(kept, counted, None))
    clustered = experiment.cluster is not None
    shown |= {"units": grouped, "moments": moments(units, counted, clustered=clustered)}
    if clustered:
        sums = cluster_sums(units, counted)
        shown["clusters"] = cluster_moments(sums, counted)
    if across(experiment) == "shared":
        shown["clusters in several arms"] = shared_moments(sums, counted)
    if across(experiment) == "blocks":
        shown["sums of blocks"], shown["arms of blocks"] = sums, blocks_of(kept)
    primary = next((each for each in counted if each.metric == experiment.primary), None)
    if experiment.switchback is not None and primary is not None:
        shown["values of slots"] = slot_rows(units, primary)
    if named.members is not None:
        shown["members"] = counted_members(facts.table)
    if told:
        shown["shares"] = share_rows(facts.table)
        shown["epochs"] = epoch_moments(units, counted[: len(counted) - len(figures)])
    for index, metric in enumerate(metrics):
        if metric.per_unit == "slope":
            shown[f"slope: {metric.name}"] = slopes(kept, facts, metric)
        if metric.kind == "time_to_event":
            shown[f"time: {metric.name}"] = restricted_rows(
                units, metric, f"m{index}_x", last=0.0, clustered=clustered
            )
    return {name: str(ibis.to_sql(query, dialect=dialect)) for name, query in shown.items()}
