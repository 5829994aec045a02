"""Lists and clicks on them, read from the log a page at a time: who was shown what, and what was earned at which place."""

from __future__ import annotations

import hashlib
import math
import struct
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import orjson

from equipoise.errors import DataError, RecordError
from equipoise.events.bodies import Body, bodies_of
from equipoise.events.facts import Impression, decode
from equipoise.events.log import EventLog
from equipoise.experiment.definition import Experiment
from equipoise.experiment.metric import Metric
from equipoise.measurement.clocks import Fence, fence_of

__all__ = ["Came", "Click", "ListReading", "came_in", "clicks_on", "dated", "earned_in", "impression_of"]

_EARLIEST = 5
"""With fewer delays nobody can tell which of them is wild."""


class Came(NamedTuple):
    """When a unit first was shown a list, and what was known of it then."""

    since: float
    attributes: Mapping[str, object]


class Click(NamedTuple):
    """What was told of an item of a list, and when."""

    name: str
    at: float
    item: str
    value: float


@dataclass
class ListReading:
    """Bodies on their way past, and the hash of what went by."""

    experiment: Experiment
    log: EventLog
    until: int
    read: dict[str, int] = field(default_factory=dict)
    received: float | None = None

    def __post_init__(self) -> None:
        self._hashed, self._position = hashlib.sha256(), 0

    @property
    def digest(self) -> str:
        """SHA-256 over what was read, kind by kind: when it happened, and its body."""
        return self._hashed.hexdigest()

    def bodies(self, kind: str) -> Iterator[Body]:
        """What the log has of a kind, counted and hashed on its way past the first time."""
        anew = kind not in self.read
        self.read.setdefault(kind, 0)
        for page in bodies_of(self.log, self.experiment.name, kind, until=self.until):
            for position, happened, received, body in page:
                if anew:
                    self.read[kind] += 1
                    self._hashed.update(struct.pack("<d", happened) + body + b"\n")
                if position > self._position:
                    self._position, self.received = position, received
                yield position, happened, received, body

    def damaged(self, kind: str, position: int, error: Exception) -> RecordError:
        return RecordError(f"the {kind} of {self.experiment.name} at position {position} is damaged: {error}")


def came_in(reading: ListReading) -> tuple[dict[str, Came], Fence, float]:
    """Who was shown lists of this revision since when, how far clocks may be off, and when the last was shown."""
    digest = reading.experiment.digest
    told: list[tuple[str, float, float, Mapping[str, object]]] = []
    for position, happened, received, body in reading.bodies("impression"):
        try:
            said = orjson.loads(body)
            if said["digest"] == digest:
                known = said.get("attributes")
                told.append((said["unit"], happened, received, known if isinstance(known, dict) else {}))
        except (orjson.JSONDecodeError, KeyError, TypeError) as error:
            raise reading.damaged("list", position, error) from None
    if not told:
        raise DataError(
            f"the log holds no list of {reading.experiment.identity} yet. Show lists by a Router with this log"
        )
    fence = _fence([received - happened for _, happened, received, _ in told])
    came: dict[str, Came] = {}
    last = -math.inf
    for unit, happened, received, attributes in told:
        at = dated(happened, received, fence)
        last = max(last, at)
        if unit not in came or at < came[unit].since:
            came[unit] = Came(at, attributes)
    return came, fence, last


def clicks_on(
    reading: ListReading, names: set[str], fence: Fence
) -> tuple[dict[tuple[str, str], list[Click]], int, float]:
    """What was told of items, by list; how many outcomes name none; and when the last of all was told."""
    clicks: dict[tuple[str, str], list[Click]] = defaultdict(list)
    whole, latest = 0, -math.inf
    for position, happened, received, body in reading.bodies("outcome"):
        try:
            said = orjson.loads(body)
            name, value, unit = said["name"], said["value"], said["unit"]
            query, item = said.get("query"), said.get("item")
        except (orjson.JSONDecodeError, KeyError, TypeError) as error:
            raise reading.damaged("outcome", position, error) from None
        at = dated(happened, received, fence)
        latest = max(latest, at)
        if not isinstance(name, str) or name not in names or not isinstance(value, int | float):
            continue
        if all(isinstance(each, str) for each in (unit, query, item)):
            clicks[unit, query].append(Click(name, at, item, float(value)))
        else:
            whole += 1
    return clicks, whole, latest


def impression_of(reading: ListReading, position: int, happened: float, body: bytes) -> Impression | None:
    """A list of this revision; None for another's."""
    experiment = reading.experiment
    if experiment.digest.encode() not in body:
        return None
    fact = decode(
        "impression",
        event_id=f"at position {position}",
        experiment=experiment.name,
        happened=happened,
        body=body,
    )
    assert isinstance(fact, Impression)
    if fact.digest != experiment.digest:
        return None
    known = {variant.name for variant in experiment.variants}
    by = {*fact.teams, *(fact.short or ()), *(fact.shares or ()), *(fact.ranks or ())} - {None} - known
    if by:
        raise DataError(
            f"the log has a list with items of '{min(map(str, by))}', which the definition does not; it has: "
            f"{', '.join(sorted(known))}"
        )
    for of in (fact.shares, fact.ranks):
        if of is not None and set(of) != known:
            raise reading.damaged("list", position, ValueError("not every ranker has its shares or ranks"))
    return fact


def earned_in(
    metric: Metric, at: float, ends: float, places: Mapping[str, int], told: Sequence[Click]
) -> dict[int, float] | None:
    """What was earned at places of a list; None where it is younger than the metric's window.

    Of a mean the values of an item are added up; of all else an item that was clicked twice is one item.
    """
    if metric.window is not None and at + metric.window > ends:
        return None
    until = math.inf if metric.window is None else at + metric.window
    earned: dict[int, float] = {}
    for click in told:
        place = places.get(click.item)
        if place is None or click.name != metric.of.name or click.at > until:
            continue
        if metric.kind == "mean":
            earned[place] = earned.get(place, 0.0) + click.value
        elif click.value:
            earned[place] = 1.0
    return earned


def _fence(delays: Sequence[float]) -> Fence:
    if len(delays) < _EARLIEST:
        return Fence(-math.inf, math.inf)
    ordered = sorted(delays)
    return fence_of(ordered[len(ordered) // 4], ordered[(3 * len(ordered)) // 4])


def dated(happened: float, received: float, fence: Fence) -> float:
    """When something counts from: wildly off, from when it was received."""
    return happened if fence.low <= received - happened <= fence.high else received
