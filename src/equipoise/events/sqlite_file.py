"""The file of an embedded log: made, recognised, brought to this version's format, and opened the safe way."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

from equipoise.errors import RecordError
from equipoise.events import manifest

__all__ = ["FORMAT", "connect", "is_frozen"]

FORMAT = 2
"""1: the hot table alone. 2: by position, and with the manifest of what was sealed from it."""
_APPLICATION = 0x45515031  # "EQP1", so that another program's database is not mistaken for a log

# The position is the row's own number, so that its order costs no index. Logs of format 1 have the id there, and an
# index of positions beside it: every query suits both.
_SCHEMA = f"""
CREATE TABLE events (
    position   INTEGER PRIMARY KEY,
    event_id   TEXT NOT NULL UNIQUE,
    kind       TEXT NOT NULL,
    experiment TEXT NOT NULL,
    happened   REAL NOT NULL,
    received   REAL NOT NULL,
    body       BLOB NOT NULL
);
CREATE INDEX events_by_experiment ON events (experiment, kind);
{manifest.SCHEMA}
PRAGMA application_id = {_APPLICATION};
PRAGMA user_version = {FORMAT};
"""
_NOT_WRITTEN = (sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN)
_POLL = 0.02
_PATIENCE = 10.0


def connect(path: Path, *, create: bool) -> sqlite3.Connection:
    """A connection to the log at a path, with every commit on disk before it is acknowledged.

    A log of an earlier format is brought to this one, in one transaction, and loses nothing by it. One that can only
    be read stays as it is, and is good enough where nothing is to be created. Raises RecordError where the path
    holds something else, cannot be opened, or holds nothing and nothing is to be created.
    """
    if not create and not path.exists():
        raise RecordError(
            f"there is no log at {path}. Register an experiment first, or name the log with --log"
        )
    if not create and path.is_file() and path.stat().st_size == 0:
        raise RecordError(f"{path} is an empty file, not a log. Name the log with --log")
    if path.is_dir():
        raise RecordError(f"{path} is a folder; name a file in it for the log")
    if not path.absolute().parent.is_dir():
        raise RecordError(f"there is no folder {path.parent} to keep the log in; make it first")
    try:
        try:
            return _open(str(path), partial(_prepare, path=path, create=create))
        except sqlite3.OperationalError as error:
            if create or error.sqlite_errorcode & 0xFF not in _NOT_WRITTEN:
                raise
            return _reading(path)
    except sqlite3.Error as error:
        raise RecordError(f"{path} cannot be used as a log: {error}") from None


def is_frozen(connection: sqlite3.Connection) -> bool:
    """Whether a connection reads a log as one that nobody writes, and would not notice if somebody did."""
    return bool(_number(connection, "query_only"))


def _open(place: str, prepare: Callable[[sqlite3.Connection], None]) -> sqlite3.Connection:
    connection = sqlite3.connect(
        place, timeout=_PATIENCE, isolation_level=None, check_same_thread=False, uri=place.startswith("file:")
    )
    try:
        prepare(connection)
    except BaseException:
        connection.close()
        raise
    return connection


def _reading(path: Path) -> sqlite3.Connection:
    """A connection to a log that can only be read."""
    try:
        # Where somebody else writes it, the files beside it say what is new.
        return _open(f"{path.resolve().as_uri()}?mode=ro", partial(_prepare_reading, path=path))
    except sqlite3.OperationalError as error:
        if error.sqlite_errorcode & 0xFF not in _NOT_WRITTEN:
            raise
    return _frozen(path)


def _frozen(path: Path) -> sqlite3.Connection:
    """A connection to a log that nobody writes: no lock is taken, and no file beside it looked at."""
    place = path.resolve()
    for ending in ("-wal", "-journal"):
        beside = place.with_name(place.name + ending)
        if beside.exists() and beside.stat().st_size:
            raise RecordError(
                f"{path} cannot be read where it is: what was written last is in {beside.name}, and nothing may be "
                "written there to bring it in. Copy both to a place that can be written, and name the copy with --log"
            )

    connection = _open(f"{place.as_uri()}?immutable=1", partial(_prepare_reading, path=path))
    connection.execute("PRAGMA query_only = ON")
    return connection


def _prepare_reading(connection: sqlite3.Connection, path: Path) -> None:
    if _recognised(connection, path) < FORMAT:
        # Nothing was sealed from it; an empty manifest in memory says so to every query.
        connection.execute("PRAGMA temp_store = MEMORY")
        _run(connection, manifest.SCHEMA.replace("CREATE TABLE", "CREATE TEMP TABLE"))


def _recognised(connection: sqlite3.Connection, path: Path) -> int:
    """The format of the log; RecordError for what is none, or a later one."""
    if _number(connection, "application_id") != _APPLICATION:
        raise RecordError(f"{path} is an SQLite database of something else, not an event log")
    version = _number(connection, "user_version")
    if version > FORMAT:
        raise RecordError(
            f"{path} was written by a later version (format {version}, this one reads {FORMAT}). "
            "Upgrade equipoise"
        )
    return version


def _prepare(connection: sqlite3.Connection, path: Path, *, create: bool) -> None:
    if _number(connection, "application_id") == 0:
        # Looked at again under the lock: another process may be creating the log this moment.
        connection.execute("BEGIN IMMEDIATE")
        tables = connection.execute("SELECT 1 FROM sqlite_master LIMIT 1").fetchone()
        if _number(connection, "application_id") == 0 and tables is None:
            _run(connection, _SCHEMA)
        connection.execute("COMMIT")
    version = _recognised(connection, path)
    _write_ahead(connection)
    connection.execute("PRAGMA synchronous = FULL")
    if version < FORMAT:
        connection.execute("BEGIN IMMEDIATE")
        if _number(connection, "user_version") < FORMAT:
            _run(connection, f"{manifest.SCHEMA}; PRAGMA user_version = {FORMAT}")
        connection.execute("COMMIT")
    if create:
        _refuse_read_only(connection)


def _refuse_read_only(connection: sqlite3.Connection) -> None:
    # SQLite opens for reading what it cannot write, and keeps to that for as long as the process holds the file
    # open, whatever becomes of the disk: who is going to write opens it again instead.
    try:
        # To begin is not enough: where nothing can be written, that is to begin to read.
        connection.execute("INSERT INTO events SELECT * FROM events WHERE false")
    except sqlite3.OperationalError as error:
        # Somebody else is writing to it all the time, so it can be written.
        if error.sqlite_errorcode != sqlite3.SQLITE_BUSY:
            raise


def _number(connection: sqlite3.Connection, pragma: str) -> int:
    return int(connection.execute(f"PRAGMA {pragma}").fetchone()[0])


def _run(connection: sqlite3.Connection, statements: str) -> None:
    # One by one: `executescript` would commit first.
    for statement in statements.split(";"):
        connection.execute(statement)


def _write_ahead(connection: sqlite3.Connection) -> None:
    # Turning a new file to WAL needs it for a moment alone, and SQLite does not wait for that by itself.
    deadline = time.monotonic() + _PATIENCE
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode != sqlite3.SQLITE_BUSY or time.monotonic() > deadline:
                raise
            time.sleep(_POLL)
        else:
            return
