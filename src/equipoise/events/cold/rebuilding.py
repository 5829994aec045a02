"""Making anew what follows from the facts: the keys of segments and the indexes of the hot file."""

from __future__ import annotations

import secrets
import sqlite3
from dataclasses import dataclass, replace
from pathlib import Path

from equipoise.errors import RecordError
from equipoise.events.cold.keys import packed
from equipoise.events.cold.sealing import sweep
from equipoise.events.cold.segments import rows_of
from equipoise.events.cold.shelf import (
    DamagedFileError,
    MissingFileError,
    digest_of,
    keep,
    names_on,
    shelf_of,
    take,
)
from equipoise.events.manifest import Segment, replace_segment, segments
from equipoise.events.sqlite_file import connect

__all__ = ["Rebuilt", "rebuild"]


@dataclass(frozen=True, slots=True)
class Rebuilt:
    """What was mended: files of keys that were made anew, and strays that were removed."""

    keys: int
    strays: int


def rebuild(log: str | Path) -> Rebuilt:
    """Make lost or damaged keys of an SQLite log's segments anew, and its indexes; remove what nobody names.

    Others may read and write the log meanwhile; a seal that runs may fail, and can be repeated. Keys that are made
    anew no longer hold the ids of facts that were purged. Raises RecordError where a segment itself is missing or
    damaged, which only a copy can mend; MissingExtraError without the `analysis` extra where facts were sealed.
    """
    path = Path(log)
    shelf = shelf_of(path.absolute())
    connection = connect(path, create=False)
    mended = 0
    try:
        for each in list(segments(connection)):
            if _is_whole(shelf, each):
                continue
            keys = packed(row.event_id for row in rows_of(shelf, each))
            name = f"{each.first:015d}-{secrets.token_hex(8)}.keys"
            keep(shelf, name, keys)
            connection.execute("BEGIN IMMEDIATE")
            try:
                # Unless somebody swept them away, who took them for strays.
                if name in names_on(shelf) and replace_segment(
                    connection, each, replace(each, keys=name, keys_sha256=digest_of(keys))
                ):
                    mended += 1
            finally:
                connection.execute("COMMIT")
        connection.execute("REINDEX")
        return Rebuilt(mended, sweep(connection, shelf))
    except sqlite3.Error as error:
        raise RecordError(f"the log {path} could not be rebuilt: {error}") from None
    finally:
        connection.close()


def _is_whole(shelf: Path, segment: Segment) -> bool:
    try:
        take(shelf, segment.keys, segment.keys_sha256, anew=True)
    except (MissingFileError, DamagedFileError):
        return False
    return True
