"""`equipoise baseline` and `equipoise plan`: a limit is learnt from a log, pasted, and forecast to be quiet."""

from __future__ import annotations

import json
import random
import subprocess
import sys
from pathlib import Path

import forked
import pytest
from stable import replayed

from equipoise.conduct.register import register
from equipoise.events.sqlite import SQLiteLog
from equipoise.experiment.reading import read_definition

TEXT = """name: bot
hypothesis: Another model answers sooner.
unit: conversation
changes: [model]
variants: {control: {model: a}, treatment: {model: b}}
metrics:
  resolution_rate: {priority: primary}
  latency_p95: {priority: guardrail, margin: 0.5}
  error_rate: {priority: guardrail, margin: 1pp, baseline: 0.01}
watches:
  - {metric: error_rate, max: 0.01, window: 5m, for: 2, then: rollback}
  - {metric: latency_p95, max: control+20%, window: 5m, for: 2, at_least: 100, then: pause}
"""


def equipoise(*words: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", "from equipoise.cli.main import run; run()", *words]
    return forked.run(command, cwd=cwd)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a definition, and with two hours of it in a log."""
    folder = tmp_path_factory.mktemp("baseline")
    (folder / "bot.yaml").write_text(TEXT)
    rng = random.Random(8)
    seconds = [rng.lognormvariate(0.5, 0.4) for _ in range(5_000)]
    log = SQLiteLog(folder / "equipoise.db")
    experiment = read_definition(folder / "bot.yaml").experiment
    register(log, experiment, by="me", reason="a rehearsal")
    log.append(list(replayed(experiment, rng, [1.5 * each for each in range(4_800)], seconds)))
    log.close()
    return folder


def test_a_limit_that_is_proposed_is_pasted_and_is_quiet(folder):
    """The lines that are printed are read as watches, and the plan no longer warns of what the baseline found loud."""
    said = equipoise("baseline", "bot", cwd=folder)
    assert (said.returncode, said.stderr) == (0, "")
    assert (
        "not estimable: resolution_rate: there are no readings of outcome.resolved in control" in said.stdout
    )
    head, pasted = said.stdout.split(
        "# at most 0.1 false actions a week each; a definition is frozen, so these are numbers\n"
    )
    assert "{metric: error_rate, max: 0.01, window: 5m, for: 2, then: rollback}" in head
    warned = equipoise("plan", "bot.yaml", "--turns-per-day", "57600", cwd=folder)
    assert "the watch of error_rate would roll back" in warned.stdout
    (folder / "calm.yaml").write_text(TEXT.split("watches:\n", maxsplit=1)[0] + pasted)
    calm = equipoise("plan", "calm.yaml", "--turns-per-day", "57600", cwd=folder)
    assert calm.returncode == 0, calm.stderr
    assert "What the watches do where nothing is wrong" in calm.stdout
    again = equipoise("baseline", "calm.yaml", "--json", cwd=folder)
    told = json.loads(again.stdout)
    assert [each["actions_per_week"] <= 0.1 for each in told["watches"]] == [True, True]
    # A limit is rounded outward, so what it is exchanged for the second time is the same.
    assert [each["proposal"]["watch"] for each in told["watches"]] == [
        each["says"] for each in told["watches"]
    ]


def test_what_is_no_time_is_refused(folder):
    """With what would be accepted; a part of the log is a part of it."""
    refused = equipoise("baseline", "bot", "--since", "yesterday", cwd=folder)
    assert (refused.returncode, refused.stdout) == (2, "")
    assert refused.stderr == (
        "error: --since yesterday is no time; accepted: 2026-01-31, 2026-01-31 12:00 or 2026-01-31T12:00:00+01:00\n"
    )
    part = equipoise("baseline", "bot", "--since", "2023-11-14T23:15:00+00:00", "--json", cwd=folder)
    assert json.loads(part.stdout)["turns"] == 2_400
