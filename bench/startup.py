"""What a caller waits for: `equipoise --help`, and importing the router, as whole processes."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

from pairs import report

EVERYTHING = (
    "import importlib, pkgutil, equipoise.stats as s; "
    "[importlib.import_module(m.name) for m in pkgutil.walk_packages(s.__path__, 'equipoise.stats.')]"
)
# An installed package is compiled; one run from its source is too, the second time, unless that is switched off.
COMPILED = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
PROGRAM = Path(sys.executable).with_name("equipoise")


def _wall(command: list[str], runs: int = 11) -> float:
    taken = []
    for _ in range(runs + 1):
        start = time.perf_counter()
        subprocess.run(command, check=True, capture_output=True, env=COMPILED)
        taken.append(time.perf_counter() - start)
    return statistics.median(taken[1:])


def main() -> None:
    bare = _wall([sys.executable, "-c", "pass"])
    for name, command in {
        "equipoise --help": [str(PROGRAM), "--help"],
        "from equipoise import Router": [sys.executable, "-c", "from equipoise import Router"],
        "from equipoise import Router, wrap": [sys.executable, "-c", "from equipoise import Router, wrap"],
        "import of all of equipoise.stats": [sys.executable, "-c", EVERYTHING],
    }.items():
        wall = _wall(command)
        report(name, {"wall_s": wall, "beyond_python_s": wall - bare})


if __name__ == "__main__":
    main()
