"""Stable traffic: real arrivals with real latencies drawn anew, both arms alike; and what the tests of baselines stand on."""

from __future__ import annotations

import csv
import gzip
import math
import random
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from equipoise.design.false_alarms import bound_of
from equipoise.events.facts import Exposure, Fact, Turn
from equipoise.experiment.definition import Experiment, Watch
from equipoise.experiment.reading import read_canonical
from equipoise.measurement.guardrails.buckets import bucket, middle

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
    for time in times:
        arm = "treatment" if rng.random() < 0.5 else "control"
        name = f"{rng.getrandbits(64):x}"
        unit, treated = f"u{name}", arm == "treatment"
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


WATCHED = [
    {"metric": "latency_p95", "max": "control+20%", "window": "5m", "for": 2, "at_least": 200, "then": "pause"},
    {"metric": "error_rate", "max": "control+1pp", "window": "5m", "for": 2, "at_least": 200, "then": "rollback"},
    {"metric": "latency_p95", "max": "control+8%", "window": "5m", "for": 2, "then": "pause"},
    {"metric": "latency_p95", "max": 16.0, "window": "5m", "for": 3, "then": "pause"},
    {"metric": "error_rate", "max": 0.02, "window": "5m", "for": 2, "then": "rollback"},
    {"metric": "error_rate", "max": "control+300%", "window": "5m", "then": "alert"},
    {"metric": "cost_per_response", "max": "control+6%", "window": "5m", "for": 2, "then": "review"},
]  # fmt: skip


class Drawn:
    """Turns of stable traffic as numbers: a pool of them, and windows drawn from it without making facts.

    `values` are those of `window_of` for the three metrics that stable traffic has, and `decide` is what the rule makes
    of windows; both are held equal to the real thing by a law.
    """

    def __init__(self, seconds: Sequence[float], errors: Sequence[bool]) -> None:
        order = np.argsort(np.array(seconds), kind="stable")
        self.seconds, self.errors = np.array(seconds)[order], np.array(errors)[order]
        self._told: dict[float, np.ndarray] = {}

    def draw(self, rng: np.random.Generator, windows: int, n: int) -> np.ndarray:
        """Places in the pool, a row a window. They are in the order of the seconds."""
        return rng.integers(len(self.seconds), size=(windows, n), dtype=np.uint32).astype(np.uint16)

    def values(self, metric: str, drawn: np.ndarray, *, slower: float = 1.0) -> np.ndarray:
        """The value of each window, where every turn takes `slower` times as long."""
        failed = self.errors.take(drawn).sum(axis=1)
        if metric == "error_rate":
            return failed / drawn.shape[1]
        seconds = self.seconds * slower
        if metric == "latency_p95":
            if slower not in self._told:
                self._told[slower] = np.array([middle(bucket(each)) for each in seconds.tolist()])
            rank = math.ceil(round(0.95 * drawn.shape[1], 9)) - 1
            return self._told[slower][np.partition(drawn, rank, axis=1)[:, rank]]
        return (0.001 * seconds).take(drawn).sum(axis=1) / (drawn.shape[1] - failed)


def decide(breached: np.ndarray, persist: int) -> tuple[np.ndarray, np.ndarray]:
    """Where the rule alarms and where it acts, in rows of windows, each row from its beginning."""
    run = np.zeros(len(breached), dtype=int)
    alarms, actions = np.zeros_like(breached), np.zeros_like(breached)
    for place in range(breached.shape[1]):
        run = np.where(breached[:, place], run + 1, 0)
        alarms[:, place], actions[:, place] = run == 1, run == persist
    return alarms, actions


def limits(watch: Watch, control: np.ndarray, baseline: float | None) -> np.ndarray:
    """The limit of a watch beside each value of control's."""
    bound = bound_of(watch)
    if bound.reference == "none":
        return np.full(control.shape, bound.amount.value)
    reference = control if bound.reference == "control" else np.full(control.shape, baseline)
    relative = bound.amount.scale == "relative"
    return reference + bound.amount.value * (np.abs(reference) if relative else 1.0)
