"""Survey: what a log holds about its experiments."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from equipoise.conduct.calibration import calibrations
from equipoise.conduct.ledger import names, registered
from equipoise.events.facts import Exposure
from equipoise.events.log import EventLog
from equipoise.rollout.stages import LEDGER

__all__ = ["Overview", "history", "survey"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Overview:
    """One line about an experiment."""

    identity: str
    name: str
    stage: str
    exposed: int
    looks: int
    planned_looks: int
    verdict: str | None

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


def survey(log: EventLog) -> list[Overview]:
    """Every registered experiment, by name."""
    return [_overview(log, name) for name in names(log)]


def _overview(log: EventLog, name: str) -> Overview:
    experiment, _, state = registered(log, name)
    return Overview(
        identity=experiment.identity,
        name=name,
        stage=state.stage or "offline",
        exposed=sum(_exposed(log, name, experiment.digest).values()),
        looks=len(state.looks),
        planned_looks=len(experiment.plan.looks),
        verdict=state.decision.verdict if state.decision else None,
    )


def _exposed(log: EventLog, name: str, digest: str) -> dict[str, int]:
    seen: dict[str, str] = {}
    for record in log.read_since(0, experiment=name, kinds=("exposure",)):
        fact = record.fact
        if isinstance(fact, Exposure) and fact.digest == digest:
            seen.setdefault(fact.unit, fact.variant)
    arms = sorted(set(seen.values()), key=lambda arm: (arm != "control", arm))
    return {arm: sum(variant == arm for variant in seen.values()) for arm in arms}


def history(log: EventLog, name: str) -> dict[str, Any]:
    """One experiment in full: definition, plan, exposure, how good its judges are, every fact that moved or judged it."""
    experiment, registration, state = registered(log, name)
    return {
        "experiment": experiment.identity,
        "stage": state.stage,
        "exposed": _exposed(log, name, experiment.digest),
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
