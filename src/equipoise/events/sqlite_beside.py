"""Tables beside a log on one machine: an SQLite file of their own."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from equipoise.errors import RecordError
from equipoise.events.beside import Steps, Tables

__all__ = ["SQLiteBeside"]

_PATIENCE = 10.0

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
            self._connection = sqlite3.connect(
                path, timeout=_PATIENCE, isolation_level=None, check_same_thread=False
            )
            try:
                self._prepare()
            except BaseException:
                self._connection.close()
                raise
        except sqlite3.Error as error:
            raise RecordError(f"{path} cannot be used for {tables.purpose}: {error}") from None

    def _prepare(self) -> None:
        run = self._connection.execute
        run("PRAGMA synchronous = FULL")
        # Under the lock: another process may be making the file this moment.
        run("BEGIN IMMEDIATE")
        if (
            run("PRAGMA application_id").fetchone()[0] == 0
            and not run("SELECT 1 FROM sqlite_master").fetchone()
        ):
            for statement in self._tables.schema.split(";"):
                run(statement)
            run(f"PRAGMA application_id = {self._tables.application}")
        run("COMMIT")
        if run("PRAGMA application_id").fetchone()[0] != self._tables.application:
            raise RecordError(
                f"{self.path} is an SQLite database of something else, not {self._tables.purpose}"
            )
        version = run(f"SELECT format FROM {self._tables.version}").fetchone()[0]
        if version > self._tables.format:
            raise RecordError(
                f"{self.path} was written by a later version (format {version}, this one reads {self._tables.format}). "
                "Upgrade equipoise"
            )

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
