"""Sending a question to an OpenAI-compatible endpoint over HTTP, with bounded patience and at a bounded rate."""

from __future__ import annotations

import asyncio
import math
import random
import re
import time
from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any

import orjson
from aiolimiter import AsyncLimiter
from yarl import URL

from equipoise.errors import UpstreamError, UsageError
from equipoise.providers.messages import Usage

if TYPE_CHECKING:
    import aiohttp

__all__ = ["Endpoint", "RefusedError", "kind_of", "retry_after", "usage_of"]

_PASSING = frozenset({408, 409, 425, 429, 500, 502, 503, 504, 529})
_REFUSED = frozenset({400, 422})
_LONGEST_ANSWER = 64 * 1024 * 1024
"""Of 256 texts with 4,096 numbers each, written out, twice; one that never ends must not fill the memory."""
_WORD = re.compile(r"[a-z][a-z0-9_]{0,39}")
_ADVICE = {
    400: "check the model's name and `params`",
    401: "check the API key",
    403: "check that the API key may use this model",
    404: "check the base URL and the model's name",
    422: "check the model's name and `params`",
    429: "lower the concurrency, or wait",
}


class RefusedError(UpstreamError):
    """The endpoint found fault with what was asked (400 or 422): asked again, it would refuse again."""


class Endpoint:
    """`POST {base_url}/{path}`, as patiently as OpenAICompatible says, which see for the arguments.

    Messages of errors hold neither the key nor any part of the question, nor what the endpoint wrote, which
    may repeat them.
    """

    def __init__(
        self,
        base_url: str,
        path: str,
        *,
        api_key: str | None = None,
        rng: random.Random,
        timeout_s: float = 120.0,
        retries: int = 4,
        first_wait_s: float = 0.5,
        longest_wait_s: float = 60.0,
        headers: Mapping[str, str] | None = None,
        requests_per_minute: float | None = None,
        tokens_per_minute: float | None = None,
    ) -> None:
        base = _base(base_url)
        self.origin = str(base.with_query(None))
        """The base URL without its query, which may hold a secret."""
        self._url = base.with_path(f"{base.path.rstrip('/')}/{path}", keep_query=True)
        self.shown = str(self._url.with_query(None))
        """What is asked, as error messages name it."""
        self._headers = dict(headers or {}) | {"content-type": "application/json"}
        if api_key:
            self._headers["authorization"] = f"Bearer {api_key}"
        self._rng = rng
        self._timeout_s = timeout_s
        self._retries = retries
        self._first_wait_s = first_wait_s
        self._longest_wait_s = longest_wait_s
        self._rates = (
            _rate("requests_per_minute", requests_per_minute),
            _rate("tokens_per_minute", tokens_per_minute),
        )
        self._session: aiohttp.ClientSession | None = None
        self._requests: AsyncLimiter | None = None
        self._tokens: AsyncLimiter | None = None
        self._held_until = 0.0
        self._answered = 0

    @property
    def counts_tokens(self) -> bool:
        """Whether `post` must be told of how many tokens a question is."""
        return self._rates[1] is not None

    async def post(self, body: bytes, *, tokens: float = 0.0) -> tuple[bytes, float]:
        """What is answered with status 200, and the seconds of the try that succeeded.

        Raises RefusedError for 400 and 422, UpstreamError for every other end without an answer.
        """
        # Imported where something is asked: a run out of its journal, and a dry run, do without its tenth of a second.
        import aiohttp

        tried = 0
        while True:
            self._open()
            await self._turn(tokens)
            answered_before = self._answered
            started = time.perf_counter()
            wait: float | None = None
            try:
                async with self._open().post(
                    self._url, data=body, headers=self._headers, allow_redirects=False
                ) as response:
                    raw = await _whole(response.content)
                    if raw is None:
                        raise UpstreamError(
                            f"{self.shown} answered {response.status} with more than {_LONGEST_ANSWER >> 20} MiB, and the "
                            "rest was not read; check that the base URL is that of an OpenAI-compatible endpoint"
                        )
                    if response.status == 200:
                        self._answered += 1
                        return raw, time.perf_counter() - started
                    problem = f"answered {response.status}{kind_of(raw)}"
                    if response.status not in _PASSING:
                        raise self._refusal(response.status, problem)
                    wait = retry_after(response.headers)
            except TimeoutError:
                problem = f"did not answer within {self._timeout_s:g} s"
            except aiohttp.ClientError as error:
                problem = f"could not be reached ({type(error).__name__})"
            if wait is not None:
                self._hold(wait, problem)
            # Told when to come back while others get through, a question only queues: no try is lost.
            if wait is None or self._answered == answered_before:
                tried += 1
            if tried > self._retries:
                times = "once" if self._retries == 0 else f"{self._retries + 1} times"
                raise UpstreamError(
                    f"{self.shown} {problem}, asked {times}; see that it is up, then run again"
                )
            if wait is None:
                await asyncio.sleep(self._pause(tried - 1))

    async def aclose(self) -> None:
        """Close the connections; a later `post` opens new ones."""
        if self._session is not None:
            await self._session.close()
            self._session = None

    def _open(self) -> aiohttp.ClientSession:
        if self._session is None or self._session.closed:
            import aiohttp

            # Callers say how much is asked at once. No answer is allowed to set a cookie for the next.
            self._session = aiohttp.ClientSession(
                timeout=aiohttp.ClientTimeout(total=self._timeout_s, sock_connect=min(self._timeout_s, 20.0)),
                connector=aiohttp.TCPConnector(limit=0),
                cookie_jar=aiohttp.DummyCookieJar(),
            )
            # Like a session, a limiter belongs to one event loop.
            requests, tokens = self._rates
            self._requests = None if requests is None else _limiter(requests)
            self._tokens = None if tokens is None else _limiter(tokens)
        return self._session

    async def _turn(self, tokens: float) -> None:
        """Wait until the declared rates and the endpoint's own word let a question out."""
        if self._requests is not None:
            await self._requests.acquire()
        if self._tokens is not None:
            while tokens > 0:
                part = min(tokens, self._tokens.max_rate)
                await self._tokens.acquire(part)
                tokens -= part
        while (left := self._held_until - time.monotonic()) > 0:  # noqa: ASYNC110 - it may be held anew meanwhile
            await asyncio.sleep(left)

    def _hold(self, wait: float, problem: str) -> None:
        if wait > self._longest_wait_s:
            raise UpstreamError(
                f"{self.shown} {problem} and asks to wait {wait:.0f} s; try again after that time"
            )
        self._held_until = max(self._held_until, time.monotonic() + wait)

    def _refusal(self, status: int, problem: str) -> UpstreamError:
        advice = _ADVICE.get(status)
        kind = RefusedError if status in _REFUSED else UpstreamError
        return kind(f"{self.shown} {problem}" + (f"; {advice}" if advice else ""))

    def _pause(self, tried: int) -> float:
        longest: float = min(self._longest_wait_s, self._first_wait_s * 2**tried)
        return longest * self._rng.uniform(0.5, 1.0)


async def _whole(content: aiohttp.StreamReader) -> bytes | None:
    """An answer, unpacked; None for one that is longer than any."""
    said = bytearray()
    async for piece in content.iter_any():
        said += piece
        if len(said) > _LONGEST_ANSWER:
            return None
    return bytes(said)


def kind_of(raw: bytes) -> str:
    """The endpoint's own name of the error, where it is a plain word; its sentence may repeat the prompt.

    >>> kind_of(b'{"error": {"code": "invalid_api_key", "message": "sk-12 is not a key"}}')
    ' (invalid_api_key)'
    """
    try:
        error = orjson.loads(raw)["error"]
        names = [error.get("code"), error.get("type")]
    except (orjson.JSONDecodeError, KeyError, TypeError, AttributeError):
        return ""
    words = [name for name in names if isinstance(name, str) and _WORD.fullmatch(name)]
    return f" ({words[0]})" if words else ""


def usage_of(value: Any) -> Usage | None:
    """The tokens an endpoint counted, or None where it did not.

    >>> usage_of({"prompt_tokens": 3, "completion_tokens": 2})
    Usage(input_tokens=3, output_tokens=2)
    """
    if not isinstance(value, dict):
        return None
    counts = value.get("prompt_tokens"), value.get("completion_tokens")
    if all(isinstance(count, int) and not isinstance(count, bool) and count >= 0 for count in counts):
        return Usage(*counts)  # type: ignore[arg-type]
    return None


def _base(base_url: str) -> URL:
    try:
        url = URL(base_url)
    except ValueError:
        raise UsageError("the base URL is not a URL; accepted: https://HOST/v1") from None
    if url.scheme not in {"http", "https"} or not url.host:
        raise UsageError("the base URL must start with http:// or https:// and name a host: https://HOST/v1")
    if url.user or url.password:
        raise UsageError("the base URL holds a name or password; pass the key by itself")
    return url.with_path(url.path.rstrip("/"), keep_query=True).with_fragment(None)


def _rate(name: str, value: float | None) -> float | None:
    if value is not None and not (math.isfinite(value) and value >= 1):
        raise UsageError(f"{name} must be a number from 1 on, or None for no limit, not {value}")
    return value


def _limiter(per_minute: float) -> AsyncLimiter:
    """At most `per_minute` in any minute: a tenth of them at once, the others evenly."""
    at_once = max(1.0, per_minute / 10)
    return AsyncLimiter(at_once, 60.0 * at_once / (per_minute - (at_once - 1.0)))


def retry_after(headers: Mapping[str, str]) -> float | None:
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
    except (ValueError, TypeError, OverflowError):
        # A date of no calendar, or in a zone of no earth.
        return None
