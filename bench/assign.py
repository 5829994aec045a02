"""`Router.assign` against a bare SHA-256 of the same bytes."""

from __future__ import annotations

import tempfile
from hashlib import sha256
from pathlib import Path

from pairs import against, report

from equipoise.experiment.reading import load_experiment
from equipoise.sdk.router import Router

UNITS = [f"conversation-{n:012d}" for n in range(100_000)]
DEFINITION = """
name: bench
hypothesis: None; this is a benchmark.
unit: {type: conversation}
variants: {control: {model: m}, treatment: {model: m}}
metrics: {resolution_rate: {priority: primary}}
"""


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "e.yaml"
        path.write_text(DEFINITION, encoding="utf-8")
        experiment = load_experiment(path)
    router = Router(experiment)
    ramping = Router(experiment, coverage=0.5)
    keys = [unit.encode() for unit in UNITS]

    def floor() -> None:
        for key in keys:
            sha256(key).digest()

    def assign() -> None:
        for unit in UNITS:
            router.assign(unit)

    def assign_covered() -> None:
        for unit in UNITS:
            ramping.assign(unit)

    report("assign, full coverage / bare sha256", against(assign, floor))
    report("assign, half coverage / bare sha256", against(assign_covered, floor))


if __name__ == "__main__":
    main()
