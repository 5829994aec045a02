"""The stage an experiment is in, derived from its facts; and what may be entered on which evidence.

Nothing here is stored: two processes that read the same facts agree, and a crash between two writes
leaves a valid state.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from equipoise.events.facts import Allocation, Decision, Fact, Gate, Look, Registration, Transition

__all__ = ["LEDGER", "Blocked", "State", "fold", "may_enter"]

LEDGER = ("registration", "gate", "transition", "allocation", "look", "decision")
"""The kinds of fact an experiment's state is folded from."""

FINAL = ("ship", "hold", "roll back")
"""Verdicts after which an experiment is over."""


@dataclass(frozen=True, slots=True)
class State:
    """Where an experiment stands: `stage` is None until it is registered."""

    stage: str | None = None
    digest: str | None = None
    registration: Registration | None = None
    gates: Mapping[str, Gate] = field(default_factory=dict)
    looks: tuple[Look, ...] = ()
    decision: Decision | None = None
    allocations: tuple[Allocation, ...] = ()
    """The epochs of the revision's `assignment_version`, oldest first."""
    service: str = "open"
    """`open`, `paused` (nobody new enters) or `redirected` (everyone is served control)."""
    service_since: float = 0.0
    shipped: str | None = None
    """The arm that is everyone's default."""
    spent: int = 0
    """The highest `assignment_version` of a revision that was judged to its end; 0 where none was."""

    @property
    def version(self) -> int:
        """The `assignment_version` of the registered revision; 0 where there is none."""
        return 0 if self.registration is None else _version(self.registration)

    @property
    def finished(self) -> bool:
        """Whether the last verdict on the registered digest ended the experiment."""
        return (
            self.decision is not None
            and self.decision.digest == self.digest
            and self.decision.verdict in FINAL
        )


def _version(registration: Registration) -> int:
    return int(registration.definition.get("assignment_version", 1))


def fold(facts: Iterable[Fact], state: State | None = None) -> State:
    """The state after these facts, in the order in which the log accepted them."""
    state = state or State()
    for fact in facts:
        match fact:
            case Registration():
                state = State(
                    stage="offline",
                    digest=fact.digest,
                    registration=fact,
                    gates=state.gates,
                    # The same units, hashed the same way: when they entered still says what they get.
                    allocations=state.allocations if _version(fact) == state.version else (),
                    spent=state.spent,
                )
            case Gate():
                state = replace(state, gates={**state.gates, fact.digest: fact})
            case Transition() if fact.digest == state.digest:
                state = replace(state, stage=fact.stage, shipped=fact.variant or state.shipped)
                if fact.service is not None:
                    state = replace(state, service=fact.service, service_since=fact.happened)
            case Allocation() if fact.digest == state.digest:
                state = replace(state, allocations=(*state.allocations, fact))
            case Look() if fact.digest == state.digest:
                state = replace(state, looks=(*state.looks, fact))
            case Decision() if fact.digest == state.digest:
                state = replace(state, decision=fact)
                if state.finished:
                    state = replace(state, spent=max(state.spent, state.version))
            case _:
                pass
    return state


@dataclass(frozen=True, slots=True)
class Blocked:
    """Why a stage may not be entered. `reason_suffices`: a recorded reason is enough to go on."""

    because: str
    reason_suffices: bool


def may_enter(
    stage: str,
    *,
    digest: str,
    declared: Iterable[str],
    skipped: Mapping[str, Any],
    gate: Gate | None,
    gated: bool,
) -> tuple[Blocked, ...]:
    """What stands between a definition and a stage; empty where nothing does.

    `declared` are the stages the definition goes through, `skipped` those it declares it skips and why,
    `gated` whether it has an offline gate at all.
    """
    blocks: list[Blocked] = []
    if gated:
        if gate is None or gate.digest != digest:
            blocks.append(Blocked("the offline gate has not been run for this definition", True))
        elif gate.decision == "inconclusive":
            blocks.append(Blocked("the offline gate was inconclusive", True))
        elif gate.decision != "pass":
            blocks.append(Blocked(f"the offline gate said {gate.decision}", False))
    for earlier in declared:
        if earlier == stage:
            break
        if earlier not in skipped:
            blocks.append(Blocked(f"the stage {earlier} comes before {stage}", True))
    return tuple(blocks)
