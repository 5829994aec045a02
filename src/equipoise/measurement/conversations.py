"""When another conversation of the same user began, told by the record alone."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from equipoise.experiment.definition import Experiment
from equipoise.experiment.metric import RETURNED, TURN_COUNT, Quantity
from equipoise.measurement.counted import ENROLLED

if TYPE_CHECKING:
    import duckdb

__all__ = ["PAUSE_S", "begin"]

PAUSE_S = 1800.0
"""Where users are the units, a turn this many seconds after the one before begins another conversation.

Half an hour is what web analytics ends a session after; Jones & Klinkner (2008, "Beyond the Session Timeout") show that
no pause tells conversations apart without error.
"""


def begin(
    connection: duckdb.DuckDBPyConnection, experiment: Experiment, names: Mapping[Quantity, str]
) -> dict[str, str]:
    """What is known of everyone exposed without anybody's word, by column, in the words of the engine: nothing so far.

    Makes `returns` where a metric asks for them; expects `exposures`, `turns` and `firsts`.
    """
    begun = {names[TURN_COUNT]: "0.0"} if TURN_COUNT in names else {}
    if RETURNED in names:
        begun[names[RETURNED]] = _returns(connection, experiment, names[RETURNED])
    return begun


def _returns(connection: duckdb.DuckDBPyConnection, experiment: Experiment, column: str) -> str:
    """Make `returns`: unit, when another conversation of its user began, and 1 in the column.

    A unit that is a user comes back with a turn after a pause; one that is a
    conversation with the next first exposure of another unit of the same cluster, whichever arm that is in. Returns
    what an exposure says of it: not so far, or nothing where it is not known whose the unit is.
    """
    if experiment.unit.type == "user":
        connection.execute(
            f"""CREATE TEMP TABLE returns AS SELECT unit, happened, 1.0::DOUBLE AS {column} FROM (
                    SELECT t.unit, t.happened,
                           t.happened - lag(t.happened, 1, firsts.since) OVER (PARTITION BY t.unit ORDER BY t.happened)
                               AS pause
                    FROM turns AS t JOIN firsts ON firsts.unit = t.unit AND t.happened >= firsts.since WHERE {ENROLLED})
                WHERE pause >= {PAUSE_S!r} ORDER BY unit, happened"""
        )
        return "0.0"
    connection.execute(
        f"""CREATE TEMP TABLE returns AS
            WITH begun AS (
                SELECT unit, min(cluster) AS cluster, min(happened) AS since FROM exposures GROUP BY unit
            ), following AS (
                SELECT cluster, since, lead(since) OVER (PARTITION BY cluster ORDER BY since) AS following
                FROM (SELECT DISTINCT cluster, since FROM begun WHERE cluster IS NOT NULL)
            )
            SELECT unit, following AS happened, 1.0::DOUBLE AS {column} FROM begun JOIN following USING (cluster, since)
            WHERE following IS NOT NULL ORDER BY unit"""
    )
    return "CASE WHEN cluster IS NOT NULL THEN 0.0 END"
