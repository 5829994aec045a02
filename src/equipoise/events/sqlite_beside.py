"""Tables beside a log on one machine: an SQLite file of their own."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from equipoise.errors import RecordError
from equipoise.events.beside import Steps, Tables
from equipoise.events.sqlite_opening import opened, refuse_later, run_each

__all__ = ["SQLiteBeside"]


T = TypeVar("T")


class SQLiteBeside:
    """A file of its own: SQLite has one writer a file, and no gateway should wait for an outbox or a monitor.

    With a rollback journal, which needs no second file: something changes once a batch, and should a failing power
    supply take the last change back, the batch is gone through again. With `anew` a file that is taken away or replaced
    while it is open is let go, and what is in its place is opened; without, it is kept to. Raises RecordError where the
    path holds something else or cannot be written.
    """

    now = "((julianday('now') - 2440587.5) * 86400.0)"

    def __init__(self, path: str | Path, tables: Tables, *, anew: bool = False) -> None:
        self.path, self._tables, self._anew = path, tables, anew
        self._next = ". Take the file away, and it is made anew from the log" if anew else ""
        # Where it is stays where it is when the process changes its folder.
        self._place = Path(path).absolute()
        self._lock = threading.Lock()
        self._open()

    def _open(self) -> None:
        try:
            self._connection = opened(self.path if self.path == ":memory:" else self._place, self._prepare)
        except sqlite3.Error as error:
            raise RecordError(
                f"{self.path} cannot be used for {self._tables.purpose}: {error}{self._next}"
            ) from None
        self._file = self._identity()

    def _identity(self) -> tuple[int, int] | None:
        try:
            found = self._place.stat()
        except OSError:
            return None
        return found.st_dev, found.st_ino

    def _prepare(self, connection: sqlite3.Connection) -> None:
        run = connection.execute
        run("PRAGMA synchronous = FULL")
        # Under the lock: another process may be making the file this moment.
        run("BEGIN IMMEDIATE")
        if (
            run("PRAGMA application_id").fetchone()[0] == 0
            and not run("SELECT 1 FROM sqlite_master").fetchone()
        ):
            run_each(connection, self._tables.schema)
            run(f"PRAGMA application_id = {self._tables.application}")
        run("COMMIT")
        if run("PRAGMA application_id").fetchone()[0] != self._tables.application:
            raise RecordError(
                f"{self.path} is an SQLite database of something else, not {self._tables.purpose}"
            )
        version = run(f"SELECT format FROM {self._tables.version}").fetchone()[0]
        refuse_later(self.path, version, self._tables.format)

    def carry_out(self, steps: Callable[[], Steps[T]]) -> T:
        with self._lock:
            if self._anew and self._identity() != self._file:
                # An open file outlives its name, and whoever starts next would not find what is written to it.
                self._connection.close()
                self._open()
            run = self._connection.execute
            work = steps()
            try:
                run("BEGIN IMMEDIATE")
                try:
                    statement = next(work)
                    while True:
                        statement = work.send(run(*statement).fetchall())
                except StopIteration as end:
                    run("COMMIT")
                    answer: T = end.value
                    return answer
                finally:
                    if self._connection.in_transaction:
                        run("ROLLBACK")
            except sqlite3.Error as error:
                raise RecordError(
                    f"{self._tables.purpose} in {self.path} could not be used: {error}{self._next}"
                ) from None

    def close(self) -> None:
        """Let go of the file; a second time does nothing."""
        with self._lock:
            self._connection.close()
