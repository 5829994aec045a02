"""A past that stays readable: what each release wrote, every later one must read.

A folder per release: `definition.yaml` with the files it names, `log.sql` (the text of a log file that
release wrote) and `facts.json` (what that release read from it). Folders are added, never edited.
"""

from __future__ import annotations

import json
import sqlite3
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from equipoise.events.facts import Outcome, Registration
from equipoise.events.sqlite import SQLiteLog
from equipoise.experiment.reading import read_canonical, read_definition
from equipoise.rollout.stages import fold

RELEASES = sorted(path for path in Path(__file__).parent.iterdir() if (path / "log.sql").is_file())


@pytest.fixture(params=RELEASES, ids=lambda path: path.name)
def release(request: pytest.FixtureRequest) -> Path:
    return Path(request.param)


@pytest.fixture
def log(release: Path, tmp_path: Path) -> Any:
    """The log of that release, as the file it was."""
    path = tmp_path / "log.db"
    connection = sqlite3.connect(path)
    connection.executescript((release / "log.sql").read_text("utf-8"))
    connection.close()
    opened = SQLiteLog(path, create=False)
    yield opened
    opened.close()


def expected(release: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((release / "facts.json").read_text("utf-8"))
    return found


def test_there_is_a_past() -> None:
    """The first release left something to read."""
    assert "0.1.0" in [release.name for release in RELEASES]


def test_a_definition_of_that_release_keeps_its_digest(release: Path) -> None:
    """It reads without a fault, and names the same experiment."""
    assert read_definition(release / "definition.yaml").experiment.digest == expected(release)["digest"]


def test_every_fact_of_that_release_is_read(release: Path, log: SQLiteLog) -> None:
    """Position, times, kind and every field it had; fields added since may be there besides."""
    records = list(log.read_since())
    written = expected(release)["facts"]
    assert len(records) == len(written)
    for record, was in zip(records, written, strict=True):
        now = {"position": record.position, "received": record.received, "kind": record.fact.kind} | asdict(
            record.fact
        )
        compared = set(was) - ({"definition", "plan"} if record.fact.kind == "registration" else set())
        assert {key: now[key] for key in compared} == {key: was[key] for key in compared}


def test_the_registered_definition_is_the_file(release: Path, log: SQLiteLog) -> None:
    """The canonical form kept in the log reads back to the definition beside it."""
    (record,) = log.read_since(kinds=["registration"])
    assert isinstance(record.fact, Registration)
    experiment = read_canonical(record.fact.definition)
    assert experiment == read_definition(release / "definition.yaml").experiment
    assert experiment.digest == record.fact.digest


def test_the_story_comes_out_the_same(log: SQLiteLog) -> None:
    """Stage, looks and verdict fold to what they were."""
    state = fold(record.fact for record in log.read_since())
    assert (state.stage, state.finished, len(state.looks)) == ("ab", True, 2)
    assert state.decision is not None
    assert (state.decision.verdict, state.decision.arm) == ("ship", "treatment")


def test_writing_goes_on_in_an_old_log(log: SQLiteLog) -> None:
    """New facts follow the old ones; old ones delivered again are still known."""
    records = list(log.read_since())
    fresh = Outcome(experiment="e", happened=1.0, unit="u", name="n", value=1)
    receipt = log.append([*(record.fact for record in records), fresh])
    assert (receipt.accepted, receipt.repeated, receipt.head) == (1, len(records), len(records) + 1)
