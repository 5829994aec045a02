"""Purging a unit: its facts leave every file of the log, and a count of them stays.

First all traffic is sealed, so that it lies in segments alone. Each segment with facts of the unit is written anew
without them; one transaction enters the new ones and the record of the purge; then the old files are removed, and the
hot file is written anew, because what SQLite deletes stays in free pages and in its journal.
"""

from __future__ import annotations

import math
import secrets
import sqlite3
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import orjson

from equipoise.clock import Clock, SystemClock
from equipoise.errors import RecordError
from equipoise.events.cold.sealing import seal_until, sweep
from equipoise.events.cold.segments import Row, as_parquet, columns_of, rows_of
from equipoise.events.cold.shelf import MissingFileError, digest_of, keep, names_on, shelf_of
from equipoise.events.facts import Conflict, Label, Purge, encoded
from equipoise.events.manifest import HEAD, Segment, replace_segment, segments
from equipoise.events.purged import Gone, Purged, tombs
from equipoise.events.sqlite_file import connect

__all__ = ["Purged", "purge"]

_PATIENCE = 5.0
_POLL = 0.05


@dataclass(frozen=True, slots=True)
class _Rewritten:
    old: Segment
    new: Segment
    gone: Sequence[Gone]


def purge(
    log: str | Path, unit: str, *, by: str, reason: str | None = None, clock: Clock | None = None
) -> Purged:
    """Take every fact whose unit is `unit` out of the SQLite log at a path, and its bytes out of the files.

    Positions stay as they are, with gaps. What was purged is not accepted again: a digest of each event's id stays, and
    nothing else, for what was told of conflicts under these ids goes with them; of labels, which are told by no gateway
    again, none does. A fact of the unit that arrives while
    or after this runs is a new one; a fact of another unit that mentions it, in a comment or an attribute, stays.
    Killed on the way, it has purged all or nothing of what is read; run it again to be rid of the files. A seal that
    runs at the same time may fail, and can be repeated.

    Raises RecordError where the log is missing or damaged or cannot be written, MissingExtraError without the
    `analysis` extra.
    """
    path = Path(log)
    shelf = shelf_of(path.absolute())
    clock = clock or SystemClock()
    # Whatever the clock says: a fact that came while it was ahead is purged too.
    seal_until(path, math.inf)
    connection = connect(path, create=False)
    try:
        named = list(segments(connection))
        try:
            rewritten = [found for each in named if (found := _without(shelf, each, unit)) is not None]
        except MissingFileError:
            if named == list(segments(connection)):
                raise
            raise RecordError(f"{path} was merged by somebody else meanwhile; run the purge again") from None
        gone = [fact for each in rewritten for fact in each.gone]
        hot = _hot(connection, unit, {fact.event_id for fact in gone})
        gone += hot
        records = tombs(gone, by=by, reason=reason, now=clock.now())
        if gone:
            _enter(connection, path, shelf, rewritten, hot, records)
        sweep(connection, shelf)
        unclean = _clean(connection)
    except sqlite3.Error as error:
        raise RecordError(f"the log {path} could not be purged: {error}") from None
    finally:
        connection.close()
    return Purged(len(gone), tuple(tomb.experiment for tomb in records), len(rewritten), unclean)


def _without(shelf: Path, segment: Segment, unit: str) -> _Rewritten | None:
    """The segment written anew without the unit, its file kept already; None where the unit is not in it."""
    # As every body was written; most rows are passed over without being parsed.
    needle = orjson.dumps(unit)
    kept: list[Row] = []
    gone: list[Gone] = []
    for row in rows_of(shelf, segment):
        if needle in row.body and orjson.loads(row.body).get("unit") == unit:
            gone.append(Gone(row.position, row.experiment, row.kind, row.event_id))
        else:
            kept.append(row)
    if not gone:
        return None
    table = as_parquet(columns_of(kept))
    name = f"{segment.first:015d}-{secrets.token_hex(8)}.parquet"
    fewer = Counter((fact.experiment, fact.kind) for fact in gone)
    counts = {
        experiment: {kind: left for kind, count in kinds.items() if (left := count - fewer[experiment, kind])}
        for experiment, kinds in segment.counts.items()
    }
    new = replace(segment, name=name, sha256=digest_of(table), facts=len(kept), counts=counts)
    keep(shelf, name, table)
    return _Rewritten(segment, new, gone)


def _hot(connection: sqlite3.Connection, unit: str, ids: set[str]) -> list[Gone]:
    """What is never sealed and of the unit all the same: labels, and what was told of conflicts under its ids."""
    rows = connection.execute(
        "SELECT position, experiment, kind, event_id, CAST(body AS BLOB) FROM events WHERE kind IN (?, ?)",
        (Conflict.kind, Label.kind),
    )
    told = [(Gone(*row), orjson.loads(body)) for *row, body in rows]
    labels = [fact for fact, said in told if fact.kind == Label.kind and said.get("unit") == unit]
    ids = ids | {fact.event_id for fact in labels}
    return [*labels, *(fact for fact, said in told if fact.kind == Conflict.kind and said.get("of") in ids)]


def _enter(
    connection: sqlite3.Connection,
    path: Path,
    shelf: Path,
    rewritten: list[_Rewritten],
    hot: list[Gone],
    records: list[Purge],
) -> None:
    """Put the new segments in the place of the old, drop what is hot, and enter the record of it, at once or not at all."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        if not {each.new.name for each in rewritten} <= set(names_on(shelf)):
            # Whoever sweeps takes what is not entered yet for a stray.
            raise RecordError(f"{path} was rebuilt or purged by somebody else meanwhile; run the purge again")
        if not all(replace_segment(connection, each.old, each.new) for each in rewritten):
            raise RecordError(f"another purge of {path} was faster; run this one again")
        (head,) = connection.execute(HEAD).fetchone()
        connection.executemany("DELETE FROM events WHERE position = ?", ((fact.position,) for fact in hot))
        for position, tomb in enumerate(records, head + 1):
            row = encoded(tomb)
            connection.execute(
                "INSERT INTO events (event_id, position, kind, experiment, happened, received, body) "
                "VALUES (?, ?, ?, ?, ?, ?, ?)",
                (row.event_id, position, row.kind, row.experiment, row.happened, row.happened, row.body),
            )
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


def _clean(connection: sqlite3.Connection) -> str | None:
    """Write the hot file anew and empty its journal; the reason, where somebody did not let go of it in time."""
    deadline = time.monotonic() + _PATIENCE
    try:
        connection.execute("VACUUM")
        while connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]:
            if time.monotonic() > deadline:
                return "somebody is reading the log, and its journal could not be emptied; run the purge again later"
            time.sleep(_POLL)
    except sqlite3.OperationalError as error:
        return f"the hot file could not be written anew ({error}); run the purge again later"
    return None
