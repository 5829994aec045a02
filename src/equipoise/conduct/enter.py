"""Enter: move an experiment to a stage, on what is known of the stage it is in."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from equipoise.clock import Clock
from equipoise.conduct.moving import Moved, Moving, moving, said, taking_out
from equipoise.errors import GateError, UsageError
from equipoise.events.facts import Fact, Transition, Turn
from equipoise.events.log import EventLog
from equipoise.experiment.definition import Experiment
from equipoise.measurement.warmth import ArmWarmth, Warmth
from equipoise.rollout.stages import (
    ENROLLING,
    STAGES,
    WATCHED,
    Blocked,
    Evidence,
    State,
    coverage_of,
    may_enter,
)

if TYPE_CHECKING:
    from equipoise.conduct.shadow import Shadowing

__all__ = ["Known", "enter", "known", "warmth"]


def enter(
    log: EventLog, name: str, stage: str, *, by: str, reason: str | None = None, clock: Clock | None = None
) -> Moved:
    """Move an experiment to the stage `shadow`, `canary` or `ab`, with that stage's coverage.

    One that is paused stays so until `resume`. Raises GateError where something stands in the way (`may_enter`) and no
    reason suffices or none is given, where exposed units would be taken out, or where the experiment is over;
    StaleHeadError where somebody else moved it meanwhile, or a watch spoke.
    """
    at = moving(log, name, by, reason, clock, WATCHED)
    if stage not in STAGES:
        raise UsageError(f"'{stage}' is no stage to enter; accepted: {', '.join(STAGES)}")
    if at.state.stage not in ("offline", *STAGES):
        raise GateError(f"{at.experiment.identity} is {at.state.stage}; register a new revision to try again")
    evidence = known(log, at.experiment, at.state)
    blocks = may_enter(stage, evidence.evidence)
    _refuse(at, stage, blocks, reason)
    told = evidence.to_dict() | {"overridden": [block.because for block in blocks]}
    facts: list[Fact] = [at.transition(stage=stage, evidence=told)]
    if stage in ENROLLING and at.coverage != (coverage := coverage_of(stage, at.experiment)):
        taking_out(at, coverage)
        facts.append(at.allocation(at.shares, coverage))
    return at.append(*facts)


def _refuse(at: Moving, stage: str, blocks: tuple[Blocked, ...], reason: str | None) -> None:
    final = [block.because for block in blocks if not block.reason_suffices]
    if final:
        raise GateError(
            f"{at.experiment.identity} may not enter {stage}: {'; '.join(final)}. A reason does not go past that"
        )
    if blocks and not said(reason):
        raise GateError(
            f"{at.experiment.identity} may not enter {stage}: {'; '.join(block.because for block in blocks)}. "
            "Give the reason for going on with --reason"
        )


class Known:
    """What is known of the stage an experiment is in: the evidence, and what it was made of."""

    def __init__(self, evidence: Evidence, shadowing: Shadowing | None, arms: dict[str, ArmWarmth]) -> None:
        self.evidence, self.shadow, self.warmth = evidence, shadowing, arms

    def to_dict(self) -> dict[str, Any]:
        """What a transition keeps of it, as plain JSON."""
        evidence = self.evidence
        kept: dict[str, Any] = {
            "gate": None if evidence.gate is None else evidence.gate.decision,
            "alerts": len(evidence.alerts),
        }
        if self.shadow is not None:
            kept["shadow"] = self.shadow.to_dict()
        if self.warmth:
            kept["warmth"] = {
                arm: {"warm": each.warm, "cold": each.cold} for arm, each in self.warmth.items()
            }
        return kept


def known(log: EventLog, experiment: Experiment, state: State) -> Known:
    """The evidence on an experiment in the stage it is in. Shadow is read out; a canary's turns are looked through."""
    evidence = Evidence.of(experiment, state)
    if state.stage == "shadow":
        from equipoise.conduct.shadow import shadow

        found = shadow(log, experiment)
        evidence = replace(
            evidence,
            shadowed=found.turns,
            turns=experiment.rollout.shadow_turns,
            beyond=found.beyond,
        )
        return Known(evidence, found, {})
    arms = warmth(log, experiment) if state.stage == "canary" else {}
    return Known(
        replace(evidence, cold=tuple(arm for arm, each in arms.items() if each.too_cold)), None, arms
    )


def warmth(log: EventLog, experiment: Experiment) -> dict[str, ArmWarmth]:
    """How warm the models of a canary are, by arm, since it was entered."""
    since = 0
    for record in log.read_since(0, experiment=experiment.name, kinds=("transition",)):
        match record.fact:
            case Transition(digest=experiment.digest, stage="canary", origin=origin) if origin != "canary":
                since = record.position
            case _:
                pass
    counted = Warmth()
    for record in log.read_since(since, experiment=experiment.name, kinds=("turn",)):
        if isinstance(record.fact, Turn) and record.fact.digest == experiment.digest:
            counted.add(record.fact)
    return dict(counted.arms())
