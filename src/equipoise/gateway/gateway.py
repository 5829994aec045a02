"""The gateway of one process: what it serves, what it counts, and where everything meets."""

from __future__ import annotations

import asyncio
import hmac
import logging
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, Any

import orjson

from equipoise.assignment.applying import API
from equipoise.assignment.configuration import Configuration
from equipoise.assignment.enrolled import Enrolled
from equipoise.assignment.following import Following
from equipoise.assignment.pins import PinStore
from equipoise.assignment.tokens import Signer
from equipoise.clock import Clock, SystemClock
from equipoise.events.log import EventLog
from equipoise.events.text_writer import TextWriter
from equipoise.events.texts import TextStore
from equipoise.experiment.endpoint import Timeouts
from equipoise.experiment.prices import cost_of
from equipoise.gateway.enrolling import Enrolling
from equipoise.gateway.feedback import Feedback
from equipoise.gateway.host import Swept
from equipoise.gateway.http1 import Exchange, Limits, Server, error_body
from equipoise.gateway.metrics import Counts
from equipoise.gateway.proxying import Proxied
from equipoise.gateway.recording import Recorder
from equipoise.gateway.routing import Part, Route, Routes, without_clashes
from equipoise.gateway.shadowing import Shadows
from equipoise.gateway.tracing import Trace, trace_of
from equipoise.gateway.turn import Turn
from equipoise.gateway.upstream import Address, Call, Pool, address
from equipoise.providers.hearing import Heard
from equipoise.scoring.capturing import Answered, Asked

if TYPE_CHECKING:
    from opentelemetry.trace import Tracer

__all__ = ["Gateway", "GatewaySettings"]

_SWEEP = 0.05
_WARM = 60.0
_PATHS: Mapping[str, tuple[API, str]] = {
    "/v1/chat/completions": ("chat", "/chat/completions"),
    "/v1/responses": ("responses", "/responses"),
    "/v1/embeddings": ("embeddings", "/embeddings"),
}
_TRACES = 4_000
_PARTING = 5.0
_UNITS_OF_A_TRACE = 50
_logger = logging.getLogger("equipoise.gateway")


@dataclass(frozen=True, slots=True, kw_only=True)
class GatewaySettings:
    """How a gateway is set up.

    `base_url` and `base_key` are the upstream of requests whose variant names none. `access_key` is what clients
    must show. `secret` signs tokens. `keys` finds the value of an environment variable by its name. `forced` maps
    experiments to testers' units and their variants. With a `tracer` each turn has spans. `companions` names
    JSON files in which what runs beside says how it stands: `sealing`, `monitor`.
    """

    base_url: str
    base_key: str | None = None
    access_key: str | None = None
    secret: str | None = None
    keys: Callable[[str], str | None] = lambda _: None
    last_good: Path | None = None
    forced: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    limits: Limits = field(default_factory=Limits)
    backlog: int = 2_500
    worker: int = 0
    tracer: Tracer | None = None
    companions: Mapping[str, Path] = field(default_factory=dict)


class Gateway:
    """Serves requests in one event loop. `following` gives what runs, `log` keeps what happens."""

    def __init__(
        self,
        settings: GatewaySettings,
        *,
        loop: asyncio.AbstractEventLoop,
        log: EventLog | None,
        read: Callable[[Mapping[str, Any]], Any],
        follow: EventLog | Callable[[], EventLog] | None,
        pins: PinStore | None = None,
        texts: Callable[[bool], TextStore] | None = None,
        clock: Clock | None = None,
    ) -> None:
        self.settings = settings
        self.companions = settings.companions
        self.loop = loop
        self.clock = clock or SystemClock()
        self.server = Server(self.handle, loop, settings.limits)
        self.pool = Pool(loop)
        self.enrolled = Enrolled()
        self.recorder = Recorder(log, loop, self.clock, backlog=settings.backlog, enrolled=self.enrolled)
        # Of several processes one is enough to remove what has expired.
        self.texts = (
            None if texts is None else TextWriter(texts, expires=settings.worker == 0, clock=self.clock)
        )
        self.counts = Counts()
        self.turns: set[Swept] = set()
        self.routes: Routes = Routes(Configuration(), self.clock)
        self.signer: Signer | None = None if settings.secret is None else Signer(settings.secret)
        self.enrolling = Enrolling(
            loop=loop,
            clock=self.clock,
            counts=self.counts,
            recorder=self.recorder,
            enrolled=self.enrolled,
            signer=self.signer,
            pins=pins,
        )
        self.traces: dict[str, tuple[tuple[str, str], ...]] = {}
        self.log = log
        self._access = None if settings.access_key is None else f"Bearer {settings.access_key}"
        self._prefixes: dict[tuple[str | None, str | None, API], tuple[Address, bytes]] = {}
        self._asked_last: dict[tuple[str, str], float] = {}
        self._feedback = Feedback(self)
        self._shadows = Shadows(self)
        self._sweeper: asyncio.TimerHandle | None = None
        self.following: Following | None = (
            None
            if follow is None
            else Following(
                follow,
                read,
                last_good=settings.last_good,
                changed=self._heard,
                clock=self.clock,
                enrolled=self.enrolled,
            )
        )
        if self.following is not None:
            self.configure(self.following.configuration)
        self._sweep()

    def _heard(self, configuration: Configuration) -> None:
        # From the thread that follows; a loop that is closing serves nobody.
        with suppress(RuntimeError):
            self.loop.call_soon_threadsafe(self.configure, configuration)

    def configure(self, configuration: Configuration) -> None:
        """Serve this from now on; turns under way end as they began."""
        self.routes = Routes(
            configuration, self.clock, forced=self.settings.forced, enrolled=self.enrolled, former=self.routes
        )
        self.enrolling.forget()
        for name, why in self.routes.unusable.items():
            _logger.error("%s cannot be served: %s", name, why)

    def _sweep(self) -> None:
        # First of all: whatever goes wrong below, it is looked after again.
        self._sweeper = self.loop.call_later(_SWEEP, self._sweep)
        now = monotonic()
        following = self.following
        away = following is not None and following.stale
        self.enrolling.stale_since = following.configuration.as_of if following is not None and away else None
        self.pool.sweep(now)
        self.server.sweep(now)
        self.recorder.sweep(now)
        for turn in tuple(self.turns):
            turn.sweep(now)

    # Requests.

    def handle(self, exchange: Exchange) -> None:
        """Answer a request; whatever goes wrong in here is this request's error and nobody else's."""
        try:
            self._handle(exchange)
        except Exception:
            _logger.exception("a request to %s failed", exchange.path)
            self.counts.errors += 1
            if not exchange.started:
                exchange.answer(500, error_body("the gateway failed at this request", "internal_error"))
            else:
                exchange.abort()

    def _handle(self, exchange: Exchange) -> None:
        path = exchange.path
        if path == "/healthz":
            self._feedback.health(exchange)
            return
        if exchange.method == "OPTIONS" and path == "/v1/feedback":
            self._feedback.preflight(exchange)
            return
        if path == "/v1/feedback" and exchange.method == "POST" and not self.authorised(exchange):
            # A browser has no key: its token says what it may speak of.
            self._feedback.from_browser(exchange)
            return
        if not self.authorised(exchange):
            exchange.answer(
                401,
                error_body(
                    "this gateway wants its key: Authorization: Bearer …",
                    "authentication_error",
                    "invalid_api_key",
                ),
                b"www-authenticate: Bearer\r\n",
            )
            return
        found = _PATHS.get(path)
        if found is None:
            self._feedback.other(exchange)
            return
        if exchange.method != "POST":
            exchange.answer(
                405, error_body(f"{path} is asked with POST", "invalid_request_error"), b"allow: POST\r\n"
            )
            return
        self._complete(exchange, found[0])

    def authorised(self, exchange: Exchange) -> bool:
        """Whether the request shows the gateway's key, where it has one."""
        if self._access is None:
            return True
        said = exchange.headers.get("authorization", "")
        return hmac.compare_digest(said.encode("latin-1", "replace"), self._access.encode())

    def body_of(self, exchange: Exchange, headers: bytes = b"") -> dict[str, Any] | None:
        """The JSON object of a request; None, and answered, where it holds none."""
        if exchange.headers.get("content-encoding", "identity") != "identity":
            exchange.answer(415, error_body("send the body uncompressed", "invalid_request_error"), headers)
            return None
        try:
            body = orjson.loads(exchange.body)
        except orjson.JSONDecodeError as error:
            exchange.answer(
                400, error_body(f"the body is not JSON: {error}", "invalid_request_error"), headers
            )
            return None
        if not isinstance(body, dict):
            exchange.answer(
                400, error_body("the body must be a JSON object", "invalid_request_error"), headers
            )
            return None
        return body

    def _complete(self, exchange: Exchange, api: API) -> None:
        body = self.body_of(exchange)
        if body is None:
            return
        model = body.get("model")
        routes = self.routes.of(model, exchange, body)
        if routes is None:
            known = ", ".join(f"experiment/{name}" for name in self.routes.by_name) or "none"
            exchange.answer(
                404,
                error_body(
                    f"there is no {model} here; this gateway serves: {known}",
                    "invalid_request_error",
                    "model_not_found",
                ),
            )
            return
        trace = trace_of(exchange, self.settings.tracer)
        if not routes:
            Proxied(self, exchange, api, trace).begin(exchange.body)
            return
        if self.enrolling.pinned(routes):
            task = self.loop.create_task(self._pinned(exchange, api, body, routes, trace))
            task.add_done_callback(lambda done: self._pinning_failed(done, exchange))
            return
        parts = [self.enrolling.part(route, exchange, body) for route in routes]
        self._serve(exchange, api, body, parts, trace)

    def _serve(
        self, exchange: Exchange, api: API, body: dict[str, Any], parts: list[Part], trace: Trace
    ) -> None:
        if len(parts) > 1:
            kept = {id(draw) for draw in without_clashes([part.draw for part in parts])}
            self.counts.clashes += len(parts) - len(kept)
            parts = [part for part in parts if id(part.draw) in kept]
        Turn(self, exchange, api, body, trace).begin(tuple(parts))

    async def _pinned(
        self,
        exchange: Exchange,
        api: API,
        body: dict[str, Any],
        routes: tuple[Route, ...],
        trace: Trace,
    ) -> None:
        """Ask the pins first, away from the loop: only definitions that need them pay for them."""
        parts = []
        for route in routes:
            part = self.enrolling.part(route, exchange, body)
            parts.append(
                await self.enrolling.by_pin(part, partial(self.enrolling.part, route, exchange, body))
            )
        if not exchange.done:
            self._serve(exchange, api, body, parts, trace)

    def _pinning_failed(self, done: asyncio.Task[None], exchange: Exchange) -> None:
        if not done.cancelled() and (error := done.exception()) is not None:
            _logger.error("a request failed at its pins", exc_info=error)
            if not exchange.started:
                exchange.answer(500, error_body("the gateway failed at this request", "internal_error"))

    def serve_unrecorded(self, exchange: Exchange, api: API, parts: tuple[Part, ...], trace: Trace) -> None:
        """Serve the default after all: the exposure of a unit could not be kept."""
        if exchange.done:
            return
        body = self.body_of(exchange)
        if body is None:
            return
        Turn(self, exchange, api, body, trace).begin(tuple(map(self.enrolling.unrecorded, parts)))

    # What turns ask for.

    @property
    def worker(self) -> int:
        """Which process of several this is."""
        return self.settings.worker

    def upstream(self, base_url: str | None, key_env: str | None, api: API) -> tuple[Address, bytes]:
        """Where a request goes, and the head of it up to the client's own headers; kept by endpoint."""
        named = (base_url, key_env, api)
        found = self._prefixes.get(named)
        if found is None:
            where = address(base_url or self.settings.base_url)
            # A key belongs to an endpoint: the one of the gateway's own upstream goes nowhere else.
            key = self.settings.keys(key_env) if key_env else None if base_url else self.settings.base_key
            path = next(path for kind, path in _PATHS.values() if kind == api)
            said = (
                f"POST {where.prefix}{path} HTTP/1.1\r\nhost: {where.authority}\r\n"
                "content-type: application/json\r\naccept: application/json, text/event-stream\r\n"
                "accept-encoding: identity\r\n"
            )
            key = (key or "").strip()
            if not (key.isascii() and key.isprintable()):
                # What holds the end of a line would say more than a key.
                _logger.error("the key of %s cannot be sent: it is no line of plain text", where.authority)
            elif key:
                said += f"authorization: Bearer {key}\r\n"
            found = self._prefixes[named] = where, said.encode("latin-1")
        return found

    def warmth(self, where: Address, model: str, now: float) -> bool:
        """Whether the model was asked within the last minute; it now was."""
        key = (where.origin, model)
        last = self._asked_last.get(key)
        self._asked_last[key] = now
        return last is not None and now - last < _WARM

    def finished(
        self,
        parts: tuple[Part, ...],
        measured: dict[str, Any],
        exchange: Exchange,
        heard: Heard | None,
        body: Mapping[str, Any],
        api: API,
        answer: str,
        answered: bool,
    ) -> None:
        """A turn is over: its facts, its counts, perhaps its text, and perhaps its shadow.

        `answer` is what the client was given of the first choice, `answered` whether that is all of it.
        """
        measured |= _told(exchange)
        about = []
        for part in parts:
            draw, route = part.draw, part.route
            facts: dict[str, Any] = measured | {
                "unit": part.unit,
                "digest": draw.experiment.digest,
                "variant": draw.variant,
                "epoch": draw.epoch if draw.variant is not None else None,
                "reason": draw.reason,
                "redirected": True if draw.reason in ("redirected", "removed") else None,
                "cost_usd": self._cost(route.prices, heard, body),
                "member": route.running.experiment.member_of(part.attributes),
            }
            capture = route.capture
            drawn: float | None = None
            if capture is not None and api != "embeddings" and self.texts is not None:
                drawn = facts["sampled"] = capture.draw(part.attributes)
            event_id = self.recorder.keep("turn", route.name, facts)
            if drawn is not None:
                assert capture is not None
                assert self.texts is not None
                capture.offer(
                    self.texts,
                    Asked(
                        event_id=event_id,
                        kind="turn",
                        variant=draw.variant,
                        trace=measured["trace"],
                        unit=part.unit,
                        happened=self.clock.now(),
                        api=api,
                        body=body,
                        probability=drawn,
                    ),
                    Answered.of(heard, answer, whole=answered, blocked=bool(measured.get("blocked"))),
                    len(exchange.body),
                )
            self.counts.turn(route.name, draw.variant, draw.reason, facts)
            if part.unit is not None and draw.variant is not None:
                about.append((route.name, part.unit))
            if route.shadows:
                self._shadows.consider(part, exchange, api, measured, event_id, drawn=drawn)
        if about:
            # A trace may span several turns, and turns of several units.
            former = self.traces.pop(measured["trace"], ())
            if len(self.traces) >= _TRACES:
                self.traces.pop(next(iter(self.traces)))
            self.traces[measured["trace"]] = tuple(dict.fromkeys((*former, *about)))[-_UNITS_OF_A_TRACE:]

    @staticmethod
    def _cost(prices: Mapping[str, Any], heard: Heard | None, body: Mapping[str, Any]) -> float | None:
        if heard is None:
            return None
        tokens = (heard.input_tokens, heard.output_tokens, heard.cached_tokens)
        return cost_of((heard.model, body.get("model")), prices, *tokens)

    def list_models(self, exchange: Exchange, ours: list[dict[str, Any]]) -> None:
        """Our experiments, and what the upstream has, if it says."""
        where, prefix = self.upstream(None, None, "chat")
        payload = prefix.replace(
            f"POST {where.prefix}/chat/completions".encode(), f"GET {where.prefix}/models".encode(), 1
        )
        pieces: list[bytes] = []

        def tell(*_: object) -> None:
            try:
                theirs = [each for each in orjson.loads(b"".join(pieces))["data"] if isinstance(each, dict)]
            except (orjson.JSONDecodeError, KeyError, TypeError):
                theirs = []
            exchange.answer(200, orjson.dumps({"object": "list", "data": [*ours, *theirs]}))

        call = Call(
            where,
            payload + b"\r\n",
            Timeouts(first_byte=5, total=10),
            lambda *_: None,
            pieces.append,
            tell,
            tell,
        )
        exchange.on_lost = call.cancel
        self.pool.start(call)

    # The end.

    def drain(self) -> None:
        """Take no more, and let what is under way come to its end."""
        self.server.drain()
        self._shadows.drain()

    @property
    def busy(self) -> bool:
        """Whether a turn, an exposure or a shadow is under way."""
        return bool(self.turns) or self.server.exchanges > 0 or self._shadows.busy

    def close(self) -> None:
        """Hang up, write what is left, stop following."""
        if self._sweeper is not None:
            self._sweeper.cancel()
        self._shadows.close()
        self.pool.close()
        self.server.close()
        self.recorder.close()
        if self.texts is not None:
            # A store that hangs must not keep the process from ending.
            self.texts.close(_PARTING)
            if waiting := self.texts.waiting:
                _logger.error("%d texts were not kept before the end", waiting)
        if self.following is not None:
            self.following.close()


def _told(exchange: Exchange) -> dict[str, Any]:
    """What the application tells of its retrieval."""
    found: dict[str, Any] = {}
    for name in ("retrieved_documents", "retrieved_tokens"):
        said = exchange.headers.get(f"x-equipoise-{name.replace('_', '-')}")
        if said is not None and said.isdigit() and len(said) < 10:
            found[name] = int(said)
    return found
