"""Facts to one row per unit to moments: one aggregating query, run by the engine where the rows are."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from equipoise.errors import DataError
from equipoise.events.log import EventLog
from equipoise.experiment.definition import Experiment
from equipoise.experiment.metric import Metric, Quantity
from equipoise.measurement.record import log_facts
from equipoise.measurement.tables import frame_source, open_table, table_facts, unreadable
from equipoise.measurement.tally import Aside, Measurement, Tally
from equipoise.stats.comparison.quantiles import QuantileSummary, quantile_levels
from equipoise.stats.estimate import NotEstimable
from equipoise.stats.moments import Moments, PairMoments
from equipoise.stats.normal import critical

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
    (several,) = _one(connection, "SELECT count(*) FROM all_units WHERE told > 1")
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
    rows, without_unit, first, last = _one(
        connection,
        "SELECT count(*), count(*) FILTER (WHERE unit IS NULL), min(happened), max(happened) FROM facts",
    )
    metrics = [metric for metric in experiment.metrics if metric.kind != "quantile"]
    per_unit = [
        f"{_aggregate(metric, names[quantity], timed)} AS m{index}_{part}"
        for index, metric in enumerate(metrics)
        for part, quantity in zip("xy", metric.quantities, strict=False)
    ]
    segments = {segment: f"s{index}" for index, segment in enumerate(experiment.segments)}
    per_unit += [
        f"{_PER_UNIT['first' if timed else 'max'].format(v=column)} AS {column}"
        for column in segments.values()
    ]
    if experiment.cluster:
        per_unit.append("coalesce(min(cluster), 'unit ' || unit) AS cluster")
    variant = _PER_UNIT["first"].format(v="variant") if timed else "min(variant)"
    connection.execute(
        f"""
        CREATE TEMP TABLE all_units AS
        SELECT unit, {variant} AS variant, coalesce(min(variant) <> max(variant), false) AS crossed,
               count(*) AS told {"," if per_unit else ""} {", ".join(per_unit)}
        FROM facts WHERE unit IS NOT NULL GROUP BY unit ORDER BY unit
        """
    )
    if not timed:
        _check_one_row_where_order_matters(connection, experiment)
    (crossed,) = _one(connection, "SELECT count(*) FROM all_units WHERE crossed")
    connection.execute(
        f"CREATE TEMP VIEW units AS SELECT * FROM all_units {'' if timed else 'WHERE NOT crossed'}"
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
    tallies: dict[str, Mapping[str, Tally]] = {}
    for index, metric in enumerate(metrics):
        tallies[metric.name] = _tallies(
            connection, metric, index, arms, units, clustered=clusters is not None
        )
    for metric in experiment.metrics:
        if metric.kind == "quantile":
            tallies[metric.name] = _quantiles(
                connection, metric, names[metric.of], arms, units, clustered=clusters is not None
            )
    critical = tuple(
        _tallies(
            connection,
            experiment.metric(segment.metric),
            metrics.index(experiment.metric(segment.metric)),
            arms,
            None,
            clustered=clusters is not None,
            where=f"{segments[segment.attribute]} = '{segment.value.replace(chr(39), chr(39) * 2)}'",
        )
        if experiment.metric(segment.metric) in metrics
        else {}
        for segment in experiment.critical_segments
    )
    return Measurement(
        source=described,
        rows=rows,
        units=units,
        crossed=crossed,
        kept=timed,
        rows_without_unit=without_unit,
        clusters=clusters,
        first=first,
        last=last,
        tallies={metric.name: tallies[metric.name] for metric in experiment.metrics},
        aside=aside or Aside(),
        critical_segments=critical,
    )


def _one(connection: duckdb.DuckDBPyConnection, query: str) -> tuple[Any, ...]:
    row = connection.execute(query).fetchone()
    if row is None:
        raise AssertionError("an aggregate without groups has one row")
    return row


def _aggregate(metric: Metric, column: str, timed: bool) -> str:
    # Without a time there is one row per unit wherever order would matter (checked), so any of them will do.
    how = metric.per_unit if timed or metric.per_unit not in ("first", "last") else "max"
    return _PER_UNIT[how].format(v=column)


def _check_yes_or_no(connection: duckdb.DuckDBPyConnection, metric: Metric, table: str, column: str) -> None:
    wrong, example = _one(
        connection, f"SELECT count(DISTINCT unit), min({column}) FROM {table} WHERE {column} NOT IN (0, 1)"
    )
    if wrong:
        raise DataError(
            f"{metric.name} is a proportion of {metric.of}, and {_counted(wrong, 'unit has', 'units have')} "
            f"another value than 0 or 1, such as {example:g}. Use `kind: mean`, or record true and false"
        )


def _counted(number: int, one: str, many: str) -> str:
    return f"{number:,} {one if number == 1 else many}"


def _tallies(
    connection: duckdb.DuckDBPyConnection,
    metric: Metric,
    index: int,
    arms: list[str],
    units: Mapping[str, int] | None,
    *,
    clustered: bool,
    where: str = "true",
) -> dict[str, Tally]:
    if units is None:
        units = dict.fromkeys(arms, 0) | dict(
            connection.execute(
                f"SELECT variant, count(*) FROM units WHERE {where} GROUP BY variant"
            ).fetchall()
        )
    x, y = f"m{index}_x", f"m{index}_y"
    ratio = metric.kind == "ratio"
    valued = f"({where}) AND {x} IS NOT NULL" + (f" AND {y} IS NOT NULL" if ratio else "")
    found = connection.execute(
        f"SELECT variant, count(*), avg({x}), var_pop({x}) * count(*) FROM units WHERE {valued} GROUP BY variant"
    ).fetchall()
    _check_finite(metric, (number for row in found for number in row[2:]))
    single = {variant: (n, Moments(n, mean, m2)) for variant, n, mean, m2 in found}
    pairs: dict[str, PairMoments] = {}
    if ratio or clustered:
        denominator = y if ratio else "1.0"
        cluster = ", cluster" if clustered else ""
        table = f"(SELECT variant, {x} AS a, {denominator} AS b{cluster} FROM units WHERE {valued})"
        if clustered:
            # Sums per cluster: a mean over units is a ratio of sums over clusters.
            table = (
                f"(SELECT variant, sum(a) AS a, sum(b) AS b FROM {table} "
                "GROUP BY variant, cluster ORDER BY variant, cluster)"
            )
        for variant, *numbers in connection.execute(
            f"""SELECT variant, count(*), avg(a), avg(b), var_pop(a) * count(*), var_pop(b) * count(*),
                       covar_pop(a, b) * count(*) FROM {table} GROUP BY variant"""
        ).fetchall():
            _check_finite(metric, numbers)
            pairs[variant] = PairMoments(*numbers)
    empty = (0, Moments.zero())
    return {
        arm: Tally(
            units=single.get(arm, empty)[0],
            missing=units[arm] - single.get(arm, empty)[0],
            moments=None if ratio else single.get(arm, empty)[1],
            pairs=pairs.get(arm, PairMoments.zero()) if ratio or clustered else None,
        )
        for arm in arms
    }


def _check_finite(metric: Metric, numbers: Iterable[float]) -> None:
    if not all(math.isfinite(number) for number in numbers):
        raise DataError(
            f"the values of {metric.name} are too large to be added up: their squares leave the range of a "
            "number (about 1e308). Record them in a larger unit"
        )


def _quantiles(
    connection: duckdb.DuckDBPyConnection,
    metric: Metric,
    column: str,
    arms: list[str],
    units: Mapping[str, int],
    *,
    clustered: bool,
) -> dict[str, Tally]:
    group = "units.cluster" if clustered else "units.unit"
    result = {}
    for arm in arms:
        connection.execute(
            f"""CREATE OR REPLACE TEMP TABLE readings AS
                SELECT {group} AS block, units.unit AS unit, facts.{column} AS value
                FROM facts JOIN units ON units.unit = facts.unit
                WHERE units.variant = ? AND facts.{column} IS NOT NULL""",
            [arm],
        )
        (seen,) = _one(connection, "SELECT count(DISTINCT unit) FROM readings")
        result[arm] = Tally(
            units=seen,
            missing=units[arm] - seen,
            quantile=_quantile(connection, metric.q or 0.5)
            if seen
            else NotEstimable("there are no readings"),
        )
    return result


def _quantile(connection: duckdb.DuckDBPyConnection, q: float) -> QuantileSummary | NotEstimable:
    def at(level: float) -> float:
        return float(_one(connection, f"SELECT quantile_disc(value, {level!r}) FROM readings")[0])

    value = at(q)
    numbers = _one(
        connection,
        f"""SELECT count(*), avg(a), avg(b), var_pop(a) * count(*), var_pop(b) * count(*), covar_pop(a, b) * count(*)
            FROM (SELECT count(*) FILTER (WHERE value <= {value!r}) AS a, count(*) AS b
                  FROM readings GROUP BY block ORDER BY block)""",
    )
    levels = quantile_levels(q, PairMoments(*numbers))
    if isinstance(levels, NotEstimable):
        return levels
    low, high = (at(level) for level in levels)
    if high <= low:
        return NotEstimable("the readings do not vary around the quantile")
    return QuantileSummary(q, numbers[0], value, (high - low) / (2.0 * critical(0.025)))
