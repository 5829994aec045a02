"""Operators in processes of their own, on one log: of those who decide at the same moment one wins, and the rest are told."""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

import forked
import pytest

from equipoise.conduct.ledger import state_of
from equipoise.conduct.register import register
from equipoise.events.facts import Exposure, Transition
from equipoise.events.log import EventLog
from equipoise.events.opening import open_log
from equipoise.experiment.reading import read_canonical
from equipoise.rollout.stages import State, fold

BASE: dict[str, Any] = {
    "name": "demo",
    "hypothesis": "One of two wins.",
    "unit": {"type": "conversation", "id": "uuid7"},
    "changes": ["model"],
    "variants": {"control": {"model": "a"}, "b": {"model": "b"}, "c": {"model": "c"}},
    "metrics": {"resolution_rate": {"priority": "primary"}},
    "rollout": {"stages": ["canary", "ab"]},
}
DEMO = read_canonical(BASE)

# An operator who looks, waits until all have looked, and writes. Says what became of it.
OPERATOR = """
import sys
from equipoise.conduct import move
from equipoise.conduct.enter import enter
from equipoise.events.log import StaleHeadError
from equipoise.events.opening import open_log

where, verb, by = sys.argv[1:]
log = open_log(where, create=False)
append_if, first = log.append_if, True


def waiting(*args, **kwargs):
    global first
    if first:
        first = False
        print("looked", flush=True)
        sys.stdin.readline()
    return append_if(*args, **kwargs)


log.append_if = waiting
try:
    match verb:
        case "enter":
            enter(log, "demo", "ab", by=by)
        case "remove":
            move.remove(log, "demo", "c", by=by, reason="x")
        case "roll_back":
            move.roll_back(log, "demo", by=by, reason="x")
        case "ship":
            move.ship(log, "demo", "b", by=by, reason="x")
        case _:
            getattr(move, verb)(log, "demo", by=by)
    print("done", flush=True)
except StaleHeadError:
    print("told", flush=True)
"""


@pytest.fixture(params=["sqlite", "postgres"])
def where(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The place of a log with the experiment in its canary."""
    place = str(tmp_path / "log.db") if request.param == "sqlite" else request.getfixturevalue("database")
    log = open_log(place)
    register(log, DEMO, by="ann")
    log.append(
        Exposure(experiment="demo", happened=time.time(), digest=DEMO.digest, unit=f"u{n}", unit_type="conversation",
                 variant=("control", "b", "c")[n % 3], probability=0.3, reason="split")
        for n in range(30)
    )  # fmt: skip
    log.close()
    return place


def operator(where: str, verb: str, by: str) -> forked.Process:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    return forked.Process([sys.executable, "-c", OPERATOR, where, verb, by], env=environment)  # fmt: skip


def said(process: forked.Process) -> str:
    return process.stdout.readline().strip()


def go(process: forked.Process) -> None:
    process.stdin.write("\n")
    process.stdin.flush()


def transitions(log: EventLog) -> list[Transition]:
    return [each.fact for each in log.read_since() if isinstance(each.fact, Transition)]


@pytest.mark.parametrize(
    "verbs",
    [("kill", "ship"), ("enter", "roll_back"), ("remove", "remove"), ("pause", "pause", "kill", "resume")],
    ids="-".join,
)
def test_of_those_who_decide_at_once_exactly_one_moves(where: str, verbs: tuple[str, ...]) -> None:
    """All have looked before anybody writes: one is done, every other is told, and the log holds the one's move alone."""
    log = open_log(where)
    before = len(transitions(log))
    operators = {f"op{n}": operator(where, verb, f"op{n}") for n, verb in enumerate(verbs)}
    try:
        assert [said(each) for each in operators.values()] == ["looked"] * len(verbs)
        for each in operators.values():
            go(each)
        ends = {by: said(each) for by, each in operators.items()}
        assert sorted(ends.values()) == ["done"] + ["told"] * (len(verbs) - 1)
        (winner,) = (by for by, end in ends.items() if end == "done")
        assert {each.by for each in transitions(log)[before:]} == {winner}
        state = state_of(log, "demo")
        meant = {
            "kill": ("canary", "redirected"), "ship": ("shipped", "open"), "enter": ("ab", "open"), "pause": ("canary", "paused"),
            "roll_back": ("rolled back", "redirected"), "remove": ("canary", "open"), "resume": ("canary", "open"),
        }  # fmt: skip
        assert (state.stage, state.service) == meant[verbs[int(winner[2:])]]
    finally:
        for each in operators.values():
            with each:
                each.kill()
        log.close()


@pytest.mark.parametrize("verb", ["kill", "roll_back", "remove"])
def test_killed_before_or_after_its_first_write_a_verb_is_undone_or_done(where: str, verb: str) -> None:
    """SIGKILL before the write leaves nothing; soon after it the move, with or without its count; never anything between."""
    log = open_log(where)
    head = log.head()
    gone = operator(where, verb, "gone")
    assert said(gone) == "looked"
    gone.send_signal(signal.SIGKILL)
    gone.wait()
    assert log.head() == head
    quick = operator(where, verb, "quick")
    assert said(quick) == "looked"
    go(quick)
    deadline = time.monotonic() + 60.0
    while log.head() == head and time.monotonic() < deadline:
        time.sleep(0.001)
    quick.send_signal(signal.SIGKILL)
    quick.wait()
    written = [record.fact for record in log.read_since(head)]
    assert len(written) in ((1, 2) if verb != "remove" else (2, 3))
    for process in (gone, quick):
        with process:
            process.wait()
    # Every prefix is a state: fact by fact as all together.
    state = State()
    for record in log.read_since():
        state = fold([record.fact], state)
    assert state == state_of(log, "demo")
    expected = {
        "kill": ("canary", "redirected"),
        "roll_back": ("rolled back", "redirected"),
        "remove": ("canary", "open"),
    }
    assert (state.stage, state.service) == expected[verb]
    assert set(state.allocations[-1].shares) == (
        {"control", "b"} if verb == "remove" else {"control", "b", "c"}
    )
    log.close()
