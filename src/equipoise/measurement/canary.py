"""Units of the canary: they came in while it was decided whether to go on, and are no part of the A/B estimate."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from equipoise.errors import DataError
from equipoise.experiment.definition import Experiment

if TYPE_CHECKING:
    import duckdb

__all__ = ["set_aside"]


def set_aside(
    connection: duckdb.DuckDBPyConnection, experiment: Experiment, ended: float, tables: Iterable[str]
) -> int:
    """Take out of `exposed` and of `tables` whoever came in before; how many units. DataError where nobody is left."""
    run = connection.execute
    run(
        "CREATE TEMP TABLE canaries AS SELECT unit FROM exposures WHERE unit IS NOT NULL GROUP BY unit "
        f"HAVING min(happened) < {ended!r}::DOUBLE"
    )
    (units,) = run("SELECT count(*) FROM canaries").fetchone() or (0,)
    if not units:
        return 0
    for table in ("exposed", *tables):
        run(f"DELETE FROM {table} WHERE unit IN (SELECT unit FROM canaries)")
    if not run("SELECT 1 FROM exposures LIMIT 1").fetchone():
        raise DataError(
            f"all {units:,} units of {experiment.identity} came in during its canary, and those are no part of the A/B "
            "estimate: wait for the first of the stage ab, or declare `rollout: {canary: {counted: true}}` in a new revision"
        )
    return int(units)
