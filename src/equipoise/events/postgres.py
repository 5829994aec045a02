"""The log of several machines: one table in PostgreSQL, every commit durable before it is acknowledged."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from equipoise.clock import Clock
from equipoise.errors import RecordError, UsageError
from equipoise.events.bodies import Body
from equipoise.events.conflicts import Kept, conflicts
from equipoise.events.facts import Encoded, Fact, decode, encoded
from equipoise.events.log import Receipt, Recorded, StaleHeadError
from equipoise.events.postgres_connections import Connections
from equipoise.events.postgres_purging import PURGED_FORMAT, not_purged, purge
from equipoise.events.purged import Purged

if TYPE_CHECKING:
    from asyncpg import Connection, Record

    from equipoise.events.postgres_connections import Talking

__all__ = ["FORMAT", "PostgresLog"]

FORMAT = PURGED_FORMAT
"""The newest format that is read. A log that nothing was purged from is of the first, which every version reads."""
_FIRST_FORMAT = 1
_SCHEMA = """
CREATE TABLE {events} (
    event_id   text COLLATE "C" PRIMARY KEY,
    position   bigint NOT NULL UNIQUE,
    kind       text COLLATE "C" NOT NULL,
    experiment text COLLATE "C" NOT NULL,
    happened   double precision NOT NULL,
    received   double precision NOT NULL,
    body       bytea NOT NULL
);
CREATE INDEX ON {events} (experiment, kind, position);
CREATE TABLE {head} (format integer NOT NULL, head bigint NOT NULL) WITH (fillfactor = 10);
INSERT INTO {head} VALUES ({format}, 0);
"""
_COLUMNS = {
    "events": {"event_id", "position", "kind", "experiment", "happened", "received", "body"},
    "head": {"format", "head"},
}
# Of an id that is there already, or twice in the delivery, the first is kept. Without a clock of the caller
# the server's counts: one for all machines.
_INSERT = """
WITH given AS (
    SELECT DISTINCT ON (event_id) * FROM unnest($1::text[], $2::text[], $3::text[], $4::float8[], $5::bytea[])
    WITH ORDINALITY AS row (event_id, kind, experiment, happened, body, place) ORDER BY event_id, place
), fresh AS (
    SELECT *, row_number() OVER (ORDER BY place) AS step FROM given
    WHERE NOT EXISTS (SELECT FROM {events} AS kept WHERE kept.event_id = given.event_id) {unless}
), kept AS (
    INSERT INTO {events} (event_id, position, kind, experiment, happened, received, body)
    SELECT event_id, $6::bigint + step, kind, experiment, happened,
           coalesce($7::float8, extract(epoch FROM statement_timestamp())::float8), body FROM fresh
    RETURNING 1
)
UPDATE {head} SET head = head + (SELECT count(*) FROM kept) RETURNING head, pg_notify($8, '')
"""
_CREATING = 0x45515031  # "EQP1": the advisory lock under which tables are made
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,57}(\.[A-Za-z_][A-Za-z0-9_]{0,57})?")
_PAGE = 2_000
_LONG_PAGE = 20_000
_SLICE = 5_000
_POLL = 0.25


class PostgresLog:
    """An append-only log in one table of a PostgreSQL database, for gateways on several machines.

    `url` is `postgresql://user:password@host:5432/database`; `?search_path=name` chooses a schema for one
    log of several, as a schema before the name of the `table` does. A password may stand in PGPASSWORD or in
    ~/.pgpass instead. Times of arrival are seconds since 1970 UTC by the server's clock, unless a clock is
    passed.

    Safe to share between threads; each process opens its own. After the server was away the next call
    connects anew. Where a connection is lost before the answer is there, `append` is repeated once, and what
    the first attempt kept counts as repeated in its receipt; `append_if` is not, and may have been carried out.
    A server that fails over to a copy loses nothing acknowledged only if it replicates synchronously.

    Raises RecordError where no server answers, where it lets nobody in, and where the table is not a log;
    MissingExtraError without the `postgres` extra.
    """

    def __init__(
        self,
        url: str,
        *,
        table: str = "equipoise_events",
        clock: Clock | None = None,
        create: bool = True,
    ) -> None:
        if not _NAME.fullmatch(table):
            raise UsageError(
                f"{table!r} cannot name the table of a log; accepted: letters, digits and underscores, at most 58, "
                "with a schema and a point before them or without"
            )
        self._clock = clock
        self._tables = {
            "events": _quoted(table),
            "head": _quoted(f"{table}_head"),
            "gone": _quoted(f"{table}_gone"),
        }
        # Without the schema: it need not be told apart, since idle news costs a look at the head, and a channel's
        # name may be no longer than a table's.
        self._channel = table.rpartition(".")[2]
        self._news = asyncio.Event()
        self._opening = asyncio.Lock()
        self._listener: Connection[Record] | None = None
        self._connections = Connections(url, "a log in PostgreSQL")
        self.name = self._connections.name
        try:
            self._prepare(table, create)
        except BaseException:
            self.close()
            raise

    def _prepare(self, table: str, create: bool) -> None:
        unfit = f"{self.name} cannot be used as a log"

        async def columns(connection: Talking) -> dict[str, set[str]]:
            # Of both tables at one moment: another process may be making them.
            rows = await connection.fetch(
                "SELECT attrelid IS NOT DISTINCT FROM to_regclass($1) AS events, attname FROM pg_attribute "
                "WHERE attrelid IN (to_regclass($1), to_regclass($2)) AND attnum > 0 AND NOT attisdropped",
                self._tables["events"],
                self._tables["head"],
            )
            return {
                role: {row["attname"] for row in rows if row["events"] == (role == "events")}
                for role in _COLUMNS
            }

        async def make(connection: Talking) -> None:
            async with connection.transaction():
                # Looked at again under the lock: another process may be creating the log this moment.
                await connection.execute(f"SELECT pg_advisory_xact_lock({_CREATING})")
                if not any((await columns(connection)).values()):
                    await connection.execute(_SCHEMA.format(**self._tables, format=_FIRST_FORMAT))

        found = self._connections.run(columns, unfit, again=True)
        if not any(found.values()):
            if not create:
                raise RecordError(
                    f"there is no log at {self.name}. Register an experiment first, or name the log with --log"
                )
            self._connections.run(make, unfit, again=True)
            found = self._connections.run(columns, unfit, again=True)
        if not all(_COLUMNS[role] <= found[role] for role in _COLUMNS):
            raise RecordError(f"the table {table} at {self.name} is one of something else, not an event log")

        async def ask(connection: Talking) -> int:
            return int(await connection.fetchval(f"SELECT format FROM {self._tables['head']}"))

        version = self._connections.run(ask, unfit, again=True)
        if version > FORMAT:
            raise RecordError(
                f"{self.name} was written by a later version (format {version}, this one reads {FORMAT}). "
                "Upgrade equipoise"
            )

    def append(self, facts: Iterable[Fact | Encoded]) -> Receipt:
        return self._append(facts, None)

    def append_if(
        self,
        facts: Iterable[Fact],
        head: int,
        *,
        experiment: str | None = None,
        kinds: Sequence[str] | None = None,
    ) -> Receipt:
        return self._append(facts, (head, experiment, kinds))

    def _append(
        self, facts: Iterable[Fact | Encoded], unless: tuple[int, str | None, Sequence[str] | None] | None
    ) -> Receipt:
        # Encoded before anything is sent: a fact that cannot be kept leaves nothing behind.
        rows = [encoded(fact) for fact in facts]
        received = None if self._clock is None else self._clock.now()
        events, head = self._tables["events"], self._tables["head"]
        insert = _INSERT.format(events=events, head=head, unless="")
        fresh = _INSERT.format(events=events, head=head, unless=not_purged(self._tables["gone"]))

        async def keep(connection: Talking) -> Receipt:
            async with connection.transaction():
                # Writers stand in line at the one row of the head until they have committed. So positions
                # become visible in their order and without gaps: a sequence would hand out 7 and 8 to two
                # writers of whom 8 may commit first, and a reader that saw 8 would never look for 7 again.
                (locked,) = await connection.fetch(f"SELECT head, format FROM {head} FOR UPDATE")
                start = locked["head"]
                keeping = fresh if locked["format"] >= PURGED_FORMAT else insert
                if unless is not None:
                    condition, values = _matching(*unless)
                    newer = await connection.fetchval(
                        f"SELECT min(position) FROM {events} WHERE {condition}", *values
                    )
                    if newer is not None:
                        raise StaleHeadError(unless[0], newer)
                after = start
                for part in range(0, len(rows), _SLICE):
                    columns = list(zip(*rows[part : part + _SLICE], strict=True))
                    after = await connection.fetchval(keeping, *columns, after, received, self._channel)
                accepted, end = after - start, after
                if accepted < len(rows):
                    told = conflicts(await kept(connection), rows)
                    if told:
                        columns = list(zip(*told, strict=True))
                        end = await connection.fetchval(insert, *columns, after, received, self._channel)
            return Receipt(accepted, len(rows) - accepted, end, end - after)

        async def kept(connection: Talking) -> dict[str, Kept]:
            found = await connection.fetch(
                f"SELECT event_id, kind, experiment, body FROM {events} WHERE event_id = ANY($1)",
                [row.event_id for row in rows],
            )
            return {row[0]: Kept(row[1], row[2], row[3]) for row in found}

        return self._connections.run(keep, f"the log {self.name} could not be written", again=unless is None)

    def purge(self, unit: str, *, by: str, reason: str | None = None) -> Purged:
        """Take every fact whose unit is `unit` out of the log, and record how many they were, by whom and why.

        Positions stay as they are, with gaps. What was purged is not accepted again: a digest of each event's id stays,
        in a table of its own, and an earlier version is told to be upgraded. A fact of the unit that arrives after this
        is a new one; a fact of another unit that mentions it stays. Done in one transaction; where the connection is
        lost it may have been carried out, and can be repeated. `unclean` says what PostgreSQL keeps of the bytes.
        """
        return purge(
            self._connections,
            self._tables,
            unit,
            by=by,
            reason=reason,
            now=None if self._clock is None else self._clock.now(),
            channel=self._channel,
        )

    def read_since(
        self, position: int = 0, *, experiment: str | None = None, kinds: Sequence[str] | None = None
    ) -> Iterator[Recorded]:
        condition, (_, *values) = _matching(position, experiment, kinds)
        # Page by page, so that a long read holds neither a connection nor a snapshot of the table.
        query = (
            "SELECT position, received, kind, event_id, experiment, happened, body "
            f"FROM {self._tables['events']} WHERE {condition} ORDER BY position LIMIT {_PAGE}"
        )
        while True:
            start = position

            async def read(connection: Talking, start: int = start) -> list[Record]:
                return await connection.fetch(query, start, *values)

            page = self._connections.run(read, self._unread, again=True)
            for row in page:
                yield Recorded(
                    row[0],
                    row[1],
                    decode(row[2], event_id=row[3], experiment=row[4], happened=row[5], body=row[6]),
                )
            if len(page) < _PAGE:
                return
            position = page[-1][0]

    def bodies(self, experiment: str, kind: str, *, until: int) -> Iterator[list[Body]]:
        """Facts of one kind up to a position as they are kept, page by page."""
        query = (
            f"SELECT position, happened, received, body FROM {self._tables['events']} WHERE experiment = $1 AND kind = $2 "
            f"AND position > $3 AND position <= $4 ORDER BY position LIMIT {_LONG_PAGE}"
        )
        position = 0
        while True:
            start = position

            async def read(connection: Talking, start: int = start) -> list[Record]:
                return await connection.fetch(query, experiment, kind, start, until)

            page: list[Body] = [
                (row[0], row[1], row[2], row[3])
                for row in self._connections.run(read, self._unread, again=True)
            ]
            if page:
                yield page
            if len(page) < _LONG_PAGE:
                return
            position = page[-1][0]

    def wait(self, position: int, timeout: float) -> int:
        async def until() -> int:
            clock = asyncio.get_running_loop().time
            deadline = clock() + timeout
            while True:
                await self._listen()
                # Taken before the head is read, so that news in between is not missed.
                news = self._news
                head = await self._connections.lend(self._ask_head, again=True)
                left = deadline - clock()
                if head > position or left <= 0:
                    return head
                # The poll is for news that nobody told: a listener that was cut off, a pooler that drops it.
                with suppress(TimeoutError):
                    await asyncio.wait_for(news.wait(), min(_POLL, left))

        return self._connections.wait_for(until, self._unread)

    async def _listen(self) -> None:
        """See that news is heard of; without it the poll finds the same, later."""
        async with self._opening:
            if self._listener is not None and not self._listener.is_closed():
                return
            with suppress(*self._connections.failures):
                listener = await self._connections.connect()
                await listener.add_listener(self._channel, self._heard)
                self._listener = listener

    def _heard(self, *_: Any) -> None:
        # Whoever waits for the old event is woken; whoever comes waits for the next.
        self._news, heard = asyncio.Event(), self._news
        heard.set()

    def head(self) -> int:
        """The position of the last fact; 0 for an empty log."""
        return self._connections.run(self._ask_head, self._unread, again=True)

    async def _ask_head(self, connection: Talking) -> int:
        return int(await connection.fetchval(f"SELECT head FROM {self._tables['head']}"))

    @property
    def _unread(self) -> str:
        return f"the log {self.name} could not be read"

    def close(self) -> None:
        """Let go of the connections; a second time does nothing."""
        self._connections.close()


def _quoted(name: str) -> str:
    return ".".join(f'"{part}"' for part in name.split("."))


def _matching(
    position: int, experiment: str | None, kinds: Sequence[str] | None
) -> tuple[str, list[int | str | list[str]]]:
    """The condition on facts after a position, and its values; the position comes first."""
    conditions = ["position > $1"]
    values: list[int | str | list[str]] = [position]
    if experiment is not None:
        values.append(experiment)
        conditions.append(f"experiment = ${len(values)}")
    if kinds is not None:
        values.append(list(kinds))
        conditions.append(f"kind = ANY(${len(values)}::text[])")
    return " AND ".join(conditions), values
