"""Opening a log, and what is kept beside it: a path, the address of a PostgreSQL database, or `memory:`."""

from __future__ import annotations

from pathlib import Path
from typing import TypeGuard

from equipoise.events.beside import Database, Tables
from equipoise.events.cursors import CURSORS, Cursors
from equipoise.events.log import EventLog, MemoryLog
from equipoise.events.texts import TextStore
from equipoise.events.windows import WINDOWS, Windows

__all__ = ["BESIDE", "in_database", "open_cursors", "open_log", "open_texts", "open_windows"]

BESIDE = ("outbox", "windows", "texts")
"""What the names of the files beside a log in a file end in: cursors, windows of guardrails, prompts and answers."""


def open_log(where: str | Path, *, create: bool = True) -> EventLog:
    """The log at a path (SQLite), at `postgresql://…` (for several machines), or `memory:` for a passing one.

    It is created where absent, unless told not to. Raises RecordError where the place holds something else,
    cannot be opened, or holds nothing and nothing is to be created; MissingExtraError for an address of
    PostgreSQL without the `postgres` extra.

    >>> open_log("memory:").head()
    0
    """
    if where == "memory:":
        return MemoryLog()
    if in_database(where):
        from equipoise.events.postgres import PostgresLog

        return PostgresLog(where, create=create)
    from equipoise.events.sqlite import SQLiteLog

    return SQLiteLog(where, create=create)


def open_cursors(where: str | Path, *, create: bool = True) -> Cursors:
    """The cursors of the log at `where`: in a file beside a log in a file (its name and `.outbox`), in the database
    of one in PostgreSQL. They are made where there are none; with `create=False` a log in a file without any has none,
    and nothing is written.

    Raises RecordError where the place holds something else or cannot be written; MissingExtraError as `open_log`.

    >>> open_cursors("memory:").all()
    ()
    """
    if not create and not in_database(where) and not Path(_called(where, "outbox")).exists():
        # To ask what was delivered makes nothing: nothing was.
        where = "memory:"
    return Cursors(_beside(where, CURSORS, "outbox"))


def open_windows(where: str | Path, *, create: bool = True) -> Windows:
    """The windows of guardrails of the log at `where`: in a file beside a log in a file (its name and `.windows`), in the
    database of one in PostgreSQL. They are made where there are none; with `create=False` a log in a file without any has
    none, and nothing is written. A file that is taken away while it is open is made anew: it follows from the log.

    Raises RecordError where the place holds something else or cannot be written; MissingExtraError as `open_log`.

    >>> open_windows("memory:").read("0f3a").position
    0
    """
    if not create and not in_database(where) and not Path(_called(where, "windows")).exists():
        where = "memory:"
    return Windows(_beside(where, WINDOWS, "windows", anew=True))


def _beside(where: str | Path, tables: Tables, ending: str, *, anew: bool = False) -> Database:
    if in_database(where):
        from equipoise.events.postgres_beside import PostgresBeside

        return PostgresBeside(where, tables)
    from equipoise.events.sqlite_beside import SQLiteBeside

    return SQLiteBeside(":memory:" if where == "memory:" else _called(where, ending), tables, anew=anew)


def in_database(where: str | Path) -> TypeGuard[str]:
    """Whether this is the address of a PostgreSQL database."""
    return isinstance(where, str) and where.startswith(("postgresql://", "postgres://"))


def _called(where: str | Path, ending: str) -> str:
    # By whatever name a log is opened, what stands beside it is one file, beside the log itself.
    path = Path(where)
    return f"{path.resolve() if path.is_symlink() else path}.{ending}"


def open_texts(where: str | Path, *, create: bool = True) -> TextStore:
    """The texts of the log at `where`: in a file beside a log in a file (its name and `.texts`), in the database of one in
    PostgreSQL.

    They are made where there are none, unless told not to. Raises RecordError where the place holds something else or
    cannot be written, NoTextsError where there are none and none are to be made; MissingExtraError as `open_log`.

    >>> open_texts("memory:").of_traces(["4bf92f3577b34da6a3ce929d0e0e4736"], now=0.0)
    ()
    """
    if in_database(where):
        from equipoise.events.postgres_texts import PostgresTexts

        return PostgresTexts(where, create=create)
    from equipoise.events.sqlite_texts import SQLiteTexts

    return SQLiteTexts(":memory:" if where == "memory:" else _called(where, "texts"), create=create)
