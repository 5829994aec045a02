"""A verdict rule of one's own, carried out: what it decides is recorded, ends what it ends, and is computed again."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from equipoise.clock import ManualClock
from equipoise.conduct.ledger import registered
from equipoise.conduct.look import look
from equipoise.conduct.register import register
from equipoise.conduct.verify import verify
from equipoise.events.facts import Decision, Exposure, Look, Outcome, Turn
from equipoise.events.sqlite import SQLiteLog
from equipoise.experiment.definition import Experiment
from equipoise.experiment.reading import read_definition

HEAD = """
name: cheaper
hypothesis: A smaller model costs less and resolves no less.
changes: [config]
unit: {type: user}
variants: {control: {config: {x: 1}}, b: {config: {x: 2}}}
metrics:
  won: {priority: primary, kind: proportion, of: outcome.won, better: higher, baseline: 0.5, margin: 10pp}
  cost: {priority: guardrail, kind: mean, of: turn.cost_usd, better: lower, margin: 0.05, baseline: 0.2, spread: 0.1}
plan: {looks: [0.5, 1.0]}
verdict:
  - {when: {health: invalid}, then: invalid}
  - {when: {cost: breached}, then: hold, because: the point was to save}
  - {when: {look: peek}, then: keep running}
  - {when: {primary: not_estimable}, arms: any, then: invalid}
  - {when: {look: last, primary: non_inferior, cost: held}, then: ship}
  - {when: {look: last}, then: hold}
  - {then: keep running}
"""


@pytest.fixture
def log(tmp_path: Path) -> SQLiteLog:
    return SQLiteLog(tmp_path / "log.db")


@pytest.fixture
def design(tmp_path: Path) -> Experiment:
    (tmp_path / "e.yaml").write_text(HEAD, "utf-8")
    return read_definition(tmp_path / "e.yaml").experiment


def serve(log: SQLiteLog, design: Experiment, units: int, *, start: int = 0, dearer: float = -0.05) -> None:
    rng = random.Random(start)
    for number in range(start, start + units):
        arm = ("control", "b")[number % 2]
        common = {"experiment": "cheaper", "happened": float(number), "unit": f"u{number}"}
        log.append(
            [
                Exposure(**common, digest=design.digest, unit_type="user", variant=arm, probability=0.5, reason="split"),
                Turn(**common, variant=arm, cost_usd=max(0.0, rng.gauss(0.2, 0.05) + dearer * (number % 2)), error=False),
                Outcome(**common, name="won", value=rng.random() < 0.5),
            ]
        )  # fmt: skip


def test_what_is_not_worse_ships_at_the_last_look_and_is_computed_again(
    log: SQLiteLog, design: Experiment
) -> None:
    """By the registered rule, at the information the margin asks for; every look comes out the same again."""
    register(log, design, by="test", clock=ManualClock(1e6))
    serve(log, design, 500)
    first = look(log, "cheaper", clock=ManualClock(1e6))
    assert (first.verdict.word, first.verdict.branch) == ("keep running", 7)
    serve(log, design, 500, start=500)
    last = look(log, "cheaper", clock=ManualClock(1e6 + 1))
    assert last.findings.look.final
    assert (last.verdict.word, last.verdict.arm, last.verdict.branch) == ("ship", "b", 5)
    assert last.verdict.because == "won is not worse by more than 10.000 pp in b, and cost is held"
    assert [(each.verdict, each.answer) for each in verify(log, "cheaper").looks] == [
        ("keep running", "same"),
        ("ship", "same"),
    ]


def test_a_hold_for_harm_at_a_peek_is_recorded_and_ends_it(log: SQLiteLog, design: Experiment) -> None:
    """Otherwise nobody could compute again why an experiment was ended between its looks."""
    register(log, design, by="test", clock=ManualClock(1e6))
    serve(log, design, 120, dearer=0.3)
    held = look(log, "cheaper", clock=ManualClock(1e6))
    assert not held.findings.look.due
    assert (held.verdict.word, held.verdict.branch) == ("hold", 2)
    assert held.verdict.because.startswith(
        "the point was to save: cost is breached in b: it is worse by more than "
    )
    kinds = [type(record.fact) for record in log.read_since(kinds=("look", "decision"))]
    assert kinds == [Look, Decision]
    assert registered(log, "cheaper")[2].finished
    assert [each.answer for each in verify(log, "cheaper").looks] == ["same"]
