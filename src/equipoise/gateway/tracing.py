"""The trace of a request: the id that everything about it carries, and its spans where somebody collects them."""

from __future__ import annotations

import random
import re
from collections.abc import Mapping
from time import monotonic, time_ns
from typing import TYPE_CHECKING, Any

from equipoise.gateway.http1 import Exchange
from equipoise.gateway.routing import Part
from equipoise.gateway.upstream import Address
from equipoise.telemetry import of_call, of_experiments, of_turn

if TYPE_CHECKING:
    from opentelemetry.trace import Span, Tracer

__all__ = ["Trace", "trace_of"]

# W3C Trace Context, section 3.2: version, trace, parent, flags; a later version may hold more.
_PARENT = re.compile(
    r"(?!ff)([0-9a-f]{2})-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-([0-9a-f]{2})(-.*)?"
)


class Trace:
    """The trace a request belongs to: its caller's, or one of its own. `id` is 32 hexadecimal digits."""

    __slots__ = ("_flags", "id")

    def __init__(self, id: str, flags: str) -> None:
        self.id, self._flags = id, flags

    def call(self, api: str, model: object, where: Address, parts: tuple[Part, ...]) -> str:  # noqa: ARG002 - see `_Spans`
        """A model is about to be asked: the `traceparent` that the call carries."""
        # One span further down the same trace; its id need not be unguessable.
        return f"00-{self.id}-{random.getrandbits(64) or 1:016x}-{self._flags}"

    def called(self, status: int, failed: str | None = None) -> None:
        """The call is over, and failed in this way, or did not."""

    def over(self, parts: tuple[Part, ...], measured: Mapping[str, Any]) -> None:
        """So is the turn, and this is what was measured of it."""


class _Spans(Trace):
    """One span for the request, and in it one for each time a model is asked."""

    __slots__ = ("_call", "_request", "_tracer")

    def __init__(self, tracer: Tracer, exchange: Exchange) -> None:
        from opentelemetry.trace import SpanKind
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

        self._tracer = tracer
        self._call: Span | None = None
        self._request: Span = tracer.start_span(
            f"{exchange.method} {exchange.path}",
            TraceContextTextMapPropagator().extract(exchange.headers),
            SpanKind.SERVER,
            {"http.request.method": exchange.method, "url.path": exchange.path},
            start_time=time_ns() - round((monotonic() - exchange.arrived) * 1e9),
        )
        context = self._request.get_span_context()
        super().__init__(f"{context.trace_id:032x}", f"{int(context.trace_flags):02x}")

    def call(self, api: str, model: object, where: Address, parts: tuple[Part, ...]) -> str:
        from opentelemetry.trace import SpanKind, set_span_in_context

        said = of_call(api, model, where.host, where.port)
        name = f"{said['gen_ai.operation.name']} {model}" if isinstance(model, str) else api
        self._call = self._tracer.start_span(
            name, set_span_in_context(self._request), SpanKind.CLIENT, said | _of(parts)
        )
        context = self._call.get_span_context()
        return f"00-{self.id}-{context.span_id:016x}-{self._flags}"

    def called(self, status: int, failed: str | None = None) -> None:
        call, self._call = self._call, None
        if call is None:
            return
        if status:
            call.set_attribute("http.response.status_code", status)
        if failed is not None or status >= 400:
            _err(call, failed or str(status))
        call.end()

    def over(self, parts: tuple[Part, ...], measured: Mapping[str, Any]) -> None:
        said = of_turn(measured)
        if self._call is not None:
            self._call.set_attributes(said)
        failed = bool(measured.get("error"))
        status = int(measured.get("status") or 0)
        self.called(status, str(measured.get("finish_reason") or status or "error") if failed else None)
        request = self._request
        request.set_attributes(_of(parts) | said)
        if failed:
            _err(request, str(status or "error"))
        request.end()


def _of(parts: tuple[Part, ...]) -> dict[str, Any]:
    draws = (part.draw for part in parts)
    return of_experiments((draw.experiment.identity, draw.variant, draw.epoch, draw.reason) for draw in draws)


def _err(span: Span, kind: str) -> None:
    from opentelemetry.trace import Status, StatusCode

    span.set_attribute("error.type", kind)
    span.set_status(Status(StatusCode.ERROR))


def trace_of(exchange: Exchange, tracer: Tracer | None) -> Trace:
    """The trace of an incoming `traceparent` (W3C Trace Context), or a new one; with a tracer, it has spans."""
    if tracer is not None:
        return _Spans(tracer, exchange)
    parent = _PARENT.fullmatch(exchange.headers.get("traceparent", ""))
    if parent is None or (parent[1] == "00" and parent[5]):
        return Trace(f"{random.getrandbits(128) or 1:032x}", "01")
    return Trace(parent[2], "01" if int(parent[4], 16) & 1 else "00")
