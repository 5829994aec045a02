"""Purging a unit from a log in PostgreSQL: its rows go, digests of their ids stay, and a count of them is recorded."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import TYPE_CHECKING

import orjson

from equipoise.events.facts import Conflict, encoded
from equipoise.events.purged import Gone, Purged, tombs

if TYPE_CHECKING:
    from equipoise.events.postgres_connections import Connections, Talking

__all__ = ["PURGED_FORMAT", "not_purged", "purge"]

PURGED_FORMAT = 2
"""The format of a log that something was purged from: an earlier version would take it in again."""

_PAGE = 50_000
"""Positions that are looked through at once: for seconds at most, whatever the table holds."""
_SLICE = 5_000
_FIND = """
SELECT position, experiment, kind, event_id, body FROM {events}
WHERE position > $1 AND position <= $2 AND (kind = $3 OR position($4::bytea IN body) > 0)
"""
_TOMB = (
    "INSERT INTO {events} (event_id, position, kind, experiment, happened, received, body) "
    "VALUES ($1, $2, $3, $4, $5, $5, $6)"
)
_BYTES = (
    "PostgreSQL frees the bytes with its own vacuum, and its write-ahead log, replicas and backups keep them for as long "
    "as those are kept"
)


def not_purged(gone: str) -> str:
    """The condition, on `given.event_id`, that an event was not purged; `gone` is the table of digests."""
    return (
        f"AND NOT EXISTS (SELECT FROM {gone} AS gone WHERE gone.digest = "
        "substring(sha256(convert_to(given.event_id, 'UTF8')) FROM 1 FOR 16))"
    )


def purge(
    connections: Connections,
    tables: Mapping[str, str],
    unit: str,
    *,
    by: str,
    reason: str | None,
    now: float | None,
    channel: str,
) -> Purged:
    """Take every fact whose unit is `unit` out of the tables, all or none, and record how many they were.

    What the log holds is looked through while others write; they wait only for what came meanwhile, and for the
    deleting. `now` is in seconds since 1970 UTC; None asks the server. RecordError where the server cannot do it.
    """
    needle = orjson.dumps(unit)
    find = _FIND.format(**tables)
    otherwise = f"the log {connections.name} could not be purged"

    async def scan(connection: Talking, start: int, end: int) -> list[tuple[Gone, bytes]]:
        rows = await connection.fetch(find, start, end, Conflict.kind, needle)
        return [(Gone(*row[:4]), row[4]) for row in rows]

    async def head(connection: Talking) -> int:
        return int(await connection.fetchval(f"SELECT head FROM {tables['head']}"))

    known = connections.run(head, otherwise, again=True)
    found: list[tuple[Gone, bytes]] = []
    for start in range(0, known, _PAGE):
        end = min(start + _PAGE, known)

        async def page(connection: Talking, start: int = start, end: int = end) -> list[tuple[Gone, bytes]]:
            return await scan(connection, start, end)

        found += connections.run(page, otherwise, again=True)

    async def carry_out(connection: Talking) -> Purged:
        async with connection.transaction():
            # As every writer does: whoever holds the row of the head is alone.
            last = int(await connection.fetchval(f"SELECT head FROM {tables['head']} FOR UPDATE"))
            positions = _positions([*found, *await scan(connection, known, last)], unit)
            gone: list[Gone] = []
            for part in range(0, len(positions), _SLICE):
                rows = await connection.fetch(
                    f"DELETE FROM {tables['events']} WHERE position = ANY($1) "
                    "RETURNING position, experiment, kind, event_id",
                    positions[part : part + _SLICE],
                )
                gone += [Gone(*row) for row in rows]
            if not gone:
                return Purged(0, (), 0, None)
            await connection.execute(
                f"CREATE TABLE IF NOT EXISTS {tables['gone']} (digest bytea PRIMARY KEY)"
            )
            await connection.execute(
                f"INSERT INTO {tables['gone']} SELECT unnest($1::bytea[]) ON CONFLICT DO NOTHING",
                [hashlib.sha256(fact.event_id.encode()).digest()[:16] for fact in gone],
            )
            happened = now or float(
                await connection.fetchval("SELECT extract(epoch FROM statement_timestamp())")
            )
            records = [encoded(tomb) for tomb in tombs(gone, by=by, reason=reason, now=happened)]
            for position, row in enumerate(records, last + 1):
                await connection.execute(
                    _TOMB.format(**tables),
                    row.event_id, position, row.kind, row.experiment, row.happened, row.body,
                )  # fmt: skip
            await connection.execute(
                f"UPDATE {tables['head']} SET head = $1, format = $2", last + len(records), PURGED_FORMAT
            )
            await connection.execute("SELECT pg_notify($1, '')", channel)
            return Purged(len(gone), tuple(row.experiment for row in records), 0, _BYTES)

    # Done twice it finds nothing the second time, and would say so.
    return connections.run(carry_out, otherwise)


def _positions(found: list[tuple[Gone, bytes]], unit: str) -> list[int]:
    """Where the unit's facts are, and what was told of conflicts under their ids: an id may say whose it is."""
    bodies = [(fact, orjson.loads(body)) for fact, body in found]
    mine = [fact for fact, said in bodies if fact.kind != Conflict.kind and said.get("unit") == unit]
    ids = {fact.event_id for fact in mine}
    told = [fact for fact, said in bodies if fact.kind == Conflict.kind and said.get("of") in ids]
    return sorted(fact.position for fact in (*mine, *told))
