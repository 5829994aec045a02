"""An experiment that is watched, and its facts at set times: what the tests of windows stand on."""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator

from equipoise.clock import ManualClock
from equipoise.events.facts import Exposure, Fact, Outcome, Score, Turn
from equipoise.events.log import EventLog, Recorded
from equipoise.experiment.definition import Experiment
from equipoise.experiment.reading import read_canonical

START = 1_700_000_100
"""A whole multiple of five minutes (seconds since 1970 UTC)."""
WATCHES = [
    {"metric": "latency_p95", "max": 3.0, "window": "5m", "for": 2, "then": "pause"},
    {"metric": "error_rate", "max": 0.001, "window": "5m", "for": 2, "then": "rollback"},
    {"metric": "cost_per_success", "max": 0.08, "window": "5m", "for": 2, "then": "review"},
]
OVERLAPPING = [
    *WATCHES,
    {"metric": "latency_p95", "max": "control+50%", "window": "5m", "every": "1m", "for": 3, "then": "pause"},
    {"metric": "error_rate", "max": 0.02, "window": "4m", "every": "2m", "for": 2, "then": "review"},
]
"""The same, and windows that slide."""


def watched(watches: list[dict] | None = None, **more: object) -> Experiment:
    """An experiment with every kind of metric, and watches."""
    return read_canonical(
        {
            "name": "bot",
            "hypothesis": "Another model answers sooner.",
            "unit": "conversation",
            "changes": ["model"],
            "variants": {"control": {"model": "a"}, "treatment": {"model": "b"}},
            "metrics": {
                "resolution_rate": {"priority": "primary"},
                "latency_p95": {"priority": "guardrail"},
                "error_rate": {"priority": "guardrail", "baseline": 0.01},
                "cost_per_success": {"priority": "guardrail"},
                "tokens": {"priority": "secondary"},
                "policy_compliance": {"priority": "secondary"},
                "clicks": {
                    "priority": "secondary",
                    "tier": "human",
                    "kind": "count",
                    "of": "outcome.clicks",
                    "better": "higher",
                },
            },
            "watches": WATCHES if watches is None else watches,
        }
        | more
    )


def exposure(experiment: Experiment, unit: str, arm: str, happened: float, **more: object) -> Exposure:
    given: dict = {
        "digest": experiment.digest,
        "unit_type": "conversation",
        "probability": 0.5,
        "reason": "split",
    }
    return Exposure(experiment="bot", happened=happened, unit=unit, variant=arm, **given | more)


def turn(unit: str, arm: str, happened: float, **more: object) -> Turn:
    return Turn(experiment="bot", happened=happened, unit=unit, variant=arm, **({"reason": "split"} | more))


def recorded(facts: list[Fact], *, delay: float = 0.5) -> list[Recorded]:
    """The facts as a log gives them back that each reached a moment after it happened."""
    return [Recorded(place, fact.happened + delay, fact) for place, fact in enumerate(facts, 1)]


def traffic(
    experiment: Experiment, seed: int, turns: int, *, per_minute: float = 60.0
) -> Iterator[tuple[float, Fact]]:
    """Facts with their times of arrival, in that order: conversations of both arms, some late, some of nobody's arm."""
    rng = random.Random(seed)
    now = float(START)
    seen: dict[str, str] = {}
    for number in range(turns):
        now += rng.expovariate(per_minute / 60.0)
        unit = f"u{rng.randrange(max(1, number // 3 + 1))}"
        # Two identifiers for each fact, so that a run can be made again.
        name = f"{seed}-{number}"
        if unit not in seen:
            seen[unit] = rng.choice(["control", "treatment"])
            yield now, exposure(experiment, unit, seen[unit], now, event_id=f"{name}-e")
        slow = 1.0 if seen[unit] == "control" or rng.random() < 0.5 else 3.0
        happened = now - (rng.choice([30.0, 400.0, 20_000.0]) if rng.random() < 0.05 else 0.0)
        yield now, turn(
            unit, seen[unit], happened, event_id=f"{name}-t", latency_s=rng.lognormvariate(0.0, 0.7) * slow,
            error=rng.random() < 0.02, cost_usd=rng.random() / 50, cancelled=rng.random() < 0.05,
            input_tokens=rng.randrange(900), output_tokens=rng.randrange(300),
            reason=rng.choices(["split", "forced", "stale"], [20, 1, 1])[0],
        )  # fmt: skip
        if rng.random() < 0.5:
            yield now, Outcome(experiment="bot", happened=now, unit=unit, name="resolved", value=rng.random() < 0.6, event_id=f"{name}-o")  # fmt: skip
        if rng.random() < 0.1:
            yield now, Score(experiment="bot", happened=now, unit=unit, name="policy_compliance", value=rng.choice([None, 3.0, 4.0]), evaluator="j", event_id=f"{name}-s")  # fmt: skip
        if rng.random() < 0.1:
            yield now, Outcome(experiment="bot", happened=now, unit=f"nobody-{number}", name="clicks", value=2.0, event_id=f"{name}-n")  # fmt: skip


WORKED = [
    # p95 of latency, errors in 1,000 turns, dollars a resolved conversation.
    (3.3, 2, 0.09),
    (3.4, 3, 0.091),
]
"""Two windows of `WATCHES`, all three of them breached twice."""


def worked(experiment: Experiment, number: int) -> list[Fact]:
    """The facts of one of the two windows, each with an identifier that is always the same."""
    p95, errors, cost = WORKED[number]
    start = START + number * 300.0
    facts: list[Fact] = [exposure(experiment, "u", "treatment", start + 1.0, event_id=f"w{number}-e")]
    facts += [
        turn(
            "u", "treatment", start + 2.0 + each * 0.25, event_id=f"w{number}-t{each}", error=each < errors,
            # The 950th of a thousand is the 95th percentile.
            latency_s=1.0 if each < 949 else p95 if each == 949 else 4.0, cost_usd=cost * 500 / 1_000,
        )
        for each in range(1_000)
    ]  # fmt: skip
    return facts + [
        Outcome(experiment="bot", happened=start + 252.0 + each * 0.01, unit="u", name="resolved", value=True, event_id=f"w{number}-o{each}")
        for each in range(500)
    ]  # fmt: skip


def kept(place: str, clock: ManualClock) -> EventLog:
    """The log at a place, whose facts arrive when the clock says so."""
    if place.startswith("postgres"):
        from equipoise.events.postgres import PostgresLog

        return PostgresLog(place, clock=clock)
    from equipoise.events.sqlite import SQLiteLog

    return SQLiteLog(place, clock=clock)


def arrive(log: EventLog, clock: ManualClock, told: Iterable[tuple[float, Fact]]) -> None:
    """Facts arrive at their times, those of twenty seconds together."""
    arrived: list[Fact] = []
    for at, fact in told:
        if at - clock.now() > 20.0:
            log.append(arrived)
            arrived = []
            clock.advance(at - clock.now())
        arrived.append(fact)
    log.append(arrived)


def served(log: EventLog, experiment: Experiment, clock: ManualClock, stage: str = "ab") -> None:
    """Register an experiment, and serve it."""
    from equipoise.conduct.enter import enter
    from equipoise.conduct.register import register

    register(log, experiment, by="ana", reason="a test", clock=clock)
    enter(log, experiment.name, stage, by="ana", reason="a test", clock=clock)
