"""What an operator's verbs rest on and what they do: kept in the ledger, and told to whoever acts."""

from __future__ import annotations

from typing import Any

import pytest

from equipoise.clock import ManualClock
from equipoise.conduct.enter import enter
from equipoise.conduct.ledger import state_of
from equipoise.conduct.move import kill, pause, remove, resume, reweight, roll_back, ship
from equipoise.conduct.redirecting import first_exposures, recent, redirected
from equipoise.conduct.register import register
from equipoise.errors import GateError, UsageError
from equipoise.events.facts import Alert, Decision, Exposure, Fact, Outcome, Transition, Turn
from equipoise.events.log import MemoryLog
from equipoise.experiment.definition import Experiment
from equipoise.experiment.reading import read_canonical

NOW = 1_000_000.0
BASE: dict[str, Any] = {
    "name": "demo",
    "hypothesis": "A newer model resolves more.",
    "unit": {"type": "conversation", "id": "uuid7"},
    "changes": ["model"],
    "variants": {"control": {"model": "a"}, "b": {"model": "b"}, "c": {"model": "c"}},
    "metrics": {"resolution_rate": {"priority": "primary"}},
    "rollout": {"stages": ["shadow", "canary", "ab"]},
}
THREE = read_canonical(BASE)
TWO = read_canonical(BASE | {"variants": {"control": {"model": "a"}, "b": {"model": "b"}}})


def exposed(experiment: Experiment, unit: str, variant: str, happened: float) -> Exposure:
    return Exposure(
        experiment="demo", happened=happened, digest=experiment.digest, unit=unit, unit_type="conversation",
        variant=variant, probability=0.5, reason="split",
    )  # fmt: skip


def turn(experiment: Experiment, unit: str, variant: str, happened: float) -> Turn:
    return Turn(
        experiment="demo",
        happened=happened,
        digest=experiment.digest,
        unit=unit,
        variant=variant,
        reason="split",
    )


def running(experiment: Experiment = THREE, stage: str = "ab") -> tuple[MemoryLog, ManualClock]:
    """A log with the experiment in a stage."""
    clock = ManualClock(NOW)
    log = MemoryLog(clock)
    register(log, experiment, by="ann", reason="a test", stage=stage, clock=clock)
    return log, clock


def busy(experiment: Experiment = THREE) -> tuple[MemoryLog, ManualClock]:
    """Six conversations in two treatments; of b one, of c two, had a turn within half an hour."""
    log, clock = running(experiment)
    arms = {"u": "control", "v": "b", "w": "b", "x": "c", "y": "c", "z": "c"}
    log.append([exposed(experiment, unit, arm, NOW) for unit, arm in arms.items()])
    log.append([turn(experiment, unit, arm, NOW + 1.0) for unit, arm in arms.items()])
    clock.advance(3600.0)
    log.append([turn(experiment, unit, arms[unit], NOW + 3500.0) for unit in ("u", "v", "x", "y", "y")])
    # Told late: it happened long ago.
    log.append([turn(experiment, "z", "c", NOW + 2.0)])
    return log, clock


def last(log: MemoryLog) -> Transition:
    return [each.fact for each in log.read_since() if isinstance(each.fact, Transition)][-1]


COUNTED = {"units": {"b": 2, "c": 3}, "in_progress": {"b": 1, "c": 2}, "minutes": 30.0}


def test_a_rollback_counts_whom_it_redirects_and_who_is_in_the_middle() -> None:
    """Units of the treatments, and those of them with a turn in the last half hour: told, and kept beside the rollback."""
    log, clock = busy()
    head = log.head()
    done = roll_back(log, "demo", by="ann", reason="slow", clock=clock)
    assert done.evidence == {"service": "open", "scope": "now", "redirected": COUNTED}
    acted, counted = (each.fact for each in log.read_since(head))
    assert isinstance(acted, Transition)
    assert isinstance(counted, Transition)
    assert (acted.origin, acted.stage, acted.service, acted.by, acted.reason) == (
        "ab",
        "rolled back",
        "redirected",
        "ann",
        "slow",
    )
    assert (counted.origin, counted.stage, counted.service, counted.evidence) == (
        "rolled back",
        "rolled back",
        None,
        done.evidence,
    )
    assert (counted.by, counted.reason) == ("ann", "slow")


def test_a_rollback_for_new_conversations_says_who_goes_on() -> None:
    """Nobody is redirected: the same units keep what they have, and are counted as such."""
    log, clock = busy()
    done = roll_back(log, "demo", by="ann", reason="slow", scope="new_conversations", clock=clock)
    assert (done.service, done.evidence) == (
        "paused",
        {"service": "open", "scope": "new_conversations", "exposed": COUNTED},
    )


def test_what_acts_at_once_may_leave_the_counting_to_others() -> None:
    """Without counting one fact is written, and nothing is read but the ledger."""
    for verb, more in ((kill, {}), (roll_back, {"reason": "slow"})):
        log, clock = busy()
        head = log.head()
        done = verb(log, "demo", by="ann", clock=clock, count=False, **more)
        assert "redirected" not in done.evidence
        assert log.head() == head + 1


def test_a_crash_after_the_first_write_leaves_a_rollback() -> None:
    """What is lost is the count: the experiment is rolled back, and may be rolled back again to have it counted."""

    class Breaking(MemoryLog):
        writes = 0

        def append_if(self, *args: Any, **kwargs: Any) -> Any:
            self.writes += 1
            if self.writes > 1:
                raise KeyboardInterrupt
            return super().append_if(*args, **kwargs)

    log = Breaking()
    clock = ManualClock(NOW)
    before, _ = running()
    log.append([each.fact for each in before.read_since()])
    log.append([exposed(THREE, "v", "b", NOW)])
    with pytest.raises(KeyboardInterrupt):
        roll_back(log, "demo", by="ann", reason="slow", clock=clock)
    state = state_of(log, "demo")
    assert (state.stage, state.service) == ("rolled back", "redirected")
    log.writes = -10
    again = roll_back(log, "demo", by="bob", reason="slow", clock=clock)
    assert again.evidence["redirected"]["units"] == {"b": 1, "c": 0}


def test_the_count_does_not_undo_what_somebody_did_meanwhile() -> None:
    """A kill that is resumed while its units are counted stays resumed; a revision registered meanwhile is left alone."""

    class Meanwhile(MemoryLog):
        then: Any = None

        def append_if(self, *args: Any, **kwargs: Any) -> Any:
            found = super().append_if(*args, **kwargs)
            then, self.then = self.then, None
            if then is not None:
                then()
            return found

    for act, stage, service in (
        (lambda log: resume(log, "demo", by="bob"), "ab", "open"),
        (lambda log: register(log, TWO, by="bob", reason="a test", stage="canary"), "canary", "open"),
    ):
        log = Meanwhile()
        before, _ = running()
        log.append([each.fact for each in before.read_since()])
        log.then = lambda log=log, act=act: act(log)
        kill(log, "demo", by="ann")
        state = state_of(log, "demo")
        assert (state.stage, state.service) == (stage, service)


def test_an_arm_is_removed_and_the_others_share_alike() -> None:
    """Its share goes to the arms that are left in proportion; its units are counted, and stay in it."""
    log, clock = busy()
    done = remove(log, "demo", "c", by="ann", reason="it is dear", clock=clock)
    assert (done.stage, done.service, done.epoch) == ("ab", "open", 1)
    assert done.evidence == {
        "removed": ["c"],
        "redirected": {"units": {"c": 3}, "in_progress": {"c": 2}, "minutes": 30.0},
    }
    state = state_of(log, "demo")
    assert dict(state.allocations[-1].shares) == {"control": "1/2", "b": "1/2"}
    assert state.allocations[-1].reason == "it is dear"
    with pytest.raises(GateError) as refused:
        remove(log, "demo", "c", by="ann", reason="again", clock=clock)
    assert str(refused.value) == f"c is no part of {THREE.identity} any more; nothing was changed"
    with pytest.raises(GateError) as refused:
        remove(log, "demo", "b", by="ann", reason="it too", clock=clock)
    assert str(refused.value) == (
        f"b is the only treatment of {THREE.identity}, and nothing would be left to compare; `roll-back` ends the experiment"
    )


def test_an_arm_that_a_reweighting_leaves_out_is_counted_too() -> None:
    """The same evidence as where it is removed by name; where all arms stay there is none."""
    from fractions import Fraction

    log, clock = busy()
    even = {arm: Fraction(1, 3) for arm in ("control", "b", "c")}
    assert reweight(log, "demo", even, by="ann", clock=clock).evidence == {}
    done = reweight(log, "demo", {"control": Fraction(1, 2), "b": Fraction(1, 2)}, by="ann", clock=clock)
    assert done.evidence == {
        "removed": ["c"], "redirected": {"units": {"c": 3}, "in_progress": {"c": 2}, "minutes": 30.0},
    }  # fmt: skip


def test_uneven_shares_stay_in_proportion() -> None:
    """Of 1/2, 1/3 and 1/6 without the third 3/5 and 2/5 are left."""
    from fractions import Fraction

    log, clock = running()
    shares = {"control": Fraction(1, 2), "b": Fraction(1, 3), "c": Fraction(1, 6)}
    reweight(log, "demo", shares, by="ann", clock=clock)
    remove(log, "demo", "c", by="ann", reason="x", clock=clock)
    assert dict(state_of(log, "demo").allocations[-1].shares) == {"control": "3/5", "b": "2/5"}


def test_removing_needs_to_know_when_units_entered() -> None:
    """Without a memory of units other shares would move those that are exposed."""
    plain = read_canonical(BASE | {"unit": "conversation"})
    log, clock = running(plain)
    with pytest.raises(GateError) as refused:
        remove(log, "demo", "c", by="ann", reason="x", clock=clock)
    assert str(refused.value) == (
        f"other shares would move exposed units of {plain.identity}: it cannot be told when they entered. "
        "`unit: {id: uuid7}`, `unit: {id: token}` or `pins: required` make that possible"
    )


def decided(verdict: str, arm: str | None = None) -> Decision:
    return Decision(
        experiment="demo",
        happened=NOW,
        event_id="d1",
        digest=THREE.digest,
        look="l1",
        verdict=verdict,
        because="",
        arm=arm,
    )


def test_what_ships_rests_on_a_verdict_or_on_a_reason() -> None:
    """With the verdict that says so no reason is asked for; the verdict is kept either way."""
    log, clock = running()
    log.append([decided("ship", "b")])
    done = ship(log, "demo", "b", by="ann", clock=clock)
    assert done.evidence == {"service": "open", "verdict": "ship", "arm": "b", "decision": "d1", "look": "l1"}
    assert (last(log).stage, last(log).variant) == ("shipped", "b")


@pytest.mark.parametrize(
    "decision, variant, sentence",
    [
        (None, "b", "there is no verdict yet, and not ship b"),
        (decided("ship", "c"), "b", "the last verdict is ship c, and not ship b"),
        (decided("keep running"), "b", "the last verdict is keep running, and not ship b"),
        (decided("hold"), "control", "the last verdict is hold, and not ship control"),
    ],
)
def test_against_the_verdict_a_reason_is_needed(
    decision: Decision | None, variant: str, sentence: str
) -> None:
    """The sentence says what the verdict is; with a reason it is done, and both are kept."""
    log, clock = running()
    log.append([] if decision is None else [decision])
    with pytest.raises(UsageError) as refused:
        ship(log, "demo", variant, by="ann", clock=clock)
    assert (
        str(refused.value) == f'{sentence}: say why you ship it: --reason "…". It is kept with the experiment'
    )
    done = ship(log, "demo", variant, by="ann", reason="the board wants it", clock=clock)
    assert done.evidence["verdict"] == (None if decision is None else decision.verdict)
    assert last(log).reason == "the board wants it"


def test_what_was_killed_or_rolled_back_does_not_ship() -> None:
    """A treatment that nobody may be served is nobody's default; control may be."""
    log, clock = running()
    kill(log, "demo", by="ann", clock=clock)
    with pytest.raises(GateError) as refused:
        ship(log, "demo", "b", by="ann", reason="x", clock=clock)
    assert str(refused.value) == (
        f"{THREE.identity} serves control to everyone, and b would become everyone's default; `resume` opens it first"
    )
    roll_back(log, "demo", by="ann", reason="x", clock=clock)
    with pytest.raises(GateError) as refused:
        ship(log, "demo", "control", by="ann", reason="x", clock=clock)
    assert str(refused.value) == f"{THREE.identity} is rolled back; register a new revision to try again"


def alerted(action: str) -> Alert:
    return Alert(
        experiment="demo", happened=NOW, digest=THREE.digest, watch=0, metric="error_rate", variant="b", action=action,
        sustained=True, ends=NOW, streak=2, value=0.03, limit=0.01, says="",
    )  # fmt: skip


def test_what_a_watch_closed_is_opened_with_a_reason() -> None:
    """An operator's own pause needs none; how many alerts were seen is kept, and they block nothing any more."""
    log, clock = running(stage="canary")
    pause(log, "demo", by="ann", clock=clock)
    assert resume(log, "demo", by="ann", clock=clock).evidence == {"service": "paused", "alerts": 0}
    log.append([alerted("pause")])
    pause(log, "demo", by="the monitor", clock=clock)
    with pytest.raises(UsageError) as refused:
        resume(log, "demo", by="ann", clock=clock)
    assert str(refused.value) == (
        'say why you resume what the watch on error_rate of b closed: --reason "…". It is kept with the experiment'
    )
    with pytest.raises(GateError) as blocked:
        enter(log, "demo", "ab", by="ann", reason="I want to", clock=clock)
    assert str(blocked.value) == (
        f"{THREE.identity} may not enter ab: error_rate of b was beyond its limit for 2 windows (0.03 against 0.01), and was "
        "paused for it; `resume` opens it again. A reason does not go past that"
    )
    assert resume(log, "demo", by="ann", reason="mended", clock=clock).evidence == {
        "service": "paused",
        "alerts": 1,
    }
    done = enter(log, "demo", "ab", by="ann", clock=clock)
    assert done.evidence == {"gate": None, "alerts": 0, "overridden": []}


def test_an_alert_that_comes_while_somebody_decides_makes_the_decision_stale() -> None:
    """Whoever enters a stage has seen what the watches said: one that spoke meanwhile is looked at first."""
    from equipoise.events.log import StaleHeadError

    class Speaking(MemoryLog):
        def append_if(self, *args: Any, **kwargs: Any) -> Any:
            super().append([alerted("alert")])
            return super().append_if(*args, **kwargs)

    log = Speaking()
    before, clock = running(stage="canary")
    log.append([each.fact for each in before.read_since()])
    with pytest.raises(StaleHeadError):
        enter(log, "demo", "ab", by="ann", clock=clock)
    # A pause rests on no evidence, and an alert does not keep anybody from it.
    pause(log, "demo", by="ann", clock=clock)


def test_a_units_first_exposure_to_the_revision_is_its_own() -> None:
    """Later ones and those of other revisions are not counted, wherever the digest stands in them."""
    log, _ = running()
    other = exposed(TWO, "u", "b", NOW)
    told: list[Fact] = [
        other,
        Exposure(
            experiment="demo", happened=NOW, digest="d" * 64, unit=THREE.digest, unit_type="conversation", variant="b",
            probability=0.5, reason="split",
        ),
        exposed(THREE, "u", "c", NOW + 1.0),
        exposed(THREE, "u", "b", NOW + 2.0),
    ]  # fmt: skip
    log.append(told)
    found = first_exposures(log, THREE)
    assert (found.by_unit, found.crossed) == ({"u": ("c", 0, NOW + 1.0)}, 1)
    assert redirected(log, THREE, now=NOW).units == {"b": 0, "c": 1}


def test_the_end_of_a_log_is_read_and_not_all_of_it() -> None:
    """Of 20,000 turns those of the last minutes are read, and of those before no more than a few thousand."""
    clock = ManualClock(NOW)
    log = MemoryLog(clock)
    for _ in range(200):
        log.append([turn(THREE, "u", "b", clock.now()) for _ in range(99)])
        log.append([Outcome(experiment="demo", happened=clock.now(), unit="u", name="x", value=True)])
        clock.advance(60.0)
    found = list(recent(log, "demo", clock.now() - 300.0))
    late = [each for each in found if each.received >= clock.now() - 300.0]
    assert len(late) == 5 * 99
    assert len(found) <= 2_000
    assert len(list(recent(log, "demo", NOW - 1.0))) == 200 * 99
