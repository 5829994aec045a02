"""The embedded log: one SQLite file in WAL mode, every commit on disk before it is acknowledged.

What was sealed lies in segments beside it; a reader sees both as one log.
"""

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
from equipoise.events.cold.sealed_ids import SealedIds
from equipoise.events.cold.segments import rows_of
from equipoise.events.cold.shelf import shelf_of
from equipoise.events.conflicts import Kept, conflicts
from equipoise.events.facts import Encoded, Fact, decode, encoded
from equipoise.events.log import LogGoneError, Receipt, Recorded, StaleHeadError
from equipoise.events.manifest import HEAD, sought
from equipoise.events.sqlite_file import connect, is_frozen
from equipoise.events.sqlite_reading import SQLiteReader, matching

__all__ = ["SQLiteLog"]

_COLUMNS = "position, event_id, kind, experiment, happened, received, body"
_TOGETHER = (256, 64, 16, 4, 1)
_POLL = 0.02


class SQLiteLog:
    """An append-only log in one file, for one machine; readers never block the writer.

    Safe to share between threads; several processes may open the same file. Raises RecordError where
    the path is not a log or cannot be written; with `create=False` one that can only be read is good enough.
    """

    def __init__(self, path: str | Path, *, clock: Clock | None = None, create: bool = True) -> None:
        self.path = Path(path)
        # Where it is stays where it is when the process changes its folder.
        self._place = self.path.absolute()
        self._clock = clock or SystemClock()
        self._shelf = shelf_of(self._place)
        self._sealed = SealedIds(self._shelf)
        self._lock = threading.Lock()
        self._connection = connect(self.path, create=create)
        self._reader = SQLiteReader(self.path, self._shelf, self._connection, self._lock)
        self._frozen = is_frozen(self._connection)
        self._file = self._identity()

    def _identity(self) -> tuple[int, ...] | None:
        try:
            found = self._place.stat()
        except OSError:
            return None
        # What is read as a file that nobody writes is another one as soon as somebody does.
        touched = (found.st_size, found.st_mtime_ns) if self._frozen else ()
        return found.st_dev, found.st_ino, *touched

    def _still_there(self) -> None:
        # An open file outlives its name: what is written to it then, nobody will ever find.
        if self._identity() != self._file:
            if self._frozen and self._place.exists():
                raise LogGoneError(
                    f"the log {self.path} could not be written when it was opened, and was written since: what was "
                    "read of it may be torn. Read it again"
                )
            raise LogGoneError(
                f"the log {self.path} was deleted or replaced while it was open, and nothing more is written to it; "
                "put it back, or start again with the log that is right"
            )

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
                        newer = self._first(*unless)
                        if newer is not None:
                            raise StaleHeadError(unless[0], newer)
                    received = self._clock.now()
                    start = head
                    head, told = self._insert(self._sealed.without(self._connection, rows), head, received)
                    run("COMMIT")
                except BaseException:
                    # A full disk has rolled back already.
                    if self._connection.in_transaction:
                        run("ROLLBACK")
                    raise
            except sqlite3.Error as error:
                # A file that was opened for reading stays so, whatever becomes of the disk: open it again.
                kept_so = getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_READONLY
                refusal = LogGoneError if kept_so else RecordError
                raise refusal(f"the log {self.path} could not be written: {error}") from None
            accepted = head - start - told
            return Receipt(accepted, len(rows) - accepted, head, told)

    def _insert(self, rows: Sequence[Encoded], head: int, received: float) -> tuple[int, int]:
        """Insert in one go, as if nothing were repeated; where something is, one by one.

        Returns the head, and how many conflicts were told of.
        """
        values: list[object] = []
        for place, (event_id, kind, experiment, happened, body) in enumerate(rows, head + 1):
            values += (place, event_id, kind, experiment, happened, received, body)
        run = self._connection.execute
        run("SAVEPOINT together")
        inserted = start = 0
        # Many rows a statement: each statement gives up the interpreter's lock once, and a thread that serves
        # requests takes its time to give it back.
        for size in _TOGETHER:
            while len(rows) - start >= size:
                inserted += run(_insert(size), values[7 * start : 7 * (start + size)]).rowcount
                start += size
        if inserted == len(rows):
            run("RELEASE together")
            return head + inserted, 0
        run("ROLLBACK TO together")
        repeated = []
        for row in rows:
            if self._insert_one(row, head + 1, received):
                head += 1
            else:
                repeated.append(row)
        told = self._sealed.without(self._connection, conflicts(self._kept(repeated), repeated))
        fresh = 0
        for row in told:
            fresh += self._insert_one(row, head + fresh + 1, received)
        return head + fresh, fresh

    def _insert_one(self, row: Encoded, position: int, received: float) -> int:
        values = (position, row.event_id, row.kind, row.experiment, row.happened, received, row.body)
        return self._connection.execute(_insert(1), values).rowcount

    def _kept(self, rows: Sequence[Encoded]) -> dict[str, Kept]:
        """What the hot table holds under the ids of rows. What was sealed is known by its id alone."""
        found: dict[str, Kept] = {}
        for start in range(0, len(rows), _TOGETHER[0]):
            ids = [row.event_id for row in rows[start : start + _TOGETHER[0]]]
            held = self._connection.execute(
                "SELECT event_id, kind, experiment, CAST(body AS BLOB) FROM events "
                f"WHERE event_id IN ({','.join('?' * len(ids))})",
                ids,
            )
            found |= {event_id: Kept(*told) for event_id, *told in held}
        return found

    def _first(self, position: int, experiment: str | None, kinds: Sequence[str] | None) -> int | None:
        """The position of the first such fact after a position; part of the caller's transaction."""
        condition, values = matching(position, experiment, kinds)
        found = self._connection.execute(f"SELECT min(position) FROM events WHERE {condition}", values)
        (first,) = found.fetchone()
        # Sealed since the caller read, which is rare: a decision is about kinds that are not sealed.
        segment = sought(self._connection, position, experiment, kinds)
        while segment is not None and (first is None or segment.first < first):
            rows = rows_of(self._shelf, segment, after=position, experiment=experiment, kinds=kinds)
            row = next(rows, None)
            if row is not None:
                return row.position if first is None else min(first, row.position)
            segment = sought(self._connection, segment.last, experiment, kinds)
        return None if first is None else int(first)

    def read_since(
        self, position: int = 0, *, experiment: str | None = None, kinds: Sequence[str] | None = None
    ) -> Iterator[Recorded]:
        for row in self._reader.rows(position, experiment, kinds):
            yield Recorded(
                row.position,
                row.received,
                decode(
                    row.kind,
                    event_id=row.event_id,
                    experiment=row.experiment,
                    happened=row.happened,
                    body=row.body,
                ),
            )
        self._not_torn()

    def bodies(self, experiment: str, kind: str, *, until: int) -> Iterator[list[Body]]:
        """Facts of one kind up to a position as they are kept, sealed or not, page by page."""
        yield from self._reader.bodies(experiment, kind, until)
        self._not_torn()

    def _not_torn(self) -> None:
        if self._frozen:
            self._still_there()

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
        return int(self._connection.execute(HEAD).fetchone()[0])

    def close(self) -> None:
        with self._lock:
            self._connection.close()


@cache
def _insert(rows: int) -> str:
    # Only a repeated id is harmless; any other conflict is an error.
    values = ", ".join(["(?, ?, ?, ?, ?, ?, ?)"] * rows)
    return f"INSERT INTO events ({_COLUMNS}) VALUES {values} ON CONFLICT (event_id) DO NOTHING"
