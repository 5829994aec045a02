"""`equipoise rollout NAME VERB`: what it shows, what it does, and what it says where it does nothing."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from equipoise.cli.main import app
from equipoise.clock import ManualClock
from equipoise.conduct.enter import enter
from equipoise.conduct.ledger import state_of
from equipoise.conduct.move import pause
from equipoise.conduct.register import register
from equipoise.errors import EquipoiseError, GateError, RecordError, UsageError
from equipoise.events.facts import Alert, Exposure, Transition
from equipoise.events.opening import open_log
from equipoise.experiment.definition import Experiment
from equipoise.experiment.reading import read_canonical
from equipoise.rollout.stages import State

BASE: dict[str, Any] = {
    "name": "demo",
    "hypothesis": "A newer model resolves more.",
    "unit": {"type": "conversation", "id": "uuid7"},
    "changes": ["model"],
    "variants": {"control": {"model": "a"}, "treatment": {"model": "b"}},
    "metrics": {"resolution_rate": {"priority": "primary"}},
    "rollout": {"stages": ["canary", "ab"], "canary": {"coverage": "5%"}},
}


@pytest.fixture
def where(tmp_path: Path) -> Path:
    """A log with the experiment in its canary, registered at 1,000,000 seconds."""
    path = tmp_path / "log.db"
    log = open_log(path)
    register(log, read_canonical(BASE), by="ann", clock=ManualClock(1e6))
    log.close()
    return path


def asked(where: Path, *words: str) -> Any:
    result = CliRunner().invoke(app, ["rollout", *words, "--log", str(where), "--json"])
    if result.exception is not None:
        raise result.exception
    return json.loads(result.stdout)


def said(where: Path, *words: str) -> str:
    result = CliRunner().invoke(app, ["rollout", *words, "--log", str(where)])
    assert result.exception is None, result.exception
    return result.stdout


def state(where: Path) -> State:
    log = open_log(where)
    try:
        return state_of(log, "demo")
    finally:
        log.close()


def exposed(experiment: Experiment, unit: str, variant: str, epoch: int) -> Exposure:
    return Exposure(
        experiment="demo", happened=1e6, digest=experiment.digest, unit=unit, unit_type="conversation",
        variant=variant, probability=0.5, reason="split", epoch=epoch,
    )  # fmt: skip


def test_the_status_tells_stage_service_epochs_and_exposures(where: Path) -> None:
    """Each unit counts once, with its first exposure to the revision that runs; epochs stand with start and shares."""
    experiment = read_canonical(BASE)
    asked(where, "demo", "ramp", "25%")
    log = open_log(where)
    other = exposed(experiment, "w", "control", 0)
    log.append(
        [
            exposed(experiment, "u", "control", 0),
            exposed(experiment, "u", "treatment", 1),
            exposed(experiment, "v", "treatment", 1),
            Exposure(**{name: getattr(other, name) for name in ("experiment", "happened", "unit", "unit_type", "variant", "probability", "reason")}, digest="d" * 64),
        ]
    )  # fmt: skip
    log.close()
    found = asked(where, "demo")
    assert found == asked(where, "demo", "status")
    starts = found["epochs"][1].pop("starts")
    assert starts > 1e6
    ahead, health = found.pop("ahead"), found.pop("health")
    assert ahead == {"stage": "ab", "blocks": [], "command": "equipoise rollout demo enter ab"}
    assert [(each["name"], each["status"]) for each in health] == [
        ("sample ratio", "ok"), ("units in two variants", "note"),
    ]  # fmt: skip
    even = {"control": "1/2", "treatment": "1/2"}
    assert found == {
        "experiment": experiment.identity,
        "stage": "canary",
        "service": "open",
        "shipped": None,
        "exposed": {"control": 1, "treatment": 1},
        "counted": {"control": 0, "treatment": 0},
        "warmth": {},
        "verdict": None,
        "planned": None,
        "units_per_day": None,
        "next_look": {
            "number": 1, "of": 1, "fraction": 1.0, "units": None, "expected": None,
            "because": "no size could be planned, so nobody knows how many units that takes",
            "noun": "units",
        },
        "redirects": {},
        "watches": [],
        "alerts": [],
        "shadow": None,
        "weights": None,
            "epochs": [
            {"epoch": 0, "starts": 1e6, "shares": even, "coverage": "1/20", "exposed": {"control": 1, "treatment": 0}},
            {"epoch": 1, "shares": even, "coverage": "1/4", "exposed": {"control": 0, "treatment": 1}},
        ],
    }  # fmt: skip
    lines = said(where, "demo").splitlines()
    assert lines[:4] == [
        f"{experiment.identity}  (stage canary, service open)",
        "exposed: control 0, treatment 0",
        "in the canary, and no part of the estimate: control 1, treatment 1",
        (
            "next look: 1 of 1, at 100% of the planned information; no size could be planned, so nobody knows how many units "
            "that takes"
        ),
    ]
    assert lines[5].split() == ["epoch", "starts", "coverage", "shares", "exposed"]
    assert "1970-01-12 13:46:40 UTC" in lines[6]
    assert lines[6].split()[-6:] == ["5.00%", "control", "1/2,", "treatment", "1/2", "1"]
    assert lines[-5:] == [
        "ok       sample ratio: the units follow the shares (p = 1)",
        "note     units in two variants: 1 of 2 units were exposed to more than one variant; the first counts",
        "",
        "ab may follow:",
        "  equipoise rollout demo enter ab",
    ]


def test_each_verb_does_what_it_is_called(where: Path) -> None:
    """A way through all of them: the answer tells stage, service and epoch, and the log agrees."""
    for words, stage, service, epoch in [
        (["ramp", "1/4"], "canary", "open", 1),
        (["pause"], "canary", "paused", None),
        (["resume"], "canary", "open", None),
        (["enter", "ab"], "ab", "open", 2),
        (["reweight", "control=1/4", "treatment=75%"], "ab", "open", 3),
        (["reweight", "control=1"], "ab", "open", 4),
        (["kill"], "ab", "redirected", None),
        (["resume"], "ab", "open", None),
        (["ship", "treatment", "--reason", "it is better"], "shipped", "open", None),
        (["kill", "--reason", "it is not"], "shipped", "redirected", None),
        (["roll-back", "--reason", "an outage"], "rolled back", "redirected", None),
    ]:
        done = asked(where, "demo", *words, "--by", "bob")
        assert (done["stage"], done["service"], done["epoch"]) == (stage, service, epoch), words
        assert (done["starts"] is None) == (epoch is None)
        found = state(where)
        assert (found.stage, found.service) == (stage, service)
    last = found.allocations[-1]
    assert (dict(last.shares), last.coverage, last.by) == ({"control": "1"}, "1", "bob")
    log = open_log(where)
    told = [each.fact for each in log.read_since() if isinstance(each.fact, Transition)][-1]
    log.close()
    assert (told.by, told.reason) == ("bob", "an outage")
    assert "shipped: treatment\n" in said(where, "demo")


def test_a_rollback_may_spare_the_conversations_that_go_on(where: Path) -> None:
    """With --new-conversations nobody new enters, and nobody is redirected; what was killed stays killed."""
    words = ("demo", "roll-back", "--new-conversations", "--reason", "slow")
    assert asked(where, *words)["service"] == "paused"
    asked(where, "demo", "kill")
    assert asked(where, *words)["service"] == "redirected"


def test_people_are_told_in_a_sentence(where: Path) -> None:
    """One line about how it stands, and one about the epoch that was opened."""
    identity = read_canonical(BASE).identity
    assert said(where, "demo", "pause") == f"{identity} is in the stage canary, service paused\n"
    one, two = said(where, "demo", "ramp", "0.5").splitlines()
    assert one == f"{identity} is in the stage canary, service paused"
    assert two.startswith("  epoch 1 starts at 2")
    assert two.endswith(" UTC")


IDENTITY = read_canonical(BASE).identity
REFUSED: list[tuple[list[str], type[EquipoiseError], str]] = [
    (["demo", "stop"], UsageError, "'stop' is nothing that can be done; accepted: status, shadow, enter, ramp, reweight, weigh, remove, pause, resume, kill, roll-back, ship"),
    (["demo", "rollback"], UsageError, "'rollback' is nothing that can be done; accepted: status, shadow, enter, ramp, reweight, weigh, remove, pause, resume, kill, roll-back, ship; did you mean 'roll-back'?"),
    (["demo", "pause", "now"], UsageError, "pause takes nothing more, and this was given: now"),
    (["demo", "enter"], UsageError, "say it as: equipoise rollout NAME enter STAGE"),
    (["demo", "ramp", "5%", "25%"], UsageError, "say it as: equipoise rollout NAME ramp COVERAGE"),
    (["demo", "reweight"], UsageError, "say it as: equipoise rollout NAME reweight NAME=SHARE …"),
    (["demo", "kill", "--new-conversations"], UsageError, "--new-conversations belongs to roll-back, and this is kill"),
    (["demo", "ramp", "much"], UsageError, "'much' is no share; accepted: a fraction, a number or a percentage, such as 1/4, 0.25 or 25%"),
    (["demo", "reweight", "control"], UsageError, "'control' is no share of a variant; write it as NAME=SHARE, such as control=1/2"),
    (["demo", "reweight", "control=1/2", "control=1/2"], UsageError, "control is given two shares; give it one"),
    (["demo", "reweight", "control=1/2", "other=1/2"], UsageError, "there is no variant other; accepted: control, treatment"),
    (["demo", "reweight", "control=1/2", "treatment=1/3"], UsageError, "shares are positive, add up to exactly 1 and include control, such as control=1/3 …"),
    (["demo", "reweight", "treatment=1"], UsageError, "shares are positive, add up to exactly 1 and include control, such as control=1/3 …"),
    (["demo", "enter", "offline"], UsageError, "'offline' is no stage to enter; accepted: shadow, canary, ab"),
    (["demo", "roll-back"], UsageError, 'say why you roll back: --reason "…". It is kept with the experiment'),
    (["demo", "ship", "treatment", "--reason", " "], UsageError, 'there is no verdict yet, and not ship treatment: say why you ship it: --reason "…". It is kept with the experiment'),
    (["demo", "remove"], UsageError, "say it as: equipoise rollout NAME remove VARIANT"),
    (["demo", "remove", "treatment"], UsageError, 'say why you remove treatment: --reason "…". It is kept with the experiment'),
    (["demo", "remove", "control", "--reason", "x"], UsageError, "there is no treatment 'control' to remove; accepted: treatment"),
    (["demo", "ship", "other", "--reason", "x"], UsageError, "there is no variant 'other'; accepted: control, treatment"),
    (["dem", "kill"], RecordError, "no experiment called 'dem' is registered in this log; it holds: demo; did you mean 'demo'?"),
]  # fmt: skip


@pytest.mark.parametrize("words, kind, sentence", REFUSED, ids=lambda value: str(value)[:40])
def test_what_cannot_be_done_is_refused(
    words: list[str], kind: type[EquipoiseError], sentence: str, where: Path
) -> None:
    """The sentence says what was wrong and what to write; nothing is recorded."""
    log = open_log(where)
    head = log.head()
    with pytest.raises(kind) as refused:
        asked(where, *words)
    assert str(refused.value) == sentence
    assert log.head() == head
    log.close()


def test_a_verb_has_its_place(where: Path) -> None:
    """What is over is neither paused, resumed, ramped nor entered; what is killed is not paused."""
    asked(where, "demo", "kill")
    with pytest.raises(GateError) as refused:
        asked(where, "demo", "pause")
    assert str(refused.value) == (
        f"{IDENTITY} serves control to everyone, and a pause would serve the variants again; `resume` opens it"
    )
    asked(where, "demo", "roll-back", "--reason", "x")
    for words, sentence in [
        (["pause"], f"{IDENTITY} is rolled back; there is nothing to pause"),
        (["resume"], f"{IDENTITY} is rolled back; there is nothing to resume"),
        (["enter", "ab"], f"{IDENTITY} is rolled back; register a new revision to try again"),
        (["ramp", "1"], f"{IDENTITY} is in the stage rolled back, where there is nothing to ramp; accepted in: canary, ab"),
        (["reweight", "control=1"], f"{IDENTITY} is in the stage rolled back, where there is nothing to re-weight; accepted in: canary, ab"),
    ]:  # fmt: skip
        with pytest.raises(GateError) as refused:
            asked(where, "demo", *words)
        assert str(refused.value) == sentence


def test_a_stage_does_not_open_what_was_closed(where: Path) -> None:
    """Entering the next stage leaves a pause as it is, and waits until a kill is over: only `resume` ends them."""
    asked(where, "demo", "kill")
    with pytest.raises(GateError) as refused:
        asked(where, "demo", "enter", "ab", "--reason", "I want to")
    assert str(refused.value) == (
        f"{IDENTITY} may not enter ab: everyone is served control; `resume` opens it again. "
        "A reason does not go past that"
    )
    asked(where, "demo", "resume")
    asked(where, "demo", "pause")
    assert asked(where, "demo", "enter", "ab")["service"] == "paused"
    assert asked(where, "demo", "resume")["service"] == "open"


def test_without_memory_an_experiment_can_grow_and_nothing_else(tmp_path: Path) -> None:
    """Lowering the coverage, going back to a smaller stage and re-weighting would move exposed units."""
    path = tmp_path / "log.db"
    log = open_log(path)
    plain = read_canonical(BASE | {"unit": "conversation"})
    register(log, plain, by="ann")
    log.close()
    asked(path, "demo", "enter", "ab")
    cannot = "it cannot be told when they entered"
    for words, sentence in [
        (["ramp", "99%"], f"less than 100.00% would take exposed units out of {plain.identity}: {cannot}. `pause` keeps them and lets nobody else in"),
        (["enter", "canary"], f"less than 100.00% would take exposed units out of {plain.identity}: {cannot}. `pause` keeps them and lets nobody else in"),
        (["reweight", "control=1/4", "treatment=3/4"], f"other shares would move exposed units of {plain.identity}: {cannot}. `unit: {{id: uuid7}}`, `unit: {{id: token}}` or `pins: required` make that possible"),
    ]:  # fmt: skip
        with pytest.raises(GateError) as refused:
            asked(path, "demo", *words)
        assert str(refused.value) == sentence
    assert len(state(path).allocations) == 2


def test_a_log_that_is_not_there_is_not_made(tmp_path: Path) -> None:
    """A verb on a log that does not exist is refused, and leaves no file behind."""
    path = tmp_path / "log.db"
    with pytest.raises(RecordError) as refused:
        asked(path, "demo", "kill")
    assert str(refused.value) == (
        f"there is no log at {path}. Register an experiment first, or name the log with --log"
    )
    assert not path.exists()


HOSTILE = "enough\x1b[2J\r\n2026-01-01 00:00:00  shipped by root\u202e\x9b\x07"


def test_no_reason_and_no_odd_clock_steers_a_terminal_or_makes_a_line(where):
    """Who, why and when are anybody's: each entry is one line, and a time of no year is a number."""
    log = open_log(where)
    enter(log, "demo", "canary", by=HOSTILE, reason=HOSTILE, clock=ManualClock(2e6))
    pause(log, "demo", by=HOSTILE, reason=HOSTILE, clock=ManualClock(2e6))
    odd = Alert(
        experiment="demo", happened=1e18, event_id="odd", digest=state_of(log, "demo").digest, watch=0, metric=HOSTILE,
        variant=HOSTILE, action="alert", sustained=False, ends=60.0, streak=1, value=2.0, limit=1.0, says=HOSTILE,
    )  # fmt: skip
    log.append([odd])
    log.close()
    shown = CliRunner().invoke(app, ["show", "demo", "--log", str(where)])
    assert shown.exception is None
    told = shown.stdout + said(where, "demo")
    assert "1e+18 s UTC  alert: enough" in told
    assert "; reason: enough" in told
    assert not [each for each in told if each != "\n" and not each.isprintable()]
    assert not [line for line in told.splitlines() if line.startswith("2026-01-01")]
