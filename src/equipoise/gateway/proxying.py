"""A request that is part of no experiment: passed on as it is, and the answer passed back as it is."""

from __future__ import annotations

from equipoise.assignment.applying import API
from equipoise.experiment.endpoint import Timeouts
from equipoise.gateway.forwarding import passed_back, passed_on
from equipoise.gateway.host import Host
from equipoise.gateway.http1 import Exchange, error_body
from equipoise.gateway.tracing import Trace
from equipoise.gateway.upstream import Call, Failure

__all__ = ["Proxied"]


class Proxied:
    """One request on its way through. Nothing of it is recorded: it belongs to nobody's experiment."""

    __slots__ = ("_api", "_call", "_exchange", "_gateway", "_head", "_status", "_trace")

    def __init__(self, gateway: Host, exchange: Exchange, api: API, trace: Trace) -> None:
        self._gateway, self._exchange, self._api, self._trace = gateway, exchange, api, trace
        self._head, self._status = b"", 0
        self._call: Call | None = None

    def begin(self, body: bytes) -> None:
        """Ask the gateway's own upstream."""
        where, prefix = self._gateway.upstream(None, None, self._api)
        parent = self._trace.call(self._api, None, where, ())
        head = b"%b%bcontent-length: %d\r\n\r\n" % (prefix, passed_on(self._exchange, parent), len(body))
        self._call = Call(
            where, head + body, Timeouts(), self._on_head, self._on_body, self._on_end, self._on_fail
        )
        self._exchange.on_lost = self._lost
        self._exchange.on_room = self._call.pause
        self._gateway.counts.proxied += 1
        self._gateway.pool.start(self._call)

    def _on_head(self, status: int, headers: dict[str, str]) -> None:
        kind = headers.get("content-type", "application/json").encode("latin-1")
        said = b"x-equipoise-trace: %b\r\n%b" % (self._trace.id.encode(), passed_back(headers))
        if coded := headers.get("content-encoding"):
            # Nothing is read of it here: whoever asked may know how.
            said += b"content-encoding: %b\r\n" % coded.encode("latin-1")
        self._status = status
        self._head = self._exchange.begin(status, said, kind=kind)

    def _on_body(self, data: bytes) -> None:
        head, self._head = self._head, b""
        self._exchange.write(head, data)

    def _on_end(self) -> None:
        self._exchange.write(self._head, b"")
        self._exchange.end()
        self._over(error=self._status >= 400)

    def _on_fail(self, kind: Failure, said: str) -> None:
        if self._exchange.started:
            self._exchange.abort()
        else:
            status = 502 if kind in ("connect", "closed", "protocol") else 504
            self._exchange.answer(status, error_body(said, "upstream_error", kind))
        self._over(error=True)

    def _lost(self) -> None:
        if self._call is not None:
            self._call.cancel()
        self._over(cancelled=True)

    def _over(self, *, error: bool = False, cancelled: bool | None = None) -> None:
        self._exchange.on_lost = self._exchange.on_room = None
        self._trace.over((), {"status": self._status or None, "error": error, "cancelled": cancelled})
