"""The embedded log: one SQLite file in WAL mode, every commit on disk before it is acknowledged."""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from pathlib import Path

from equipoise.clock import Clock, SystemClock
from equipoise.errors import RecordError
from equipoise.events.bodies import Body
from equipoise.events.facts import Encoded, Fact, decode, encoded
from equipoise.events.log import LogGoneError, Receipt, Recorded, StaleHeadError

__all__ = ["FORMAT", "SQLiteLog"]

FORMAT = 1
_APPLICATION = 0x45515031  # "EQP1", so that another program's database is not mistaken for a log

_SCHEMA = f"""
CREATE TABLE events (
    event_id   TEXT PRIMARY KEY,
    position   INTEGER NOT NULL,
    kind       TEXT NOT NULL,
    experiment TEXT NOT NULL,
    happened   REAL NOT NULL,
    received   REAL NOT NULL,
    body       BLOB NOT NULL
) WITHOUT ROWID;
CREATE UNIQUE INDEX events_by_position ON events (position);
CREATE INDEX events_by_experiment ON events (experiment, kind, position);
PRAGMA application_id = {_APPLICATION};
PRAGMA user_version = {FORMAT};
"""
_TOGETHER = (256, 64, 16, 4, 1)
_PAGE = 2_000
_LONG_PAGE = 20_000
_POLL = 0.02
_PATIENCE = 10.0


class SQLiteLog:
    """An append-only log in one file, for one machine; readers never block the writer.

    Safe to share between threads; several processes may open the same file. Raises RecordError where
    the path is not a log or cannot be written.
    """

    def __init__(self, path: str | Path, *, clock: Clock | None = None, create: bool = True) -> None:
        self.path = Path(path)
        # Where it is stays where it is when the process changes its folder.
        self._place = self.path.absolute()
        self._clock = clock or SystemClock()
        self._lock = threading.Lock()
        if not create and not self.path.exists():
            raise RecordError(
                f"there is no log at {self.path}. Register an experiment first, or name the log with --log"
            )
        if not create and self.path.is_file() and self.path.stat().st_size == 0:
            raise RecordError(f"{self.path} is an empty file, not a log. Name the log with --log")
        if self.path.is_dir():
            raise RecordError(f"{self.path} is a folder; name a file in it for the log")
        if not self.path.absolute().parent.is_dir():
            raise RecordError(f"there is no folder {self.path.parent} to keep the log in; make it first")
        try:
            self._connection = sqlite3.connect(
                self.path, timeout=_PATIENCE, isolation_level=None, check_same_thread=False
            )
            try:
                self._prepare()
            except BaseException:
                self._connection.close()
                raise
        except sqlite3.Error as error:
            raise RecordError(f"{self.path} cannot be used as a log: {error}") from None
        self._file = self._identity()

    def _identity(self) -> tuple[int, int] | None:
        try:
            found = self._place.stat()
        except OSError:
            return None
        return found.st_dev, found.st_ino

    def _still_there(self) -> None:
        # An open file outlives its name: what is written to it then, nobody will ever find.
        if self._identity() != self._file:
            raise LogGoneError(
                f"the log {self.path} was deleted or replaced while it was open, and nothing more is written to it; "
                "put it back, or start again with the log that is right"
            )

    def _prepare(self) -> None:
        run = self._connection.execute
        if run("PRAGMA application_id").fetchone()[0] == 0:
            # Looked at again under the lock: another process may be creating the log this moment.
            run("BEGIN IMMEDIATE")
            if run("PRAGMA application_id").fetchone()[0] == 0 and not self._tables():
                for statement in _SCHEMA.split(";"):
                    run(statement)
            run("COMMIT")
        if run("PRAGMA application_id").fetchone()[0] != _APPLICATION:
            raise RecordError(f"{self.path} is an SQLite database of something else, not an event log")
        self._write_ahead()
        run("PRAGMA synchronous = FULL")
        version = run("PRAGMA user_version").fetchone()[0]
        if version > FORMAT:
            raise RecordError(
                f"{self.path} was written by a later version (format {version}, this one reads {FORMAT}). "
                "Upgrade equipoise"
            )

    def _write_ahead(self) -> None:
        # Turning a new file to WAL needs it for a moment alone, and SQLite does not wait for that by itself.
        deadline = time.monotonic() + _PATIENCE
        while True:
            try:
                self._connection.execute("PRAGMA journal_mode = WAL")
            except sqlite3.OperationalError as error:
                if error.sqlite_errorcode != sqlite3.SQLITE_BUSY or time.monotonic() > deadline:
                    raise
                time.sleep(_POLL)
            else:
                return

    def _tables(self) -> bool:
        return bool(self._connection.execute("SELECT 1 FROM sqlite_master LIMIT 1").fetchone())

    def append(self, facts: Iterable[Fact | Encoded]) -> Receipt:
        return self._append(facts, None)

    def append_if(
        self,
        facts: Iterable[Fact],
        head: int,
        *,
        experiment: str | None = None,
        kinds: Sequence[str] | None = None,
    ) -> Receipt:
        return self._append(facts, (head, experiment, kinds))

    def _append(
        self, facts: Iterable[Fact | Encoded], unless: tuple[int, str | None, Sequence[str] | None] | None
    ) -> Receipt:
        # Encoded before the transaction begins: a fact that cannot be encoded leaves nothing behind.
        rows = [encoded(fact) for fact in facts]
        with self._lock:
            self._still_there()
            run = self._connection.execute
            try:
                run("BEGIN IMMEDIATE")
                try:
                    head = self._head()
                    if unless is not None:
                        condition, values = _matching(*unless)
                        newer = run(f"SELECT min(position) FROM events WHERE {condition}", values).fetchone()[
                            0
                        ]
                        if newer is not None:
                            raise StaleHeadError(unless[0], newer)
                    received = self._clock.now()
                    start = head
                    head = self._insert(rows, head, received)
                    run("COMMIT")
                except BaseException:
                    # A full disk has rolled back already.
                    if self._connection.in_transaction:
                        run("ROLLBACK")
                    raise
            except sqlite3.Error as error:
                raise RecordError(f"the log {self.path} could not be written: {error}") from None
            return Receipt(head - start, len(rows) - (head - start), head)

    def _insert(self, rows: list[Encoded], head: int, received: float) -> int:
        """Insert in one go, as if nothing were repeated; where something is, one by one. Returns the head."""
        places = [
            (row.event_id, place, row.kind, row.experiment, row.happened, received, row.body)
            for place, row in enumerate(rows, head + 1)
        ]
        run = self._connection.execute
        run("SAVEPOINT together")
        inserted = start = 0
        # Many rows a statement: each statement gives up the interpreter's lock once, and a thread that serves
        # requests takes its time to give it back.
        for size in _TOGETHER:
            while len(places) - start >= size:
                block = places[start : start + size]
                inserted += run(_insert(size), [value for place in block for value in place]).rowcount
                start += size
        if inserted == len(places):
            run("RELEASE together")
            return head + inserted
        run("ROLLBACK TO together")
        for event_id, _, *others in places:
            head += run(_insert(1), (event_id, head + 1, *others)).rowcount
        return head

    def read_since(
        self, position: int = 0, *, experiment: str | None = None, kinds: Sequence[str] | None = None
    ) -> Iterator[Recorded]:
        condition, (_, *values) = _matching(position, experiment, kinds)
        # Page by page, so that a long read holds neither the lock nor a snapshot of the file.
        query = (
            "SELECT position, received, kind, event_id, experiment, happened, body FROM events "
            f"WHERE {condition} ORDER BY position LIMIT {_PAGE}"
        )
        while True:
            with self._lock:
                try:
                    page = self._connection.execute(query, (position, *values)).fetchall()
                except sqlite3.Error as error:
                    raise RecordError(f"the log {self.path} could not be read: {error}") from None
            for row in page:
                yield Recorded(
                    row[0],
                    row[1],
                    decode(row[2], event_id=row[3], experiment=row[4], happened=row[5], body=row[6]),
                )
            if len(page) < _PAGE:
                return
            position = page[-1][0]

    def bodies(self, experiment: str, kind: str, *, until: int) -> Iterator[list[Body]]:
        """Facts of one kind up to a position as they are kept, page by page."""
        # One kind at a time: its index gives them in order, where several would be sorted for every page.
        query = (
            # An edited row may hold text.
            "SELECT position, happened, CAST(body AS BLOB) FROM events WHERE experiment = ? AND kind = ? "
            f"AND position > ? AND position <= ? ORDER BY position LIMIT {_LONG_PAGE}"
        )
        position = 0
        while True:
            with self._lock:
                try:
                    page = self._connection.execute(query, (experiment, kind, position, until)).fetchall()
                except sqlite3.Error as error:
                    raise RecordError(f"the log {self.path} could not be read: {error}") from None
            if page:
                yield page
            if len(page) < _LONG_PAGE:
                return
            position = page[-1][0]

    def wait(self, position: int, timeout: float) -> int:
        deadline = time.monotonic() + timeout
        while (head := self.head()) <= position and time.monotonic() < deadline:
            time.sleep(min(_POLL, max(0.0, deadline - time.monotonic())))
        return head

    def head(self) -> int:
        with self._lock:
            self._still_there()
            try:
                return self._head()
            except sqlite3.Error as error:
                raise RecordError(f"the log {self.path} could not be read: {error}") from None

    def _head(self) -> int:
        return int(self._connection.execute("SELECT coalesce(max(position), 0) FROM events").fetchone()[0])

    def close(self) -> None:
        with self._lock:
            self._connection.close()


@cache
def _insert(rows: int) -> str:
    # Only a repeated id is harmless; any other conflict is an error.
    values = ", ".join(["(?, ?, ?, ?, ?, ?, ?)"] * rows)
    return f"INSERT INTO events VALUES {values} ON CONFLICT (event_id) DO NOTHING"


def _matching(
    position: int, experiment: str | None, kinds: Sequence[str] | None
) -> tuple[str, list[int | str]]:
    """The condition on facts after a position, and its values; the position comes first."""
    conditions: list[str] = ["position > ?"]
    values: list[int | str] = [position]
    if experiment is not None:
        conditions.append("experiment = ?")
        values.append(experiment)
    if kinds is not None:
        conditions.append(f"kind IN ({','.join('?' * len(kinds))})")
        values.extend(kinds)
    return " AND ".join(conditions), values
