"""Which units count, and what parts they come in: burn-in, whole cycles, segments."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from equipoise.experiment.definition import PlanSettings
from equipoise.measurement.counting import one
from equipoise.measurement.literals import text_literal
from equipoise.measurement.tally import Enrolment

if TYPE_CHECKING:
    import duckdb

__all__ = ["MOST_VALUES", "among_values", "enrol", "most_frequent"]

MOST_VALUES = 12
"""So many values of a segment are read out; the rest are counted. Chosen by size, never by result."""


def enrol(
    connection: duckdb.DuckDBPyConnection, plan: PlanSettings, last: float | None, *, timed: bool
) -> Enrolment:
    """Make `enrolled` out of `all_units`: those who entered after the burn-in and, if declared, in whole cycles.

    The clock starts with the first exposure of all and stops with the `last` thing that happened. Without
    times nothing is cut.
    """
    start = one(connection, "SELECT min(since) FROM all_units")[0] if timed else None
    if start is None or last is None or not (plan.burn_in or plan.whole_cycles):
        connection.execute("CREATE TEMP VIEW enrolled AS SELECT * FROM all_units")
        return Enrolment()
    begin = start + plan.burn_in
    cycles, end = None, "'inf'::DOUBLE"
    if plan.whole_cycles and plan.cycle:
        cycles = max(0, int((last - begin) / plan.cycle))
        end = repr(begin + cycles * plan.cycle)
    connection.execute(
        f"CREATE TEMP VIEW enrolled AS SELECT * FROM all_units WHERE since >= {begin!r} AND since < {end}"
    )
    early, late = one(
        connection,
        f"""SELECT count(*) FILTER (WHERE since < {begin!r}), count(*) FILTER (WHERE since >= {begin!r} AND since >= {end})
            FROM all_units""",
    )
    return Enrolment(early, late, cycles)


def most_frequent(connection: duckdb.DuckDBPyConnection, column: str) -> tuple[list[str], int]:
    """The values of an attribute that are read out, and how many are not; unknown is no value."""
    sizes = connection.execute(
        f"SELECT {column}, count(*) FROM units WHERE {column} IS NOT NULL GROUP BY 1 ORDER BY 2 DESC, 1"
    ).fetchall()
    shown = [value for value, _ in sizes[:MOST_VALUES]]
    return shown, len(sizes) - len(shown)


def among_values(column: str, values: Sequence[str]) -> str:
    """The condition that a column has one of some values."""
    return f"{column} IN ({', '.join(text_literal(value) for value in values)})"
