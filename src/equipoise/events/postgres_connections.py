"""Connections to PostgreSQL for callers that wait: a small pool on an event loop of its own thread."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Awaitable, Callable, Coroutine
from concurrent.futures import CancelledError
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar
from urllib.parse import parse_qs, urlsplit

from equipoise.errors import MissingExtraError, RecordError

if TYPE_CHECKING:
    from asyncpg import Connection, Pool, Record
    from asyncpg.pool import PoolConnectionProxy

    Talking: TypeAlias = Connection[Record] | PoolConnectionProxy[Record]

__all__ = ["Connections", "shown"]

_PATIENCE = 10.0
_MOST = 4

# What this program promises holds whatever the server's defaults are: an acknowledged commit is on disk, who
# waited for a lock sees what the one before wrote, and a machine that freezes in the middle of a delivery keeps
# the others waiting for seconds, not for ever.
_SESSION = """
SELECT set_config('application_name', 'equipoise', false),
       set_config('default_transaction_isolation', 'read committed', false),
       set_config('idle_in_transaction_session_timeout', '5s', false),
       CASE current_setting('synchronous_commit') WHEN 'off' THEN set_config('synchronous_commit', 'on', false) END
"""

T = TypeVar("T")


def shown(url: str) -> str:
    """The address of a database as it may be printed: server and database, never the password.

    RecordError where it cannot be told where the password ends; the message repeats none of it.

    >>> shown("postgresql://ann:secret@db.example:5432/prod?sslmode=require")
    'postgresql://ann@db.example:5432/prod'
    >>> shown("postgres:///prod?host=/run/postgresql&password=secret")
    'postgresql:///prod?host=/run/postgresql'
    """
    try:
        parts = urlsplit(url)
        # An `@`, `/`, `?` or `#` that was not escaped puts a piece of the password where a name should be.
        if "@" in parts.path + parts.query or "#" in url:
            raise ValueError
        host, port, elsewhere = parts.hostname or "", parts.port, parse_qs(parts.query).get("host")
    except ValueError:
        raise RecordError(
            "this address of a PostgreSQL server cannot be read. It looks like "
            "postgresql://user:password@host:5432/database; the characters @ : / ? # % of a password are written "
            "%40 %3A %2F %3F %23 %25"
        ) from None
    user = f"{parts.username}@" if parts.username else ""
    host = f"[{host}]" if ":" in host else host
    where = f"?host={elsewhere[-1]}" if elsewhere else ""
    return f"postgresql://{user}{host}{f':{port}' if port else ''}{parts.path}{where}"


class Connections:
    """At most four connections to one database, made when needed and made anew after the server was away.

    `run` may be called by any thread and waits for the answer. `purpose` is what they are for, such as
    "a log in PostgreSQL". Raises MissingExtraError where the driver is not installed, RecordError for an
    address that cannot be read; whether a server answers there shows in the first `run`.
    """

    def __init__(self, url: str, purpose: str) -> None:
        try:
            import asyncpg
        except ModuleNotFoundError:
            raise MissingExtraError(purpose, "postgres") from None
        self.name = shown(url)
        self._url = url
        self.failures = (asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError, OSError)
        """What the driver raises where the server is away, refuses or fails."""
        self._losses = (
            asyncpg.PostgresConnectionError,
            asyncpg.InterfaceError,
            asyncpg.InternalClientError,
            asyncpg.AdminShutdownError,
            asyncpg.CrashShutdownError,
            asyncpg.IdleInTransactionSessionTimeoutError,
            ConnectionError,
        )
        self._process = os.getpid()
        self._closing = threading.Lock()
        self._closed = False
        self._pool: Pool[Record] | None = None
        self._apart: list[Connection[Record]] = []
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="equipoise-postgres", daemon=True)
        self._thread.start()

    def run(self, work: Callable[[Talking], Awaitable[T]], otherwise: str, *, again: bool = False) -> T:
        """What `work` answers with a connection to itself.

        With `again` it is tried once more where the connection was lost: for work that may be done twice.
        `otherwise` begins the sentence of the RecordError, such as "the log could not be read".
        """
        return self.wait_for(lambda: self.lend(work, again=again), otherwise)

    def wait_for(self, work: Callable[[], Coroutine[Any, Any, T]], otherwise: str) -> T:
        """What a coroutine answers on the loop of these connections; failures as in `run`."""
        if os.getpid() != self._process:
            raise RecordError(f"{otherwise}: it was opened by another process; open it anew in each process")
        with self._closing:
            if self._closed:
                raise RecordError(f"{otherwise}: it is closed")
            answer = asyncio.run_coroutine_threadsafe(work(), self._loop)
        try:
            return answer.result()
        except CancelledError:
            raise RecordError(f"{otherwise}: it is closed") from None
        except self.failures as error:
            # What the driver raises may hold the whole address; its own traceback stays out.
            raise RecordError(f"{otherwise}: {self._why(error)}") from None

    async def lend(self, work: Callable[[Talking], Awaitable[T]], *, again: bool = False) -> T:
        """As `run`, for coroutines on the loop."""
        try:
            async with (await self._pooled()).acquire(timeout=_PATIENCE) as connection:
                try:
                    return await work(connection)
                except self._losses:
                    # Not every loss is known to the driver as one; this connection is not to be lent again.
                    connection.terminate()
                    raise
        except self._losses:
            if not again:
                raise
        return await self.lend(work)

    async def connect(self) -> Connection[Record]:
        """A connection beside the pool, for a coroutine on the loop that listens; `close` ends it too."""
        import asyncpg

        connection = await asyncpg.connect(self._url, timeout=_PATIENCE, command_timeout=_PATIENCE)
        self._apart = [connection, *(each for each in self._apart if not each.is_closed())]
        return connection

    async def _pooled(self) -> Pool[Record]:
        import asyncpg

        if self._pool is None:
            # Nothing is changed in a session after its beginning, so there is nothing to reset: a round trip less.
            self._pool = asyncpg.create_pool(
                self._url,
                min_size=0,
                max_size=_MOST,
                timeout=_PATIENCE,
                command_timeout=_PATIENCE,
                init=_begin,
                reset=_nothing,
            )
            # It has no connection to begin with, so this does not pause and nobody meets it half made.
            await self._pool
        return self._pool

    def _why(self, error: BaseException) -> str:
        import asyncpg

        if isinstance(error, asyncpg.InvalidPasswordError | asyncpg.InvalidAuthorizationSpecificationError):
            return f"{error.args[0]}. Check the user and the password in the address"
        if isinstance(error, asyncpg.ClientConfigurationError):
            return "an option in the address is not one that PostgreSQL knows"
        if isinstance(error, ConnectionRefusedError):
            return "no server answers there. Start it, or correct the address"
        if isinstance(error, self._losses):
            return "the connection to the server was lost"
        if isinstance(error, TimeoutError):
            return f"the server did not answer within {_PATIENCE:g} s"
        if isinstance(error, OSError):
            return f"the server cannot be reached ({error.strerror or error})"
        # The first line alone: the details may hold data.
        return str(error.args[0])

    def close(self) -> None:
        """Let go of all connections; what is under way ends with a RecordError."""
        with self._closing:
            if self._closed or os.getpid() != self._process:
                return
            self._closed = True
        asyncio.run_coroutine_threadsafe(self._end(), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    async def _end(self) -> None:
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)
        for connection in self._apart:
            connection.terminate()
        if self._pool is not None:
            try:
                await asyncio.wait_for(self._pool.close(), _PATIENCE)
            except self.failures:
                self._pool.terminate()


async def _begin(connection: Talking) -> None:
    await connection.execute(_SESSION)


async def _nothing(_: Talking) -> None:
    pass
