"""Lists of several rankers' items and the clicks on them, from the log: who earned what, unit by unit.

Every unit sees every ranker, so nothing is compared between units: of each the sum of what a treatment earned more than
control is kept, and the number of its queries. A page of the log at a time, and no list is held in memory.
"""

from __future__ import annotations

import hashlib
import math
import struct
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import orjson

from equipoise.errors import DataError, RecordError
from equipoise.events.bodies import Body, bodies_of
from equipoise.events.facts import Impression, Loss, decode
from equipoise.events.log import EventLog
from equipoise.experiment.definition import Experiment
from equipoise.experiment.metric import Metric
from equipoise.measurement.clocks import Fence, fence_of
from equipoise.measurement.earning import Earnings
from equipoise.measurement.tally import Aside, Enrolment, Lists, Measurement, Read
from equipoise.rollout.stages import State, canary_ended, fold

__all__ = ["measure_lists"]

_EARLIEST = 5
"""With fewer delays nobody can tell which of them is wild."""


class _Came(NamedTuple):
    """When a unit first was shown a list, and what was known of it then."""

    since: float
    attributes: Mapping[str, object]


class _Click(NamedTuple):
    name: str
    at: float
    item: str
    value: float


@dataclass
class _Reading:
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


def measure_lists(experiment: Experiment, log: EventLog, *, until: int | None = None) -> Measurement:
    """Measure an interleaved experiment in the log, up to a position where one is given.

    A list counts once, under the name of its first; a click where it names a list and an item in it, told within the
    metric's window after the list was shown, and of an item once. Lists younger than the window are not counted for the
    metric. What is dated wildly ahead or behind counts from when it was received.

    Raises DataError where no list was shown, or with a ranker that is not declared; RecordError for a damaged fact.
    """
    reading = _Reading(experiment, log, log.head() if until is None else until)
    came, fence, last = _came_in(reading)
    clicks, whole, latest = _clicks(reading, {metric.of.name for metric in experiment.metrics}, fence)
    last = max(last, latest)
    ends = last if reading.received is None else min(last, reading.received)
    counting, enrolment, canary, in_canary = _enrolled(reading, came, ends)
    earnings = Earnings(experiment, counting)
    seen: set[tuple[str, str]] = set()
    shown: Counter[str] = Counter()
    first: Counter[str] = Counter({variant.name: 0 for variant in experiment.variants})
    short: Counter[str] = Counter({variant.name: 0 for variant in experiment.variants})
    rows = 0
    for position, happened, received, body in reading.bodies("impression"):
        fact = _impression(reading, position, happened, body)
        if fact is None:
            continue
        name = (fact.unit, fact.query)
        if name in seen:
            shown["again"] += 1
            continue
        seen.add(name)
        told = clicks.pop(name, ())
        if fact.unit not in earnings.places:
            continue
        at = _dated(happened, received, fence)
        places = {item: place for place, item in enumerate(fact.items, start=1)}
        rows += 1 + len(told)
        shown["counted"] += 1
        shown["strange"] += sum(each.item not in places for each in told)
        begins = next((team for team in fact.teams if team is not None), None)
        if begins is not None:
            first[begins] += 1
        for ranker in fact.short or ():
            short[ranker] += 1
        for index, metric in enumerate(experiment.metrics):
            earnings.count(index, fact, _earned(metric, at, ends, places, told))
    if not rows and not enrolment.burn_in and not enrolment.unfinished and not in_canary:
        raise DataError(
            f"the log holds no list of {experiment.identity} that counts. Show lists by a Router with this log"
        )
    orphans = sum(map(len, clicks.values()))
    arms = [variant.name for variant in experiment.variants]
    return Measurement(
        source="the event log",
        rows=rows,
        units=dict.fromkeys(arms, earnings.units),
        crossed=0,
        kept=True,
        rows_without_unit=0,
        clusters=None if earnings.clusters is None else dict.fromkeys(arms, earnings.clusters),
        first=min((each.since for each in came.values()), default=None),
        last=last if math.isfinite(last) else None,
        tallies={metric.name: earnings.tallies(metric.name) for metric in experiment.metrics},
        aside=_aside(reading, orphans=orphans, canary=canary, in_canary=in_canary),
        critical_segments=tuple(
            earnings.within(each.metric, each.attribute, each.value) for each in experiment.critical_segments
        ),
        read=Read(dict(reading.read), reading.digest, rows, reading.received, ends),
        enrolment=enrolment,
        segments=tuple(earnings.segment(attribute) for attribute in experiment.segments),
        lists=Lists(
            shown=shown["counted"],
            units=earnings.units,
            first=dict(first),
            short=dict(short),
            again=shown["again"],
            strange=shown["strange"],
            whole=whole,
            unripe={
                metric.name: earnings.unripe[index]
                for index, metric in enumerate(experiment.metrics)
                if metric.window is not None
            },
            won={treatment.name: earnings.won(treatment.name) for treatment in experiment.treatments},
        ),
    )


def _came_in(reading: _Reading) -> tuple[dict[str, _Came], Fence, float]:
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
    came: dict[str, _Came] = {}
    last = -math.inf
    for unit, happened, received, attributes in told:
        at = _dated(happened, received, fence)
        last = max(last, at)
        if unit not in came or at < came[unit].since:
            came[unit] = _Came(at, attributes)
    return came, fence, last


def _clicks(
    reading: _Reading, names: set[str], fence: Fence
) -> tuple[dict[tuple[str, str], list[_Click]], int, float]:
    """What was told of items, by list; how many outcomes name none; and when the last of all was told."""
    clicks: dict[tuple[str, str], list[_Click]] = defaultdict(list)
    whole, latest = 0, -math.inf
    for position, happened, received, body in reading.bodies("outcome"):
        try:
            said = orjson.loads(body)
            name, value, unit = said["name"], said["value"], said["unit"]
            query, item = said.get("query"), said.get("item")
        except (orjson.JSONDecodeError, KeyError, TypeError) as error:
            raise reading.damaged("outcome", position, error) from None
        at = _dated(happened, received, fence)
        latest = max(latest, at)
        if not isinstance(name, str) or name not in names or not isinstance(value, int | float):
            continue
        if all(isinstance(each, str) for each in (unit, query, item)):
            clicks[unit, query].append(_Click(name, at, item, float(value)))
        else:
            whole += 1
    return clicks, whole, latest


def _enrolled(
    reading: _Reading, came: Mapping[str, _Came], ends: float
) -> tuple[dict[str, Mapping[str, object]], Enrolment, int, bool]:
    """The units that count with what is known of them; those that wait; how many came in by a canary, and if it goes on."""
    experiment, plan = reading.experiment, reading.experiment.plan
    moves = (
        record.fact
        for record in reading.log.read_since(0, experiment=experiment.name, kinds=("transition",))
        if record.position <= reading.until
    )
    ended = canary_ended(experiment, fold(moves, State(digest=experiment.digest)))
    going_on = ended is not None and math.isinf(ended)
    counting = {unit: each for unit, each in came.items() if ended is None or going_on or each.since >= ended}
    canary = len(came) - len(counting)
    if not counting:
        raise DataError(
            f"all {canary:,} units of {experiment.identity} came in during its canary, and those are no part of the "
            "estimate: wait for the first of the stage ab, or declare `rollout: {canary: {counted: true}}` in a new revision"
        )
    begin = min(each.since for each in counting.values()) + plan.burn_in
    cycles, end = None, math.inf
    if plan.whole_cycles and plan.cycle:
        cycles = max(0, int((ends - begin) / plan.cycle))
        end = begin + cycles * plan.cycle
    kept = {unit: each.attributes for unit, each in counting.items() if begin <= each.since < end}
    early = sum(each.since < begin for each in counting.values())
    return kept, Enrolment(early, len(counting) - early - len(kept), cycles), canary, going_on


def _impression(reading: _Reading, position: int, happened: float, body: bytes) -> Impression | None:
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


def _earned(
    metric: Metric, at: float, ends: float, places: Mapping[str, int], told: Sequence[_Click]
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


def _aside(reading: _Reading, *, orphans: int, canary: int, in_canary: bool) -> Aside:
    lost: Counter[str] = Counter()
    conflicts = 0
    for record in reading.log.read_since(0, experiment=reading.experiment.name, kinds=("loss", "conflict")):
        if record.position > reading.until:
            break
        if isinstance(record.fact, Loss):
            lost.update(record.fact.facts)
        else:
            conflicts += 1
    return Aside(orphans=orphans, lost=dict(lost), conflicts=conflicts, canary=canary, in_canary=in_canary)


def _fence(delays: Sequence[float]) -> Fence:
    if len(delays) < _EARLIEST:
        return Fence(-math.inf, math.inf)
    ordered = sorted(delays)
    return fence_of(ordered[len(ordered) // 4], ordered[(3 * len(ordered)) // 4])


def _dated(happened: float, received: float, fence: Fence) -> float:
    return happened if fence.low <= received - happened <= fence.high else received
