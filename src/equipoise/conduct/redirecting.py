"""Redirecting: whom a rollback, a kill or a removed arm serves control from now on, and who of them is in the middle.

An exposed unit stays in its arm, whatever it is served: it is counted here, and nobody is moved.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator
from dataclasses import asdict, dataclass
from typing import Any

import orjson

from equipoise.events.bodies import bodies_of
from equipoise.events.facts import Turn
from equipoise.events.log import EventLog, Recorded
from equipoise.experiment.definition import Experiment

__all__ = ["IN_PROGRESS_S", "Redirected", "first_exposures", "recent", "redirected"]

IN_PROGRESS_S = 1800.0
"""A unit with a turn within so many seconds is in the middle of something."""

_STEP = 2_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Redirected:
    """How many exposed units each treatment has, and how many of them had a turn within `minutes` (`in_progress`)."""

    units: dict[str, int]
    in_progress: dict[str, int]
    minutes: float

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


def redirected(
    log: EventLog, experiment: Experiment, *, now: float, arms: Collection[str] | None = None
) -> Redirected:
    """Count the exposed units of these arms (None: of every treatment) and those that are in the middle of something.

    Reads every exposure of the experiment, and of the turns those that arrived lately.
    """
    wanted = [each.name for each in experiment.treatments if arms is None or each.name in arms]
    homes = {unit: arm for unit, (arm, _, _) in first_exposures(log, experiment).items()}
    busy = {
        record.fact.unit
        for record in recent(log, experiment.name, now - IN_PROGRESS_S)
        if isinstance(record.fact, Turn) and record.fact.happened >= now - IN_PROGRESS_S
    }
    units = Counter(homes.values())
    in_progress = Counter(homes[unit] for unit in busy if unit in homes)
    return Redirected(
        units={arm: units[arm] for arm in wanted},
        in_progress={arm: in_progress[arm] for arm in wanted},
        minutes=IN_PROGRESS_S / 60.0,
    )


def first_exposures(log: EventLog, experiment: Experiment) -> dict[str, tuple[str, int, float]]:
    """Arm, epoch and time of each unit's first exposure to this revision, as the log holds them."""
    first: dict[str, tuple[str, int, float]] = {}
    digest = experiment.digest.encode()
    for page in bodies_of(log, experiment.name, "exposure", until=log.head()):
        for _, happened, _, body in page:
            # A digest is 64 hexadecimal digits: what holds it nowhere is another revision's.
            if digest in body:
                told = orjson.loads(body)
                if told["digest"] == experiment.digest:
                    first.setdefault(told["unit"], (told["variant"], told.get("epoch", 0), happened))
    return first


def recent(log: EventLog, name: str, since: float) -> Iterator[Recorded]:
    """The turns of an experiment that arrived since a time, and few that came before: the end of a log, not all of it."""
    head, step = log.head(), _STEP
    start = max(0, head - step)
    while start:
        first = next(log.read_since(start, experiment=name, kinds=("turn",)), None)
        if first is not None and first.received < since:
            break
        step *= 4
        start = max(0, head - step)
    yield from log.read_since(start, experiment=name, kinds=("turn",))
