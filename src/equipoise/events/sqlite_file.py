"""The file of an embedded log: made, recognised, brought to this version's format, and opened the safe way."""

from __future__ import annotations

import sqlite3
from functools import partial
from pathlib import Path

from equipoise.errors import RecordError
from equipoise.events import manifest
from equipoise.events.sqlite_opening import (
    make_if_empty,
    number,
    opened,
    recognised,
    refuse_read_only,
    run_each,
    write_ahead,
)

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
            return opened(path, partial(_prepare, path=path, create=create))
        except sqlite3.OperationalError as error:
            if create or error.sqlite_errorcode & 0xFF not in _NOT_WRITTEN:
                raise
            return _reading(path)
    except sqlite3.Error as error:
        raise RecordError(f"{path} cannot be used as a log: {error}") from None


def is_frozen(connection: sqlite3.Connection) -> bool:
    """Whether a connection reads a log as one that nobody writes, and would not notice if somebody did."""
    return bool(number(connection, "query_only"))


def _reading(path: Path) -> sqlite3.Connection:
    """A connection to a log that can only be read."""
    try:
        # Where somebody else writes it, the files beside it say what is new.
        return opened(f"{path.resolve().as_uri()}?mode=ro", partial(_prepare_reading, path=path), uri=True)
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

    connection = opened(f"{place.as_uri()}?immutable=1", partial(_prepare_reading, path=path), uri=True)
    connection.execute("PRAGMA query_only = ON")
    return connection


def _prepare_reading(connection: sqlite3.Connection, path: Path) -> None:
    if _recognised(connection, path) < FORMAT:
        # Nothing was sealed from it; an empty manifest in memory says so to every query.
        connection.execute("PRAGMA temp_store = MEMORY")
        run_each(connection, manifest.SCHEMA.replace("CREATE TABLE", "CREATE TEMP TABLE"))


def _recognised(connection: sqlite3.Connection, path: Path) -> int:
    return recognised(connection, path, what="an event log", application=_APPLICATION, reads=FORMAT)


def _prepare(connection: sqlite3.Connection, path: Path, *, create: bool) -> None:
    make_if_empty(connection, _SCHEMA)
    version = _recognised(connection, path)
    write_ahead(connection)
    connection.execute("PRAGMA synchronous = FULL")
    if version < FORMAT:
        connection.execute("BEGIN IMMEDIATE")
        if number(connection, "user_version") < FORMAT:
            run_each(connection, f"{manifest.SCHEMA}; PRAGMA user_version = {FORMAT}")
        connection.execute("COMMIT")
    if create:
        refuse_read_only(connection, "events")
