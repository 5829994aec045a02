"""Facts of traffic and processes that seal them, for the tests."""

from __future__ import annotations

import sys
from typing import Any

import forked

from equipoise.events.facts import Exposure, Fact, Outcome

PRELUDE = (
    "import sys\nfrom equipoise.events.facts import Outcome\n"
    "def outcome(name='n', **more):\n"
    "    return Outcome(**{'experiment': 'e', 'happened': 1.0, 'unit': 'u', 'name': name, 'value': True} | more)\n"
)


def dies_at_a_step(call: str, files: str) -> str:
    """A script that counts what these files call, Python or C, while it carries out a call, and dies at the one asked
    for (argument 2); left alive, it prints how many there were.
    """
    return f"""
import os, signal
from equipoise.events import manifest, sqlite_file
from equipoise.events.cold import purging, sealing, segments, shelf
files = {{each.__file__ for each in ({files})}}
left = int(sys.argv[2])
def step(frame, event, argument):
    global left
    if event in ('call', 'c_call') and frame.f_code.co_filename in files:
        left -= 1
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)
segments._pyarrow()
sys.setprofile(step)
{call}
sys.setprofile(None)
print(int(sys.argv[2]) - left)
"""


def outcome(name: str = "resolved", **more: Any) -> Outcome:
    return Outcome(**{"experiment": "e", "happened": 1.0, "unit": "u", "name": name, "value": True} | more)


def exposure(experiment: str = "e", *, unit: str = "u") -> Exposure:
    return Exposure(experiment=experiment, happened=1.0, digest="d", unit=unit, unit_type="user", variant="control", probability=0.5, reason="split")  # fmt: skip


def traffic(count: int, **more: Any) -> list[Fact]:
    return [outcome(value=index, **more) for index in range(count)]


def run_python(script: str, *args: str) -> forked.Process:
    """A process of its own that runs a few lines with `outcome` at hand."""
    return forked.Process([sys.executable, "-c", PRELUDE + script, *args])  # fmt: skip
