"""A log whose write-ahead file was cut or had a bit turned: a clean prefix of what was committed, or it is said.

What is committed stands in `log.db-wal` until it is moved into `log.db`. Every frame of that file carries a checksum
over all frames before it, so that what follows a damage is not read. The file it is moved to carries none: of a bit
turned there SQLite knows nothing, and a look's own hash of what it read does.
"""

from __future__ import annotations

import random
import shutil
import sqlite3
from dataclasses import dataclass
from pathlib import Path

import pytest

from equipoise.errors import RecordError
from equipoise.events.facts import Exposure, Fact, Outcome
from equipoise.events.sqlite import SQLiteLog


@dataclass(frozen=True)
class Kept:
    """The files of a log as a process that died left them, and what it had committed."""

    folder: Path
    facts: list[Fact]
    commits: frozenset[int]
    """How many facts there were after each commit."""
    moved: int
    """How many of them are in `log.db` already."""

    def beside(self, folder: Path, wal: bytes) -> Path:
        """The log with another write-ahead file, in a folder of its own."""
        for each in folder.iterdir():
            each.unlink()
        shutil.copy(self.folder / "log.db", folder / "log.db")
        (folder / "log.db-wal").write_bytes(wal)
        return folder / "log.db"


def kept(folder: Path, rng: random.Random, *, moved: str) -> Kept:
    """Commits of one fact to forty; a `part` of them, `none` or all the `first` moved, as a checkpoint does."""
    folder.mkdir()
    log = SQLiteLog(folder / "live.db")
    facts: list[Fact] = []
    commits = [0]

    def commit(count: int) -> None:
        for _ in range(count):
            new: list[Fact] = []
            for _ in range(rng.choice((1, 1, 2, 5, 40))):
                unit = f"unit-{rng.randrange(10**6)}"
                new.append(
                    Exposure(experiment="demo", happened=1.0, digest="0" * 64, unit=unit, unit_type="user", variant="b",
                             probability=0.5, reason="split")
                    if rng.random() < 0.5
                    else Outcome(experiment="demo", happened=2.0, unit=unit, name="won", value=rng.random())
                )  # fmt: skip
            log.append(new)
            facts.extend(new)
            commits.append(len(facts))

    # What was written before is in the file, and its frames may lie behind those that count.
    commit(20)
    if moved == "first":
        log._connection.execute("PRAGMA wal_checkpoint(RESTART)")
    before = len(facts) if moved == "first" else 0
    commit(20)
    reader = None
    if moved == "part":
        # Somebody who reads keeps the write-ahead file from beginning anew.
        reader = sqlite3.connect(folder / "live.db", isolation_level=None)
        reader.execute("BEGIN")
        reader.execute("SELECT count(*) FROM events").fetchone()
        log._connection.execute("PRAGMA wal_checkpoint(PASSIVE)")
        commit(10)
    for end in ("", "-wal"):
        shutil.copy(folder / f"live.db{end}", folder / f"log.db{end}")
    if reader is not None:
        reader.close()
    log.close()
    return Kept(folder, facts, frozenset(commits), before)


def found(path: Path) -> list[Fact] | None:
    """What the log gives back; None where it says that it is damaged."""
    try:
        log = SQLiteLog(path, create=False)
    except RecordError as error:
        assert str(path) in str(error)  # noqa: PT017 - what was said is looked at, where anything was
        return None
    try:
        records = list(log.read_since())
        assert [record.position for record in records] == list(range(1, len(records) + 1))
        assert log.head() == len(records)
        by_index = [
            fact.position for fact in log.read_since(experiment="demo", kinds=("exposure", "outcome"))
        ]
        assert by_index == list(range(1, len(records) + 1))
        return [record.fact for record in records]
    except RecordError as error:
        assert str(path) in str(error)  # noqa: PT017 - what was said is looked at, where anything was
        return None
    finally:
        log.close()


@pytest.mark.parametrize("moved", ["none", "first", "part"])
@pytest.mark.parametrize("damage", ["cut", "bit"])
@pytest.mark.parametrize("times", [34, pytest.param(3_334, marks=pytest.mark.long)])
def test_a_damaged_write_ahead_file_gives_a_clean_prefix_or_says_so(tmp_path, damage, moved, times):
    """Cut at a random byte, or a random bit turned: whole commits up to somewhere, and not a fact besides."""
    rng = random.Random(f"{damage} {moved}")
    was = kept(tmp_path / "was", rng, moved=moved)
    wal = (was.folder / "log.db-wal").read_bytes()
    place = tmp_path / "now"
    place.mkdir()
    assert found(was.beside(place, wal)) == was.facts
    lengths, said = set(), 0
    for _ in range(times):
        if damage == "cut":
            damaged = wal[: rng.randrange(len(wal))]
        else:
            bit = rng.randrange(len(wal) * 8)
            damaged = bytearray(wal)
            damaged[bit // 8] ^= 1 << bit % 8
        facts = found(was.beside(place, bytes(damaged)))
        if facts is None:
            said += 1
            continue
        assert facts == was.facts[: len(facts)]
        assert len(facts) in was.commits
        assert len(facts) >= was.moved
        lengths.add(len(facts))
    assert len(lengths) > 5
    print({"damage": damage, "moved": moved, "times": times, "said": said, "lengths": len(lengths)})
