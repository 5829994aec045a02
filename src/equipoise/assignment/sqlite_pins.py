"""The pins of one machine: one SQLite file in WAL mode, every pin on disk before it is answered."""

from __future__ import annotations

import sqlite3
import threading
import time
from pathlib import Path

from equipoise.assignment.pins import unit_key
from equipoise.errors import RecordError

__all__ = ["FORMAT", "SQLitePins"]

FORMAT = 1
_APPLICATION = 0x45515049  # "EQPI", so that a log or another program's database is not mistaken for pins
_SCHEMA = f"""
CREATE TABLE pins (salt TEXT NOT NULL, unit BLOB NOT NULL, epoch INTEGER NOT NULL, PRIMARY KEY (salt, unit))
WITHOUT ROWID;
PRAGMA application_id = {_APPLICATION};
PRAGMA user_version = {FORMAT};
"""
# A request waits for its pin: shorter than for a log.
_PATIENCE = 2.0
_POLL = 0.01


class SQLitePins:
    """Pins in one file, for the processes of one machine; a unit that is known waits for no writer.

    Safe to share between threads; several processes may open the same file. A call waits at most about two
    seconds for others. Raises RecordError where the path holds no pins or cannot be written.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self._lock = threading.Lock()
        if self.path.is_dir():
            raise RecordError(f"{self.path} is a folder; name a file in it for the pins")
        if not self.path.absolute().parent.is_dir():
            raise RecordError(f"there is no folder {self.path.parent} to keep the pins in; make it first")
        try:
            self._connection = sqlite3.connect(
                self.path, timeout=_PATIENCE, isolation_level=None, check_same_thread=False
            )
            try:
                self._prepare()
            except BaseException:
                self._connection.close()
                raise
        except sqlite3.Error as error:
            raise RecordError(f"{self.path} cannot be used for pins: {error}") from None

    def _prepare(self) -> None:
        run = self._connection.execute
        if run("PRAGMA application_id").fetchone()[0] == 0:
            # Looked at again under the lock: another process may be making the file this moment.
            run("BEGIN IMMEDIATE")
            empty = run("SELECT 1 FROM sqlite_master LIMIT 1").fetchone() is None
            if run("PRAGMA application_id").fetchone()[0] == 0 and empty:
                for statement in _SCHEMA.split(";"):
                    run(statement)
            run("COMMIT")
        if run("PRAGMA application_id").fetchone()[0] != _APPLICATION:
            raise RecordError(f"{self.path} is an SQLite database of something else, not one of pins")
        version = run("PRAGMA user_version").fetchone()[0]
        if version > FORMAT:
            raise RecordError(
                f"{self.path} was written by a later version (format {version}, this one reads {FORMAT}). "
                "Upgrade equipoise"
            )
        self._write_ahead()
        run("PRAGMA synchronous = FULL")

    def _write_ahead(self) -> None:
        # Turning a new file to WAL needs it for a moment alone, and SQLite does not wait for that by itself.
        deadline = time.monotonic() + _PATIENCE
        while True:
            try:
                self._connection.execute("PRAGMA journal_mode = WAL")
            except sqlite3.OperationalError as error:
                if error.sqlite_errorcode != sqlite3.SQLITE_BUSY or time.monotonic() > deadline:
                    raise
                time.sleep(_POLL)
            else:
                return

    def pin(self, experiment_salt: str, unit: str, epoch: int) -> int:
        kept = self.find(experiment_salt, unit)
        if kept is not None:
            return kept
        key = unit_key(unit)
        with self._lock:
            try:
                # Of two processes that come here together, one inserts and both read what it kept.
                self._connection.execute(
                    "INSERT INTO pins VALUES (?, ?, ?) ON CONFLICT DO NOTHING", (experiment_salt, key, epoch)
                )
                kept = self._find(experiment_salt, key)
            except sqlite3.Error as error:
                raise RecordError(f"the pins {self.path} could not be written: {error}") from None
        # Pins are never taken out.
        assert kept is not None
        return kept

    def find(self, experiment_salt: str, unit: str) -> int | None:
        key = unit_key(unit)
        with self._lock:
            try:
                return self._find(experiment_salt, key)
            except sqlite3.Error as error:
                raise RecordError(f"the pins {self.path} could not be read: {error}") from None

    def _find(self, salt: str, key: bytes) -> int | None:
        row = self._connection.execute(
            "SELECT epoch FROM pins WHERE salt = ? AND unit = ?", (salt, key)
        ).fetchone()
        return None if row is None else int(row[0])

    def close(self) -> None:
        """Let go of the file; a second time does nothing."""
        with self._lock:
            self._connection.close()
