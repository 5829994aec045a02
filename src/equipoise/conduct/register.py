"""Register: freeze a definition and its plan in the log, and open the experiment for traffic."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

from equipoise.assignment.epochs import LEAD
from equipoise.clock import Clock, SystemClock
from equipoise.conduct.clashes import refuse_clashes
from equipoise.conduct.ledger import state_of
from equipoise.design.plan import Plan, plan
from equipoise.errors import GateError, RecordError, UsageError
from equipoise.events.facts import Allocation, Registration, Transition
from equipoise.events.log import EventLog
from equipoise.experiment.definition import Experiment
from equipoise.experiment.identity import canonical
from equipoise.measurement.guardrails.windows import whole_minutes
from equipoise.rollout.stages import LEDGER, Evidence, State, coverage_of, may_enter

__all__ = ["Registered", "register"]


@dataclass(frozen=True, slots=True)
class Registered:
    """What registering did; `already` says that this very definition was registered before."""

    experiment: str
    stage: str
    plan: Plan
    already: bool
    overridden: tuple[str, ...] = ()


def register(
    log: EventLog,
    experiment: Experiment,
    *,
    by: str,
    reason: str | None = None,
    stage: str | None = None,
    clock: Clock | None = None,
) -> Registered:
    """Freeze the definition and move it to its first stage, or to `stage`.

    Registering the same definition again changes nothing. What stands in the way and a person may
    decide (a gate not run or inconclusive, a stage skipped) needs `reason`, which is recorded. Raises
    GateError where no reason suffices or none is given, RecordError where the name belongs to a
    finished experiment, UsageError where a watch's window is not of whole minutes, StaleHeadError where
    somebody else wrote to the log meanwhile.
    """
    for watch in experiment.watches:
        # Whoever registers believes that it is watched from now on.
        whole_minutes(watch.window)
        whole_minutes(watch.step)
    clock = clock or SystemClock()
    head = log.head()
    state = state_of(log, experiment.name)
    drawn = plan(experiment)
    if state.digest == experiment.digest:
        return Registered(experiment.identity, state.stage or "offline", drawn, already=True)
    _refuse_taken_name(state, experiment)
    refuse_clashes(log, experiment)
    stage = stage or next(
        (each for each in experiment.rollout.stages if each not in experiment.rollout.skip), "ab"
    )
    _refuse_moving_units(state, experiment, coverage_of(stage, experiment))
    blocks = may_enter(stage, Evidence.of(experiment, state))
    final = [block.because for block in blocks if not block.reason_suffices]
    if final:
        raise GateError(
            f"{experiment.identity} may not go live: {'; '.join(final)}. Change the experiment and try again"
        )
    if blocks and not (reason and reason.strip()):
        raise GateError(
            f"{experiment.identity} may not go live yet: {'; '.join(block.because for block in blocks)}. "
            "Run `equipoise arena` with this log first, or give the reason for going on with --reason"
        )
    now = clock.now()
    kept = state.allocations if state.version == experiment.assignment_version else ()
    overridden = tuple(block.because for block in blocks)
    log.append_if(
        [
            Registration(
                experiment=experiment.name,
                happened=now,
                digest=experiment.digest,
                definition=canonical(experiment),
                plan=drawn.to_dict(),
                by=by,
                reason=reason,
            ),
            Transition(
                experiment=experiment.name,
                happened=now,
                digest=experiment.digest,
                origin="offline",
                stage=stage,
                by=by,
                reason=reason,
                evidence={"overridden": list(overridden)},
                service="open",
            ),
            Allocation(
                experiment=experiment.name,
                happened=now,
                digest=experiment.digest,
                epoch=len(kept),
                # Units are in already: every gateway must have heard of the new shares before they begin.
                starts=max(now + LEAD, kept[-1].starts) if kept else now,
                shares={name: str(share) for name, share in experiment.allocation.items()},
                coverage=str(coverage_of(stage, experiment)),
                by=by,
                reason=reason,
            ),
        ],
        head,
        # Of two experiments that want the same place in a layer, one is to see the other.
        experiment=experiment.name if experiment.layer is None else None,
        kinds=LEDGER,
    )
    return Registered(experiment.identity, stage, drawn, already=False, overridden=overridden)


def _refuse_moving_units(state: State, experiment: Experiment, coverage: Fraction) -> None:
    if state.version != experiment.assignment_version or not state.allocations or experiment.remembers:
        return
    shares = {name: str(share) for name, share in experiment.allocation.items()}
    if dict(state.allocations[-1].shares) != shares:
        raise UsageError(
            f"other shares would move units of {experiment.name} that are exposed: it cannot be told when they "
            "entered. Keep the allocation, set `unit: {id: uuid7}`, `unit: {id: token}` or `pins: required` "
            "before the experiment starts, or reshuffle everybody with a new `assignment_version`"
        )
    before = Fraction(state.allocations[-1].coverage)
    if coverage < before:
        raise UsageError(
            f"a coverage of {float(coverage):.2%} instead of {float(before):.2%} would take exposed units out of "
            f"{experiment.name}: it cannot be told when they entered. Cover as many as before, or reshuffle "
            "everybody with a new `assignment_version`"
        )


def _refuse_taken_name(state: State, experiment: Experiment) -> None:
    # Also where another revision was registered since: its own version does not free the older ones.
    if experiment.assignment_version <= state.spent:
        raise RecordError(
            f"an experiment called {experiment.name} is finished. Its units would get the same variants again; "
            f"choose another name, or set `assignment_version: {state.spent + 1}` to reshuffle them"
        )
