"""The texts of a log in PostgreSQL: tables in the same database."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from equipoise.errors import RecordError
from equipoise.events.postgres_connections import Connections
from equipoise.events.texts import FORMAT, NoTextsError, Text, packed, unit_digest, unpacked

if TYPE_CHECKING:
    from equipoise.events.postgres_connections import Talking

__all__ = ["PostgresTexts"]

_CREATING = 0x45515054  # "EQPT": the advisory lock under which tables are made
_SCHEMA = f"""
CREATE TABLE equipoise_texts (
    event_id text COLLATE "C" PRIMARY KEY, kind text NOT NULL, experiment text COLLATE "C" NOT NULL,
    digest text COLLATE "C" NOT NULL, variant text, trace text COLLATE "C" NOT NULL, unit text COLLATE "C",
    happened float8 NOT NULL, expires float8 NOT NULL, body bytea NOT NULL
);
ALTER TABLE equipoise_texts ALTER COLUMN body SET STORAGE EXTERNAL;
CREATE INDEX equipoise_texts_by_trace ON equipoise_texts (trace);
CREATE INDEX equipoise_texts_by_unit ON equipoise_texts (unit);
CREATE INDEX equipoise_texts_by_expiry ON equipoise_texts (expires);
CREATE INDEX equipoise_texts_by_revision ON equipoise_texts (experiment, digest);
CREATE TABLE equipoise_texts_format (format integer NOT NULL);
INSERT INTO equipoise_texts_format VALUES ({FORMAT});
"""
_KEEP = (
    "INSERT INTO equipoise_texts (event_id, kind, experiment, digest, variant, trace, unit, happened, expires, body) "
    "VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10) ON CONFLICT DO NOTHING"
)


class PostgresTexts:
    """`url` is as for a log: `postgresql://user:password@host:5432/database`.

    What is removed is invisible at once. Its bytes stay in the server's files until its own vacuum has been over them,
    and in its write-ahead log, its replicas and its backups for as long as those are kept. Raises RecordError where no
    server answers, or where nothing is there and nothing is to be created; MissingExtraError without `postgres`.
    """

    def __init__(self, url: str, *, create: bool = True) -> None:
        self._connections = Connections(url, "texts in PostgreSQL")
        self.name = self._connections.name
        try:
            self._prepare(create=create)
        except BaseException:
            self.close()
            raise

    def _prepare(self, *, create: bool) -> None:
        async def prepare(connection: Talking) -> int | None:
            async with connection.transaction():
                await connection.execute(f"SELECT pg_advisory_xact_lock({_CREATING})")
                if await connection.fetchval("SELECT to_regclass('equipoise_texts_format') IS NULL"):
                    if not create:
                        return None
                    await connection.execute(_SCHEMA)
            return int(await connection.fetchval("SELECT format FROM equipoise_texts_format"))

        version = self._connections.run(prepare, f"{self.name} cannot be used for texts", again=True)
        if version is None:
            raise NoTextsError(f"there are no texts at {self.name}: none were kept beside this log")
        if version > FORMAT:
            raise RecordError(
                f"the texts at {self.name} were written by a later version (format {version}, this one reads "
                f"{FORMAT}). Upgrade equipoise"
            )

    def keep(self, texts: Sequence[Text]) -> None:
        rows = [
            (
                each.event_id, each.kind, each.experiment, each.digest, each.variant, each.trace, each.unit,
                each.happened, each.expires, packed(each),
            )
            for each in texts
        ]  # fmt: skip

        async def insert(connection: Talking) -> None:
            async with connection.transaction():
                await connection.executemany(_KEEP, rows)

        # May be done twice: a text that is there is passed over.
        self._connections.run(insert, f"the texts at {self.name} could not be written", again=True)

    def of_traces(self, traces: Sequence[str], *, now: float) -> tuple[Text, ...]:
        return self._found("trace", traces, now)

    def named(self, event_ids: Sequence[str], *, now: float) -> tuple[Text, ...]:
        return self._found("event_id", event_ids, now)

    def _found(self, column: str, values: Sequence[str], now: float) -> tuple[Text, ...]:
        rows = self._read(
            f"SELECT event_id, body FROM equipoise_texts WHERE expires > $1 AND {column} = ANY($2::text[]) "
            "ORDER BY happened, event_id",
            now,
            list(values),
        )
        return tuple(unpacked(row["body"], row["event_id"]) for row in rows)

    def turns(self, experiment: str, digest: str, *, now: float) -> tuple[tuple[str, str | None], ...]:
        rows = self._read(
            "SELECT event_id, variant FROM equipoise_texts WHERE experiment = $1 AND digest = $2 AND kind = 'turn' "
            "AND expires > $3 ORDER BY event_id",
            experiment,
            digest,
            now,
        )
        return tuple((row["event_id"], row["variant"]) for row in rows)

    def _read(self, query: str, *values: Any) -> list[Any]:
        async def read(connection: Talking) -> list[Any]:
            return list(await connection.fetch(query, *values))

        return self._connections.run(read, f"the texts at {self.name} could not be read", again=True)

    def expire(self, now: float) -> int:
        return self._remove("expires <= $1", now)

    def purge(self, unit: str) -> int:
        return self._remove("unit = $1", unit_digest(unit))

    def _remove(self, which: str, value: float | str) -> int:
        async def remove(connection: Talking) -> int:
            # "DELETE 3"
            return int(
                (await connection.execute(f"DELETE FROM equipoise_texts WHERE {which}", value)).split()[-1]
            )

        return self._connections.run(remove, f"the texts at {self.name} could not be removed", again=True)

    def close(self) -> None:
        """Let go of the connections; a second time does nothing."""
        self._connections.close()
