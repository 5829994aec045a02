"""Opening a store of pins by its name: a path, the address of a PostgreSQL database, or `memory:`."""

from __future__ import annotations

from pathlib import Path

from equipoise.assignment.pins import MemoryPins, PinStore

__all__ = ["open_pins"]


def open_pins(where: str | Path) -> PinStore:
    """The pins at a path (SQLite, for one machine), at `postgresql://…` (for several), or `memory:`.

    Raises RecordError where the place holds something else or cannot be opened; MissingExtraError for an
    address of PostgreSQL without the `postgres` extra.

    >>> open_pins("memory:").pin("demo/1", "conversation-1", 1)
    1
    """
    if where == "memory:":
        return MemoryPins()
    if isinstance(where, str) and where.startswith(("postgresql://", "postgres://")):
        from equipoise.assignment.postgres_pins import PostgresPins

        return PostgresPins(where)
    from equipoise.assignment.sqlite_pins import SQLitePins

    return SQLitePins(where)
