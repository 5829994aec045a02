"""The ledger: the facts that moved or judged an experiment, and the state they add up to."""

from __future__ import annotations

from collections.abc import Sequence

from equipoise.errors import RecordError, nearest
from equipoise.events.facts import Registration
from equipoise.events.log import EventLog
from equipoise.experiment.definition import Experiment
from equipoise.experiment.reading import read_canonical
from equipoise.rollout.stages import LEDGER, State, fold

__all__ = ["names", "registered", "state_of"]


def state_of(log: EventLog, name: str, kinds: Sequence[str] = LEDGER) -> State:
    """The state of an experiment, folded from its facts of these kinds."""
    return fold(record.fact for record in log.read_since(0, experiment=name, kinds=kinds))


def names(log: EventLog) -> list[str]:
    """The names of all experiments registered in a log, in alphabetical order."""
    return sorted({record.fact.experiment for record in log.read_since(0, kinds=("registration",))})


def registered(
    log: EventLog, name: str, kinds: Sequence[str] = LEDGER
) -> tuple[Experiment, Registration, State]:
    """The experiment registered under a name, as it was frozen. RecordError where there is none."""
    state = state_of(log, name, kinds)
    if state.registration is None:
        known = names(log)
        offer = nearest(name, known)
        raise RecordError(
            f"no experiment called '{name}' is registered in this log; "
            + (f"it holds: {', '.join(known)}" if known else "it holds none")
            + (f"; {offer}" if offer else "")
        )
    return read_canonical(state.registration.definition), state.registration, state
