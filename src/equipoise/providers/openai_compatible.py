"""An endpoint that speaks the OpenAI protocol, asked over HTTP with bounded patience."""

from __future__ import annotations

import asyncio
import math
import random
import re
import time
from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from typing import Any, Self

import aiohttp
import orjson
from yarl import URL

from equipoise.errors import UpstreamError, UsageError
from equipoise.providers.messages import Reply, Request, Usage

__all__ = ["OpenAICompatible"]

_PASSING = frozenset({408, 409, 425, 429, 500, 502, 503, 504, 529})
_WORD = re.compile(r"[a-z][a-z0-9_]{0,39}")
_ADVICE = {
    400: "check the model's name and `params`",
    401: "check the API key",
    403: "check that the API key may use this model",
    404: "check the base URL and the model's name",
    429: "lower the concurrency, or wait",
}


class OpenAICompatible:
    """A Provider for `POST {base_url}/chat/completions`.

    What may pass (429, 5xx, a broken connection, a timeout) is tried again up to `retries` times: after
    the time the endpoint asks for in Retry-After, otherwise after a jittered, doubling pause drawn from
    `rng`. An endpoint that asks for more than `longest_wait_s` is not waited for. Messages of errors hold
    neither the key nor any part of the prompt, nor what the endpoint wrote, which may repeat them.
    """

    def __init__(
        self,
        base_url: str,
        *,
        api_key: str | None = None,
        rng: random.Random,
        timeout_s: float = 120.0,
        retries: int = 4,
        first_wait_s: float = 0.5,
        longest_wait_s: float = 60.0,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        try:
            url = URL(base_url)
        except ValueError:
            raise UsageError("the base URL is not a URL; accepted: https://HOST/v1") from None
        if url.scheme not in {"http", "https"} or not url.host:
            raise UsageError(
                "the base URL must start with http:// or https:// and name a host: https://HOST/v1"
            )
        if url.user or url.password:
            raise UsageError("the base URL holds a name or password; pass the key by itself")
        self._url = url.with_path(url.path.rstrip("/") + "/chat/completions").with_fragment(None)
        self._shown = str(self._url.with_query(None))
        self._headers = dict(headers or {}) | {"content-type": "application/json"}
        if api_key:
            self._headers["authorization"] = f"Bearer {api_key}"
        self._rng = rng
        self._timeout = aiohttp.ClientTimeout(total=timeout_s, sock_connect=min(timeout_s, 20.0))
        self._retries = retries
        self._first_wait_s = first_wait_s
        self._longest_wait_s = longest_wait_s
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    async def complete(self, request: Request) -> Reply:
        """Ask, patiently; `latency_s` is that of the try that succeeded."""
        body = orjson.dumps(request.wire())
        for tried in range(self._retries + 1):
            started = time.perf_counter()
            wait: float | None = None
            try:
                async with self._open().post(
                    self._url, data=body, headers=self._headers, allow_redirects=False
                ) as response:
                    raw = await response.read()
                    if response.status == 200:
                        return self._reply(raw, request, time.perf_counter() - started)
                    problem = f"answered {response.status}{_kind(raw)}"
                    if response.status not in _PASSING:
                        advice = _ADVICE.get(response.status)
                        raise UpstreamError(f"{self._shown} {problem}" + (f"; {advice}" if advice else ""))
                    wait = _retry_after(response.headers)
                    if wait is not None and wait > self._longest_wait_s:
                        raise UpstreamError(
                            f"{self._shown} {problem} and asks to wait {wait:.0f} s; try again after that time"
                        )
            except TimeoutError:
                problem = f"did not answer within {self._timeout.total:g} s"
            except aiohttp.ClientError as error:
                problem = f"could not be reached ({type(error).__name__})"
            if tried < self._retries:
                await asyncio.sleep(self._pause(tried) if wait is None else wait)
        times = "once" if self._retries == 0 else f"{self._retries + 1} times"
        raise UpstreamError(f"{self._shown} {problem}, asked {times}; see that it is up, then run again")

    async def aclose(self) -> None:
        """Close the connections; a later `complete` opens new ones."""
        if self._session is not None:
            await self._session.close()
            self._session = None

    def _open(self) -> aiohttp.ClientSession:
        if self._session is None or self._session.closed:
            self._session = aiohttp.ClientSession(timeout=self._timeout)
        return self._session

    def _pause(self, tried: int) -> float:
        longest: float = min(self._longest_wait_s, self._first_wait_s * 2**tried)
        return longest * self._rng.uniform(0.5, 1.0)

    def _reply(self, raw: bytes, request: Request, latency_s: float) -> Reply:
        try:
            answer = orjson.loads(raw)
            choice = answer["choices"][0]
            text = _text(choice["message"].get("content"))
        except (orjson.JSONDecodeError, KeyError, IndexError, TypeError, AttributeError):
            raise UpstreamError(
                f"{self._shown} answered 200{_kind(raw)} with something that is not a chat completion; "
                "check that the base URL is that of an OpenAI-compatible endpoint"
            ) from None
        return Reply(
            text=text,
            model=_word(answer.get("model")) or request.model,
            finish_reason=_word(choice.get("finish_reason")),
            usage=_usage(answer.get("usage")),
            latency_s=latency_s,
            fingerprint=_word(answer.get("system_fingerprint")),
        )


def _text(content: Any) -> str:
    if content is None:  # a refusal or a tool call: the model wrote no text
        return ""
    if isinstance(content, str):
        return content
    return "".join(part["text"] for part in content if part.get("type") == "text")


def _word(value: Any) -> str | None:
    return value if isinstance(value, str) and value else None


def _usage(value: Any) -> Usage | None:
    if not isinstance(value, dict):
        return None
    counts = value.get("prompt_tokens"), value.get("completion_tokens")
    if all(isinstance(count, int) and not isinstance(count, bool) and count >= 0 for count in counts):
        return Usage(*counts)  # type: ignore[arg-type]
    return None


def _kind(raw: bytes) -> str:
    """The endpoint's own name of the error, where it is a plain word; its sentence may repeat the prompt."""
    try:
        error = orjson.loads(raw)["error"]
        names = [error.get("code"), error.get("type")]
    except (orjson.JSONDecodeError, KeyError, TypeError, AttributeError):
        return ""
    words = [name for name in names if isinstance(name, str) and _WORD.fullmatch(name)]
    return f" ({words[0]})" if words else ""


def _retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds the endpoint asks to wait: a number, or a date taken against the endpoint's own clock."""
    asked = headers.get("Retry-After")
    if asked is None:
        return None
    try:
        seconds = float(asked)
        return max(0.0, seconds) if math.isfinite(seconds) else None
    except ValueError:
        pass
    try:
        return max(
            0.0,
            (parsedate_to_datetime(asked) - parsedate_to_datetime(headers.get("Date", ""))).total_seconds(),
        )
    except (ValueError, TypeError):
        return None
