"""HTTP/1.1 towards the models: kept-alive connections by origin, one call each at a time.

Addresses come from definitions and the operator, never from a request.
"""

from __future__ import annotations

# ruff: noqa: SLF001 - a call, its connection and their pool are one thing in three parts.
import asyncio
import logging
import ssl
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from time import monotonic
from typing import Any, Literal
from urllib.parse import urlsplit

import httptools

from equipoise.experiment.endpoint import Timeouts

__all__ = ["UNSERVED", "Address", "Call", "Failure", "Pool", "address"]

_IDLE = 30.0
_MOST_IDLE = 256
_HEADERS = 64 * 1024
UNSERVED = "an answer of %s could not be served"
_logger = logging.getLogger("equipoise.gateway")

Failure = Literal["connect", "first_byte", "between_chunks", "total", "closed", "protocol"]


@dataclass(frozen=True, slots=True)
class Address:
    """An endpoint taken apart: where to connect, and what stands before `/chat/completions`."""

    scheme: str
    host: str
    port: int
    prefix: str

    @property
    def origin(self) -> str:
        return f"{self.scheme}://{self.authority}"

    @property
    def authority(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        usual = {"http": 80, "https": 443}[self.scheme]
        return host if self.port == usual else f"{host}:{self.port}"


@cache
def address(base_url: str) -> Address:
    """The parts of a base URL that a definition's reading has accepted."""
    parts = urlsplit(base_url)
    port = parts.port or (443 if parts.scheme == "https" else 80)
    return Address(parts.scheme, parts.hostname or "", port, parts.path.rstrip("/"))


@dataclass(slots=True, eq=False)
class Call:
    """One request to an endpoint and what is told of its answer.

    `on_head` gets status and headers, `on_body` pieces as they arrive, `on_end` nothing, `on_fail` why there is no
    (whole) answer; exactly one of the last two is called, unless the call is cancelled.
    """

    where: Address
    payload: bytes
    timeouts: Timeouts
    on_head: Callable[[int, dict[str, str]], None]
    on_body: Callable[[bytes], None]
    on_end: Callable[[], None]
    on_fail: Callable[[Failure, str], None]
    began: float = 0.0
    heard: float = 0.0
    status: int = 0
    over: bool = False
    reused: bool = False
    _connection: _Connection | None = field(default=None)
    _connecting: asyncio.Task[None] | None = field(default=None)

    def cancel(self) -> None:
        """Hang up at once."""
        if not self.over:
            self.over = True
            if self._connecting is not None:
                self._connecting.cancel()
                self._connecting = None
            if self._connection is not None:
                self._connection.abandon()

    def pause(self, room: bool) -> None:
        """Stop reading while whoever reads the answer has no room, and go on."""
        if self._connection is not None:
            self._connection.read(room)

    @property
    def paused(self) -> bool:
        """Whether it is the reader who keeps the answer waiting."""
        return self._connection is not None and self._connection.paused

    def fail(self, kind: Failure, said: str) -> None:
        if not self.over:
            self.over = True
            if self._connection is not None:
                self._connection.abandon()
            self.on_fail(kind, said)


class Pool:
    """The connections to all endpoints of a process."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._idle: dict[tuple[str, str, int], deque[_Connection]] = {}
        self._tls: ssl.SSLContext | None = None
        self.calls: set[Call] = set()
        self.opened = 0

    def start(self, call: Call) -> None:
        """Make a call: at once where a connection is idle, else as soon as one is open."""
        call.began = call.heard = monotonic()
        self.calls.add(call)
        where = call.where
        idle = self._idle.get((where.scheme, where.host, where.port))
        while idle:
            connection = idle.pop()
            if connection.usable:
                call.reused = True
                connection.ask(call)
                return
        self._connect(call)

    def _connect(self, call: Call) -> None:
        call._connecting = self._loop.create_task(self._open(call))

    async def _open(self, call: Call) -> None:
        where = call.where
        try:
            async with asyncio.timeout(call.timeouts.connect):
                _, connection = await self._loop.create_connection(
                    lambda: _Connection(self, (where.scheme, where.host, where.port)),
                    where.host,
                    where.port,
                    ssl=self._context() if where.scheme == "https" else None,
                )
        except TimeoutError:
            self.calls.discard(call)
            call.fail("connect", f"{where.origin} took no connection within {call.timeouts.connect:g} s")
            return
        except (OSError, UnicodeError) as error:
            # A name that no resolver can be asked for is a UnicodeError.
            self.calls.discard(call)
            why = getattr(error, "strerror", None) or type(error).__name__
            call.fail("connect", f"{where.origin} cannot be reached: {why}")
            return
        finally:
            call._connecting = None
        self.opened += 1
        if call.over:
            connection.abandon()
            return
        connection.ask(call)

    def _context(self) -> ssl.SSLContext:
        if self._tls is None:
            self._tls = ssl.create_default_context()
        return self._tls

    def again(self, call: Call) -> None:
        """A kept-alive connection was closed just when it was used: the call goes out on a new one."""
        call.reused = False
        self._connect(call)

    def rest(self, connection: _Connection) -> None:
        """Keep a connection for the next call."""
        idle = self._idle.setdefault(connection.key, deque())
        if len(idle) >= _MOST_IDLE:
            connection.close()
        else:
            connection.since = monotonic()
            idle.append(connection)

    def forget(self, connection: _Connection) -> None:
        idle = self._idle.get(connection.key)
        if idle is not None and connection in idle:
            idle.remove(connection)

    def sweep(self, now: float) -> None:
        """Tell the calls whose patience is at an end, and close what has been idle for long."""
        for call in tuple(self.calls):
            limits = call.timeouts
            if call.over:
                # Cancelled before there was a connection.
                self.calls.discard(call)
            if call.over or call._connecting is not None:
                continue
            where = call.where.origin
            if now - call.began > limits.total:
                call.fail("total", f"{where} was not done within {limits.total:g} s")
            elif not call.status and now - call.began > limits.first_byte:
                call.fail("first_byte", f"{where} said nothing within {limits.first_byte:g} s")
            elif call.status and not call.paused and now - call.heard > limits.between_chunks:
                call.fail("between_chunks", f"{where} fell silent for {limits.between_chunks:g} s")
        for idle in self._idle.values():
            while idle and now - idle[0].since > _IDLE:
                idle.popleft().close()

    def close(self) -> None:
        """Hang up on everybody."""
        for call in tuple(self.calls):
            call.cancel()
        for idle in self._idle.values():
            for each in tuple(idle):
                each.close()
        self._idle.clear()


class _Connection(asyncio.Protocol):
    def __init__(self, pool: Pool, key: tuple[str, str, int]) -> None:
        self.key = key
        self.since = 0.0
        self.paused = False
        self._pool = pool
        self._call: Call | None = None
        self._transport: Any = None
        self._begin()

    def _begin(self) -> None:
        self._parser: Any = httptools.HttpResponseParser(self)
        self._headers: dict[str, str] = {}
        self._weight = 0
        self._unread = 0
        self._pieces: list[bytes] = []
        self._status = 0
        self._heard = self._whole = self._more = self._keep = False

    @property
    def usable(self) -> bool:
        return self._transport is not None and not self._transport.is_closing() and self._call is None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport

    def ask(self, call: Call) -> None:
        self._call = call
        call._connection = self
        self._begin()
        self._transport.write(call.payload)

    def read(self, room: bool) -> None:
        if self.paused is room and not self._transport.is_closing():
            self.paused = not room
            (self._transport.resume_reading if room else self._transport.pause_reading)()
            if room and self._call is not None:
                # The silence was asked for: patience begins anew.
                self._call.heard = monotonic()

    def abandon(self) -> None:
        """Hang up: the rest of the answer is not wanted."""
        call, self._call = self._call, None
        if call is not None:
            self._pool.calls.discard(call)
        self._transport.abort()

    def close(self) -> None:
        self._transport.close()

    # What arrives. The parser only takes notes: whoever is told may hang up or call again, which it must not see.

    def data_received(self, data: bytes) -> None:
        call = self._call
        if call is None:
            # Nobody asked: an endpoint that talks unasked is hung up on.
            self._pool.forget(self)
            self._transport.abort()
            return
        call.heard = monotonic()
        self._heard = True
        self._unread += len(data)
        wrong = None
        try:
            self._parser.feed_data(data)
            if self._unread > _HEADERS:
                # A line without an end is held by the parser, which has no bound.
                wrong = f"headers longer than {_HEADERS} bytes"
        except httptools.HttpParserCallbackError:
            wrong = f"headers longer than {_HEADERS} bytes"
        except httptools.HttpParserUpgrade:
            wrong = "another protocol"
        except httptools.HttpParserError as error:
            wrong = str(error)
        try:
            self._tell(call, wrong)
        except Exception:
            _logger.exception(UNSERVED, call.where.origin)
            self._unserved(call)

    def _unserved(self, call: Call) -> None:
        # Whoever was told failed: it is told so, and does not wait for an end that was already spent.
        call.over = True
        self.abandon()
        call.on_fail("protocol", f"the answer of {call.where.origin} could not be served")

    def _tell(self, call: Call, wrong: str | None) -> None:
        if self._status and not call.status:
            call.status = self._status
            call.on_head(call.status, self._headers)
        if self._pieces and not call.over:
            pieces, self._pieces = self._pieces, []
            call.on_body(pieces[0] if len(pieces) == 1 else b"".join(pieces))
        if call.over:
            return
        if self._whole:
            self._done(call)
            # What follows a whole answer was not asked for, and must not be taken for the next one.
            if wrong is None and not self._more and self._keep and self.usable:
                self.read(True)
                self._pool.rest(self)
            else:
                self._transport.abort()
            call.over = True
            call.on_end()
        elif wrong is not None:
            call.fail("protocol", f"{call.where.origin} does not speak HTTP/1.1: {wrong}")

    def on_message_begin(self) -> None:
        self._more = self._whole
        if not self._more:
            # An interim answer is none, and its headers are not those of the answer.
            self._headers, self._status = {}, 0

    def on_header(self, name: bytes, value: bytes) -> None:
        self._weight += len(name) + len(value)
        if self._weight > _HEADERS:
            raise ValueError
        if not self._more:
            self._headers[name.decode("latin-1").lower()] = value.decode("latin-1")

    def on_headers_complete(self) -> None:
        status = self._parser.get_status_code()
        if status >= 200 and not self._more:
            self._status, self._unread = status, 0

    def on_body(self, body: bytes) -> None:
        self._unread = 0
        if not self._more:
            self._pieces.append(body)

    def on_message_complete(self) -> None:
        if self._status and not self._whole:
            # Asked here: the parser forgets it with the message.
            self._whole, self._keep = True, self._parser.should_keep_alive()

    def _done(self, call: Call) -> None:
        self._call = None
        call._connection = None
        self._pool.calls.discard(call)

    def connection_lost(self, exc: Exception | None) -> None:
        self._pool.forget(self)
        call = self._call
        if call is None:
            return
        framed = "content-length" in self._headers or "chunked" in self._headers.get("transfer-encoding", "")
        self._done(call)
        if call.over:
            return
        if call.reused and not self._heard:
            self._pool.again(call)
            self._pool.calls.add(call)
        elif call.status and not framed and exc is None:
            # Neither a length nor chunks: the end of the connection is the end of the answer.
            call.over = True
            try:
                call.on_end()
            except Exception:
                _logger.exception(UNSERVED, call.where.origin)
                self._unserved(call)
        else:
            call.fail("closed", f"{call.where.origin} hung up before the answer was whole")
