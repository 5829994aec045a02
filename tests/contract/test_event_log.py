"""The promises of the event log, kept by every implementation; and those of the file on disk."""

from __future__ import annotations

import json
import math
import os
import signal
import sqlite3
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import forked
import pytest

from equipoise.clock import ManualClock
from equipoise.errors import RecordError, UsageError
from equipoise.events.bodies import bodies_of
from equipoise.events.facts import (
    Conflict,
    Decision,
    Exposure,
    Fact,
    Gate,
    Impression,
    Look,
    Outcome,
    Purge,
    Registration,
    Score,
    Transition,
    Turn,
    encode,
)
from equipoise.events.log import EventLog, LogGoneError, MemoryLog, Receipt, StaleHeadError
from equipoise.events.opening import open_log
from equipoise.events.patient import PatientLog
from equipoise.events.postgres import PostgresLog
from equipoise.events.sqlite import SQLiteLog
from equipoise.events.sqlite_file import FORMAT

FACTS: list[Fact] = [
    Registration(experiment="e", happened=1.5, digest="d", definition={"name": "e", "n": [1, 2.5, None, {"deep": True}]}, plan={}, by="ann", reason="why not"),
    Registration(experiment="e", happened=1.5, digest="d", definition={}, plan={"units": 5}, by="ann"),
    Gate(experiment="e", happened=2.0, digest="d", decision="inconclusive", evidence={"cases": 5}),
    Transition(experiment="e", happened=3.0, digest="d", origin="offline", stage="ab", by="bob", reason="r", evidence={"overridden": ["a"]}),
    Transition(experiment="e", happened=3.0, digest="d", origin="offline", stage="ab", by="bob"),
    Exposure(experiment="e", happened=4.0, digest="d", unit="Zoë 🙂\n\0", unit_type="user", variant="control", probability=1 / 3, reason="split", epoch=2, hash_version=1, attributes={"tier": "fr\u0065\u0301e"}),
    Impression(experiment="e", happened=4.5, digest="d", unit="Zoë", unit_type="user", query="q\n\0", scheme="team_draft", items=["<b>", "é\0"], teams=["control", None], short=["b"]),
    Impression(experiment="e", happened=4.5, digest="d", unit="u", unit_type="user", query="q", scheme="probabilistic", items=["x"], teams=["b"], shares={"control": [1 / 3], "b": [2 / 3]}, ranks={"control": [None], "b": [1]}, epoch=1, attributes={"tier": "free"}, source="shop"),
    Outcome(experiment="e", happened=6.0, unit="u", name="click", value=True, query="q", item="x"),
    Turn(experiment="e", happened=5.0, unit="u"),
    Turn(experiment="e", happened=5.0, unit="u", latency_s=0.1, ttft_s=0.0, input_tokens=0, output_tokens=2**53, cost_usd=1e-300, safe=False, error=True, empty=False, model="m", sent_digest="x"),
    Outcome(experiment="e", happened=6.0, unit="u", name="resolved", value=True),
    Outcome(experiment="e", happened=6.0, unit="u", name="resolved", value=False),
    Outcome(experiment="e", happened=-6.25, unit="u", name="money", value=-0.1),
    Outcome(experiment="e", happened=0.0, unit="u", name="count", value=0),
    Score(experiment="e", happened=7.0, unit="u", name="policy", value=None, evaluator="j", why_not="refused", probability=0.05),
    Score(experiment="e", happened=7.0, unit="u", name="policy", value=4.0, evaluator="j"),
    Look(experiment="e", happened=8.0, digest="d", number=1, fraction=0.25, boundary=4.33, statistic=None, final=False, evidence={"a": {"b": [1]}}),
    Look(experiment="e", happened=8.0, digest="d", number=2, fraction=1.0, boundary=1.96, statistic=2.5, final=True, evidence={}),
    Decision(experiment="e", happened=9.0, digest="d", look="l", verdict="ship", because="it won", arm="treatment"),
    Decision(experiment="e", happened=9.0, digest="d", look="l", verdict="keep running", because="too early"),
    Purge(experiment="e", happened=9.0, facts={"turn": 3}, by="ann", reason="asked to be forgotten", first=3, last=9),
]  # fmt: skip


def outcome(name: str = "resolved", *, experiment: str = "e", **more: Any) -> Outcome:
    return Outcome(
        **{"experiment": experiment, "happened": 1.0, "unit": "u", "name": name, "value": True} | more
    )


def exposure(experiment: str = "e") -> Exposure:
    return Exposure(experiment=experiment, happened=1.0, digest="d", unit="u", unit_type="user", variant="control", probability=0.5, reason="split")  # fmt: skip


Make = Callable[..., EventLog]


@pytest.fixture(params=["memory", "sqlite", "postgres"])
def make(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Make]:
    """Makes logs of one kind; they are closed at the end."""
    made: list[EventLog] = []

    def new(**options: Any) -> EventLog:
        log: EventLog
        match request.param:
            case "memory":
                log = MemoryLog(**options)
            case "sqlite":
                log = SQLiteLog(tmp_path / f"{len(made)}.db", **options)
            case _:
                log = PostgresLog(request.getfixturevalue("postgres").database(), **options)
        made.append(log)
        return log

    yield new
    for log in made:
        log.close()


@pytest.fixture
def log(make: Make) -> EventLog:
    return make()


# What every log promises.


def test_an_implementation_is_an_event_log(log: EventLog) -> None:
    """The port can be asked for at run time."""
    assert isinstance(log, EventLog)


def test_a_new_log_is_empty(log: EventLog) -> None:
    """Its head is 0 and there is nothing to read."""
    assert log.head() == 0
    assert list(log.read_since()) == []


@pytest.mark.parametrize("fact", FACTS, ids=lambda fact: fact.kind)
def test_a_fact_of_every_kind_survives(fact: Fact, log: EventLog) -> None:
    """What is read is what was appended: the same type, the same values, None where nothing was said."""
    log.append([fact])
    (record,) = log.read_since()
    assert record.fact == fact
    assert type(record.fact) is type(fact)
    assert record.position == 1


def test_positions_count_what_was_accepted(log: EventLog) -> None:
    """Facts are read in the order of acceptance, whenever they happened; the receipt says how many and where."""
    late, early = outcome("late", happened=9.0), outcome("early", happened=1.0)
    assert log.append([late, early]) == Receipt(accepted=2, repeated=0, head=2)
    assert log.append([]) == Receipt(accepted=0, repeated=0, head=2)
    assert log.append(iter([outcome("third")])) == Receipt(accepted=1, repeated=0, head=3)
    assert [(record.position, getattr(record.fact, "name", "")) for record in log.read_since()] == [(1, "late"), (2, "early"), (3, "third")]  # fmt: skip
    assert log.head() == 3


def test_the_log_says_when_a_fact_arrived(make: Make) -> None:
    """The time of arrival is the log's own clock, and one for facts appended together."""
    clock = ManualClock(1000.0)
    log = make(clock=clock)
    log.append([outcome(happened=5.0), outcome(happened=7.0)])
    clock.advance(30.0)
    log.append([outcome(happened=6.0)])
    assert [(record.fact.happened, record.received) for record in log.read_since()] == [(5.0, 1000.0), (7.0, 1000.0), (6.0, 1030.0)]  # fmt: skip


def test_delivering_again_is_harmless(log: EventLog) -> None:
    """An id is accepted once: again later, again in the same call, and with another value."""
    first = outcome("first")
    assert log.append([first, first]) == Receipt(accepted=1, repeated=1, head=1)
    other = outcome("first", event_id=first.event_id, value=0.5, happened=first.happened + 1)
    assert log.append([first, other, outcome("new")]) == Receipt(accepted=1, repeated=2, head=2)
    assert [getattr(record.fact, "name", "") for record in log.read_since()] == ["first", "new"]
    assert [record.position for record in log.read_since()] == [1, 2]


def test_another_event_under_a_known_id_is_a_conflict_and_the_first_wins(log: EventLog) -> None:
    """What is somebody else's under the same id is not taken for a repetition: it is counted, once, and told of."""
    first = outcome("solved", unit="u1", event_id="x")
    log.append([first])
    strangers = [
        outcome("solved", unit="u2", event_id="x"),
        outcome("solved", unit="u1", event_id="x", experiment="other"),
        Turn(experiment=first.experiment, happened=5.0, unit="u1", event_id="x"),
    ]
    assert log.append([first, *strangers]) == Receipt(accepted=0, repeated=4, head=4, conflicts=3)
    assert log.append([*strangers, outcome("new")]) == Receipt(accepted=1, repeated=3, head=5, conflicts=0)
    told = [record.fact for record in log.read_since(kinds=("conflict",))]
    assert [(fact.experiment, fact.of, fact.differs) for fact in told if isinstance(fact, Conflict)] == [
        (first.experiment, "x", "unit"),
        ("other", "x", "experiment"),
        (first.experiment, "x", "kind, name"),
    ]
    assert [record.fact for record in log.read_since(kinds=("outcome",))][0] == first


def test_two_others_in_one_append_are_a_conflict_too(log: EventLog) -> None:
    """The first of the two is kept, in whatever order they would be compared."""
    one, two = outcome("solved", unit="u1", event_id="x"), outcome("solved", unit="u2", event_id="x")
    assert log.append([one, two, one]) == Receipt(accepted=1, repeated=2, head=2, conflicts=1)


def test_an_exposure_that_is_logged_again_is_no_conflict(log: EventLog) -> None:
    """The same unit in the same arm: when, why and with what attributes may be told anew."""
    given = {
        "experiment": "e",
        "digest": "d",
        "unit": "u",
        "unit_type": "user",
        "variant": "b",
        "event_id": "x",
    }
    log.append([Exposure(**given, happened=1.0, probability=0.5, reason="split")])
    again = Exposure(**given, happened=2.0, probability=0.5, reason="pinned", attributes={"tier": "free"})
    assert log.append([again]) == Receipt(accepted=0, repeated=1, head=1)
    moved = Exposure(**given | {"variant": "control"}, happened=2.0, probability=0.5, reason="split")
    assert log.append([moved]) == Receipt(accepted=0, repeated=1, head=2, conflicts=1)


BAD: dict[str, tuple[Callable[[], Fact], str]] = {
    "NaN as a value": (lambda: outcome(value=math.nan), "this outcome cannot be kept: a number in it is not finite"),
    "infinity inside evidence": (lambda: Gate(experiment="e", happened=1.0, digest="d", decision="pass", evidence={"a": [{"b": -math.inf}]}),
                                 "this gate cannot be kept: a number in it is not finite"),
    "a time that is none": (lambda: outcome(happened=math.nan), "this outcome cannot be kept: a number in it is not finite"),
    "half a character": (lambda: outcome(unit="\ud800"), "this outcome cannot be kept: str is not valid UTF-8: surrogates not allowed"),
    "half a character as a name": (lambda: outcome(experiment="\ud800"), "this outcome cannot be kept: str is not valid UTF-8: surrogates not allowed"),
    "an object": (lambda: Gate(experiment="e", happened=1.0, digest="d", decision="pass", evidence={"a": object()}),
                  "this gate cannot be kept: Type is not JSON serializable: object"),
    "NUL in a name": (lambda: outcome(experiment="a\0b"), "this outcome cannot be kept: its id and its experiment have at most 600 characters, and none of them is NUL"),
    "an endless id": (lambda: outcome(event_id="x" * 601), "this outcome cannot be kept: its id and its experiment have at most 600 characters, and none of them is NUL"),
    "a number that is too large": (lambda: outcome(value=2**70), "this outcome cannot be kept: Integer exceeds 64-bit range"),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD)
def test_facts_are_kept_all_or_none(name: str, log: EventLog) -> None:
    """One fact that cannot be kept keeps its whole delivery out, wherever it stands; the error says why."""
    make_bad, sentence = BAD[name]
    for facts in ([outcome(), make_bad()], [make_bad(), outcome()]):
        with pytest.raises(UsageError) as refused:
            log.append(facts)
        assert str(refused.value) == sentence
    assert log.head() == 0
    assert list(log.read_since()) == []
    assert log.append([outcome()]).head == 1


def test_a_source_that_breaks_leaves_nothing(log: EventLog) -> None:
    """An iterator that raises half-way has delivered nothing."""

    def facts() -> Iterator[Fact]:
        yield outcome()
        raise LookupError("gone")

    with pytest.raises(LookupError):
        log.append(facts())
    assert log.head() == 0


def test_a_kept_fact_cannot_be_changed_from_outside(log: EventLog) -> None:
    """The log keeps what the fact said when it was appended, not what its mappings say later."""
    evidence = {"cases": 5}
    log.append([Gate(experiment="e", happened=1.0, digest="d", decision="pass", evidence=evidence)])
    evidence["cases"] = 6
    (record,) = log.read_since()
    assert isinstance(record.fact, Gate)
    assert record.fact.evidence == {"cases": 5}


def test_reading_goes_on_where_it_stopped(log: EventLog) -> None:
    """After a position, of one experiment, of some kinds: any combination, always in order."""
    log.append([outcome(experiment="a"), exposure("a"), outcome(experiment="b"), exposure("b"), Turn(experiment="a", happened=1.0, unit="u")])  # fmt: skip

    def positions(*args: Any, **kwargs: Any) -> list[int]:
        return [record.position for record in log.read_since(*args, **kwargs)]

    assert positions() == positions(0) == positions(-1) == [1, 2, 3, 4, 5]
    assert positions(3) == [4, 5]
    assert positions(5) == positions(99) == []
    assert positions(experiment="a") == [1, 2, 5]
    assert positions(2, experiment="a") == [5]
    assert positions(kinds=["exposure"]) == [2, 4]
    assert positions(kinds=("exposure", "turn"), experiment="a") == [2, 5]
    assert positions(kinds=[]) == []
    assert positions(experiment="absent") == []
    assert positions(kinds=["unheard of"]) == []


def test_a_long_log_is_read_whole(log: EventLog) -> None:
    """Reading in pages loses and repeats nothing at their seams."""
    facts = [outcome(value=index, experiment="e" if index % 3 else "other") for index in range(6_001)]
    log.append(facts)
    assert [record.fact for record in log.read_since()] == facts
    assert [record.position for record in log.read_since(experiment="e")] == [
        i + 1 for i in range(6_001) if i % 3
    ]


def test_bodies_are_the_facts_without_the_objects(log: EventLog, monkeypatch: pytest.MonkeyPatch) -> None:
    """One kind of one experiment up to a position, in order and whole across pages: what reading as facts gives."""
    for module in ("bodies", "sqlite_reading", "postgres"):
        monkeypatch.setattr(
            f"equipoise.events.{module}.{'_PAGE' if module == 'bodies' else '_LONG_PAGE'}", 500
        )
    log.append([*FACTS, *(outcome(value=n, experiment="e" if n % 3 else "other") for n in range(2_000))])
    for kind in ("outcome", "exposure", "loss"):
        for until in (0, 5, 700, log.head(), log.head() + 9):
            told = [body for page in bodies_of(log, "e", kind, until=until) for body in page]
            assert told == [
                (record.position, record.fact.happened, record.received, encode(record.fact))
                for record in log.read_since(experiment="e", kinds=[kind])
                if record.position <= until
            ]


def test_writing_while_reading_disturbs_nobody(log: EventLog) -> None:
    """A reader in the middle of the log neither blocks a writer nor loses its place."""
    log.append([outcome(value=index) for index in range(2_500)])
    reading = log.read_since()
    first = next(reading)
    assert log.append([outcome(value=-1)]).head == 2_501
    rest = [record.position for record in reading]
    assert first.position == 1
    assert rest[:2_499] == list(range(2, 2_501))


def test_a_decision_on_old_news_is_refused(log: EventLog) -> None:
    """append_if accepts only while nothing was accepted after the position; else it says what is new."""
    log.append([outcome(), outcome()])
    with pytest.raises(StaleHeadError) as stale:
        log.append_if([outcome()], 1)
    assert str(stale.value) == (
        "the log moved on while you decided: you had read up to 1, and 2 is new. Look at what happened, then try again"
    )
    assert (stale.value.expected, stale.value.found) == (1, 2)
    assert isinstance(stale.value, RecordError)
    assert log.head() == 2
    assert log.append_if([outcome()], 2) == Receipt(accepted=1, repeated=0, head=3)


def test_traffic_does_not_outdate_a_decision(log: EventLog) -> None:
    """With an experiment and kinds only their facts count as news; the first of those is named."""
    log.append([outcome()])
    head = log.head()
    log.append([exposure(), exposure(), exposure("other"), Decision(experiment="other", happened=1.0, digest="d", look="", verdict="ship", because="")])  # fmt: skip
    decision = Decision(experiment="e", happened=1.0, digest="d", look="", verdict="hold", because="")
    assert log.append_if([decision], head, experiment="e", kinds=("decision", "look")).head == 6
    with pytest.raises(StaleHeadError) as stale:
        log.append_if([outcome()], head, experiment="e", kinds=("decision", "look"))
    assert stale.value.found == 6
    with pytest.raises(StaleHeadError):
        log.append_if([outcome()], head, experiment="e")
    with pytest.raises(StaleHeadError):
        log.append_if([outcome()], head, kinds=("exposure",))
    assert log.append_if([outcome()], head, kinds=()).accepted == 1


def test_of_two_operators_one_wins(log: EventLog) -> None:
    """Threads that read the same head and decide at once: exactly one decision is kept each time."""
    for _ in range(10):
        head = log.head()
        barrier = threading.Barrier(4)
        results: list[str] = []

        def decide(
            barrier: threading.Barrier = barrier, head: int = head, results: list[str] = results
        ) -> None:
            barrier.wait()
            log.append([exposure()])
            try:
                log.append_if([outcome()], head, experiment="e", kinds=("outcome",))
                results.append("won")
            except StaleHeadError:
                results.append("lost")

        threads = [threading.Thread(target=decide) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sorted(results) == ["lost", "lost", "lost", "won"]
    assert len(list(log.read_since(kinds=["outcome"]))) == 10


def test_threads_share_a_log(log: EventLog) -> None:
    """Whatever many threads append is all there, each delivery in one piece and in order."""

    def write(worker: int) -> None:
        for batch in range(20):
            log.append([outcome(unit=f"{worker}", value=3 * batch + index) for index in range(3)])

    threads = [threading.Thread(target=write, args=(worker,)) for worker in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    records = list(log.read_since())
    assert [record.position for record in records] == list(range(1, 361))
    facts = [record.fact for record in records if isinstance(record.fact, Outcome)]
    for worker in range(6):
        assert [fact.value for fact in facts if fact.unit == f"{worker}"] == list(range(60))
    for start in range(0, 360, 3):
        assert len({fact.unit for fact in facts[start : start + 3]}) == 1


def test_waiting_ends_with_news_or_with_time(log: EventLog) -> None:
    """wait returns the head at once where there is news, on news where it comes, and after the timeout else."""
    assert log.wait(0, timeout=0.0) == 0
    started = time.monotonic()
    assert log.wait(0, timeout=0.05) == 0
    assert time.monotonic() - started > 0.04
    timer = threading.Timer(0.05, lambda: log.append([outcome()]))
    timer.start()
    started = time.monotonic()
    assert log.wait(0, timeout=120.0) == 1
    assert time.monotonic() - started < 60.0
    timer.join()
    assert log.wait(0, timeout=120.0) == 1


# What the file on disk promises besides.


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "log.db"


def run(script: str, *args: str) -> forked.Process:
    """A process of its own that runs a few lines with the log module at hand."""
    prelude = (
        "import sys\nfrom equipoise.events.sqlite import SQLiteLog\nfrom equipoise.events.log import StaleHeadError\n"
        "from equipoise.events.facts import Outcome\n"
        "def fact(unit, value=True): return Outcome(experiment='e', happened=1.0, unit=unit, name='n', value=value)\n"
    )
    return forked.Process([sys.executable, "-c", prelude + script, *args])  # fmt: skip


def test_what_was_written_is_there_after_reopening(path: Path) -> None:
    """Facts, positions and times of arrival survive closing, and writing goes on after them."""
    log = SQLiteLog(path, clock=ManualClock(77.0))
    log.append(FACTS)
    before = list(log.read_since())
    log.close()
    log.close()
    again = SQLiteLog(path)
    assert list(again.read_since()) == before
    assert again.append(FACTS) == Receipt(accepted=0, repeated=len(FACTS), head=len(FACTS))
    assert again.append([outcome()]).head == len(FACTS) + 1
    again.close()


def test_every_commit_is_on_disk_before_it_is_acknowledged(path: Path) -> None:
    """The journal is a WAL, synchronous is FULL, and the file says whose it is."""
    log = SQLiteLog(path)
    ask = log._connection.execute
    assert ask("PRAGMA journal_mode").fetchone()[0] == "wal"
    assert ask("PRAGMA synchronous").fetchone()[0] == 2
    assert ask("PRAGMA user_version").fetchone()[0] == FORMAT == 2
    assert ask("PRAGMA application_id").fetchone()[0] == int.from_bytes(b"EQP1", "big")
    indexes = {row[2] for row in ask("PRAGMA index_list(events)").fetchall() if row[2]}
    assert indexes == {1}, "an id is there once"
    log.close()


def test_two_processes_write_at_once(path: Path) -> None:
    """Each fact of each process is there once, positions have no gap, and each process's own order is kept."""
    script = "log = SQLiteLog(sys.argv[1])\nfor i in range(60): log.append([fact(sys.argv[2], i), fact(sys.argv[2], i + 0.5)])\nlog.close()"
    writers = [run(script, str(path), name) for name in ("a", "b", "c")]
    for writer in writers:
        assert writer.communicate(timeout=60) == ("", "")
        assert writer.returncode == 0
    log = SQLiteLog(path, create=False)
    records = list(log.read_since())
    log.close()
    assert [record.position for record in records] == list(range(1, 361))
    for name in ("a", "b", "c"):
        values = [r.fact.value for r in records if isinstance(r.fact, Outcome) and r.fact.unit == name]
        assert values == [half / 2 for half in range(120)]


def test_many_may_create_one_log_together(tmp_path: Path) -> None:
    """Whoever opens a path first makes the log, and those a moment later open it; nobody is turned away.

    Connections of threads lock each other out of a file as those of processes do, and a barrier brings them
    there at the same moment.
    """
    together = 6
    barrier = threading.Barrier(together)

    def make(index: int) -> str:
        barrier.wait()
        try:
            log = SQLiteLog(tmp_path / f"{index}.db")
        except RecordError as error:
            return str(error)
        log.append([outcome()])
        log.close()
        return ""

    with ThreadPoolExecutor(together) as pool:
        for index in range(40):
            assert set(pool.map(make, [index] * together)) == {""}
            log = SQLiteLog(tmp_path / f"{index}.db", create=False)
            assert log.head() == together
            log.close()


def test_of_two_processes_that_decide_one_wins(path: Path) -> None:
    """append_if holds between processes as it does between threads."""
    log = SQLiteLog(path)
    log.append([outcome()])
    script = (
        "log = SQLiteLog(sys.argv[1])\nhead = log.head()\nprint(head, flush=True)\nsys.stdin.readline()\n"
        "try:\n    log.append_if([fact('u')], head); print('won')\nexcept StaleHeadError: print('lost')\n"
    )
    deciders = [run(script, str(path)) for _ in range(3)]
    for decider in deciders:
        assert decider.stdout is not None
        assert decider.stdout.readline() == "1\n"
    for decider in deciders:
        assert decider.stdin is not None
        decider.stdin.write("go\n")
        decider.stdin.flush()
    answers = sorted(decider.communicate(timeout=60)[0].strip() for decider in deciders)
    assert answers == ["lost", "lost", "won"]
    assert log.head() == 2
    log.close()


def test_waiting_sees_another_process(path: Path) -> None:
    """News from another process ends a wait."""
    log = SQLiteLog(path)
    writer = run("import time\ntime.sleep(0.1)\nSQLiteLog(sys.argv[1]).append([fact('u')])", str(path))
    assert log.wait(0, timeout=30.0) == 1
    writer.communicate(timeout=60)
    log.close()


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="this system has no SIGKILL")
def test_a_killed_writer_loses_nothing_it_was_promised(path: Path) -> None:
    """A writer is killed in the middle: every acknowledged delivery is there, and none is there in part."""
    script = (
        "log = SQLiteLog(sys.argv[1])\ni = 0\nwhile True:\n"
        "    log.append([fact(f'{i}', part) for part in range(5)])\n    print(i, flush=True)\n    i += 1\n"
    )
    writer = run(script, str(path))
    assert writer.stdout is not None
    acknowledged = [int(writer.stdout.readline()) for _ in range(40)]
    os.kill(writer.pid, signal.SIGKILL)
    rest, _ = writer.communicate(timeout=60)
    acknowledged += [int(line) for line in rest.splitlines() if line.strip()]
    log = SQLiteLog(path, create=False)
    parts: dict[str, list[object]] = {}
    for record in log.read_since():
        assert isinstance(record.fact, Outcome)
        parts.setdefault(record.fact.unit, []).append(record.fact.value)
    assert all(parts[f"{index}"] == [0, 1, 2, 3, 4] for index in acknowledged)
    assert all(part == [0, 1, 2, 3, 4] for part in parts.values())
    assert len(acknowledged) <= len(parts) <= len(acknowledged) + 1
    assert log.append([outcome()]).head == 5 * len(parts) + 1
    log.close()


def refused(path: Path | str, **options: Any) -> str:
    with pytest.raises(RecordError) as error:
        SQLiteLog(path, **options)
    return str(error.value)


def test_a_file_that_is_no_database_is_refused(path: Path) -> None:
    """And is left as it was."""
    path.write_bytes(b"just notes\n" * 200)
    assert refused(path) == f"{path} cannot be used as a log: file is not a database"
    assert path.read_bytes() == b"just notes\n" * 200


def test_the_database_of_another_program_is_refused(path: Path) -> None:
    """And is left as it was: no table, no journal mode, no number of ours in it."""
    for application in (0, 0x12345678):
        other = sqlite3.connect(path)
        other.execute("CREATE TABLE IF NOT EXISTS bookmarks (url TEXT)")
        other.execute(f"PRAGMA application_id = {application}")
        other.commit()
        other.close()
        before = path.read_bytes()
        assert refused(path) == f"{path} is an SQLite database of something else, not an event log"
        assert path.read_bytes() == before
        assert sorted(each.name for each in path.parent.iterdir()) == ["log.db"]


def test_the_log_of_a_later_version_is_refused(path: Path) -> None:
    """The message names both formats and what to do."""
    SQLiteLog(path).close()
    later = sqlite3.connect(path)
    later.execute("PRAGMA user_version = 7")
    later.commit()
    later.close()
    assert (
        refused(path)
        == f"{path} was written by a later version (format 7, this one reads 2). Upgrade equipoise"
    )


def test_a_folder_is_refused(tmp_path: Path) -> None:
    """A folder is no log, and a log needs a folder to be in."""
    assert refused(tmp_path) == f"{tmp_path} is a folder; name a file in it for the log"
    inside = tmp_path / "absent" / "log.db"
    assert refused(inside) == f"there is no folder {inside.parent} to keep the log in; make it first"


def test_a_log_that_must_exist_is_not_made(path: Path) -> None:
    """Without leave to create, a missing file is an error and stays missing."""
    sentence = f"there is no log at {path}. Register an experiment first, or name the log with --log"
    assert refused(path, create=False) == sentence
    with pytest.raises(RecordError) as error:
        open_log(path, create=False)
    assert str(error.value) == sentence
    assert not path.exists()


@pytest.mark.skipif(not Path("/proc/self").is_dir(), reason="needs a place where nobody may write: /proc")
def test_a_place_where_nobody_may_write_is_refused() -> None:
    """Not even for the superuser."""
    assert (
        refused("/proc/self/log.db")
        == "/proc/self/log.db cannot be used as a log: unable to open database file"
    )


@pytest.mark.skipif(os.geteuid() == 0, reason="the superuser may write everywhere")
def test_a_folder_without_permission_is_refused(tmp_path: Path) -> None:
    """A folder that may only be read holds no new log."""
    tmp_path.chmod(0o555)
    try:
        assert (
            refused(tmp_path / "log.db")
            == f"{tmp_path / 'log.db'} cannot be used as a log: unable to open database file"
        )
    finally:
        tmp_path.chmod(0o755)


def test_a_closed_log_says_so(path: Path) -> None:
    """Every verb after closing is a RecordError, never a silence and never the driver's own error."""
    log = SQLiteLog(path)
    log.close()
    for verb, call in {
        "written": lambda: log.append([outcome()]),
        "read": lambda: list(log.read_since()),
    }.items():
        with pytest.raises(RecordError) as error:
            call()
        assert str(error.value) == f"the log {path} could not be {verb}: Cannot operate on a closed database."
    calls: list[Callable[[], int]] = [log.head, lambda: log.wait(0, 1.0)]
    for again in calls:
        with pytest.raises(RecordError) as error:
            again()
        assert str(error.value) == f"the log {path} could not be read: Cannot operate on a closed database."


def test_a_fact_of_a_later_version_is_not_guessed_at(path: Path) -> None:
    """An unknown kind and a damaged body are errors with the event's id; unknown fields are passed over."""
    log = SQLiteLog(path)
    log.append([outcome(), outcome(), outcome()])
    ids = [record.fact.event_id for record in log.read_since()]
    ask = log._connection.execute
    body = json.loads(ask("SELECT body FROM events WHERE position = 1").fetchone()[0])
    ask("UPDATE events SET body = ? WHERE position = 1", (json.dumps(body | {"later": 1}),))
    assert next(log.read_since()).fact == outcome(event_id=ids[0])
    ask("UPDATE events SET kind = 'weather' WHERE position = 2")
    with pytest.raises(RecordError) as unknown:
        list(log.read_since(1))
    assert str(unknown.value) == (
        f"event {ids[1]} is a 'weather', which this version cannot read; it reads alert, allocation, conflict, decision, exposure, gate, impression, label, look, loss, outcome, "
        "purge, registration, score, shadow, transition, turn. Use the version that wrote it, or a later one"
    )
    for damage in (b'{"unit": "u"', b'{"unit": "u"}', b"[]", b"5"):
        ask("UPDATE events SET body = ? WHERE position = 3", (damage,))
        with pytest.raises(RecordError, match=f"^event {ids[2]} \\(outcome\\) is damaged: "):
            list(log.read_since(2))
    log.close()


def test_a_log_is_opened_by_its_name(tmp_path: Path) -> None:
    """`memory:` is the twin in memory; anything else is a path."""
    assert isinstance(open_log("memory:"), MemoryLog)
    for where in (tmp_path / "a.db", str(tmp_path / "b.db")):
        log = open_log(where)
        assert isinstance(log, SQLiteLog)
        log.close()
        assert Path(where).exists()


def test_a_log_that_was_deleted_or_replaced_takes_nothing_more(path: Path) -> None:
    """An open file outlives its name; what would be written to it nobody would find, so it is refused."""
    log, other = SQLiteLog(path), path.with_name("other.db")
    log.append(FACTS[:1])
    said = (
        f"the log {path} was deleted or replaced while it was open, and nothing more is written to it; "
        "put it back, or start again with the log that is right"
    )
    path.rename(other)
    for ask in (log.head, lambda: log.append(FACTS[1:2]), lambda: log.wait(0, 0.0)):
        with pytest.raises(LogGoneError) as refused:
            ask()
        assert str(refused.value) == said
    SQLiteLog(path).close()
    with pytest.raises(LogGoneError):
        log.append(FACTS[1:2])
    path.unlink()
    other.rename(path)
    assert log.append(FACTS[1:2]).accepted == 1
    log.close()


def test_another_working_folder_is_not_another_log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A log that was named from where one stood stays where it is when the process goes elsewhere."""
    monkeypatch.chdir(tmp_path)
    log = SQLiteLog("log.db")
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert log.append(FACTS[:1]).accepted == 1
    log.close()


def test_a_patient_log_opens_what_is_put_back_and_makes_nothing_new(path: Path) -> None:
    """A log deleted under a gateway is not replaced by an empty one; once it is back, it is written on."""
    patient = PatientLog(lambda: open_log(path), lambda: open_log(path, create=False))
    patient.append(FACTS[:1])
    away = path.with_name("away.db")
    path.rename(away)
    with pytest.raises(LogGoneError):
        patient.append(FACTS[1:2])
    with pytest.raises(RecordError):
        patient.append(FACTS[1:2])
    assert not path.exists()
    away.rename(path)
    assert patient.append(FACTS[1:2]).head == 2
    patient.close()
