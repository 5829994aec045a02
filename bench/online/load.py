"""A load generator in a process of its own: chat requests over raw connections, and what a caller saw, as JSON.

    python bench/online/load.py --port 8000 --connections 32 --requests 20000            (closed loop: saturation)
    python bench/online/load.py --port 8000 --rate 100 --requests 1000 --stream          (open loop)

In the closed loop each connection asks again as soon as it is answered. In the open loop requests start at the
times of a Poisson process, each on a connection that is free or new, so a slow reply never holds back the next
request; a time is taken from the moment of writing, as the timer of the loop is coarser than what is measured,
and `late_s` says how much later than planned the median request was written.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import random
import re
import secrets
import statistics
import time
from array import array
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count

import httptools
import orjson
import uvloop

KNOWN_UNITS = 64
CONTENT = re.compile(rb'"content":\s*"[^"]')
SYSTEM = (
    "You are the assistant of a shop. Answer in plain English, be friendly and brief, and never promise a date "
    "that is not in the record of the order."
)
QUESTION = (
    "Hello, I ordered a pair of walking boots last week and the page of my order still says that it is being "
    "prepared. Could you tell me when it is going to arrive, and whether I can have it sent to a shop instead?"
)


def chat(model: str, tokens: int | None, streamed: bool) -> bytes:
    """The body of a chat request, about 500 bytes."""
    return orjson.dumps(
        {
            "model": model,
            "messages": [{"role": "system", "content": SYSTEM}, {"role": "user", "content": QUESTION}],
            "temperature": 0.3,
        }
        | ({"max_tokens": tokens} if tokens else {})
        | ({"stream": True, "stream_options": {"include_usage": True}} if streamed else {})
    )


def known() -> Iterator[bytes]:
    """The same few conversations again and again."""
    names = [b"known-%04d" % number for number in range(KNOWN_UNITS)]
    while True:
        yield from names


def new() -> Iterator[bytes]:
    """A conversation that nobody has seen, in this run or an earlier one."""
    run = secrets.token_hex(6).encode()
    return (b"new-%b-%08d" % (run, number) for number in count())


@dataclass(frozen=True, slots=True, kw_only=True)
class Requests:
    """What is asked, of whom, and how often; `rate` 0 is the closed loop over `connections`."""

    port: int
    number: int
    connections: int = 32
    rate: float = 0.0
    model: str = "bench-model"
    units: str = "known"
    streamed: bool = False
    tokens: int | None = None
    seed: int = 0

    def written(self) -> Iterator[bytes]:
        """The bytes of each request, without end."""
        body = chat(self.model, self.tokens, self.streamed)
        before, after = (
            b"POST /v1/chat/completions HTTP/1.1\r\nhost: 127.0.0.1:%d\r\ncontent-type: application/json\r\n"
            b"authorization: Bearer bench\r\naccept: */*\r\nx-conversation-id: " % self.port,
            b"\r\ncontent-length: %d\r\n\r\n%b" % (len(body), body),
        )
        return (before + unit + after for unit in (new() if self.units == "new" else known()))


class Load:
    """Sends the requests and keeps the seconds from the writing of each to first byte, first content and end."""

    def __init__(self, requests: Requests) -> None:
        self._requests = requests
        self._written = requests.written()
        self._left = requests.number
        self._open = requests.number
        self._idle: list[Connection] = []
        self._over = asyncio.get_running_loop().create_future()
        self.first_byte, self.first_token, self.total, self.late = (array("d") for _ in range(4))
        self.connections = self.reads = self.failed = 0

    async def run(self) -> dict[str, float]:
        started = time.perf_counter()
        await (self._at_rate() if self._requests.rate else self._at_once())
        await self._over
        wall = time.perf_counter() - started
        if not self.total:
            raise RuntimeError(
                f"None of {self._requests.number} requests was answered in full, which is with status 200, with "
                "content, and to the end of a stream."
            )
        return {
            "requests": len(self.total),
            "failed": self.failed,
            "wall_s": wall,
            "per_s": len(self.total) / wall,
            "total_p50_s": statistics.median(self.total),
            "total_p99_s": highest_of_99(self.total),
            "first_byte_p50_s": statistics.median(self.first_byte),
            "first_token_p50_s": statistics.median(self.first_token),
            "first_token_p99_s": highest_of_99(self.first_token),
            "reads": self.reads,
            "connections": self.connections,
            "late_s": statistics.median(self.late or [0.0]),
        }

    async def _at_once(self) -> None:
        for _ in range(min(self._requests.connections, self._requests.number)):
            self._ask(await self._connect())

    async def _at_rate(self) -> None:
        draw = random.Random(self._requests.seed)
        due = time.perf_counter()
        for _ in range(self._requests.number):
            due += draw.expovariate(self._requests.rate)
            await asyncio.sleep(max(0.0, due - time.perf_counter()))
            connection = self._idle.pop() if self._idle else await self._connect()
            self.late.append(time.perf_counter() - due)
            self._ask(connection)

    async def _connect(self) -> Connection:
        self.connections += 1
        _, connection = await asyncio.get_running_loop().create_connection(
            lambda: Connection(self, streamed=self._requests.streamed), "127.0.0.1", self._requests.port
        )
        return connection

    def _ask(self, connection: Connection) -> None:
        if self._left:
            self._left -= 1
            connection.ask(next(self._written))

    def ended(self, connection: Connection | None, seen: tuple[float, float, float] | None) -> None:
        """A request is over: `connection` is free, or None as it is closed; `seen` is None if it failed."""
        self._open -= 1
        if seen is None:
            self.failed += 1
        else:
            first_byte, first_token, total = seen
            self.first_byte.append(first_byte)
            self.total.append(total)
            self.first_token.append(first_token)
        if not self._open and not self._over.done():
            self._over.set_result(None)
        elif self._requests.rate:
            if connection is not None:
                self._idle.append(connection)
        elif connection is not None:
            self._ask(connection)
        elif self._left:
            asyncio.ensure_future(self._connect()).add_done_callback(self._replaced)

    def _replaced(self, connecting: asyncio.Future[Connection]) -> None:
        if connecting.exception() is None:
            self._ask(connecting.result())
        elif not self._over.done():
            gone = RuntimeError(f"Port {self._requests.port} takes no connection any more.")
            self._over.set_exception(gone)

    def lost(self, connection: Connection) -> None:
        """An idle connection was closed by the other side."""
        if connection in self._idle:
            self._idle.remove(connection)


class Connection(asyncio.Protocol):
    """One kept connection: one request at a time."""

    def __init__(self, load: Load, *, streamed: bool) -> None:
        self._load = load
        self._streamed = streamed
        self._parser = httptools.HttpResponseParser(self)
        self._asked = self._first_byte = self._first_token = 0.0
        self._waits = False
        self._tail = b""

    def connection_made(self, transport) -> None:
        self._transport = transport

    def ask(self, request: bytes) -> None:
        if self._transport.is_closing():
            self._load.ended(None, None)
            return
        self._waits = True
        self._tail = b""
        self._first_byte = self._first_token = 0.0
        self._asked = time.perf_counter()
        self._transport.write(request)

    def data_received(self, data: bytes) -> None:
        self._load.reads += 1
        if not self._first_token:
            since = time.perf_counter() - self._asked
            self._first_byte = self._first_byte or since
            # Content cut by the edge of a read is seen in the next frame, some microseconds later.
            if CONTENT.search(data):
                self._first_token = since
        if self._streamed:
            self._tail = (self._tail + data)[-64:]
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError:
            self._transport.abort()

    def on_message_complete(self) -> None:
        self._waits = False
        total = time.perf_counter() - self._asked
        said_all = not self._streamed or b"data: [DONE]" in self._tail
        whole = self._parser.get_status_code() == 200 and self._first_token and said_all
        kept = self._parser.should_keep_alive()
        if not kept:
            self._transport.close()
        self._load.ended(
            self if kept else None, (self._first_byte, self._first_token, total) if whole else None
        )

    def connection_lost(self, _error: Exception | None) -> None:
        if self._waits:
            self._load.ended(None, None)
        else:
            self._load.lost(self)


def highest_of_99(times: array[float] | list[float]) -> float:
    """The 99th percentile: the least value that 99 of 100 do not exceed."""
    return sorted(times)[max(0, -(-len(times) * 99 // 100) - 1)]


async def measure(requests: Requests) -> dict[str, float]:
    return await Load(requests).run()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--requests", type=int, required=True)
    parser.add_argument("--connections", type=int, default=32, help="of the closed loop")
    parser.add_argument("--rate", type=float, default=0.0, help="requests a second; 0: the closed loop")
    parser.add_argument("--model", default="bench-model")
    parser.add_argument("--units", choices=("known", "new"), default="known")
    parser.add_argument("--stream", action="store_true")
    parser.add_argument("--tokens", type=int, help="max_tokens of each request")
    parser.add_argument("--seed", type=int, default=0, help="of the times of the open loop")
    said = parser.parse_args()
    # A collection here would be counted as the contender's; what lives is small and does not grow by cycles.
    gc.disable()
    requests = Requests(
        port=said.port,
        number=said.requests,
        connections=said.connections,
        rate=said.rate,
        model=said.model,
        units=said.units,
        streamed=said.stream,
        tokens=said.tokens,
        seed=said.seed,
    )
    try:
        seen = uvloop.run(measure(requests))
    except (RuntimeError, OSError) as error:
        raise SystemExit(f"load: {error}") from None
    print(orjson.dumps(seen).decode())


if __name__ == "__main__":
    main()
