"""A past that stays readable: what each release wrote, every later one must read.

A folder per release: `definition.yaml` with the files it names, `log.sql` (the text of a log file that
release wrote) and `facts.json` (what that release read from it). Where facts were sealed, `segments` is the folder beside
the log; `outbox.sql`, `texts.sql` and `windows.sql` are the files beside it. Folders are added, never edited.
"""

from __future__ import annotations

import json
import shutil
import sqlite3
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from equipoise.conduct.watch import Watcher
from equipoise.events.cold.shelf import shelf_of
from equipoise.events.cold.verifying import verify
from equipoise.events.facts import KINDS, Outcome, Registration, Turn
from equipoise.events.opening import BESIDE, open_cursors, open_texts, open_windows
from equipoise.events.sqlite import SQLiteLog
from equipoise.experiment.reading import read_canonical, read_definition
from equipoise.rollout.stages import fold

RELEASES = sorted(path for path in Path(__file__).parent.iterdir() if (path / "log.sql").is_file())


@pytest.fixture(params=RELEASES, ids=lambda path: path.name)
def release(request: pytest.FixtureRequest) -> Path:
    return Path(request.param)


@pytest.fixture
def path(release: Path, tmp_path: Path) -> Path:
    """The log of that release with what lies beside it, as the files they were."""
    path = tmp_path / "log.db"
    for name, file in {"log": path, **{each: Path(f"{path}.{each}") for each in BESIDE}}.items():
        if (release / f"{name}.sql").is_file():
            connection = sqlite3.connect(file)
            connection.executescript((release / f"{name}.sql").read_text("utf-8"))
            connection.close()
    if (release / "segments").is_dir():
        shutil.copytree(release / "segments", shelf_of(path))
    return path


@pytest.fixture
def log(path: Path) -> Any:
    """The log itself, opened."""
    opened = SQLiteLog(path, create=False)
    yield opened
    opened.close()


def expected(release: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((release / "facts.json").read_text("utf-8"))
    return found


def test_there_is_a_past() -> None:
    """Each format of a log left something to read, and of what lies beside one, every kind did."""
    assert {"0.1.0", "0.1.0-sealed"} <= {release.name for release in RELEASES}
    kept = {path.stem for release in RELEASES for path in release.glob("*.sql")}
    assert kept >= {"log", "outbox", "texts", "windows"}
    written = {fact["kind"] for release in RELEASES for fact in expected(release)["facts"]}
    assert len(written & set(KINDS)) >= 16


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
    assert (receipt.accepted, receipt.repeated) == (1, len(records))
    assert receipt.head == records[-1].position + 1


def test_a_log_of_that_release_is_sound(release: Path, path: Path) -> None:
    """Segments and keys agree with the manifest, and no position is missing but those that were purged."""
    found = verify(path)
    assert found.sound
    positions = [fact["position"] for fact in expected(release)["facts"]]
    assert found.head == positions[-1] == len(positions) + found.purged


def test_texts_of_that_release_are_read(release: Path, path: Path) -> None:
    """By trace, with every field they had."""
    texts = expected(release).get("texts", [])
    if not texts:
        assert not Path(f"{path}.texts").exists()
        return
    store = open_texts(path, create=False)
    read = store.of_traces([text["trace"] for text in texts], now=texts[0]["happened"])
    assert [{key: text.to_dict()[key] for key in was} for text, was in zip(read, texts, strict=True)] == texts
    assert [store.purge(unit) for unit in ("conversation-0", "nobody")] == [1, 0]
    store.close()


def test_cursors_of_that_release_go_on(release: Path, path: Path) -> None:
    """A collector is told from where that release left it, and what it refused waits to be replayed."""
    cursors = open_cursors(path, create=False)
    was = expected(release).get("cursors", [])
    now = [asdict(each) for each in cursors.all()]
    assert [{key: each[key] for key in before} for each, before in zip(now, was, strict=True)] == was
    for before in was:
        waiting = cursors.quarantine(before["collector"])
        assert [asdict(each) for each in waiting] == expected(release)["quarantine"]
        taken = cursors.take(before["collector"], "holder", "host 2", 60.0)
        assert (taken.position, taken.event_id) == (before["position"], before["event_id"])
    cursors.close()


def test_windows_of_that_release_go_on(release: Path, path: Path, log: SQLiteLog) -> None:
    """They stand where they stood, are those of this log, and take in what comes next."""
    was = expected(release).get("windows")
    if was is None:
        return
    experiment = read_definition(release / "definition.yaml").experiment
    windows = open_windows(path)
    kept = windows.read(experiment.digest)
    assert (kept.position, kept.event_id, kept.state) == (was["position"], was["event_id"], was["state"])
    assert [[list(key), body] for key, body in sorted(kept.cells.items())] == was["cells"]
    assert [asdict(each) for each in windows.decisions("ab" * 32)] == was["decisions"]
    watcher = Watcher(experiment, log, windows)
    assert watcher.advance() == 0
    log.append([Turn(experiment=experiment.name, happened=1_700_003_903.0, unit="conversation-0", variant="treatment", latency_s=1.0)])  # fmt: skip
    assert watcher.advance() == 1
    windows.close()
