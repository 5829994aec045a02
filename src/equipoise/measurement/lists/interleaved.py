"""Lists of several rankers' items and the clicks on them, from the log: who earned what, unit by unit.

Every unit sees every ranker, so nothing is compared between units: of each the sum of what a treatment earned more than
control is kept, and the number of its queries. A page of the log at a time, and no list is held in memory.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping

from equipoise.errors import DataError
from equipoise.events.facts import Loss
from equipoise.events.log import EventLog
from equipoise.experiment.definition import Experiment
from equipoise.measurement.lists.earning import Earnings
from equipoise.measurement.lists.reading import (
    Came,
    ListReading,
    came_in,
    clicks_on,
    dated,
    earned_in,
    impression_of,
)
from equipoise.measurement.tally import Aside, Enrolment, Lists, Measurement, Read
from equipoise.rollout.stages import State, canary_ended, fold

__all__ = ["measure_lists"]


def measure_lists(experiment: Experiment, log: EventLog, *, until: int | None = None) -> Measurement:
    """Measure an interleaved experiment in the log, up to a position where one is given.

    A list counts once, under the name of its first; a click where it names a list and an item in it, told within the
    metric's window after the list was shown, and of an item once. Lists younger than the window are not counted for the
    metric. What is dated wildly ahead or behind counts from when it was received.

    Raises DataError where no list was shown, or with a ranker that is not declared; RecordError for a damaged fact.
    """
    reading = ListReading(experiment, log, log.head() if until is None else until)
    came, fence, last = came_in(reading)
    clicks, whole, latest = clicks_on(reading, {metric.of.name for metric in experiment.metrics}, fence)
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
        fact = impression_of(reading, position, happened, body)
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
        at = dated(happened, received, fence)
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
            earnings.count(index, fact, earned_in(metric, at, ends, places, told))
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


def _enrolled(
    reading: ListReading, came: Mapping[str, Came], ends: float
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


def _aside(reading: ListReading, *, orphans: int, canary: int, in_canary: bool) -> Aside:
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
