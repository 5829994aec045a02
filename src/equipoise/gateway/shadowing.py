"""Shadow traffic: some of control's requests also go to a treatment, off the request path, and nobody sees it."""

from __future__ import annotations

import logging
import random
from collections import deque
from collections.abc import Mapping
from time import monotonic
from typing import Any

import orjson

from equipoise.assignment.applying import API, Applied, apply
from equipoise.errors import EquipoiseError
from equipoise.experiment.prices import cost_of
from equipoise.gateway.host import Host
from equipoise.gateway.http1 import Exchange
from equipoise.gateway.routing import Part
from equipoise.gateway.upstream import Call, Failure
from equipoise.providers.hearing import Heard
from equipoise.providers.sse import DONE, Frames
from equipoise.providers.structured import json_valid
from equipoise.providers.timing import Timing
from equipoise.scoring.capturing import Answered, Asked
from equipoise.scoring.evaluating import Subject

__all__ = ["Shadows"]

_AT_ONCE = 8
_QUEUED = 100
_DAY = 86_400.0
_NOT = frozenset(
    {
        "forced", "redirected", "removed", "paused", "stale", "unrecorded",
        # Whom the treatment is not for, its answers say nothing of.
        "not_targeted", "held_out", "other_layer",
    }
)  # fmt: skip
_logger = logging.getLogger("equipoise.gateway")


class Shadows:
    """Draws the sample, keeps to the budget of a day, and asks no more than eight at a time.

    The draw is random and independent of the turn, with the share the definition says; what finds the queue full
    or the budget spent is counted and left out. A day is one of UTC; the budget is that of this process.
    """

    def __init__(self, gateway: Host) -> None:
        self._gateway = gateway
        self._random = random.Random()  # noqa: S311 - a sample, not a secret
        self._queue: deque[_Shadow] = deque()
        self._running: set[_Shadow] = set()
        self._spent: dict[tuple[str, int], float] = {}

    @property
    def busy(self) -> bool:
        return bool(self._running or self._queue)

    def consider(
        self,
        part: Part,
        exchange: Exchange,
        api: API,
        measured: Mapping[str, Any],
        event_id: str,
        *,
        drawn: float | None,
    ) -> None:
        """Perhaps send this turn to a treatment as well, now that it is over; its text is kept where the turn's is.

        Of several treatments one is drawn, each as likely. A turn that failed or was stopped by a check is shadowed like
        any other, if its model was asked: beside the good answers of control alone, a treatment could only be worse.
        """
        route = part.route
        rollout = route.running.experiment.rollout
        if (
            part.draw.serves != "control"
            or part.draw.reason in _NOT
            or measured.get("cancelled")
            or measured.get("sent_digest") is None
            or self._random.random() >= rollout.shadow_share
        ):
            return
        counts = self._gateway.counts
        budget = rollout.shadow_budget_usd_per_day
        day = int(self._gateway.clock.now() // _DAY)
        if budget is not None and self._spent.get((route.name, day), 0.0) >= budget:
            counts.shadows_over_budget += 1
            return
        if len(self._queue) >= _QUEUED:
            counts.shadows_dropped += 1
            return
        try:
            body = orjson.loads(exchange.body)
            arm = self._random.choice(route.shadows)
            applied = apply((route.assigner.force(arm),), body, api, part.attributes)
        except (EquipoiseError, orjson.JSONDecodeError):
            return
        self._queue.append(
            _Shadow(
                self, self._gateway, part, arm, applied, api, str(measured["trace"]), event_id, day, drawn
            )
        )
        # After what is being written has gone out.
        self._gateway.loop.call_soon(self._next)

    def _next(self) -> None:
        while self._queue and len(self._running) < _AT_ONCE:
            shadow = self._queue.popleft()
            route = self._gateway.routes.by_name.get(shadow.name)
            if route is None or shadow.arm not in route.shadows:
                # A pause or a kill came while it stood in line.
                continue
            self._gateway.counts.shadows += 1
            self._running.add(shadow)
            shadow.begin()

    def over(self, shadow: _Shadow, cost: float | None, *, answered: bool) -> None:
        """A shadow is done, and cost so much; None: nobody knows."""
        self._running.discard(shadow)
        if cost is None and answered:
            if shadow.budget is not None:
                _logger.error(
                    "%s: what a shadow cost is not known, so its budget cannot be kept; no more today. "
                    "Give the prices of its model in the definition",
                    shadow.name,
                )
            cost = shadow.budget
        if cost is not None:
            key = (shadow.name, shadow.day)
            self._spent = {each: spent for each, spent in self._spent.items() if each[1] >= shadow.day - 1}
            self._spent[key] = self._spent.get(key, 0.0) + cost
        self._next()

    def drain(self) -> None:
        """Ask for no more; what is under way may end."""
        self._queue.clear()

    def close(self) -> None:
        """Let go of everything."""
        self._queue.clear()
        for each in tuple(self._running):
            each.cancel()


class _Shadow:
    def __init__(
        self,
        shadows: Shadows,
        gateway: Host,
        part: Part,
        arm: str,
        applied: Applied,
        api: API,
        trace: str,
        of: str,
        day: int,
        drawn: float | None,
    ) -> None:
        self.arm, self._of, self._drawn = arm, of, drawn
        self.name, self.day = part.route.name, day
        self.budget = part.route.running.experiment.rollout.shadow_budget_usd_per_day
        self._shadows, self._gateway, self._part = shadows, gateway, part
        self._applied, self._api, self._trace = applied, api, trace
        self._call: Call | None = None
        self._heard = Heard(api)
        self._frames: Frames | None = None
        self._reply: list[bytes] = []
        self._timing = Timing(0.0)
        self._status = 0
        self._warm: bool | None = None
        self._sent = b""

    def begin(self) -> None:
        endpoint = self._part.route.endpoints[self.arm]
        body = self._applied.body
        if body.get("stream") is True and self._api == "chat":
            body["stream_options"] = {"include_usage": True}
        where, prefix = self._gateway.upstream(endpoint.base_url, endpoint.key_env, self._api)
        now = monotonic()
        self._timing = Timing(now)
        self._warm = self._gateway.warmth(where, str(body.get("model")), now)
        data = self._sent = orjson.dumps(body)
        self._call = Call(
            where,
            b"%bcontent-length: %d\r\n\r\n%b" % (prefix, len(data), data),
            endpoint.timeouts,
            self._on_head,
            self._on_body,
            self._on_end,
            self._on_fail,
        )
        self._gateway.pool.start(self._call)

    def cancel(self) -> None:
        if self._call is not None:
            self._call.cancel()

    def _on_head(self, status: int, headers: dict[str, str]) -> None:
        self._status = status
        if headers.get("content-type", "").startswith("text/event-stream"):
            self._frames = Frames()

    def _on_body(self, data: bytes) -> None:
        if self._frames is None:
            self._reply.append(data)
            return
        for frame in self._frames.feed(data):
            said = frame.data
            if said is None or said == DONE:
                continue
            try:
                if self._heard.piece(orjson.loads(said)):
                    self._timing.content(monotonic())
            except orjson.JSONDecodeError:
                continue

    def _on_end(self) -> None:
        if self._frames is None:
            try:
                self._heard.whole(orjson.loads(b"".join(self._reply)))
            except orjson.JSONDecodeError:
                self._heard.errored = True
        self._keep(error=self._status >= 400 or self._heard.errored)

    def _on_fail(self, kind: Failure, said: str) -> None:  # noqa: ARG002 - nobody is told: nobody asked
        self._keep(error=True)

    def _keep(self, *, error: bool) -> None:
        route, heard, call = self._part.route, self._heard, self._call
        gaps = self._timing.gaps()
        # As of a turn: what called tools, or could not be read, was not checked, and without checks nothing was.
        looked = [
            each
            for each in heard.choices.values()
            if route.inline.checks and not error and (each.text or not (each.tool_calls or each.errored))
        ]
        failing = tuple(
            found
            for each in looked
            for found in route.inline.of_response(Subject(answer=each.text, finish_reason=each.finish_reason))
        )
        tokens = (heard.input_tokens, heard.output_tokens, heard.cached_tokens)
        cost = cost_of((heard.model, self._applied.body.get("model")), route.prices, *tokens)
        capture = route.capture if self._drawn is not None else None
        event_id = self._gateway.recorder.keep(
            "shadow",
            route.name,
            {
                "unit": self._part.unit,
                "digest": route.running.experiment.digest,
                "variant": self.arm,
                "reason": "shadow",
                "trace": self._trace,
                "of": self._of,
                "latency_s": monotonic() - call.began if call is not None else None,
                "ttft_s": self._timing.ttft,
                "tpot_s": self._timing.per_token(heard.output_tokens),
                "itl_s": self._timing.mean_gap(),
                "itl_p50_s": gaps[0] if gaps else None,
                "itl_p95_s": gaps[1] if gaps else None,
                "itl_max_s": gaps[2] if gaps else None,
                "input_tokens": heard.input_tokens,
                "output_tokens": heard.output_tokens,
                "cached_tokens": heard.cached_tokens,
                "cost_usd": cost,
                "error": error,
                "status": self._status or None,
                "checks": route.inline.verdicts(failing) if looked else None,
                "safe": not route.inline.unsafe(failing) if looked else None,
                "json_valid": None if error else json_valid(self._applied.body, heard.text),
                "empty": None if error else not heard.text and not heard.tool_calls,
                "finish_reason": heard.finish_reason,
                "tool_calls": heard.tool_calls or None,
                "model": heard.model,
                "fingerprint": heard.fingerprint,
                "warm": self._warm,
                "sent_digest": self._applied.sent_digest,
                "sampled": self._drawn,
            },
        )
        texts = self._gateway.texts
        if capture is not None and texts is not None:
            asked = Asked(
                event_id=event_id,
                kind="shadow",
                variant=self.arm,
                trace=self._trace,
                unit=self._part.unit,
                happened=self._gateway.clock.now(),
                api=self._api,
                body=self._applied.body,
                probability=self._drawn or 0.0,
            )
            said = Answered.of(heard, "" if error else heard.text, whole=not error, blocked=False)
            capture.offer(texts, asked, said, len(self._sent))
        self._shadows.over(self, cost, answered=200 <= self._status < 300)
