"""HTTP/1.1 towards the client: one protocol object a connection, parsed by llhttp, answered in order.

No task is made for a request. A request is handed on when it is whole; its answer is written by whoever has
it. While one is being answered the connection does not read: the client's own buffers hold what it sends
next, and what was read already waits its turn.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from http import HTTPStatus
from time import monotonic
from typing import Any

import httptools
import orjson

__all__ = ["Exchange", "Limits", "Server", "error_body"]

_REASONS = {status.value: status.phrase for status in HTTPStatus}
_HEADS = {code: f"HTTP/1.1 {code} {phrase}\r\n".encode() for code, phrase in _REASONS.items()}
_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
_BODILESS = frozenset({204, 304})
_QUEUED = 64
"""Requests that a client may send ahead of their answers; who sends more is hung up on."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What one client may ask of a gateway: sizes in bytes, times in seconds."""

    body: int = 16 * 1024 * 1024
    headers: int = 64 * 1024
    connections: int = 2_000
    exchanges: int = 1_000
    receiving: float = 30.0
    idle: float = 75.0


def error_body(message: str, kind: str, code: str | None = None) -> bytes:
    """An error as the OpenAI protocol says it."""
    return orjson.dumps({"error": {"message": message, "type": kind, "param": None, "code": code}})


@dataclass(slots=True, eq=False)
class Exchange:
    """One request and its answer. `headers` are by lower-case name, a repeated one joined by commas.

    `on_lost` is called when the client goes away before the answer is done, `on_room` with False when it takes
    in less than is written and with True when it does again.
    """

    connection: _Connection
    method: str
    path: str
    query: str
    headers: dict[str, str]
    body: bytes
    arrived: float
    keep_alive: bool
    chunks: bool = True
    on_lost: Callable[[], None] | None = None
    on_room: Callable[[bool], None] | None = None
    started: bool = False
    done: bool = False

    def answer(
        self, status: int, body: bytes, headers: bytes = b"", *, kind: bytes = b"application/json"
    ) -> None:
        """The whole answer at once; `headers` are lines, each with its line end."""
        if self.done:
            return
        self.started = self.done = True
        head = _HEADS.get(status) or b"HTTP/1.1 %d \r\n" % status
        if status in _BODILESS:
            self.connection.write(b"%b%b%b\r\n" % (head, headers, self._closing()))
        else:
            self.connection.write(
                b"%b%bcontent-type: %b\r\ncontent-length: %d\r\n%b\r\n%b"
                % (head, headers, kind, len(body), self._closing(), b"" if self.method == "HEAD" else body)
            )
        self.connection.finished(self)

    def begin(self, status: int, headers: bytes, *, kind: bytes) -> bytes:
        """The head of an answer that comes in pieces: to be written with the first of them."""
        line = _HEADS.get(status) or b"HTTP/1.1 %d \r\n" % status
        if status in _BODILESS:
            self.chunks = False
            return b"%b%b%b\r\n" % (line, headers, self._closing())
        return b"%b%bcontent-type: %b\r\n%b%b\r\n" % (
            line,
            headers,
            kind,
            b"transfer-encoding: chunked\r\n" if self.chunks else b"",
            self._closing(),
        )

    def write(self, head: bytes, data: bytes) -> None:
        """A piece of the answer, after the head if there is one."""
        if self.done:
            return
        if data:
            head += b"%x\r\n%b\r\n" % (len(data), data) if self.chunks else data
        if head:
            self.started = True
            self.connection.write(head)

    def end(self) -> None:
        """No more pieces."""
        if not self.done:
            self.done = True
            if self.chunks:
                self.connection.write(b"0\r\n\r\n")
            self.connection.finished(self)

    def abort(self) -> None:
        """Break the answer off, so that the client cannot take it for whole."""
        if not self.done:
            self.done = True
            self.connection.drop()

    def _closing(self) -> bytes:
        if self.keep_alive and not self.connection.server.draining:
            return b""
        self.keep_alive = False
        return b"connection: close\r\n"

    @property
    def peer(self) -> str:
        """The address of the client."""
        return self.connection.peer


Handler = Callable[[Exchange], None]


class Server:
    """All connections of a process, the handler of their requests, and the limits."""

    def __init__(
        self, handler: Handler, loop: asyncio.AbstractEventLoop, limits: Limits | None = None
    ) -> None:
        self.handler = handler
        self.loop = loop
        self.limits = limits or Limits()
        self.draining = False
        self.connections: set[_Connection] = set()
        self.exchanges = 0
        self.refused = 0

    def protocol(self) -> asyncio.Protocol:
        """What answers a new connection."""
        return _Connection(self)

    def sweep(self, now: float) -> None:
        """Close connections that send too slowly or nothing at all."""
        for each in tuple(self.connections):
            each.sweep(now)

    def drain(self) -> None:
        """Close what is idle; what is being answered closes when it is done."""
        self.draining = True
        for each in tuple(self.connections):
            each.drain()

    def close(self) -> None:
        """Hang up on everybody."""
        for each in tuple(self.connections):
            each.drop()


class _Connection(asyncio.Protocol):
    __slots__ = (
        "_body",
        "_busy",
        "_field_bytes",
        "_full",
        "_headers",
        "_parser",
        "_paused",
        "_queue",
        "_refusal",
        "_since",
        "_transport",
        "_unread",
        "_url",
        "peer",
        "server",
    )

    def __init__(self, server: Server) -> None:
        self.server = server
        self.peer = ""
        self._transport: Any = None
        self._parser = httptools.HttpRequestParser(self)
        self._queue: deque[Exchange] = deque()
        self._busy: Exchange | None = None
        self._paused = self._full = False
        self._unread = 0
        self._refusal: tuple[int, str] | None = None
        self._reset()

    def _reset(self) -> None:
        self._url = b""
        self._headers: dict[str, str] = {}
        self._field_bytes = 0
        self._body: bytes | bytearray = b""
        self._since = monotonic()

    # The connection's own life.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport
        server = self.server
        name = transport.get_extra_info("peername")
        self.peer = str(name[0]) if isinstance(name, tuple) else ""
        if len(server.connections) >= server.limits.connections or server.draining:
            server.refused += 1
            transport.close()
            return
        server.connections.add(self)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - the protocol's
        self.server.connections.discard(self)
        self._queue.clear()
        busy, self._busy = self._busy, None
        if busy is not None:
            self.server.exchanges -= 1
            busy.done = True
            if busy.on_lost is not None:
                busy.on_lost()

    def eof_received(self) -> bool:
        # A client that closes its side has gone: none of the protocol's clients half-closes.
        return False

    def pause_writing(self) -> None:
        self._full = True
        if self._busy is not None and self._busy.on_room is not None:
            self._busy.on_room(False)

    def resume_writing(self) -> None:
        self._full = False
        if self._busy is None:
            self._go_on()
        elif self._busy.on_room is not None:
            self._busy.on_room(True)

    def sweep(self, now: float) -> None:
        if self._busy is None:
            receiving = bool(self._url or self._headers)
            limit = self.server.limits.receiving if receiving else self.server.limits.idle
            if now - self._since > limit:
                self.drop() if not receiving else self._refuse(408, "the request did not arrive in time")

    def drain(self) -> None:
        if self._busy is None:
            self._transport.close()

    def drop(self) -> None:
        """Close at once; what was written and not sent is lost."""
        self._transport.abort()

    def write(self, data: bytes) -> None:
        self._transport.write(data)

    # What the parser finds.

    def data_received(self, data: bytes) -> None:
        self._unread += len(data)
        try:
            while data and not self._transport.is_closing():
                data = self._feed(data)
            if self._unread > self.server.limits.headers:
                # A line without an end is held by the parser, which has no bound.
                self._weigh(self._unread)
        except (httptools.HttpParserError, ValueError) as error:
            status, said = self._refusal or (400, f"this is not HTTP/1.1: {error}")
            self._refuse(status, said)

    def _feed(self, data: bytes) -> bytes:
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            # The offer of another protocol may be passed over (RFC 9110, section 7.8). The parser took the body
            # for that protocol already: the request is read again without the offer.
            head = b"".join(
                b"%b: %b\r\n" % (name.encode("latin-1"), said.encode("latin-1"))
                for name, said in self._headers.items()
                if name not in ("connection", "upgrade")
            )
            head = b"%b %b HTTP/1.1\r\n%b\r\n" % (self._parser.get_method(), self._url, head)
            self._parser = httptools.HttpRequestParser(self)
            return head + data[upgrade.args[0] :]
        return b""

    def on_message_begin(self) -> None:
        self._reset()

    def on_url(self, url: bytes) -> None:
        self._url += url
        self._weigh(len(url))

    def on_header(self, name: bytes, value: bytes) -> None:
        self._weigh(len(name) + len(value))
        key, said = name.decode("latin-1").lower(), value.decode("latin-1")
        self._headers[key] = f"{self._headers[key]}, {said}" if key in self._headers else said

    def _weigh(self, count: int) -> None:
        self._field_bytes += count
        if self._field_bytes > self.server.limits.headers:
            self._refusal = (431, f"the headers are longer than {self.server.limits.headers} bytes")
            raise ValueError

    def on_headers_complete(self) -> None:
        self._unread = 0
        if self._parser.get_method() == b"CONNECT":
            self._refusal = (405, "this gateway is no proxy of connections")
            raise ValueError
        length = self._headers.get("content-length", "")
        if length.isdigit() and int(length) > self.server.limits.body:
            self._too_long()
        expects = self._headers.get("expect", "").lower() == "100-continue"
        if expects and self._busy is None and not self._parser.should_upgrade():
            self._transport.write(_CONTINUE)

    def on_body(self, body: bytes) -> None:
        self._unread = 0
        if not self._body:
            self._body = body
        else:
            if isinstance(self._body, bytes):
                self._body = bytearray(self._body)
            self._body += body
        if len(self._body) > self.server.limits.body:
            self._too_long()

    def _too_long(self) -> None:
        self._refusal = (413, f"the body is longer than {self.server.limits.body} bytes")
        raise ValueError

    def on_message_complete(self) -> None:
        if self._parser.should_upgrade() or self._transport.is_closing():
            # Not read to its end yet, or sent behind an answer that was the last one.
            return
        url, _, query = self._url.partition(b"?")
        # Who speaks HTTP/1.0 reads no chunks and does not ask twice: the answer ends with the connection.
        recent = self._parser.get_http_version() != "1.0"
        exchange = Exchange(
            self,
            self._parser.get_method().decode("latin-1"),
            url.decode("latin-1"),
            query.decode("latin-1"),
            self._headers,
            bytes(self._body),
            monotonic(),
            recent and self._parser.should_keep_alive(),
            recent,
        )
        self._url, self._headers, self._body, self._unread = b"", {}, b"", 0
        if self._busy is None and not self._full and not self._queue:
            self._start(exchange)
        elif len(self._queue) >= _QUEUED:
            self.drop()
        else:
            self._queue.append(exchange)
            if not self._paused:
                self._paused = True
                self._transport.pause_reading()

    def _start(self, exchange: Exchange) -> None:
        server = self.server
        self._busy = exchange
        server.exchanges += 1
        if server.exchanges > server.limits.exchanges:
            server.refused += 1
            exchange.answer(
                503,
                error_body("the gateway is serving as many requests as it may; try again", "overloaded"),
                b"retry-after: 1\r\n",
            )
            return
        server.handler(exchange)

    def finished(self, exchange: Exchange) -> None:
        """The answer of the current exchange is written."""
        if self._busy is exchange:
            self._busy = None
            self.server.exchanges -= 1
        self._since = monotonic()
        if not exchange.keep_alive:
            self._transport.close()
        elif not self._full:
            self._go_on()

    def _go_on(self) -> None:
        if self._queue:
            self.server.loop.call_soon(self._next)
        elif self._paused and not self._transport.is_closing():
            self._paused = False
            self._transport.resume_reading()

    def _next(self) -> None:
        if self._queue and self._busy is None and not self._full and not self._transport.is_closing():
            self._start(self._queue.popleft())

    def _refuse(self, status: int, said: str) -> None:
        if self._busy is None and not self._transport.is_closing():
            body = error_body(said, "invalid_request_error")
            head = _HEADS.get(status, b"HTTP/1.1 400 Bad Request\r\n")
            self._transport.write(
                b"%bcontent-type: application/json\r\ncontent-length: %d\r\nconnection: close\r\n\r\n%b"
                % (head, len(body), body)
            )
            self._transport.close()
        elif not self._transport.is_closing():
            self._transport.abort()
