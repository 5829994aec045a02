"""Operators, monitors and crashes in any order, against a model of a few lines: where an experiment stands, and why.

The model knows stage, service and what was seen of each; nothing of folds, positions or evidence. Two processes follow the
same log, each at its own pace, and every prefix of it must be a state that could have been meant.
"""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from typing import Any

import hypothesis.strategies as st
import pytest
from hypothesis import HealthCheck, settings
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from equipoise.clock import ManualClock
from equipoise.conduct.enter import enter
from equipoise.conduct.ledger import state_of
from equipoise.conduct.move import kill, pause, ramp, remove, resume, roll_back, ship
from equipoise.conduct.register import register
from equipoise.errors import GateError, RecordError, UsageError
from equipoise.events.facts import Alert, Allocation, Decision, Exposure, Fact, Gate, Shadow, Transition, Turn
from equipoise.events.log import MemoryLog, StaleHeadError
from equipoise.experiment.reading import read_canonical
from equipoise.rollout.stages import STAGES, WATCHED, State, fold

BASE: dict[str, Any] = {
    "name": "demo",
    "hypothesis": "Nothing is entered that should not be.",
    "unit": {"type": "conversation", "id": "uuid7"},
    "changes": ["model"],
    "variants": {"control": {"model": "a"}, "b": {"model": "b"}, "c": {"model": "c"}},
    "metrics": {"won": {"priority": "primary", "kind": "proportion", "of": "outcome.won", "better": "higher"},
                "error_rate": {"priority": "guardrail", "margin": "5pp"}},
}  # fmt: skip
TURNS = 12
REVISIONS = {
    "whole": read_canonical(BASE | {"rollout": {"stages": ["shadow", "canary", "ab"], "shadow": {"share": "10%", "turns": TURNS}}}),
    "gated": read_canonical(BASE | {"rollout": {"stages": ["canary", "ab"]}, "offline": {"cases": "golden.jsonl", "judge": {"model": "j"}}}),
    "skipping": read_canonical(BASE | {"rollout": {"stages": ["shadow", "canary", "ab"], "skip": {"canary": "internal users"}, "shadow": {"turns": TURNS}}}),
}  # fmt: skip
RANK = {stage: rank for rank, stage in enumerate(("offline", *STAGES))}


class Crash(BaseException):
    """The process is gone."""


class Unsteady(MemoryLog):
    """A log whose writer may die before or after a write, and in which somebody may be quicker."""

    def __init__(self, clock: ManualClock) -> None:
        super().__init__(clock)
        self.dies_at: int | None = None
        self.quicker: Callable[[], object] | None = None

    def append_if(self, *args: Any, **kwargs: Any) -> Any:
        quicker, self.quicker = self.quicker, None
        if quicker is not None:
            quicker()
        if self.dies_at == 0:
            self.dies_at = None
            raise Crash
        if self.dies_at is not None:
            self.dies_at -= 1
        return super().append_if(*args, **kwargs)


class Rollouts(RuleBasedStateMachine):
    """The real parts on the left, what must hold of them on the right."""

    @initialize()
    def create(self) -> None:
        self.clock = ManualClock(1_800_000_000.0)
        self.log = Unsteady(self.clock)
        self.follower, self.read = State(), 0
        self.before: list[Fact] = []
        self.made = 0
        self.name: str | None = None
        self.gates: dict[str, str] = {}
        self.stage, self.service = "offline", "open"
        self.entered: set[str] = set()
        self.shadowed = dict.fromkeys(("b", "c"), 0)
        self.failing: set[str] = set()
        self.paused_by_watch = self.alarmed = False
        self.verdict: tuple[str, str | None] | None = None
        self.arms = {"control", "b", "c"}
        self.coverage = Fraction(0)
        self.spent = False
        self.registers("whole", None, True)

    @property
    def revision(self) -> Any:
        return REVISIONS[str(self.name)]

    def attempt(
        self,
        refused: bool,
        verb: Callable[..., object],
        *arguments: Any,
        reason: bool,
        crash: int | None = None,
    ) -> bool:
        """Carry a verb out; whether it was let through (or died after its first write), which is as the model says."""
        self.log.dies_at = crash
        head = self.log.head()
        try:
            verb(
                self.log, "demo", *arguments, by="ann", reason="a test" if reason else None, clock=self.clock
            )
        except (GateError, UsageError):
            assert refused
            assert self.log.head() == head
            return False
        except Crash:
            assert not refused
            return self.log.head() > head
        finally:
            self.log.dies_at = None
        assert not refused
        return True

    # What operators do.

    @rule(
        name=st.sampled_from(sorted(REVISIONS)), stage=st.sampled_from([None, *STAGES]), reason=st.booleans()
    )
    def registers(self, name: str, stage: str | None, reason: bool) -> None:
        new = REVISIONS[name]
        declared = [each for each in STAGES if each in new.rollout.stages and each not in new.rollout.skip]
        to = stage or declared[0]
        if name == self.name:
            register(self.log, new, by="ann", stage=to, clock=self.clock)
            return
        gate = self.gates.get(name)
        ungated = new.offline is None or gate == "pass"
        skips = any(RANK[each] < RANK[to] for each in declared)
        refused = (new.offline is not None and gate in ("fail", "invalid")) or (
            not reason and (skips or not ungated)
        )
        refused |= self.spent
        head = self.log.head()
        try:
            register(self.log, new, by="ann", reason="a test" if reason else None, stage=to, clock=self.clock)
        except (GateError, UsageError, RecordError):
            assert refused
            assert self.log.head() == head
            return
        assert not refused
        self.name, self.stage, self.service, self.entered = name, to, "open", {to}
        self.shadowed = (
            dict.fromkeys(self.shadowed, 0) if name not in self.counted() else self.counted()[name]
        )
        self.verdict, self.paused_by_watch, self.alarmed = None, False, False
        self.arms = {"control", "b", "c"}
        self.coverage = self.covers(to)

    def counted(self) -> dict[str, dict[str, int]]:
        """Shadow turns by revision and arm, by looking at every fact."""
        found: dict[str, dict[str, int]] = {}
        for name, each in REVISIONS.items():
            facts = [
                r.fact
                for r in self.log.read_since()
                if isinstance(r.fact, Shadow) and r.fact.digest == each.digest
            ]
            found[name] = {arm: sum(fact.variant == arm for fact in facts) for arm in ("b", "c")}
        return found

    def covers(self, stage: str) -> Fraction:
        return {"shadow": Fraction(0), "canary": Fraction(1, 20), "ab": Fraction(1)}[stage]

    def may_enter(self, stage: str, reason: bool) -> bool:
        if self.stage not in RANK or self.service == "redirected":
            return False
        gate = self.gates.get(str(self.name)) if self.revision.offline is not None else "pass"
        if gate in ("fail", "invalid"):
            return False
        wants = gate != "pass"
        declared = self.revision.rollout.stages
        reached = max((RANK[each] for each in self.entered if each in declared), default=0)
        wants |= any(
            reached < RANK[each] < RANK[stage] for each in declared if each not in self.revision.rollout.skip
        )
        if RANK[stage] > RANK[self.stage]:
            if self.stage == "shadow":
                if str(self.name) in self.failing:
                    return False
                wants |= any(turns < TURNS for turns in self.shadowed.values())
            if self.paused_by_watch and self.service != "open":
                return False
            wants |= self.alarmed or self.paused_by_watch
        return reason or not wants

    @rule(stage=st.sampled_from(STAGES), reason=st.booleans(), dies=st.booleans())
    def enters(self, stage: str, reason: bool, dies: bool) -> None:
        if self.attempt(
            not self.may_enter(stage, reason), enter, stage, reason=reason, crash=0 if dies else None
        ):
            self.stage = stage
            self.entered.add(stage)
            if stage != "shadow":
                self.coverage = self.covers(stage)

    @rule(coverage=st.sampled_from(["1/20", "1/4", "1"]), reason=st.booleans())
    def ramps(self, coverage: str, reason: bool) -> None:
        if self.attempt(self.stage not in ("canary", "ab"), ramp, Fraction(coverage), reason=reason):
            self.coverage = Fraction(coverage)

    @rule(
        arm=st.sampled_from(["control", "b", "c"]), reason=st.booleans(), crash=st.sampled_from([None, 0, 1])
    )
    def removes(self, arm: str, reason: bool, crash: int | None) -> None:
        refused = (
            not reason
            or self.stage not in ("canary", "ab")
            or arm not in self.arms - {"control"}
            or len(self.arms) == 2
        )
        if self.attempt(refused, remove, arm, reason=reason, crash=crash):
            self.arms.discard(arm)

    @rule(reason=st.booleans(), dies=st.booleans())
    def pauses(self, reason: bool, dies: bool) -> None:
        refused = self.stage not in STAGES or self.service == "redirected"
        if self.attempt(refused, pause, reason=reason, crash=0 if dies else None):
            self.service = "paused"

    @rule(reason=st.booleans())
    def resumes(self, reason: bool) -> None:
        refused = self.stage not in STAGES or (self.paused_by_watch and self.service != "open" and not reason)
        if self.attempt(refused, resume, reason=reason):
            self.service, self.paused_by_watch, self.alarmed = "open", False, False

    @rule(reason=st.booleans(), crash=st.sampled_from([None, 0, 1]))
    def kills(self, reason: bool, crash: int | None) -> None:
        if self.attempt(False, kill, reason=reason, crash=crash):
            self.service = "redirected"

    @rule(reason=st.booleans(), crash=st.sampled_from([None, 0, 1]), going_on=st.booleans())
    def rolls_back(self, reason: bool, crash: int | None, going_on: bool) -> None:
        def verb(*args: Any, **kwargs: Any) -> object:
            return roll_back(*args, scope="new_conversations" if going_on else "now", **kwargs)

        if self.attempt(not reason, verb, reason=reason, crash=crash):
            self.service = "paused" if going_on and self.service != "redirected" else "redirected"
            self.stage = "rolled back"

    @rule(arm=st.sampled_from(["control", "b"]), reason=st.booleans())
    def ships(self, arm: str, reason: bool) -> None:
        killed = self.stage in STAGES and self.service == "redirected" and arm != "control"
        refused = self.stage == "rolled back" or killed or not (reason or self.verdict == ("ship", arm))
        if self.attempt(refused, ship, arm, reason=reason):
            self.stage, self.service = "shipped", "open"
            self.paused_by_watch = self.alarmed = False

    @rule(first=st.sampled_from([pause, kill, resume]), second=st.sampled_from([pause, kill, resume]))
    def two_at_once(self, first: Callable[..., object], second: Callable[..., object]) -> None:
        """Both have looked; the second is quicker: the first is told, and has changed nothing."""
        if self.stage not in STAGES or self.service == "redirected" or self.paused_by_watch:
            return
        self.log.quicker = lambda: second(self.log, "demo", by="bob", clock=self.clock)
        with pytest.raises(StaleHeadError):
            first(self.log, "demo", by="ann", clock=self.clock)
        last = [each.fact for each in self.log.read_since() if isinstance(each.fact, Transition)][-1]
        assert last.by == "bob"
        self.service = {pause: "paused", kill: "redirected", resume: "open"}[second]
        if second is resume:
            self.alarmed = False

    # What the gate, the gateways, the analysis and the monitor do.

    def told(self, kind: Callable[..., Fact], **more: Any) -> Fact:
        self.made += 1
        return kind(
            experiment="demo",
            happened=self.clock.now(),
            event_id=f"f{self.made}",
            digest=self.revision.digest,
            **more,
        )

    @rule(name=st.sampled_from(sorted(REVISIONS)), said=st.sampled_from(["pass", "fail", "inconclusive"]))
    def gate_says(self, name: str, said: str) -> None:
        self.log.append(
            [
                Gate(
                    experiment="demo",
                    happened=self.clock.now(),
                    digest=REVISIONS[name].digest,
                    decision=said,
                    evidence={},
                )
            ]
        )
        self.gates[name] = said

    @rule(arm=st.sampled_from(["b", "c"]), turns=st.sampled_from([3, TURNS]), fails=st.integers(0, 9))
    def is_shadowed(self, arm: str, turns: int, fails: int) -> None:
        """Turns of an arm in shadow; one time in ten all of them fail, which leaves no doubt about its guardrail."""
        facts: list[Fact] = []
        for _ in range(4 * TURNS if fails == 0 else turns):
            turn = self.told(
                Turn, trace=f"t{self.made}", unit=f"u{self.made}", reason="not_live", error=False
            )
            assert isinstance(turn, Turn)
            facts += [
                turn,
                self.told(
                    Shadow, trace=turn.trace, unit=turn.unit, variant=arm, of=turn.event_id, error=fails == 0
                ),
            ]
        if fails == 0 and self.shadowed[arm] > TURNS:
            # Among many that went well it may stay in doubt.
            return
        self.log.append(facts)
        self.shadowed[arm] += len(facts) // 2
        if fails == 0:
            self.failing.add(str(self.name))

    @rule(arm=st.sampled_from(["control", "b", "c"]))
    def is_exposed(self, arm: str) -> None:
        self.log.append(
            [
                self.told(
                    Exposure,
                    unit=f"u{self.made}",
                    unit_type="conversation",
                    variant=arm,
                    probability=0.3,
                    reason="split",
                )
            ]
        )

    @rule(action=st.sampled_from(["alert", "review", "pause"]), sustained=st.booleans())
    def a_watch_speaks(self, action: str, sustained: bool) -> None:
        self.log.append([self.told(Alert, watch=0, metric="error_rate", variant="b", action=action, sustained=sustained, ends=1.0, streak=2, value=0.1, limit=0.0, says="")])  # fmt: skip
        if sustained and action == "pause":
            self.paused_by_watch = True
            if self.stage in STAGES and self.service == "open":
                pause(self.log, "demo", by="the monitor", clock=self.clock)
                self.service = "paused"
        elif sustained:
            self.alarmed = True

    @rule(verdict=st.sampled_from(["ship", "keep running", "keep running"]), arm=st.sampled_from(["b", "c"]))
    def is_decided(self, verdict: str, arm: str) -> None:
        winner = arm if verdict == "ship" else None
        self.log.append([self.told(Decision, look="l", verdict=verdict, because="", arm=winner)])
        self.verdict = (verdict, winner)
        # The name is taken then, for every later revision that does not reshuffle.
        self.spent = self.spent or verdict == "ship"

    @rule(seconds=st.sampled_from([0.5, 11.0, 4000.0]))
    def pass_time(self, seconds: float) -> None:
        self.clock.advance(seconds)

    # What must hold.

    @rule(count=st.integers(1, 5))
    def follow(self, count: int) -> None:
        """Another process reads on a few facts, wherever it was."""
        for record in list(self.log.read_since(self.read, kinds=WATCHED))[:count]:
            self.follower = fold([record.fact], self.follower)
            self.read = record.position

    @invariant()
    def everybody_agrees(self) -> None:
        if not hasattr(self, "log"):
            return
        state = state_of(self.log, "demo", WATCHED)
        assert (state.stage, state.service) == (self.stage, self.service)
        assert state.digest == self.revision.digest
        assert set(state.allocations[-1].shares) == self.arms
        assert set(state.entered) - {"shipped", "rolled back"} == self.entered
        rest = (record.fact for record in self.log.read_since(self.read, kinds=WATCHED))
        assert fold(rest, self.follower) == state
        # Nothing that was written is another thing later.
        facts = [record.fact for record in self.log.read_since(0)]
        assert facts[: len(self.before)] == self.before
        self.before = facts

    def teardown(self) -> None:
        if not hasattr(self, "log"):
            return
        state = State()
        for record in self.log.read_since(0, kinds=WATCHED):
            fact, last = record.fact, state
            state = fold([fact], state)
            assert state.stage in (None, "offline", *STAGES, "shipped", "rolled back")
            assert state.service in ("open", "paused", "redirected")
            if isinstance(fact, Transition):
                assert fact.origin == last.stage
                assert fact.by
                assert fact.service is None or fact.evidence.get("service", last.service) == last.service
                if fact.stage in ("rolled back", "shipped") and fact.stage != last.stage:
                    assert fact.reason or fact.evidence["verdict"] == "ship"
                if RANK.get(fact.stage, 0) > RANK.get(str(last.stage), 9):
                    assert last.service != "redirected"
            if isinstance(fact, Allocation) and last.allocations:
                assert fact.epoch == last.allocations[-1].epoch + 1
                assert fact.starts >= last.allocations[-1].starts


@pytest.mark.parametrize("sequences", [80, pytest.param(5_000, marks=pytest.mark.long)])
def test_no_sequence_of_moves_leads_where_nobody_meant_to_go(sequences: int) -> None:
    """Enter, pause, kill, remove, ship and roll back, with gates, shadows, watches, crashes and rivals in any order."""
    run_state_machine_as_test(  # type: ignore[no-untyped-call]
        Rollouts,
        settings=settings(
            max_examples=sequences, stateful_step_count=30, deadline=None, database=None, derandomize=True,
            suppress_health_check=list(HealthCheck),
        ),
    )  # fmt: skip
