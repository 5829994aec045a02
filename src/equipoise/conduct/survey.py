"""Survey: what a log holds about its experiments."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass
from typing import Any

from equipoise.clock import Clock, SystemClock
from equipoise.conduct.calibration import calibrations
from equipoise.conduct.ledger import names, registered
from equipoise.conduct.looking.progress import NextLook, upcoming
from equipoise.conduct.redirecting import FirstExposures, first_exposures
from equipoise.errors import DefinitionError
from equipoise.events.log import EventLog
from equipoise.experiment.variant import control_first
from equipoise.rollout.stages import LEDGER

__all__ = ["Overview", "Unread", "history", "survey"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Overview:
    """One line about an experiment; `next_look` is None where none is to come."""

    identity: str
    name: str
    stage: str
    service: str
    exposed: int
    next_look: NextLook | None
    looks: int
    planned_looks: int
    verdict: str | None

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Unread:
    """An experiment whose definition is none to this version: another one may have written it."""

    name: str
    because: str

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


def survey(log: EventLog, *, clock: Clock | None = None) -> list[Overview | Unread]:
    """Every registered experiment, by name. Of traffic the exposures are read."""
    now = (clock or SystemClock()).now()
    return [_line(log, name, now) for name in names(log)]


def _line(log: EventLog, name: str, now: float) -> Overview | Unread:
    try:
        return _overview(log, name, now)
    except DefinitionError as error:
        # One that cannot be read takes nothing from the others.
        first = error.faults[0]
        return Unread(name, first.problem if first.field is None else f"{first.field}: {first.problem}")


def _overview(log: EventLog, name: str, now: float) -> Overview:
    experiment, _, state = registered(log, name)
    found = first_exposures(log, experiment)
    return Overview(
        identity=experiment.identity,
        name=name,
        stage=state.stage or "offline",
        service=state.service,
        exposed=len(found.by_unit),
        next_look=upcoming(experiment, state, found, now),
        looks=len(state.looks),
        planned_looks=len(experiment.plan.looks),
        verdict=state.decision.verdict if state.decision else None,
    )


def _exposed(found: FirstExposures) -> dict[str, int]:
    counts = Counter(each.arm for each in found.by_unit.values())
    return {arm: counts[arm] for arm in sorted(counts, key=control_first)}


def history(log: EventLog, name: str) -> dict[str, Any]:
    """One experiment in full: definition, plan, exposure, how good its judges are, every fact that moved or judged it."""
    experiment, registration, state = registered(log, name)
    return {
        "experiment": experiment.identity,
        "stage": state.stage,
        "service": state.service,
        "exposed": _exposed(first_exposures(log, experiment)),
        "counted": experiment.counted,
        "definition": dict(registration.definition),
        "plan": dict(registration.plan),
        "calibration": [each.to_dict() for each in calibrations(log, experiment)],
        "ledger": [
            {"kind": record.fact.kind, "position": record.position}
            | {
                key: value
                for key, value in asdict(record.fact).items()
                if key not in ("definition", "plan", "experiment")
            }
            for record in log.read_since(0, experiment=name, kinds=LEDGER)
        ],
    }
