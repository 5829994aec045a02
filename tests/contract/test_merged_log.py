"""Small segments become larger ones: the same log to everybody, whoever reads, writes, purges or is killed meanwhile."""

from __future__ import annotations

import random
import shutil
import signal
import threading
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sealed import dies_at_a_step, exposure, outcome, run_python
from typer.testing import CliRunner

from equipoise.cli.main import app
from equipoise.clock import ManualClock
from equipoise.errors import RecordError, UsageError
from equipoise.events.cold import merging
from equipoise.events.cold.merging import Merged, groups, merge
from equipoise.events.cold.purging import purge
from equipoise.events.cold.sealing import seal
from equipoise.events.cold.shelf import names_on, shelf_of
from equipoise.events.cold.verifying import verify
from equipoise.events.facts import Fact, Gate, Turn
from equipoise.events.log import Receipt, Recorded
from equipoise.events.manifest import Segment, segments
from equipoise.events.sqlite import SQLiteLog

SEED = 20_261_121
MERGE = dies_at_a_step("merging.merge(sys.argv[1], segment_facts=40)", "manifest, merging, shelf").replace(
    "import purging,", "import merging, purging,"
)


def story(count: int = 60) -> list[Fact]:
    """Facts of three units in two experiments, with some of a ledger among them."""
    found: list[Fact] = []
    for index in range(count):
        unit, experiment = ("ann", "bob", "cy")[index % 3], "ab"[index % 2]
        found += [exposure(experiment, unit=unit), Turn(experiment=experiment, happened=1.0, unit=unit)]
        if index % 5 == 0:
            found.append(Gate(experiment=experiment, happened=1.0, digest="d", decision="pass", evidence={}))
    return found


STORY = story()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A log of that story in segments of nine facts, one of them without the ids it began with, and some facts hot."""
    path = tmp_path / "log.db"
    log = SQLiteLog(path, clock=ManualClock(50.0))
    log.append(STORY[:100])
    seal(path, hot_s=0, segment_facts=9)
    log.append(STORY[100:])
    log.close()
    return path


def read(path: Path) -> list[Recorded]:
    log = SQLiteLog(path)
    found = list(log.read_since())
    log.close()
    return found


def manifest(path: Path) -> list[Segment]:
    log = SQLiteLog(path)
    found = list(segments(log._connection))
    log.close()
    return found


def test_a_merged_log_is_the_same_log(path: Path) -> None:
    """Facts, positions, what is known of ids, reading from the middle and up to a position; and fewer files."""
    log = SQLiteLog(path)
    before, old = list(log.read_since()), manifest(path)

    def bodies(until: int) -> list[object]:
        return [body for page in log.bodies("a", "turn", until=until) for body in page]

    until = [*range(0, 110, 7), len(STORY)]
    told = [bodies(each) for each in until]
    done = merge(path, segment_facts=40)
    new = manifest(path)
    assert done == Merged(len(old), len(new), sum(each.facts for each in old))
    assert len(old) == 11
    assert [each.facts for each in new] == [36, 36, 19]
    assert list(log.read_since()) == before
    assert [bodies(each) for each in until] == told
    for position in range(0, len(STORY), 11):
        assert list(log.read_since(position)) == before[position:]
    assert [record.fact for record in log.read_since(experiment="b", kinds=["exposure"])] == [
        record.fact for record in before if (record.fact.experiment, record.fact.kind) == ("b", "exposure")
    ]
    assert log.append(STORY) == Receipt(0, len(STORY), len(STORY))
    assert len(names_on(shelf_of(path))) == 2 * len(new)
    assert verify(path).sound
    assert verify(path).strays == ()
    log.close()


def test_merging_again_finds_nothing_to_do(path: Path) -> None:
    """What is as large as it may be stays; a larger limit goes on."""
    merge(path, segment_facts=40)
    names = names_on(shelf_of(path))
    assert merge(path, segment_facts=40) == Merged(0, 0, 0)
    assert names_on(shelf_of(path)) == names
    assert merge(path).after == 1


def test_what_was_purged_is_not_accepted_after_a_merge(path: Path) -> None:
    """The keys of purged facts are merged with the others; an emptied segment goes into its neighbour."""
    everything = [*(record.fact for record in read(path)), *(outcome(unit="dot", value=n) for n in range(9))]
    log = SQLiteLog(path)
    log.append(everything)
    seal(path, hot_s=0, segment_facts=9)
    purged = purge(path, "ann", by="op").facts + purge(path, "dot", by="op").facts
    left = list(log.read_since())
    merge(path)
    assert list(log.read_since()) == left
    assert log.append(everything).accepted == 0
    found = verify(path)
    assert (found.faults, found.purged, found.segments) == ((), purged, 1)
    assert purge(path, "bob", by="op").facts > 0
    assert verify(path).sound
    log.close()


def test_a_reader_in_the_middle_reads_on(path: Path) -> None:
    """One that comes to a segment which is in a larger one by now reads that from where it was."""
    log = SQLiteLog(path)
    expected = list(log.read_since())
    for stop in (1, 10, 40, 95):
        reading = log.read_since()
        found = [next(reading) for _ in range(stop)]
        merge(path, segment_facts=9 * stop)
        assert [*found, *reading] == expected
    log.close()


def test_writers_sealers_mergers_and_purges_share_a_log(tmp_path: Path) -> None:
    """Every accepted fact is there once at the end but those that were purged, and the log is sound all along."""
    path = tmp_path / "log.db"
    SQLiteLog(path).close()
    stop = threading.Event()
    written: list[Fact] = []
    trouble: list[BaseException] = []

    def write() -> None:
        log = SQLiteLog(path)
        for number in range(60):
            facts = [outcome(unit=("ann", "bob")[each % 2], value=number) for each in range(20)]
            log.append(facts)
            written.extend(facts)
        log.close()
        stop.set()

    def again(work: object) -> None:
        while not stop.is_set():
            try:
                work()  # type: ignore[operator]
            except RecordError as error:
                # A purge sweeps away what is not entered yet, or comes to segments that were merged meanwhile.
                if "could not be written: No such file" not in str(error) and "run " not in str(error):
                    trouble.append(error)
            except BaseException as error:
                trouble.append(error)

    def sound() -> None:
        found = verify(path)
        if not found.sound:
            raise AssertionError(found.faults)

    threads = [
        threading.Thread(target=write),
        *(threading.Thread(target=again, args=(work,)) for work in (
            lambda: seal(path, hot_s=0, segment_facts=30),
            lambda: merge(path, segment_facts=200),
            lambda: merge(path, segment_facts=300),
            lambda: purge(path, "nobody", by="op"),
            sound,
        )),
    ]  # fmt: skip
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert trouble == []
    found = [record.fact for record in read(path)]
    assert sorted(fact.event_id for fact in found) == sorted(fact.event_id for fact in written)
    assert [record.position for record in read(path)] == list(range(1, len(written) + 1))
    gone = purge(path, "ann", by="op").facts
    merge(path)
    assert gone == len(written) // 2
    assert verify(path).sound


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="this system has no SIGKILL")
@pytest.mark.parametrize("kills", [8, pytest.param(60, marks=pytest.mark.long)])
def test_a_merge_may_be_killed_at_any_step(path: Path, tmp_path: Path, kills: int) -> None:
    """At steps drawn at random: every fact is where it was, once, and doing it again completes it."""
    expected = read(path)

    def copied(name: str) -> Path:
        folder = tmp_path / name
        folder.mkdir()
        shutil.copy(path, folder / "log.db")
        shutil.copytree(shelf_of(path), shelf_of(folder / "log.db"))
        return folder / "log.db"

    said, wrong = run_python(MERGE, str(copied("whole")), "0").communicate(timeout=120)
    assert wrong == ""
    for step in sorted(random.Random(SEED).sample(range(1, int(said) + 1), min(kills, int(said)))):
        place = copied(f"{step}")
        process = run_python(MERGE, str(place), str(step))
        process.communicate(timeout=120)
        assert process.returncode == -signal.SIGKILL
        assert read(place) == expected, step
        assert verify(place).faults == ()
        merge(place, segment_facts=40)
        assert read(place) == expected
        assert [each.facts for each in manifest(place)] == [36, 36, 19]
        log = SQLiteLog(place)
        assert log.append(STORY).accepted == 0
        log.close()
        shutil.rmtree(place.parent)


def test_another_merge_that_was_faster_is_left_alone(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its segment stays, and the files of the slower one are taken away."""
    kept = merging.keep

    def slow(*arguments: object) -> None:
        kept(*arguments)  # type: ignore[arg-type]
        monkeypatch.setattr(merging, "keep", kept)
        assert merge(path).after == 1

    expected = read(path)
    monkeypatch.setattr(merging, "keep", slow)
    assert merge(path) == Merged(0, 0, 0)
    assert read(path) == expected
    assert (verify(path).sound, verify(path).strays, len(manifest(path))) == (True, (), 1)


def test_what_cannot_be_merged_is_said(path: Path, tmp_path: Path) -> None:
    """A segment of nothing, no log, a damaged file: each in a sentence, and nothing is changed."""
    with pytest.raises(UsageError) as usage:
        merge(path, segment_facts=0)
    assert str(usage.value) == "a segment cannot hold 0 facts; accepted: 1 or more"
    with pytest.raises(RecordError, match=r"^there is no log at "):
        merge(tmp_path / "none.db")
    names = names_on(shelf_of(path))
    table = min(shelf_of(path).glob("*.parquet"))
    data = table.read_bytes()
    table.write_bytes(data[:-1])
    with pytest.raises(RecordError, match="is not what was sealed"):
        merge(path)
    table.write_bytes(data)
    assert names_on(shelf_of(path)) == names


def test_the_command_says_what_it_did(path: Path) -> None:
    """In a sentence and as JSON; a log in PostgreSQL has no segments."""
    place = ["--log", str(path)]
    assert CliRunner().invoke(app, ["log", "merge", "--facts", "40", *place]).stdout == (
        "11 segments are 3 now, with 91 facts\n"
    )
    assert CliRunner().invoke(app, ["log", "merge", "--facts", "40", *place]).stdout == (
        f"nothing to merge: no segments of {path} fit into one\n"
    )
    told = CliRunner().invoke(app, ["log", "merge", "--json", *place]).stdout
    assert told == '{\n  "before": 3,\n  "after": 1,\n  "facts": 91\n}\n'


@given(st.lists(st.integers(0, 12), max_size=30), st.integers(1, 30))
def test_groups_are_neighbours_within_the_limit(sizes: list[int], most: int) -> None:
    """In order, each once, at least two together, and no two neighbours are left that would fit."""
    found = [
        Segment(at, at, size, f"{at}", "", f"k{at}", "", None, None, 0, {})
        for at, size in enumerate(sizes, 1)
    ]
    made = list(groups(found, most))
    assert all(len(group) > 1 and sum(each.facts for each in group) <= most for group in made)
    inside = [each.first for group in made for each in group]
    assert inside == sorted(set(inside))
    for group in made:
        assert [each.first for each in group] == list(range(group[0].first, group[-1].first + 1))
    left = {each.first for each in found} - set(inside)
    for one, two in pairwise(found):
        if {one.first, two.first} <= left:
            assert one.facts + two.facts > most
