"""A simulated OpenAI-compatible endpoint that costs as little as Python can: one asyncio.Protocol, replies made once.

    python bench/online/upstream.py --first-ms 20 --gap-ms 10 --chunks 400

It prints `{"port": …}` and serves until it is killed. `POST /v1/chat/completions` answers about 600 characters of
prose, or with `"stream": true` as many chunks as the request's `max_tokens` allows, each in a write of its own.
`GET /count` tells what it has served, which is how the bench knows that a contender asked as often as it answered.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
from functools import cache

import httptools
import orjson
import uvloop

PROSE = (
    "Your order left the warehouse on Tuesday evening and is on its way to you. The carrier expects to deliver it "
    "before the end of the week, most likely on Friday morning. If nobody is at home, the driver leaves a card with "
    "the address of the nearest shop where you can pick it up for ten days. You can change the day of delivery from "
    "the page of your order until the evening before. Should the box be damaged when it arrives, please take a "
    "picture of it and write to us; we then send a new one at no cost and you need not return the old one. Is there "
    "anything else that I can help you with today?"
)
PIECE = 4
"""Characters of a delta, about one token of English."""

PROMPT_TOKENS = 120
CACHED_TOKENS = 64
END = b"0\r\n\r\n"
STREAM_HEAD = (
    b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream; charset=utf-8\r\ncache-control: no-cache\r\n"
    b"transfer-encoding: chunked\r\n\r\n"
)
SAME = {
    "id": "chatcmpl-bench",
    "created": 1_750_000_000,
    "model": "bench-model",
    "system_fingerprint": "fp_simulated",
}


def usage(completion: int) -> dict[str, object]:
    return {
        "prompt_tokens": PROMPT_TOKENS,
        "completion_tokens": completion,
        "total_tokens": PROMPT_TOKENS + completion,
        "prompt_tokens_details": {"cached_tokens": CACHED_TOKENS},
    }


def whole(body: dict[str, object], status: bytes = b"200 OK") -> bytes:
    """A reply of one piece, head and body."""
    written = orjson.dumps(body)
    return (
        b"HTTP/1.1 %b\r\ncontent-type: application/json\r\nx-equipoise-simulated: true\r\ncontent-length: %d\r\n\r\n"
        % (status, len(written))
        + written
    )


COMPLETION = whole(
    SAME
    | {
        "object": "chat.completion",
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": PROSE, "refusal": None},
                "logprobs": None,
                "finish_reason": "stop",
            }
        ],
        "usage": usage(len(PROSE) // PIECE),
    }
)
MODELS = whole(
    {"object": "list", "data": [{"id": "bench-model", "object": "model", "owned_by": "simulated"}]}
)
NOT_FOUND = whole({"error": {"message": "There is nothing at this path."}}, b"404 Not Found")


def framed(data: bytes) -> bytes:
    """A server-sent event as one HTTP chunk."""
    event = b"data: " + data + b"\n\n"
    return b"%x\r\n%b\r\n" % (len(event), event)


def chunk(delta: dict[str, object], finish: str | None = None) -> bytes:
    choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}
    return framed(orjson.dumps(SAME | {"object": "chat.completion.chunk", "choices": [choice]}))


@cache
def stream(tokens: int, with_usage: bool) -> tuple[bytes, ...]:
    """Every write of a streamed reply: the head with the role, `tokens` deltas, finish, usage if asked, the end."""
    repeated = PROSE * (tokens * PIECE // len(PROSE) + 1)
    deltas = [
        chunk({"content": repeated[start : start + PIECE]}) for start in range(0, tokens * PIECE, PIECE)
    ]
    told = SAME | {"object": "chat.completion.chunk", "choices": [], "usage": usage(tokens)}
    return (
        STREAM_HEAD + chunk({"role": "assistant", "content": ""}),
        *deltas,
        chunk({}, "stop"),
        *([framed(orjson.dumps(told))] if with_usage else []),
        framed(b"[DONE]") + END,
    )


class Served:
    """What the endpoint has served since it started."""

    def __init__(self) -> None:
        self.requests = 0
        self.streams = 0
        self.chunks = 0
        self.cancelled = 0

    def reply(self) -> bytes:
        return whole(dict(vars(self)))


class Endpoint(asyncio.Protocol):
    """One connection of a caller; it is kept until the caller closes it."""

    def __init__(self, served: Served, first_s: float, gap_s: float, chunks: int) -> None:
        self._served = served
        self._first_s = first_s
        self._gap_s = gap_s
        self._most = chunks
        self._loop = asyncio.get_running_loop()
        self._parser = httptools.HttpRequestParser(self)
        self._path = b""
        self._body = b""
        self._frames: tuple[bytes, ...] = ()
        self._next = 0
        self._full = False
        self._waiting = False

    def connection_made(self, transport) -> None:
        self._transport = transport

    def connection_lost(self, _error: Exception | None) -> None:
        if self._frames:
            self._served.cancelled += 1
            self._frames = ()

    def data_received(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError:
            self._transport.close()

    def on_message_begin(self) -> None:
        self._path = self._body = b""

    def on_url(self, url: bytes) -> None:
        self._path += url

    def on_body(self, body: bytes) -> None:
        self._body += body

    def on_message_complete(self) -> None:
        if self._path == b"/v1/chat/completions":
            self._complete()
        elif self._path == b"/v1/models":
            self._transport.write(MODELS)
        elif self._path == b"/count":
            self._transport.write(self._served.reply())
        else:
            self._transport.write(NOT_FOUND)

    def _complete(self) -> None:
        self._served.requests += 1
        asked = orjson.loads(self._body) if b'"stream"' in self._body else {}
        if asked.get("stream"):
            self._served.streams += 1
            tokens = min(self._most, asked.get("max_tokens") or self._most)
            told = bool((asked.get("stream_options") or {}).get("include_usage"))
            self._frames, self._next = stream(tokens, told), 0
            self._after(self._first_s)
        elif self._first_s:
            self._loop.call_later(self._first_s, self._transport.write, COMPLETION)
        else:
            self._transport.write(COMPLETION)

    def _after(self, seconds: float) -> None:
        if seconds:
            self._loop.call_later(seconds, self._write)
        else:
            # A turn of the loop for each chunk, as written together they would be one segment of TCP.
            self._loop.call_soon(self._write)

    def _write(self) -> None:
        if not self._frames:
            return
        if self._full:
            self._waiting = True
            return
        self._transport.write(self._frames[self._next])
        self._served.chunks += 1
        self._next += 1
        if self._next < len(self._frames):
            self._after(self._gap_s)
        else:
            self._frames = ()

    def pause_writing(self) -> None:
        self._full = True

    def resume_writing(self) -> None:
        self._full = False
        if self._waiting:
            self._waiting = False
            self._write()


async def serve(port: int, first_s: float, gap_s: float, chunks: int) -> None:
    served = Served()
    server = await asyncio.get_running_loop().create_server(
        lambda: Endpoint(served, first_s, gap_s, chunks), "127.0.0.1", port, backlog=1024
    )
    print(orjson.dumps({"port": server.sockets[0].getsockname()[1]}).decode(), flush=True)
    async with server:
        await server.serve_forever()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--port", type=int, default=0, help="0: any free port")
    parser.add_argument("--first-ms", type=float, default=0.0, help="before the first byte of a reply")
    parser.add_argument("--gap-ms", type=float, default=0.0, help="between two chunks of a stream")
    parser.add_argument("--chunks", type=int, default=400, help="deltas of a stream, at most")
    said = parser.parse_args()
    with contextlib.suppress(KeyboardInterrupt):
        uvloop.run(serve(said.port, said.first_ms / 1000, said.gap_ms / 1000, said.chunks))


if __name__ == "__main__":
    main()
