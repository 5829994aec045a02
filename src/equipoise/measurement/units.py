"""One row per unit: the arm it counts for, its values, and what was settled at its first exposure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from equipoise.errors import DataError
from equipoise.experiment.definition import Experiment
from equipoise.experiment.metric import RETURNED, Metric, Quantity
from equipoise.measurement.by_turn import reads_each
from equipoise.measurement.counting import one
from equipoise.measurement.literals import quoted, text_literal
from equipoise.measurement.refusals import (
    other_than_yes_or_no,
    several_rows,
    times_to_events,
    window_without_times,
)

if TYPE_CHECKING:
    import duckdb

__all__ = ["check_answers", "check_yes_or_no", "make_units"]

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


_SURELY_FEWER = 0.8
"""An estimate of units below this share of the rows is no error of the estimate."""


def make_units(
    connection: duckdb.DuckDBPyConnection,
    experiment: Experiment,
    metrics: Sequence[Metric],
    names: Mapping[Quantity, str],
    settled: Sequence[str],
    *,
    timed: bool,
    others: Sequence[Metric] = (),
) -> tuple[dict[str, list[str]], dict[str, list[str]], int]:
    """Make `all_units` out of `facts`; returns each metric's columns, those of its other figure
    (`by_turn`), and how many units were seen in several arms.

    A unit's `number` tells it from others as its name does, and is shorter.

    The column of a time to an event is when the event first came, NULL where it did not, and before the unit's entry
    where it cannot be known. Metrics that make the same
    of the same share a column. Raises DataError where a window or an order is asked for, and no time tells.
    """
    if not timed and (refused := window_without_times(experiment)):
        raise refused
    # A time to an event needs nobody's entry beside each row: it is compared with its window unit by unit.
    windows = any(
        metric.window is not None and metric.kind != "time_to_event" for metric in experiment.metrics
    )
    if experiment.source is not None and experiment.source.grain == "unit":
        return _as_they_are(connection, experiment, metrics, names, settled), {}, 0
    made: dict[str, str] = {}
    columns = {
        metric.name: [
            made.setdefault(_aggregate(metric, names[quantity], timed), f"m{len(made)}")
            for quantity in metric.quantities
        ]
        for metric in metrics
    }
    beside = {
        other.name: [
            made.setdefault(aggregate, f"m{len(made)}")
            for aggregate in _aggregates_beside(other, names, timed)
        ]
        for other in others
    }
    per_unit = [f"{aggregate} AS {column}" for aggregate, column in made.items()]
    if experiment.cluster is not None:
        per_unit.append("coalesce(min(cluster), 'unit ' || unit) AS cluster")
    per_unit += [f"max({column}) AS {column}" for column in settled]
    changed = [f"coalesce(min({column}) <> max({column}), false)" for column in ("variant", *settled)]
    # Told that there are these few, the engine keeps variants as numbers, in the order of their names. A row of nobody's
    # may have any other.
    known = sorted(variant.name for variant in experiment.variants)
    arm = f"TRY_CAST(variant AS ENUM({', '.join(map(text_literal, known))}))"
    table = f"(SELECT * REPLACE ({arm} AS variant) FROM facts)"
    if windows:
        table = (
            f"(SELECT rows.*, entered FROM {table} AS rows "
            "JOIN (SELECT unit, min(happened) AS entered FROM facts GROUP BY unit) AS entries USING (unit))"
        )
    connection.execute(
        f"""
        CREATE TEMP TABLE unit_rows AS
        SELECT unit, min(variant) AS variant, {changed[0]} AS crossed, {" OR ".join(changed)} AS changed,
               min(happened) AS since, count(*) AS told {"," if per_unit else ""} {", ".join(per_unit)}
        FROM {table} WHERE unit IS NOT NULL GROUP BY unit ORDER BY unit
        """
    )
    crossed, altered, several = one(
        connection,
        "SELECT count(*) FILTER (crossed), count(*) FILTER (changed), count(*) FILTER (told > 1) FROM unit_rows",
    )
    connection.execute("CREATE TEMP VIEW all_units AS SELECT *, rowid AS number FROM unit_rows")
    if timed and altered:
        _settle(connection, ("variant", *settled))
    if not timed and (refused := several_rows(experiment, several)):
        raise refused
    return columns, beside, int(crossed)


def _as_they_are(
    connection: duckdb.DuckDBPyConnection,
    experiment: Experiment,
    metrics: Sequence[Metric],
    names: Mapping[Quantity, str],
    settled: Sequence[str],
) -> dict[str, list[str]]:
    """Make `all_units` a view of rows that are units: whatever is made of one value is that value.

    The declaration is believed, and held against an estimate of how many units there are (HyperLogLog, which is
    off by some 2 %), so that a table of events is not taken for one of units. Raises DataError where it is.
    """
    assert experiment.source is not None
    if refused := times_to_events(
        experiment, "rows that are units (`source.grain: unit`) do not tell; give events rows of their own"
    ):
        raise refused
    named = quoted(experiment.source.unit)
    kind = connection.execute(f"SELECT typeof({named}) FROM source_rows LIMIT 1").fetchone()
    # A name that is text may be blank as well as missing, which `facts` knows.
    text = kind is None or kind[0] == "VARCHAR"
    given, rows_of = ("unit", "facts") if text else (named, "source_rows")
    rows, known, about = one(
        connection, f"SELECT count(*), count({given}), approx_count_distinct({given}) FROM {rows_of}"
    )
    if about < _SURELY_FEWER * known:
        raise DataError(
            f"`source.grain: unit` says that each row is a unit, and the {known:,} rows have about {about:,} units. "
            "Leave it out, and the rows of each unit are put together"
        )
    cluster = ", coalesce(cluster, 'unit ' || unit) AS cluster" if experiment.cluster is not None else ""
    numbers = {names[quantity] for metric in metrics for quantity in metric.quantities}
    connection.execute(
        f"""CREATE TEMP VIEW all_units AS
            SELECT unit, unit AS number, variant, false AS crossed, false AS changed, happened AS since, 1 AS told {cluster}
                   {"".join(f", {name}" for name in sorted(numbers | set(settled)))}
            FROM facts {"" if known == rows else "WHERE unit IS NOT NULL"}"""
    )
    return {
        metric.name: [_finished(metric, names[quantity]) for quantity in metric.quantities]
        for metric in metrics
    }


def _settle(connection: duckdb.DuckDBPyConnection, columns: Sequence[str]) -> None:
    """What came first, for the few units of which not all rows say the same: to put in order is dear."""
    firsts = ", ".join(f"{_PER_UNIT['first'].format(v=column)} AS {column}" for column in columns)
    connection.execute(
        f"""UPDATE unit_rows SET {", ".join(f"{column} = firsts.{column}" for column in columns)}
            FROM (SELECT unit, {firsts} FROM facts
                  WHERE unit IN (SELECT unit FROM unit_rows WHERE changed) GROUP BY unit) AS firsts
            WHERE unit_rows.unit = firsts.unit"""
    )


def _aggregates_beside(other: Metric, names: Mapping[Quantity, str], timed: bool) -> list[str]:
    """A metric's other figure: the sum of a unit's readings and their number, or the value itself."""
    column = names[other.of]
    summed = _aggregate(other, column, timed)
    if not reads_each(other):
        return [summed]
    counted = f"count({column})" + _filter(other)
    return [summed, f"nullif({counted}, 0)::DOUBLE"]


def _filter(metric: Metric) -> str:
    """The condition that a value lies within the metric's window, for an aggregate."""
    return "" if metric.window is None else f" FILTER (WHERE happened < entered + {metric.window!r})"


def _aggregate(metric: Metric, column: str, timed: bool) -> str:
    if metric.kind == "time_to_event":
        came = f"min(happened) FILTER (WHERE {column} <> 0)"
        # Of whom it is not known whether they came back, they did not: the moment before the first counts as unknown.
        return (
            f"CASE WHEN count({column}) > 0 THEN {came} ELSE min(happened) - 1 END"
            if metric.of == RETURNED
            else came
        )
    # Without a time there is one row per unit wherever order would matter (checked), so any of them will do.
    how = metric.per_unit if timed or metric.per_unit not in ("first", "last") else "max"
    if how == "slope":
        within = "" if metric.window is None else f"happened < entered + {metric.window!r}"
        return _finished(metric, _slope(column, within))
    return _finished(metric, _PER_UNIT[how].format(v=column) + _filter(metric))


def _slope(column: str, within: str) -> str:
    """Least squares on the number of the reading, in order of time; NULL where there are fewer than two."""
    known = f"{column} IS NOT NULL" + (f" AND {within}" if within else "")
    values = f"list({column} ORDER BY happened, {column}) FILTER (WHERE {known})"
    n = f"len({values})::DOUBLE"
    # Taken from the first, the values keep their digits; their numbers are taken from the middle.
    total = f"list_sum(list_transform({values}, lambda y, i: (y - ({values})[1]) * (i - ({n} + 1) / 2)))"
    return f"CASE WHEN {n} > 1 THEN {total} * 12 / ({n} * ({n} * {n} - 1)) END"


def _finished(metric: Metric, value: str) -> str:
    """A unit's value: what stands for silence filled in, and compared with the metric's number, 1 or 0."""
    if metric.absent is not None:
        value = f"coalesce({value}, '{metric.absent!r}'::DOUBLE)"
    if metric.above is None:
        return value
    limit = f"'{metric.above!r}'::DOUBLE"
    return f"CASE WHEN {value} > {limit} THEN 1.0::DOUBLE WHEN {value} <= {limit} THEN 0.0::DOUBLE END"


def check_answers(
    connection: duckdb.DuckDBPyConnection,
    experiment: Experiment,
    metrics: Sequence[Metric],
    names: Mapping[Quantity, str],
    columns: Mapping[str, Sequence[str]],
) -> None:
    """That what is recorded of proportions and events is 0 or 1, and what becomes of it in each unit, too; raises DataError.

    Of a cluster that is a share of its readings the readings are.
    """
    proportions = [metric for metric in metrics if metric.kind == "proportion"]
    times = [metric for metric in metrics if metric.kind == "time_to_event"]
    # First what was recorded, then what became of it: two yeses of one unit may add up to 2.
    recorded = [metric for metric in (*proportions, *times) if metric.above is None]
    check_yes_or_no(connection, [(metric, names[metric.of]) for metric in recorded], "facts")
    if experiment.source is not None and experiment.source.grain == "unit":
        return
    single = [metric for metric in proportions if not experiment.is_share(metric)]
    check_yes_or_no(connection, [(metric, columns[metric.name][0]) for metric in single], "units")


def check_yes_or_no(
    connection: duckdb.DuckDBPyConnection, wanted: Sequence[tuple[Metric, str]], table: str
) -> None:
    """That the columns of proportions and events hold nothing but 0 and 1; raises DataError."""
    for metric, column in wanted:
        strays = f"FROM {table} WHERE {column} NOT IN (0, 1)"
        # Whether there are any takes less than to count them: blocks of rows that tell their range are passed.
        if connection.execute(f"SELECT 1 {strays} LIMIT 1").fetchone():
            wrong, example = one(connection, f"SELECT count(DISTINCT unit), min({column}) {strays}")
            if wrong:
                raise other_than_yes_or_no(metric, wrong, example)
