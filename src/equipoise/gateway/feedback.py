"""Everything that is not a completion: feedback, events, assignments, models, health and numbers."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from time import monotonic
from typing import Any

import orjson

from equipoise.assignment.hashing import HASH_VERSION
from equipoise.errors import EquipoiseError, UsageError
from equipoise.events.facts import Fact, Outcome, decode
from equipoise.events.ids import new_id
from equipoise.experiment.variant import thaw
from equipoise.gateway.host import Host
from equipoise.gateway.http1 import Exchange, error_body
from equipoise.gateway.metrics import exposition

__all__ = ["Feedback"]

_BROWSER = (
    b"access-control-allow-origin: *\r\naccess-control-allow-headers: content-type, x-equipoise-feedback\r\n"
    b"access-control-allow-methods: POST\r\naccess-control-max-age: 600\r\n"
)
_RATE = 30
_PER = 60.0
_REMOTE = ("exposure", "turn", "outcome")
_COMMENT = 4000
_ACCEPTED = (
    "one of trace, turn, conversation or unit; and thumbs (up, down), grade (a number), copied, regenerated "
    "(true, false), outcome ({NAME: value}) or comment (text)"
)


class Feedback:
    """The doors beside the completions."""

    def __init__(self, gateway: Host) -> None:
        self._gateway = gateway
        self._let_in: dict[str, tuple[float, int]] = {}

    def other(self, exchange: Exchange) -> None:
        """Find who answers a path."""
        path, method = exchange.path, exchange.method
        doors = {
            ("GET", "/v1/models"): self._models,
            ("GET", "/metrics"): self._metrics,
            ("POST", "/v1/feedback"): self._from_operator,
            ("POST", "/v1/events"): self._events,
            ("POST", "/v1/assign"): self._assign,
        }
        door = doors.get((method, path))
        if door is not None:
            door(exchange)
        elif any(path == each for _, each in doors):
            exchange.answer(405, error_body(f"{path} is not asked with {method}", "invalid_request_error"))
        else:
            exchange.answer(404, error_body(f"there is nothing at {path}", "invalid_request_error"))

    def health(self, exchange: Exchange) -> None:
        """Whether this process serves, and what it lacks."""
        gateway = self._gateway
        trouble = {
            name: said
            for name, said in (
                ("record", gateway.recorder.trouble),
                ("configuration", gateway.following.trouble if gateway.following is not None else None),
            )
            if said is not None
        }
        stale = gateway.following is not None and gateway.following.stale
        status = "draining" if gateway.server.draining else "degraded" if trouble or stale else "ok"
        body = {
            "status": status,
            "experiments": sorted(gateway.routes.by_name),
            "stale": stale,
            "trouble": trouble,
            "unusable": gateway.routes.unusable,
            "lost": gateway.recorder.dropped,
        }
        exchange.answer(503 if status == "draining" else 200, orjson.dumps(body))

    def _metrics(self, exchange: Exchange) -> None:
        gateway = self._gateway
        down = gateway.recorder.down
        said = exposition(
            gateway.counts,
            {
                "turns_under_way": ("Turns under way.", len(gateway.turns)),
                "connections": ("Connections of clients.", len(gateway.server.connections)),
                "refused_connections": (
                    "Requests and connections refused because of a limit.",
                    gateway.server.refused,
                ),
                "record_down": ("1 while the record takes nothing in.", float(down)),
                "record_waiting": ("Facts that are not written yet.", gateway.recorder.waiting),
                "record_lost": ("Facts that were lost since the process began.", gateway.recorder.dropped),
                "stale": (
                    "1 while the configuration is older than its lease.",
                    float(gateway.following is not None and gateway.following.stale),
                ),
                "worker": ("Which process of several this is.", gateway.worker),
            },
        )
        exchange.answer(200, said, kind=b"text/plain; version=0.0.4; charset=utf-8")

    def _models(self, exchange: Exchange) -> None:
        """The experiments, as models that can be asked for."""
        data = [
            {"id": f"experiment/{name}", "object": "model", "created": 0, "owned_by": "equipoise"}
            for name in sorted(self._gateway.routes.by_name)
        ]
        self._gateway.list_models(exchange, data)

    # Feedback.

    def preflight(self, exchange: Exchange) -> None:
        """What a browser asks before it posts from another origin."""
        exchange.answer(204, b"", _BROWSER)

    def from_browser(self, exchange: Exchange) -> None:
        """Feedback without the key: the token of a reply says which units it may be about."""
        gateway = self._gateway
        body = gateway.body_of(exchange)
        if body is None:
            return
        token = exchange.headers.get("x-equipoise-feedback") or body.pop("token", None)
        said = gateway.signer.read("feedback", token) if gateway.signer and isinstance(token, str) else None
        if said is None:
            exchange.answer(
                401,
                error_body(
                    "feedback needs the gateway's key, or the x-equipoise-feedback token of the reply it is about",
                    "authentication_error",
                ),
                _BROWSER,
            )
            return
        now = monotonic()
        began, count = self._let_in.get(token or "", (now, 0))
        if now - began > _PER:
            began, count = now, 0
        if count >= _RATE:
            body_ = error_body(f"at most {_RATE} times a minute for one reply", "rate_limit_error")
            exchange.answer(429, body_, _BROWSER + b"retry-after: 60\r\n")
            return
        if len(self._let_in) > 10_000:
            self._let_in.clear()
        self._let_in[token or ""] = (began, count + 1)
        about = [(str(name), str(unit)) for name, unit in said[0]]
        self._take(exchange, body, about, str(said[1]), _BROWSER)

    def _from_operator(self, exchange: Exchange) -> None:
        gateway = self._gateway
        body = gateway.body_of(exchange)
        if body is None:
            return
        token = exchange.headers.get("x-equipoise-feedback") or body.pop("token", None)
        said = gateway.signer.read("feedback", token) if gateway.signer and isinstance(token, str) else None
        if said is not None:
            about = [(str(name), str(unit)) for name, unit in said[0]]
            self._take(exchange, body, about, str(said[1]), b"")
            return
        trace = body.get("trace", body.get("turn"))
        unit = body.get("unit", body.get("conversation"))
        if isinstance(unit, str) and unit:
            self._take(exchange, body, self._units(unit, body.get("experiment")), None, b"")
        elif isinstance(trace, str) and trace:
            known = gateway.traces.get(trace)
            if known is not None:
                self._take(exchange, body, list(known), trace, b"")
            else:
                self._look_up(exchange, body, trace)
        else:
            exchange.answer(
                400, error_body(f"whom is this about? accepted: {_ACCEPTED}", "invalid_request_error")
            )

    def _units(self, unit: str, experiment: object) -> list[tuple[str, str]]:
        """The experiments a unit is part of, by its own hash: no store is asked."""
        found = []
        for name, route in self._gateway.routes.by_name.items():
            if experiment is not None and name != experiment:
                continue
            try:
                draw = route.assigner.draw(unit, known=True)
            except UsageError:
                continue
            # Targeting asks for attributes that feedback does not carry; whoever names the experiment knows.
            if draw.variant is not None or name == experiment:
                found.append((name, unit))
        return found

    def _look_up(self, exchange: Exchange, body: dict[str, Any], trace: str) -> None:
        """A turn this process does not remember: the record knows it, in its own time."""
        gateway = self._gateway
        log = gateway.log
        if log is None:
            self._take(exchange, body, [], trace, b"")
            return

        def search() -> list[tuple[str, str]]:
            return [
                (record.fact.experiment, str(unit))
                for record in log.read_since(0, kinds=("turn",))
                if getattr(record.fact, "trace", None) == trace
                and getattr(record.fact, "variant", None) is not None
                and (unit := getattr(record.fact, "unit", None)) is not None
            ]

        future = gateway.loop.run_in_executor(None, search)

        def found(done: Any) -> None:
            about = [] if done.cancelled() or done.exception() is not None else done.result()
            self._take(exchange, body, about, trace, b"")

        future.add_done_callback(found)

    def _take(
        self,
        exchange: Exchange,
        body: Mapping[str, Any],
        about: list[tuple[str, str]],
        trace: str | None,
        headers: bytes,
    ) -> None:
        try:
            said = _outcomes(body)
        except UsageError as error:
            exchange.answer(400, error_body(str(error), "invalid_request_error"), headers)
            return
        if not about:
            exchange.answer(
                404, error_body("no enrolled unit is known by that", "invalid_request_error"), headers
            )
            return
        now = self._gateway.clock.now()
        # The same feedback sent twice under one id counts once.
        given = body.get("event_id")
        facts: list[Fact] = [
            Outcome(
                experiment=name,
                happened=now,
                event_id=f"{given}:{name}:{what}" if isinstance(given, str) and given else new_id(),
                unit=unit,
                name=what,
                value=value,
                trace=trace,
                comment=comment,
            )
            for name, unit in about
            for what, value, comment in said
        ]
        self._gateway.counts.feedback += len(facts)
        self._durably(exchange, facts, {"accepted": len(facts)}, headers)

    def _durably(
        self,
        exchange: Exchange,
        facts: list[Fact],
        body: Mapping[str, Any],
        headers: bytes,
    ) -> None:
        """Answer once everything is in the record."""
        left = {"open": len(facts), "failed": 0}

        def done(ok: bool) -> None:
            left["open"] -= 1
            left["failed"] += not ok
            if left["open"]:
                return
            if left["failed"]:
                exchange.answer(
                    503,
                    error_body("the record is down; send it again later", "unavailable"),
                    headers + b"retry-after: 5\r\n",
                )
            else:
                exchange.answer(200, orjson.dumps(body), headers)

        try:
            for fact in facts:
                self._gateway.recorder.tell(fact, done)
        except EquipoiseError as error:
            exchange.answer(400, error_body(str(error), "invalid_request_error"), headers)

    # Remote SDKs.

    def _events(self, exchange: Exchange) -> None:
        body = self._gateway.body_of(exchange)
        if body is None:
            return
        listed = body.get("events")
        if not isinstance(listed, list) or not listed or len(listed) > 1000:
            exchange.answer(
                400, error_body('accepted: {"events": […]}, 1 to 1,000 of them', "invalid_request_error")
            )
            return
        facts: list[Fact] = []
        for index, each in enumerate(listed):
            try:
                facts.append(self._event(each))
            except EquipoiseError as error:
                said = f"events[{index}]: {error}"
                exchange.answer(400, error_body(said, "invalid_request_error"))
                return
        self._durably(exchange, facts, {"accepted": len(facts)}, b"")

    def _event(self, said: Any) -> Fact:
        kind = said.get("kind") if isinstance(said, dict) else None
        if kind not in _REMOTE:
            raise UsageError(f"an event has a kind: {', '.join(_REMOTE)}")
        happened = said.get("happened", self._gateway.clock.now())
        event_id = said.get("event_id", new_id())
        experiment = said.get("experiment")
        if not isinstance(experiment, str) or not experiment or not isinstance(event_id, str):
            raise UsageError("an event names its experiment")
        if not isinstance(happened, int | float) or isinstance(happened, bool):
            raise UsageError("`happened` is in seconds since 1970 UTC")
        rest = {
            key: value
            for key, value in said.items()
            if key not in ("kind", "happened", "event_id", "experiment")
        }
        return decode(
            kind, event_id=event_id, experiment=experiment, happened=float(happened), body=orjson.dumps(rest)
        )

    def _assign(self, exchange: Exchange) -> None:
        """What a unit gets, for applications that apply it themselves; with `expose`, told as served."""
        gateway = self._gateway
        body = gateway.body_of(exchange)
        if body is None:
            return
        name, unit = body.get("experiment"), body.get("unit")
        route = gateway.routes.by_name.get(name) if isinstance(name, str) else None
        attributes = body.get("attributes", {})
        if route is None or not isinstance(unit, str) or not isinstance(attributes, dict):
            known = ", ".join(sorted(gateway.routes.by_name)) or "none"
            said = f"accepted: experiment (registered: {known}), unit (text), attributes (a mapping), expose"
            exchange.answer(400, error_body(said, "invalid_request_error"))
            return
        try:
            part = gateway.part_of(route, unit, attributes, body.get("token"))
        except UsageError as error:
            exchange.answer(400, error_body(str(error), "invalid_request_error"))
            return
        draw = part.draw
        answer = {
            "experiment": draw.experiment.identity,
            "unit": unit,
            "variant": draw.variant,
            "reason": draw.reason,
            "probability": draw.probability,
            "epoch": draw.epoch,
            "hash_version": HASH_VERSION,
            "config": thaw(draw.config),
        }
        answer |= dict(gateway.tokens((part,), new_id()))
        if body.get("expose") is True and draw.counts:
            done = partial(self._assigned, exchange, answer)
            gateway.recorder.expose(draw, unit, attributes, done)
        else:
            exchange.answer(200, orjson.dumps(answer))

    def _assigned(self, exchange: Exchange, answer: dict[str, Any], ok: bool) -> None:
        if ok:
            exchange.answer(200, orjson.dumps(answer))
        else:
            exchange.answer(503, error_body("the record is down; serve the default", "unavailable"))


def _outcomes(body: Mapping[str, Any]) -> list[tuple[str, float | bool, str | None]]:
    """The named values of a piece of feedback."""
    comment = body.get("comment")
    if comment is not None and (not isinstance(comment, str) or len(comment) > _COMMENT):
        raise UsageError(f"a comment is text of at most {_COMMENT} characters")
    found: list[tuple[str, float | bool]] = []
    thumbs = body.get("thumbs")
    if thumbs is not None:
        if thumbs not in ("up", "down", True, False):
            raise UsageError(f"thumbs are up or down, and these are {thumbs!r}")
        found.append(("thumbs_up", thumbs in ("up", True)))
    if (grade := body.get("grade")) is not None:
        found.append(("csat", _value("grade", grade, number=True)))
    for name in ("copied", "regenerated"):
        if (value := body.get(name)) is not None:
            if not isinstance(value, bool):
                raise UsageError(f"{name} is true or false, and this is {value!r}")
            found.append((name, value))
    named = body.get("outcome", {})
    if not isinstance(named, dict):
        raise UsageError("an outcome is a mapping of names to values")
    for name, value in named.items():
        if not name or not name.isascii() or not name.replace("_", "a").isalnum():
            raise UsageError(f"an outcome is named by letters, digits and '_', and this is {name!r}")
        found.append((name, _value(name, value)))
    if comment is not None and not found:
        return [("commented", True, comment)]
    if not found:
        raise UsageError(f"what is said of it? accepted: {_ACCEPTED}")
    return [(name, value, comment if index == 0 else None) for index, (name, value) in enumerate(found)]


def _value(name: str, value: object, *, number: bool = False) -> float | bool:
    if isinstance(value, bool) and not number:
        return value
    if isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 2**53:
        return value
    raise UsageError(
        f"{name} is {'a number' if number else 'true, false or a number'}, and this is {value!r}"
    )
