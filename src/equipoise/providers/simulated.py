"""A simulated endpoint: a real HTTP server on this machine that speaks the OpenAI protocol.

Its answers come from a function. It calls itself simulated wherever it can: in the header
`x-equipoise-simulated`, in `system_fingerprint` and in the owner of its models.
"""

from __future__ import annotations

import asyncio
import base64
import math
import threading
import time
from array import array
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import orjson
from aiohttp import web

from equipoise.providers.hashed import hashed_vector

__all__ = ["SimulatedAnswer", "SimulatedEndpoint"]

_HEADERS = {"x-equipoise-simulated": "true"}


@dataclass(frozen=True, slots=True, kw_only=True)
class SimulatedAnswer:
    """What the endpoint replies: a text after `latency_s` seconds, or with `status` 400 or more an error.

    `retry_after_s` goes out as the header Retry-After. A streamed reply says its first word after
    `latency_s` and the rest over `writing_s`. `likely` holds, for each token, the tokens that might stand
    there with their log-probabilities, the one that does first; a whole reply tells them where it is asked to.
    """

    text: str = ""
    latency_s: float = 0.0
    writing_s: float = 0.0
    finish_reason: str = "stop"
    status: int = 200
    error: str = "simulated failure"
    retry_after_s: float | None = None
    likely: Sequence[Sequence[tuple[str, float]]] | None = None


Answer = Callable[[Mapping[str, Any]], SimulatedAnswer]


class SimulatedEndpoint:
    """Serves while its context lasts, on a free port of 127.0.0.1; entering gives the base URL.

    Use `async with` inside a running loop, and `with` from ordinary code (the server then runs in a thread
    of its own, and `answer` is called there). With `api_key`, requests without it are refused. A chat
    completion that names one of `refuses` is refused with 400, and one beyond `limit` within any `limit_s`
    seconds with 429 and the time to wait. Embeddings are those of `hashed_vector`, at once and unlimited.

    >>> from urllib.request import urlopen
    >>> with SimulatedEndpoint(lambda body: SimulatedAnswer(text="Hello"), models=("bot",)) as url:
    ...     orjson.loads(urlopen(url + "/models").read())["data"][0]["owned_by"]
    'equipoise-simulated'
    """

    def __init__(
        self,
        answer: Answer,
        *,
        models: tuple[str, ...] = ("simulated",),
        api_key: str | None = None,
        refuses: Collection[str] = (),
        limit: int | None = None,
        limit_s: float = 60.0,
    ) -> None:
        self._answer = answer
        self._models = models
        self._api_key = api_key
        self._refuses = frozenset(refuses)
        self._limit = limit
        self._limit_s = limit_s
        self._let_in: deque[float] = deque()
        self._served = 0
        self._embedded = 0
        self._runner: web.AppRunner | None = None
        self._thread: threading.Thread | None = None
        self._leave: Callable[[], object] | None = None

    @property
    def served(self) -> int:
        """How many chat completions were asked for, refused ones included."""
        return self._served

    @property
    def embedded(self) -> int:
        """How many texts were turned into vectors."""
        return self._embedded

    async def __aenter__(self) -> str:
        app = web.Application(client_max_size=32 * 1024**2, middlewares=[_errors_as_json])
        app.router.add_post("/v1/chat/completions", self._complete)
        app.router.add_post("/v1/embeddings", self._embed)
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
        body = await self._read(request, _fault)
        if isinstance(body, web.Response):
            return body
        if unknown := sorted(self._refuses.intersection(body)):
            return _error(
                400, f"'{unknown[0]}' is not supported", "invalid_request_error", "unsupported_parameter"
            )
        if (wait := self._wait_s()) > 0:
            response = _error(429, "too many requests", "rate_limit_error", "rate_limit_exceeded")
            response.headers["Retry-After"] = f"{wait:.3f}"
            return response
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
        choice = {
            "index": 0,
            "message": message,
            "logprobs": _logprobs(body, answer),
            "finish_reason": answer.finish_reason,
        }
        return _json(head | {"object": "chat.completion", "choices": [choice], "usage": usage})

    async def _embed(self, request: web.Request) -> web.StreamResponse:
        body = await self._read(request, _embedding_fault)
        if isinstance(body, web.Response):
            return body
        texts = [body["input"]] if isinstance(body["input"], str) else body["input"]
        self._embedded += len(texts)
        vectors = [hashed_vector(text, body.get("dimensions", 256)) for text in texts]
        told = map(_packed, vectors) if body.get("encoding_format") == "base64" else vectors
        data = [{"object": "embedding", "index": at, "embedding": each} for at, each in enumerate(told)]
        read = sum(map(_tokens, texts))
        usage = {"prompt_tokens": read, "total_tokens": read}
        return _json({"object": "list", "model": body["model"], "data": data, "usage": usage})

    async def _read(self, request: web.Request, fault_of: Callable[[Any], str | None]) -> Any:
        """The body of a request that may be answered, or the refusal."""
        if self._api_key is not None and request.headers.get("Authorization") != f"Bearer {self._api_key}":
            return _error(401, "the API key is missing or wrong", "invalid_request_error", "invalid_api_key")
        try:
            body = orjson.loads(await request.read())
        except orjson.JSONDecodeError:
            return _error(400, "the body is not JSON", "invalid_request_error", "invalid_json")
        if fault := fault_of(body):
            return _error(400, fault, "invalid_request_error", "invalid_value")
        return body

    def _wait_s(self) -> float:
        """How long until one more may be let in; 0 where it may now, and then it is."""
        if self._limit is None:
            return 0.0
        now = time.monotonic()
        while self._let_in and self._let_in[0] <= now - self._limit_s:
            self._let_in.popleft()
        if len(self._let_in) >= self._limit:
            return math.ceil((self._let_in[0] + self._limit_s - now) * 1000) / 1000
        self._let_in.append(now)
        return 0.0

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


def _embedding_fault(body: Any) -> str | None:
    if not isinstance(body, dict):
        return "the body is not a JSON object"
    if not isinstance(body.get("model"), str):
        return "'model' is missing or not a text"
    given = body.get("input")
    texts = given if isinstance(given, list) else [given]
    if not texts or not all(isinstance(text, str) and text for text in texts):
        return "'input' must be a text or a list of texts, none of them empty"
    dimensions = body.get("dimensions", 256)
    if not isinstance(dimensions, int) or isinstance(dimensions, bool) or not 1 <= dimensions <= 4096:
        return "'dimensions' must be a whole number from 1 to 4096"
    return None


def _packed(vector: Sequence[float]) -> str:
    return base64.b64encode(array("f", vector).tobytes()).decode()


def _logprobs(body: Mapping[str, Any], answer: SimulatedAnswer) -> dict[str, Any] | None:
    if not body.get("logprobs") or answer.likely is None:
        return None
    told = [[_logprob(*each) for each in alternatives] for alternatives in answer.likely]
    most = body.get("top_logprobs") or 0
    return {"content": [{**each[0], "top_logprobs": each[:most]} for each in told], "refusal": None}


def _logprob(token: str, logprob: float) -> dict[str, Any]:
    return {"token": token, "logprob": logprob, "bytes": list(token.encode())}


def _pieces(text: str) -> list[str]:
    words = text.split(" ")
    return [word if index == 0 else " " + word for index, word in enumerate(words)]


def _usage(body: Mapping[str, Any], text: str) -> dict[str, int]:
    """Simulated counts: one token for every four characters, at least one where there are any."""
    read = sum(
        len(message["content"]) for message in body["messages"] if isinstance(message.get("content"), str)
    )
    prompt, completion = -(-read // 4), _tokens(text)
    return {"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": prompt + completion}


def _tokens(text: str) -> int:
    return -(-len(text) // 4)
