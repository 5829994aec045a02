"""Paired timing: two pieces of work in turn, A B A B …, and the ratio of their CPU seconds pair by pair."""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Callable

__all__ = ["against", "report"]


def _cpu(work: Callable[[], object]) -> float:
    start = time.process_time()
    work()
    return time.process_time() - start


def against(ours: Callable[[], object], floor: Callable[[], object], *, pairs: int = 9) -> dict[str, float]:
    """CPU seconds of both and the median ratio, with its range; one pair before is not counted."""
    taken = [(_cpu(ours), _cpu(floor)) for _ in range(pairs + 1)][1:]
    ratios = [a / b for a, b in taken if b > 0]
    return {
        "ours_cpu_s": statistics.median(a for a, _ in taken),
        "floor_cpu_s": statistics.median(b for _, b in taken),
        "ratio": statistics.median(ratios),
        "ratio_low": min(ratios),
        "ratio_high": max(ratios),
    }


def report(name: str, figures: dict[str, float]) -> None:
    """One line of JSON a figure."""
    print(json.dumps({"figure": name} | {key: round(value, 6) for key, value in figures.items()}), flush=True)
