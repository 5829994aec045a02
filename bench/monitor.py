"""A real monitor beside a log that takes in 2,000 facts a second: what it costs, and how soon it acts.

`python bench/monitor.py sliding` watches windows of five minutes every minute instead of one minute after the other.
"""

from __future__ import annotations

import os
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from pairs import report
from windows import facts_of

from equipoise.conduct.register import register
from equipoise.events.facts import Fact, Transition
from equipoise.events.opening import open_log
from equipoise.experiment.definition import Experiment
from equipoise.experiment.reading import read_canonical
from equipoise.measurement.guardrails.cells import GRACE_S

RATE = 2_000
SECONDS = 110
_BEAT_S = 0.05
_MONITOR = (sys.executable, "-c", "from equipoise.cli.main import run; run()", "monitor")


def _experiment(sliding: bool) -> Experiment:
    watch: dict[str, object] = {"window": "1m", "for": 2, "at_least": 200}
    if sliding:
        watch |= {"window": "5m", "every": "1m"}
    return read_canonical(
        {
            "name": "bench",
            "hypothesis": "It answers sooner.",
            "unit": "conversation",
            "changes": ["model"],
            "variants": {"control": {"model": "a"}, "treatment": {"model": "b"}},
            "metrics": {
                "resolution_rate": {"priority": "primary"},
                "latency_p95": {"priority": "guardrail", "baseline": 4.0, "margin": 1.0, "limit": 9.0},
                "error_rate": {"priority": "guardrail", "baseline": 0.01},
                "cost_per_success": {"priority": "guardrail", "baseline": 0.02, "margin": 0.01},
                "safety_rate": {"priority": "guardrail", "baseline": 0.99},
            },
            "watches": [
                {"metric": "latency_p95", "max": "control+20%", "then": "alert"} | watch,
                # Half of what is the case, so that every window is breached.
                {"metric": "error_rate", "max": 0.005, "then": "pause"} | watch,
            ],
        }
    )


def _cpu_s(process: int) -> float:
    """Seconds of a core that a process has taken."""
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def main() -> None:
    sliding = "sliding" in sys.argv[1:]
    experiment, rng = _experiment(sliding), random.Random(1)
    with tempfile.TemporaryDirectory() as folder:
        place = str(Path(folder) / "log.db")
        log = open_log(place)
        register(log, experiment, by="bench", reason="a figure")
        with subprocess.Popen([*_MONITOR, "--log", place, "--json"], stdout=subprocess.PIPE) as process:
            assert process.stdout is not None
            # It is up and watching when it says so.
            process.stdout.readline()
            # The first minute is a short one.
            time.sleep((50.0 - time.time()) % 60.0)
            started, written, number = time.time(), 0, 0
            before, since = _cpu_s(process.pid), started
            while (now := time.time()) < started + SECONDS:
                facts: list[Fact] = []
                while written + len(facts) < (now - started) * RATE:
                    facts += facts_of(experiment, now, number, rng)
                    number += 1
                log.append(facts)
                written += len(facts)
                time.sleep(max(0.0, _BEAT_S - (time.time() - now)))
            took, ran = _cpu_s(process.pid) - before, time.time() - since
            process.terminate()
        moved = [
            record
            for record in log.read_since(0, kinds=("transition",))
            if isinstance(record.fact, Transition) and record.fact.by == "monitor"
        ]
        [acted] = moved
        assert isinstance(acted.fact, Transition)
        report(
            f"monitor{' of windows that slide' if sliding else ''}, {written} facts at {written / ran:.0f} a second",
            {
                "share_of_a_core": took / ran,
                "us_a_fact": took / written * 1e6,
                "acted_s_after_the_window_closed": acted.received - (acted.fact.evidence["ends"] + GRACE_S),
            },
        )
        log.close()


if __name__ == "__main__":
    main()
