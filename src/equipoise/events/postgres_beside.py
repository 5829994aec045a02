"""The cursors of a log in PostgreSQL: tables in the same database, so that any machine goes on where one ended."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

from equipoise.errors import RecordError
from equipoise.events.cursors import FORMAT, SCHEMA, Steps
from equipoise.events.postgres_connections import Connections

if TYPE_CHECKING:
    from equipoise.events.postgres_connections import Talking

__all__ = ["PostgresCursors"]

_CREATING = 0x4551504F  # "EQPO": the advisory lock under which tables are made

T = TypeVar("T")


class PostgresCursors:
    """`url` is as for a log: `postgresql://user:password@host:5432/database`. Times are the server's.

    Raises RecordError where no server answers or lets nobody in; MissingExtraError without the `postgres` extra.
    """

    now = "extract(epoch FROM clock_timestamp())::float8"

    def __init__(self, url: str) -> None:
        self._connections = Connections(url, "an outbox in PostgreSQL")
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
                if await connection.fetchval("SELECT to_regclass('equipoise_cursors_format') IS NULL"):
                    await connection.execute(SCHEMA)
            return int(await connection.fetchval("SELECT format FROM equipoise_cursors_format"))

        version = self._connections.run(
            prepare, f"{self.name} cannot be used for the cursors of an outbox", again=True
        )
        if version > FORMAT:
            raise RecordError(
                f"the cursors of the outbox at {self.name} were written by a later version (format {version}, this "
                f"one reads {FORMAT}). Upgrade equipoise"
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

        # May be done twice where the connection was lost before the answer: a cursor moves forward only, and who
        # finds it moved already takes it anew and reads where it stands.
        return self._connections.run(
            run, f"the cursors of the outbox at {self.name} could not be used", again=True
        )

    def close(self) -> None:
        """Let go of the connections; a second time does nothing."""
        self._connections.close()
