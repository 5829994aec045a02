"""What `rollout NAME status` tells: the next look, health, watches and alerts, and the command that goes on."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from playing import bandit, playing
from typer.testing import CliRunner
from watched import START, exposure, watched

from equipoise.cli.main import app
from equipoise.cli.rollout_text import look_words, status_lines
from equipoise.clock import ManualClock
from equipoise.conduct.ledger import state_of
from equipoise.conduct.looking.progress import Pace, next_look, pace_of
from equipoise.conduct.move import kill, pause, reweight, roll_back, ship
from equipoise.conduct.register import register
from equipoise.conduct.status import WatchLine, status
from equipoise.conduct.watch import Watcher
from equipoise.events.facts import Alert, Decision, Exposure, Fact, Look, Loss, Turn
from equipoise.events.log import MemoryLog
from equipoise.events.opening import open_windows
from equipoise.events.sqlite import SQLiteLog
from equipoise.experiment.definition import Experiment
from equipoise.experiment.reading import read_canonical

DAY = 86_400.0
NOW = 1_700_000_000.0
BASE: dict[str, Any] = {
    "name": "demo",
    "hypothesis": "A newer model resolves more.",
    "unit": {"type": "conversation", "id": "uuid7"},
    "changes": ["model"],
    "variants": {"control": {"model": "a"}, "treatment": {"model": "b"}},
    "metrics": {"resolution_rate": {"priority": "primary", "baseline": 0.6, "mde": 0.05, "window": "2d"}},
    "plan": {"looks": [0.5, 1.0]},
    "rollout": {"stages": ["canary", "ab"]},
}
DEMO = read_canonical(BASE)


def running(stage: str = "ab", of: Experiment = DEMO) -> tuple[MemoryLog, ManualClock]:
    clock = ManualClock(NOW)
    log = MemoryLog(clock)
    register(log, of, by="ann", reason="a test", stage=stage, clock=clock)
    return log, clock


def exposed(number: int, happened: float, arm: str | None = None, epoch: int = 0) -> Exposure:
    return Exposure(
        experiment="demo", happened=happened, digest=DEMO.digest, unit=f"u{number}", unit_type="conversation",
        variant=arm or ("control", "treatment")[number % 2], probability=0.5, reason="split", epoch=epoch,
    )  # fmt: skip


def look(fraction: float, final: bool = False) -> Look:
    return Look(experiment="demo", happened=NOW, digest=DEMO.digest, number=1, fraction=fraction, boundary=2.0, final=final, evidence={})  # fmt: skip


def decided(verdict: str, arm: str | None = None) -> Decision:
    return Decision(
        experiment="demo", happened=NOW, digest=DEMO.digest, look="l", verdict=verdict, because="", arm=arm
    )


def test_a_bandit_waits_for_no_look() -> None:
    """Its shares change all the time, and a read-out of it takes nothing from a later one."""
    clock = ManualClock(NOW)
    log = MemoryLog(clock)
    playing(log, bandit(), clock)
    assert look_words(status(log, "bot", clock=clock).next_look) == (
        "1 of 1, at 100% of the planned information; a bandit may be read out at any time: `equipoise analyze`"
    )


def test_the_next_look_is_told_in_units_and_days() -> None:
    """The first planned fraction that no look has passed, when its units are in at this pace and their window is over."""
    log, clock = running()
    log.append([exposed(n, NOW + n * 864.0) for n in range(200)])
    clock.advance(2 * DAY)
    found = status(log, "demo", clock=clock)
    units = [each["units"] for each in state_of(log, "demo").registration.plan["looks"]]  # type: ignore[union-attr]
    assert found.next_look is not None
    assert (found.next_look.number, found.next_look.of, found.next_look.units) == (1, 2, units[0])
    assert found.units_per_day == pytest.approx(100.0)
    days = (found.next_look.expected or 0.0) - clock.now()
    assert days / DAY == pytest.approx((units[0] - 200) / 100.0 + 2.0)
    lines = list(status_lines(found))
    assert (
        lines[1]
        == f"exposed: control 100, treatment 100 ({200 / found.planned:.0%} of the {found.planned:,} planned, 100 a day)"
    )  # type: ignore[operator]
    assert lines[2].startswith(
        f"next look: 1 of 2, at 50% of the planned information, about {units[0]:,} units; expected 20"
    )
    log.append([look(0.52)])
    second = status(log, "demo", clock=clock).next_look
    assert second is not None
    assert (second.number, second.units) == (2, units[1])
    log.append([look(1.0, final=True)])
    assert status(log, "demo", clock=clock).next_look is None


def test_a_pace_that_cannot_be_told_is_not_guessed() -> None:
    """Too few units, or shares that changed just now: why, and no date."""
    planned = [{"number": 1, "fraction": 1.0, "units": 100}]
    pace = pace_of([NOW] * 20, since=NOW - 60.0, now=NOW)
    assert pace == Pace(None, "the shares changed less than an hour ago")
    found = next_look(planned, [], exposed=20, pace=pace, window=None, now=NOW)
    assert found is not None
    assert (found.expected, found.because) == (None, "the shares changed less than an hour ago")
    enough = next_look(planned, [], exposed=100, pace=pace, window=60.0, now=NOW)
    assert enough is not None
    assert (enough.expected, enough.because) == (
        NOW + 60.0,
        "the units are in; `equipoise analyze` says whether the look is due",
    )


def test_health_is_told_from_exposures() -> None:
    """Units that do not follow the shares of their epochs make everything else worthless; losses and crossings are noted."""
    log, clock = running()
    facts: list[Fact] = [exposed(n, NOW) for n in range(400)]
    facts += [
        exposed(0, NOW, "treatment"),
        Loss(experiment="demo", happened=NOW, since=NOW - 5.0, facts={"turn": 12, "exposure": 3}),
    ]
    log.append(facts)
    assert [(each.status, each.says) for each in status(log, "demo", clock=clock).health] == [
        ("ok", "the units follow the shares (p = 1)"),
        ("note", "1 of 400 units were exposed to more than one variant; the first counts"),
        ("note", "the record was away for a while and lost 3 exposure, 12 turn"),
    ]
    from fractions import Fraction

    reweight(log, "demo", {"control": Fraction(1, 10), "treatment": Fraction(9, 10)}, by="ann", clock=clock)
    log.append(
        [exposed(n, NOW + 60.0, "treatment" if n % 10 else "control", epoch=1) for n in range(1000, 2000)]
    )
    assert status(log, "demo", clock=clock).health[0].status == "ok"
    log.append([exposed(n, NOW + 60.0, "control", epoch=1) for n in range(3000, 4000)])
    broken = status(log, "demo", clock=clock).health[0]
    assert broken.status == "invalid"
    assert broken.says.startswith("the units do not follow the shares (expected control ")


AHEAD: list[tuple[str, Any, tuple[str | None, list[str], str | None]]] = [
    ("canary", None, ("ab", [], "equipoise rollout demo enter ab")),
    ("canary", lambda log, clock: pause(log, "demo", by="ann", clock=clock), ("ab", [], "equipoise rollout demo enter ab")),
    ("canary", lambda log, clock: kill(log, "demo", by="ann", clock=clock), ("canary", ["everyone is served control; `resume` opens it again"], "equipoise rollout demo resume")),
    ("ab", None, ("shipped", ["there is no verdict yet"], "equipoise analyze demo")),
    ("ab", lambda log, _: log.append([decided("keep running")]), ("shipped", ["the last verdict is keep running"], "equipoise analyze demo")),
    ("ab", lambda log, _: log.append([decided("ship", "treatment")]), ("shipped", [], "equipoise rollout demo ship treatment")),
    ("ab", lambda log, _: log.append([decided("hold")]), ("rolled back", [], 'equipoise rollout demo roll-back --reason "the verdict is hold"')),
    ("ab", lambda log, clock: ship(log, "demo", "treatment", by="ann", reason="x", clock=clock), (None, [], None)),
    ("ab", lambda log, clock: roll_back(log, "demo", by="ann", reason="x", clock=clock), (None, [], None)),
]  # fmt: skip


@pytest.mark.parametrize("stage, then, ahead", AHEAD)
def test_the_command_that_goes_on_is_said(
    stage: str, then: Any, ahead: tuple[str | None, list[str], str | None]
) -> None:
    """In every stage: what may follow, what stands before it, and what to type."""
    log, clock = running(stage)
    if then is not None:
        then(log, clock)
    found = status(log, "demo", clock=clock)
    assert (found.ahead.stage, [each.because for each in found.ahead.blocks], found.ahead.command) == ahead
    last = list(status_lines(found))[-1]
    assert last == (f"it is {found.stage}: nothing comes after" if ahead[2] is None else f"  {ahead[2]}")


def test_what_a_watch_said_stands_before_the_next_stage() -> None:
    """The latest alerts first, five of them; a sustained one wants a reason, or `resume` where it paused."""
    log, clock = running("canary")

    def alert(number: int, action: str, sustained: bool) -> Alert:
        return Alert(
            experiment="demo", happened=NOW + number, digest=DEMO.digest, watch=0, metric="error_rate", variant="treatment",
            action=action, sustained=sustained, ends=NOW, streak=2, value=0.03, limit=0.01, says="",
        )  # fmt: skip

    log.append([alert(n, "alert", False) for n in range(6)])
    found = status(log, "demo", clock=clock)
    assert ([each.happened - NOW for each in found.alerts], found.ahead.blocks) == (
        [5.0, 4.0, 3.0, 2.0, 1.0],
        (),
    )
    log.append([alert(7, "pause", True)])
    pause(log, "demo", by="the monitor", clock=clock)
    found = status(log, "demo", clock=clock)
    assert found.ahead.command == 'equipoise rollout demo resume --reason "…"'
    lines = list(status_lines(found))
    assert (
        "2023-11-14 22:13:27 UTC  pause: error_rate of treatment (0.03 against 0.01, 2 windows in a row)"
        in lines
    )
    assert lines[-3:] == [
        "paused: nobody new enters until `resume`",
        (
            "before ab: error_rate of treatment was beyond its limit for 2 windows (0.03 against 0.01), and was paused for it; "
            "`resume` opens it again"
        ),
        '  equipoise rollout demo resume --reason "…"',
    ]


def test_whoever_goes_on_sees_what_is_not_settled() -> None:
    """A canary without anybody in it, and a row of breached windows that is not long enough yet, are said beside the command."""
    log, clock = running("canary")
    empty = list(status_lines(status(log, "demo", clock=clock)))
    assert empty[-3:] == [
        "ab may follow:",
        "  though nobody came in since its epoch was announced, so it says nothing yet",
        "  equipoise rollout demo enter ab",
    ]
    log.append([exposed(1, NOW + 60.0)])
    found = status(log, "demo", clock=clock)
    assert list(status_lines(found))[-2:] == ["ab may follow:", "  equipoise rollout demo enter ab"]
    line = WatchLine(
        watch=0, metric="error_rate", bound="max 0.01", arm="treatment", action="pause", breached=1, needed=2, ends=int(NOW),
        verdict="breached", value=0.03, limit=0.01, because=None,
    )  # fmt: skip
    assert list(status_lines(replace(found, watches=(line,))))[-2] == (
        "  though error_rate of treatment was beyond its limit in its last window (1 of 2 in a row)"
    )


def test_watches_are_read_as_they_stand(tmp_path: Path) -> None:
    """Streak, what it takes to act, and what the last window said; a log without windows gets none made beside it."""
    experiment = watched(
        [{"metric": "error_rate", "max": 0.001, "window": "5m", "for": 2, "then": "rollback"}]
    )
    place = tmp_path / "log.db"
    clock = ManualClock(START + 1.0)
    log = SQLiteLog(place, clock=clock)
    register(log, experiment, by="ann", clock=clock)
    for arm in ("control", "treatment"):
        turn = {
            "digest": experiment.digest,
            "unit": arm,
            "variant": arm,
            "reason": "split",
            "error": arm == "treatment",
        }
        log.append(
            [
                exposure(experiment, arm, arm, START + 1.0),
                Turn(experiment="bot", happened=START + 2.0, **turn),
            ]
        )

    def status() -> Any:
        result = CliRunner().invoke(app, ["rollout", "bot", "--log", str(place), "--json"])
        assert result.exception is None, result.exception
        return json.loads(result.stdout)

    assert status()["watches"] == []
    assert not place.with_suffix(".db.windows").exists()
    windows = open_windows(place)
    watcher = Watcher(experiment, log, windows)
    while watcher.advance(now=START + 400.0):
        pass
    windows.close()
    before = place.with_suffix(".db.windows").stat().st_mtime_ns
    (line,) = [each for each in status()["watches"] if each["arm"] == "treatment"]
    assert line == {
        "watch": 0, "metric": "error_rate", "bound": "max 0.001", "arm": "treatment", "action": "rollback", "breached": 1,
        "needed": 2, "ends": START + 300, "verdict": "breached", "value": 1.0, "limit": 0.001, "because": None,
    }  # fmt: skip
    assert place.with_suffix(".db.windows").stat().st_mtime_ns == before
    assert [each for each in status()["health"] if each["name"] == "late turns"] == []
    clock.advance(400.0)
    log.append([Turn(experiment="bot", happened=START + 3.0, **turn)])
    windows = open_windows(place)
    Watcher(experiment, log, windows).advance(now=START + 401.0)
    windows.close()
    (late,) = [each for each in status()["health"] if each["name"] == "late turns"]
    assert late["says"] == (
        "1 of the last 3 turns came after their minute was closed: they count in it, late, and no watch decides anew for them"
    )
    said = CliRunner().invoke(app, ["rollout", "bot", "--log", str(place)]).stdout
    assert (
        "error_rate max 0.001  treatment  1 breached, 2 act  2023-11-14 22:20:00 UTC: breached, 1 against 0.001"
        in said
    )
    log.close()


def test_the_words_for_no_look() -> None:
    """After the last there is none."""
    log, clock = running()
    log.append([look(1.0, final=True)])
    assert look_words(status(log, "demo", clock=clock).next_look) == "none"


def test_list_and_show_speak_the_same_words(tmp_path: Path) -> None:
    """Stage with a service that is not open, the next look with its day; the ledger with what a verb went past and did."""
    place = tmp_path / "log.db"
    clock = ManualClock(NOW)
    log = SQLiteLog(place, clock=clock)
    register(log, DEMO, by="ann", reason="a test", stage="ab", clock=clock)
    log.append([exposed(n, NOW + n) for n in range(30)])
    kill(log, "demo", by="bob", reason="an outage", clock=clock)
    log.close()

    def said(*words: str) -> str:
        result = CliRunner().invoke(app, [*words, "--log", str(place)])
        assert result.exception is None, result.exception
        return result.stdout

    head, line = said("list").splitlines()
    assert head.split("  ")[-1] == "next look"
    assert line.split() == [DEMO.identity, "ab,", "redirected", "30", "0", "of", "2", "–", "at", "50%"]
    (listed,) = json.loads(said("list", "--json"))
    assert (listed["service"], listed["next_look"]["number"]) == ("redirected", 1)
    lines = said("show", "demo").splitlines()
    assert lines[0] == f"{DEMO.identity}  (stage ab, service redirected)"
    assert [each.split("  ", 1)[1] for each in lines[-4:]] == [
        "offline -> ab by ann; reason: a test; with a reason, although the stage canary comes before ab",
        "epoch 0: control 1/2, treatment 1/2 of 1 by ann; reason: a test",
        "ab, service redirected by bob; reason: an outage",
        (
            "ab by bob; reason: an outage; 15 exposed units (treatment 15) are served control from now on, and stay in their "
            "arm; 0 of them had a turn in the last 30 minutes and are in the middle of something"
        ),
    ]


def test_turns_that_were_redirected_are_counted_in_their_arm() -> None:
    """While everyone is served control, or where an arm was removed: by the arm they belong to, of this revision alone."""
    log, clock = running()

    def turn(arm: str, digest: str = DEMO.digest, **more: Any) -> Turn:
        return Turn(
            experiment="demo", happened=NOW, digest=digest, unit="u", variant=arm, reason="redirected", **more
        )

    log.append(
        [
            turn("treatment", redirected=True),
            turn("treatment", redirected=True),
            turn("control", redirected=True),
        ]
    )
    log.append(
        [
            turn("treatment"),
            turn("treatment", "d" * 64, redirected=True),
            turn("treatment", model='"redirected":true'),
        ]
    )
    assert status(log, "demo", clock=clock).redirects == {}
    kill(log, "demo", by="ann", clock=clock)
    found = status(log, "demo", clock=clock)
    assert found.redirects == {"control": 1, "treatment": 2}
    assert "turns served control in place of their arm: control 1, treatment 2" in list(status_lines(found))
