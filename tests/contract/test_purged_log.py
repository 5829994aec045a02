"""Purging a unit: it is gone from every file, a count of it stays, and everybody else is as before."""

from __future__ import annotations

import random
import shutil
import signal
import sqlite3
from pathlib import Path
from typing import Any

import pytest
from sealed import dies_at_a_step, exposure, outcome, run_python

from equipoise.clock import ManualClock
from equipoise.errors import RecordError
from equipoise.events.cold import purging
from equipoise.events.cold.purging import Purged, purge
from equipoise.events.cold.rebuilding import rebuild
from equipoise.events.cold.sealing import seal
from equipoise.events.cold.segments import rows_of
from equipoise.events.cold.shelf import shelf_of
from equipoise.events.cold.verifying import verify
from equipoise.events.facts import Exposure, Fact, Gate, Label, Outcome, Purge, Turn
from equipoise.events.log import Receipt
from equipoise.events.manifest import segments
from equipoise.events.sqlite import SQLiteLog

UNIT = "zoë@example.org"
SEED = 20_240_612
PURGE = dies_at_a_step("purging.purge(sys.argv[1], sys.argv[3], by='ann')", "manifest, purging, shelf")


def _story() -> list[Fact]:
    """Facts of three units in two experiments, with some of a ledger among them."""
    found: list[Fact] = []
    for index in range(40):
        unit = (UNIT, "other", f"not {UNIT}")[index % 3]
        experiment = "ab"[index % 2]
        found.append(exposure(experiment, unit=unit))
        found.append(Turn(experiment=experiment, happened=1.0, unit=unit, trace=f"{index}"))
        if index % 5 == 0:
            found.append(Gate(experiment=experiment, happened=1.0, digest="d", decision="pass", evidence={}))
    return found


STORY = _story()


def is_mine(fact: Fact) -> bool:
    return isinstance(fact, Exposure | Turn | Outcome) and fact.unit == UNIT


def has_no_bytes(path: Path) -> bool:
    """Whether no file of the log says the unit: the hot ones as they are, segments row by row, and no stray is left."""
    mine = f'"{UNIT}"'.encode()
    log = SQLiteLog(path)
    sealed = [row for each in segments(log._connection) for row in rows_of(shelf_of(path), each)]
    log.close()
    hot = [each.read_bytes() for each in path.parent.iterdir() if each.is_file()]
    return not verify(path).strays and not any(mine in data for data in [*hot, *(row.body for row in sealed)])


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A log of that story: a part sealed, a part hot, a part left by a seal that was killed."""
    path = tmp_path / "log.db"
    log = SQLiteLog(path, clock=ManualClock(50.0))
    log.append(STORY[:60])
    seal(path, hot_s=0, segment_facts=20)
    log.append(STORY[60:])
    log.close()
    (shelf_of(path) / "left.parquet").write_bytes(f'"{UNIT}"'.encode())
    return path


def test_a_purge_whose_files_were_swept_changes_nothing(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What somebody rebuilds meanwhile removes files that are not entered yet: nothing names them then, and all is there."""
    before = list(SQLiteLog(path).read_since())
    real = purging._enter

    def swept(connection: sqlite3.Connection, *more: Any) -> None:
        monkeypatch.undo()
        assert rebuild(path).strays > 0
        real(connection, *more)

    monkeypatch.setattr(purging, "_enter", swept)
    with pytest.raises(RecordError) as refused:
        purge(path, UNIT, by="ann")
    assert str(refused.value) == (
        f"{path} was rebuilt or purged by somebody else meanwhile; run the purge again"
    )
    assert list(SQLiteLog(path).read_since()) == before
    assert verify(path).sound
    assert purge(path, UNIT, by="ann").facts == sum(map(is_mine, STORY))
    assert has_no_bytes(path)


def test_a_conflict_under_the_id_of_a_purged_fact_goes_with_it(path: Path) -> None:
    """An id may say whose it is; one under the id of somebody else's fact stays."""
    log = SQLiteLog(path)
    known = outcome(unit="other", event_id="other-1")
    log.append([outcome(unit=UNIT, event_id=f"{UNIT}-1"), known])
    log.append([outcome(unit="other", event_id=f"{UNIT}-1"), outcome(unit=UNIT, event_id=known.event_id)])
    told = [record for record in log.read_since() if record.fact.kind == "conflict"]
    assert [getattr(record.fact, "of", None) for record in told] == [f"{UNIT}-1", known.event_id]
    log.close()
    assert purge(path, UNIT, by="ann").facts == sum(map(is_mine, STORY)) + 2
    after = list(SQLiteLog(path).read_since())
    assert [record for record in after if record.fact.kind == "conflict"] == told[1:]
    (tomb,) = (
        record.fact for record in after if isinstance(record.fact, Purge) and record.fact.experiment == "e"
    )
    assert (tomb.facts["conflict"], tomb.last) == (1, told[0].position)
    assert not any(
        f"{UNIT}-1".encode() in each.read_bytes() for each in path.parent.iterdir() if each.is_file()
    )
    assert verify(path).sound
    assert has_no_bytes(path)


def test_what_people_said_of_a_unit_goes_with_it(path: Path) -> None:
    """Labels are never sealed; they name their unit, and their comments quote it."""
    log = SQLiteLog(path)

    def label(unit: str | None) -> Label:
        return Label(experiment="a", happened=1.0, name="thumbs", rater="r", item="t", value=1.0, unit=unit, comment=f"{unit}!")  # fmt: skip

    log.append([label(UNIT), label("other"), label(None), label(UNIT)])
    done = purge(path, UNIT, by="ann")
    assert done.facts == sum(map(is_mine, STORY)) + 2
    left = [record.fact for record in log.read_since(kinds=["label"])]
    assert [isinstance(fact, Label) and fact.unit for fact in left] == ["other", None]
    tomb = next(record.fact for record in log.read_since(kinds=["purge"], experiment="a"))
    assert isinstance(tomb, Purge)
    assert tomb.facts["label"] == 2
    log.append([label("zoë alone")])
    assert purge(path, "zoë alone", by="ann").facts == 1
    assert has_no_bytes(path)
    assert verify(path).faults == ()
    log.close()


def test_a_fact_from_the_future_is_purged_too(path: Path) -> None:
    """A clock that was set back since keeps nothing of the unit in the log."""
    ahead = SQLiteLog(path, clock=ManualClock(1e12))
    ahead.append([outcome(unit=UNIT)])
    ahead.close()
    assert purge(path, UNIT, by="ann", clock=ManualClock(99.0)).facts == sum(map(is_mine, STORY)) + 1
    assert has_no_bytes(path)


def test_a_purged_unit_is_gone_and_counted(path: Path) -> None:
    """Its facts are read no more and its bytes are in no file; how many they were stands in the log, and not whose."""
    log = SQLiteLog(path)
    before = list(log.read_since())
    mine = [record.fact for record in before if is_mine(record.fact)]
    assert not has_no_bytes(path)
    done = purge(path, UNIT, by="ann", reason="asked to", clock=ManualClock(99.0))
    assert (done.facts, done.experiments, done.unclean) == (len(mine), ("a", "b"), None)
    assert has_no_bytes(path)
    after = list(log.read_since())
    assert after[:-2] == [record for record in before if not is_mine(record.fact)]
    for record, experiment in zip(after[-2:], "ab", strict=True):
        counts = {kind: sum(fact.kind == kind and fact.experiment == experiment for fact in mine) for kind in ("exposure", "turn")}  # fmt: skip
        where = [
            each.position for each in before if is_mine(each.fact) and each.fact.experiment == experiment
        ]
        assert record.fact == Purge(experiment=experiment, happened=99.0, event_id=record.fact.event_id, facts=counts, by="ann", reason="asked to", first=where[0], last=where[-1])  # fmt: skip
    assert [record.position for record in after[-2:]] == [len(before) + 1, len(before) + 2]
    found = verify(path)
    assert (found.faults, found.purged, found.head) == ((), len(mine), len(before) + 2)
    log.close()


def test_what_was_purged_is_not_accepted_again(path: Path) -> None:
    """A delivery that comes late does not bring it back; what the unit does from now on is new."""
    log = SQLiteLog(path)
    facts = [record.fact for record in log.read_since()]
    purge(path, UNIT, by="ann")
    assert log.append([*facts, outcome(unit=UNIT)]) == Receipt(1, len(facts), len(facts) + 3)
    assert purge(path, UNIT, by="ann").facts == 1
    assert has_no_bytes(path)
    log.close()


def test_purging_again_changes_nothing(path: Path) -> None:
    """Nor does purging a unit that was never seen; nothing is recorded of either."""
    log = SQLiteLog(path)
    purge(path, UNIT, by="ann")
    read = list(log.read_since())
    assert purge(path, UNIT, by="ann") == purge(path, "nobody", by="ann") == Purged(0, (), 0, None)
    assert list(log.read_since()) == read
    log.close()


def test_a_reader_in_the_middle_reads_on(path: Path) -> None:
    """A reader that comes to a segment which was written anew meanwhile reads the new one."""
    log = SQLiteLog(path)
    reading = log.read_since()
    first = next(reading)
    purge(path, UNIT, by="ann")
    positions = [first.position, *(record.position for record in reading)]
    assert positions == sorted(set(positions))
    assert {record.position for record in log.read_since()} <= set(positions)
    log.close()


def test_a_unit_whose_facts_fill_a_segment_is_purged_too(tmp_path: Path) -> None:
    """The segment stays, empty, and keeps its ids and its place."""
    path = tmp_path / "log.db"
    log = SQLiteLog(path)
    facts = [outcome(unit=UNIT, value=index) for index in range(5)]
    log.append([*facts, outcome(unit="other")])
    seal(path, hot_s=0, segment_facts=5)
    assert purge(path, UNIT, by="ann").facts == 5
    assert [record.position for record in log.read_since()] == [6, 7]
    assert log.append(facts).accepted == 0
    assert verify(path).sound
    log.close()


def test_a_damaged_log_is_not_purged(path: Path) -> None:
    """What cannot be read cannot be told to be rid of the unit; nothing is changed."""
    table = min(shelf_of(path).glob("0*.parquet"))
    data = table.read_bytes()
    table.write_bytes(data[:-1])
    with pytest.raises(RecordError, match="is not what was sealed"):
        purge(path, UNIT, by="ann")
    table.write_bytes(data)
    log = SQLiteLog(path)
    assert sum(is_mine(record.fact) for record in log.read_since()) == sum(map(is_mine, STORY))
    log.close()


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="this system has no SIGKILL")
def test_a_purge_may_be_killed_at_a_step(path: Path, tmp_path: Path) -> None:
    """At eight steps drawn at random: all of it is done or none, and doing it again completes it."""

    def copied(name: str) -> Path:
        folder = tmp_path / name
        folder.mkdir()
        shutil.copy(path, folder / "log.db")
        shutil.copytree(shelf_of(path), shelf_of(folder / "log.db"))
        return folder / "log.db"

    said, wrong = run_python(PURGE, str(copied("whole")), "0", UNIT).communicate(timeout=120)
    assert wrong == ""
    mine = sum(map(is_mine, STORY))
    for step in sorted(random.Random(SEED).sample(range(1, int(said) + 1), 8)):
        place = copied(f"{step}")
        process = run_python(PURGE, str(place), str(step), UNIT)
        process.communicate(timeout=120)
        assert process.returncode == -signal.SIGKILL
        log = SQLiteLog(place)
        facts = [record.fact for record in log.read_since()]
        log.close()
        left, told = sum(map(is_mine, facts)), sum(isinstance(fact, Purge) for fact in facts)
        assert (left, told) in ((mine, 0), (0, 2)), step
        assert verify(place).faults == ()
        assert purge(place, UNIT, by="ann").facts == left
        assert has_no_bytes(place)
        assert verify(place).purged == mine
