"""Purging a unit from a log in PostgreSQL: it is read no more, a count of it stays, everybody else is as before."""

from __future__ import annotations

import random
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from sealed import exposure, outcome
from typer.testing import CliRunner

from equipoise.cli.main import app
from equipoise.clock import ManualClock
from equipoise.conduct.purge import purge_unit
from equipoise.errors import RecordError, UsageError
from equipoise.events.facts import Conflict, Fact, Gate, Purge, Turn
from equipoise.events.log import Receipt
from equipoise.events.opening import open_texts
from equipoise.events.postgres import PostgresLog
from equipoise.events.purged import Purged
from equipoise.events.texts import Text, unit_digest

UNIT = "zoë@example.org"
KEPT = (
    "PostgreSQL frees the bytes with its own vacuum, and its write-ahead log, replicas and backups keep them for as long "
    "as those are kept"
)


@pytest.fixture
def log(database: str) -> Iterator[PostgresLog]:
    opened = PostgresLog(database, clock=ManualClock(50.0))
    yield opened
    opened.close()


def story() -> list[Fact]:
    """Facts of three units in two experiments, one of whom another one speaks of, and some of a ledger."""
    found: list[Fact] = []
    for index in range(30):
        unit, experiment = (UNIT, "other", f"not {UNIT}")[index % 3], "ab"[index % 2]
        found += [
            exposure(experiment, unit=unit),
            Turn(experiment=experiment, happened=1.0, unit=unit, trace=UNIT),
        ]
        if index % 5 == 0:
            found.append(Gate(experiment=experiment, happened=1.0, digest="d", decision="pass", evidence={}))
    return found


def mine(fact: Fact) -> bool:
    return getattr(fact, "unit", None) == UNIT


def rows(postgres: Any, database: str, table: str) -> list[Any]:
    return list(postgres.ask(f"SELECT * FROM {database.rpartition('=')[2]}.equipoise_events{table}"))


def test_a_purged_unit_is_gone_and_counted(log: PostgresLog, database: str, postgres: Any) -> None:
    """Its rows are deleted; how many of which kind stands in the log, and whose they were nowhere."""
    facts = story()
    log.append(facts)
    before = list(log.read_since())
    assert log.purge("nobody", by="ann") == Purged(0, (), 0, None)
    assert list(log.read_since()) == before
    done = log.purge(UNIT, by="ann", reason="asked to")
    assert done == Purged(20, ("a", "b"), 0, KEPT)
    after = list(log.read_since())
    assert after[:-2] == [record for record in before if not mine(record.fact)]
    for record, experiment in zip(after[-2:], "ab", strict=True):
        own = [each for each in before if mine(each.fact) and each.fact.experiment == experiment]
        assert record.fact == Purge(
            experiment=experiment,
            happened=50.0,
            event_id=record.fact.event_id,
            facts={"exposure": 5, "turn": 5},
            by="ann",
            reason="asked to",
            first=own[0].position,
            last=own[-1].position,
        )
    assert [record.position for record in after[-2:]] == [len(facts) + 1, len(facts) + 2]
    assert log.head() == len(facts) + 2
    gone = rows(postgres, database, "_gone")
    assert {len(row["digest"]) for row in gone} == {16}
    assert len(gone) == 20


def test_what_was_purged_is_not_accepted_again(log: PostgresLog, database: str) -> None:
    """Not by whoever had the log open, nor by whoever opens it; what the unit does from now on is new."""
    facts = story()
    log.append(facts)
    other = PostgresLog(database, create=False)
    other.purge(UNIT, by="ann")
    for each in (log, other):
        assert each.append(facts) == Receipt(0, len(facts), len(facts) + 2)
    assert log.append([*facts, outcome(unit=UNIT)]).accepted == 1
    assert log.purge(UNIT, by="ann").facts == 1
    assert log.purge(UNIT, by="ann") == Purged(0, (), 0, None)
    other.close()


def test_a_log_is_told_of_a_purge_by_its_format_alone(log: PostgresLog, database: str, postgres: Any) -> None:
    """Until something is purged an earlier version may write on; from then on it would bring back what went."""
    log.append(story())
    assert rows(postgres, database, "_head")[0]["format"] == 1
    log.purge("nobody", by="ann")
    assert rows(postgres, database, "_head")[0]["format"] == 1
    log.purge(UNIT, by="ann")
    assert rows(postgres, database, "_head")[0]["format"] == 2


def test_a_conflict_under_the_id_of_a_purged_fact_goes_with_it(log: PostgresLog) -> None:
    """An id may say whose it is; what was told of other ids stays."""
    log.append([outcome(unit=UNIT, event_id="theirs"), outcome(unit="other", event_id="another")])
    log.append([outcome(unit="x", event_id="theirs"), outcome(unit="y", event_id="another")])
    assert [record.fact.of for record in log.read_since(kinds=["conflict"])] == ["theirs", "another"]
    assert log.purge(UNIT, by="ann").facts == 2
    left = [record.fact for record in log.read_since(kinds=["conflict"])]
    assert [isinstance(fact, Conflict) and fact.of for fact in left] == ["another"]


def test_a_purge_beside_writers_takes_all_that_came_before_it(log: PostgresLog, database: str) -> None:
    """Four writers go on; no position is given twice, and what is left of the unit came after the purge was recorded."""
    log.append([outcome(unit=UNIT) for _ in range(100)])
    stop = threading.Event()

    def write(seed: int) -> None:
        rng = random.Random(seed)
        own = PostgresLog(database, create=False)
        while not stop.is_set():
            own.append([outcome(unit=rng.choice((UNIT, "other")))])
        own.close()

    writers = [threading.Thread(target=write, args=(seed,)) for seed in range(4)]
    for writer in writers:
        writer.start()
    try:
        done = log.purge(UNIT, by="ann")
    finally:
        stop.set()
        for writer in writers:
            writer.join()
    read = list(log.read_since())
    (tomb,) = [record for record in read if isinstance(record.fact, Purge)]
    assert isinstance(tomb.fact, Purge)
    assert tomb.fact.facts == {"outcome": done.facts}
    assert done.facts >= 100
    assert all(record.position > tomb.position for record in read if mine(record.fact))
    assert len({record.position for record in read}) == len(read)
    assert len(read) + done.facts == log.head()


def test_the_command_purges_facts_and_texts(log: PostgresLog, database: str) -> None:
    """The same as for a file, and it says what PostgreSQL keeps; the password is not shown."""
    log.append([outcome(unit=UNIT), outcome(unit="other")])
    texts = open_texts(database)
    common: dict[str, Any] = {"kind": "turn", "experiment": "e", "digest": "d", "variant": "b", "happened": 1.0, "expires": 9e9, "probability": 1.0}  # fmt: skip
    texts.keep(
        [Text(event_id=each, trace=each, unit=unit_digest(each), **common) for each in (UNIT, "other")]
    )
    told = CliRunner().invoke(app, ["log", "purge", UNIT, "--log", database])
    place = database.partition("?")[0]
    assert told.stdout == f"1 facts purged from e; {place} keeps how many, and no more\n1 texts purged\n"
    assert told.stderr == f"warning: {KEPT}\n"
    assert [text.event_id for text in texts.of_traces([UNIT, "other"], now=2.0)] == ["other"]
    texts.close()
    again = CliRunner().invoke(app, ["log", "purge", UNIT, "--log", database])
    assert again.stdout == f"nothing to purge: {place} holds no fact of this unit\n"


def test_there_must_be_a_log(database: str) -> None:
    """A purge makes none, and one in memory is nobody else's."""
    with pytest.raises(RecordError, match=r"^there is no log at "):
        purge_unit(database, UNIT, by="ann")
    with pytest.raises(UsageError) as error:
        purge_unit("memory:", UNIT, by="ann")
    assert str(error.value) == "a log in memory is gone with its process; name the log with --log"
