"""Which experiments a request is part of, and what each of its units gets."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from equipoise.assignment.applying import clashing
from equipoise.assignment.assigning import Assigner, Draw
from equipoise.assignment.configuration import Configuration, Running
from equipoise.assignment.enrolled import Enrolled
from equipoise.assignment.hashing import salt
from equipoise.clock import Clock
from equipoise.errors import UsageError
from equipoise.experiment.audience import Attribute, Condition, Source, unit_name, unit_source
from equipoise.experiment.endpoint import Endpoint, parse_endpoint
from equipoise.experiment.prices import LIST_PRICES, Price
from equipoise.gateway.http1 import Exchange
from equipoise.rollout.stages import STAGES
from equipoise.scoring.capturing import Capturing, capturing
from equipoise.scoring.inline import Inline, inline_checks

__all__ = ["Part", "Route", "Routes", "found_at"]

_NONE: Mapping[str, Any] = MappingProxyType({})
_PREFIX = "experiment/"


def found_at(source: Source, exchange: Exchange, body: Mapping[str, Any]) -> Any:
    """What a request holds at a place, or None."""
    if source.place == "header":
        return _read(exchange.headers.get(source.name))
    if source.place == "cookie":
        for part in exchange.headers.get("cookie", "").split(";"):
            name, _, value = part.strip().partition("=")
            if name == source.name:
                return _read(value)
        return None
    return source.in_body(body)


def _read(value: str | None) -> str | None:
    """A header's bytes as UTF-8, so that a unit is the same here and in a body; as Latin-1 where they are none."""
    if value is None or value.isascii():
        return value
    try:
        return value.encode("latin-1").decode()
    except UnicodeError:
        return value


@dataclass(frozen=True, slots=True)
class Route:
    """One experiment, ready to be served."""

    running: Running
    assigner: Assigner
    source: Source | None
    attributes: tuple[tuple[str, Attribute, Source], ...]
    inline: Inline
    endpoints: Mapping[str, Endpoint]
    prices: Mapping[str, Price]
    salt: str
    shadows: tuple[str, ...]
    closed: bool
    capture: Capturing | None

    @property
    def name(self) -> str:
        return self.running.experiment.name

    def unit_of(self, exchange: Exchange, body: Mapping[str, Any]) -> str | None:
        """The unit's name, from the declared source only; None without."""
        if self.source is None:
            return None
        return unit_name(found_at(self.source, exchange, body))

    def attributes_of(self, exchange: Exchange, body: Mapping[str, Any]) -> Mapping[str, Any]:
        """What the request says of the unit, by type; what it does not say is absent."""
        if not self.attributes:
            return _NONE
        found = {
            name: attribute.read(found_at(source, exchange, body))
            for name, attribute, source in self.attributes
        }
        return {name: value for name, value in found.items() if value is not None}


def _route(running: Running, clock: Clock, forced: Mapping[str, str], enrolled: Enrolled | None) -> Route:
    experiment = running.experiment
    if experiment.method == "interleaving":
        raise UsageError(
            f"{experiment.identity} interleaves rankings, which is done where they are made, by `Router.interleave`"
        )
    endpoints = {}
    for variant in experiment.variants:
        try:
            endpoints[variant.name] = parse_endpoint(variant.endpoint)
        except ValueError:
            # Registered by a version that did not look at it: the gateway's own upstream then.
            endpoints[variant.name] = Endpoint()
    treatments = tuple(variant.name for variant in experiment.treatments)
    shadows = running.stage in STAGES and running.service == "open" and experiment.rollout.shadow_share > 0
    return Route(
        running,
        running.assigner(clock, forced, enrolled),
        unit_source(experiment.unit.type, experiment.unit.source),
        tuple(
            (name, attribute, attribute.source)
            for name, attribute in experiment.attributes.items()
            if attribute.source is not None
        ),
        inline_checks(experiment.inline),
        endpoints,
        {**LIST_PRICES, **experiment.prices},
        salt(experiment.name, experiment.assignment_version),
        treatments if shadows else (),
        not running.enrols,
        capturing(experiment),
    )


class Part:
    """One experiment's part in a turn: what was drawn for which unit, with what was known of it."""

    __slots__ = ("attributes", "draw", "fresh", "route", "unit")

    def __init__(
        self, route: Route, unit: str | None, attributes: Mapping[str, Any], draw: Draw, fresh: bool
    ) -> None:
        self.route = route
        self.unit = unit
        self.attributes = attributes
        self.draw = draw
        self.fresh = fresh


class Routes:
    """All experiments of a configuration, found by the model a request names or by their rules of traffic."""

    def __init__(
        self,
        configuration: Configuration,
        clock: Clock,
        *,
        forced: Mapping[str, Mapping[str, str]] = _NONE,
        enrolled: Enrolled | None = None,
        former: Routes | None = None,
    ) -> None:
        self.by_name: dict[str, Route] = {}
        self.unusable: dict[str, str] = {}
        for name, running in configuration.experiments.items():
            kept = former.by_name.get(name) if former is not None else None
            if kept is not None and kept.running is running:
                self.by_name[name] = kept
                continue
            try:
                self.by_name[name] = _route(running, clock, forced.get(name, {}), enrolled)
            except Exception as error:  # noqa: BLE001 - one experiment that cannot be served must not stop the others
                self.unusable[name] = str(error)
        self._ruled: list[tuple[Route, list[tuple[str, Callable[[object], bool]]]]] = [
            (route, _testers(route.running.experiment.traffic))
            for route in self.by_name.values()
            if route.running.experiment.traffic
        ]
        self._named: dict[str, tuple[Route, ...]] = {}

    def of(self, model: object, exchange: Exchange, body: Mapping[str, Any]) -> tuple[Route, ...] | None:
        """The experiments of a request; None where it names one that is not registered.

        `experiment/NAME` names one, `experiment/ONE+OTHER` several. Rules of traffic see the model by its own name
        and the declared attributes.
        """
        if isinstance(model, str) and model.startswith(_PREFIX):
            if model not in self._named:
                if len(self._named) > 1000:
                    self._named.clear()
                # Whoever names an experiment twice takes part once.
                names = tuple(dict.fromkeys(model[len(_PREFIX) :].split("+")))
                found = [self.by_name.get(name) for name in names]
                known = [route for route in found if route is not None]
                if len(known) != len(names):
                    # Not remembered: there is no end of names that are nobody's.
                    return None
                self._named[model] = tuple(known)
            return self._named[model]
        if not self._ruled:
            return ()
        return tuple(
            route
            for route, tests in self._ruled
            if all(
                test(model if name == "model" else route.attributes_of(exchange, body).get(name))
                for name, test in tests
            )
        )


def _testers(conditions: tuple[Condition, ...]) -> list[tuple[str, Callable[[object], bool]]]:
    return [(each.attribute, each.tester()) for each in conditions]


def without_clashes(draws: list[Draw]) -> tuple[Draw, ...]:
    """The draws that can be served together: of two that would set the same, the first."""
    kept: list[Draw] = []
    for draw in draws:
        if not any(clashing(other, draw) for other in kept):
            kept.append(draw)
    return tuple(kept)
