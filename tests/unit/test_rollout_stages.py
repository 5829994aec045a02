"""The stage of an experiment, folded from its facts; and what may be entered on which evidence."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import replace
from math import inf
from typing import Any

import pytest

from equipoise.events.facts import Alert, Decision, Fact, Gate, Look, Outcome, Registration, Transition
from equipoise.experiment.definition import Experiment, Rollout
from equipoise.experiment.reading import read_canonical
from equipoise.rollout.stages import FINAL, Blocked, Evidence, State, canary_ended, fold, may_enter


def registration(digest: str, version: int | None = None) -> Registration:
    definition: dict[str, Any] = (
        {"name": "e"} if version is None else {"name": "e", "assignment_version": version}
    )
    return Registration(experiment="e", happened=1.0, digest=digest, definition=definition, plan={}, by="ann")


def defined(hypothesis: str) -> Experiment:
    return read_canonical({"name": "e", "hypothesis": hypothesis, "unit": "user", "changes": ["model"],
                           "variants": {"control": {"model": "a"}, "b": {"model": "b"}},
                           "metrics": {"resolution_rate": {"priority": "primary"}}})  # fmt: skip


def moved(digest: str, stage: str) -> Transition:
    return Transition(experiment="e", happened=2.0, digest=digest, origin="offline", stage=stage, by="ann")


def look(digest: str, number: int) -> Look:
    return Look(experiment="e", happened=3.0, digest=digest, number=number, fraction=0.5, boundary=2.0, statistic=1.0, final=False, evidence={})  # fmt: skip


def decision(digest: str, verdict: str) -> Decision:
    return Decision(experiment="e", happened=4.0, digest=digest, look="l", verdict=verdict, because="")


def gate(digest: str, said: str) -> Gate:
    return Gate(experiment="e", happened=0.5, digest=digest, decision=said, evidence={})


STORY: list[Fact] = [
    gate("a", "inconclusive"), gate("a", "pass"), registration("a"), moved("a", "ab"), look("a", 1),
    decision("a", "keep running"), Outcome(experiment="e", happened=3.5, unit="u", name="n", value=True),
    look("a", 2), decision("a", "ship"),
]  # fmt: skip


def test_nothing_recorded_is_no_stage() -> None:
    """An experiment nobody registered has no stage, no digest and no verdict."""
    assert fold([]) == State()
    assert (State().stage, State().finished, State().spent) == (None, False, 0)


def test_the_story_of_an_experiment() -> None:
    """Gate, registration, transition, looks and verdict each leave their trace; other facts leave none."""
    state = fold(STORY)
    assert (state.stage, state.digest, state.finished, state.spent) == ("ab", "a", True, 1)
    assert state.registration is STORY[2]
    assert state.gates == {"a": STORY[1]}
    assert [each.number for each in state.looks] == [1, 2]
    assert state.decision is STORY[-1]
    assert fold(STORY[:3]).stage == "offline"
    assert not fold(STORY[:-1]).finished


@pytest.mark.parametrize("cut", range(len(STORY) + 1))
def test_folding_goes_on_where_it_stopped(cut: int) -> None:
    """The state of all facts is the state of the later ones folded onto that of the earlier ones."""
    assert fold(STORY[cut:], fold(STORY[:cut])) == fold(STORY)
    assert fold(iter(STORY)) == fold(STORY)


@pytest.mark.parametrize("verdict", ["ship", "hold", "roll back", "keep running", "invalid"])
def test_three_verdicts_are_final(verdict: str) -> None:
    """ship, hold and roll back end an experiment; the two others do not."""
    state = fold([registration("a"), decision("a", verdict)])
    assert state.finished is (verdict in FINAL)
    assert state.spent == (1 if verdict in FINAL else 0)


def test_facts_of_another_revision_do_not_count() -> None:
    """A look, a move or a verdict on another digest says nothing of the registered one."""
    state = fold([registration("b"), moved("a", "ab"), look("a", 1), decision("a", "ship")])
    assert (state.stage, state.looks, state.decision, state.finished) == ("offline", (), None, False)


def test_a_new_revision_starts_anew_and_keeps_its_gates() -> None:
    """Looks and verdict of the revision before are gone, what the gate said of each digest stays."""
    state = fold([*STORY, gate("b", "fail"), registration("b", 2)])
    assert (state.stage, state.digest, state.looks, state.decision, state.finished) == (
        "offline",
        "b",
        (),
        None,
        False,
    )
    assert {digest: each.decision for digest, each in state.gates.items()} == {"a": "pass", "b": "fail"}


def test_an_assignment_version_is_spent_for_good() -> None:
    """The highest version that was judged to its end is remembered through later revisions."""
    state = fold([registration("a", 3), decision("a", "hold"), registration("b", 4)])
    assert (state.finished, state.spent) == (False, 3)
    assert fold([decision("b", "ship")], state).spent == 4
    assert fold([registration("c", 1), decision("c", "ship")], state).spent == 3


def enter(stage: str = "ab", /, **more: Any) -> tuple[Blocked, ...]:
    return may_enter(stage, Evidence(**({"digest": "a"} | more)))


def test_nothing_stands_before_a_plain_experiment() -> None:
    """Without a gate and without earlier stages an experiment may go live."""
    assert enter() == ()


@pytest.mark.parametrize(
    "found, block",
    [
        (None, Blocked("the offline gate has not been run for this definition", True)),
        (gate("b", "pass"), Blocked("the offline gate has not been run for this definition", True)),
        (gate("a", "inconclusive"), Blocked("the offline gate was inconclusive", True)),
        (gate("a", "fail"), Blocked("the offline gate said fail", False)),
        (gate("a", "invalid"), Blocked("the offline gate said invalid", False)),
        (gate("a", "pass"), None),
    ],
)
def test_a_gate_that_is_declared_must_be_passed(found: Gate | None, block: Blocked | None) -> None:
    """Not run and inconclusive may be overridden with a reason; fail and invalid may not."""
    assert enter(gated=True, gate=found) == (() if block is None else (block,))
    assert enter(gated=False, gate=found) == ()


def subsets(stages: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    return itertools.chain.from_iterable(
        itertools.combinations(stages, size) for size in range(len(stages) + 1)
    )


@pytest.mark.parametrize("skipped", list(subsets(("shadow", "canary"))), ids=str)
def test_earlier_stages_come_first(skipped: tuple[str, ...]) -> None:
    """Each declared stage before this one is named, unless the definition skips it with a reason."""
    blocks = enter(declared=("shadow", "canary", "ab"), skipped=dict.fromkeys(skipped, "why"))
    assert blocks == tuple(
        Blocked(f"the stage {stage} comes before ab", True)
        for stage in ("shadow", "canary")
        if stage not in skipped
    )


def test_a_stage_waits_only_for_what_comes_before_it() -> None:
    """Shadow waits for nothing, canary for shadow; the gate is asked before any of them."""
    declared = ("shadow", "canary", "ab")
    assert enter("shadow", declared=declared) == ()
    assert enter("canary", declared=declared) == (Blocked("the stage shadow comes before canary", True),)
    assert enter("shadow", declared=declared, gated=True, gate=gate("a", "fail")) == (
        Blocked("the offline gate said fail", False),
    )


STAGED: dict[str, Any] = {"declared": ("shadow", "canary", "ab")}


@pytest.mark.parametrize(
    "entered, stage, named",
    [
        ((), "ab", ["shadow", "canary"]),
        (("shadow",), "ab", ["canary"]),
        (("shadow", "canary"), "ab", []),
        (("canary",), "ab", []),
        (("ab",), "canary", []),
    ],
)
def test_a_stage_that_was_entered_or_skipped_with_a_reason_is_behind(
    entered: tuple[str, ...], stage: str, named: list[str]
) -> None:
    """Only what was never come to is named: whoever went past a stage has said why."""
    blocks = enter(stage, entered=entered, stage=entered[-1] if entered else "offline", **STAGED)
    assert [block.because for block in blocks] == [f"the stage {each} comes before {stage}" for each in named]


def test_the_fold_keeps_the_stages_that_were_entered() -> None:
    """Each once, in the order in which the digest first came to them; another digest begins anew."""
    state = fold([registration("a"), *(moved("a", each) for each in ("shadow", "canary", "shadow", "ab"))])
    assert state.entered == ("shadow", "canary", "ab")
    assert fold([registration("b")], state).entered == ()
    # What is said of a stage while it goes on is no other stay.
    again = [moved("a", each) for each in ("ab", "ab", "canary", "canary", "ab")]
    assert [stage for stage, _ in fold([registration("a"), *again]).stays] == ["ab", "canary", "ab"]


def test_a_canary_ends_when_ab_is_entered_after_it() -> None:
    """Whatever was entered before it; it goes on for ever where nothing follows, and is of one revision."""

    def ended(*stays: tuple[str, float], digest: str = "a", counted: bool = False) -> float | None:
        one = replace(defined("It helps."), digest=digest, rollout=Rollout(canary_counted=counted))
        return canary_ended(one, State(digest="a", stays=stays))

    assert ended() is ended(("shadow", 1.0), ("ab", 2.0)) is None
    assert ended(("canary", 1.0)) == inf
    assert ended(("canary", 1.0), ("ab", 2.0), ("canary", 3.0), ("ab", 4.0)) == 2.0
    assert ended(("ab", 1.0), ("canary", 2.0), ("shadow", 3.0), ("ab", 4.0)) == 4.0
    assert ended(("canary", 1.0), ("ab", 2.0), counted=True) is None
    assert ended(("canary", 1.0), ("ab", 2.0), digest="b") is None


def alert(digest: str = "a", **more: Any) -> Alert:
    told: dict[str, Any] = {"watch": 0, "metric": "error_rate", "variant": "treatment", "action": "alert", "sustained": True,
                            "ends": 600.0, "streak": 2, "value": 0.0312, "limit": 0.01, "says": ""}  # fmt: skip
    return Alert(experiment="e", happened=5.0, digest=digest, **(told | more))


def opened(service: str) -> Transition:
    return Transition(
        experiment="e", happened=6.0, digest="a", origin="ab", stage="ab", by="ann", service=service
    )


def test_alerts_are_kept_until_somebody_opens_the_service() -> None:
    """A pause keeps them, another revision's are nobody's, and whoever resumes has seen them."""
    state = fold([registration("a"), alert(), alert("b"), opened("paused")])
    assert [each.digest for each in state.alerts] == ["a"]
    assert fold([opened("open")], state).alerts == ()
    assert fold([registration("b")], state).alerts == ()


LIMIT = "error_rate of treatment was beyond its limit for 2 windows (0.0312 against 0.01)"


@pytest.mark.parametrize(
    "evidence, block",
    [
        ({"alerts": (alert(),)}, Blocked(LIMIT, True)),
        ({"alerts": (alert(streak=1, sustained=False),)}, None),
        ({"alerts": (alert(), alert(streak=3))}, Blocked(LIMIT.replace("2 windows", "3 windows"), True)),
        ({"alerts": (alert(action="pause"),), "service": "paused"}, Blocked(f"{LIMIT}, and was paused for it; `resume` opens it again", False)),
        ({"alerts": (alert(action="pause"), alert(streak=5)), "service": "paused"}, Blocked(f"{LIMIT}, and was paused for it; `resume` opens it again", False)),
        ({"service": "redirected"}, Blocked("everyone is served control; `resume` opens it again", False)),
        ({"service": "paused"}, None),
        ({"cold": ("treatment",)}, Blocked("treatment had too little traffic to stay warm, so its latency says little", True)),
        ({"cold": ("control", "treatment")}, Blocked("control and treatment had too little traffic to stay warm, so its latency says little", True)),
    ],
)  # fmt: skip
def test_a_canary_is_left_warm_and_without_a_breach(evidence: dict[str, Any], block: Blocked | None) -> None:
    """A sustained breach and a cold model want a reason; what is closed is opened by its own verb and by no reason."""
    from_canary = {"stage": "canary", "entered": ("shadow", "canary"), **STAGED} | evidence
    assert enter("ab", **from_canary) == (() if block is None else (block,))
    if block is not None and block.reason_suffices:
        assert enter("shadow", **from_canary) == ()


def test_shadow_is_left_with_enough_turns_and_no_guardrail_beyond_its_margin() -> None:
    """Too few turns of an arm want a reason; a guardrail that is shown to be worse is no matter of reasons."""
    from_shadow = {"stage": "shadow", "entered": ("shadow",), "turns": 100, **STAGED}
    assert enter("canary", shadowed={"b": 100, "c": 250}, **from_shadow) == ()
    assert enter(
        "canary", shadowed={"b": 99, "c": 1_200}, beyond=("latency_p95 of c is worse",), **from_shadow
    ) == (
        Blocked("b has 99 of the 100 turns in shadow that are asked for", True),
        Blocked("in shadow latency_p95 of c is worse", False),
    )
    assert enter("shadow", shadowed={"b": 0}, **from_shadow) == ()


def test_evidence_is_of_the_definition_that_asks() -> None:
    """Of a revision that is to be registered only the gate is known: where the one before stands is not its stage."""
    one, other = (defined(said) for said in ("It helps.", "It helps more."))
    state = fold(
        [gate(other.digest, "pass"), registration(one.digest), moved(one.digest, "ab"), alert(one.digest)]
    )
    known = Evidence.of(one, state)
    assert (known.stage, known.entered, len(known.alerts)) == ("ab", ("ab",), 1)
    new = Evidence.of(other, state)
    assert (new.stage, new.entered, new.alerts, new.gate) == (None, (), (), state.gates[other.digest])
