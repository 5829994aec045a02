"""The pins of several machines: one table in PostgreSQL, every pin durable before it is answered."""

from __future__ import annotations

from typing import TYPE_CHECKING

from equipoise.assignment.pins import unit_key
from equipoise.errors import RecordError
from equipoise.events.postgres_connections import Connections

if TYPE_CHECKING:
    from equipoise.events.postgres_connections import Talking

__all__ = ["FORMAT", "PostgresPins"]

FORMAT = 1
_SCHEMA = f"""
CREATE TABLE equipoise_pins (
    salt text COLLATE "C" NOT NULL, unit bytea NOT NULL, epoch bigint NOT NULL, PRIMARY KEY (salt, unit)
);
CREATE TABLE equipoise_pins_format (format integer NOT NULL);
INSERT INTO equipoise_pins_format VALUES ({FORMAT});
"""
_COLUMNS = {"epoch", "format", "salt", "unit"}
_CREATING = 0x45515049  # "EQPI": the advisory lock under which tables are made
_FIND = "SELECT epoch FROM equipoise_pins WHERE salt = $1 AND unit = $2"
_KEEP = "INSERT INTO equipoise_pins (salt, unit, epoch) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING"


class PostgresPins:
    """Pins in two tables of a PostgreSQL database, for gateways on several machines.

    `url` is as for a log: `postgresql://user:password@host:5432/database`, with `?search_path=name` for a
    schema. Safe to share between threads; each process opens its own. After the server was away the next
    call connects anew. Raises RecordError where no server answers, where it lets nobody in, and where the
    tables are something else's; MissingExtraError without the `postgres` extra.
    """

    def __init__(self, url: str) -> None:
        self._connections = Connections(url, "a store of pins in PostgreSQL")
        self.name = self._connections.name
        try:
            self._prepare()
        except BaseException:
            self.close()
            raise

    def _prepare(self) -> None:
        async def columns(connection: Talking) -> set[str]:
            rows = await connection.fetch(
                "SELECT attname FROM pg_attribute WHERE attrelid IN (to_regclass('equipoise_pins'), "
                "to_regclass('equipoise_pins_format')) AND attnum > 0 AND NOT attisdropped"
            )
            return {row["attname"] for row in rows}

        async def prepare(connection: Talking) -> int | None:
            found = await columns(connection)
            if not found:
                async with connection.transaction():
                    # Looked at again under the lock: another process may be making the tables this moment.
                    await connection.execute(f"SELECT pg_advisory_xact_lock({_CREATING})")
                    found = await columns(connection)
                    if not found:
                        await connection.execute(_SCHEMA)
                        return FORMAT
            if not found >= _COLUMNS:
                return None
            return int(await connection.fetchval("SELECT format FROM equipoise_pins_format"))

        version = self._connections.run(prepare, f"{self.name} cannot be used for pins", again=True)
        if version is None:
            raise RecordError(
                f"the table equipoise_pins at {self.name} is one of something else, not one of pins"
            )
        if version > FORMAT:
            raise RecordError(
                f"the pins at {self.name} were written by a later version (format {version}, this one reads "
                f"{FORMAT}). Upgrade equipoise"
            )

    def pin(self, experiment_salt: str, unit: str, epoch: int) -> int:
        key = unit_key(unit)

        async def keep(connection: Talking) -> int:
            # Looked for first: a unit that is known writes nothing.
            kept = await connection.fetchval(_FIND, experiment_salt, key)
            if kept is None:
                # Of two machines that come here together, one inserts; the other waits for it and then reads,
                # in a statement of its own, what was kept.
                await connection.execute(_KEEP, experiment_salt, key, epoch)
                kept = await connection.fetchval(_FIND, experiment_salt, key)
            return int(kept)

        return self._connections.run(keep, f"the pins at {self.name} could not be written", again=True)

    def find(self, experiment_salt: str, unit: str) -> int | None:
        key = unit_key(unit)

        async def look(connection: Talking) -> int | None:
            kept = await connection.fetchval(_FIND, experiment_salt, key)
            return None if kept is None else int(kept)

        return self._connections.run(look, f"the pins at {self.name} could not be read", again=True)

    def close(self) -> None:
        """Let go of the connections; a second time does nothing."""
        self._connections.close()
