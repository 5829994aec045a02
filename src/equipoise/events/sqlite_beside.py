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
    supply take the last change back, the batch is gone through again. Raises RecordError where the path holds
    something else or cannot be written.
    """

    now = "((julianday('now') - 2440587.5) * 86400.0)"

    def __init__(self, path: str | Path, tables: Tables) -> None:
        self.path, self._tables = path, tables
        self._lock = threading.Lock()
        try:
            self._connection = opened(path, self._prepare)
        except sqlite3.Error as error:
            raise RecordError(f"{path} cannot be used for {tables.purpose}: {error}") from None

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
                    f"{self._tables.purpose} in {self.path} could not be used: {error}"
                ) from None

    def close(self) -> None:
        """Let go of the file; a second time does nothing."""
        with self._lock:
            self._connection.close()
