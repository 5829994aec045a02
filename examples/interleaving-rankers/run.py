"""Some five hundred searches in a shop for lamps, in some seconds: one list of two rankers each, and who clicks what.

The definition is registered, served and read out as it would be; only the customers and the rankers are made up. For each
search one lamp is what the customer wants. The word index has it in the first five places by luck, the dense ranker more
often and higher up; most people look from the top, and click it where they find it. Nothing here is measured on any ranker.

Try: python examples/interleaving-rankers/run.py [FOLDER]
"""

# ruff: noqa: INP001, S311, S603 - a script beside the definition, not a package; its chance is no secret, its programs are ours

from __future__ import annotations

import random
import subprocess
import sys
import tempfile
from pathlib import Path

from equipoise import Router, load_experiment, open_log
from equipoise.conduct.register import register

DEFINITION = Path(__file__).with_name("experiment.yaml")
SEARCHES, CUSTOMERS = 480, 250
LAMPS = [f"lamp-{number}" for number in range(1, 21)]


def simulate(place: Path, rng: random.Random) -> None:
    """Register the definition, and let customers search."""
    log = open_log(place)
    experiment = load_experiment(DEFINITION)
    register(log, experiment, by="ann", reason="nothing was tried offline")
    with Router.follow(experiment.name, log) as router:
        for number in range(SEARCHES):
            wanted = rng.choice(LAMPS)
            shown = router.interleave(
                f"customer-{rng.randrange(CUSTOMERS)}",
                {"control": ranked(wanted, 4.0, rng), "treatment": ranked(wanted, 2.0, rng)},
                query=f"search-{number}",
            )
            for lamp in shown.items:
                # Now and then another lamp is looked at.
                if rng.random() < (0.8 if lamp == wanted else 0.05):
                    shown.click(lamp)
                    if lamp == wanted and rng.random() < 0.2:
                        shown.click(lamp, "bought")
    log.close()


def ranked(wanted: str, off: float, rng: random.Random) -> list[str]:
    """What a ranker finds: the lamps in an order of its own, the wanted one about `off` places from the top."""
    others = rng.sample([lamp for lamp in LAMPS if lamp != wanted], 9)
    others.insert(round(rng.expovariate(1.0 / off)), wanted)
    return others


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
    equipoise(folder, "rollout", "lamp-search")
    equipoise(folder, "analyze", "lamp-search")
