"""Whether an event was sealed already: asked for each that is older than what was sealed."""

from __future__ import annotations

import sqlite3
from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path
from typing import TypeVar

from equipoise.events.cold.keys import holds, is_timed
from equipoise.events.cold.shelf import take
from equipoise.events.facts import Encoded
from equipoise.events.manifest import Segment, holding

__all__ = ["SealedIds"]

_READY = 8
_MARKS = "SELECT max(newest), coalesce((SELECT max(untimed) FROM segments), 0) FROM segments"

T = TypeVar("T", bound=Encoded)


class SealedIds:
    """The ids on the shelf of a log; not safe to share between threads.

    What is newer than all that was sealed costs one look at the manifest, whatever lies on the shelf. An older
    event costs a search in the keys of each segment that its time falls into; the files of the last 8 such
    segments are held ready (0.8 MB each at full size).
    """

    def __init__(self, shelf: Path) -> None:
        self._shelf = shelf
        self._ready: OrderedDict[str, bytes] = OrderedDict()

    def without(self, connection: sqlite3.Connection, rows: Sequence[T]) -> Sequence[T]:
        """The rows that were not sealed; part of the caller's transaction.

        Raises RecordError where the keys of a segment are missing or damaged: whether an event is new cannot be
        told then, and it is not guessed.
        """
        newest, untimed = connection.execute(_MARKS).fetchone()
        if newest is None and not untimed:
            return rows
        return [row for row in rows if not self._is_sealed(connection, row.event_id, newest or "", untimed)]

    def _is_sealed(self, connection: sqlite3.Connection, event_id: str, newest: str, untimed: int) -> bool:
        timed = is_timed(event_id)
        if event_id > newest if timed else not untimed:
            return False
        return any(holds(self._keys(each), event_id) for each in holding(connection, event_id, timed=timed))

    def _keys(self, segment: Segment) -> bytes:
        data = self._ready.get(segment.keys)
        if data is None:
            data = self._ready[segment.keys] = take(self._shelf, segment.keys, segment.keys_sha256)
            if len(self._ready) > _READY:
                self._ready.popitem(last=False)
        self._ready.move_to_end(segment.keys)
        return data
