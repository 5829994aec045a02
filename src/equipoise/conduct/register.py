"""Register: freeze a definition and its plan in the log, and open the experiment for traffic."""

from __future__ import annotations

from dataclasses import dataclass

from equipoise.clock import Clock, SystemClock
from equipoise.conduct.ledger import LEDGER, state_of
from equipoise.design.plan import Plan, plan
from equipoise.errors import GateError, RecordError, UsageError
from equipoise.events.facts import Registration, Transition
from equipoise.events.log import EventLog
from equipoise.experiment.definition import Experiment
from equipoise.experiment.identity import canonical
from equipoise.rollout.stages import State, may_enter

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
    log: EventLog, experiment: Experiment, *, by: str, reason: str | None = None, clock: Clock | None = None
) -> Registered:
    """Freeze the definition and move it to the stage `ab`.

    Registering the same definition again changes nothing. What stands in the way and a person may
    decide (a gate not run or inconclusive, a stage skipped) needs `reason`, which is recorded. Raises
    GateError where no reason suffices or none is given, RecordError where the name belongs to a
    finished experiment, StaleHeadError where somebody else wrote to the log meanwhile.
    """
    if experiment.method != "ab":
        raise UsageError(
            f"only `method: ab` can be registered, and {experiment.identity} is a {experiment.method}"
        )
    clock = clock or SystemClock()
    head = log.head()
    state = state_of(log, experiment.name)
    drawn = plan(experiment)
    if state.digest == experiment.digest:
        return Registered(experiment.identity, state.stage or "offline", drawn, already=True)
    _refuse_taken_name(state, experiment)
    blocks = may_enter(
        "ab",
        digest=experiment.digest,
        declared=experiment.rollout.stages,
        skipped=experiment.rollout.skip,
        gate=state.gates.get(experiment.digest),
        gated=experiment.offline is not None,
    )
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
                stage="ab",
                by=by,
                reason=reason,
                evidence={"overridden": list(overridden)},
            ),
        ],
        head,
        experiment=experiment.name,
        kinds=LEDGER,
    )
    return Registered(experiment.identity, "ab", drawn, already=False, overridden=overridden)


def _refuse_taken_name(state: State, experiment: Experiment) -> None:
    # Also where another revision was registered since: its own version does not free the older ones.
    if experiment.assignment_version <= state.spent:
        raise RecordError(
            f"an experiment called {experiment.name} is finished. Its units would get the same variants again; "
            f"choose another name, or set `assignment_version: {state.spent + 1}` to reshuffle them"
        )
