"""A log of a switchback: turns of every slot, with what each costs, and what came of them."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from typing import Any

from equipoise.assignment.switchback import schedule_of
from equipoise.events.facts import Exposure, Fact, Outcome, Turn
from equipoise.experiment.definition import Experiment
from equipoise.experiment.reading import read_canonical

MONDAY = 1_798_416_000.0
"""28 December 2026, 0:00 UTC, a Monday."""

BASE: dict[str, Any] = {
    "name": "cache",
    "hypothesis": "A cache that all share makes it cheaper.",
    "method": "switchback",
    "unit": {"type": "slot", "every": "6h"},
    "switchback": {"begins": "2026-12-28", "wash_out": "30m"},
    "changes": ["retrieval"],
    "variants": {"control": {"retrieval": {"cache": "own"}}, "treatment": {"retrieval": {"cache": "shared"}}},
    "metrics": {"cost": {"priority": "primary", "kind": "mean", "of": "turn.cost_usd", "better": "lower", "spread": 0.1, "mde": 0.05}},
}  # fmt: skip


def switchback(**more: Any) -> Experiment:
    return read_canonical(BASE | more)


def served(
    experiment: Experiment,
    cost: Callable[[float, str, str], float],
    *,
    weeks: int = 2,
    turns: int = 4,
    whose: tuple[str | None, ...] = (None,),
    seed: int = 7,
    outcomes: bool = False,
    since: float = MONDAY,
) -> Iterator[Fact]:
    """Facts of so many weeks; `cost` of a turn by its time, its slot's arm, and the arm of the slot before."""
    rng = random.Random(seed)
    schedule = schedule_of(experiment)
    every = experiment.unit.every
    for n in range(round(weeks * 7 * 86_400 / every)):
        for by in whose:
            start = since + n * every
            slot, before = (f"{at:.0f}" if by is None else f"{at:.0f}/{by}" for at in (start, start - every))
            arm, earlier = schedule.arm(slot), schedule.arm(before)
            assert arm is not None
            assert earlier is not None
            times = sorted(start + rng.uniform(1.0, every - 60.0) for _ in range(turns))
            common = {"experiment": experiment.name, "unit": slot}
            yield Exposure(
                **common, happened=times[0], digest=experiment.digest, unit_type="slot", variant=arm, probability=0.5,
                reason="split", attributes={} if by is None else {"region": by}, event_id=f"e-{slot}",
            )  # fmt: skip
            for m, at in enumerate(times):
                trace = f"{slot}-{m}"
                yield Turn(
                    **common, happened=at + 2.0, variant=arm, reason="split", digest=experiment.digest, latency_s=2.0,
                    cost_usd=cost(at, arm, earlier), trace=trace, event_id=f"t-{trace}",
                )  # fmt: skip
                if outcomes:
                    # Told hours later: only its turn says when it belongs.
                    yield Outcome(
                        **common, happened=at + 7200.0, name="resolved", value=arm == "treatment", trace=trace, event_id=f"o-{trace}"
                    )  # fmt: skip
