"""Clusters with units in several arms: moments of what such a cluster has in control beside what it has in a treatment."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from equipoise.experiment.metric import Metric
from equipoise.measurement.cross import ALWAYS, Aggregates, Asked
from equipoise.stats.cross_moments import CrossMoments

if TYPE_CHECKING:
    import duckdb

__all__ = ["shared_with_control", "with_constants"]


def shared_with_control(
    connection: duckdb.DuckDBPyConnection,
    metric: Metric,
    table: str,
    columns: Sequence[str],
    *,
    constants: int = 0,
) -> dict[tuple[str, str], CrossMoments]:
    """By part and treatment, of the clusters that control has, too: control's columns, then the treatment's.

    `table` has a row for each cluster of each arm of a part: `part`, `variant`, `cluster` and the columns. Each arm has
    `constants` columns of nothing but 0 beside. Where no cluster is in both there is no entry.
    """
    both = [f"{column}_{arm}" for arm in ("c", "t") for column in columns]
    known = ", ".join(f"{arm}.{column} AS {column}_{arm}" for arm in ("c", "t") for column in columns)
    ask = Aggregates()
    place = Asked.of(both, ALWAYS, ask)
    # In one order, so that the same data give the same digits.
    rows = connection.execute(
        f"""SELECT part, variant, {", ".join(ask.asked)}
            FROM (SELECT t.part AS part, t.variant AS variant, {known}
                  FROM {table} AS t JOIN {table} AS c ON t.part = c.part AND t.cluster = c.cluster
                  WHERE c.variant = 'control' AND t.variant <> 'control' ORDER BY t.part, t.variant, t.cluster)
            GROUP BY part, variant"""
    ).fetchall()
    return {
        (part, variant): with_constants(place.read(metric, row), constants) for part, variant, *row in rows
    }


def with_constants(shared: CrossMoments, constants: int) -> CrossMoments:
    """The moments with columns of nothing but 0 after those of either arm.

    >>> with_constants(CrossMoments.of([1.0], [2.0]), 1).means
    (1.0, 0.0, 2.0, 0.0)
    """
    half, zeros = len(shared.means) // 2, (0.0,) * constants

    def beside(row: tuple[float, ...]) -> tuple[float, ...]:
        return (*row[:half], *zeros, *row[half:], *zeros)

    nothing = ((0.0,) * (len(shared.means) + 2 * constants),) * constants
    rows = [beside(row) for row in shared.products]
    return CrossMoments(shared.n, beside(shared.means), (*rows[:half], *nothing, *rows[half:], *nothing))
