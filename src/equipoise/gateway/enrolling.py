"""Enrolling: which variant each experiment of a request means for its unit, and the words that say so later."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Any

from equipoise.assignment.assigning import Assigner
from equipoise.assignment.enrolled import Enrolled
from equipoise.assignment.pins import PinStore
from equipoise.assignment.switchback import slot_now
from equipoise.assignment.tokens import Signer
from equipoise.clock import Clock
from equipoise.errors import RecordError
from equipoise.events.ids import id_time, new_id
from equipoise.gateway.http1 import Exchange
from equipoise.gateway.metrics import Counts
from equipoise.gateway.recording import Recorder
from equipoise.gateway.routing import Part, Route

__all__ = ["Enrolling"]

_PINS = 10_000


class Enrolling:
    """Asks the assigner, and before and after it what a process knows: forced variants, tokens, pins, who is in
    already, and whether the record can take in somebody new.

    `stale_since` is the time from which on the configuration may have missed something, or None.
    """

    def __init__(
        self,
        *,
        loop: asyncio.AbstractEventLoop,
        clock: Clock,
        counts: Counts,
        recorder: Recorder,
        enrolled: Enrolled,
        signer: Signer | None,
        pins: PinStore | None,
    ) -> None:
        self.stale_since: float | None = None
        self._loop, self._clock = loop, clock
        self._counts, self._recorder, self._enrolled = counts, recorder, enrolled
        self._signer, self._pins = signer, pins
        self._epochs: dict[tuple[str, str], int] = {}
        self._closed: dict[str, tuple[Assigner, Assigner]] = {}

    def forget(self) -> None:
        """The configuration is another one."""
        self._closed.clear()

    def pinned(self, routes: tuple[Route, ...]) -> bool:
        """Whether a store must be asked for these."""
        return self._pins is not None and any(route.running.experiment.pins == "required" for route in routes)

    def part(
        self,
        route: Route,
        exchange: Exchange,
        body: Mapping[str, Any],
        pinned: int | None = None,
    ) -> Part:
        """What one experiment means for a request."""
        experiment = route.running.experiment
        attributes = route.attributes_of(exchange, body)
        assigner = self._assigner(route)
        forced = exchange.headers.get("x-equipoise-force")
        if forced is not None:
            name, _, variant = forced.partition("=")
            if name == route.name and variant in route.endpoints:
                unit = route.unit_of(exchange, body)
                return Part(route, unit, attributes, assigner.force(variant), fresh=False)
        unit = route.unit_of(exchange, body)
        if unit is None:
            if experiment.unit.type == "request":
                unit = new_id()
            elif experiment.unit.type == "slot":
                unit = slot_now(experiment, attributes, self._clock.now())
            if unit is None:
                self._counts.no_unit += 1
                return Part(route, None, attributes, assigner.outside("no_unit"), fresh=False)
        entered = (
            pinned
            if pinned is not None
            else self._entered(route, unit, exchange.headers.get("x-equipoise-token"))
        )
        return self._drawn(route, assigner, unit, attributes, entered)

    def of_unit(
        self,
        route: Route,
        unit: str,
        attributes: Mapping[str, Any],
        token: object,
        pinned: int | None = None,
    ) -> Part:
        """As `part`, for a unit that is named outright. UsageError for what cannot name one."""
        said = token if isinstance(token, str) else None
        entered = pinned if pinned is not None else self._entered(route, unit, said)
        return self._drawn(route, self._assigner(route), unit, attributes, entered)

    def _drawn(
        self,
        route: Route,
        assigner: Assigner,
        unit: str,
        attributes: Mapping[str, Any],
        entered: int | None,
    ) -> Part:
        experiment = route.running.experiment
        draw = assigner.draw(unit, attributes, entered=entered)
        if not draw.counts or self._recorder.exposed.knows(draw, unit):
            return Part(route, unit, attributes, draw, fresh=False)
        down = self._recorder.down
        # Where the record may not answer, whoever is in already need not be told of again.
        if (down or assigner.closed is not None) and self._enrolled.holds(route.name, unit):
            return Part(route, unit, attributes, draw, fresh=False)
        if down:
            if entered is not None or self._began_before(unit, experiment.unit.id):
                return Part(route, unit, attributes, draw, fresh=False)
            self._counts.unrecorded += 1
            self._recorder.unrecorded(route.name)
            return Part(route, unit, attributes, assigner.outside("unrecorded"), fresh=False)
        return Part(route, unit, attributes, draw, fresh=True)

    def _began_before(self, unit: str, kind: str) -> bool:
        """Whether a unit is known to have been served before the record went down, by the time in its id."""
        if kind != "uuid7":
            return False
        try:
            return id_time(unit) < self._recorder.down_since
        except ValueError:
            return False

    def _assigner(self, route: Route) -> Assigner:
        if self.stale_since is None:
            return route.assigner
        kept = self._closed.get(route.name)
        if kept is None or kept[0] is not route.assigner:
            closed = route.assigner.closing("stale", self.stale_since)
            kept = self._closed[route.name] = (route.assigner, closed)
        return kept[1]

    def _entered(self, route: Route, unit: str, token: str | None) -> int | None:
        if token is None or self._signer is None:
            return None
        for each in token.split(","):
            said = self._signer.read("assignment", each.strip())
            if said is not None and said[:2] == [route.salt, unit] and isinstance(said[2], int):
                return int(said[2])
        return None

    async def by_pin(self, part: Part, again: Callable[[int], Part]) -> Part:
        """A part by the epoch its unit is pinned to, made `again` with it; as it is where nothing is pinned."""
        route, unit = part.route, part.unit
        required = route.running.experiment.pins == "required" and part.draw.reason != "forced"
        if not required or unit is None or self._pins is None:
            return part
        key = (route.salt, unit)
        epoch = self._epochs.get(key)
        if epoch is None:
            try:
                epoch = await self._loop.run_in_executor(None, self._pin, part)
            except RecordError:
                if part.draw.counts and not part.fresh:
                    return part
                self._counts.unrecorded += 1
                self._recorder.unrecorded(route.name)
                outside = route.assigner.outside("unrecorded")
                return Part(route, unit, part.attributes, outside, fresh=False)
            if epoch is None:
                return part
            # A pin is never moved: what is remembered holds while the store is away.
            if len(self._epochs) >= _PINS:
                self._epochs.pop(next(iter(self._epochs)))
            self._epochs[key] = epoch
        return part if part.draw.counts and part.draw.epoch == epoch else again(epoch)

    def _pin(self, part: Part) -> int | None:
        assert self._pins is not None
        assert part.unit is not None
        if part.draw.counts:
            return self._pins.pin(part.route.salt, part.unit, part.draw.epoch)
        return self._pins.find(part.route.salt, part.unit)

    def unrecorded(self, part: Part) -> Part:
        if not part.fresh:
            return part
        if part.unit is not None and self._enrolled.holds(part.route.name, part.unit):
            # It was exposed before, and forgotten here: it keeps what it has.
            return Part(part.route, part.unit, part.attributes, part.draw, fresh=False)
        self._counts.unrecorded += 1
        self._recorder.unrecorded(part.route.name)
        outside = part.route.assigner.outside("unrecorded")
        return Part(part.route, part.unit, part.attributes, outside, fresh=False)

    def tokens(self, parts: tuple[Part, ...], trace: str) -> list[tuple[str, str]]:
        """The signed words that travel with a reply."""
        signer = self._signer
        if signer is None:
            return []
        said: list[tuple[str, str]] = []
        about = [
            [part.route.name, part.unit] for part in parts if part.unit is not None and part.draw.variant
        ]
        if about:
            token = signer.sign("feedback", [about, trace, int(self._clock.now())])
            said.append(("feedback", token))
        entered = [
            signer.sign("assignment", [part.route.salt, part.unit, part.draw.epoch])
            for part in parts
            if part.draw.counts and part.route.running.experiment.unit.id == "token"
        ]
        if entered:
            said.append(("token", ", ".join(entered)))
        return said
