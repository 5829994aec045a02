"""The primary by the day its units came in: what tells whether the effect was there all along."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from equipoise.measurement.counting import Counted, one, tallies_by
from equipoise.measurement.daily import DAY
from equipoise.measurement.tally import EntryDay

if TYPE_CHECKING:
    import duckdb

__all__ = ["entry_days"]


def entry_days(
    connection: duckdb.DuckDBPyConnection,
    counted: Counted,
    arms: Sequence[str],
    *,
    clusters: Mapping[str, int] | None,
) -> tuple[EntryDay, ...]:
    """A metric's tallies by whole days since the first unit came in, without covariates.

    Nothing where clusters carry the variance: a cluster comes in on many days.
    """
    if clusters is not None:
        return ()
    (start,) = one(connection, "SELECT min(since) FROM units")
    if start is None:
        return ()
    found = tallies_by(
        connection,
        [replace(counted, covariates=())],
        arms,
        clusters=None,
        by=f"CAST(floor((since - {start!r}) / {DAY!r}) AS BIGINT)",
    )[counted.metric.name]
    return tuple(EntryDay(int(day), found[day]) for day in found)
