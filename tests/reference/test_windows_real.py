"""Windows against what they stand in for: real latencies sorted, and the read-out of the same log."""

from __future__ import annotations

import csv
import gzip
import math
from collections import defaultdict
from pathlib import Path

import pytest
from watched import START, exposure, recorded, turn, watched

from equipoise.events.log import MemoryLog
from equipoise.measurement.guardrails.buckets import RELATIVE_ERROR
from equipoise.measurement.guardrails.cells import Counting
from equipoise.measurement.guardrails.windows import window_of
from equipoise.measurement.measuring import measure_log
from equipoise.stats.estimate import NotEstimable

DATA = Path(__file__).resolve().parents[3] / "shared" / "data" / "latency_providers" / "requests.csv.gz"
METRICS = {
    "resolution_rate": {"priority": "primary"},
    "latency_p50": {"priority": "guardrail"},
    "latency_p95": {"priority": "guardrail"},
    "latency_p99": {"priority": "guardrail"},
    "error_rate": {"priority": "guardrail"},
}


def latencies() -> dict[str, list[float | None]]:
    """Seconds to the whole answer by provider; None for a request that failed."""
    found: dict[str, list[float | None]] = defaultdict(list)
    with gzip.open(DATA, "rt") as file:
        for row in csv.DictReader(file):
            measured = row["error_code"] in ("", "-100")
            found[row["provider"]].append(float(row["e2e_latency_s"]) if measured else None)
    return found


@pytest.mark.skipif(not DATA.is_file(), reason="the latencies are not beside the repository (../shared/data)")
def test_quantiles_of_real_latencies_are_those_of_the_read_out_within_one_per_cent():
    """Six providers as control, each against all: p50, p95 and p99 of a window and of the read-out, and error rates
    to the last digit."""
    experiment = watched([], metrics=METRICS)
    providers = latencies()
    assert sum(map(len, providers.values())) == 1_650
    worst, compared = 0.0, 0
    for seconds in providers.values():
        facts = []
        everybody = [each for some in providers.values() for each in some]
        for arm, values in (("control", seconds), ("treatment", everybody)):
            for number, each in enumerate(values):
                unit, happened = f"{arm}-{number}", START + number * 0.1
                facts.append(exposure(experiment, unit, arm, happened))
                facts.append(turn(unit, arm, happened, latency_s=each, error=each is None))
        cells, aside = Counting(experiment).fold(recorded(facts), {})
        assert aside == {}
        log = MemoryLog()
        log.append(facts)
        read_out = measure_log(experiment, log)
        for name in METRICS:
            if name == "resolution_rate":
                continue
            for arm in ("control", "treatment"):
                window = window_of(cells, experiment.metric(name), arm, START, START + 300)
                tally = read_out.tallies[name][arm]
                if name == "error_rate":
                    assert window.value == pytest.approx(tally.moments.mean, rel=1e-12)
                    continue
                ranked = sorted(
                    each for each in (seconds if arm == "control" else everybody) if each is not None
                )
                exact = ranked[math.ceil(experiment.metric(name).q * len(ranked)) - 1]
                # Of few readings the read-out gives no p99, as it has no interval for it.
                if not isinstance(tally.quantile, NotEstimable):
                    assert exact == tally.quantile.value
                    compared += 1
                worst = max(worst, abs(window.value - exact) / exact)
    assert 0.0 < worst <= RELATIVE_ERROR
    assert compared >= 24
