"""Stable traffic: real arrivals with real latencies drawn anew, both arms alike; and what the tests of baselines stand on."""

from __future__ import annotations

import csv
import gzip
import random
from collections.abc import Iterator, Sequence
from pathlib import Path

from equipoise.events.facts import Exposure, Fact, Turn
from equipoise.experiment.definition import Experiment
from equipoise.experiment.reading import read_canonical

DATA = Path(__file__).resolve().parents[2] / "shared" / "data"
ARRIVALS = DATA / "traffic_azure_conv" / "requests.csv.gz"
LATENCIES = DATA / "latency_providers" / "requests.csv.gz"
START = 1_700_000_100
"""A whole multiple of five minutes (seconds since 1970 UTC)."""
ERRORS = 0.01


def arrivals() -> list[float]:
    """Seconds from the first request to each of 19,366."""
    with gzip.open(ARRIVALS, "rt") as file:
        return [float(row["t_s"]) for row in csv.DictReader(file)]


def latencies(provider: str = "fireworks") -> list[float]:
    """Seconds to the whole answer, of the requests that were answered."""
    with gzip.open(LATENCIES, "rt") as file:
        return [
            float(row["e2e_latency_s"])
            for row in csv.DictReader(file)
            if row["provider"] == provider and row["error_code"] in ("", "-100")
        ]


def guarded(watches: Sequence[dict], **more: object) -> Experiment:
    """An experiment with the metrics that stable traffic has, and watches."""
    return read_canonical(
        {
            "name": "bot",
            "hypothesis": "Another model answers sooner.",
            "unit": "conversation",
            "changes": ["model"],
            "variants": {"control": {"model": "a"}, "treatment": {"model": "b"}},
            "metrics": {
                "resolution_rate": {"priority": "primary"},
                "latency_p95": {"priority": "guardrail", "margin": 0.5},
                "error_rate": {"priority": "guardrail", "margin": "1pp", "baseline": ERRORS},
                "cost_per_response": {"priority": "guardrail", "margin": "10%"},
            },
            "watches": list(watches),
        }
        | more
    )


def replayed(
    experiment: Experiment,
    rng: random.Random,
    times: Sequence[float],
    seconds: Sequence[float],
    *,
    starts: float = START,
    slower: float = 1.0,
    failing: float = 1.0,
) -> Iterator[Fact]:
    """A conversation of one turn at each of the times, its arm by a fair coin, its latency one of the `seconds`.

    In the treatment latencies are `slower` times as long, and errors `failing` times as frequent.
    """
    for place, time in enumerate(times):
        arm = "treatment" if rng.random() < 0.5 else "control"
        unit, treated = f"{starts:.0f}-{place}", arm == "treatment"
        name = f"{rng.getrandbits(64):x}"
        yield Exposure(
            experiment="bot", happened=starts + time, unit=unit, variant=arm, digest=experiment.digest,
            unit_type="conversation", probability=0.5, reason="split", event_id=f"{name}e",
        )  # fmt: skip
        latency = rng.choice(seconds) * (slower if treated else 1.0)
        error = rng.random() < ERRORS * (failing if treated else 1.0)
        yield Turn(
            experiment="bot", happened=starts + time, unit=unit, variant=arm, reason="split", latency_s=latency,
            error=error, cost_usd=0.001 * latency, event_id=f"{name}t",
        )  # fmt: skip
