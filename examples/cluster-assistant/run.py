"""Two weeks of an assistant in 120 teams, in some seconds: own notes in half of them, the team's in the others.

The definition is registered, served and read out as it would be; only the teams and the time are made up. Teams differ in
size and in how often their requests are done, by more than their members do; shared notes get a tenth more of them done.
Nothing here is measured on any assistant.

Try: python examples/cluster-assistant/run.py [FOLDER]
"""

# ruff: noqa: INP001, S311, S603 - a script beside the definition, not a package; its chance is no secret, its programs are ours

from __future__ import annotations

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
DAYS, TEAMS = 14, 120


def simulate(place: Path, rng: random.Random) -> None:
    """Register the definition, and let the days pass in its log."""
    clock = ManualClock(START)
    log = SQLiteLog(place, clock=clock)
    experiment = load_experiment(DEFINITION)
    register(log, experiment, by="ann", reason="nothing was tried offline", clock=clock)
    # Requests a day, and the share of them that is done.
    teams = {f"team-{number}": (rng.lognormvariate(1.0, 0.5), rng.gauss(0.6, 0.1)) for number in range(TEAMS)}
    # An application follows the register (`Router.follow`); a clock that jumps would leave it behind.
    with Router(experiment, log=log, clock=clock) as router:
        for _ in range(DAYS):
            for team, (requests, done) in teams.items():
                clock.advance(3600.0 * 24 / TEAMS)
                for _ in range(round(rng.expovariate(1.0 / requests))):
                    # The arm is the team's, whoever of it asks.
                    assigned = router.assign(team, {"user": f"{team}-{rng.randrange(6)}"})
                    assigned.expose()
                    assigned.turn(latency_s=rng.lognormvariate(0.6, 0.3))
                    helped = 0.1 if assigned.variant == "treatment" else 0.0
                    assigned.track("done", rng.random() < done + helped)
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
    equipoise(folder, "rollout", "assistant-team-notes")
    equipoise(folder, "analyze", "assistant-team-notes")
