"""Sealing under attack: killed at every step of it, and its files torn and flipped. Nothing is lost, nothing is silent.

The full numbers run with the long tests; the normal run takes a seeded part of each.
"""

from __future__ import annotations

import random
import shutil
import signal
from pathlib import Path

import pytest
from sealed import dies_at_a_step, outcome, run_python, traffic

from equipoise.errors import RecordError
from equipoise.events.cold.sealing import seal
from equipoise.events.cold.shelf import shelf_of
from equipoise.events.cold.verifying import verify
from equipoise.events.facts import Gate
from equipoise.events.log import Receipt
from equipoise.events.opening import open_cursors
from equipoise.events.sqlite import SQLiteLog

SEED = 20_240_611
SEAL = dies_at_a_step(
    "sealing.seal(sys.argv[1], hot_s=0, segment_facts=20)", "manifest, sealing, segments, shelf, sqlite_file"
)


@pytest.fixture(scope="module")
def unsealed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A log of 43 facts, three of them of the ledger, none sealed."""
    path = tmp_path_factory.mktemp("unsealed") / "log.db"
    log = SQLiteLog(path)
    for part in range(3):
        log.append(
            [
                *traffic(10 + part),
                Gate(experiment="e", happened=1.0, digest="d", decision="pass", evidence={}),
            ]
        )
    log.append(traffic(7))
    log.close()
    return path


def copied(log: Path, folder: Path) -> Path:
    folder.mkdir()
    for each in log.parent.iterdir():
        if each.is_dir():
            shutil.copytree(each, folder / each.name)
        else:
            shutil.copy(each, folder / each.name)
    return folder / log.name


def steps_of(log: Path) -> int:
    """How many steps a seal of this log takes that is left alone."""
    said, wrong = run_python(SEAL, str(log), "0").communicate(timeout=120)
    assert wrong == ""
    return int(said)


def killed(log: Path, step: int) -> None:
    """Seal the log and die at a step; then all is as it should be."""
    before = list(SQLiteLog(log).read_since())
    process = run_python(SEAL, str(log), str(step))
    process.communicate(timeout=120)
    assert process.returncode == -signal.SIGKILL
    opened = SQLiteLog(log)
    assert list(opened.read_since()) == before, step
    found = verify(log)
    assert found.faults == (), step
    assert found.hot + found.sealed == found.head == len(before)
    facts = [record.fact for record in before]
    assert opened.append([*facts, outcome()]) == Receipt(1, len(before), len(before) + 1), step
    seal(log, hot_s=0, segment_facts=20)
    assert [record.fact for record in opened.read_since()][:-1] == facts
    assert verify(log).faults == ()
    assert opened.append(facts).accepted == 0
    opened.close()


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="this system has no SIGKILL")
def test_a_seal_may_be_killed_at_a_step(unsealed: Path, tmp_path: Path) -> None:
    """At twelve steps drawn at random: every fact is there once, before the next seal and after it."""
    steps = steps_of(copied(unsealed, tmp_path / "whole"))
    assert steps > 100
    for step in sorted(random.Random(SEED).sample(range(1, steps + 1), 12)):
        killed(copied(unsealed, tmp_path / f"{step}"), step)


@pytest.mark.long
@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="this system has no SIGKILL")
def test_a_seal_may_be_killed_at_every_step(unsealed: Path, tmp_path: Path) -> None:
    """Not one of all the steps of a seal is one at which a kill loses, repeats or changes a fact."""
    for step in range(1, steps_of(copied(unsealed, tmp_path / "whole")) + 1):
        killed(copied(unsealed, tmp_path / f"{step}"), step)


@pytest.fixture(scope="module")
def sealed(unsealed: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same log, with all its traffic in two segments."""
    path = copied(unsealed, tmp_path_factory.mktemp("sealed") / "log")
    assert seal(path, hot_s=0, segment_facts=20).segments == 2
    return path


def damaged(log: Path, seed: int, times: int) -> None:
    """Tear and flip files of the shelf, one at a time: reading or keeping says so, and verify names the file."""
    rng, opened = random.Random(seed), SQLiteLog(log)
    whole = list(opened.read_since())
    files = sorted(shelf_of(log).iterdir())
    assert len(files) == 4
    for turn in range(2 * times):
        file = rng.choice(files)
        data = file.read_bytes()
        place = rng.randrange(len(data))
        if turn % 2:
            file.write_bytes(data[:place])
        else:
            file.write_bytes(data[:place] + bytes([data[place] ^ 1 << rng.randrange(8)]) + data[place + 1 :])
        said = f"{file} is not what was sealed: its digest is another"
        try:
            (fault,) = verify(log).faults
            assert fault.startswith(said)
            with pytest.raises(RecordError) as refused:
                if file.suffix == ".parquet":
                    list(opened.read_since())
                else:
                    # A log of its own, which holds no keys ready yet.
                    again = SQLiteLog(log)
                    again.append([record.fact for record in whole])
            assert str(refused.value).startswith(said)
        finally:
            file.write_bytes(data)
    assert list(opened.read_since()) == whole
    assert opened.append([record.fact for record in whole]).accepted == 0
    assert verify(log).sound
    opened.close()


def test_torn_and_flipped_files_are_noticed(sealed: Path) -> None:
    """A hundred truncations and a hundred flips of a bit: none is silent."""
    damaged(sealed, SEED, 100)


@pytest.mark.long
def test_ten_thousand_torn_and_flipped_files_are_noticed(sealed: Path) -> None:
    """Ten thousand of each."""
    damaged(sealed, SEED + 1, 10_000)


def test_a_torn_journal_is_a_clean_beginning(tmp_path: Path) -> None:
    """A log whose write-ahead journal is cut or flipped anywhere reads as the facts up to some delivery, or refuses.

    A hundred of each: what was sealed by then is there whole, since it left the journal with its transaction.
    """
    path = tmp_path / "log.db"
    log = SQLiteLog(path)
    # Nothing is taken out of the journal, so that all of it can be torn.
    log._connection.execute("PRAGMA wal_autocheckpoint = 0")
    facts = traffic(40)
    for start in range(0, 40, 5):
        log.append(facts[start : start + 5])
    journal = Path(f"{path}-wal").read_bytes()
    rng, seen = random.Random(SEED), set()
    for turn in range(200):
        copy = tmp_path / f"{turn}" / "log.db"
        copy.parent.mkdir()
        shutil.copy(path, copy)
        place = rng.randrange(len(journal))
        torn = journal[:place]
        if turn % 2:
            torn += bytes([journal[place] ^ 1 << rng.randrange(8)]) + journal[place + 1 :]
        Path(f"{copy}-wal").write_bytes(torn)
        try:
            opened = SQLiteLog(copy, create=False)
        except RecordError:
            continue
        read = [record.fact for record in opened.read_since()]
        assert read == facts[: len(read)]
        assert len(read) % 5 == 0
        assert verify(copy).sound
        seen.add(len(read))
        opened.close()
    assert len(seen) > 4
    log.close()


def test_a_log_has_one_shelf_by_whatever_name_it_is_opened(tmp_path: Path) -> None:
    """Sealed and purged through a link, or named without a folder, it is whole for whoever opens the file itself."""
    (tmp_path / "real").mkdir()
    (tmp_path / "links").mkdir()
    path, link = tmp_path / "real" / "log.db", tmp_path / "links" / "other name.db"
    link.symlink_to(path)
    log = SQLiteLog(path)
    facts = traffic(10)
    log.append(facts)
    assert seal(link, hot_s=0).facts == 10
    assert [each.fact for each in log.read_since()] == facts
    assert log.append(facts) == Receipt(0, 10, 10)
    assert [each.fact for each in SQLiteLog(link, create=False).read_since()] == facts
    assert verify(path).sound
    assert verify(link).sound
    open_cursors(link).close()
    assert sorted(each.name for each in link.parent.iterdir()) == ["other name.db"]
    assert (path.parent / "log.db.outbox").is_file()
