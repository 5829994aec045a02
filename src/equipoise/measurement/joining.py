"""What was said, joined to those who were exposed: what counts, what is of nobody, and what came too early."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING

from equipoise.experiment.definition import Experiment
from equipoise.measurement.counted import ENROLLED
from equipoise.measurement.epochs import SETTLED
from equipoise.measurement.tables import covariate_names

if TYPE_CHECKING:
    import duckdb

__all__ = ["apart", "join"]


def join(
    connection: duckdb.DuckDBPyConnection,
    experiment: Experiment,
    told: Mapping[str, Sequence[str]],
    begun: Mapping[str, str],
) -> None:
    """`facts`: the exposures, with the values that columns begin with, and what happened to the exposed from then on."""
    # What is settled at the first exposure, and no later value moves.
    settled = [f"s{index}" for index in range(len(experiment.segments))]
    settled += [f"z{index}" for index in range(len(covariate_names(experiment)))]
    settled += SETTLED if experiment.method == "bandit" else ()
    columns = [column for of in told.values() for column in of]
    blank = "".join(f", ({begun.get(column, 'NULL')})::DOUBLE AS {column}" for column in columns)
    parts = [
        f"SELECT unit, variant, happened, cluster{blank}{''.join(f', {each}' for each in settled)} FROM exposures"
    ]
    for table, own in told.items():
        if own:
            listed = "".join(f", {column if column in own else 'NULL'} AS {column}" for column in columns)
            listed += "".join(f", NULL AS {each}" for each in settled)
            parts.append(
                f"SELECT h.unit, NULL, h.happened, NULL{listed} FROM {table} AS h "
                f"JOIN firsts ON firsts.unit = h.unit AND h.happened >= firsts.since WHERE {_valued(table, own)}"
            )
    # Joined as written, so that the events of a unit keep the order of the log: the last digit of a sum depends on it.
    connection.execute("SET disabled_optimizers = 'join_order,build_side_probe_side'")
    connection.execute(f"CREATE TEMP TABLE facts AS {' UNION ALL '.join(parts)}")
    connection.execute("RESET disabled_optimizers")


def _valued(table: str, columns: Sequence[str]) -> str:
    """Which rows of a table count, once their unit is known to be exposed: those that hold a value."""
    some = " OR ".join(f"{column} IS NOT NULL" for column in columns)
    return f"({some})" + (f" AND {ENROLLED}" if table == "turns" else "")


def apart(
    connection: duckdb.DuckDBPyConnection, told: Mapping[str, Sequence[str]], sourced: Collection[str]
) -> tuple[int, int, int, dict[str, int]]:
    """Values of nobody exposed, values from before a unit's exposure, and values that count; the early ones by source."""
    orphans = early = counted = 0
    early_by = Counter[str]()
    for table, own in told.items():
        if not own:
            continue
        values = " + ".join(f"({column} IS NOT NULL)::INTEGER" for column in own)
        valued = f"""(SELECT h.*, firsts.since, {values} AS n FROM {table} AS h
                      LEFT JOIN firsts ON firsts.unit = h.unit WHERE {_valued(table, own)})"""
        row = connection.execute(
            f"""SELECT sum(n) FILTER (since IS NULL AND unit IS NOT NULL), sum(n) FILTER (happened < since),
                       sum(n) FILTER (happened >= since) FROM {valued}"""
        ).fetchone()
        found = [int(number or 0) for number in row or (0, 0, 0)]
        orphans, early, counted = orphans + found[0], early + found[1], counted + found[2]
        if found[1] and table in sourced:
            early_by.update(
                {
                    source: int(count)
                    for source, count in connection.execute(
                        f"""SELECT source, sum(n) FROM {valued} WHERE happened < since AND source IS NOT NULL
                            GROUP BY source"""
                    ).fetchall()
                }
            )
    return orphans, early, counted, dict(early_by)
