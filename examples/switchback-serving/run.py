"""Four weeks of a switchback, in some seconds: a cache that is every conversation's own, and one that all share, by turns.

The definition is registered, served and read out as it would be; only the customers and the time are made up. Answers cost
more in busy hours, whichever cache serves; the shared cache takes some minutes to fill after each change, and then saves
a tenth. Nothing here is measured on any server.

Try: python examples/switchback-serving/run.py [FOLDER]
"""

# ruff: noqa: INP001, S311, S603 - a script beside the definition, not a package; its chance is no secret, its programs are ours

from __future__ import annotations

import math
import random
import subprocess
import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path

from equipoise import Router, load_experiment
from equipoise.clock import ManualClock
from equipoise.conduct.register import register
from equipoise.events.sqlite import SQLiteLog

DEFINITION = Path(__file__).with_name("experiment.yaml")
START = datetime(2026, 1, 5, tzinfo=UTC).timestamp()
DAYS, TURNS = 28, 8


def simulate(place: Path, rng: random.Random) -> None:
    """Register the definition, and let the weeks pass in its log."""
    clock = ManualClock(START)
    log = SQLiteLog(place, clock=clock)
    experiment = load_experiment(DEFINITION)
    register(log, experiment, by="ann", reason="nothing was tried offline", clock=clock)
    # An application follows the register (`Router.follow`); a clock that jumps would leave it behind.
    with Router(experiment, log=log, clock=clock) as router:
        for hour in range(DAYS * 24):
            busy = 1.0 + 0.3 * math.sin(2.0 * math.pi * (hour % 24 - 9) / 24.0)
            luck = rng.gauss(1.0, 0.05)
            for at in sorted(rng.uniform(0.0, 3590.0) for _ in range(TURNS)):
                clock.advance(START + hour * 3600.0 + at - clock.now())
                now = router.assign_now()
                now.expose()
                full = 1.0 - math.exp(-at / 200.0) if now.variant == "treatment" else 0.0
                now.turn(
                    latency_s=rng.lognormvariate(0.6, 0.3),
                    cost_usd=0.02 * busy * luck * (1.0 - 0.1 * full) * rng.lognormvariate(0.0, 0.3),
                )
    log.close()


def equipoise(folder: Path, *words: str) -> None:
    """The program itself, as it is typed in that folder."""
    print(f"\n$ equipoise {' '.join(words)}", flush=True)
    subprocess.run([sys.executable, "-m", "equipoise", *words], cwd=folder, check=False)


if __name__ == "__main__":
    folder = Path(sys.argv[1] if len(sys.argv) > 1 else tempfile.mkdtemp(prefix="equipoise-"))
    folder.mkdir(parents=True, exist_ok=True)
    if (folder / "equipoise.db").exists():
        sys.exit(f"{folder} has a log already; name another folder")
    simulate(folder / "equipoise.db", random.Random(7))
    equipoise(folder, "rollout", "support-shared-cache")
    equipoise(folder, "analyze", "support-shared-cache")
