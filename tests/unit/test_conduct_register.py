"""Registering: what it writes, what stands in its way, and what a name that is taken means."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from equipoise.clock import ManualClock
from equipoise.conduct.ledger import state_of
from equipoise.conduct.register import Registered, register
from equipoise.errors import GateError, RecordError, UsageError
from equipoise.events.facts import Allocation, Decision, Exposure, Gate, Look, Registration, Transition
from equipoise.events.log import EventLog, MemoryLog, StaleHeadError
from equipoise.events.opening import open_log
from equipoise.experiment.definition import Experiment
from equipoise.experiment.identity import canonical
from equipoise.experiment.reading import read_canonical, read_definition
from equipoise.rollout.stages import LEDGER

BASE: dict[str, Any] = {
    "name": "demo",
    "hypothesis": "A newer model resolves more.",
    "unit": "user",
    "changes": ["model"],
    "variants": {"control": {"model": "a"}, "treatment": {"model": "b"}},
    "metrics": {"resolution_rate": {"priority": "primary", "baseline": 0.6, "mde": 0.05}},
}
GATED = BASE | {"offline": {"cases": "golden.jsonl", "judge": {"model": "j"}}}
STAGED = BASE | {"rollout": {"stages": ["shadow", "canary", "ab"], "skip": {"canary": "internal users only"}}}


@pytest.fixture(params=["memory", "sqlite"])
def log(request: pytest.FixtureRequest, tmp_path: Path) -> Any:
    """An empty log of either kind."""
    opened = open_log("memory:" if request.param == "memory" else tmp_path / "log.db")
    yield opened
    opened.close()


def experiment(**more: Any) -> Experiment:
    return read_canonical(BASE | more)


def gated(log: EventLog, of: Experiment, decision: str) -> None:
    log.append([Gate(experiment=of.name, happened=1.0, digest=of.digest, decision=decision, evidence={})])


def judged(log: EventLog, of: Experiment, verdict: str) -> None:
    log.append(
        [Decision(experiment=of.name, happened=2.0, digest=of.digest, look="l", verdict=verdict, because="")]
    )


def test_registering_freezes_the_definition_and_opens_the_experiment(log: EventLog) -> None:
    """Three facts in one delivery: the definition with its plan, the move from offline to ab, and the first epoch."""
    drawn = experiment()
    done = register(log, drawn, by="ann", clock=ManualClock(50.0))
    assert (done.experiment, done.stage, done.already, done.overridden) == (drawn.identity, "ab", False, ())
    registration, transition, allocation = (record.fact for record in log.read_since())
    assert isinstance(registration, Registration)
    assert (registration.digest, registration.by, registration.reason, registration.happened) == (
        drawn.digest,
        "ann",
        None,
        50.0,
    )
    assert read_canonical(registration.definition) == drawn
    assert registration.plan == json.loads(json.dumps(done.plan.to_dict()))
    assert isinstance(transition, Transition)
    assert (transition.origin, transition.stage, transition.by, transition.evidence) == (
        "offline",
        "ab",
        "ann",
        {"overridden": []},
    )
    assert allocation == Allocation(
        experiment="demo", happened=50.0, event_id=allocation.event_id, digest=drawn.digest, epoch=0, starts=50.0,
        shares={"control": "1/2", "treatment": "1/2"}, coverage="1", by="ann",
    )  # fmt: skip
    state = state_of(log, "demo")
    assert (state.stage, state.digest, state.finished) == ("ab", drawn.digest, False)


def test_registering_again_changes_nothing(log: EventLog) -> None:
    """The same definition, spelt anew, is registered already; not one fact is added."""
    register(log, experiment(), by="ann")
    head = log.head()
    again = register(
        log, experiment(allocation={"control": "50%", "treatment": 0.5}), by="bob", reason="once more"
    )
    assert (again.already, again.stage, again.experiment) == (True, "ab", experiment().identity)
    assert log.head() == head
    judged(log, experiment(), "ship")
    assert register(log, experiment(), by="ann").already


@pytest.mark.parametrize(
    "definition, decision, sentence",
    [
        (GATED, None, "the offline gate has not been run for this definition"),
        (GATED, "inconclusive", "the offline gate was inconclusive"),
        (STAGED, None, "the stage shadow comes before ab"),
        (
            STAGED | {"offline": GATED["offline"]},
            None,
            "the offline gate has not been run for this definition; the stage shadow comes before ab",
        ),
    ],
)  # fmt: skip
def test_what_a_person_may_decide_needs_a_reason(
    definition: dict[str, Any], decision: str | None, sentence: str, log: EventLog
) -> None:
    """Without one, or with an empty one, nothing is written; with one it is recorded beside what it overrides."""
    drawn = read_canonical(definition)
    if decision:
        gated(log, drawn, decision)
    head = log.head()
    for reason in (None, "", "  "):
        with pytest.raises(GateError) as refused:
            register(log, drawn, by="ann", reason=reason, stage="ab")
        assert str(refused.value) == (
            f"{drawn.identity} may not go live yet: {sentence}. "
            "Run `equipoise arena` with this log first, or give the reason for going on with --reason"
        )
        assert refused.value.exit_code == 3
    assert log.head() == head
    done = register(log, drawn, by="ann", reason="five cases settle little", stage="ab")
    assert "; ".join(done.overridden) == sentence
    transition = [record.fact for record in log.read_since()][-2]
    assert isinstance(transition, Transition)
    assert transition.reason == "five cases settle little"
    assert transition.evidence == {"overridden": list(done.overridden)}


@pytest.mark.parametrize("decision", ["fail", "invalid"])
def test_a_failed_gate_is_no_matter_of_reasons(decision: str, log: EventLog) -> None:
    """A reason does not carry a definition past a gate it failed."""
    drawn = read_canonical(GATED)
    gated(log, drawn, decision)
    for reason in (None, "I like it"):
        with pytest.raises(GateError) as refused:
            register(log, drawn, by="ann", reason=reason)
        assert str(refused.value) == (
            f"{drawn.identity} may not go live: the offline gate said {decision}. Change the experiment and try again"
        )
    assert log.head() == 1


def test_the_last_word_of_the_gate_counts(log: EventLog) -> None:
    """A pass after a fail opens the way; a pass of another definition does not."""
    drawn = read_canonical(GATED)
    other = read_canonical(GATED | {"hypothesis": "Another one."})
    gated(log, other, "pass")
    with pytest.raises(GateError):
        register(log, drawn, by="ann")
    gated(log, drawn, "fail")
    gated(log, drawn, "pass")
    assert register(log, drawn, by="ann").overridden == ()


@pytest.mark.parametrize("verdict", ["ship", "hold", "roll back"])
def test_a_finished_name_is_taken(verdict: str, log: EventLog) -> None:
    """Its units would get the variants they had: only a new assignment version, or another name, goes on."""
    register(log, experiment(), by="ann")
    judged(log, experiment(), verdict)
    with pytest.raises(RecordError) as refused:
        register(log, experiment(hypothesis="Second try."), by="ann")
    assert str(refused.value) == (
        "an experiment called demo is finished. Its units would get the same variants again; "
        "choose another name, or set `assignment_version: 2` to reshuffle them"
    )
    assert not register(log, experiment(hypothesis="Second try.", assignment_version=2), by="ann").already
    assert not register(log, experiment(name="demo2"), by="ann").already


def test_a_version_that_was_spent_stays_spent(log: EventLog) -> None:
    """A later revision that still runs does not free the version of an earlier one that is finished."""
    register(log, experiment(), by="ann")
    judged(log, experiment(), "hold")
    register(log, experiment(assignment_version=2), by="ann")
    with pytest.raises(RecordError):
        register(log, experiment(hypothesis="Third try."), by="ann")
    with pytest.raises(RecordError):
        register(log, experiment(), by="ann")
    assert state_of(log, "demo").digest == experiment(assignment_version=2).digest


@pytest.mark.parametrize("verdict", ["keep running", "invalid"])
def test_a_revision_of_a_running_experiment_takes_its_place(verdict: str, log: EventLog) -> None:
    """An experiment that is not finished may be revised; its units stay where they are."""
    register(log, experiment(), by="ann")
    judged(log, experiment(), verdict)
    revised = experiment(hypothesis="Better said.")
    assert not register(log, revised, by="ann").already
    state = state_of(log, "demo")
    assert (state.digest, state.stage, state.looks, state.decision) == (revised.digest, "ab", (), None)


def test_what_cannot_be_watched_cannot_be_registered(log: EventLog) -> None:
    """Whoever registers relies on the watches; one that nobody would follow is refused before anything is written."""
    drawn = experiment(watches=[{"metric": next(iter(BASE["metrics"])), "min": 0.1, "window": "90s"}])
    with pytest.raises(UsageError) as refused:
        register(log, drawn, by="ann")
    assert str(refused.value) == (
        "a window of 90 s cannot be watched: what happens is counted by the minute. Declare whole minutes, such as 5m"
    )
    assert log.head() == 0


class Meddled(MemoryLog):
    """A log in memory into which somebody writes between reading and deciding."""

    meddle: Callable[[], object] | None = None

    def append_if(self, *args: Any, **kwargs: Any) -> Any:
        if self.meddle is not None:
            self.meddle()
        return super().append_if(*args, **kwargs)


@pytest.mark.parametrize("kind", LEDGER)
def test_somebody_elses_decision_outdates_this_one(kind: str) -> None:
    """A fact of the ledger that arrives meanwhile refuses the registration."""
    common: dict[str, Any] = {"experiment": "demo", "happened": 1.0, "digest": "d"}
    facts = {
        "registration": Registration(**common, definition={}, plan={}, by="bob"),
        "gate": Gate(**common, decision="fail", evidence={}),
        "transition": Transition(**common, origin="ab", stage="rolled back", by="bob"),
        "allocation": Allocation(
            **common, epoch=0, starts=1.0, shares={"control": "1"}, coverage="1", by="bob"
        ),
        "look": Look(**common, number=1, fraction=1.0, boundary=1.0, statistic=None, final=True, evidence={}),
        "decision": Decision(**common, look="l", verdict="hold", because=""),
    }
    log = Meddled()
    log.meddle = lambda: log.append([facts[kind]])
    with pytest.raises(StaleHeadError):
        register(log, experiment(), by="ann")
    assert log.head() == 1


def test_traffic_and_neighbours_do_not_outdate_a_registration() -> None:
    """Exposures of this experiment and decisions of others may stream in meanwhile."""
    log = Meddled()
    log.meddle = lambda: log.append(
        [
            Exposure(experiment="demo", happened=1.0, digest="d", unit="u", unit_type="user", variant="control", probability=0.5, reason="split"),
            Decision(experiment="other", happened=1.0, digest="d", look="l", verdict="hold", because=""),
        ]
    )  # fmt: skip
    assert not register(log, experiment(), by="ann").already
    assert log.head() == 5


def test_of_two_operators_one_registers(log: EventLog) -> None:
    """Different revisions at once: one is registered, the other is told to look again, or sees it as its past."""
    barrier = threading.Barrier(2)
    results: list[Registered | StaleHeadError] = []

    def attempt(hypothesis: str) -> None:
        drawn = experiment(hypothesis=hypothesis)
        barrier.wait()
        try:
            results.append(register(log, drawn, by=hypothesis))
        except StaleHeadError as stale:
            results.append(stale)

    threads = [threading.Thread(target=attempt, args=(hypothesis,)) for hypothesis in ("one", "two")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    won = sum(isinstance(result, Registered) for result in results)
    assert won >= 1
    assert log.head() == 3 * won
    kinds = [record.fact.kind for record in log.read_since()]
    assert kinds == ["registration", "transition", "allocation"] * won


@pytest.mark.parametrize(
    "name", ["minimal", "whole", "settings", "table", "watched", "recorded", "prompt_text", "names"]
)
def test_every_kind_of_definition_can_be_kept(name: str, log: EventLog) -> None:
    """What the log gives back is the definition that went in, with its digest."""
    drawn = read_definition(Path(__file__).parents[1] / "vectors" / "definitions" / f"{name}.yaml").experiment
    # Two of the windows that stand there cannot be watched, and are refused.
    of = canonical(drawn)
    drawn = read_canonical(of | {"watches": [each | {"window": "5m"} for each in of.get("watches", ())]})
    register(log, drawn, by="ann", reason="for the record")
    registration = next(log.read_since(kinds=["registration"])).fact
    assert isinstance(registration, Registration)
    again = read_canonical(registration.definition)
    assert again == drawn
    assert again.digest == registration.digest == drawn.digest
