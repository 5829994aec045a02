"""Readings of past clusters: how many each had, their mean and their spread, out of a log or a table."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from equipoise.errors import DataError
from equipoise.events.log import EventLog
from equipoise.experiment.definition import Experiment
from equipoise.measurement.record import log_facts
from equipoise.measurement.tables import connect, frame_source, open_table, table_facts
from equipoise.stats.moments import Moments

if TYPE_CHECKING:
    import duckdb

__all__ = ["clusters_of_log", "clusters_of_table"]


def clusters_of_log(experiment: Experiment, log: EventLog) -> list[Moments]:
    """The primary's readings in each cluster of control, out of what the log holds of an experiment.

    A cluster is what `cluster` names, an attribute of exposures, and else the unit. Raises DataError where nobody was
    exposed or no cluster is known.
    """
    connection = connect()
    try:
        names, _, _ = log_facts(connection, experiment, log)
        return _read(connection, experiment, names[experiment.primary.of])
    finally:
        connection.close()


def clusters_of_table(experiment: Experiment, table: str | Path | Any) -> list[Moments]:
    """The same of a table: of its rows of control, where it has arms."""
    connection = connect()
    try:
        open_table(connection, table, ".")
        names = table_facts(connection, experiment, frame_source(connection, experiment))
        return _read(connection, experiment, names[experiment.primary.of])
    finally:
        connection.close()


def _read(connection: duckdb.DuckDBPyConnection, experiment: Experiment, column: str) -> list[Moments]:
    called = "NULL" if experiment.cluster is not None else "unit"
    found = connection.execute(
        f"""SELECT count({column}), avg({column}), var_pop({column}) * count({column})
            FROM facts JOIN (SELECT unit, coalesce(min(cluster), {called}) AS whose, min(variant) AS arm
                             FROM facts WHERE unit IS NOT NULL GROUP BY unit) AS units USING (unit)
            WHERE arm = 'control' AND whose IS NOT NULL AND {column} IS NOT NULL GROUP BY whose ORDER BY whose"""
    ).fetchall()
    if not found:
        raise DataError(
            f"no reading of {experiment.primary.of} under control names its cluster"
            + (f" ('{experiment.cluster}')" if experiment.cluster else "")
        )
    return [Moments(int(n), float(mean), max(float(m2), 0.0)) for n, mean, m2 in found]
