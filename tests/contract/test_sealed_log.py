"""A log whose facts were sealed is the log it was: the same facts, positions and refusals, for readers and writers."""

from __future__ import annotations

import random
import sqlite3
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from sealed import exposure, outcome, run_python, traffic

from equipoise.clock import ManualClock
from equipoise.errors import MissingExtraError, RecordError, UsageError
from equipoise.events.cold import sealing, segments, shelf
from equipoise.events.cold.purging import purge
from equipoise.events.cold.rebuilding import Rebuilt, rebuild
from equipoise.events.cold.sealing import Seal, seal
from equipoise.events.cold.shelf import shelf_of
from equipoise.events.cold.verifying import verify
from equipoise.events.facts import Decision, Fact, Gate, Registration
from equipoise.events.log import Receipt, StaleHeadError
from equipoise.events.manifest import SEALED
from equipoise.events.sqlite import SQLiteLog


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "log.db"


def mixed(count: int, seed: int = 1) -> list[Fact]:
    """Facts of traffic with some of a ledger among them, of two experiments."""
    rng = random.Random(seed)
    found: list[Fact] = []
    for index in range(count):
        experiment = rng.choice(["a", "b"])
        if rng.random() < 0.05:
            found.append(Gate(experiment=experiment, happened=1.0, digest="d", decision="pass", evidence={"i": index}))  # fmt: skip
        elif rng.random() < 0.3:
            found.append(exposure(experiment, unit=f"{index}"))
        else:
            found.append(outcome(experiment=experiment, value=index))
    return found


def names(path: Path) -> list[str]:
    return sorted(each.name for each in shelf_of(path).iterdir())


def test_a_sealed_log_reads_as_before(path: Path) -> None:
    """Every read from every position gives the same records, hot facts of the ledger in their places among them."""
    log = SQLiteLog(path, clock=ManualClock(100.0))
    facts = mixed(700)
    log.append(facts)

    def everything() -> list[Any]:
        return [
            list(log.read_since(position, experiment=experiment, kinds=kinds))
            for position in (0, 1, 99, 100, 101, 350, 699, 700, 900)
            for experiment in (None, "a", "absent")
            for kinds in (None, ("exposure",), ("gate",), ("gate", "outcome"), ())
        ]

    before = everything()
    done = seal(path, hot_s=0, segment_facts=100)
    ledger = sum(fact.kind not in SEALED for fact in facts)
    assert (done.segments, done.facts) == (-(-(700 - ledger) // 100), 700 - ledger)
    assert everything() == before
    assert log.head() == 700
    assert log._connection.execute("SELECT count(*) FROM events").fetchone() == (ledger,)
    log.close()
    again = SQLiteLog(path, create=False)
    assert [record.fact for record in again.read_since()] == facts
    assert again.append([outcome()]).head == 701
    again.close()


def test_several_kinds_are_read_in_pages_of_their_own_cost(path: Path) -> None:
    """Reading two kinds of an experiment, or all of it, takes steps of SQLite in proportion to the facts, not squared."""

    def steps(count: int, kinds: Sequence[str] | None) -> int:
        log = SQLiteLog(path.with_name(f"{count}-{kinds and len(kinds)}.db"))
        log.append(
            [fact for index in range(count) for fact in (outcome(value=index), exposure(unit=f"{index}"))]
        )
        taken = 0

        def step() -> int:
            nonlocal taken
            taken += 1
            return 0

        log._connection.set_progress_handler(step, 100)
        positions = [record.position for record in log.read_since(experiment="e", kinds=kinds)]
        log.close()
        assert positions == list(range(1, 2 * count + 1))
        return taken

    for kinds in (("outcome", "exposure"), ("exposure", "gate", "outcome", "outcome"), None):
        few, many = steps(3_000, kinds), steps(24_000, kinds)
        assert 6 < many / few < 10, kinds


def test_bodies_of_a_sealed_log_are_what_they_were(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One kind of one experiment up to a position: the same bodies hot, sealed, and half of each, whatever the page."""
    log = SQLiteLog(path, clock=(clock := ManualClock(100.0)))
    log.append(mixed(300))
    clock.advance(50.0)
    log.append(mixed(300, seed=2))

    def everything() -> list[Any]:
        return [
            [body for page in log.bodies(experiment, kind, until=until) for body in page]
            for until in (0, 1, 99, 300, 301, 450, 600, 700)
            for experiment in ("a", "absent")
            for kind in ("exposure", "outcome", "gate", "turn")
        ]

    before = everything()
    for hot_s in (50.0, 0.0):
        assert seal(path, hot_s=hot_s, segment_facts=70, clock=clock).facts > 200
        for size in (20_000, 7):
            monkeypatch.setattr("equipoise.events.sqlite_reading._LONG_PAGE", size)
            assert everything() == before
    log.close()


def test_bodies_are_read_under_the_hands_of_a_seal(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is sealed between two pages is read once, and so is what a purge wrote anew meanwhile."""
    monkeypatch.setattr("equipoise.events.sqlite_reading._LONG_PAGE", 10)
    log = SQLiteLog(path)
    log.append([*traffic(100), outcome(unit="forgotten"), *traffic(50)])
    reading = log.bodies("e", "outcome", until=150)
    found = [next(reading), next(reading)]
    seal(path, hot_s=0, segment_facts=30)
    found.append(next(reading))
    assert purge(path, "forgotten", by="ann").facts == 1
    found += reading
    assert [body[0] for page in found for body in page] == [*range(1, 101), *range(102, 151)]
    log.close()


def test_a_digest_is_computed_once_for_a_file_nobody_touched(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A second reading trusts the first; a file that was touched, and one that is not yet settled, is checked again."""
    log = SQLiteLog(path)
    log.append(traffic(10))
    seal(path, hot_s=0)
    computed = []
    real = shelf.digest_of
    monkeypatch.setattr(shelf, "digest_of", lambda data: computed.append(len(data)) or real(data))

    def times() -> int:
        computed.clear()
        assert len(list(log.read_since())) == 10
        return len(computed)

    assert (times(), times()) == (1, 1)
    monkeypatch.setattr(shelf, "_SETTLED", -3600.0)
    assert (times(), times(), times()) == (1, 0, 0)
    verify(path)
    assert len(computed) == 2
    (table,) = shelf_of(path).glob("*.parquet")
    data = table.read_bytes()
    table.write_bytes(data)
    assert (times(), times()) == (1, 0)
    table.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    for _ in range(2):
        with pytest.raises(RecordError, match="parquet is not what was sealed: its digest is another"):
            list(log.read_since())
    log.close()


def test_what_is_young_stays_hot(path: Path) -> None:
    """Only what arrived long enough ago is sealed, and nothing after the first that did not."""
    clock = ManualClock(1000.0)
    log = SQLiteLog(path, clock=clock)
    log.append(traffic(3))
    clock.advance(100.0)
    log.append(traffic(2))
    assert seal(path, hot_s=101.0, clock=clock) == Seal(0, 0, 0)
    assert seal(path, hot_s=100.0, clock=clock).facts == 3
    assert seal(path, hot_s=100.0, clock=clock) == Seal(0, 0, 0)
    assert (verify(path).hot, verify(path).sealed) == (2, 3)
    behind = SQLiteLog(path, clock=ManualClock(900.0))
    behind.append(traffic(1))
    assert seal(path, hot_s=100.0, clock=clock).facts == 0
    log.close()
    behind.close()


def test_delivering_again_after_the_seal_is_harmless(path: Path) -> None:
    """An id is accepted once though its fact was sealed: in the delivery of old and new, in any order of ids."""
    facts = traffic(250) + [outcome(event_id=f"order-{index}") for index in range(30)]
    random.Random(3).shuffle(facts)
    log = SQLiteLog(path)
    log.append(facts[:200])
    seal(path, hot_s=0, segment_facts=60)
    assert log.append(facts[100:]) == Receipt(accepted=80, repeated=100, head=280)
    seal(path, hot_s=0, segment_facts=60)
    other = SQLiteLog(path)
    assert other.append([*facts, outcome(), outcome(event_id="order-30")]) == Receipt(2, 280, 282)
    assert [record.fact for record in log.read_since()][:280] == facts
    assert [record.position for record in other.read_since()] == list(range(1, 283))
    log.close()
    other.close()


def test_an_old_event_that_was_never_seen_is_new(path: Path) -> None:
    """An event older than all that was sealed is accepted, visible at once, and sealed with what comes next."""
    late = outcome("late")
    log = SQLiteLog(path)
    log.append(traffic(100))
    seal(path, hot_s=0)
    assert log.append([late]) == Receipt(accepted=1, repeated=0, head=101)
    assert [record.fact for record in log.read_since(100)] == [late]
    seal(path, hot_s=0)
    assert log.append([late]) == Receipt(accepted=0, repeated=1, head=101)
    assert verify(path).sound
    log.close()


def test_a_decision_on_news_that_was_sealed_is_refused(path: Path) -> None:
    """append_if sees what was accepted and sealed since the head was read, and names the first of it."""
    log = SQLiteLog(path)
    log.append([outcome(experiment="a"), outcome(experiment="b"), exposure("a"), outcome(experiment="a")])
    seal(path, hot_s=0, segment_facts=2)
    decision = Decision(experiment="a", happened=1.0, digest="d", look="", verdict="hold", because="")
    for asked, found in (({}, 2), ({"experiment": "a"}, 3), ({"kinds": ("outcome",)}, 2), ({"experiment": "a", "kinds": ("outcome",)}, 4)):  # fmt: skip
        with pytest.raises(StaleHeadError) as stale:
            log.append_if([decision], 1, **asked)
        assert (stale.value.expected, stale.value.found) == (1, found)
    assert log.append_if([decision], 1, experiment="b", kinds=("exposure",)).head == 5
    with pytest.raises(StaleHeadError) as stale:
        log.append_if([decision], 4)
    assert stale.value.found == 5
    log.close()


def test_a_log_of_the_first_format_is_sealed_too(path: Path) -> None:
    """A log without a manifest is given one when it is opened, and loses nothing by it."""
    log = SQLiteLog(path)
    facts = mixed(50)
    log.append(facts)
    log.close()
    old = sqlite3.connect(path)
    old.execute("DROP TABLE segments")
    old.execute("PRAGMA user_version = 1")
    old.commit()
    old.close()
    barrier, seen = threading.Barrier(4), []

    def look() -> None:
        barrier.wait()
        opened = SQLiteLog(path, create=False)
        seen.append([record.fact for record in opened.read_since()])
        opened.close()

    threads = [threading.Thread(target=look) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert seen == [facts] * 4
    assert seal(path, hot_s=0).segments == 1
    assert verify(path).sound


def test_a_seal_and_a_writer_do_not_disturb_each_other(path: Path) -> None:
    """While processes write and two seal, a reader sees a growing log without a gap; at the end all is there once."""
    SQLiteLog(path).close()
    write = (
        "from equipoise.events.sqlite import SQLiteLog\nlog = SQLiteLog(sys.argv[1])\nsent = []\n"
        "for i in range(60):\n"
        "    batch = [outcome(unit=sys.argv[2], value=20 * i + j) for j in range(20)]\n"
        "    assert log.append(batch).accepted == 20\n    sent += batch\n"
        "    again = log.append(sent[::7])\n    assert again.accepted == 0, again\n"
    )
    sealer = (
        "from equipoise.events.cold.sealing import seal\n"
        "while sys.stdin.readline().strip() != 'end': seal(sys.argv[1], hot_s=0, segment_facts=70)\n"
    )
    writers = [run_python(write, str(path), name) for name in ("x", "y")]
    sealers = [run_python(sealer, str(path)) for _ in range(2)]
    log, longest = SQLiteLog(path), 0
    while any(writer.poll() is None for writer in writers):
        for each in sealers:
            assert each.stdin is not None
            each.stdin.write("go\n")
            each.stdin.flush()
        positions = [record.position for record in log.read_since()]
        assert positions == list(range(1, len(positions) + 1))
        assert len(positions) >= longest
        longest = len(positions)
    for process in (*writers, *sealers):
        said = process.communicate("end\n" if process in sealers else None, timeout=120)
        assert (process.returncode, said) == (0, ("", ""))
    seal(path, hot_s=0)
    values = {name: [r.fact.value for r in log.read_since() if getattr(r.fact, "unit", "") == name] for name in ("x", "y")}  # type: ignore[attr-defined] # fmt: skip
    assert values == {name: list(range(1200)) for name in ("x", "y")}
    found = verify(path)
    assert (found.sound, found.hot, found.sealed, found.strays) == (True, 0, 2400, ())
    log.close()


def test_a_reader_in_the_middle_is_not_disturbed_by_a_seal(path: Path) -> None:
    """Facts that are sealed under a reader's hands are read once, whether it had come to them or not."""
    log = SQLiteLog(path)
    facts = mixed(5_000)
    log.append(facts)
    for start in (1, 1_000, 2_000, 2_001, 4_999):
        reading = log.read_since()
        first = [next(reading).fact for _ in range(start)]
        seal(path, hot_s=0, segment_facts=700)
        assert first + [record.fact for record in reading] == facts
        log.append([more := outcome()])
        facts.append(more)
    log.close()


def test_of_two_who_seal_the_same_one_gives_way(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A seal that finds its facts gone throws its own files away, and leaves the other's alone."""
    log = SQLiteLog(path)
    log.append(traffic(10))
    real, overtaken = sealing.as_parquet, []

    def overtake(rows: Any) -> bytes:
        if not overtaken:
            overtaken.append(True)
            assert seal(path, hot_s=0).facts == 10
        return real(rows)

    monkeypatch.setattr(sealing, "as_parquet", overtake)
    assert seal(path, hot_s=0) == Seal(0, 0, 0)
    assert len(names(path)) == 2
    assert verify(path).sound
    assert len(list(log.read_since())) == 10
    log.close()


def test_a_stray_is_no_segment(path: Path) -> None:
    """What lies on the shelf and is not in the manifest is read by nobody, and named by verify."""
    log = SQLiteLog(path)
    log.append(traffic(10))
    seal(path, hot_s=0)
    kept = names(path)
    (shelf_of(path) / "other.parquet").write_bytes(b"anything")
    (shelf_of(path) / ".0f.part").write_bytes(b"")
    assert len(list(log.read_since())) == 10
    found = verify(path)
    assert (found.sound, found.strays) == (True, (".0f.part", "other.parquet"))
    assert set(kept) < set(names(path))
    log.close()


def test_a_folder_on_the_shelf_is_left_alone(path: Path) -> None:
    """Whoever put it there may want it; neither a rebuild nor a purge stumbles over it when its work is done."""
    log = SQLiteLog(path)
    log.append([*traffic(3), outcome(unit="other")])
    seal(path, hot_s=0)
    (shelf_of(path) / "mine").mkdir()
    assert rebuild(path) == Rebuilt(keys=0, strays=0)
    assert purge(path, "other", by="me").facts == 1
    assert verify(path).sound
    assert (shelf_of(path) / "mine").is_dir()


def test_a_segment_that_is_missing_is_said_to_be(path: Path) -> None:
    """Reading names the file and what to do; what needs no segment goes on."""
    log = SQLiteLog(path)
    log.append([*traffic(10), Registration(experiment="e", happened=1.0, digest="d", definition={}, plan={}, by="ann")])  # fmt: skip
    seal(path, hot_s=0)
    keys, table = (shelf_of(path) / name for name in sorted(names(path)))
    table.rename(path.with_name("away"))
    with pytest.raises(RecordError) as missing:
        list(log.read_since())
    sentence = (
        f"{table} is missing, which the log's manifest names. Put it back from a copy; "
        "the folder log.db.segments belongs beside the log, wherever the log goes"
    )
    assert str(missing.value) == sentence
    assert verify(path).faults == (sentence,)
    assert [record.fact.kind for record in log.read_since(kinds=["registration"])] == ["registration"]
    assert log.append([outcome()]).accepted == 1
    path.with_name("away").rename(table)
    keys.unlink()
    with pytest.raises(RecordError, match="keys is missing, which the log's manifest names"):
        log.append([next(log.read_since()).fact])
    assert log.append([outcome()]).accepted == 1
    log.close()


def test_a_log_with_sealed_facts_needs_the_extra_where_they_are_read(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:  # fmt: skip
    """Without it the ledger is read and facts are kept, known ids among them; the rest says what to install."""
    log = SQLiteLog(path)
    facts = [*mixed(100), outcome()]
    log.append(facts)
    seal(path, hot_s=0)
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    assert {record.fact.kind for record in log.read_since(kinds=["gate", "decision"])} == {"gate"}
    assert log.append([*facts, outcome()]) == Receipt(accepted=1, repeated=101, head=102)
    with pytest.raises(MissingExtraError) as missing:
        list(log.read_since())
    assert str(missing.value) == (
        "a log with sealed facts needs the 'analysis' extra. Install it: pip install 'equipoise[analysis]'"
    )
    log.close()


def test_what_cannot_be_sealed_is_refused(path: Path) -> None:
    """A time below 0, no number, an empty segment, a log that is not there."""
    SQLiteLog(path).close()
    for more, said in (
        ({"hot_s": -1.0}, "facts cannot stay hot for -1.0 seconds; accepted: 0 or more"),
        ({"hot_s": float("nan")}, "facts cannot stay hot for nan seconds; accepted: 0 or more"),
        ({"segment_facts": 0}, "a segment cannot hold 0 facts; accepted: 1 or more"),
    ):
        with pytest.raises(UsageError) as refused:
            seal(path, **more)
        assert str(refused.value) == said
    with pytest.raises(RecordError, match="there is no log at"):
        seal(path.with_name("absent.db"))
    shelf_of(path).write_text("in the way")
    log = SQLiteLog(path)
    log.append(traffic(3))
    with pytest.raises(RecordError, match=r"could not be written: "):
        seal(path, hot_s=0)
    assert len(list(log.read_since())) == 3
    log.close()


def test_the_same_facts_make_the_same_segment(path: Path) -> None:
    """Sealing the same rows again, in another log, gives the same bytes."""
    facts = mixed(500)
    tables = []
    for name in ("one.db", "two.db"):
        log = SQLiteLog(path.with_name(name), clock=ManualClock(5.0))
        log.append(facts)
        log.close()
        seal(path.with_name(name), hot_s=0)
        (table,) = shelf_of(path.with_name(name)).glob("*.parquet")
        tables.append(table.read_bytes())
    assert tables[0] == tables[1]
    assert segments.facts_in(tables[0]) == sum(fact.kind in SEALED for fact in facts)


def test_lost_keys_are_made_anew(path: Path) -> None:
    """From the facts of their segments: ids are known again, and strays are gone."""
    log = SQLiteLog(path)
    facts = traffic(40)
    log.append(facts)
    seal(path, hot_s=0, segment_facts=10)
    lost, torn, *_ = sorted(shelf_of(path).glob("*.keys"))
    lost.unlink()
    torn.write_bytes(torn.read_bytes()[:-1])
    with pytest.raises(RecordError):
        SQLiteLog(path).append(facts)
    assert rebuild(path) == Rebuilt(keys=2, strays=1)
    assert verify(path).sound
    assert verify(path).strays == ()
    assert SQLiteLog(path).append(facts) == log.append(facts) == Receipt(0, 40, 40)
    assert rebuild(path) == Rebuilt(keys=0, strays=0)
    log.close()


def test_a_lost_segment_is_not_made_up(path: Path) -> None:
    """Keys cannot be made from a segment that is gone: the error says which, and nothing is changed."""
    log = SQLiteLog(path)
    log.append(traffic(5))
    seal(path, hot_s=0)
    for each in shelf_of(path).iterdir():
        each.unlink()
    with pytest.raises(RecordError, match="parquet is missing, which the log's manifest names"):
        rebuild(path)
    assert len(verify(path).faults) == 2
    log.close()
