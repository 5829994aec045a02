"""Facts to one row per unit to moments: one aggregating query, run by the engine where the rows are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from equipoise.errors import DataError
from equipoise.events.log import EventLog
from equipoise.experiment.definition import Experiment
from equipoise.experiment.metric import Metric, Quantity
from equipoise.measurement.counting import Counted, capped, one, quantile_tallies, tallies_by
from equipoise.measurement.daily import daily
from equipoise.measurement.entry_days import entry_days
from equipoise.measurement.parts import enrol, segment_tallies, text_literal
from equipoise.measurement.record import log_facts
from equipoise.measurement.tables import covariate_names, frame_source, open_table, table_facts, unreadable
from equipoise.measurement.tally import Aside, Cap, Measurement, Tally

if TYPE_CHECKING:
    import duckdb

__all__ = ["measure_log", "measure_table"]

_PER_UNIT = {
    "any": "max({v})",
    "all": "min({v})",
    "mean": "avg({v})",
    "sum": "sum({v})",
    "max": "max({v})",
    "min": "min({v})",
    # What happened at the same moment is put in order by its value, so that the order of rows is no matter.
    "first": "arg_min({v}, row(happened, {v}))",
    "last": "arg_max({v}, row(happened, {v}))",
}


def measure_table(experiment: Experiment, table: str | Path | Any | None = None) -> Measurement:
    """Measure a table: a path, a frame, or (None) the one the definition names as its source.

    Raises DataError for files, columns and values that are not as declared.
    """
    import duckdb

    if table is None:
        if experiment.source is None:
            raise DataError(
                f"{experiment.identity} names no table; add `source:` to the definition, or pass one"
            )
        table, folder = experiment.source.table, experiment.folder
    else:
        folder = "."
    connection = _connect()
    try:
        described = open_table(connection, table, folder)
        source = frame_source(connection, experiment)
        try:
            names = table_facts(connection, experiment, source)
        except duckdb.Error as error:
            # A Parquet file is read here, column by column, and not before.
            raise unreadable(described, error) from None
        return _measure(connection, experiment, names, described, timed=source.time is not None)
    finally:
        connection.close()


def measure_log(experiment: Experiment, log: EventLog, *, until: int | None = None) -> Measurement:
    """Measure the log, up to a position where one is given."""
    connection = _connect()
    try:
        names, aside, read = log_facts(connection, experiment, log, until)
        measured = _measure(connection, experiment, names, "the event log", timed=True, aside=aside)
        # A row of the engine may hold several values of one event; each counts.
        return replace(measured, read=read, rows=read.rows)
    finally:
        connection.close()


def _connect() -> duckdb.DuckDBPyConnection:
    import duckdb

    connection = duckdb.connect(":memory:")
    # One thread adds in one order: the same data give the same digits, on any machine.
    connection.execute("SET threads = 1")
    connection.execute("SET autoinstall_known_extensions = false")
    connection.execute("SET autoload_known_extensions = false")
    connection.execute("SET enable_progress_bar = false")
    # A time without a zone is UTC, wherever the machine stands.
    connection.execute("SET TimeZone = 'UTC'")
    return connection


def _check_one_row_where_order_matters(connection: duckdb.DuckDBPyConnection, experiment: Experiment) -> None:
    ordered = [metric.name for metric in experiment.metrics if metric.per_unit in ("first", "last")]
    if not ordered:
        return
    (several,) = one(connection, "SELECT count(*) FROM all_units WHERE told > 1")
    if several:
        raise DataError(
            f"{_counted(several, 'unit has', 'units have')} several rows, and {ordered[0]} takes the "
            f"{experiment.metric(ordered[0]).per_unit} "
            "of them; name the time column as `source.time`"
        )


def _measure(
    connection: duckdb.DuckDBPyConnection,
    experiment: Experiment,
    names: Mapping[Quantity, str],
    described: str,
    *,
    timed: bool,
    aside: Aside | None = None,
) -> Measurement:
    rows, without_unit, first, last = one(
        connection,
        "SELECT count(*), count(*) FILTER (WHERE unit IS NULL), min(happened), max(happened) FROM facts",
    )
    metrics = [metric for metric in experiment.metrics if metric.kind != "quantile"]
    segments = {segment: f"s{index}" for index, segment in enumerate(experiment.segments)}
    covariates = {name: f"z{index}" for index, name in enumerate(covariate_names(experiment))}
    _make_units(connection, experiment, metrics, names, [*segments.values(), *covariates.values()], timed)
    if not timed:
        _check_one_row_where_order_matters(connection, experiment)
    (crossed,) = one(connection, "SELECT count(*) FROM all_units WHERE crossed")
    enrolment = enrol(connection, experiment.plan, last, timed=timed)
    kept = timed and experiment.plan.crossed == "first_seen"
    connection.execute(
        f"CREATE TEMP VIEW units AS SELECT * FROM enrolled {'' if kept else 'WHERE NOT crossed'}"
    )
    for index, metric in enumerate(metrics):
        if metric.kind == "proportion":
            # First what was recorded, then what became of it: two yeses of one unit may add up to 2.
            _check_yes_or_no(connection, metric, "facts", names[metric.of])
            _check_yes_or_no(connection, metric, "units", f"m{index}_x")
    arms = [variant.name for variant in experiment.variants]
    units = dict.fromkeys(arms, 0) | dict(
        connection.execute("SELECT variant, count(*) FROM units GROUP BY variant").fetchall()
    )
    clusters = None
    if experiment.cluster:
        clusters = dict.fromkeys(arms, 0) | dict(
            connection.execute(
                "SELECT variant, count(DISTINCT cluster) FROM units GROUP BY variant"
            ).fetchall()
        )
    counted: dict[str, Counted] = {}
    caps: dict[str, Cap] = {}
    tallies: dict[str, Mapping[str, Tally]] = {}
    for index, metric in enumerate(metrics):
        column = Counted(
            metric=metric,
            x=f"m{index}_x",
            y=f"m{index}_y" if metric.kind == "ratio" else None,
            ripe=_ripe(metric, last),
            covariates=tuple(covariates[name] for name in metric.covariates),
        )
        counted[metric.name], cap = capped(connection, column)
        if cap is not None:
            caps[metric.name] = cap
        tallies[metric.name] = tallies_by(connection, counted[metric.name], arms, clusters=clusters)[""]
    for metric in experiment.metrics:
        if metric.kind == "quantile":
            tallies[metric.name] = quantile_tallies(
                connection,
                metric,
                names[metric.of],
                arms,
                ripe=_ripe(metric, last),
                clustered=clusters is not None,
            )
    primary = counted.get(experiment.primary.name)
    critical = tuple(
        tallies_by(
            connection,
            counted[segment.metric],
            arms,
            clusters=clusters,
            among=f"(SELECT * FROM units WHERE {segments[segment.attribute]} = {text_literal(segment.value)})",
        )[""]
        if segment.metric in counted
        else {}
        for segment in experiment.critical_segments
    )
    return Measurement(
        source=described,
        rows=rows,
        units=units,
        crossed=crossed,
        kept=kept,
        rows_without_unit=without_unit,
        clusters=clusters,
        first=first,
        last=last,
        tallies={metric.name: tallies[metric.name] for metric in experiment.metrics},
        aside=aside or Aside(),
        critical_segments=critical,
        enrolment=enrolment,
        caps=caps,
        segments=tuple(
            segment_tallies(connection, primary, arms, attribute, column, clusters=clusters)
            for attribute, column in segments.items()
        )
        if primary
        else (),
        otherwise=tallies_by(
            connection,
            primary,
            arms,
            clusters=clusters,
            among="(SELECT * FROM enrolled WHERE NOT crossed)" if kept else "enrolled",
        )[""]
        if primary and crossed and timed
        else {},
        entry_days=entry_days(connection, primary, arms, clusters=clusters) if primary and timed else (),
        daily=daily(connection, experiment.primary, names[experiment.primary.of], arms, last),
    )


def _make_units(
    connection: duckdb.DuckDBPyConnection,
    experiment: Experiment,
    metrics: Sequence[Metric],
    names: Mapping[Quantity, str],
    settled: Sequence[str],
    timed: bool,
) -> None:
    """Make `all_units`: one row per unit with its arm, its values, and what was settled at its first exposure."""
    windows = any(metric.window is not None for metric in experiment.metrics)
    if windows and not timed:
        name = next(metric.name for metric in experiment.metrics if metric.window is not None)
        raise DataError(
            f"{name} has a window, and no time tells what lies within it; name the time column as `source.time`"
        )
    per_unit = [
        f"{_aggregate(metric, names[quantity], timed)} AS m{index}_{part}"
        for index, metric in enumerate(metrics)
        for part, quantity in zip("xy", metric.quantities, strict=False)
    ]
    per_unit += [
        f"{_PER_UNIT['first' if timed else 'max'].format(v=column)} AS {column}" for column in settled
    ]
    if experiment.cluster:
        per_unit.append("coalesce(min(cluster), 'unit ' || unit) AS cluster")
    variant = _PER_UNIT["first"].format(v="variant") if timed else "min(variant)"
    table = "facts"
    if windows:
        table = (
            "(SELECT facts.*, entered FROM facts "
            "JOIN (SELECT unit, min(happened) AS entered FROM facts GROUP BY unit) AS entries USING (unit))"
        )
    connection.execute(
        f"""
        CREATE TEMP TABLE all_units AS
        SELECT unit, {variant} AS variant, coalesce(min(variant) <> max(variant), false) AS crossed,
               min(happened) AS since, count(*) AS told {"," if per_unit else ""} {", ".join(per_unit)}
        FROM {table} WHERE unit IS NOT NULL GROUP BY unit ORDER BY unit
        """
    )


def _ripe(metric: Metric, last: float | None) -> str:
    """The condition that a unit has been in for the whole of the metric's window when the data end."""
    if metric.window is None or last is None:
        return "true"
    return f"since + {metric.window!r} <= {last!r}"


def _aggregate(metric: Metric, column: str, timed: bool) -> str:
    # Without a time there is one row per unit wherever order would matter (checked), so any of them will do.
    how = metric.per_unit if timed or metric.per_unit not in ("first", "last") else "max"
    within = "" if metric.window is None else f" FILTER (WHERE happened < entered + {metric.window!r})"
    return _PER_UNIT[how].format(v=column) + within


def _check_yes_or_no(connection: duckdb.DuckDBPyConnection, metric: Metric, table: str, column: str) -> None:
    wrong, example = one(
        connection, f"SELECT count(DISTINCT unit), min({column}) FROM {table} WHERE {column} NOT IN (0, 1)"
    )
    if wrong:
        raise DataError(
            f"{metric.name} is a proportion of {metric.of}, and {_counted(wrong, 'unit has', 'units have')} "
            f"another value than 0 or 1, such as {example:g}. Use `kind: mean`, or record true and false"
        )


def _counted(number: int, one: str, many: str) -> str:
    return f"{number:,} {one if number == 1 else many}"
