"""A simulated endpoint: a real HTTP server on this machine that speaks the OpenAI protocol.

Its answers come from a function. It calls itself simulated wherever it can: in the header
`x-equipoise-simulated`, in `system_fingerprint` and in the owner of its models.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import orjson
from aiohttp import web

__all__ = ["SimulatedAnswer", "SimulatedEndpoint"]

_HEADERS = {"x-equipoise-simulated": "true"}


@dataclass(frozen=True, slots=True, kw_only=True)
class SimulatedAnswer:
    """What the endpoint replies: a text after `latency_s` seconds, or with `status` 400 or more an error.

    `retry_after_s` goes out as the header Retry-After. A streamed reply says its first word after
    `latency_s` and the rest over `writing_s`.
    """

    text: str = ""
    latency_s: float = 0.0
    writing_s: float = 0.0
    finish_reason: str = "stop"
    status: int = 200
    error: str = "simulated failure"
    retry_after_s: float | None = None


Answer = Callable[[Mapping[str, Any]], SimulatedAnswer]


class SimulatedEndpoint:
    """Serves while its context lasts, on a free port of 127.0.0.1; entering gives the base URL.

    Use `async with` inside a running loop, and `with` from ordinary code (the server then runs in a thread
    of its own, and `answer` is called there). With `api_key`, requests without it are refused.

    >>> from urllib.request import urlopen
    >>> with SimulatedEndpoint(lambda body: SimulatedAnswer(text="Hello"), models=("bot",)) as url:
    ...     orjson.loads(urlopen(url + "/models").read())["data"][0]["owned_by"]
    'equipoise-simulated'
    """

    def __init__(
        self, answer: Answer, *, models: tuple[str, ...] = ("simulated",), api_key: str | None = None
    ) -> None:
        self._answer = answer
        self._models = models
        self._api_key = api_key
        self._served = 0
        self._runner: web.AppRunner | None = None
        self._thread: threading.Thread | None = None
        self._leave: Callable[[], object] | None = None

    @property
    def served(self) -> int:
        """How many chat completions were asked for, refused ones included."""
        return self._served

    async def __aenter__(self) -> str:
        app = web.Application(client_max_size=32 * 1024**2, middlewares=[_errors_as_json])
        app.router.add_post("/v1/chat/completions", self._complete)
        app.router.add_get("/v1/models", _list_of(self._models))
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=1.0)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        return f"http://127.0.0.1:{self._runner.addresses[0][1]}/v1"

    async def __aexit__(self, *_: object) -> None:
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    def __enter__(self) -> str:
        ready = threading.Event()
        outcome: list[str | BaseException] = []

        async def serve() -> None:
            leave = asyncio.Event()
            loop = asyncio.get_running_loop()
            self._leave = partial(loop.call_soon_threadsafe, leave.set)
            async with self as url:
                outcome.append(url)
                ready.set()
                await leave.wait()

        def run() -> None:
            try:
                asyncio.run(serve())
            except BaseException as error:  # noqa: BLE001 - raised again in the thread that waits
                outcome.append(error)
                ready.set()

        self._thread = threading.Thread(target=run, name="simulated-endpoint", daemon=True)
        self._thread.start()
        ready.wait()
        first = outcome[0]
        if isinstance(first, BaseException):
            raise first
        return first

    def __exit__(self, *_: object) -> None:
        if self._leave is not None and self._thread is not None:
            self._leave()
            self._thread.join()
            self._leave = self._thread = None

    async def _complete(self, request: web.Request) -> web.StreamResponse:
        self._served += 1
        number = self._served
        if self._api_key is not None and request.headers.get("Authorization") != f"Bearer {self._api_key}":
            return _error(401, "the API key is missing or wrong", "invalid_request_error", "invalid_api_key")
        try:
            body = orjson.loads(await request.read())
        except orjson.JSONDecodeError:
            return _error(400, "the body is not JSON", "invalid_request_error", "invalid_json")
        if fault := _fault(body):
            return _error(400, fault, "invalid_request_error", "invalid_value")
        try:
            answer = self._answer(body)
        except Exception as error:  # noqa: BLE001 - a server answers 500 whatever the fault
            return _error(
                500, f"the simulation failed: {type(error).__name__}", "server_error", "simulation_failed"
            )
        if answer.latency_s:
            await asyncio.sleep(answer.latency_s)
        if answer.status >= 400:
            kind = "rate_limit_exceeded" if answer.status == 429 else "simulated_failure"
            response = _error(answer.status, answer.error, "simulated_error", kind)
            if answer.retry_after_s is not None:
                response.headers["Retry-After"] = f"{answer.retry_after_s:g}"
            return response
        head = {
            "id": f"chatcmpl-simulated-{number}",
            "created": 0,
            "model": body["model"],
            "system_fingerprint": "simulated",
        }
        usage = _usage(body, answer.text)
        if body.get("stream"):
            return await self._stream(request, body, answer, head, usage)
        message = {"role": "assistant", "content": answer.text, "refusal": None}
        choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": answer.finish_reason}
        return _json(head | {"object": "chat.completion", "choices": [choice], "usage": usage})

    async def _stream(
        self,
        request: web.Request,
        body: Mapping[str, Any],
        answer: SimulatedAnswer,
        head: Mapping[str, Any],
        usage: Mapping[str, int],
    ) -> web.StreamResponse:
        pieces = _pieces(answer.text)
        async with _events(request) as send:

            async def chunk(delta: Mapping[str, Any], finish: str | None = None) -> None:
                choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}
                await send({**head, "object": "chat.completion.chunk", "choices": [choice]})

            await chunk({"role": "assistant", "content": ""})
            for piece in pieces:
                await chunk({"content": piece})
                if answer.writing_s:
                    await asyncio.sleep(answer.writing_s / len(pieces))
            await chunk({}, answer.finish_reason)
            if (body.get("stream_options") or {}).get("include_usage"):
                await send({**head, "object": "chat.completion.chunk", "choices": [], "usage": usage})
        return send.response


def _list_of(models: tuple[str, ...]) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
    listed = [
        {"id": model, "object": "model", "created": 0, "owned_by": "equipoise-simulated"} for model in models
    ]

    async def answer(_: web.Request) -> web.StreamResponse:
        return _json({"object": "list", "data": listed})

    return answer


class _Send:
    def __init__(self, response: web.StreamResponse) -> None:
        self.response = response

    async def __call__(self, event: Mapping[str, Any]) -> None:
        await self.response.write(b"data: " + orjson.dumps(event) + b"\n\n")


@asynccontextmanager
async def _events(request: web.Request) -> AsyncIterator[_Send]:
    headers = _HEADERS | {"Content-Type": "text/event-stream", "Cache-Control": "no-cache"}
    response = web.StreamResponse(headers=headers)
    await response.prepare(request)
    yield _Send(response)
    await response.write(b"data: [DONE]\n\n")
    await response.write_eof()


@web.middleware
async def _errors_as_json(request: web.Request, handler: Any) -> web.StreamResponse:
    try:
        answered: web.StreamResponse = await handler(request)
        return answered
    except web.HTTPException as error:
        return _error(
            error.status, f"{request.method} {request.path}: {error.reason}", "invalid_request_error", None
        )


def _json(value: Any, status: int = 200) -> web.Response:
    return web.Response(
        body=orjson.dumps(value), status=status, content_type="application/json", headers=_HEADERS
    )


def _error(status: int, message: str, kind: str, code: str | None) -> web.Response:
    return _json({"error": {"message": message, "type": kind, "param": None, "code": code}}, status)


def _fault(body: Any) -> str | None:
    if not isinstance(body, dict):
        return "the body is not a JSON object"
    if not isinstance(body.get("model"), str):
        return "'model' is missing or not a text"
    messages = body.get("messages")
    if not isinstance(messages, list) or not messages:
        return "'messages' is missing or empty"
    if not all(isinstance(message, dict) and isinstance(message.get("role"), str) for message in messages):
        return "each of 'messages' must be an object with a role"
    return None


def _pieces(text: str) -> list[str]:
    words = text.split(" ")
    return [word if index == 0 else " " + word for index, word in enumerate(words)]


def _usage(body: Mapping[str, Any], text: str) -> dict[str, int]:
    """Simulated counts: one token for every four characters, at least one where there are any."""
    read = sum(
        len(message["content"]) for message in body["messages"] if isinstance(message.get("content"), str)
    )
    prompt, completion = -(-read // 4), -(-len(text) // 4)
    return {"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": prompt + completion}
