"""A wrapped client of the real `openai` package on a simulated endpoint, and what its router kept."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import openai
from aiohttp import web
from gateways import Upstream, upstream

from equipoise.errors import RecordError
from equipoise.events.log import MemoryLog
from equipoise.experiment.reading import read_canonical
from equipoise.sdk.router import Router
from equipoise.sdk.wrapping import wrap

DEMO: dict[str, Any] = {
    "name": "demo",
    "hypothesis": "A newer model resolves more.",
    "unit": {"type": "conversation", "from": "header:x-conversation-id"},
    "changes": ["model", "system"],
    "variants": {
        "control": {"model": "model-a"},
        "treatment": {"model": "model-b", "system": "Be brief."},
    },
    "metrics": {"error_rate": {"priority": "primary"}},
    "prices": {"model-a": {"input": 1.0, "output": 2.0}, "model-b": {"input": 1.0, "output": 2.0}},
}
ASK: dict[str, Any] = {"model": "theirs", "messages": [{"role": "user", "content": "Where is it?"}]}
# By the hash, as docs/assignment.md says it.
CONTROL, TREATMENT = "conversation-1", "conversation-2"


class Down(MemoryLog):
    """A log that takes in nothing while it is down."""

    down = True

    def append(self, facts: Any) -> Any:
        if self.down:
            raise RecordError("the disk is full")
        return super().append(facts)


def experiment(**more: Any) -> Any:
    return read_canonical(DEMO | more)


def plain(up: Upstream, kind: Any = openai.OpenAI, **more: Any) -> Any:
    settings = {
        "base_url": f"http://127.0.0.1:{up.port}/v1",
        "api_key": "a key",
        "max_retries": 0,
        "timeout": 60,
    }
    return kind(**(settings | more))


@contextmanager
def wrapped(
    script: Any = None, *, log: Any = None, kind: Any = openai.OpenAI, texts: Any = None, **more: Any
) -> Iterator[tuple[Any, Router, Upstream]]:
    """A wrapped client of a simulated endpoint, with its router."""
    log = MemoryLog() if log is None else log
    with upstream(script) as up, Router(experiment(**more), log=log, texts=texts) as router:
        client = wrap(plain(up, kind), router)
        yield client, router, up
        if kind is openai.OpenAI:
            client.close()


def facts(router: Router, kind: Any) -> list[Any]:
    """The facts of a kind once everything handed over is written."""
    router.flush()
    log: Any = router._record.writer._log  # type: ignore[union-attr]
    return [record.fact for record in log.read_since(0) if isinstance(record.fact, kind)]


def run(main: Any, client: Any) -> None:
    """Run a coroutine, and close the client where it ran."""

    async def run_and_close() -> None:
        await main
        if isinstance(client, openai.AsyncOpenAI):
            await client.close()

    asyncio.run(run_and_close())


async def responses(request: web.Request, body: dict[str, Any]) -> web.StreamResponse:
    """The responses of an endpoint, whole and streamed."""
    text = '{"carrier":"DHL"}' if body.get("text") else "It ships today."
    reply = {
        "id": "resp-1", "object": "response", "created_at": 1, "model": body["model"], "status": "completed",
        "output": [{"id": "m", "type": "message", "role": "assistant", "status": "completed",
                    "content": [{"type": "output_text", "text": text, "annotations": []}]}],
        "parallel_tool_calls": False, "tool_choice": "auto", "tools": [],
        "usage": {"input_tokens": 10, "output_tokens": 4, "total_tokens": 14,
                  "input_tokens_details": {"cached_tokens": 2}, "output_tokens_details": {"reasoning_tokens": 0}},
    }  # fmt: skip
    if not body.get("stream"):
        return web.json_response(reply)
    answer = web.StreamResponse(headers={"content-type": "text/event-stream"})
    await answer.prepare(request)
    at = {"item_id": "m", "output_index": 0, "content_index": 0}
    item = {"id": "m", "type": "message", "role": "assistant", "status": "in_progress", "content": []}
    part = {"type": "output_text", "text": "", "annotations": []}
    events: list[dict[str, Any]] = [
        {
            "type": "response.created",
            "response": reply | {"status": "in_progress", "output": [], "usage": None},
        },
        {"type": "response.output_item.added", "output_index": 0, "item": item},
        {"type": "response.content_part.added", "part": part, **at},
        {"type": "response.output_text.delta", "delta": text[:3], "logprobs": [], **at},
        {"type": "response.output_text.delta", "delta": text[3:], "logprobs": [], **at},
        {"type": "response.completed", "response": reply},
    ]
    for number, event in enumerate(events):
        data = web.json_response(event | {"sequence_number": number}).text
        await answer.write(f"event: {event['type']}\ndata: {data}\n\n".encode())
    return answer


async def broken(request: web.Request, body: dict[str, Any]) -> web.StreamResponse:
    return web.json_response({"error": {"message": "too busy", "type": "x"}}, status=429)
