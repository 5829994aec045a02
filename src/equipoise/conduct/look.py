"""Look: read the record, judge it by the rules registered before, write down what was seen and decided."""

from __future__ import annotations

from dataclasses import replace

from equipoise.clock import Clock, SystemClock
from equipoise.conduct.ledger import registered
from equipoise.conduct.looking.pinning import Pin, computed, evidence, seen
from equipoise.conduct.verify import nearly_same
from equipoise.errors import RecordError
from equipoise.events.facts import Decision, Look
from equipoise.events.log import EventLog, StaleHeadError
from equipoise.experiment.definition import Experiment
from equipoise.measurement.warehouse.connecting import Variable
from equipoise.rollout.stages import LEDGER, State
from equipoise.stats.estimate import NotEstimable
from equipoise.verdict.analysis import Analysis

__all__ = ["look"]

_ENDS = ("roll back", "hold")
"""What a rule may answer even at a peek, where a guardrail is breached: it ends the experiment, and so is recorded."""


def look(
    log: EventLog,
    name: str,
    *,
    closing: bool = False,
    folder: str = ".",
    clock: Clock | None = None,
    variable: Variable | None = None,
) -> Analysis:
    """Take the look that is due, or peek.

    Reads the log (or the table that the definition names, its path starting at `folder`). A look that is
    due is recorded with its boundary, the position in the log up to which it read, a hash of what it read, and
    the read-out it gave; a peek leaves no trace. After a final verdict the last look is recomputed and shown
    again. `closing` says that no more data will come, `variable` tells the environment's variables, one of which may
    hold a warehouse's address. Raises RecordError where nothing of that name is registered or a look that is due
    cannot be recorded, StaleHeadError where a look was recorded meanwhile.
    """
    head = log.head()
    experiment, registration, state = registered(log, name)
    experiment = replace(experiment, folder=folder)
    past = state.looks
    until = head
    if state.finished and past:
        # The verdict stands; it is computed again from what it was computed from.
        recorded, past = past[-1], past[:-1]
        if experiment.source is None and "position" not in recorded.evidence:
            raise RecordError(
                f"the last look of {experiment.identity} was written by an earlier version, which did not keep up to "
                "where it read. Its verdict stands and cannot be computed again; "
                f"`equipoise show {name}` has what was recorded"
            )
        until, closing = int(recorded.evidence.get("position", 0)), recorded.final
    pin = Pin(experiment, registration, past, until, closing)
    analysis = computed(log, pin, variable)
    if state.finished and state.looks and experiment.source is not None:
        _refuse_changed_table(experiment, analysis, state)
    if _counts(experiment, analysis) and not state.finished:
        _record(log, analysis, pin, clock or SystemClock())
    return analysis


def _counts(experiment: Experiment, analysis: Analysis) -> bool:
    """Whether a look is recorded: it is due, or it ends the experiment.

    A bandit may be looked at whenever one likes, at no price; what is recorded of it is its end.
    """
    look, word = analysis.findings.look, analysis.verdict.word
    if experiment.method == "bandit":
        return look.final or word in ("ship", *_ENDS)
    return look.due or word in _ENDS


def _refuse_changed_table(experiment: Experiment, analysis: Analysis, state: State) -> None:
    """A log cannot change behind a verdict; a table can, and another answer must not pass for the recorded one."""
    recorded = {key: state.looks[-1].evidence.get(key) for key in ("units", "primary")}
    # A warehouse adds in another order each time; a file does not.
    warehouse = experiment.source is not None and experiment.source.connection is not None
    same = nearly_same(recorded, seen(analysis)) if warehouse else seen(analysis) == recorded
    if state.decision is not None and not same:
        raise RecordError(
            f"{analysis.findings.measurement.source} is not what it was when {experiment.identity} was decided "
            f"(verdict: {state.decision.verdict}); the verdict stands and cannot be computed again from this table. "
            "Bring the table back, or analyse the new one as an experiment of its own"
        )


def _record(log: EventLog, analysis: Analysis, pin: Pin, clock: Clock) -> None:
    now, experiment = clock.now(), pin.experiment
    state = analysis.findings.look
    primary = analysis.findings.primary
    first = primary[0].estimate if primary else NotEstimable("withheld")
    taken = Look(
        experiment=experiment.name,
        happened=now,
        digest=experiment.digest,
        number=state.number,
        fraction=state.at,
        boundary=state.boundary,
        statistic=None if isinstance(first, NotEstimable) else first.statistic,
        final=state.final,
        evidence=evidence(analysis, pin),
    )
    decided = Decision(
        experiment=experiment.name,
        happened=now,
        digest=experiment.digest,
        look=taken.event_id,
        verdict=analysis.verdict.word,
        because=analysis.verdict.because,
        arm=analysis.verdict.arm,
    )
    try:
        log.append_if([taken, decided], pin.until, experiment=experiment.name, kinds=LEDGER)
    except StaleHeadError:
        raise
    except RecordError as error:
        # An effect that was seen and not recorded would be a look that nobody counts.
        raise RecordError(
            f"{error}. This look of {experiment.name} is due, and is shown only if it is recorded; analyse it where the "
            "log can be written"
        ) from None
