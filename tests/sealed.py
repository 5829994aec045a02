"""Facts of traffic and processes that seal them, for the tests."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

from equipoise.events.facts import Exposure, Fact, Outcome

PRELUDE = (
    "import sys\nfrom equipoise.events.facts import Outcome\n"
    "def outcome(name='n', **more):\n"
    "    return Outcome(**{'experiment': 'e', 'happened': 1.0, 'unit': 'u', 'name': name, 'value': True} | more)\n"
)


def outcome(name: str = "resolved", **more: Any) -> Outcome:
    return Outcome(**{"experiment": "e", "happened": 1.0, "unit": "u", "name": name, "value": True} | more)


def exposure(experiment: str = "e", *, unit: str = "u") -> Exposure:
    return Exposure(experiment=experiment, happened=1.0, digest="d", unit=unit, unit_type="user", variant="control", probability=0.5, reason="split")  # fmt: skip


def traffic(count: int, **more: Any) -> list[Fact]:
    return [outcome(value=index, **more) for index in range(count)]


def run_python(script: str, *args: str, **options: Any) -> subprocess.Popen[str]:
    """A process of its own that runs a few lines with `outcome` at hand."""
    return subprocess.Popen([sys.executable, "-c", PRELUDE + script, *args], text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE, **options)  # fmt: skip
