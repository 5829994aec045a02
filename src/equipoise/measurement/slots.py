"""Time slots as units: which were drawn together, what happened before they had settled, and their values in time."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from equipoise.errors import DataError, UsageError
from equipoise.experiment.definition import Experiment
from equipoise.experiment.switchback import slot_of
from equipoise.measurement.counting import Counted, one
from equipoise.measurement.cross import ALWAYS
from equipoise.measurement.tally import SlotValue

if TYPE_CHECKING:
    import duckdb

__all__ = [
    "by_block",
    "name_blocks",
    "name_blocks_of_rows",
    "places",
    "slot_values",
    "values_in_time",
    "wash_out",
    "washed_seconds",
    "whole_blocks",
]


def by_block(experiment: Experiment) -> Experiment:
    """A switchback with its blocks as clusters: what was drawn together is what varies independently.

    Any other experiment, and one whose slots were each drawn by themselves, stays as it is.
    """
    drawn = experiment.switchback
    return experiment if drawn is None or not drawn.balance else replace(experiment, cluster="block")


def name_blocks(connection: duckdb.DuckDBPyConnection, experiment: Experiment, table: str) -> None:
    """Make `slots` (unit, start, block) of a table of units; DataError for a unit that names no slot."""
    import pyarrow as pa

    units = [
        unit
        for (unit,) in connection.execute(
            f"SELECT DISTINCT unit FROM {table} WHERE unit IS NOT NULL ORDER BY unit"
        ).fetchall()
    ]
    placed = places(experiment, units)
    told = pa.table(
        {
            "unit": pa.array(units, pa.string()),
            "start": pa.array([start for start, _ in placed], pa.float64()),
            "block": pa.array([block for _, block in placed], pa.string()),
        }
    )
    connection.register("told_slots", told)
    connection.execute("CREATE TEMP TABLE slots AS SELECT * FROM told_slots")


def places(experiment: Experiment, units: Iterable[str]) -> list[tuple[float, str]]:
    """When each slot begins, in seconds since 1970 UTC, and its block; DataError for a unit that names no slot."""
    blocks = experiment.blocks
    try:
        return [(float(slot_of(unit)[0]), blocks.place(unit).block) for unit in units]
    except UsageError as error:
        raise DataError(
            f"the units of {experiment.identity} are its slots, and one is none: {error}"
        ) from None


def washed_seconds(experiment: Experiment, *, timed: bool) -> float:
    """How many seconds of each slot do not count; DataError where there are such and no time tells."""
    washed = 0.0 if experiment.switchback is None else experiment.switchback.wash_out
    if washed and not timed:
        raise DataError(
            f"{experiment.identity} leaves out the first {washed:g} s of each slot, and the table has no times. "
            "Name their column under `source.time`, or declare no `wash_out`"
        )
    return washed


def name_blocks_of_rows(connection: duckdb.DuckDBPyConnection, experiment: Experiment, *, timed: bool) -> int:
    """Give the rows of a table, `facts`, their block as the cluster, and leave out those of the wash-out; how many.

    Raises DataError where a wash-out is declared and no time tells.
    """
    name_blocks(connection, experiment, "facts")
    washed = washed_seconds(experiment, timed=timed)
    late = f"happened IS NULL OR happened - start >= {washed!r}" if washed else "true"
    run = connection.execute
    (rows,) = run("SELECT count(*) FROM facts WHERE unit IS NOT NULL").fetchone() or (0,)
    run(
        f"""CREATE TEMP TABLE slotted AS SELECT facts.* EXCLUDE (cluster), block AS cluster
            FROM facts JOIN slots USING (unit) WHERE {late}"""
    )
    kind = run("SELECT 1 FROM duckdb_views() WHERE view_name = 'facts'").fetchone()
    run(f"DROP {'VIEW' if kind else 'TABLE'} facts")
    run("ALTER TABLE slotted RENAME TO facts")
    (kept,) = run("SELECT count(*) FROM facts").fetchone() or (0,)
    return int(rows - kept)


def wash_out(connection: duckdb.DuckDBPyConnection, experiment: Experiment, tables: Iterable[str]) -> int:
    """Take out of `turns` and `tables` what happened before its slot had settled; how many turns that were.

    A turn belongs to the moment in which it began, `happened` less its latency. What was said of a turn goes with it; what
    was said of no turn goes where it was said so early that its turn must have been.
    """
    drawn = experiment.switchback
    if drawn is None or not drawn.wash_out:
        return 0
    run, limit = connection.execute, f"start + {drawn.wash_out!r}"
    run(
        f"""CREATE TEMP TABLE washed AS SELECT turns.rowid AS row, turns.trace FROM turns
            JOIN slots USING (unit) WHERE began < {limit}"""
    )
    for table in tables:
        run(
            f"""DELETE FROM {table} WHERE trace IN (SELECT trace FROM washed WHERE trace IS NOT NULL)
                OR rowid IN (SELECT told.rowid FROM {table} AS told JOIN slots USING (unit)
                             WHERE told.trace IS NULL AND told.happened < {limit})"""
        )
    (turns,) = run("SELECT count(*) FROM washed").fetchone() or (0,)
    run("DELETE FROM turns WHERE rowid IN (SELECT row FROM washed)")
    return int(turns)


def whole_blocks(connection: duckdb.DuckDBPyConnection, arms: int) -> str:
    """The condition on a slot of `enrolled` that it counts: its block has every arm; or any slot does where few blocks have.

    A slot that stands alone is compared with other times of day: next to many that are not, it would add more noise than it
    tells. Which blocks are whole follows from when the experiment ran, and not from the arms that were drawn. Few is less
    than half.
    """
    whole, all_of_them = one(
        connection,
        f"""SELECT count(*) FILTER (arms = {arms}), count(*)
            FROM (SELECT count(DISTINCT variant) AS arms FROM enrolled GROUP BY cluster)""",
    )
    if 2 * whole < all_of_them:
        return ALWAYS
    return (
        f"cluster IN (SELECT cluster FROM enrolled GROUP BY cluster HAVING count(DISTINCT variant) = {arms})"
    )


def slot_values(connection: duckdb.DuckDBPyConnection, counted: Counted) -> tuple[SlotValue, ...]:
    """Each slot's value of a metric, in the order of time; those without a value are left out."""
    found = connection.execute(
        f"""SELECT unit, variant, block, {counted.x}, {counted.y or "NULL"}
            FROM enrolled JOIN slots USING (unit) WHERE {counted.valued}"""
    ).fetchall()
    return values_in_time(found)


def values_in_time(rows: Iterable[Sequence[Any]]) -> tuple[SlotValue, ...]:
    """Slots in the order of time, out of an engine's rows: name, arm, block, value or total, and size or nothing."""
    found = [
        SlotValue(float(start), whose, variant, block, x, 1.0 if y is None else y)
        for unit, variant, block, x, y in sorted(rows, key=lambda row: (slot_of(row[0])[0], row[0]))
        for start, whose in [slot_of(unit)]
    ]
    return tuple(found)
