"""Facts to one row per unit to moments: one aggregating query, run by the engine where the rows are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from equipoise.errors import DataError
from equipoise.events.log import EventLog
from equipoise.experiment.definition import Experiment
from equipoise.experiment.metric import Metric, Quantity
from equipoise.measurement.by_turn import others
from equipoise.measurement.clusters.members import across, members_of_log, members_of_table, of_units, whole
from equipoise.measurement.clusters.saturation import saturations
from equipoise.measurement.control_days import Share, control_days, shares
from equipoise.measurement.counting import WHOLE, Counted, capped, complete, one, tallies_by
from equipoise.measurement.cross import ALWAYS
from equipoise.measurement.daily import daily
from equipoise.measurement.entry_days import entry_days
from equipoise.measurement.epochs import SETTLED, Began, began, by_epoch, columns_of, of_table
from equipoise.measurement.judged import JudgedTable, judged_of_log, judged_of_table
from equipoise.measurement.lists.interleaved import measure_lists
from equipoise.measurement.parts import among_values, enrol, most_frequent
from equipoise.measurement.quantiles import make_readings, quantile_tallies
from equipoise.measurement.record import log_facts
from equipoise.measurement.restricted_means import check_event_rows, restricted_tallies
from equipoise.measurement.slots import by_block, name_blocks_of_rows, slot_values, whole_blocks
from equipoise.measurement.tables import (
    connect,
    covariate_names,
    frame_source,
    label_columns,
    open_table,
    table_facts,
    unreadable,
)
from equipoise.measurement.tally import Aside, Cap, Measurement, Read, SegmentTallies, Tally
from equipoise.measurement.units import check_answers, make_units
from equipoise.measurement.warehouse.asking import is_relation
from equipoise.measurement.warehouse.connecting import Variable, warehouse_table
from equipoise.measurement.warehouse.measuring import measure_relation

if TYPE_CHECKING:
    import duckdb

__all__ = ["measure_log", "measure_table"]


def measure_table(
    experiment: Experiment, table: str | Path | Any | None = None, *, variable: Variable | None = None
) -> Measurement:
    """Measure a table: a path, a frame, an Ibis table, or (None) the one the definition names as its source.

    `variable` tells the environment's variables, one of which may hold the address of a
    warehouse. Raises DataError for files, columns and values that are not as declared.
    """
    if experiment.method == "interleaving":
        raise DataError(
            f"{experiment.identity} interleaves, and a table has neither its lists nor whose their items are; register it, "
            "show lists by a Router with the log, and analyse it by its name"
        )
    import duckdb

    if table is None:
        if experiment.source is None:
            raise DataError(
                f"{experiment.identity} names no table; add `source:` to the definition, or pass one"
            )
        if experiment.source.connection is not None:
            with warehouse_table(experiment.source, variable) as relation:
                return measure_relation(experiment, relation)
        table, folder = experiment.source.table, experiment.folder
    else:
        folder = "."
    if is_relation(table):
        return measure_relation(experiment, table)
    connection = connect()
    try:
        described = open_table(connection, table, folder)
        source = frame_source(connection, experiment)
        try:
            names = table_facts(connection, experiment, source)
        except duckdb.Error as error:
            # A Parquet file is read here, column by column, and not before.
            raise unreadable(described, error) from None
        labels = {name: f"l{index}" for index, name in enumerate(label_columns(experiment, source))}
        timed, washed = source.time is not None, 0
        if experiment.switchback is not None:
            washed = name_blocks_of_rows(connection, experiment, timed=timed)
        columns = [str(row[0]) for row in connection.execute("DESCRIBE source_rows").fetchall()]
        arms = [variant.name for variant in experiment.variants]
        epochs = columns_of(experiment, source, columns)
        measured = _measure(
            connection,
            of_units(by_block(experiment)),
            names,
            described,
            timed=timed,
            labels=labels,
            announced=of_table(connection, arms) if epochs else {},
        )
        members = members_of_table(connection)
        return whole(experiment, replace(measured, aside=Aside(washed_out=washed), members=members))
    finally:
        connection.close()


def measure_log(experiment: Experiment, log: EventLog, *, until: int | None = None) -> Measurement:
    """Measure the log, up to a position where one is given."""
    if experiment.method == "interleaving":
        return measure_lists(experiment, log, until=until)
    connection = connect()
    experiment = of_units(by_block(experiment))
    try:
        names, aside, read = log_facts(connection, experiment, log, until)
        announced = began(log, experiment.name, until) if experiment.method == "bandit" else {}
        measured = _measure(
            connection,
            experiment,
            names,
            "the event log",
            timed=True,
            aside=aside,
            read=read,
            announced=announced,
            ramp=shares(experiment, log, until),
        )
        members = members_of_log(connection, experiment)
        # A row of the engine may hold several values of one event; each counts.
        return whole(experiment, replace(measured, rows=read.rows, members=members))
    finally:
        connection.close()


def _measure(
    connection: duckdb.DuckDBPyConnection,
    experiment: Experiment,
    names: Mapping[Quantity, str],
    described: str,
    *,
    timed: bool,
    aside: Aside | None = None,
    read: Read | None = None,
    labels: Mapping[str, str] = MappingProxyType({}),
    announced: Mapping[int, Began] = MappingProxyType({}),
    ramp: Sequence[Share] = (),
) -> Measurement:
    latest = "'inf'::DOUBLE" if read is None or read.latest is None else repr(read.latest)
    rows, first, last = one(
        connection,
        f"SELECT count(*), min(happened), max(happened) FILTER (WHERE happened <= {latest}) FROM facts",
    )
    # A sender's clock may run ahead; nobody has been in for longer than the log knows of.
    ends = last if last is None or read is None or read.received is None else min(last, read.received)
    # Of quantiles every reading counts, and not one value a unit.
    valued = [metric for metric in experiment.metrics if metric.kind != "quantile"]
    metrics = [metric for metric in valued if metric.kind != "time_to_event"]
    times = [metric for metric in valued if metric.kind == "time_to_event"]
    segments = {segment: f"s{index}" for index, segment in enumerate(experiment.segments)}
    covariates = {name: f"z{index}" for index, name in enumerate(covariate_names(experiment))}
    figures = others(experiment)
    columns, beside, crossed = make_units(
        connection,
        experiment,
        valued,
        names,
        [*segments.values(), *covariates.values(), *(SETTLED if announced else ())],
        timed=timed,
        others=figures,
    )
    enrolment = enrol(connection, experiment.plan, ends, timed=timed)
    kept = timed and experiment.plan.crossed == "first_seen"
    drawn_together = experiment.switchback is not None and experiment.cluster is not None
    counts = whole_blocks(connection, len(experiment.variants)) if drawn_together else ALWAYS
    if crossed and not kept:
        counts = f"({counts}) AND NOT crossed"
    connection.execute(f"CREATE TEMP VIEW units AS SELECT * FROM enrolled WHERE {counts}")
    check_answers(connection, experiment, valued, names, columns)
    if aside is None:
        for metric in times:
            check_event_rows(connection, metric, columns[metric.name][0])
    (told,) = one(connection, "SELECT coalesce(sum(told), 0) FROM all_units")
    arms = [variant.name for variant in experiment.variants]
    units = dict.fromkeys(arms, 0) | dict(
        # Of slots all, also those whose blocks are not whole: where an arm's are lost, the sample ratio is to say so.
        connection.execute(
            f"SELECT variant, count(*) FROM {'enrolled' if drawn_together else 'units'} GROUP BY variant"
        ).fetchall()
    )
    clusters = None
    if experiment.cluster is not None:
        clusters = dict.fromkeys(arms, 0) | dict(
            connection.execute(
                "SELECT variant, count(DISTINCT cluster) FROM units GROUP BY variant"
            ).fetchall()
        )
    full = complete(
        connection, [*(each for metric in metrics for each in columns[metric.name]), *covariates.values()]
    )
    counted: dict[str, Counted] = {}
    caps: dict[str, Cap] = {}
    for metric in metrics:
        x, *y = columns[metric.name]
        column = Counted(
            metric=metric,
            x=x,
            y=y[0] if y else None,
            ripe=_ripe(metric, ends),
            covariates=tuple(covariates[name] for name in metric.covariates),
            full=full,
        )
        counted[metric.name], cap = capped(connection, column)
        if cap is not None:
            caps[metric.name] = cap
    came = {metric.name: columns[metric.name][0] for metric in times}
    judged: dict[str, JudgedTable] = {}
    for metric in metrics:
        table, ripe, score = f"judged_{len(judged)}", _ripe(metric, ends), names[metric.of]
        made: JudgedTable | None = None
        if metric.correctable and read is not None:
            planned = experiment.labels_planned(metric)
            made = judged_of_log(connection, table, metric, score, planned=planned, ripe=ripe)
        elif metric.correctable and metric.of.name in labels:
            said = labels[metric.of.name]
            made = judged_of_table(connection, table, metric, score, said, planned=metric.labels, ripe=ripe)
        if made is not None:
            judged[metric.name] = made
    reader = _Reader(connection, experiment, names, counted, came, arms, segments, clusters, ends, judged)
    whole = reader.tallies(experiment.metrics)
    primary = experiment.primary
    by_turn = tallies_by(
        connection,
        [
            Counted(metric=other, x=x, y=y[0] if y else None, ripe=_ripe(other, ends), full=full)
            for other in figures
            for x, *y in [beside[other.name]]
        ],
        arms,
        clusters=clusters,
        across=across(experiment),
    )
    return Measurement(
        source=described,
        rows=rows,
        units=units,
        crossed=crossed,
        kept=kept,
        rows_without_unit=rows - int(told),
        clusters=clusters,
        first=first,
        last=last,
        tallies={metric.name: whole[metric.name][""] for metric in experiment.metrics},
        aside=aside or Aside(),
        critical_segments=tuple(
            reader.within(experiment.metric(each.metric), each.attribute, [each.value])[each.value]
            for each in experiment.critical_segments
        ),
        read=read,
        enrolment=enrolment,
        caps=caps,
        segments=tuple(reader.segment(primary, attribute) for attribute in segments),
        otherwise=reader.tallies(
            [primary], among="(SELECT * FROM enrolled WHERE NOT crossed)" if kept else "enrolled"
        )[primary.name][""]
        if primary.kind != "quantile" and crossed and timed
        else {},
        entry_days=entry_days(connection, counted[primary.name], arms, clusters=clusters)
        if primary.name in counted and timed
        else (),
        daily=daily(connection, primary, names[primary.of], arms, ends),
        by_turn={name: parts[""] for name, parts in by_turn.items()},
        control_days=control_days(connection, counted[primary.name], ramp) if primary.name in counted else (),
        saturations=saturations(connection, experiment, counted.get(primary.name), ramp),
        slots=slot_values(connection, counted[primary.name])
        if experiment.switchback is not None and primary.name in counted
        else (),
        epochs=by_epoch(
            connection,
            announced,
            arms,
            reader.epochs(),
            reader.critical_epochs(),
            logged_apart=read is not None,
        )
        if announced
        else (),
    )


@dataclass(frozen=True, slots=True)
class _Reader:
    """Tallies of metrics of every kind, for the whole and for parts."""

    connection: duckdb.DuckDBPyConnection
    experiment: Experiment
    names: Mapping[Quantity, str]
    counted: Mapping[str, Counted]
    came: Mapping[str, str]
    arms: Sequence[str]
    segments: Mapping[str, str]
    clusters: Mapping[str, int] | None
    ends: float | None
    judged: Mapping[str, JudgedTable]
    readings: dict[tuple[str, float | None, bool], str] = field(default_factory=dict)

    def tallies(
        self, metrics: Sequence[Metric], by: str = WHOLE, where: str = ALWAYS, among: str = "units"
    ) -> dict[str, dict[str, dict[str, Tally]]]:
        """The tallies of metrics by metric, part and arm, among the units that `where` says.

        Readings of quantiles are those of `units`, whatever `among` is.
        """
        if where != ALWAYS:
            among = f"(SELECT * FROM {among} WHERE {where})"
        found = tallies_by(
            self.connection,
            [self.counted[metric.name] for metric in metrics if metric.name in self.counted],
            self.arms,
            clusters=self.clusters,
            across=across(self.experiment),
            by=by,
            among=among,
        )
        for metric in metrics:
            if metric.name in self.came and self.ends is not None:
                found[metric.name] = restricted_tallies(
                    self.connection,
                    metric,
                    self.came[metric.name],
                    self.arms,
                    last=self.ends,
                    across=across(self.experiment),
                    by=by,
                    among=among,
                )
            if metric.kind == "quantile":
                found[metric.name] = quantile_tallies(
                    self.connection,
                    self._readings(metric),
                    metric,
                    self.arms,
                    ripe=_ripe(metric, self.ends),
                    across=across(self.experiment),
                    by=by,
                    where=where,
                )
            if metric.name in self.judged:
                parts = self.judged[metric.name].tallies(
                    self.connection, self.arms, across=across(self.experiment), by=by, among=among
                )
                found[metric.name] = {
                    part: {arm: replace(tally, judged=parts[part][arm]) for arm, tally in of.items()}
                    for part, of in found[metric.name].items()
                }
        return found

    def within(self, metric: Metric, attribute: str, values: Sequence[str]) -> dict[str, Mapping[str, Tally]]:
        """One metric by value of an attribute; no units where nobody has the value."""
        column = self.segments[attribute]
        found = self.tallies([metric], column, among_values(column, values))[metric.name] if values else {}
        nobody = self.tallies([metric], where="false")[metric.name][""] if set(values) - set(found) else {}
        return {value: found.get(value, nobody) for value in values}

    def epochs(
        self, metrics: Sequence[Metric] = (), where: str = ALWAYS
    ) -> dict[str, dict[int, dict[str, Tally]]]:
        """Metrics whose moments add up, by epoch of entry and arm, without covariates; all of them unless named."""
        names = {metric.name for metric in metrics} or set(self.counted)
        found = tallies_by(
            self.connection,
            [replace(self.counted[name], covariates=()) for name in self.counted if name in names],
            self.arms,
            clusters=None,
            by="epoch",
            among="units" if where == ALWAYS else f"(SELECT * FROM units WHERE {where})",
        )
        return {name: {int(epoch): of for epoch, of in parts.items()} for name, parts in found.items()}

    def critical_epochs(self) -> list[dict[int, dict[str, Tally]]]:
        """The metric of each critical segment within it, by epoch and arm."""
        return [
            self.epochs(
                [self.experiment.metric(each.metric)],
                among_values(self.segments[each.attribute], [each.value]),
            ).get(each.metric, {})
            for each in self.experiment.critical_segments
        ]

    def segment(self, metric: Metric, attribute: str) -> SegmentTallies:
        """One metric by the most frequent values of an attribute; units of which it is not known are in no part."""
        values, others = most_frequent(self.connection, self.segments[attribute])
        return SegmentTallies(attribute, self.within(metric, attribute, values), others)

    def _parted(self) -> set[str]:
        """The metrics that are read out in parts."""
        return {self.experiment.primary.name, *(each.metric for each in self.experiment.critical_segments)}

    def _readings(self, metric: Metric) -> str:
        """The table of a metric's readings, made once for all quantiles of the same."""
        column = self.names[metric.of]
        parted = metric.name in self._parted()
        if (column, metric.window, parted) not in self.readings:
            table = f"readings_{len(self.readings)}"
            make_readings(
                self.connection,
                table,
                metric,
                column,
                ripe=_ripe(metric, self.ends),
                clustered=self.clusters is not None,
                settled=tuple(self.segments.values()) if parted else (),
            )
            self.readings[column, metric.window, parted] = table
        return self.readings[column, metric.window, parted]


def _ripe(metric: Metric, ends: float | None) -> str:
    """The condition that a unit has been in for the whole of the metric's window when the data end."""
    if metric.window is None or ends is None:
        return ALWAYS
    return f"since + {metric.window!r} <= {ends!r}"
