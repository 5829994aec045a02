"""Move: the verbs of an operator on a registered experiment, each a few facts, appended all or none."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Literal

from equipoise.assignment.epochs import LEAD
from equipoise.clock import Clock, SystemClock
from equipoise.conduct.ledger import registered
from equipoise.conduct.register import coverage_of
from equipoise.errors import GateError, UsageError
from equipoise.events.facts import Allocation, Fact, Transition
from equipoise.events.log import EventLog
from equipoise.experiment.definition import Experiment
from equipoise.rollout.stages import LEDGER, State, may_enter

__all__ = ["Moved", "enter", "kill", "pause", "ramp", "resume", "reweight", "roll_back", "ship"]

_ENROLLING = ("canary", "ab")


@dataclass(frozen=True, slots=True)
class Moved:
    """What a verb did: the stage, the service, and the epoch it opened (None: none), starting at `starts`."""

    experiment: str
    stage: str
    service: str
    epoch: int | None = None
    starts: float | None = None


@dataclass(frozen=True, slots=True)
class _Standing:
    """A registered experiment, and the head of the log it was read at: what happened since makes a verb stale."""

    log: EventLog
    experiment: Experiment
    state: State
    head: int
    now: float
    by: str
    reason: str | None

    def transition(
        self, *, stage: str | None = None, service: str | None = None, variant: str | None = None
    ) -> Transition:
        return Transition(
            experiment=self.experiment.name,
            happened=self.now,
            digest=self.experiment.digest,
            origin=self.state.stage or "offline",
            stage=stage or self.state.stage or "offline",
            by=self.by,
            reason=self.reason,
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
        self.log.append_if(facts, self.head, experiment=self.experiment.name, kinds=LEDGER)
        stage, service = self.state.stage or "offline", self.state.service
        epoch = starts = None
        for fact in facts:
            if isinstance(fact, Transition):
                stage, service = fact.stage, fact.service or service
            elif isinstance(fact, Allocation):
                epoch, starts = fact.epoch, fact.starts
        return Moved(self.experiment.identity, stage, service, epoch, starts)


def _standing(log: EventLog, name: str, by: str, reason: str | None, clock: Clock | None) -> _Standing:
    head = log.head()
    experiment, _, state = registered(log, name)
    return _Standing(log, experiment, state, head, (clock or SystemClock()).now(), by, reason)


def _running(standing: _Standing, verb: str) -> None:
    if standing.state.stage not in _ENROLLING:
        raise GateError(
            f"{standing.experiment.identity} is in the stage {standing.state.stage}, where there is nothing to "
            f"{verb}; accepted in: {', '.join(_ENROLLING)}"
        )


def _reasoned(reason: str | None, verb: str) -> None:
    if not (reason and reason.strip()):
        raise UsageError(f'say why you {verb}: --reason "…". It is kept with the experiment')


def enter(
    log: EventLog, name: str, stage: str, *, by: str, reason: str | None = None, clock: Clock | None = None
) -> Moved:
    """Move an experiment to the stage `shadow`, `canary` or `ab`, with that stage's coverage.

    One that is paused or killed stays so until `resume`. Raises GateError where an earlier stage was skipped and
    no reason is given, where exposed units would be taken out, or where the experiment is over; StaleHeadError
    where somebody else moved it meanwhile.
    """
    at = _standing(log, name, by, reason, clock)
    if stage not in ("shadow", *_ENROLLING):
        raise UsageError(f"'{stage}' is no stage to enter; accepted: shadow, canary, ab")
    if at.state.stage in ("shipped", "rolled back"):
        raise GateError(f"{at.experiment.identity} is {at.state.stage}; register a new revision to try again")
    passed = {at.state.stage: "passed"} if at.state.stage else {}
    blocks = may_enter(
        stage,
        digest=at.experiment.digest,
        declared=at.experiment.rollout.stages,
        skipped={**at.experiment.rollout.skip, **passed},
        gate=at.state.gates.get(at.experiment.digest),
        gated=at.experiment.offline is not None,
    )
    final = [block.because for block in blocks if not block.reason_suffices]
    if final or (blocks and not (reason and reason.strip())):
        said = "; ".join(final or [block.because for block in blocks])
        raise GateError(
            f"{at.experiment.identity} may not enter {stage}: {said}"
            + ("" if final else ". Give the reason for going on with --reason")
        )
    facts: list[Fact] = [at.transition(stage=stage)]
    if stage in _ENROLLING and at.coverage != (coverage := coverage_of(stage, at.experiment)):
        _refuse_lowering(at, coverage)
        facts.append(at.allocation(at.shares, coverage))
    return at.append(*facts)


def _refuse_lowering(at: _Standing, coverage: Fraction) -> None:
    if coverage < at.coverage and not at.experiment.remembers:
        raise GateError(
            f"less than {float(at.coverage):.2%} would take exposed units out of {at.experiment.identity}: it "
            "cannot be told when they entered. `pause` keeps them and lets nobody else in"
        )


def ramp(
    log: EventLog,
    name: str,
    coverage: Fraction,
    *,
    by: str,
    reason: str | None = None,
    clock: Clock | None = None,
) -> Moved:
    """Enrol another share of the units, in a new epoch. Raising it moves nobody.

    Lowering it takes units out that are exposed, unless it can be told when they entered: GateError then.
    """
    at = _standing(log, name, by, reason, clock)
    _running(at, "ramp")
    if not 0 <= coverage <= 1:
        raise UsageError(f"coverage is a share from 0 to 1, and this is {coverage}")
    _refuse_lowering(at, coverage)
    return at.append(at.allocation(at.shares, coverage))


def reweight(
    log: EventLog,
    name: str,
    shares: Mapping[str, Fraction],
    *,
    by: str,
    reason: str | None = None,
    clock: Clock | None = None,
) -> Moved:
    """Give who enters from now on other shares, in a new epoch; an arm left out is removed.

    Units of a removed arm are served control and stay in their arm. Raises GateError where it cannot be told
    when a unit entered, for then other shares would move units that are exposed.
    """
    at = _standing(log, name, by, reason, clock)
    _running(at, "re-weight")
    if not at.experiment.remembers:
        raise GateError(
            f"other shares would move exposed units of {at.experiment.identity}: it cannot be told when they "
            "entered. `unit: {id: uuid7}`, `unit: {id: token}` or `pins: required` make that possible"
        )
    known = [variant.name for variant in at.experiment.variants]
    if unknown := sorted(set(shares) - set(known)):
        raise UsageError(f"there is no variant {', '.join(unknown)}; accepted: {', '.join(known)}")
    if "control" not in shares or sum(shares.values()) != 1 or any(each <= 0 for each in shares.values()):
        raise UsageError(
            "shares are positive, add up to exactly 1 and include control, such as control=1/3 …"
        )
    return at.append(at.allocation({name: str(share) for name, share in shares.items()}, at.coverage))


def pause(
    log: EventLog, name: str, *, by: str, reason: str | None = None, clock: Clock | None = None
) -> Moved:
    """Let nobody new in; exposed units keep their variant, and shadow traffic stops."""
    at = _standing(log, name, by, reason, clock)
    if at.state.stage not in ("shadow", *_ENROLLING):
        raise GateError(f"{at.experiment.identity} is {at.state.stage}; there is nothing to pause")
    if at.state.service == "redirected":
        raise GateError(
            f"{at.experiment.identity} serves control to everyone, and a pause would serve the variants again; "
            "`resume` opens it"
        )
    return at.append(at.transition(service="paused"))


def resume(
    log: EventLog, name: str, *, by: str, reason: str | None = None, clock: Clock | None = None
) -> Moved:
    """Let units in again, after a pause or a kill."""
    at = _standing(log, name, by, reason, clock)
    if at.state.stage not in ("shadow", *_ENROLLING):
        raise GateError(f"{at.experiment.identity} is {at.state.stage}; there is nothing to resume")
    return at.append(at.transition(service="open"))


def kill(
    log: EventLog, name: str, *, by: str, reason: str | None = None, clock: Clock | None = None
) -> Moved:
    """Serve control to everyone, at once. Units stay in the arm they belong to, marked as redirected."""
    at = _standing(log, name, by, reason, clock)
    return at.append(at.transition(service="redirected"))


def roll_back(
    log: EventLog,
    name: str,
    *,
    by: str,
    reason: str | None,
    scope: Literal["now", "new_conversations"] = "now",
    clock: Clock | None = None,
) -> Moved:
    """End the experiment in favour of control: for everyone `now`, or for `new_conversations` only."""
    _reasoned(reason, "roll back")
    at = _standing(log, name, by, reason, clock)
    # What was killed is not brought back for the conversations that go on.
    service = "redirected" if scope == "now" or at.state.service == "redirected" else "paused"
    return at.append(at.transition(stage="rolled back", service=service))


def ship(
    log: EventLog, name: str, variant: str, *, by: str, reason: str | None, clock: Clock | None = None
) -> Moved:
    """Make a variant the default of everyone outside the holdouts."""
    _reasoned(reason, "ship")
    at = _standing(log, name, by, reason, clock)
    known = [each.name for each in at.experiment.variants]
    if variant not in known:
        raise UsageError(f"there is no variant '{variant}'; accepted: {', '.join(known)}")
    return at.append(at.transition(stage="shipped", service="open", variant=variant))
