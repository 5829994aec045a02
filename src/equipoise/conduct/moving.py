"""Moving: what every verb of an operator stands on: the head it was decided at, its facts, appended all or none."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction
from typing import Any

from equipoise.assignment.epochs import LEAD
from equipoise.clock import Clock, SystemClock
from equipoise.conduct.ledger import registered
from equipoise.errors import GateError, UsageError
from equipoise.events.facts import Allocation, Fact, Transition
from equipoise.events.log import EventLog, StaleHeadError
from equipoise.experiment.definition import Experiment
from equipoise.rollout.stages import LEDGER, State, coverage_of

__all__ = ["Moved", "Moving", "add_evidence", "moving", "reasoned", "said", "taking_out"]


@dataclass(frozen=True, slots=True)
class Moved:
    """What a verb did: the stage, the service, and the epoch it opened (None: none), starting at `starts`.

    `evidence` is what it rests on and what it did, as it is kept in the ledger.
    """

    experiment: str
    stage: str
    service: str
    epoch: int | None = None
    starts: float | None = None
    evidence: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Moving:
    """A registered experiment, and the head of the log it was read at: what happened since makes a verb stale."""

    log: EventLog
    experiment: Experiment
    state: State
    head: int
    now: float
    by: str
    reason: str | None
    kinds: Sequence[str] = LEDGER

    @property
    def stage(self) -> str:
        return self.state.stage or "offline"

    def transition(
        self,
        *,
        stage: str | None = None,
        service: str | None = None,
        variant: str | None = None,
        evidence: Mapping[str, Any] | None = None,
    ) -> Transition:
        # Where the service came from stands nowhere else.
        before = {} if service is None else {"service": self.state.service}
        return Transition(
            experiment=self.experiment.name,
            happened=self.now,
            digest=self.experiment.digest,
            origin=self.stage,
            stage=stage or self.stage,
            by=self.by,
            reason=self.reason,
            evidence={**before, **(evidence or {})},
            service=service,
            variant=variant,
        )

    def allocation(self, shares: Mapping[str, str], coverage: Fraction) -> Allocation:
        last = self.state.allocations[-1] if self.state.allocations else None
        return Allocation(
            experiment=self.experiment.name,
            happened=self.now,
            digest=self.experiment.digest,
            epoch=0 if last is None else last.epoch + 1,
            # Every gateway hears of an epoch before it begins, or knows that it has not heard.
            starts=max(self.now + LEAD, last.starts if last else 0.0),
            shares=dict(shares),
            coverage=str(coverage),
            by=self.by,
            reason=self.reason,
        )

    @property
    def shares(self) -> Mapping[str, str]:
        if self.state.allocations:
            return self.state.allocations[-1].shares
        return {name: str(share) for name, share in self.experiment.allocation.items()}

    @property
    def coverage(self) -> Fraction:
        if self.state.allocations:
            return Fraction(self.state.allocations[-1].coverage)
        return coverage_of(self.state.stage or "ab", self.experiment)

    def append(self, *facts: Fact) -> Moved:
        """Keep the facts of a verb. StaleHeadError where somebody else moved the experiment meanwhile."""
        self.log.append_if(facts, self.head, experiment=self.experiment.name, kinds=self.kinds)
        stage, service = self.stage, self.state.service
        epoch = starts = None
        evidence: Mapping[str, Any] = {}
        for fact in facts:
            if isinstance(fact, Transition):
                stage, service, evidence = fact.stage, fact.service or service, fact.evidence
            elif isinstance(fact, Allocation):
                epoch, starts = fact.epoch, fact.starts
        return Moved(self.experiment.identity, stage, service, epoch, starts, evidence)


def moving(
    log: EventLog,
    name: str,
    by: str,
    reason: str | None,
    clock: Clock | None,
    kinds: Sequence[str] = LEDGER,
) -> Moving:
    """An experiment as it stands, ready to be moved. RecordError where none is registered under the name."""
    head = log.head()
    experiment, _, state = registered(log, name, kinds)
    return Moving(log, experiment, state, head, (clock or SystemClock()).now(), by, reason, kinds)


def said(reason: str | None) -> bool:
    """Whether a reason was given that says anything."""
    return bool(reason and reason.strip())


def reasoned(reason: str | None, what: str) -> None:
    """UsageError where no reason is given for what needs one."""
    if not said(reason):
        raise UsageError(f'say why you {what}: --reason "…". It is kept with the experiment')


def taking_out(at: Moving, coverage: Fraction) -> None:
    """GateError where less coverage would take units out that are exposed."""
    if coverage < at.coverage and not at.experiment.remembers:
        raise GateError(
            f"less than {float(at.coverage):.2%} would take exposed units out of {at.experiment.identity}: it "
            "cannot be told when they entered. `pause` keeps them and lets nobody else in"
        )


def add_evidence(at: Moving, evidence: Mapping[str, Any]) -> None:
    """Keep what a verb turned out to do, after it was done: a transition from a stage to itself.

    Nothing is kept where another revision was registered meanwhile.
    """
    name = at.experiment.name
    while True:
        head = at.log.head()
        experiment, _, state = registered(at.log, name)
        if experiment.digest != at.experiment.digest:
            return
        told = replace(at, state=state).transition(evidence=evidence)
        try:
            at.log.append_if([told], head, experiment=name, kinds=LEDGER)
        except StaleHeadError:
            # Somebody else moved it: what this one did is told from where it stands now.
            continue
        return
