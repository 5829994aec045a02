"""The doors of SDKs in other processes: events they tell of, variants they ask for."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from functools import partial
from typing import Any

import orjson

from equipoise.assignment.hashing import HASH_VERSION, unit_bytes
from equipoise.errors import EquipoiseError, UsageError
from equipoise.events.facts import Fact, Outcome, decode, encode
from equipoise.events.ids import new_id
from equipoise.events.sources import checked_source
from equipoise.experiment.variant import thaw
from equipoise.gateway.host import Host
from equipoise.gateway.http1 import Exchange, error_body
from equipoise.gateway.routing import Part

__all__ = ["Remote", "durably", "unavailable"]

_KINDS = ("exposure", "impression", "turn", "outcome")
_NAME = 100
"""Characters in an event's id and in the name of its experiment."""
_ENDURED = 2.5
"""Seconds after which an application that asks for a variant is better off with the default."""


def unavailable(exchange: Exchange, headers: bytes = b"") -> None:
    """Say that the record takes nothing in now."""
    said = error_body("the record is down; send it again later", "unavailable")
    exchange.answer(503, said, headers + b"retry-after: 5\r\n")


def durably(
    gateway: Host, exchange: Exchange, facts: list[Fact], body: Mapping[str, Any], headers: bytes = b""
) -> None:
    """Answer once everything is in the record; all of it or, where a fact cannot be kept, nothing."""

    def done(ok: bool) -> None:
        if ok:
            gateway.counts.feedback += sum(isinstance(fact, Outcome) for fact in facts)
            exchange.answer(200, orjson.dumps(body), headers)
        else:
            unavailable(exchange, headers)

    try:
        gateway.recorder.tell(facts, done)
    except EquipoiseError as error:
        exchange.answer(400, error_body(str(error), "invalid_request_error"), headers)


class Remote:
    """Takes events in and tells what a unit gets."""

    def __init__(self, gateway: Host) -> None:
        self._gateway = gateway

    def events(self, exchange: Exchange) -> None:
        """Keep what a remote SDK tells, all or none of it."""
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
                fact = self._event(each)
                encode(fact)
                facts.append(fact)
            except EquipoiseError as error:
                said = f"events[{index}]: {error}"
                exchange.answer(400, error_body(said, "invalid_request_error"))
                return
        durably(self._gateway, exchange, facts, {"accepted": len(facts)})

    def _event(self, said: Any) -> Fact:
        kind = said.get("kind") if isinstance(said, dict) else None
        if kind not in _KINDS:
            raise UsageError(f"an event has a kind: {', '.join(_KINDS)}")
        happened = said.get("happened", self._gateway.clock.now())
        event_id = said.get("event_id", new_id())
        experiment = said.get("experiment")
        if not _names(experiment):
            raise UsageError(f"an event names its experiment, in at most {_NAME} characters")
        if not _names(event_id):
            raise UsageError(f"an `event_id` is text of at most {_NAME} characters")
        if not isinstance(happened, int | float) or isinstance(happened, bool):
            raise UsageError("`happened` is in seconds since 1970 UTC")
        checked_source(said.get("source"))
        unit = said.get("unit")
        if not (unit is None and kind == "turn"):
            unit_bytes(unit)
        rest = {
            key: value
            for key, value in said.items()
            if key not in ("kind", "happened", "event_id", "experiment")
        }
        return decode(
            kind, event_id=event_id, experiment=experiment, happened=float(happened), body=orjson.dumps(rest)
        )

    def assign(self, exchange: Exchange) -> None:
        """What a unit gets, for applications that apply it themselves; with `expose`, told as served."""
        gateway = self._gateway
        body = gateway.body_of(exchange)
        if body is None:
            return
        name, unit = body.get("experiment"), body.get("unit")
        route = gateway.routes.by_name.get(name) if isinstance(name, str) else None
        attributes = body.get("attributes") or {}
        if route is None or not isinstance(unit, str) or not isinstance(attributes, dict):
            known = ", ".join(sorted(gateway.routes.by_name)) or "none"
            said = f"accepted: experiment (registered: {known}), unit (text), attributes (a mapping), expose"
            exchange.answer(400, error_body(said, "invalid_request_error"))
            return
        odd = next(
            (key for key, value in attributes.items() if not isinstance(value, str | int | float)), None
        )
        if odd is not None:
            said = f"attributes are text, numbers, true or false, and {odd!r} is {attributes[odd]!r:.80}"
            exchange.answer(400, error_body(said, "invalid_request_error"))
            return
        try:
            part = gateway.enrolling.of_unit(route, unit, attributes, body.get("token"))
        except UsageError as error:
            exchange.answer(400, error_body(str(error), "invalid_request_error"))
            return
        expose = body.get("expose") is True
        if route.running.experiment.pins != "required":
            self._tell_part(exchange, part, expose)
            return
        again = partial(gateway.enrolling.of_unit, route, unit, attributes, body.get("token"))

        def drawn(done: asyncio.Task[Part]) -> None:
            if done.cancelled() or done.exception() is not None:
                self._assigned(exchange, {}, ok=False)
            else:
                self._tell_part(exchange, done.result(), expose)

        gateway.loop.create_task(gateway.enrolling.by_pin(part, again)).add_done_callback(drawn)

    def _tell_part(self, exchange: Exchange, part: Part, expose: bool) -> None:
        gateway, draw, unit = self._gateway, part.draw, part.unit
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
        answer |= dict(gateway.enrolling.tokens((part,), new_id()))
        if expose and part.fresh and unit is not None:
            done = partial(self._assigned, exchange, answer)
            gateway.recorder.expose(draw, unit, part.attributes, done)
            gateway.loop.call_later(_ENDURED, done, False)
        else:
            exchange.answer(200, orjson.dumps(answer))

    def _assigned(self, exchange: Exchange, answer: dict[str, Any], ok: bool) -> None:
        if ok:
            exchange.answer(200, orjson.dumps(answer))
        else:
            exchange.answer(503, error_body("the record is down; serve the default", "unavailable"))


def _names(value: object) -> bool:
    return isinstance(value, str) and 0 < len(value) <= _NAME and "\0" not in value
