"""Reading an embedded log: what was sealed and what is hot as one, part by part, in the order of positions."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from heapq import merge
from operator import itemgetter
from pathlib import Path
from typing import Any

from equipoise.errors import RecordError
from equipoise.events.bodies import Body
from equipoise.events.manifest import Segment, sought
from equipoise.events.segments import Row, bodies_in, rows_of
from equipoise.events.shelf import MissingFileError

__all__ = ["LAST", "SQLiteReader", "matching"]

LAST = 2**63 - 1
"""A position after any other."""
_PAGE = 2_000
_LONG_PAGE = 20_000
_ROW = "position, received, kind, event_id, experiment, happened, body"
# An edited row may hold text.
_BODY = "position, happened, CAST(body AS BLOB)"


class SQLiteReader:
    """Reads a log through a connection that others use too, under their lock.

    Part by part: a segment with what is hot among its own, or a page of hot facts alone. So a long read holds
    neither the lock nor a snapshot of the file, and a seal or a purge may run meanwhile.
    """

    def __init__(self, path: Path, shelf: Path, connection: sqlite3.Connection, lock: threading.Lock) -> None:
        self._path, self._shelf = path, shelf
        self._connection, self._lock = connection, lock

    def rows(self, position: int, experiment: str | None, kinds: Sequence[str] | None) -> Iterator[Row]:
        """The facts after a position, of an experiment, of some kinds."""

        def sealed(segment: Segment, after: int) -> Iterator[Row]:
            return rows_of(self._shelf, segment, after=after, experiment=experiment, kinds=kinds)

        for part in self._parts(_ROW, _PAGE, sealed, position, LAST, experiment, kinds):
            yield from map(Row._make, part)

    def bodies(self, experiment: str, kind: str, until: int) -> Iterator[list[Body]]:
        """Facts of one kind up to a position as they are kept, part by part."""

        def sealed(segment: Segment, after: int) -> list[Body]:
            return bodies_in(self._shelf, segment, after=after, until=until, experiment=experiment, kind=kind)

        for part in self._parts(_BODY, _LONG_PAGE, sealed, 0, until, experiment, (kind,)):
            if found := list(part):
                yield found

    def _parts(
        self,
        columns: str,
        size: int,
        sealed: Callable[[Segment, int], Iterable[Any]],
        position: int,
        until: int,
        experiment: str | None,
        kinds: Sequence[str] | None,
    ) -> Iterator[Iterable[Any]]:
        condition, (_, *values) = matching(position, experiment, kinds)
        query = f"SELECT {columns} FROM events WHERE {condition} AND position <= ? ORDER BY position LIMIT ?"
        missing: Segment | None = None
        while True:
            with self._lock:
                segment, page = self._together(query, values, size, position, until, experiment, kinds)
            if segment is None:
                yield page
                if len(page) < size:
                    return
                position = page[-1][0]
                continue
            try:
                cold = sealed(segment, position)
            except MissingFileError:
                if segment == missing:
                    raise
                # The manifest may name another in its place by now.
                missing = segment
                continue
            yield merge(cold, page, key=itemgetter(0)) if page else cold
            position = segment.last

    def _together(
        self,
        query: str,
        values: Sequence[int | str],
        size: int,
        position: int,
        until: int,
        experiment: str | None,
        kinds: Sequence[str] | None,
    ) -> tuple[Segment | None, list[Any]]:
        run = self._connection.execute
        try:
            # Manifest and hot facts as they were at one moment: a seal moves facts from one to the other.
            run("BEGIN")
            try:
                segment = sought(self._connection, position, experiment, kinds)
                if segment is not None and segment.first > until:
                    segment = None
                bounds = (until, size) if segment is None else (min(until, segment.last), -1)
                return segment, run(query, (position, *values, *bounds)).fetchall()
            finally:
                run("COMMIT")
        except sqlite3.Error as error:
            raise RecordError(f"the log {self._path} could not be read: {error}") from None


def matching(
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
