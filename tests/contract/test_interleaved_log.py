"""Interleaved lists in every log there is: the same read-out, sealed or not, and nothing left of who is purged."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from random import Random
from typing import Any

import pytest

from equipoise.clock import ManualClock
from equipoise.conduct.purge import purge_unit
from equipoise.events.cold.sealing import seal
from equipoise.events.facts import Fact
from equipoise.events.log import EventLog, MemoryLog
from equipoise.events.opening import open_log
from equipoise.events.postgres import PostgresLog
from equipoise.events.sqlite import SQLiteLog
from equipoise.experiment.reading import read_canonical
from equipoise.measurement.measuring import measure_log
from equipoise.measurement.tally import Measurement
from equipoise.sdk.router import Router

SEARCH = read_canonical({
    "name": "search", "hypothesis": "Better.", "unit": "user", "method": "interleaving", "interleaving": {"length": 6},
    "variants": {"control": {}, "treatment": {}},
    "metrics": {"preference": {"priority": "primary", "kind": "proportion", "of": "outcome.click", "better": "higher"}},
})  # fmt: skip


def facts() -> list[Fact]:
    """Two hundred searches of forty people, as a router tells them."""
    draws, log = Random(4), MemoryLog(ManualClock(1000.0))
    with Router(SEARCH, log=log, clock=ManualClock(1000.0)) as router:
        for number in range(200):
            rankings = {name: draws.sample("abcdefghij", draws.randint(0, 9)) for name in ("control", "treatment")}  # fmt: skip
            shown = router.interleave(f"u{number % 40}", rankings, query=f"q{number}", wait=False)
            for item in shown.items:
                if draws.random() < 0.2:
                    shown.click(item)
    return [record.fact for record in log.read_since(0)]


FACTS = facts()


@pytest.fixture
def expected() -> Measurement:
    log = MemoryLog(ManualClock(1000.0))
    log.append(FACTS)
    return measure_log(SEARCH, log)


def sealed(path: Path) -> EventLog:
    """The log at a path, with all traffic in segments."""
    found = seal(path, hot_s=0.0, segment_facts=100, clock=ManualClock(5000.0))
    assert found.facts == len(FACTS)
    return SQLiteLog(path, create=False)


@pytest.mark.parametrize("kind", ["sqlite", "sealed", "postgres"])
def test_a_read_out_is_the_same_from_every_log(
    kind: str, expected: Measurement, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    """To the last digit, with the same hash of what was read."""
    log: EventLog
    if kind == "postgres":
        log = PostgresLog(request.getfixturevalue("postgres").database(), clock=ManualClock(1000.0))
    else:
        log = SQLiteLog(tmp_path / "l.db", clock=ManualClock(1000.0))
    log.append(FACTS)
    if kind == "sealed":
        log.close()
        log = sealed(tmp_path / "l.db")
    with closing(log):
        found = measure_log(SEARCH, log)
    assert found == expected
    assert found.read is not None
    assert found.read.facts["impression"] > 150


@pytest.mark.parametrize("before", [lambda path: None, lambda path: sealed(path).close()], ids=["hot", "sealed"])  # fmt: skip
def test_a_unit_that_is_purged_was_never_shown_a_list(before: Callable[[Path], Any], tmp_path: Path) -> None:
    """Its lists and its clicks are gone, and the read-out is that of the others."""
    path = tmp_path / "l.db"
    with closing(SQLiteLog(path, clock=ManualClock(1000.0))) as log:
        log.append(FACTS)
    before(path)
    purge_unit(str(path), "u7", by="anna", reason="asked for it")
    others = MemoryLog(ManualClock(1000.0))
    others.append([fact for fact in FACTS if fact.unit != "u7"])  # type: ignore[attr-defined]
    with closing(open_log(path)) as log:
        found = measure_log(SEARCH, log)
        kinds = {record.fact.kind for record in log.read_since(0) if getattr(record.fact, "unit", None) == "u7"}  # fmt: skip
    assert kinds == set()
    rest = measure_log(SEARCH, others)
    assert (found.tallies, found.lists) == (rest.tallies, rest.lists)
