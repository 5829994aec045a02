"""Facts folded into the windows of guardrails, five hundred a transaction, against reading them; and what a minute takes."""

from __future__ import annotations

import random
import tempfile
from itertools import count
from pathlib import Path

from pairs import against, report

from equipoise.clock import ManualClock
from equipoise.conduct.watch import Watcher
from equipoise.events.facts import Exposure, Fact, Outcome, Turn
from equipoise.events.opening import open_windows
from equipoise.events.sqlite import SQLiteLog
from equipoise.experiment.definition import Experiment
from equipoise.experiment.reading import read_canonical
from equipoise.measurement.guardrails.cells import KINDS

FACTS = 20_000
_number = count()


def _experiment() -> Experiment:
    watch = {"window": "5m", "for": 2, "at_least": 200}
    return read_canonical(
        {
            "name": "bench",
            "hypothesis": "It answers sooner.",
            "unit": "conversation",
            "changes": ["model"],
            "variants": {"control": {"model": "a"}, "treatment": {"model": "b"}},
            "metrics": {
                "resolution_rate": {"priority": "primary"},
                "latency_p95": {"priority": "guardrail"},
                "error_rate": {"priority": "guardrail"},
                "cost_per_success": {"priority": "guardrail"},
                "safety_rate": {"priority": "guardrail"},
            },
            "watches": [
                {"metric": "latency_p95", "max": "control+20%", "then": "pause"} | watch,
                {"metric": "error_rate", "max": "control+1pp", "then": "rollback"} | watch,
            ],
        }
    )


def facts_of(experiment: Experiment, now: float, number: int, rng: random.Random) -> list[Fact]:
    """A conversation: an exposure, three turns and what became of it."""
    unit, arm = f"conversation-{number}", rng.choice(["control", "treatment"])
    entered = Exposure(
        experiment="bench", happened=now, digest=experiment.digest, unit=unit, unit_type="conversation",
        variant=arm, probability=0.5, reason="split",
    )  # fmt: skip
    turns = [
        Turn(
            experiment="bench", happened=now, unit=unit, digest=experiment.digest, variant=arm, epoch=1, reason="split",
            trace=f"{rng.getrandbits(128):032x}", latency_s=rng.lognormvariate(0.5, 0.6), ttft_s=rng.random(),
            input_tokens=rng.randrange(500), output_tokens=rng.randrange(500), cost_usd=rng.random() / 100, safe=True,
            error=rng.random() < 0.01, status=200, finish_reason="stop", model="small",
        )
        for _ in range(3)
    ]  # fmt: skip
    return [
        entered,
        *turns,
        Outcome(experiment="bench", happened=now, unit=unit, name="resolved", value=rng.random() < 0.6),
    ]


def main() -> None:
    experiment = _experiment()
    for rate in (2_000, 50):
        rng, clock = random.Random(1), ManualClock(1_700_000_100.0)
        with tempfile.TemporaryDirectory() as folder:
            log = SQLiteLog(Path(folder) / "log.db", clock=clock)
            for start in range(0, FACTS // 5, 100):
                log.append(
                    [
                        fact
                        for number in range(start, start + 100)
                        for fact in facts_of(experiment, clock.now(), number, rng)
                    ]
                )
                clock.advance(500.0 / rate)

            def ours(folder: str = folder, log: SQLiteLog = log) -> None:
                windows = open_windows(Path(folder) / str(next(_number)))
                watcher = Watcher(experiment, log, windows)
                while watcher.advance(500):
                    pass
                windows.close()

            def floor(log: SQLiteLog = log) -> None:
                assert sum(1 for _ in log.read_since(0, experiment="bench", kinds=KINDS)) == FACTS

            figures = against(ours, floor, pairs=5)
            report(f"windows, {FACTS} facts at {rate} a second, 500 a transaction / reading them", figures)
            watcher = Watcher(experiment, log, open_windows("memory:"))
            while watcher.advance(500):
                pass
            sizes = [len(cell.encode()) for cell in watcher.cells.values()]
            bucketed = [len(cell.encode()) for cell in watcher.cells.values() if cell.buckets]
            report(
                f"windows, a cell of a minute at {rate} a second",
                {
                    "cells": len(sizes),
                    "mean_bytes": sum(sizes) / len(sizes),
                    "mean_bytes_with_buckets": sum(bucketed) / len(bucketed),
                    "largest_bytes": max(sizes),
                    "a_minute_of_both_arms_bytes": sum(sizes) / len({key.minute for key in watcher.cells}),
                },
            )
            log.close()


if __name__ == "__main__":
    main()
