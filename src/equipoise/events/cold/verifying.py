"""Looking a log over: is everything there that was accepted, and is it what was accepted?"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import orjson

from equipoise.errors import RecordError
from equipoise.events.cold.keys import WIDTH
from equipoise.events.cold.segments import facts_in
from equipoise.events.cold.shelf import names_on, shelf_of, take
from equipoise.events.facts import decode
from equipoise.events.manifest import SEALED, Segment, segments
from equipoise.events.sqlite_file import connect

__all__ = ["Inspection", "verify"]

_KINDS = ", ".join(f"'{kind}'" for kind in SEALED)
_SHOWN = 20
"""Damaged facts that are named one by one; a disk that is going has no end of them."""


@dataclass(frozen=True, slots=True)
class Inspection:
    """What was found in a log: facts hot, sealed and purged, the head, every fault as a sentence, and stray files.

    A stray is a file on the shelf that the manifest does not name: what a seal left that was killed, or what one
    that runs this moment has not entered yet. It belongs to no log and does no harm.
    """

    head: int
    hot: int
    sealed: int
    purged: int
    segments: int
    faults: tuple[str, ...]
    strays: tuple[str, ...]

    @property
    def sound(self) -> bool:
        """Whether no fault was found."""
        return not self.faults

    def to_dict(self) -> dict[str, Any]:
        """As JSON, with `sound`."""
        return {"sound": self.sound} | asdict(self) | {
            "faults": list(self.faults),
            "strays": list(self.strays),
        }  # fmt: skip


def verify(log: str | Path) -> Inspection:
    """Look over the SQLite log at a path: its file, each hot fact, each segment and its digest, the positions.

    Others may write it meanwhile. Raises RecordError where there is no log, MissingExtraError without the
    `analysis` extra where facts were sealed.
    """
    path = Path(log)
    while True:
        found, manifest = _looked_over(path)
        # A merge or a purge takes files away that the manifest of a moment ago still names.
        if found.sound or manifest == _manifest(path):
            return found


def _manifest(path: Path) -> list[Segment]:
    connection = connect(path, create=False)
    try:
        return list(segments(connection))
    finally:
        connection.close()


def _looked_over(path: Path) -> tuple[Inspection, list[Segment]]:
    """What is found at one moment, and the manifest of that moment."""
    shelf = shelf_of(path.absolute())
    connection = connect(path, create=False)
    try:
        # One moment: what is sealed or written meanwhile is not seen.
        connection.execute("BEGIN")
        # Listed after the moment began, so that what the manifest names is on the list; a seal that goes on may
        # add to it.
        manifest = list(segments(connection))
        strays = set(names_on(shelf)) - {name for each in manifest for name in (each.name, each.keys)}
        faults = [*_file_faults(connection), *_hot_faults(connection), *_segment_faults(shelf, manifest)]
        (hot, last_hot) = connection.execute(
            "SELECT count(*), coalesce(max(position), 0) FROM events"
        ).fetchone()
        last = manifest[-1].last if manifest else 0
        purged = _purged(connection)
        (astray,) = connection.execute(
            f"SELECT count(*) FROM events WHERE position <= ? AND kind IN ({_KINDS})", (last,)
        ).fetchone()
    except sqlite3.DatabaseError as error:
        raise RecordError(f"the log {path} could not be read: {error}") from None
    finally:
        connection.close()
    head, sealed = max(last_hot, last), sum(each.facts for each in manifest)
    missing = head - hot - sealed - purged
    if astray:
        faults.append(
            f"{astray} facts at positions up to {last} are in the hot table, and should have been sealed"
        )
    if missing:
        faults.append(
            f"the log ends at position {head}, and {missing} facts of those up to there are missing"
        )
    looked = Inspection(head, hot, sealed, purged, len(manifest), tuple(faults), tuple(sorted(strays)))
    return looked, manifest


def _file_faults(connection: sqlite3.Connection) -> Iterator[str]:
    for (found,) in connection.execute(f"PRAGMA integrity_check({_SHOWN})"):
        if found != "ok":
            yield f"the file of the log is damaged: {found}"


def _hot_faults(connection: sqlite3.Connection) -> Iterator[str]:
    damaged = 0
    rows = connection.execute(
        "SELECT kind, event_id, experiment, happened, body FROM events ORDER BY position"
    )
    for kind, event_id, experiment, happened, body in rows:
        try:
            decode(kind, event_id=event_id, experiment=experiment, happened=happened, body=body)
        except RecordError as error:
            damaged += 1
            if damaged <= _SHOWN:
                yield str(error)
    if damaged > _SHOWN:
        yield f"{damaged - _SHOWN} more hot facts cannot be read"


def _purged(connection: sqlite3.Connection) -> int:
    """How many facts were purged, by the record of it; what cannot be read is a fault already."""
    total = 0
    for (body,) in connection.execute("SELECT body FROM events WHERE kind = 'purge'"):
        with suppress(orjson.JSONDecodeError, KeyError, TypeError, AttributeError):
            total += sum(orjson.loads(body)["facts"].values())
    return total


def _segment_faults(shelf: Path, manifest: list[Segment]) -> Iterator[str]:
    before = 0
    for each in manifest:
        if each.first <= before or each.last < each.first:
            yield f"{each.name}: the manifest puts it at positions {each.first} to {each.last}, after {before}"
        before = each.last
        if each.facts != sum(count for kinds in each.counts.values() for count in kinds.values()):
            yield f"{each.name}: the manifest contradicts itself about how many facts are in it"
        try:
            found = facts_in(take(shelf, each.name, each.sha256, anew=True))
            if found != each.facts:
                yield f"{each.name}: {found} facts, and the manifest says {each.facts}"
        except RecordError as error:
            yield str(error)
        try:
            keys = len(take(shelf, each.keys, each.keys_sha256, anew=True)) // WIDTH
            if keys < each.facts:
                yield f"{each.keys}: {keys} keys for {each.facts} facts"
        except RecordError as error:
            yield str(error)
