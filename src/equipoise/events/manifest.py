"""The manifest: which segments there are. What it does not name does not exist.

It is a table of the log's own file, so that a segment is entered and its facts leave the hot table in one
transaction, and so that a reader sees both at one moment.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

__all__ = [
    "HEAD",
    "SCHEMA",
    "SEALED",
    "Segment",
    "enter",
    "holding",
    "replace_segment",
    "replace_segments",
    "segments",
    "sought",
]

SEALED = ("exposure", "impression", "turn", "shadow", "outcome", "score", "label")
"""The kinds that are sealed: those that come with traffic, or with people who label it, and may be about a unit. What
an experiment's state is folded from stays in the hot table, where it is few, needed by everybody, and read without a
library."""

SCHEMA = """
CREATE TABLE segments (
    first       INTEGER PRIMARY KEY,
    last        INTEGER NOT NULL,
    facts       INTEGER NOT NULL,
    name        TEXT NOT NULL UNIQUE,
    sha256      TEXT NOT NULL,
    keys        TEXT NOT NULL UNIQUE,
    keys_sha256 TEXT NOT NULL,
    oldest      TEXT,
    newest      TEXT,
    untimed     INTEGER NOT NULL,
    counts      TEXT NOT NULL
);
CREATE INDEX segments_by_last ON segments (last);
CREATE INDEX segments_by_newest ON segments (newest);
CREATE INDEX segments_by_untimed ON segments (untimed);
"""
"""`oldest` and `newest` are the first and last UUIDv7 in a segment, `untimed` counts its other ids."""

HEAD = """SELECT max(coalesce((SELECT max(position) FROM events), 0),
                 coalesce((SELECT max(last) FROM segments), 0))"""
"""The position of the last fact, hot or sealed."""


@dataclass(frozen=True, slots=True)
class Segment:
    """A segment as the manifest names it: the facts at positions `first` to `last`, but for those that stay hot.

    `name` and `keys` are files on the shelf, with their digests; `counts` says how many facts of which
    experiment and kind are in it. Ids of facts that were purged stay among the keys.
    """

    first: int
    last: int
    facts: int
    name: str
    sha256: str
    keys: str
    keys_sha256: str
    oldest: str | None
    newest: str | None
    untimed: int
    counts: Mapping[str, Mapping[str, int]]

    def may_hold(self, experiment: str | None, kinds: Sequence[str] | None) -> bool:
        """Whether any of its facts is of that experiment and of one of those kinds; None stands for all."""
        inside = self.counts.values() if experiment is None else [self.counts.get(experiment, {})]
        return any(kinds is None or kind in kinds for each in inside for kind in each)


_NAMES = tuple(field.name for field in fields(Segment))
_COLUMNS = ", ".join(_NAMES)


def _segment(row: Sequence[Any]) -> Segment:
    values = dict(zip(_NAMES, row, strict=True))
    return Segment(**values | {"counts": json.loads(values["counts"])})


def segments(connection: sqlite3.Connection, position: int = 0) -> Iterator[Segment]:
    """The segments with facts after a position, in the order of positions."""
    rows = connection.execute(f"SELECT {_COLUMNS} FROM segments WHERE last > ? ORDER BY last", (position,))
    return map(_segment, rows)


def sought(
    connection: sqlite3.Connection, position: int, experiment: str | None, kinds: Sequence[str] | None
) -> Segment | None:
    """The next segment after a position that may hold what is asked for."""
    if kinds is not None and not any(kind in SEALED for kind in kinds):
        return None
    found = segments(connection, position)
    return next((each for each in found if each.may_hold(experiment, kinds)), None)


def holding(connection: sqlite3.Connection, event_id: str, *, timed: bool) -> list[Segment]:
    """The segments that an id may have been sealed in."""
    condition, values = (
        ("oldest <= ? AND newest >= ?", (event_id, event_id)) if timed else ("untimed > 0", ())
    )
    return list(
        map(_segment, connection.execute(f"SELECT {_COLUMNS} FROM segments WHERE {condition}", values))
    )


def enter(connection: sqlite3.Connection, segment: Segment) -> None:
    """Enter a segment; part of the caller's transaction."""
    values = [getattr(segment, name) for name in _NAMES]
    values[_NAMES.index("counts")] = json.dumps(segment.counts, sort_keys=True)
    connection.execute(f"INSERT INTO segments ({_COLUMNS}) VALUES ({', '.join('?' * len(values))})", values)


def replace_segment(connection: sqlite3.Connection, old: Segment, new: Segment) -> bool:
    """Enter a segment in another's place; False where that is gone. Part of the caller's transaction."""
    return replace_segments(connection, (old,), new)


def replace_segments(connection: sqlite3.Connection, old: Sequence[Segment], new: Segment) -> bool:
    """Enter a segment in the place of several; False where one of them is gone, and the caller takes all of it back."""
    gone = sum(
        connection.execute("DELETE FROM segments WHERE name = ?", (each.name,)).rowcount for each in old
    )
    if gone < len(old):
        return False
    enter(connection, new)
    return True
