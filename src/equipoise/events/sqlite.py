"""The embedded log: one SQLite file in WAL mode, every commit on disk before it is acknowledged.

What was sealed lies in segments beside it; a reader sees both as one log.
"""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from heapq import merge
from operator import itemgetter
from pathlib import Path

from equipoise.clock import Clock, SystemClock
from equipoise.errors import RecordError
from equipoise.events.bodies import Body
from equipoise.events.facts import Encoded, Fact, decode, encoded
from equipoise.events.log import LogGoneError, Receipt, Recorded, StaleHeadError
from equipoise.events.manifest import HEAD, Segment, sought
from equipoise.events.sealed_ids import SealedIds
from equipoise.events.segments import Row, rows_of
from equipoise.events.shelf import MissingFileError, shelf_of
from equipoise.events.sqlite_file import connect

__all__ = ["SQLiteLog"]

_TOGETHER = (256, 64, 16, 4, 1)
_PAGE = 2_000
_LONG_PAGE = 20_000
_POLL = 0.02
_LAST = 2**63 - 1


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
        self._shelf = shelf_of(self._place)
        self._sealed = SealedIds(self._shelf)
        self._lock = threading.Lock()
        self._connection = connect(self.path, create=create)
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
                    head = self._insert(self._sealed.without(self._connection, rows), head, received)
                    run("COMMIT")
                except BaseException:
                    # A full disk has rolled back already.
                    if self._connection.in_transaction:
                        run("ROLLBACK")
                    raise
            except sqlite3.Error as error:
                raise RecordError(f"the log {self.path} could not be written: {error}") from None
            return Receipt(head - start, len(rows) - (head - start), head)

    def _insert(self, rows: Sequence[Encoded], head: int, received: float) -> int:
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

    def _first(self, position: int, experiment: str | None, kinds: Sequence[str] | None) -> int | None:
        """The position of the first such fact after a position; part of the caller's transaction."""
        condition, values = _matching(position, experiment, kinds)
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
        # Page by page, so that a long read holds neither the lock nor a snapshot of the file.
        while True:
            segment, page = self._page(position, experiment, kinds)
            rows: Iterable[Row] = page
            if segment is not None:
                try:
                    sealed = rows_of(self._shelf, segment, after=position, experiment=experiment, kinds=kinds)
                except MissingFileError:
                    if self._page(position, experiment, kinds)[0] == segment:
                        raise
                    # The manifest names another in its place by now.
                    continue
                rows = merge(sealed, page, key=itemgetter(0))
            for row in rows:
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
            if segment is not None:
                position = segment.last
            elif len(page) < _PAGE:
                return
            else:
                position = page[-1].position

    def _page(
        self, position: int, experiment: str | None, kinds: Sequence[str] | None
    ) -> tuple[Segment | None, list[Row]]:
        """What comes next: a segment with the hot facts among its own, or a page of hot facts alone."""
        condition, values = _matching(position, experiment, kinds)
        query = (
            "SELECT position, received, kind, event_id, experiment, happened, body FROM events "
            f"WHERE {condition} AND position <= ? ORDER BY position LIMIT ?"
        )
        run = self._connection.execute
        with self._lock:
            try:
                # Manifest and hot facts as they were at one moment: a seal moves facts from one to the other.
                run("BEGIN")
                try:
                    segment = sought(self._connection, position, experiment, kinds)
                    bounds = (_LAST, _PAGE) if segment is None else (segment.last, -1)
                    return segment, list(map(Row._make, run(query, (*values, *bounds)).fetchall()))
                finally:
                    run("COMMIT")
            except sqlite3.Error as error:
                raise RecordError(f"the log {self.path} could not be read: {error}") from None

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
        return int(self._connection.execute(HEAD).fetchone()[0])

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
