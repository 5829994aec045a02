"""The stage an experiment is in, derived from its facts; and what may be entered on which evidence.

Nothing here is stored: two processes that read the same facts agree, and a crash between two writes
leaves a valid state.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from fractions import Fraction
from itertools import dropwhile
from math import inf

from equipoise.events.facts import Alert, Allocation, Decision, Fact, Gate, Look, Registration, Transition
from equipoise.experiment.definition import Experiment, Scope

__all__ = [
    "ENROLLING",
    "LEDGER",
    "STAGES",
    "WATCHED",
    "Blocked",
    "Evidence",
    "State",
    "canary_ended",
    "coverage_of",
    "fold",
    "may_enter",
    "reopened",
    "rolled_back_to",
]

LEDGER = ("registration", "gate", "transition", "allocation", "look", "decision")
"""The kinds of fact an experiment's state is folded from."""

WATCHED = (*LEDGER, "alert")
"""The same with what watches said: for whoever asks whether the next stage may be entered."""

STAGES = ("shadow", "canary", "ab")
"""The stages that can be entered, in the order in which more and more is dared: in these an experiment is served."""

ENROLLING = ("canary", "ab")
"""Those of them in which units enter."""

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
    stays: tuple[tuple[str, float], ...] = ()
    """The stages of the registered digest, one after the other, and when it came to each (seconds since 1970 UTC)."""
    alerts: tuple[Alert, ...] = ()
    """What watches said since the service was last opened; empty where alerts were not read (`WATCHED`)."""

    @property
    def entered(self) -> tuple[str, ...]:
        """The same, each once, in the order in which it first came to them."""
        return tuple(dict.fromkeys(stage for stage, _ in self.stays))

    @property
    def answering(self) -> bool:
        """Whether a treatment may still answer somebody: in a stage, or rolled back for new conversations only."""
        return self.stage in STAGES or (self.stage == "rolled back" and self.service == "paused")

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
                if not state.stays or state.stays[-1][0] != fact.stage:
                    state = replace(state, stays=(*state.stays, (fact.stage, fact.happened)))
                if fact.service is not None:
                    state = replace(state, service=fact.service, service_since=fact.happened)
                if fact.service == "open":
                    # Whoever opens it again has seen what there was to see.
                    state = replace(state, alerts=())
            case Alert() if fact.digest == state.digest:
                state = replace(state, alerts=(*state.alerts, fact))
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


def canary_ended(experiment: Experiment, state: State) -> float | None:
    """When `ab` was entered after a canary whose units do not count (seconds since 1970 UTC), as the state has it.

    None where all units count: there was no canary, or the definition counts it. Infinity while it goes on.
    """
    if experiment.rollout.canary_counted or state.digest != experiment.digest:
        return None
    since = list(dropwhile(lambda stay: stay[0] != "canary", state.stays))
    return next((came for stage, came in since if stage == "ab"), inf) if since else None


def reopened(fact: Fact, digest: str) -> bool:
    """Whether somebody opened a service again with this fact, having seen why it was closed.

    >>> moved = Transition(experiment="bot", happened=5.0, digest="d", origin="ab", stage="ab", by="ana", service="open")
    >>> reopened(moved, "d"), reopened(replace(moved, service="paused"), "d"), reopened(moved, "another")
    (True, False, False)
    """
    return (
        isinstance(fact, Transition)
        and fact.digest == digest
        and fact.service == "open"
        and fact.origin in STAGES
    )


@dataclass(frozen=True, slots=True)
class Blocked:
    """Why a stage may not be entered. `reason_suffices`: a recorded reason is enough to go on.

    `unmeasured` is the same without what was measured, for pages that show no value between looks; None where there
    is none in it.
    """

    because: str
    reason_suffices: bool
    unmeasured: str | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """What is known of a definition when it is to enter a stage.

    `declared` are the stages it goes through, `skipped` those it declares it skips and why, `gated` whether it has an
    offline gate at all, `gate` the last decision. `stage`, `entered`, `service` and `alerts` are those of the `State`.
    Of a shadow `shadowed` counts the turns of each treatment that were paired with control's, of which `turns` each are
    asked for, and `beyond` says in a sentence each which guardrail is shown to be worse than its margin or beyond its
    limit. `cold` are the arms of a canary whose model was not kept warm.
    """

    digest: str
    declared: tuple[str, ...] = ("ab",)
    skipped: Mapping[str, str] = field(default_factory=dict)
    gated: bool = False
    gate: Gate | None = None
    stage: str | None = None
    entered: tuple[str, ...] = ()
    service: str = "open"
    alerts: tuple[Alert, ...] = ()
    shadowed: Mapping[str, int] = field(default_factory=dict)
    turns: int = 0
    beyond: tuple[str, ...] = ()
    cold: tuple[str, ...] = ()

    @classmethod
    def of(cls, experiment: Experiment, state: State) -> Evidence:
        """What the ledger knows of a definition: it may be another one than that of the state, which is then to come."""
        known = state if state.digest == experiment.digest else State(gates=state.gates)
        return cls(
            digest=experiment.digest,
            declared=experiment.rollout.stages,
            skipped=experiment.rollout.skip,
            gated=experiment.offline is not None,
            gate=known.gates.get(experiment.digest),
            stage=known.stage,
            entered=known.entered,
            service=known.service,
            alerts=known.alerts,
        )


def may_enter(stage: str, evidence: Evidence) -> tuple[Blocked, ...]:
    """What stands between a definition and a stage; empty where nothing does.

    What is not known, or not enough, an operator may go on without, and a recorded reason suffices. What is decided is
    undone by the verb that is there for it and by no reason: a gate that failed, a service that is redirected, or that a
    watch paused. So is a guardrail that shadow shows to be worse than the margin, or beyond the limit,
    declared for it.

    >>> staged = Evidence(digest="a", declared=("shadow", "canary", "ab"), stage="shadow", entered=("shadow",),
    ...                   shadowed={"treatment": 40}, turns=100)
    >>> [block.because for block in may_enter("canary", staged)]
    ['treatment has 40 of the 100 turns in shadow that are asked for']
    >>> [block.because for block in may_enter("ab", replace(staged, shadowed={"treatment": 100}))]
    ['the stage canary comes before ab']
    """
    blocks = [*_gate(evidence), *_service(evidence)]
    reached = max((_rank(each) for each in evidence.entered if each in evidence.declared), default=-1)
    # Whoever skipped a stage on the way to a later one has given the reason.
    blocks += [
        Blocked(f"the stage {earlier} comes before {stage}", True)
        for earlier in sorted(evidence.declared, key=_rank)
        if reached < _rank(earlier) < _rank(stage) and earlier not in evidence.skipped
    ]
    if _rank(stage) > _rank(evidence.stage or "offline"):
        blocks += _shadow(evidence)
        blocks += _alerts(evidence)
        if evidence.stage == "canary" and evidence.cold:
            arms = " and ".join(evidence.cold)
            blocks.append(
                Blocked(f"{arms} had too little traffic to stay warm, so its latency says little", True)
            )
    return tuple(blocks)


def _rank(stage: str) -> int:
    return STAGES.index(stage) if stage in STAGES else -1


def _gate(evidence: Evidence) -> list[Blocked]:
    gate = evidence.gate
    if not evidence.gated:
        return []
    if gate is None or gate.digest != evidence.digest:
        return [Blocked("the offline gate has not been run for this definition", True)]
    if gate.decision == "inconclusive":
        return [Blocked("the offline gate was inconclusive", True)]
    if gate.decision != "pass":
        return [Blocked(f"the offline gate said {gate.decision}", False)]
    return []


def _service(evidence: Evidence) -> list[Blocked]:
    if evidence.service == "redirected":
        return [Blocked("everyone is served control; `resume` opens it again", False)]
    return []


def _shadow(evidence: Evidence) -> list[Blocked]:
    if evidence.stage != "shadow":
        return []
    few = [
        Blocked(f"{arm} has {turns:,} of the {evidence.turns:,} turns in shadow that are asked for", True)
        for arm, turns in evidence.shadowed.items()
        if turns < evidence.turns
    ]
    bare = "in shadow a guardrail is beyond its margin or its limit"
    return few + [Blocked(f"in shadow {each}", False, bare) for each in evidence.beyond]


def _alerts(evidence: Evidence) -> list[Blocked]:
    blocks: dict[tuple[int, str], Blocked] = {}
    for alert in evidence.alerts:
        if not alert.sustained:
            continue
        paused = alert.action in ("pause", "rollback") and evidence.service != "open"
        known = blocks.get((alert.watch, alert.variant))
        if known is not None and not known.reason_suffices and not paused:
            # What paused it stands until it is resumed, whatever the watch said since.
            continue
        windows = f"{alert.streak} window{'' if alert.streak == 1 else 's'}"
        limit = f"{alert.value:.4g} against {alert.limit:.4g}"
        said = f"{alert.metric} of {alert.variant} was beyond its limit for {windows}"
        then = ", and was paused for it; `resume` opens it again" if paused else ""
        blocks[alert.watch, alert.variant] = Blocked(f"{said} ({limit}){then}", not paused, f"{said}{then}")
    return list(blocks.values())


def rolled_back_to(scope: Scope, service: str) -> str:
    """The service that a rollback leaves, by its scope and the service before.

    What was killed is not brought back for the conversations that go on.

    >>> rolled_back_to("now", "open"), rolled_back_to("new_conversations", "open")
    ('redirected', 'paused')
    """
    return "redirected" if scope == "now" or service == "redirected" else "paused"


def coverage_of(stage: str, experiment: Experiment) -> Fraction:
    """The share of units that a stage enrols; none in shadow, so that whoever began then is not in a canary."""
    if stage == "shadow":
        return Fraction(0)
    return experiment.rollout.canary_coverage if stage == "canary" else experiment.rollout.ab_coverage
