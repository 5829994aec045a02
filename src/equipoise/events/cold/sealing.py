"""Sealing: facts that came with traffic leave the hot log for Parquet segments beside it.

The order is what makes it safe to be killed anywhere: the files are whole and durable first; then one transaction
enters the segment in the manifest and takes its facts out of the hot table. Before it the files are strays that
nobody reads, after it the segment is where the facts are.
"""

from __future__ import annotations

import secrets
import sqlite3
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from equipoise.clock import Clock, SystemClock
from equipoise.errors import RecordError, UsageError
from equipoise.events.cold.keys import is_timed, packed
from equipoise.events.cold.segments import Columns, Row, as_parquet, columns_of
from equipoise.events.cold.shelf import digest_of, keep, names_on, shelf_of, throw_away
from equipoise.events.manifest import SEALED, Segment, enter, segments
from equipoise.events.sqlite_file import connect

__all__ = ["HOT_S", "SEGMENT_FACTS", "Seal", "check", "seal", "seal_until", "sweep"]

HOT_S = 600.0
"""How long a fact stays hot at least, in seconds: long enough that most repeated deliveries meet it there."""
SEGMENT_FACTS = 50_000
"""Facts in a segment at most: its transaction holds up those who write, so it must be short."""
_KINDS = ", ".join(f"'{kind}'" for kind in SEALED)
_NEXT = (
    "SELECT position, received, kind, event_id, experiment, happened, CAST(body AS BLOB) FROM events "
    f"WHERE position > (SELECT coalesce(max(last), 0) FROM segments) AND kind IN ({_KINDS}) "
    "ORDER BY position LIMIT ?"
)
_RECEIVED = Row._fields.index("received")
_DELETE = f"DELETE FROM events WHERE position BETWEEN ? AND ? AND kind IN ({_KINDS})"


@dataclass(frozen=True, slots=True)
class Seal:
    """What a seal did: segments made, facts in them, and the bytes of their files."""

    segments: int
    facts: int
    bytes: int


def seal(
    log: str | Path,
    *,
    hot_s: float = HOT_S,
    segment_facts: int = SEGMENT_FACTS,
    clock: Clock | None = None,
) -> Seal:
    """Seal what arrived more than `hot_s` seconds ago, in segments of at most `segment_facts` facts.

    `log` is the path of an SQLite log. Others may read and write it meanwhile, and seal it too: what one of them has
    sealed, the other leaves alone. Registrations, gates, transitions and all else that an experiment's state is
    folded from stay hot. Raises RecordError where the log or its folder cannot be read or written, UsageError for
    a time below 0 or a segment of no fact, MissingExtraError without the `analysis` extra.
    """
    check(hot_s, segment_facts)
    return seal_until(log, (clock or SystemClock()).now() - hot_s, segment_facts)


def check(hot_s: float, segment_facts: int) -> None:
    """UsageError for a time below 0 or a segment of no fact."""
    if not hot_s >= 0:
        raise UsageError(f"facts cannot stay hot for {hot_s} seconds; accepted: 0 or more")
    if segment_facts < 1:
        raise UsageError(f"a segment cannot hold {segment_facts} facts; accepted: 1 or more")


def seal_until(
    log: str | Path,
    until: float,
    segment_facts: int = SEGMENT_FACTS,
    *,
    whole: bool = False,
    most: int | None = None,
) -> Seal:
    """As `seal`, of what arrived up to a time, in seconds since 1970 UTC; `math.inf` for whatever there is.

    `whole` leaves hot what does not fill a segment; `most` is how many segments are made at most.
    """
    path = Path(log)
    shelf = shelf_of(path.absolute())
    made = facts = size = 0
    connection = connect(path, create=False)
    try:
        while True:
            found = connection.execute(_NEXT, (segment_facts,)).fetchall()
            # In the order of positions up to the first that is still hot, whatever the clock did since.
            young = next((place for place, row in enumerate(found) if row[_RECEIVED] > until), len(found))
            rows = found[:young]
            if len(rows) < (segment_facts if whole else 1) or made == most:
                return Seal(made, facts, size)
            written = _one(connection, shelf, rows)
            if written:
                made, facts, size = made + 1, facts + len(rows), size + written
    except sqlite3.Error as error:
        raise RecordError(f"the log {path} could not be sealed: {error}") from None
    finally:
        connection.close()


def _one(connection: sqlite3.Connection, shelf: Path, rows: Sequence[tuple[Any, ...]]) -> int:
    """Make a segment of these rows; returns the bytes of its files, 0 where somebody else was first."""
    columns = columns_of(rows)
    table, keys = as_parquet(columns), packed(columns.event_id)
    # A name of its own for each attempt: of two who seal the same, neither touches the other's files.
    name = f"{columns.position[0]:015d}-{secrets.token_hex(8)}"
    segment = _segment(name, columns, table, keys)
    keep(shelf, segment.name, table)
    keep(shelf, segment.keys, keys)
    if not _move(connection, shelf, segment):
        throw_away(shelf, segment.name)
        throw_away(shelf, segment.keys)
        return 0
    return len(table) + len(keys)


def _segment(name: str, columns: Columns, table: bytes, keys: bytes) -> Segment:
    timed = list(filter(is_timed, columns.event_id))
    counts: dict[str, dict[str, int]] = {}
    for (experiment, kind), count in Counter(zip(columns.experiment, columns.kind, strict=True)).items():
        counts.setdefault(experiment, {})[kind] = count
    return Segment(
        first=columns.position[0],
        last=columns.position[-1],
        facts=len(columns.position),
        name=f"{name}.parquet",
        sha256=digest_of(table),
        keys=f"{name}.keys",
        keys_sha256=digest_of(keys),
        oldest=min(timed, default=None),
        newest=max(timed, default=None),
        untimed=len(columns.event_id) - len(timed),
        counts=counts,
    )


def _move(connection: sqlite3.Connection, shelf: Path, segment: Segment) -> bool:
    """Enter a segment and take its facts out of the hot table, at once or not at all.

    False if somebody else sealed them, or if a purge has swept the files away.
    """
    connection.execute("BEGIN IMMEDIATE")
    try:
        (sealed,) = connection.execute("SELECT coalesce(max(last), 0) FROM segments").fetchone()
        moved = sealed < segment.first and {segment.name, segment.keys} <= set(names_on(shelf))
        if moved:
            enter(connection, segment)
            gone = connection.execute(_DELETE, (segment.first, segment.last)).rowcount
            if gone != segment.facts:
                raise RecordError(
                    f"{segment.facts} facts were to be sealed, and {gone} are at positions {segment.first} to "
                    f"{segment.last}: the log was changed by something else. Nothing was sealed of them"
                )
        connection.execute("COMMIT")
    except BaseException:
        # A full disk has rolled back already.
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise
    return moved


def sweep(connection: sqlite3.Connection, shelf: Path) -> int:
    """Remove what the manifest does not name: files that were replaced, and what killed seals left; says how many."""
    # Under the lock under which a seal enters its files, so that none is swept that was just entered.
    connection.execute("BEGIN IMMEDIATE")
    try:
        named = {name for each in segments(connection) for name in (each.name, each.keys)}
        strays = [name for name in names_on(shelf) if name not in named]
        for name in strays:
            throw_away(shelf, name)
    finally:
        connection.execute("COMMIT")
    return len(strays)
