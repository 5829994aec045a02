"""The pins of one machine: one SQLite file in WAL mode, every pin on disk before it is answered."""

from __future__ import annotations

import sqlite3
import threading
from contextlib import suppress
from pathlib import Path

from equipoise.assignment.pins import unit_key
from equipoise.errors import RecordError
from equipoise.events.sqlite_opening import make_if_empty, opened, recognised, refuse_read_only, write_ahead

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
        self._connection = self._opened()

    def _opened(self) -> sqlite3.Connection:
        try:
            return opened(self.path, self._prepare, patience=_PATIENCE)
        except sqlite3.Error as error:
            raise RecordError(f"{self.path} cannot be used for pins: {error}") from None

    def _prepare(self, connection: sqlite3.Connection) -> None:
        make_if_empty(connection, _SCHEMA)
        recognised(connection, self.path, what="one of pins", application=_APPLICATION, reads=FORMAT)
        write_ahead(connection, patience=_PATIENCE)
        connection.execute("PRAGMA synchronous = FULL")
        refuse_read_only(connection, "pins")

    def _open_again(self) -> None:
        # A file that was opened for reading stays so, whatever becomes of the disk. What cannot be opened anew is read
        # on as it is.
        with suppress(RecordError):
            fresh = self._opened()
            self._connection.close()
            self._connection = fresh

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
                if error.sqlite_errorcode == sqlite3.SQLITE_READONLY:
                    self._open_again()
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
