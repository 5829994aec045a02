"""What is kept beside a log and never in it: tables that SQLite and PostgreSQL make and change with the same words."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias, TypeVar

__all__ = ["Database", "Statement", "Steps", "Tables"]

T = TypeVar("T")
Statement: TypeAlias = tuple[str, tuple[Any, ...]]
"""A statement with numbered places (`?1`), and what stands there."""
Steps: TypeAlias = Generator[Statement, Sequence[Sequence[Any]], T]
"""A transaction as one statement after another, each answered by its rows."""


@dataclass(frozen=True, slots=True)
class Tables:
    """Tables that belong together: who they are for, how they are made, and in which table their format stands.

    `schema` ends by making the table `version`, of one row with the number `format`. `application` marks a file of
    SQLite, so that a log or another program's database is not mistaken for one.
    """

    purpose: str
    schema: str
    version: str
    format: int
    application: int


class Database(Protocol):
    """Where such tables are kept: SQLite's and PostgreSQL's common ground."""

    now: str
    """The expression of the time, in seconds since 1970 UTC: of one clock for all who share the database."""

    def carry_out(self, steps: Callable[[], Steps[T]]) -> T:
        """Run a transaction, durable when this returns; RecordError where it cannot be."""
        ...

    def close(self) -> None: ...
