"""Group-sequential boundaries for 5 and for 100 looks."""

from __future__ import annotations

import statistics
import time

from pairs import report

from equipoise.stats.looks.sequential import boundaries
from equipoise.stats.looks.spending import obrien_fleming


def main() -> None:
    for looks in (5, 100):
        fractions = [k / looks for k in range(1, looks + 1)]
        taken = []
        for _ in range(12):
            start = time.process_time()
            boundaries(fractions, 0.05, obrien_fleming)
            taken.append(time.process_time() - start)
        report(f"boundaries, {looks} looks", {"cpu_s": statistics.median(taken[1:])})


if __name__ == "__main__":
    main()
