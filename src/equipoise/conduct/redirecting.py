"""Redirecting: whom a rollback, a kill or a removed arm serves control from now on, and who of them is in the middle.

An exposed unit stays in its arm, whatever it is served: it is counted here, and nobody is moved.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

import orjson

from equipoise.errors import RecordError
from equipoise.events.bodies import bodies_of
from equipoise.events.facts import Turn
from equipoise.events.log import EventLog, Recorded
from equipoise.experiment.definition import Experiment
from equipoise.experiment.variant import control_first

__all__ = [
    "IN_PROGRESS_S",
    "SHARED",
    "FirstExposure",
    "FirstExposures",
    "Redirected",
    "first_exposures",
    "met",
    "recent",
    "redirected",
    "redirected_turns",
]

IN_PROGRESS_S = 1800.0
"""A unit with a turn within so many seconds is in the middle of something."""

SHARED = "interleaved"
"""Whose the lists are that all rankers share."""

_STEP = 2_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Redirected:
    """How many exposed units each treatment has, and how many of them had a turn within `minutes` (`in_progress`)."""

    units: dict[str, int]
    in_progress: dict[str, int]
    minutes: float

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


class FirstExposure(NamedTuple):
    """The arm and the epoch of a unit's first exposure, and when it happened (seconds since 1970 UTC)."""

    arm: str
    epoch: int
    happened: float


@dataclass(frozen=True, slots=True)
class FirstExposures:
    """The first exposure of each unit, and how many units were `crossed`: exposed to another arm as well."""

    by_unit: Mapping[str, FirstExposure]
    crossed: int

    def counted(self, ended: float | None) -> Counter[str]:
        """How many units of each arm are part of the estimate: who came in since `ended` (`canary_ended`; None: all).

        >>> found = FirstExposures({"u": FirstExposure("control", 0, 5.0), "v": FirstExposure("control", 0, 9.0)}, 0)
        >>> found.counted(6.0), found.counted(None)
        (Counter({'control': 1}), Counter({'control': 2}))
        """
        return Counter(each.arm for each in self.by_unit.values() if ended is None or each.happened >= ended)


def redirected(
    log: EventLog, experiment: Experiment, *, now: float, arms: Collection[str] | None = None
) -> Redirected:
    """Count the exposed units of these arms (None: of every treatment) and those that are in the middle of something.

    Reads every exposure of the experiment, and of the turns those that arrived lately.
    """
    wanted = [each.name for each in experiment.treatments if arms is None or each.name in arms]
    homes = {unit: each.arm for unit, each in first_exposures(log, experiment).by_unit.items()}
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


def met(
    log: EventLog,
    experiment: Experiment,
    *,
    service: str,
    now: float,
    arms: Collection[str] | None = None,
) -> dict[str, Any]:
    """Whom a verb met that leaves such a service, as its evidence: `redirected`, or `exposed` if they keep theirs."""
    found = redirected(log, experiment, now=now, arms=arms).to_dict()
    return {"exposed" if service == "paused" else "redirected": found}


def first_exposures(log: EventLog, experiment: Experiment) -> FirstExposures:
    """Every unit's first exposure to this revision, in the order of the log. RecordError for a damaged fact.

    Where rankers share lists there is one for every list, in the arm `SHARED`: the plan counts queries.
    """
    shared = experiment.interleaving is not None
    first: dict[str, FirstExposure] = {}
    crossed: set[str] = set()
    digest = experiment.digest.encode()
    for page in bodies_of(log, experiment.name, "impression" if shared else "exposure", until=log.head()):
        for position, happened, _, body in page:
            # What holds the digest nowhere is another revision's, and need not be read.
            if digest not in body:
                continue
            try:
                told = orjson.loads(body)
                if told["digest"] != experiment.digest:
                    continue
                unit, arm = told["unit"], SHARED if shared else told["variant"]
                if shared:
                    unit = f"{unit}\0{told['query']}"
                known = first.setdefault(unit, FirstExposure(arm, int(told.get("epoch", 0)), happened))
            except (orjson.JSONDecodeError, KeyError, TypeError, ValueError) as error:
                raise RecordError(f"the exposure at position {position} is damaged: {error}") from None
            if known.arm != arm:
                crossed.add(unit)
    return FirstExposures(first, len(crossed))


def redirected_turns(log: EventLog, experiment: Experiment) -> dict[str, int]:
    """How many turns of each arm were served control in its place, after a kill, a rollback or a removed arm.

    Looks through the bodies of all turns. RecordError for a damaged one.
    """
    turns = Counter[str]()
    digest = experiment.digest.encode()
    for page in bodies_of(log, experiment.name, "turn", until=log.head()):
        for position, _, _, body in page:
            if b'"redirected":true' in body and digest in body:
                try:
                    told = orjson.loads(body)
                    if told["digest"] == experiment.digest and told.get("redirected") is True:
                        turns[str(told["variant"])] += 1
                except (orjson.JSONDecodeError, KeyError, TypeError) as error:
                    raise RecordError(f"the turn at position {position} is damaged: {error}") from None
    return {arm: turns[arm] for arm in sorted(turns, key=control_first)}


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
