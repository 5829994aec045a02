"""What is kept of windows beside a log, in a file and in PostgreSQL: one contract."""

from __future__ import annotations

import sqlite3

import pytest

from equipoise.errors import RecordError
from equipoise.events.opening import open_windows
from equipoise.events.windows import CellKey, Folding, Kept, KeptDecision, Member, unit_key

FIRST = CellKey(28_333_335, "control", "turn.latency_s")
SECOND = CellKey(28_333_336, "treatment", "turn.latency_s")
SAID = KeptDecision(watch=0, arm="treatment", ends=1_700_000_400, body='{"action": "alert"}')


def folding(position: int = 7, **more) -> Folding:
    given = {
        "event_id": f"e-{position}",
        "state": '{"a": 1}',
        "cells": {FIRST: "[1]", SECOND: "[2]"},
        "units": {},
    }
    return Folding(position=position, **given | more)


def test_what_a_batch_changed_is_read_back_by_another_process(place):
    """Position, state, cells, units and decisions; another revision of the experiment has none of them."""
    windows = open_windows(place)
    assert windows.read("d1") == Kept()
    units = {unit_key("u"): Member("control", 5.25), -(2**63): Member("treatment", 1.7e9)}
    assert windows.save("d1", 0, folding(units=units, decisions=[SAID]))
    windows.close()
    again = open_windows(place)
    kept = Kept(revision=1, position=7, event_id="e-7", state='{"a": 1}', cells={FIRST: "[1]", SECOND: "[2]"})
    assert again.read("d1") == kept
    assert again.members("d1", [unit_key("u"), unit_key("nobody"), -(2**63)]) == units
    assert again.decisions("d1") == (SAID,)
    assert (again.read("d2"), again.members("d2", [unit_key("u")]), again.decisions("d2")) == (Kept(), {}, ())
    again.close()


def test_a_fold_moves_from_what_was_read_and_keeps_all_or_nothing(place):
    """Of two who read the same revision one moves it; of the other nothing is kept, and it reads what the first wrote."""
    one, other = open_windows(place), open_windows(place)
    assert one.save("d1", 0, folding())
    late = folding(
        9, cells={FIRST: "[9]"}, units={1: Member("control", 1.0)}, decisions=[SAID], since=SECOND.minute
    )
    assert not other.save("d1", 0, late)
    assert other.read("d1") == one.read("d1")
    assert (other.read("d1").position, other.members("d1", [1]), other.decisions("d1")) == (7, {}, ())
    assert other.save("d1", 1, late)
    assert not one.save("d1", 1, folding(10))
    # Minutes before `since` are gone, the one that was written with it too.
    assert one.read("d1") == Kept(
        revision=2, position=9, event_id="e-9", state='{"a": 1}', cells={SECOND: "[2]"}
    )
    one.close()
    other.close()


def test_more_than_one_statement_holds(place):
    """Two and a half thousand cells, units and decisions in one transaction, and all of the units asked for."""
    windows = open_windows(place)
    cells = {CellKey(minute, "control", "turn"): str(minute) for minute in range(2_500)}
    units = {number: Member("control", float(number)) for number in range(2_500)}
    decisions = [KeptDecision(watch=1, arm="b", ends=number, body="{}") for number in range(2_500)]
    assert windows.save("d1", 0, folding(cells=cells, units=units, decisions=decisions))
    assert windows.read("d1").cells == cells
    assert windows.members("d1", range(2_500)) == units
    assert windows.decisions("d1") == tuple(decisions)
    windows.close()


def test_a_decision_is_carried_out_once(place):
    """Who notes it first is told so, and nobody else; what is open is what nobody noted."""
    windows = open_windows(place)
    later = KeptDecision(watch=0, arm="treatment", ends=1_700_000_700, body="{}")
    # The same window again is the same decision: the first stays.
    assert windows.save("d1", 0, folding(decisions=[SAID, later]))
    assert windows.save(
        "d1", 1, folding(8, decisions=[KeptDecision(watch=0, arm="treatment", ends=SAID.ends, body="other")])
    )
    assert windows.decisions("d1", open_only=True) == (SAID, later)
    assert [windows.carried("d1", 0, "treatment", SAID.ends) for _ in range(2)] == [True, False]
    assert not windows.carried("d1", 5, "treatment", SAID.ends)
    assert windows.decisions("d1", open_only=True) == (later,)
    first, _ = windows.decisions("d1")
    assert (first.body, first.carried is not None) == (SAID.body, True)
    windows.close()


def test_no_unit_stands_in_the_file(tmp_path):
    """What is purged from the log must not stay beside it: neither its name nor anything it is part of."""
    windows = open_windows(tmp_path / "log.db")
    assert windows.save("d1", 0, folding(units={unit_key("ann@example.org"): Member("control", 1.0)}))
    windows.close()
    assert b"ann@example" not in (tmp_path / "log.db.windows").read_bytes()


def test_a_file_of_something_else_is_not_written_to(tmp_path):
    """Another program's database, the cursors of an outbox, and windows of a later version each have their sentence."""
    path = tmp_path / "log.db.windows"
    with sqlite3.connect(path) as other:
        other.execute("CREATE TABLE theirs (a)")
    other.close()
    with pytest.raises(RecordError) as caught:
        open_windows(tmp_path / "log.db")
    assert (
        str(caught.value) == f"{path} is an SQLite database of something else, not the windows of guardrails"
    )
    open_windows(tmp_path / "new.db").close()
    with sqlite3.connect(tmp_path / "new.db.windows") as later:
        later.execute("UPDATE equipoise_windows_format SET format = 2")
    later.close()
    with pytest.raises(RecordError) as caught:
        open_windows(tmp_path / "new.db")
    assert str(caught.value) == (
        f"{tmp_path / 'new.db.windows'} was written by a later version (format 2, this one reads 1). Upgrade equipoise"
    )
