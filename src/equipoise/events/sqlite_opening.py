"""A file of SQLite opened for one purpose: made where it is empty, and anything else told from it."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable
from pathlib import Path

from equipoise.errors import RecordError

__all__ = [
    "PATIENCE",
    "make_if_empty",
    "number",
    "opened",
    "recognised",
    "refuse_later",
    "refuse_read_only",
    "run_each",
    "write_ahead",
]

PATIENCE = 10.0
"""Seconds that one process waits for the lock of another."""
_POLL = 0.02


def opened(
    place: str | Path,
    prepare: Callable[[sqlite3.Connection], None],
    *,
    patience: float = PATIENCE,
    uri: bool = False,
) -> sqlite3.Connection:
    """A connection that several threads may share and that commits when told to; closed again where `prepare` fails."""
    connection = sqlite3.connect(
        place, timeout=patience, isolation_level=None, check_same_thread=False, uri=uri
    )
    try:
        prepare(connection)
    except BaseException:
        connection.close()
        raise
    return connection


def number(connection: sqlite3.Connection, pragma: str) -> int:
    """The number that the file holds under a pragma."""
    return int(connection.execute(f"PRAGMA {pragma}").fetchone()[0])


def run_each(connection: sqlite3.Connection, statements: str) -> None:
    """Statements one by one: `executescript` would commit first."""
    for statement in statements.split(";"):
        connection.execute(statement)


def make_if_empty(connection: sqlite3.Connection, schema: str) -> None:
    """Run a schema in a file that holds nothing; the schema gives it its application_id."""
    if number(connection, "application_id") == 0:
        # Looked at again under the lock: another process may be making the file this moment.
        connection.execute("BEGIN IMMEDIATE")
        empty = connection.execute("SELECT 1 FROM sqlite_master LIMIT 1").fetchone() is None
        if number(connection, "application_id") == 0 and empty:
            run_each(connection, schema)
        connection.execute("COMMIT")


def recognised(
    connection: sqlite3.Connection, path: str | Path, *, what: str, application: int, reads: int
) -> int:
    """The format of the file; RecordError where it is not `what` it should be, or of a later format than `reads`."""
    if number(connection, "application_id") != application:
        raise RecordError(f"{path} is an SQLite database of something else, not {what}")
    version = number(connection, "user_version")
    refuse_later(path, version, reads)
    return version


def refuse_later(path: str | Path, version: int, reads: int) -> None:
    """RecordError for a file of a later format than this version reads."""
    if version > reads:
        raise RecordError(
            f"{path} was written by a later version (format {version}, this one reads {reads}). "
            "Upgrade equipoise"
        )


def refuse_read_only(connection: sqlite3.Connection, table: str) -> None:
    """Raise sqlite3.OperationalError where the file of this table cannot be written.

    SQLite opens for reading what it cannot write, and keeps to that for as long as the process holds the file open,
    whatever becomes of the disk: who is going to write opens it again instead.
    """
    try:
        # To begin is not enough: where nothing can be written, that is to begin to read.
        connection.execute(f"INSERT INTO {table} SELECT * FROM {table} WHERE false")
    except sqlite3.OperationalError as error:
        # Somebody else is writing to it all the time, so it can be written.
        if error.sqlite_errorcode != sqlite3.SQLITE_BUSY:
            raise


def write_ahead(connection: sqlite3.Connection, *, patience: float = PATIENCE) -> None:
    """Turn a file to WAL, which a new one needs for a moment alone; SQLite does not wait for that by itself."""
    deadline = time.monotonic() + patience
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode != sqlite3.SQLITE_BUSY or time.monotonic() > deadline:
                raise
            time.sleep(_POLL)
        else:
            return
