"""A bandit that is served: units that come in by the epochs of its log, and are rewarded or not."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Mapping
from typing import Any

from equipoise.assignment.configuration import running_of
from equipoise.clock import ManualClock
from equipoise.conduct.ledger import state_of
from equipoise.conduct.register import register
from equipoise.events.facts import Exposure, Fact, Outcome
from equipoise.events.log import EventLog
from equipoise.experiment.definition import Experiment
from equipoise.experiment.reading import read_canonical

START = 1_800_000_000.0
HOUR = 3600.0


def bandit(section: dict[str, Any] | None = None, **more: Any) -> Experiment:
    """Three arms that are played for resolved conversations, told within an hour."""
    return read_canonical(
        {
            "name": "bot",
            "hypothesis": "One of these models resolves more.",
            "method": "bandit",
            "bandit": section or {},
            "unit": {"type": "conversation", "id": "uuid7"},
            "changes": ["model"],
            "variants": {"control": {"model": "a"}, "b": {"model": "b"}, "c": {"model": "c"}},
            "metrics": {"resolution_rate": {"priority": "primary", "window": "1h"}},
        }
        | more
    )


def playing(log: EventLog, experiment: Experiment, clock: ManualClock) -> None:
    """Register it, and let its first epoch begin."""
    register(log, experiment, by="ann", reason="no gate is declared", clock=clock)
    clock.advance(20.0)


def uuid7(rng: random.Random, now: float) -> str:
    """An id that was made now."""
    told = f"{int(now * 1000):012x}7{rng.randrange(16**3):03x}8{rng.randrange(16**15):015x}"
    return "-".join((told[:8], told[8:12], told[12:16], told[16:20], told[20:]))


def served(
    log: EventLog,
    experiment: Experiment,
    clock: ManualClock,
    rng: random.Random,
    units: int,
    rates: Mapping[str, float],
    *,
    apart: float = 10.0,
    outcome: str = "resolved",
    value: Any = None,
) -> Counter[str]:
    """Units come in one after the other, `apart` seconds each; each is told a second later whether it was resolved, or what
    `value` makes of its arm. How many came to each arm.
    """
    assigner = running_of(state_of(log, experiment.name), experiment).assigner(clock)
    came: Counter[str] = Counter()
    facts: list[Fact] = []
    for _ in range(units):
        now = clock.now()
        unit = uuid7(rng, now)
        draw = assigner.draw(unit)
        if draw.counts and draw.variant is not None and draw.probability is not None:
            came[draw.variant] += 1
            facts.append(
                Exposure(
                    experiment=experiment.name, happened=now, digest=experiment.digest, unit=unit,
                    unit_type="conversation", variant=draw.variant, probability=draw.probability,
                    reason=draw.reason, epoch=draw.epoch,
                )
            )  # fmt: skip
            told = rng.random() < rates[draw.variant] if value is None else value(draw.variant)
            if told is not None:
                facts.append(
                    Outcome(
                        experiment=experiment.name,
                        happened=now + 1.0,
                        unit=unit,
                        name=outcome,
                        value=told,
                    )
                )
        clock.advance(apart)
    log.append(facts)
    return came
