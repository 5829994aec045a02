"""One turn: from a request to its answer and its facts. Callbacks all the way, no task: a turn costs microseconds."""

from __future__ import annotations

import logging
import random
from collections.abc import Callable
from time import monotonic
from typing import Any

import orjson

from equipoise.assignment.applying import API, apply, count_usage
from equipoise.errors import UpstreamError, UsageError
from equipoise.experiment.endpoint import Endpoint
from equipoise.gateway.blocking import blocked_end, blocked_reply
from equipoise.gateway.checking import Checking, Failing
from equipoise.gateway.forwarding import passed_back, passed_on
from equipoise.gateway.host import Host
from equipoise.gateway.http1 import Exchange, error_body
from equipoise.gateway.measured import of_heard, of_timing
from equipoise.gateway.routing import Part
from equipoise.gateway.streaming import Stream
from equipoise.gateway.telling import turn_headers
from equipoise.gateway.tracing import Trace
from equipoise.gateway.upstream import UNSERVED, Call, Failure
from equipoise.providers.hearing import Heard, read_json
from equipoise.providers.structured import json_valid
from equipoise.scoring.holding import Holding

__all__ = ["Turn"]

_logger = logging.getLogger("equipoise.gateway")

_AGAIN = frozenset({429, 500, 502, 503, 504})
_LONGEST_REPLY = 64 * 1024 * 1024
_MOST_HELD = 256 * 1024


class Turn:
    """The life of one request, driven by what the client, the upstream and the record do.

    The upstream is called as soon as the exposures of new units are handed to the record; the first byte goes to
    the client when they are durable, which the model's own latency usually hides.
    """

    __slots__ = (
        "_after",
        "_api",
        "_asked",
        "_body",
        "_call",
        "_checking",
        "_endpoint",
        "_exchange",
        "_fallback",
        "_gateway",
        "_head",
        "_held",
        "_kind",
        "_length",
        "_more",
        "_over",
        "_parts",
        "_reply",
        "_retries",
        "_sent",
        "_started",
        "_status",
        "_stream",
        "_trace",
        "_waiting",
        "_wants_stream",
        "_warm",
    )

    def __init__(
        self, gateway: Host, exchange: Exchange, api: API, body: dict[str, Any], trace: Trace
    ) -> None:
        self._gateway, self._exchange = gateway, exchange
        self._api, self._body, self._trace = api, body, trace
        self._parts: tuple[Part, ...] = ()
        self._checking = Checking(body, api)
        self._endpoint = Endpoint()
        self._call: Call | None = None
        self._stream: Stream | None = None
        self._reply: list[bytes] = []
        self._head: bytes | None = None
        self._kind = b"application/json"
        self._more = b""
        self._after: Callable[[], None] | None = None
        self._held: list[bytes] = []
        self._waiting = self._length = 0
        self._asked = self._started = 0.0
        self._retries = 0
        self._status = 0
        self._fallback = self._over = False
        self._warm: bool | None = None
        self._sent: str | None = None
        self._wants_stream = body.get("stream") is True

    # Before the upstream.

    def begin(self, parts: tuple[Part, ...]) -> None:
        """Serve the request as its experiments say."""
        self._parts = parts
        exchange, gateway = self._exchange, self._gateway
        exchange.on_lost = self._lost
        exchange.on_room = self._room
        failing = self._checking.begin(parts)
        for part in parts:
            found = part.route.endpoints[part.draw.serves]
            if found.base_url is not None or len(parts) == 1:
                self._endpoint = found
        if failing:
            self._refuse(failing)
            return
        attributes = parts[0].attributes if len(parts) == 1 else _merged(parts)
        try:
            applied = apply(tuple(part.draw for part in parts), self._body, self._api, attributes)
        except UsageError as error:
            self._fail(400, str(error), "invalid_request_error")
            return
        self._body, self._sent = applied.body, applied.sent_digest
        hide_usage = False
        if self._wants_stream and self._api == "chat":
            hide_usage = count_usage(self._body)
        if self._wants_stream:
            inline = self._checking.inline
            watched = inline.watched
            self._stream = Stream(
                "responses" if self._api == "responses" else "chat",
                exchange.arrived,
                hide_usage=hide_usage,
                holding=Holding(watched) if watched else None,
                buffer=inline.buffers,
            )
        for part in parts:
            if part.fresh:
                assert part.unit is not None
                self._waiting += 1
                gateway.recorder.expose(part.draw, part.unit, part.attributes, self._durable)
        gateway.turns.add(self)
        self._ask()

    def _refuse(self, failing: Failing) -> None:
        """The request itself does not hold to a check: the model is not asked."""
        said = self._checking.block(failing)
        self._started = monotonic()
        self._gateway.turns.add(self)
        heard = Heard("responses" if self._api == "responses" else "chat")
        heard.model = _word(self._body.get("model"))
        self._status = 200
        if self._api == "embeddings":
            # There is no vector that says so.
            self._status = 400
            said = said or "the input does not hold to a check of the experiment"
            self._exchange.answer(
                400, error_body(said, "invalid_request_error", "content_filter"), self._headers()
            )
        elif self._wants_stream:
            head = self._exchange.begin(200, self._headers(), kind=b"text/event-stream")
            end = blocked_end(self._api, self._trace.id, heard, said, usage=False, begun=False, shown=0)
            self._exchange.write(head, end)
            self._exchange.end()
        else:
            body = blocked_reply(self._api, self._trace.id, heard, said)
            self._exchange.answer(200, body, self._headers())
        self._finish(heard=heard)

    # The call.

    def _ask(self) -> None:
        gateway = self._gateway
        now = monotonic()
        if not self._asked:
            self._asked = now
        endpoint, body = self._endpoint, self._body
        fallback = endpoint.fallback if self._fallback else None
        base_url, key_env = endpoint.base_url, endpoint.key_env
        if fallback is not None:
            base_url = fallback.base_url or base_url
            key_env = fallback.key_env or (None if fallback.base_url else key_env)
            if fallback.model is not None:
                body = body | {"model": fallback.model}
        where, prefix = gateway.upstream(base_url, key_env, self._api)
        self._warm = gateway.warmth(where, str(body.get("model")), now)
        parent = self._trace.call(self._api, body.get("model"), where, self._parts)
        data = orjson.dumps(body)
        self._call = Call(
            where,
            b"%b%bcontent-length: %d\r\n\r\n%b"
            % (prefix, passed_on(self._exchange, parent), len(data), data),
            endpoint.timeouts,
            self._on_head,
            self._on_body,
            self._on_end,
            self._on_fail,
        )
        gateway.pool.start(self._call)

    def _on_head(self, status: int, headers: dict[str, str]) -> None:
        self._status = status
        if status in _AGAIN and self._try_again(None):
            return
        coded = headers.get("content-encoding", "identity")
        if status == 200 and coded.lower() != "identity":
            # It was asked for as it is: what cannot be read can be neither checked nor counted.
            where = self._call.where.origin if self._call is not None else "the upstream"
            self._on_fail("protocol", f"{where} answered in {coded[:40]!r} although identity was asked for")
            return
        kind = headers.get("content-type", "application/json")
        streams = status == 200 and self._stream is not None and kind.lower().startswith("text/event-stream")
        self._more = passed_back(headers)
        self._kind = kind.encode("latin-1")
        if streams:
            said = b"%b%bcache-control: no-cache\r\n" % (self._headers(), self._more)
            self._head = self._exchange.begin(200, said, kind=self._kind)
        else:
            self._stream = None

    def _on_body(self, data: bytes) -> None:
        stream = self._stream
        if stream is None or self._checking.inline.buffers:
            self._length += len(data)
            if self._length > _LONGEST_REPLY:
                self._on_fail("protocol", "the reply is longer than 64 MiB")
                return
        if stream is None:
            self._reply.append(data)
            return
        try:
            out = stream.feed(data, monotonic())
        except UpstreamError as error:
            self._on_fail("protocol", str(error))
            return
        if out:
            self._write(out)
        if stream.failed is not None:
            self._stop(stream.failed)

    def _write(self, data: bytes) -> None:
        """Send a piece, once the exposures of this turn are durable."""
        if self._waiting:
            self._held.append(data)
            if sum(map(len, self._held)) > _MOST_HELD:
                self._room(room=False)
            return
        head, self._head = self._head, None
        self._exchange.write(head or b"", data)

    def _durable(self, ok: bool) -> None:
        if self._over:
            return
        if not ok:
            self._unrecord()
            return
        self._waiting -= 1
        if self._waiting:
            return
        held, self._held = self._held, []
        if held:
            self._room(room=True)
            self._write(b"".join(held))
        if self._after is not None:
            try:
                self._after()
            except Exception:
                # The answer was quicker than the record, so its line is gone, and the client waits for this alone.
                origin = "the upstream" if self._call is None else self._call.where.origin
                _logger.exception(UNSERVED, origin)
                self._on_fail("protocol", f"the answer of {origin} could not be served")

    def _unrecord(self) -> None:
        """The exposure could not be kept: nothing of the variant was shown, and the default is served instead."""
        call, self._call = self._call, None
        if call is not None:
            call.cancel()
        self._trace.called(0, "unrecorded")
        self._gateway.turns.discard(self)
        self._over = True
        self._exchange.on_lost = self._exchange.on_room = None
        self._gateway.serve_unrecorded(self._exchange, self._api, self._parts, self._trace)

    # The end.

    def _on_end(self) -> None:
        if self._over:
            return
        if self._waiting:
            self._after = self._on_end
            return
        if self._stream is not None:
            self._end_stream(self._stream)
            return
        heard = Heard(self._api)
        raw = self._reply[0] if len(self._reply) == 1 else b"".join(self._reply)
        if self._status == 200:
            try:
                heard.whole(read_json(raw))
            except ValueError:
                heard.errored = True
            if failing := self._checking.of_answer(heard, self._body):
                raw = blocked_reply(self._api, self._trace.id, heard, self._checking.block(failing))
        self._exchange.answer(self._status, raw, self._headers() + self._more, kind=self._kind)
        self._finish(heard=heard)

    def _end_stream(self, stream: Stream) -> None:
        out = stream.unterminated(monotonic())
        heard = stream.heard
        failing, inline = self._checking.of_answer(heard, self._body), self._checking.inline
        stops = next((check for check, _ in failing if check.buffer or check.name in inline.watched), None)
        # What the checks on the whole find is stopped as long as some of it was not shown.
        if stream.failed is not None or (stops is not None and (inline.buffers or stream.holds)):
            if out:
                self._write(out)
            self._stop(stream.failed or (stops.name if stops is not None else ""))
            return
        self._write(out + stream.rest())
        self._exchange.end()
        self._finish(heard=heard)

    def _stop(self, name: str) -> None:
        """A check does not hold any more: hang up on the model, and end the answer as filtered."""
        stream = self._stream
        assert stream is not None
        if self._call is not None:
            self._call.cancel()
        said = self._checking.stop(name, self._body)
        usage, begun, shown = not stream.hides_usage, stream.begun, stream.shown
        end = blocked_end(
            self._api, self._trace.id, stream.heard, said, usage=usage, begun=begun, shown=shown
        )
        self._write(end)
        if self._waiting:
            self._after = self._close
        else:
            self._close()

    def _close(self) -> None:
        self._exchange.end()
        self._finish(heard=self._stream.heard if self._stream is not None else None)

    def _on_fail(self, kind: Failure, said: str) -> None:
        if self._over:
            return
        if self._call is not None:
            self._call.cancel()
        if self._try_again(kind):
            return
        heard = self._stream.heard if self._stream is not None else None
        if self._exchange.started:
            # Half an answer must not look like a whole one.
            data = error_body(said, "upstream_error", kind)
            self._exchange.write(b"", b"data: %b\n\n" % data)
            self._exchange.abort()
        else:
            self._status = 504 if kind in ("first_byte", "total", "between_chunks") else 502
            self._exchange.answer(self._status, error_body(said, "upstream_error", kind), self._headers())
        self._finish(heard=heard, error=True, why=kind)

    def _try_again(self, kind: Failure | None) -> bool:
        """Another try in the same arm, or the fallback, if there is one left. Nothing was sent to the client."""
        # A stream may have been heard in part and not let out yet: what began is not begun again.
        if kind is not None and (kind == "total" or self._status):
            return False
        endpoint = self._endpoint
        if self._retries < endpoint.retries:
            self._retries += 1
            delay = min(0.1 * 2 ** (self._retries - 1), 2.0) * random.uniform(0.5, 1.0)  # noqa: S311
        elif endpoint.fallback is not None and not self._fallback:
            self._fallback = True
            delay = 0.0
        else:
            return False
        if self._call is not None:
            self._call.cancel()
            self._call = None
        self._trace.called(self._status, kind)
        self._status = 0
        self._gateway.loop.call_later(delay, self._once_more)
        return True

    def _once_more(self) -> None:
        if not self._over:
            self._ask()

    def _fail(self, status: int, said: str, kind: str) -> None:
        self._status = status
        self._exchange.answer(status, error_body(said, kind), self._headers())
        self._finish(heard=None, error=True)

    # What happens on the way.

    def _lost(self) -> None:
        """The client went away: so does the call, at once."""
        if self._over:
            return
        if self._call is not None:
            self._call.cancel()
        stream = self._stream
        if stream is not None and stream.done and not stream.holds and not self._waiting:
            # Clients hang up at the last event, which may be before the upstream does: nothing was cut short.
            self._checking.of_answer(stream.heard, self._body)
            self._finish(heard=stream.heard)
            return
        self._finish(heard=stream.heard if stream is not None else None, cancelled=True)

    def _room(self, room: bool) -> None:
        if self._call is not None:
            self._call.pause(room)

    def sweep(self, now: float) -> None:
        """Let go of what was held back for long enough."""
        stream = self._stream
        if stream is None or self._checking.blocked:
            return
        if out := stream.overdue(now):
            self._write(out)
        if stream.failed is not None:
            self._stop(stream.failed)

    # The record.

    def _headers(self) -> bytes:
        """What the reply says of its experiments, as lines."""
        tokens = self._gateway.enrolling.tokens(self._parts, self._trace.id)
        return turn_headers(self._parts, self._trace.id, tokens)

    def _finish(
        self,
        *,
        heard: Heard | None,
        error: bool = False,
        cancelled: bool = False,
        why: str | None = None,
    ) -> None:
        """The turn is over: its facts."""
        if self._over:
            return
        self._over = True
        gateway = self._gateway
        gateway.turns.discard(self)
        now = monotonic()
        call, checking = self._call, self._checking
        if self._status not in (0, 200) or (heard is not None and heard.errored):
            error = True
        text = heard.text if heard is not None else ""
        answered = heard is not None and not error and not cancelled
        asked = self._asked or now
        spent = (call.heard - asked) if call is not None and call.heard > asked else 0.0
        told = answered and not checking.blocked
        measured: dict[str, Any] = {
            "trace": self._trace.id,
            "latency_s": now - self._exchange.arrived,
            "overhead_s": max(now - self._exchange.arrived - spent, 0.0),
            "error": error if not cancelled else None,
            "cancelled": cancelled or None,
            "status": self._status or None,
            "stream": self._wants_stream or None,
            "retries": self._retries or None,
            "fallback": self._fallback or None,
            "warm": self._warm,
            "blocked": checking.blocked or None,
            "safe": checking.safe,
            "empty": (not text and not heard.tool_calls)
            if answered and heard and self._api != "embeddings"
            else None,
            "json_valid": json_valid(self._body, text) if told else None,
            "sent_digest": self._sent,
            "checks": checking.found or None,
        }
        if self._stream is not None:
            measured |= of_timing(self._stream.timing, None if heard is None else heard.output_tokens)
        if heard is not None:
            measured |= of_heard(heard)
        if checking.blocked:
            measured["finish_reason"] = "content_filter"
        elif why is not None:
            measured["finish_reason"] = why
        answer = self._shown(text, whole=told) if self._api != "embeddings" else ""
        gateway.finished(self._parts, measured, self._exchange, heard, self._body, self._api, answer, told)
        self._trace.over(self._parts, measured)
        # Turn, exchange and call know one another: parted here, they are gone at once, without a search for garbage.
        self._exchange.on_lost = self._exchange.on_room = None
        self._call = self._after = None

    def _shown(self, text: str, *, whole: bool) -> str:
        """What the client was given of the first choice, and no more."""
        if self._stream is not None and not whole:
            text = "" if self._waiting else text[: self._stream.shown]
        elif not whole:
            text = ""
        return text + self._checking.said


def _merged(parts: tuple[Part, ...]) -> dict[str, Any]:
    return {name: value for part in parts for name, value in part.attributes.items()}


def _word(value: object) -> str | None:
    return value if isinstance(value, str) else None
