"""Everything that is not a completion: feedback, models, health and numbers, and the doors of remote SDKs."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from hashlib import sha256
from time import monotonic
from typing import Any

import orjson

from equipoise.errors import RecordError, UsageError
from equipoise.events.facts import Fact, Outcome, Turn
from equipoise.events.ids import new_id
from equipoise.events.sources import checked_source
from equipoise.gateway.companion import told_by
from equipoise.gateway.host import Host
from equipoise.gateway.http1 import Exchange, error_body
from equipoise.gateway.metrics import exposition
from equipoise.gateway.remote import Remote, durably, unavailable

__all__ = ["Feedback"]

_BROWSER = (
    b"access-control-allow-origin: *\r\naccess-control-allow-headers: content-type, x-equipoise-feedback\r\n"
    b"access-control-allow-methods: POST\r\naccess-control-max-age: 600\r\n"
)
_RATE = 30
_PER = 60.0
_COMMENT = 4000
_NAMED = 20
"""Outcomes in one piece of feedback."""
_NAME = 100
"""Characters in the name of each."""
_LOOKING = 8
"""Look-ups of a trace in the record at once; they stand in line for one thread."""
_ACCEPTED = (
    "one of trace, turn, conversation or unit; and thumbs (up, down), grade (a number), copied, regenerated "
    "(true, false), outcome ({NAME: value}) or comment (text)"
)


class Feedback:
    """The doors beside the completions."""

    def __init__(self, gateway: Host) -> None:
        self._gateway = gateway
        self._remote = Remote(gateway)
        self._let_in: dict[str, tuple[float, int]] = {}
        self._looking = 0
        # A record may be long: one search at a time, and apart from those who ask for pins.
        self._searcher = ThreadPoolExecutor(1, "equipoise-searching")

    def other(self, exchange: Exchange) -> None:
        """Find who answers a path."""
        path, method = exchange.path, exchange.method
        doors = {
            ("GET", "/v1/models"): self._models,
            ("GET", "/metrics"): self._metrics,
            ("POST", "/v1/feedback"): self._from_operator,
            ("POST", "/v1/events"): self._remote.events,
            ("POST", "/v1/assign"): self._remote.assign,
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
            name: str(said)
            for name, said in (
                ("record", gateway.recorder.trouble),
                ("texts", None if gateway.texts is None else gateway.texts.trouble),
                ("configuration", gateway.following.trouble if gateway.following is not None else None),
            )
            if said is not None
        }
        stale = gateway.following is not None and gateway.following.stale
        status = "draining" if gateway.server.draining else "degraded" if trouble or stale else "ok"
        body: dict[str, Any] = {"status": status}
        if gateway.authorised(exchange):
            # What is served, and where the record is, is nothing for the network.
            body |= {
                "experiments": sorted(gateway.routes.by_name),
                "stale": stale,
                "trouble": trouble,
                "unusable": gateway.routes.unusable,
                "lost": gateway.recorder.lost,
            }
            if gateway.texts is not None:
                body["texts"] = {
                    "kept": gateway.texts.kept,
                    "lost": gateway.texts.lost,
                    "waiting": gateway.texts.waiting,
                }
            for name, file in gateway.companions.items():
                if (said := told_by(file)) is not None:
                    body[name] = said
        exchange.answer(503 if status == "draining" else 200, orjson.dumps(body))

    def _metrics(self, exchange: Exchange) -> None:
        gateway = self._gateway
        down, texts = gateway.recorder.down, gateway.texts
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
                "record_conflicts": (
                    "Events that came under the id of another one.",
                    gateway.recorder.conflicts,
                ),
                "record_waiting": ("Facts that are not written yet.", gateway.recorder.waiting),
                "record_lost": ("Facts that were lost since the process began.", gateway.recorder.lost),
                "texts_kept": ("Texts of turns that were kept.", texts.kept if texts else 0),
                "texts_waiting": ("Texts of turns that are not written yet.", texts.waiting if texts else 0),
                "texts_lost": (
                    "Texts of turns that were drawn and not kept, since the process began.",
                    texts.lost if texts else 0,
                ),
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
        body = self._gateway.body_of(exchange, _BROWSER)
        if body is None:
            return
        if not self._by_token(exchange, body):
            said = (
                "feedback needs the gateway's key, or the x-equipoise-feedback token of the reply it is about"
            )
            exchange.answer(401, error_body(said, "authentication_error"), _BROWSER)

    def _by_token(self, exchange: Exchange, body: dict[str, Any]) -> bool:
        """Take feedback in by the token of a reply, which bounds whom and how often; False without a valid one."""
        signer = self._gateway.signer
        token = exchange.headers.get("x-equipoise-feedback") or body.get("token")
        said = signer.read("feedback", token) if signer is not None and isinstance(token, str) else None
        if said is None or not isinstance(token, str):
            return False
        about = [(str(name), str(unit)) for name, unit in said[0]]
        trace = str(said[1])
        if not self._within(body, about, trace):
            said_ = "this token speaks of the unit and the trace of its own reply, and of no other"
            exchange.answer(403, error_body(said_, "permission_error"), _BROWSER)
            return True
        if body.get("source") is not None:
            # Anybody may hold a token: what stands in a report as somebody's name is not theirs to choose.
            said_ = "a `source` is named with the gateway's key, not with a token"
            exchange.answer(403, error_body(said_, "permission_error"), _BROWSER)
            return True
        now = monotonic()
        began, count = self._let_in.get(token, (now, 0))
        if now - began > _PER:
            began, count = now, 0
        if count >= _RATE:
            said_ = f"at most {_RATE} times a minute for one reply"
            exchange.answer(429, error_body(said_, "rate_limit_error"), _BROWSER + b"retry-after: 60\r\n")
            return True
        if len(self._let_in) > 10_000:
            self._let_in.clear()
        self._let_in[token] = (began, count + 1)
        self._take(exchange, body, about, trace, _BROWSER)
        return True

    @staticmethod
    def _within(body: Mapping[str, Any], about: list[tuple[str, str]], trace: str) -> bool:
        """Whether feedback names nothing beyond what its token speaks of."""
        units = {unit for _, unit in about}
        named = [body[key] for key in ("unit", "conversation") if body.get(key) is not None]
        traces = [body[key] for key in ("trace", "turn") if body.get(key) is not None]
        return all(str(each) in units for each in named) and all(str(each) == trace for each in traces)

    def _from_operator(self, exchange: Exchange) -> None:
        gateway = self._gateway
        body = gateway.body_of(exchange)
        if body is None or self._by_token(exchange, body):
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
                draw = route.assigner.draw(unit)
            except UsageError:
                continue
            # Of somebody who is not known to be in, targeting asks for attributes that feedback does not carry;
            # whoever names the experiment knows.
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

        if self._looking >= _LOOKING:
            exchange.answer(
                503,
                error_body("too many traces are being looked up; send it again later", "unavailable"),
                b"retry-after: 5\r\n",
            )
            return
        self._looking += 1

        def search() -> list[tuple[str, str]]:
            # A trace may span several turns of a unit, which is one unit still.
            found: dict[tuple[str, str], None] = {}
            for record in log.read_since(0, kinds=("turn",)):
                if gateway.server.draining:
                    raise RecordError("the gateway is ending, and waits for no search")
                fact = record.fact
                if isinstance(fact, Turn) and fact.trace == trace and fact.variant and fact.unit:
                    found[fact.experiment, fact.unit] = None
            return list(found)

        def found(done: asyncio.Future[list[tuple[str, str]]]) -> None:
            self._looking -= 1
            if done.cancelled() or done.exception() is not None:
                # Not known is something else than not to be found out now.
                unavailable(exchange)
            else:
                self._take(exchange, body, done.result(), trace, b"")

        gateway.loop.run_in_executor(self._searcher, search).add_done_callback(found)

    def _take(
        self,
        exchange: Exchange,
        body: Mapping[str, Any],
        about: list[tuple[str, str]],
        trace: str | None,
        headers: bytes,
    ) -> None:
        try:
            said, source = _outcomes(body), checked_source(body.get("source"))
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
                event_id=_id_of(given, name, unit, what) if isinstance(given, str) and given else new_id(),
                unit=unit,
                name=what,
                value=value,
                trace=trace,
                comment=comment,
                source=source,
            )
            for name, unit in about
            for what, value, comment in said
        ]
        durably(self._gateway, exchange, facts, {"accepted": len(facts)}, headers)


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
    if len(named) > _NAMED:
        raise UsageError(f"at most {_NAMED} outcomes at a time, and these are {len(named)}")
    for name, value in named.items():
        if not name.isascii() or not name.replace("_", "a").isalnum() or len(name) > _NAME:
            raise UsageError(
                f"an outcome is named by at most {_NAME} letters, digits and '_', and this is {name!r:.80}"
            )
        found.append((name, _value(name, value)))
    if comment is not None and not found:
        return [("commented", True, comment)]
    if not found:
        raise UsageError(f"what is said of it? accepted: {_ACCEPTED}")
    return [(name, value, comment if index == 0 else None) for index, (name, value) in enumerate(found)]


def _id_of(given: str, experiment: str, unit: str, what: str) -> str:
    """The id of an outcome that was given one: the same feedback sent twice is the same, another unit's is not."""
    return f"feedback-{sha256(orjson.dumps([given, experiment, unit, what])).hexdigest()[:32]}"


def _value(name: str, value: object, *, number: bool = False) -> float | bool:
    if isinstance(value, bool) and not number:
        return value
    if isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 2**53:
        return value
    raise UsageError(
        f"{name} is {'a number' if number else 'true, false or a number'}, and this is {value!r}"
    )
