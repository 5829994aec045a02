"""A real gateway on a real socket, before an upstream that does as it is told: for tests of the online path."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

from equipoise.clock import SystemClock
from equipoise.conduct.register import register
from equipoise.events.log import EventLog, MemoryLog
from equipoise.experiment.reading import read_canonical
from equipoise.gateway.gateway import Gateway, GatewaySettings

PATIENCE = 60.0


def definition(port: int, **more: Any) -> dict[str, Any]:
    """Two variants on the upstream at a port."""
    endpoint = {"base_url": f"http://127.0.0.1:{port}/v1"} | more.pop("endpoint", {})
    base = {
        "name": "bot",
        "hypothesis": "The gateway keeps its promises.",
        "unit": {"type": "conversation", "from": "header:x-conversation-id"},
        "changes": ["model", "system", "params"],
        "variants": {
            "control": {"model": "model-a", "endpoint": endpoint},
            "treatment": {"model": "model-b", "endpoint": endpoint},
        },
        "metrics": {"error_rate": {"priority": "primary"}},
        "prices": {"model-a": {"input": 1.0, "output": 2.0}, "model-b": {"input": 1.0, "output": 2.0}},
    }
    return base | more


@dataclass
class Upstream:
    """Answers by `script(request, body)`; keeps what it was sent, and when its clients hung up."""

    script: Callable[[web.Request, dict[str, Any]], Any] | None = None
    port: int = 0
    bodies: list[dict[str, Any]] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    hung_up: threading.Event = field(default_factory=threading.Event)

    async def answer(self, request: web.Request) -> web.StreamResponse:
        body = json.loads(await request.read() or b"{}")
        self.bodies.append(body)
        self.headers.append({name.lower(): value for name, value in request.headers.items()})
        try:
            if self.script is not None:
                return await self.script(request, body)
            return await usual(request, body)
        except (asyncio.CancelledError, ConnectionResetError):
            self.hung_up.set()
            raise


def whole(text: str = "It ships today.", **more: Any) -> dict[str, Any]:
    """A whole chat completion."""
    message = {"role": "assistant", "content": text, "refusal": None} | more.pop("message", {})
    return {
        "id": "chatcmpl-1", "object": "chat.completion", "created": 1, "model": "model-a",
        "system_fingerprint": "fp_simulated",
        "choices": [{"index": 0, "message": message, "finish_reason": more.pop("finish_reason", "stop")}],
        "usage": {"prompt_tokens": 10, "completion_tokens": 4, "total_tokens": 14,
                  "prompt_tokens_details": {"cached_tokens": 2}},
    } | more  # fmt: skip


def chunk(delta: dict[str, Any], finish: str | None = None, **more: Any) -> bytes:
    """A frame of a streamed chat completion."""
    said = {
        "id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": "model-a",
        "choices": [{"index": 0, "delta": delta, "finish_reason": finish}],
    } | more  # fmt: skip
    return b"data: " + json.dumps(said).encode() + b"\n\n"


async def streamed(
    request: web.Request, pieces: list[str], *, wait: float = 0.0, body: dict[str, Any] | None = None
) -> web.StreamResponse:
    """A streamed completion of these pieces, `wait` seconds between them."""
    response = web.StreamResponse(headers={"content-type": "text/event-stream"})
    await response.prepare(request)
    await response.write(chunk({"role": "assistant", "content": ""}))
    for piece in pieces:
        await asyncio.sleep(wait)
        await response.write(chunk({"content": piece}))
    await response.write(chunk({}, "stop"))
    if ((body or {}).get("stream_options") or {}).get("include_usage"):
        usage = {"prompt_tokens": 10, "completion_tokens": len(pieces), "total_tokens": 10 + len(pieces)}
        await response.write(chunk({}, choices=[], usage=usage))
    await response.write(b"data: [DONE]\n\n")
    return response


async def usual(request: web.Request, body: dict[str, Any]) -> web.StreamResponse:
    """What an endpoint does."""
    if request.path.endswith("/embeddings"):
        data = [{"object": "embedding", "index": 0, "embedding": [0.5, 0.25]}]
        return web.json_response(
            {
                "object": "list",
                "data": data,
                "model": body["model"],
                "usage": {"prompt_tokens": 3, "total_tokens": 3},
            }
        )
    if request.path.endswith("/models"):
        return web.json_response({"object": "list", "data": [{"id": "model-a", "object": "model", "created": 1, "owned_by": "x"}]})  # fmt: skip
    if body.get("stream"):
        return await streamed(request, ["It ", "ships ", "today."], body=body)
    return web.json_response(whole(model=body["model"]), headers={"x-request-id": "req-1"})


@contextmanager
def upstream(script: Callable[[web.Request, dict[str, Any]], Any] | None = None) -> Iterator[Upstream]:
    """A simulated upstream on a free port, in a thread of its own."""
    there = Upstream(script)
    ready, stop = threading.Event(), threading.Event()

    async def serve() -> None:
        app = web.Application(client_max_size=2**26, handler_args={"handler_cancellation": True})
        app.router.add_route("*", "/{path:.*}", there.answer)
        runner = web.AppRunner(app, access_log=None, handler_cancellation=True, shutdown_timeout=0.2)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        there.port = runner.addresses[0][1]
        ready.set()
        while not stop.is_set():  # noqa: ASYNC110 - the event is a thread's
            await asyncio.sleep(0.01)
        await runner.cleanup()

    thread = threading.Thread(target=lambda: asyncio.run(serve()), daemon=True)
    thread.start()
    assert ready.wait(PATIENCE)
    try:
        yield there
    finally:
        stop.set()
        thread.join(PATIENCE)


class Ahead(SystemClock):
    """The machine's clock, so many seconds ahead."""

    seconds = 0.0

    def now(self) -> float:
        return super().now() + self.seconds


@dataclass
class Running:
    """A gateway that serves, with the log it writes to."""

    gateway: Gateway
    log: EventLog
    url: str

    def facts(self, *kinds: str, at_least: int = 0) -> list[Any]:
        """The facts of these kinds, once there are so many."""
        end = time.monotonic() + PATIENCE
        while True:
            found = [record.fact for record in self.log.read_since(0, kinds=kinds)]
            if len(found) >= at_least or time.monotonic() > end:
                return found
            time.sleep(0.01)


@contextmanager
def gateway(
    *definitions: dict[str, Any],
    log: EventLog | None = None,
    follow: Any = None,
    clock: Any = None,
    texts: Any = None,
    **settings: Any,
) -> Iterator[Running]:
    """A gateway in a thread of its own, serving these definitions."""
    log = log or MemoryLog()
    for each in definitions:
        register(log, read_canonical(each), by="test", reason="a test")
    settings = {"base_url": "http://127.0.0.1:9/v1", "secret": "a secret for tests only"} | settings
    ready, ended = threading.Event(), threading.Event()
    kept: dict[str, Any] = {}

    async def serve() -> None:
        loop = asyncio.get_running_loop()
        made = Gateway(
            GatewaySettings(**settings),
            loop=loop,
            log=log,
            read=read_canonical,
            follow=follow or log,
            clock=clock,
            texts=texts,
        )
        server = await loop.create_server(made.server.protocol, "127.0.0.1", 0)
        kept["gateway"], kept["loop"], kept["stop"] = made, loop, asyncio.Event()
        kept["port"] = server.sockets[0].getsockname()[1]
        ready.set()
        await kept["stop"].wait()
        server.close()
        made.close()
        # What hangs up does so in the loop.
        await asyncio.sleep(0.05)
        ended.set()

    thread = threading.Thread(target=lambda: asyncio.run(serve()), daemon=True)
    thread.start()
    assert ready.wait(PATIENCE)
    try:
        yield Running(kept["gateway"], log, f"http://127.0.0.1:{kept['port']}/v1")
    finally:
        kept["loop"].call_soon_threadsafe(kept["stop"].set)
        thread.join(PATIENCE)


def until(holds: Callable[[], Any], what: str = "it") -> None:
    """Wait until something holds."""
    end = time.monotonic() + PATIENCE
    while not holds():
        assert time.monotonic() < end, f"{what} did not come to hold"
        time.sleep(0.01)
