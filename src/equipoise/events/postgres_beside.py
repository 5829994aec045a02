"""Tables beside a log in PostgreSQL: in the same database, so that any machine goes on where one ended."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

from equipoise.errors import RecordError
from equipoise.events.beside import Steps, Tables
from equipoise.events.postgres_connections import Connections

if TYPE_CHECKING:
    from equipoise.events.postgres_connections import Talking

__all__ = ["PostgresBeside"]

_CREATING = 0x4551504F  # "EQPO": the advisory lock under which tables are made

T = TypeVar("T")


class PostgresBeside:
    """`url` is as for a log: `postgresql://user:password@host:5432/database`. Times are the server's.

    Raises RecordError where no server answers or lets nobody in; MissingExtraError without the `postgres` extra.
    """

    now = "extract(epoch FROM clock_timestamp())::float8"

    def __init__(self, url: str, tables: Tables) -> None:
        self._tables = tables
        self._connections = Connections(url, f"keeping {tables.purpose} in PostgreSQL")
        self.name = self._connections.name
        try:
            self._prepare()
        except BaseException:
            self.close()
            raise

    def _prepare(self) -> None:
        async def prepare(connection: Talking) -> int:
            async with connection.transaction():
                await connection.execute(f"SELECT pg_advisory_xact_lock({_CREATING})")
                if await connection.fetchval("SELECT to_regclass($1) IS NULL", self._tables.version):
                    await connection.execute(self._tables.schema)
            return int(await connection.fetchval(f"SELECT format FROM {self._tables.version}"))

        version = self._connections.run(
            prepare, f"{self.name} cannot be used for {self._tables.purpose}", again=True
        )
        if version > self._tables.format:
            raise RecordError(
                f"{self._tables.purpose} at {self.name} were written by a later version (format {version}, this "
                f"one reads {self._tables.format}). Upgrade equipoise"
            )

    def carry_out(self, steps: Callable[[], Steps[T]]) -> T:
        async def run(connection: Talking) -> T:
            work = steps()
            async with connection.transaction():
                try:
                    query, values = next(work)
                    while True:
                        # Both number their places; they differ in the sign.
                        rows = await connection.fetch(query.replace("?", "$"), *values)
                        query, values = work.send([tuple(row) for row in rows])
                except StopIteration as end:
                    answer: T = end.value
                    return answer

        # May be done twice where the connection was lost before the answer: a cursor moves forward only, windows
        # from the revision that was read, and who finds them moved already reads where they stand.
        return self._connections.run(
            run, f"{self._tables.purpose} at {self.name} could not be used", again=True
        )

    def close(self) -> None:
        """Let go of the connections; a second time does nothing."""
        self._connections.close()
