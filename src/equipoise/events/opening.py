"""Opening a log by its name: a path, or `memory:`."""

from __future__ import annotations

from pathlib import Path

from equipoise.events.log import EventLog, MemoryLog

__all__ = ["open_log"]


def open_log(where: str | Path, *, create: bool = True) -> EventLog:
    """The log at a path (SQLite; created where absent unless told not to), or `memory:` for a passing one.

    Raises RecordError where the file is something else, cannot be opened, or is absent and not to be
    created.

    >>> open_log("memory:").head()
    0
    """
    if where == "memory:":
        return MemoryLog()
    from equipoise.events.sqlite import SQLiteLog

    return SQLiteLog(where, create=create)
