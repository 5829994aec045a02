"""Eight hours of a bandit, in some seconds: conversations come in, are resolved or not, and shares follow.

The definition is registered, served, weighed and read out as it would be; only the customers and the time are made up.
Every hour 600 conversations begin; of each opening another share is resolved, as `RESOLVED` says. Nothing here is measured
on any model.

Try: python examples/bandit-prompts/run.py [FOLDER]
"""

# ruff: noqa: INP001, S311, S603 - a script beside the definition, not a package; its chance is no secret, its programs are ours

from __future__ import annotations

import csv
import random
import shutil
import subprocess
import sys
import tempfile
import uuid
from collections.abc import Mapping
from datetime import UTC, datetime
from fractions import Fraction
from pathlib import Path

from equipoise import Assignment, Router, load_experiment
from equipoise.clock import ManualClock
from equipoise.conduct.register import register
from equipoise.conduct.weigh import weigh
from equipoise.events.sqlite import SQLiteLog

DEFINITION = Path(__file__).with_name("experiment.yaml")
RESOLVED = {"control": 0.60, "brief": 0.54, "steps": 0.70, "ask": 0.62}
START = datetime(2026, 1, 5, 8, tzinfo=UTC).timestamp()
HOURS, CONVERSATIONS = 8, 600


def simulate(place: Path, rng: random.Random) -> list[tuple[str, float, bool]]:
    """Register the definition, and let the hours pass in its log. Of each conversation its arm, probability and reward."""
    plays: list[tuple[str, float, bool]] = []
    clock = ManualClock(START)
    log = SQLiteLog(place, clock=clock)
    experiment = load_experiment(DEFINITION)
    register(log, experiment, by="ann", reason="nothing was tried offline", clock=clock)
    for hour in range(HOURS):
        if hour:
            # What the monitor does by itself where the time is not made up.
            print(told(hour, weigh(log, experiment.name, by="monitor", if_due=True, clock=clock).shares))
        for _ in range(4):
            clock.advance(60.0)
            # An application keeps one router. Here the clock jumps, and a router that has heard nothing for so long lets
            # nobody in: each quarter of an hour has its own, and all its conversations at once.
            with Router.follow(experiment.name, log, clock=clock) as router:
                plays += [
                    serve(router.assign(uuid7(clock.now(), rng)), rng) for _ in range(CONVERSATIONS // 4)
                ]
            clock.advance(14 * 60.0)
    log.close()
    return plays


def serve(conversation: Assignment, rng: random.Random) -> tuple[str, float, bool]:
    """One conversation of a single turn, and what became of it."""
    assert conversation.variant is not None
    assert conversation.probability is not None
    conversation.expose()
    conversation.turn(latency_s=rng.lognormvariate(0.5, 0.4), error=rng.random() < 0.01)
    resolved = rng.random() < RESOLVED[conversation.variant]
    if resolved:
        conversation.track("resolved")
    return conversation.variant, conversation.probability, resolved


def uuid7(now: float, rng: random.Random) -> str:
    """The id of a conversation that begins now; an application takes `uuid.uuid7` or its like."""
    drawn = rng.getrandbits(74)
    return str(uuid.UUID(int=int(now * 1000) << 80 | 7 << 76 | drawn >> 62 << 64 | 2 << 62 | drawn % 2**62))


def told(hour: int, shares: Mapping[str, str]) -> str:
    """The shares of an hour as one line."""
    return f"hour {hour:2}: " + ", ".join(
        f"{arm} {float(Fraction(share)):.0%}" for arm, share in shares.items()
    )


def equipoise(folder: Path, *words: str) -> None:
    """The program itself, as it is typed in that folder."""
    print(f"\n$ equipoise {' '.join(words)}", flush=True)
    subprocess.run([sys.executable, "-m", "equipoise", *words], cwd=folder, check=False)


if __name__ == "__main__":
    folder = Path(sys.argv[1] if len(sys.argv) > 1 else tempfile.mkdtemp(prefix="equipoise-"))
    folder.mkdir(parents=True, exist_ok=True)
    if (folder / "equipoise.db").exists():
        sys.exit(f"{folder} has a log already; name another folder")
    plays = simulate(folder / "equipoise.db", random.Random(7))
    equipoise(folder, "monitor", "--once", "--only", "weights")
    equipoise(folder, "rollout", "support-openings")
    equipoise(folder, "analyze", "support-openings")
    with (folder / "plays.csv").open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows(
            [("arm", "probability", "resolved"), *((*play[:2], int(play[2])) for play in plays)]
        )
    shutil.copy(DEFINITION.with_name("steps-or-control.csv"), folder)
    columns = "--action arm --probability probability --reward resolved --target share"
    equipoise(folder, "off-policy", "plays.csv", "--policy", "steps-or-control.csv", *columns.split())
