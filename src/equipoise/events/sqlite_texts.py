"""The texts of a log in a file: an SQLite file of their own beside it."""

from __future__ import annotations

import os
import sqlite3
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

from equipoise.errors import RecordError
from equipoise.events.sqlite_opening import make_if_empty, opened, recognised
from equipoise.events.texts import FORMAT, NoTextsError, Text, packed, unit_digest, unpacked

__all__ = ["SQLiteTexts"]

_APPLICATION = 0x45515054  # "EQPT", so that a log or another program's database is not mistaken for texts
_SCHEMA = f"""
CREATE TABLE texts (
    event_id   TEXT PRIMARY KEY,
    kind       TEXT NOT NULL,
    experiment TEXT NOT NULL,
    digest     TEXT NOT NULL,
    variant    TEXT,
    trace      TEXT NOT NULL,
    unit       TEXT,
    happened   REAL NOT NULL,
    expires    REAL NOT NULL,
    body       BLOB NOT NULL
);
CREATE INDEX texts_by_trace ON texts (trace);
CREATE INDEX texts_by_unit ON texts (unit);
CREATE INDEX texts_by_expiry ON texts (expires);
CREATE INDEX texts_by_revision ON texts (experiment, digest);
PRAGMA application_id = {_APPLICATION};
PRAGMA user_version = {FORMAT};
"""
_KEEP = (
    "INSERT OR IGNORE INTO texts (event_id, kind, experiment, digest, variant, trace, unit, happened, expires, body) "
    "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
)
_MOST_AT_ONCE = 500

T = TypeVar("T")


class SQLiteTexts:
    """A file that only its owner may read, safe to share between threads and processes.

    With a rollback journal and not a write-ahead one, which would hold what was removed until somebody empties it.
    What is removed is overwritten (`secure_delete`); and because SQLite moves rows about in its pages and leaves
    copies behind, the file is then written anew. Raises RecordError where the path holds something else,
    cannot be written, or holds nothing and nothing is to be created.
    """

    def __init__(self, path: str | Path, *, create: bool = True) -> None:
        self.path = path
        self._lock = threading.Lock()
        try:
            if str(path) != ":memory:":
                if not create and not os.path.exists(path):
                    raise NoTextsError(f"there are no texts at {path}: none were kept beside this log")
                with suppress(FileExistsError):
                    os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
            self._connection = opened(path, self._prepare)
        except (sqlite3.Error, OSError) as error:
            raise RecordError(f"{path} cannot be used for texts: {error}") from None

    def _prepare(self, connection: sqlite3.Connection) -> None:
        run = connection.execute
        run("PRAGMA synchronous = FULL")
        run("PRAGMA secure_delete = ON")
        make_if_empty(connection, _SCHEMA)
        recognised(connection, self.path, what="texts beside a log", application=_APPLICATION, reads=FORMAT)

    def keep(self, texts: Sequence[Text]) -> None:
        rows = [
            (
                each.event_id, each.kind, each.experiment, each.digest, each.variant, each.trace, each.unit,
                each.happened, each.expires, packed(each),
            )
            for each in texts
        ]  # fmt: skip

        def insert(connection: sqlite3.Connection) -> None:
            connection.execute("BEGIN IMMEDIATE")
            connection.executemany(_KEEP, rows)
            connection.execute("COMMIT")

        self._do(insert, "could not be written")

    def of_traces(self, traces: Sequence[str], *, now: float) -> tuple[Text, ...]:
        return self._found("trace", traces, now)

    def named(self, event_ids: Sequence[str], *, now: float) -> tuple[Text, ...]:
        return self._found("event_id", event_ids, now)

    def _found(self, column: str, values: Sequence[str], now: float) -> tuple[Text, ...]:
        def read(connection: sqlite3.Connection) -> list[tuple[float, str, bytes]]:
            rows: list[tuple[float, str, bytes]] = []
            for at in range(0, len(values), _MOST_AT_ONCE):
                some = values[at : at + _MOST_AT_ONCE]
                rows += connection.execute(
                    f"SELECT happened, event_id, body FROM texts WHERE expires > ? AND {column} IN "
                    f"({', '.join('?' * len(some))})",
                    (now, *some),
                ).fetchall()
            return rows

        rows = sorted(self._do(read, "could not be read"), key=lambda row: row[:2])
        return tuple(unpacked(body, event_id) for _, event_id, body in rows)

    def turns(self, experiment: str, digest: str, *, now: float) -> tuple[tuple[str, str | None], ...]:
        return tuple(
            self._do(
                lambda connection: connection.execute(
                    "SELECT event_id, variant FROM texts WHERE experiment = ? AND digest = ? AND kind = 'turn' "
                    "AND expires > ? ORDER BY event_id",
                    (experiment, digest, now),
                ).fetchall(),
                "could not be read",
            )
        )

    def expire(self, now: float) -> int:
        # Only looked at first, so that nobody waits for a lock where there is nothing to do.
        def due(connection: sqlite3.Connection) -> bool:
            found = connection.execute("SELECT 1 FROM texts WHERE expires <= ? LIMIT 1", (now,)).fetchone()
            return found is not None or connection.execute("PRAGMA freelist_count").fetchone()[0] > 0

        if not self._do(due, "could not be read"):
            return 0
        return self._remove("expires <= ?", now)

    def purge(self, unit: str) -> int:
        return self._remove("unit = ?", unit_digest(unit))

    def _remove(self, which: str, value: float | str) -> int:
        def remove(connection: sqlite3.Connection) -> int:
            gone = connection.execute(f"DELETE FROM texts WHERE {which}", (value,)).rowcount
            connection.execute("VACUUM")
            return gone

        return self._do(remove, "could not be removed")

    def _do(self, work: Callable[[sqlite3.Connection], T], otherwise: str) -> T:
        with self._lock:
            try:
                return work(self._connection)
            except (sqlite3.Error, OSError) as error:
                raise RecordError(f"the texts in {self.path} {otherwise}: {error}") from None
            finally:
                if self._connection.in_transaction:
                    with suppress(sqlite3.Error):
                        self._connection.execute("ROLLBACK")

    def close(self) -> None:
        """Let go of the file; a second time does nothing."""
        with self._lock:
            self._connection.close()
