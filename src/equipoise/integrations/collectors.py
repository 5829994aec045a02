"""A collector of facts over HTTP: what it is sent, and what its answer means.

An answer speaks of the facts (a refusal that would come again), of the moment (later it may be otherwise), or it
acknowledges. Nothing a collector writes is kept but a plain word: its sentences may repeat what it was sent.
"""

from __future__ import annotations

import gzip
import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, TypeAlias

from yarl import URL

from equipoise.errors import MissingExtraError, UsageError
from equipoise.integrations.parcels import Form, JsonLines, Parcel
from equipoise.providers.posting import kind_of, retry_after

if TYPE_CHECKING:
    import aiohttp

__all__ = [
    "KINDS",
    "MOST",
    "Acknowledged",
    "Answer",
    "Away",
    "Collector",
    "Receiver",
    "Refused",
    "Sign",
    "address",
    "collector",
    "of_otlp",
]

KINDS = ("http", "otlp")
MOST = 500
"""How many facts are posted together, at most."""
_OF_THE_SENDER = frozenset({401, 403, 404, 405, 407, 408, 409, 415, 421, 425, 426, 429})
"""Of the answers 4xx those that speak of a key, an address or a moment: every fact would meet them."""
_LONGEST_ANSWER = 64 * 1024
_CONNECTING_S = 20.0


@dataclass(frozen=True, slots=True)
class Acknowledged:
    """The collector has all of the facts."""


@dataclass(frozen=True, slots=True)
class Refused:
    """At least one of the facts will never be taken; it is not said which. `status` is that of HTTP."""

    status: int
    reason: str


@dataclass(frozen=True, slots=True)
class Away:
    """No answer that counts, and why; `wait_s` is for how long the collector asks to be left alone."""

    reason: str
    wait_s: float | None = None


Answer: TypeAlias = Acknowledged | Refused | Away


class Receiver(Protocol):
    """Whoever takes facts. `name` is what a cursor is kept by, and what is shown; `most` facts are posted together."""

    @property
    def name(self) -> str: ...

    @property
    def most(self) -> int: ...

    async def post(self, parcels: Sequence[Parcel]) -> Answer:
        """Send facts, at least one, as one batch, and say what became of it."""
        ...

    async def aclose(self) -> None:
        """Let go of what is held open."""
        ...


Sign: TypeAlias = Callable[[str, bytes], Mapping[str, str]]
"""The headers by which a receiver knows who sent a body, of the key of its facts and the body itself."""


class Collector:
    """`POST` to one address. `name` is its kind and address, unless it is given another.

    An answer with status 2xx acknowledges; a redirect is not followed. For use within one event loop; an answer is
    waited for `timeout_s` seconds at most. With `public` no private address is called, whatever a name stands for at
    the moment it is asked. A body is packed by gzip unless told otherwise.
    """

    def __init__(
        self,
        to: URL,
        kind: str,
        form: Form,
        *,
        headers: Mapping[str, str],
        timeout_s: float,
        name: str | None = None,
        most: int = MOST,
        packed: bool = True,
        sign: Sign | None = None,
        public: bool = False,
    ) -> None:
        self.name = name or f"{kind} {to}"
        self.most = most
        self._packed, self._sign, self._public = packed, sign, public
        self._to = to
        self._form = form
        self._timeout_s = timeout_s
        self._headers = dict(headers) | {
            "content-type": form.content_type,
            "accept-encoding": "identity",
        }
        if packed:
            self._headers["content-encoding"] = "gzip"
        self._session: aiohttp.ClientSession | None = None

    async def post(self, parcels: Sequence[Parcel]) -> Answer:
        """Send facts, at least one, as one batch, and say what became of it."""
        import aiohttp

        from equipoise.integrations.addresses import PrivateAddressError

        # The same facts have the same key, whoever sends them again.
        key = hashlib.sha256("\0".join(each.row.event_id for each in parcels).encode()).hexdigest()
        body = self._form.body(parcels)
        if self._packed:
            body = gzip.compress(body, 6, mtime=0)
        headers = self._headers | {"idempotency-key": key}
        if self._sign is not None:
            headers |= self._sign(key, body)
        try:
            async with self._open().post(
                self._to, data=body, headers=headers, allow_redirects=False
            ) as response:
                said = await _beginning(response.content)
                return self._meaning(response.status, response.headers, said)
        except TimeoutError:
            return Away(f"did not answer within {self._timeout_s:g} s")
        except aiohttp.ClientError as error:
            if isinstance(error.__cause__, PrivateAddressError):
                return Away("stands for a private address, which is called only where that is allowed")
            return Away(f"could not be reached ({type(error).__name__})")

    def _meaning(self, status: int, headers: Mapping[str, str], said: bytes) -> Answer:
        if 200 <= status < 300:
            rejected = self._form.rejected(said) if len(said) <= _LONGEST_ANSWER else None
            if rejected is None:
                return Away(f"answered {status} with something else than an acknowledgement")
            if rejected <= 0:
                return Acknowledged()
            return Refused(status, "rejected by a partial success")
        problem = f"answered {status}{kind_of(said)}"
        if 400 <= status < 500 and status not in _OF_THE_SENDER:
            return Refused(status, problem)
        return Away(problem, retry_after(headers))

    def _open(self) -> aiohttp.ClientSession:
        if self._session is None:
            import aiohttp

            from equipoise.integrations.addresses import PublicResolver

            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(resolver=PublicResolver()) if self._public else None,
                timeout=aiohttp.ClientTimeout(
                    total=self._timeout_s, sock_connect=min(self._timeout_s, _CONNECTING_S)
                ),
                cookie_jar=aiohttp.DummyCookieJar(),
                # A few packed bytes may be gigabytes.
                auto_decompress=False,
            )
        return self._session

    async def aclose(self) -> None:
        """Close the connections."""
        if self._session is not None:
            await self._session.close()
            self._session = None


async def _beginning(content: aiohttp.StreamReader) -> bytes:
    """An answer, or so much of it that it is seen to be too long."""
    said = bytearray()
    async for piece in content.iter_any():
        said += piece
        if len(said) > _LONGEST_ANSWER:
            break
    return bytes(said)


def collector(
    to: str, kind: str = "http", *, headers: Mapping[str, str] | None = None, timeout_s: float = 30.0
) -> Collector:
    """The collector at an address. `kind` is `http` (JSON lines) or `otlp` (log records of OpenTelemetry in
    protobuf; to an address without a path `/v1/logs` is added, as OpenTelemetry's own exporters do).

    UsageError for what is no address or no kind; MissingExtraError for `otlp` without the `telemetry` extra.

    >>> collector("https://collector.example/facts").name
    'http https://collector.example/facts'
    >>> collector("http://127.0.0.1:4318", "otlp").name
    'otlp http://127.0.0.1:4318/v1/logs'
    """
    there = address(to)
    if kind == "http":
        return Collector(there, kind, JsonLines(), headers=headers or {}, timeout_s=timeout_s)
    if kind != "otlp":
        raise UsageError(f"'{kind}' is no kind of collector; accepted: {' or '.join(KINDS)}")
    try:
        from equipoise.integrations.otlp_logs import LogRecords
    except ModuleNotFoundError:
        raise MissingExtraError("a collector of the kind otlp", "telemetry") from None
    return Collector(of_otlp(there), kind, LogRecords(), headers=headers or {}, timeout_s=timeout_s)


def of_otlp(there: URL) -> URL:
    """Where a collector of OpenTelemetry takes log records."""
    return there.with_path("/v1/logs", keep_query=True) if there.path == "/" else there


def address(to: str) -> URL:
    """The address of a collector; UsageError for what cannot be one, or holds a secret."""
    try:
        url = URL(to)
        # Asked for here, where a port or a name that is none shows itself.
        (url.raw_host or "").encode("idna")
        usable = url.scheme in {"http", "https"} and bool(url.host) and url.port is not None
    except ValueError:
        usable = False
    if not usable:
        raise UsageError(
            "the address of the collector cannot be used; accepted: http:// or https://, a host and a path, such as "
            "https://collector.example/facts"
        )
    if url.user or url.password:
        raise UsageError(
            "the address of the collector holds a name or password, and it is shown and kept; "
            "put what it must be shown into EQUIPOISE_OUTBOX_HEADERS"
        )
    # With and without the last slash it is one address, and has one cursor.
    return (url if url.path != "/" else url.with_path("/", keep_query=True)).with_fragment(None)
