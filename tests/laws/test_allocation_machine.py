"""Conversations through every move an operator can make, in any order, against a model of a few lines.

The model knows the variant each unit was first exposed to, and what was delivered of it; nothing of hashes, epochs,
leases or folds. Processes hear of the log when they do, restart without a memory of their own, and serve in between.
"""

from __future__ import annotations

from collections import Counter
from fractions import Fraction
from functools import cache
from random import Random
from typing import Any
from uuid import UUID

import hypothesis.strategies as st
import pytest
from hypothesis import HealthCheck, settings
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from equipoise.assignment.assigning import Assigner
from equipoise.assignment.configuration import Configuration, Folding
from equipoise.assignment.enrolled import Enrolled
from equipoise.assignment.epochs import LEASE
from equipoise.assignment.exposing import Exposed
from equipoise.assignment.pins import MemoryPins
from equipoise.assignment.tokens import Signer
from equipoise.clock import ManualClock
from equipoise.conduct.move import kill, pause, ramp, resume, reweight
from equipoise.conduct.register import register
from equipoise.errors import DataError, GateError, UsageError
from equipoise.events.facts import Exposure, Fact, Outcome
from equipoise.events.log import MemoryLog
from equipoise.experiment.definition import Experiment
from equipoise.experiment.reading import read_canonical
from equipoise.measurement.measuring import measure_log
from equipoise.rollout.stages import LEDGER

MEMORIES: dict[str, dict[str, Any]] = {
    "none": {"unit": {"type": "conversation"}},
    "uuid7": {"unit": {"type": "conversation", "id": "uuid7"}},
    "token": {"unit": {"type": "conversation", "id": "token"}},
    "pins": {"unit": {"type": "conversation"}, "pins": "required"},
}
TWO: dict[str, Any] = {
    "name": "demo",
    "hypothesis": "Nobody is moved.",
    "changes": ["model"],
    "variants": {"control": {"model": "a"}, "b": {"model": "b"}},
    "metrics": {
        "won": {"priority": "primary", "kind": "proportion", "of": "outcome.won", "better": "higher"}
    },
    "rollout": {"stages": ["ab"], "ab": {"coverage": "1/2"}},
}
REVISIONS: dict[str, dict[str, Any]] = {
    "two": TWO,
    "two, better said": TWO | {"hypothesis": "Nobody is ever moved."},
    "three": TWO | {"variants": TWO["variants"] | {"c": {"model": "c"}}},
}


@cache
def revision(name: str, memory: str) -> Experiment:
    return read_canonical(REVISIONS[name] | MEMORIES[memory])


class Process:
    """What one process knows of the log, put together as the gateway and the router do."""

    def __init__(self, log: MemoryLog, clock: ManualClock) -> None:
        self.log, self.clock = log, clock
        self.folding, self.enrolled, self.exposed = Folding(read_canonical), Enrolled(), Exposed()
        self.position, self.configuration = 0, Configuration()
        self.hear()

    def hear(self) -> None:
        records = list(self.log.read_since(self.position))
        self.folding.take(record.fact for record in records if record.fact.kind in LEDGER)
        for record in records:
            if isinstance(record.fact, Exposure):
                self.enrolled.add("demo", record.fact.unit)
        self.position = self.log.head()
        self.configuration = self.folding.configuration(self.clock.now())

    @property
    def stale(self) -> bool:
        return self.clock.now() - self.configuration.as_of > LEASE

    def assigner(self) -> Assigner:
        running = self.configuration.experiments["demo"]
        found = running.assigner(self.clock, enrolled=self.enrolled)
        return found.closing("stale", self.configuration.as_of + LEASE) if self.stale else found


class Conversations(RuleBasedStateMachine):
    """The real parts on the left, what must hold of them on the right."""

    @initialize(
        memory=st.sampled_from(sorted(MEMORIES)), processes=st.integers(1, 3), read_out=st.integers(0, 4)
    )
    def create(self, memory: str, processes: int, read_out: int) -> None:
        self.memory, self.clock, self.log = memory, ManualClock(1_800_000_000.0), MemoryLog()
        self.revision = revision("two", memory)
        register(self.log, self.revision, by="ann", clock=self.clock)
        self.processes = [Process(self.log, self.clock) for _ in range(processes)]
        self.pins, self.signer, self.tokens = MemoryPins(), Signer("a secret of some length"), {}
        self.minted = self.steps = 0
        # The engine takes longer to count than all the rest together: it does so for one sequence in five.
        self.reads_out = read_out == 0
        self.units: list[str] = []
        # The model.
        self.home: dict[str, str] = {}
        self.known_from: dict[str, int] = {}
        self.exposed: dict[str, dict[str, tuple[str, float]]] = {}
        self.said: dict[str, Outcome] = {}
        self.delivered: dict[str, Outcome] = {}
        self.arms, self.service, self.coverage = {"control", "b"}, "open", Fraction(1, 2)
        self.begin(12)

    # What an operator does.

    def attempt(self, refused: bool, verb: Any, *arguments: Any) -> bool:
        """Carry out a verb; whether it was let through, which is as the model says."""
        try:
            verb(self.log, *arguments, by="ann", reason="a test", clock=self.clock)
        except (GateError, UsageError):
            assert refused
            return False
        assert not refused
        return True

    @rule(coverage=st.sampled_from(["1/4", "1/2", "3/4", "1"]))
    def ramp(self, coverage: str) -> None:
        if self.attempt(
            self.memory == "none" and Fraction(coverage) < self.coverage, ramp, "demo", Fraction(coverage)
        ):
            self.coverage = Fraction(coverage)

    @rule(control=st.sampled_from(["1/10", "1/2", "9/10", "1"]), leaves_out=st.sampled_from(["", "b", "c"]))
    def reweight_or_remove(self, control: str, leaves_out: str) -> None:
        others = [each.name for each in self.revision.variants if each.name not in ("control", leaves_out)]
        rest = 1 - Fraction(control)
        shares = (
            {"control": Fraction(1)}
            if not others or not rest
            else {"control": Fraction(control)} | {name: rest / len(others) for name in others}
        )
        if self.attempt(self.memory == "none", reweight, "demo", shares):
            self.arms = set(shares)

    @rule(name=st.sampled_from(sorted(REVISIONS)))
    def revise(self, name: str) -> None:
        new = revision(name, self.memory)
        shrinks = self.coverage > Fraction(1, 2) or {each.name for each in new.variants} != self.arms
        same = new.digest == self.revision.digest
        if self.attempt(self.memory == "none" and shrinks and not same, register, new) and not same:
            self.revision, self.service, self.coverage = new, "open", Fraction(1, 2)
            self.arms = {each.name for each in new.variants}

    @rule(verb=st.sampled_from([pause, resume, kill]))
    def open_or_close(self, verb: Any) -> None:
        if self.attempt(verb is pause and self.service == "redirected", verb, "demo"):
            self.service = {pause: "paused", resume: "open", kill: "redirected"}[verb]

    # What time and processes do.

    @rule(seconds=st.sampled_from([0.001, 0.4, 3.0, 6.0, 11.0, 60.0]))
    def pass_time(self, seconds: float) -> None:
        self.clock.advance(seconds)

    @rule(which=st.integers(0, 2))
    def hear(self, which: int) -> None:
        self.processes[which % len(self.processes)].hear()

    @rule()
    def hear_all(self) -> None:
        for process in self.processes:
            process.hear()

    @rule(which=st.integers(0, 2))
    def restart(self, which: int) -> None:
        self.processes[which % len(self.processes)] = Process(self.log, self.clock)

    # What conversations do.

    @rule(count=st.integers(1, 6))
    def begin(self, count: int) -> None:
        """Conversations begin; they may be served at once, or much later."""
        for _ in range(count):
            self.minted += 1
            bits = self.minted * 0x9E3779B97F4A7C15 % (1 << 62)
            made = UUID(int=int(self.clock.now() * 1000) << 80 | 7 << 76 | 2 << 62 | bits)
            self.units.append(str(made) if self.memory == "uuid7" else f"conversation-{self.minted}")

    @rule(first=st.integers(0, 2))
    def everywhere(self, first: int) -> None:
        """A third of the conversations goes on, in every process."""
        for process in self.processes:
            self.serve(process, self.units[first::3])

    @invariant()
    def somebody_comes_by(self) -> None:
        """After whatever happened, some of the conversations go on in one of the processes."""
        if hasattr(self, "processes"):
            self.steps += 1
            process = self.processes[self.steps % len(self.processes)]
            self.serve(process, self.units[self.steps % 4 :: 4])

    def serve(self, process: Process, units: list[str]) -> None:
        assigner = process.assigner()
        for unit in units:
            self.served(process, assigner, unit)

    def served(self, process: Process, assigner: Assigner, unit: str) -> None:
        entered = self.pins.find("demo/1", unit) if self.memory == "pins" else None
        if unit in self.tokens:
            entered = int(self.signer.read("assignment", self.tokens[unit])[2])
        drawn = assigner.draw(unit, entered=entered)
        if unit in self.home:
            # Where it was heard of, and wherever nothing keeps a process from letting units in, it keeps its variant;
            # nowhere does it get another one.
            closed = process.stale or process.configuration.experiments["demo"].service == "paused"
            informed = self.known_from[unit] <= process.position
            if informed or not closed or drawn.variant is not None:
                assert drawn.variant == self.home[unit], (unit, drawn.reason)
            if process.position == self.log.head() and not process.stale:
                own = self.service != "redirected" and self.home[unit] in self.arms
                assert drawn.serves == (self.home[unit] if own else "control")
                assert drawn.counts == own
        if not drawn.counts:
            return
        if self.memory == "token":
            self.tokens[unit] = self.signer.sign("assignment", ["demo/1", unit, drawn.epoch])
        if self.memory == "pins":
            assert self.pins.pin("demo/1", unit, drawn.epoch) == drawn.epoch
        if process.exposed.knows(drawn, unit):
            return
        fact = Exposure(
            experiment="demo", happened=self.clock.now(), digest=drawn.experiment.digest, unit=unit,
            unit_type="conversation", variant=str(drawn.variant), probability=float(drawn.probability or 0),
            reason=drawn.reason, epoch=drawn.epoch,
        )  # fmt: skip
        self.log.append([fact])
        process.exposed.remember(drawn, unit)
        process.enrolled.add("demo", unit)
        self.home.setdefault(unit, fact.variant)
        self.known_from.setdefault(unit, self.log.head())
        self.exposed.setdefault(fact.digest, {}).setdefault(unit, (fact.variant, fact.happened))

    # What is told of them: late, twice, in another order.

    @rule(first=st.integers(0, 4), won=st.booleans())
    def say(self, first: int, won: bool) -> None:
        for unit in self.units[first::5]:
            said = Outcome(experiment="demo", happened=self.clock.now(), event_id=f"outcome-{len(self.said)}", unit=unit,
                           name="won", value=won)  # fmt: skip
            self.said[said.event_id] = said

    @rule(order=st.randoms(use_true_random=False), count=st.integers(1, 12))
    def deliver(self, order: Random, count: int) -> None:
        exposures = [record.fact for record in self.log.read_since(kinds=("exposure",))]
        facts: list[Fact] = (
            order.choices([*self.said.values(), *exposures], k=count) if self.said or exposures else []
        )
        receipt = self.log.append(facts)
        new = {fact.event_id for fact in facts if isinstance(fact, Outcome)} - self.delivered.keys()
        assert (receipt.accepted, receipt.repeated) == (len(new), len(facts) - len(new))
        self.delivered |= {each: self.said[each] for each in new}

    # What is counted.

    def teardown(self) -> None:
        if not hasattr(self, "log"):
            return
        for process in self.processes:
            process.hear()
            self.serve(process, list(self.home))
        own = self.exposed.get(self.revision.digest, {})
        in_log = [record.fact for record in self.log.read_since(kinds=("exposure", "outcome"))]
        assert {each.event_id for each in in_log if isinstance(each, Outcome)} == self.delivered.keys()
        assert {(each.digest, each.unit, each.variant) for each in in_log if isinstance(each, Exposure)} == {
            (digest, unit, of[0]) for digest, units in self.exposed.items() for unit, of in units.items()
        }
        assert len({each.event_id for each in in_log}) == len(in_log)
        if not self.reads_out:
            return
        if not own:
            with pytest.raises(DataError):
                measure_log(self.revision, self.log)
            return
        measured = measure_log(self.revision, self.log)
        names = [each.name for each in self.revision.variants]
        # Under an earlier revision with more arms a unit may belong to one that this revision does not have.
        counted = Counter(variant for variant, _ in own.values())
        assert measured.units == {name: counted[name] for name in names}
        assert (measured.crossed, measured.aside.lost) == (0, {})
        told = self.delivered.values()
        heard = {each.unit for each in told if each.unit in own and each.happened >= own[each.unit][1]}
        by_arm = Counter(own[unit][0] for unit in heard)
        assert {name: tally.units for name, tally in measured.tallies["won"].items()} == {
            name: by_arm[name] for name in names
        }
        assert measured.aside.orphans == sum(each.unit not in own for each in told)
        assert measured.aside.early == sum(
            each.unit in own and each.happened < own[each.unit][1] for each in told
        )


@pytest.mark.parametrize("sequences", [80, pytest.param(20_000, marks=pytest.mark.long)])
def test_no_sequence_of_moves_changes_a_live_conversation_and_the_counts_are_the_models(
    sequences: int,
) -> None:
    """Create, ramp, re-weight, remove, revise, pause, kill, restart, late, twice, in any order: everybody stays, and adds up."""
    run_state_machine_as_test(  # type: ignore[no-untyped-call]
        Conversations,
        settings=settings(
            max_examples=sequences, stateful_step_count=30, deadline=None, database=None, derandomize=True,
            suppress_health_check=list(HealthCheck),
        ),
    )  # fmt: skip
