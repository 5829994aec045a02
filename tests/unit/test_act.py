"""What a watch decided is carried out: which facts are written, by what state, and who is first."""

from __future__ import annotations

import pytest
from watched import START, exposure, served, turn, watched

from equipoise.clock import ManualClock
from equipoise.conduct.act import act, carry_out
from equipoise.conduct.ledger import state_of
from equipoise.conduct.move import kill, pause, roll_back, ship
from equipoise.conduct.register import register
from equipoise.conduct.watch import Due
from equipoise.events.log import MemoryLog
from equipoise.rollout.streaks import Breach

BREACHED = "latency_p95 of treatment was 3.4 in the 5 minutes up to 2023-11-14 22:25:00 UTC, and at most 3 is allowed"
TWICE = f"{BREACHED}; 2 such windows in a row"


def due(watch: int, action: str, *, sustained: bool = True, streak: int = 2) -> Due:
    """A decision on the second window."""
    breach = Breach(action=action, sustained=sustained, ends=START + 600, streak=streak, value=3.4, limit=3.0)
    return Due(watch=watch, arm="treatment", breach=breach, event_id=f"d:watch:{watch}", carried=None)


@pytest.fixture
def experiment():
    return watched()


@pytest.fixture
def log(experiment):
    clock = ManualClock(START + 0.0)
    log = MemoryLog(clock)
    served(log, experiment, clock)
    return log


def written(log: MemoryLog, head: int) -> list:
    return [record.fact for record in log.read_since(head)]


def test_the_first_breached_window_tells_somebody_and_moves_nothing(log, experiment):
    """One alert, which says what would be done."""
    head = log.head()
    acted = act(log, experiment, due(0, "alert", sustained=False, streak=1), clock=ManualClock(START + 611.0))
    [alert] = written(log, head)
    assert (acted.alert, acted.transition, acted.ours) == (alert, None, True)
    assert alert.says == f"{BREACHED}; the first such window, and at 2 in a row the watch says pause"
    assert (alert.event_id, alert.digest, alert.action, alert.sustained) == ("d:watch:0", experiment.digest, "alert", False)  # fmt: skip
    assert (alert.watch, alert.metric, alert.variant, alert.ends, alert.streak) == (0, "latency_p95", "treatment", START + 600.0, 1)  # fmt: skip
    assert (alert.value, alert.limit, alert.happened) == (3.4, 3.0, START + 611.0)


def test_a_review_tells_somebody_to_look(log, experiment):
    """It moves nothing either."""
    head = log.head()
    acted = act(log, experiment, due(2, "review"))
    assert written(log, head) == [acted.alert]
    assert acted.alert.action == "review"
    assert acted.alert.says.endswith("; 2 such windows in a row: somebody should look at it")


@pytest.mark.parametrize(
    ("watch", "action", "stage", "service", "why"),
    [
        (0, "pause", "ab", "paused", "nobody new is let in"),
        (1, "rollback", "rolled back", "redirected", "it is rolled back, and everyone is served control"),
    ],
)
def test_what_moves_the_experiment_says_so_twice(log, experiment, watch, action, stage, service, why):
    """An alert, and a transition by the monitor with the breach as its evidence; once, however often it is done."""
    head = log.head()
    acted = act(log, experiment, due(watch, action), clock=ManualClock(START + 611.0))
    alert, transition = written(log, head)
    assert (acted.alert, acted.transition) == (alert, transition)
    assert alert.action == action
    assert (transition.event_id, transition.by, transition.origin) == (f"d:watch:{watch}:transition", "monitor", "ab")  # fmt: skip
    metric = experiment.watches[watch].metric
    assert transition.reason == alert.says == f"{TWICE.replace('latency_p95', metric)}: {why}"
    assert dict(transition.evidence) == {
        "alert": f"d:watch:{watch}", "watch": watch, "metric": metric, "variant": "treatment", "action": action,
        "sustained": True, "ends": START + 600, "streak": 2, "value": 3.4, "limit": 3.0,
    } | ({"scope": "now"} if action == "rollback" else {})  # fmt: skip
    state = state_of(log, "bot")
    assert (state.stage, state.service) == (stage, service)
    again = act(log, experiment, due(watch, action))
    assert (again.alert, again.transition, again.ours) == (alert, transition, False)
    assert len(written(log, head)) == 2


@pytest.mark.parametrize(
    ("before", "watch", "action", "instead"),
    [
        (lambda log: pause(log, "bot", by="ana"), 0, "pause", "it is paused already"),
        (lambda log: kill(log, "bot", by="ana"), 0, "pause", "it serves control to everyone already"),
        (lambda log: roll_back(log, "bot", by="ana", reason="no"), 0, "pause", "it is rolled back already"),
        (lambda log: roll_back(log, "bot", by="ana", reason="no"), 1, "rollback", "it is rolled back already"),
        (lambda log: ship(log, "bot", "treatment", by="ana", reason="yes"), 1, "rollback", "it is shipped already"),
        (lambda log: register(log, watched([]), by="ana", reason="another"), 1, "rollback", "another revision is registered since"),
    ],
)  # fmt: skip
def test_what_is_done_already_is_not_done_again_and_the_alert_says_so(
    log, experiment, before, watch, action, instead
):
    """No error, no transition: an alert that says why."""
    before(log)
    head = log.head()
    acted = act(log, experiment, due(watch, action))
    assert written(log, head) == [acted.alert]
    assert (acted.alert.action, acted.alert.sustained, acted.transition) == ("alert", True, None)
    assert acted.alert.says.endswith(f", and the watch says {action}, but {instead}")


def test_what_is_paused_or_killed_is_still_rolled_back(log, experiment):
    """To roll back is more than either."""
    kill(log, "bot", by="ana")
    act(log, experiment, due(0, "pause"))
    assert act(log, experiment, due(1, "rollback")).transition is not None
    assert state_of(log, "bot").stage == "rolled back"


GENTLE = {"metric": "latency_p95", "max": 3.0, "window": "5m", "for": 2, "then": "rollback"}


@pytest.mark.parametrize(
    ("before", "service", "why"),
    [
        (
            None,
            "paused",
            "it is rolled back; nobody new is let in, and who is in keeps the variant to the end",
        ),
        (kill, "redirected", "it is rolled back, and everyone is served control"),
    ],
)
def test_a_rollback_of_new_conversations_lets_the_others_end(before, service, why):
    """As an operator's: who is in keeps the variant, unless everyone is served control already."""
    experiment, clock = watched([GENTLE | {"scope": "new_conversations"}]), ManualClock(START + 0.0)
    log = MemoryLog(clock)
    served(log, experiment, clock)
    if before is not None:
        before(log, "bot", by="ana")
    acted = act(log, experiment, due(0, "rollback"), clock=clock)
    assert acted.alert.says == f"{TWICE}: {why}"
    assert acted.transition.evidence["scope"] == "new_conversations"
    state = state_of(log, "bot")
    assert (state.stage, state.service) == ("rolled back", service)


def test_a_rollback_now_ends_what_one_of_new_conversations_let_go_on():
    """Slow answers may be borne to the end of a conversation, and others may not: of two watches the harsher one holds."""
    watches = [GENTLE | {"scope": "new_conversations"}, GENTLE, GENTLE | {"scope": "new_conversations"}]
    experiment, clock = watched(watches), ManualClock(START + 0.0)
    log = MemoryLog(clock)
    served(log, experiment, clock)
    carry_out(
        log, experiment, Deciding(due(0, "rollback"), due(1, "rollback"), due(2, "rollback")), clock=clock
    )
    alerts = [record.fact.says for record in log.read_since(0, kinds=("alert",))]
    assert alerts == [
        f"{TWICE}: it is rolled back; nobody new is let in, and who is in keeps the variant to the end",
        f"{TWICE}: it is rolled back, and everyone is served control",
        f"{TWICE}, and the watch says rollback, but it is rolled back already",
    ]
    state = state_of(log, "bot")
    assert (state.stage, state.service) == ("rolled back", "redirected")


class Deciding:
    """A watcher with one thing to do."""

    def __init__(self, *decided: Due) -> None:
        self.left = [*decided]

    def due(self) -> tuple[Due, ...]:
        return tuple(self.left)

    def carried_out(self, done: Due) -> bool:
        self.left.remove(done)
        return True


@pytest.mark.parametrize(("scope", "fate"), [("now", "redirected"), ("new_conversations", "exposed")])
def test_whom_a_rollback_met_is_counted_beside_it_and_once(scope, fate):
    """Exposed units and those in the middle of something; killed before or after the counting, it is there once."""
    experiment, clock = watched([GENTLE | {"scope": scope}]), ManualClock(START + 0.0)
    log = MemoryLog(clock)
    served(log, experiment, clock)
    log.append([exposure(experiment, unit, arm, START + 1.0) for unit, arm in (("a", "treatment"), ("b", "treatment"), ("c", "control"))])  # fmt: skip
    log.append([turn("a", "treatment", START + 500.0), turn("b", "treatment", START - 3_000.0)])
    clock.advance(611.0)
    head = log.head()
    decided = due(0, "rollback")
    # Killed between the rollback and the counting.
    act(log, experiment, decided, clock=clock)
    for _ in range(2):
        carry_out(log, experiment, Deciding(decided), clock=clock)
    alert, transition, counted = written(log, head)
    assert counted.event_id == "d:watch:0:met"
    assert (counted.by, counted.reason, counted.service) == ("monitor", alert.says, None)
    assert (counted.origin, counted.stage) == ("rolled back", "rolled back")
    assert dict(counted.evidence) == dict(transition.evidence) | {
        fate: {"units": {"treatment": 2}, "in_progress": {"treatment": 1}, "minutes": 30.0}
    }
    # Of a revision that is not the registered one any more nothing is told.
    register(log, watched([]), by="ana", reason="another")
    before = log.head()
    carry_out(log, experiment, Deciding(decided), clock=clock)
    assert log.head() == before


def test_whoever_moves_it_meanwhile_is_first(experiment):
    """An operator who pauses between the look and the writing is not overruled: it is decided again."""

    class Racing(MemoryLog):
        raced = False

        def append_if(self, facts, head, **more):
            if self.raced is None:
                self.raced = True
                pause(self, "bot", by="ana")
            return super().append_if(facts, head, **more)

    clock = ManualClock(START + 0.0)
    log = Racing(clock)
    served(log, experiment, clock)
    log.raced = None
    acted = act(log, experiment, due(0, "pause"))
    assert acted.alert.says == f"{TWICE}, and the watch says pause, but it is paused already"
    assert [fact.by for fact in written(log, 0) if fact.kind == "transition"][-1] == "ana"


def test_of_two_monitors_one_writes_and_the_other_finds_it(experiment):
    """Also where nothing is moved, and the sentence would be another by now."""

    class Racing(MemoryLog):
        raced = False

        def append_if(self, facts, head, **more):
            if self.raced is None:
                self.raced = True
                self.other = act(self, experiment, due(0, "pause"), clock=ManualClock(START + 700.0))
            return super().append_if(facts, head, **more)

    clock = ManualClock(START + 0.0)
    log = Racing(clock)
    served(log, experiment, clock)
    log.raced = None
    acted = act(log, experiment, due(0, "pause"), clock=ManualClock(START + 611.0))
    assert (acted.ours, acted.alert, acted.transition) == (False, log.other.alert, log.other.transition)
    assert [fact.kind for fact in written(log, 0)].count("alert") == 1
    assert not [fact for fact in written(log, 0) if fact.kind == "conflict"]
