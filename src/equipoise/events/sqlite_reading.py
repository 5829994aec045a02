"""Reading an embedded log: what was sealed and what is hot as one, part by part, in the order of positions."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from heapq import merge
from operator import itemgetter
from pathlib import Path
from typing import Any

from equipoise.errors import RecordError
from equipoise.events.bodies import Body
from equipoise.events.cold.segments import Row, bodies_in, rows_of
from equipoise.events.cold.shelf import MissingFileError
from equipoise.events.manifest import Segment, sought

__all__ = ["LAST", "SQLiteReader", "matching"]

LAST = 2**63 - 1
"""A position after any other."""
_PAGE = 2_000
_LONG_PAGE = 20_000
_ROW = "position, received, kind, event_id, experiment, happened, body"
# An edited row may hold text.
_BODY = "position, happened, received, CAST(body AS BLOB)"
_KINDS_OF = """
WITH RECURSIVE found(kind) AS (
    SELECT min(kind) FROM events WHERE experiment = :experiment
    UNION ALL
    SELECT (SELECT min(kind) FROM events WHERE experiment = :experiment AND kind > found.kind)
    FROM found WHERE found.kind IS NOT NULL
)
SELECT kind FROM found WHERE kind IS NOT NULL
"""
"""The kinds of an experiment's facts: a step in the index for each kind, not for each fact."""


@dataclass(frozen=True, slots=True)
class _Asked:
    """What is read of the hot table: columns, the first of them the position; facts a page; whose and which."""

    columns: str
    size: int
    experiment: str | None
    kinds: Sequence[str] | None


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
        kinds = None if kinds is None else tuple(dict.fromkeys(kinds))

        def sealed(segment: Segment, after: int) -> Iterator[Row]:
            return rows_of(self._shelf, segment, after=after, experiment=experiment, kinds=kinds)

        for part in self._parts(_Asked(_ROW, _PAGE, experiment, kinds), sealed, position, LAST):
            yield from map(Row._make, part)

    def bodies(self, experiment: str, kind: str, until: int) -> Iterator[list[Body]]:
        """Facts of one kind up to a position as they are kept, part by part."""

        def sealed(segment: Segment, after: int) -> list[Body]:
            return bodies_in(self._shelf, segment, after=after, until=until, experiment=experiment, kind=kind)

        for part in self._parts(_Asked(_BODY, _LONG_PAGE, experiment, (kind,)), sealed, 0, until):
            if found := list(part):
                yield found

    def _parts(
        self,
        asked: _Asked,
        sealed: Callable[[Segment, int], Iterable[Any]],
        position: int,
        until: int,
    ) -> Iterator[Iterable[Any]]:
        missing: Segment | None = None
        while True:
            segment, page = self._together(asked, position, until)
            if segment is None:
                yield page
                if len(page) < asked.size:
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

    def _together(self, asked: _Asked, position: int, until: int) -> tuple[Segment | None, list[Any]]:
        """The next segment and the hot facts up to its end, or no segment and a page of hot facts."""
        run = self._connection.execute
        with self._lock:
            try:
                # Manifest and hot facts as they were at one moment: a seal moves facts from one to the other.
                run("BEGIN")
                try:
                    segment = sought(self._connection, position, asked.experiment, asked.kinds)
                    if segment is not None and segment.first > until:
                        segment = None
                    last, size = (until, asked.size) if segment is None else (min(until, segment.last), -1)
                    return segment, self._hot(asked, position, last, size)
                finally:
                    run("COMMIT")
            except sqlite3.Error as error:
                raise RecordError(f"the log {self._path} could not be read: {error}") from None

    def _hot(self, asked: _Asked, position: int, last: int, size: int) -> list[Any]:
        run, select = self._connection.execute, f"SELECT {asked.columns} FROM events WHERE"
        if asked.experiment is None:
            condition, values = matching(position, None, asked.kinds)
            query = f"{select} {condition} AND position <= ? ORDER BY position LIMIT ?"
            return run(query, (*values, last, size)).fetchall()
        kinds = asked.kinds
        if kinds is None:
            kinds = [kind for (kind,) in run(_KINDS_OF, {"experiment": asked.experiment})]
        # The index gives one kind in order. Of several asked for at once all that is left would be sorted for every
        # page; asked for one by one they are merged as far as the page goes.
        each = f"{select} experiment = ? AND kind = ? AND position > ? AND position <= ?"
        query = f"{' UNION ALL '.join([each] * len(kinds))} ORDER BY position LIMIT ?"
        values = [value for kind in kinds for value in (asked.experiment, kind, position, last)]
        return run(query, (*values, size)).fetchall() if kinds else []


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
