"""Look: read the record, judge it by the rules registered before, write down what was seen and decided."""

from __future__ import annotations

from dataclasses import replace

from equipoise.analysis.analysing import analyse
from equipoise.analysis.findings import describe
from equipoise.analysis.looks import PastLook
from equipoise.clock import Clock, SystemClock
from equipoise.conduct.ledger import registered
from equipoise.errors import RecordError
from equipoise.events.facts import Decision, Look
from equipoise.events.log import EventLog
from equipoise.experiment.definition import Experiment
from equipoise.measurement.measuring import measure_log, measure_table
from equipoise.rollout.stages import LEDGER, State
from equipoise.stats.estimate import NotEstimable
from equipoise.verdict.analysis import Analysis
from equipoise.verdict.deciding import decide

__all__ = ["look"]


def look(
    log: EventLog,
    name: str,
    *,
    closing: bool = False,
    folder: str = ".",
    clock: Clock | None = None,
) -> Analysis:
    """Take the look that is due, or peek.

    Reads the log (or the table that the definition names, its path starting at `folder`). A look that is
    due is recorded with its boundary and the position in the log up to which it read; a peek leaves no
    trace. After a final verdict the last look is recomputed and shown again. `closing` says that no more
    data will come. Raises RecordError where nothing of that name is registered, StaleHeadError where a
    look was recorded meanwhile.
    """
    head = log.head()
    experiment, registration, state = registered(log, name)
    experiment = replace(experiment, folder=folder)
    past = state.looks
    until: int | None = None
    if state.finished and past:
        # The verdict stands; it is computed again from what it was computed from.
        recorded, past = past[-1], past[:-1]
        until, closing = int(recorded.evidence["position"]), recorded.final
    maximum = registration.plan.get("information")
    if experiment.source is not None:
        measured = measure_table(experiment)
        closing = closing or len(experiment.plan.looks) == 1
    else:
        measured = measure_log(experiment, log, until=until if until is not None else head)
    findings = analyse(
        experiment,
        measured,
        maximum=float(maximum) if isinstance(maximum, int | float) else NotEstimable(_reason(maximum)),
        past=[
            PastLook(each.fraction, each.boundary, each.statistic, each.evidence.get("guard_boundary"))
            for each in past
        ],
        closing=closing,
        repeated=experiment.source is None,
    )
    analysis = Analysis(findings=findings, verdict=decide(findings))
    if state.finished and state.looks and experiment.source is not None:
        _refuse_changed_table(experiment, analysis, state)
    if (findings.look.due or analysis.verdict.word == "roll back") and not state.finished:
        _record(log, experiment, analysis, head, clock or SystemClock())
    return analysis


def _reason(maximum: object) -> str:
    return str(maximum.get("not_estimable")) if isinstance(maximum, dict) else "no maximum was registered"


def _seen(analysis: Analysis) -> dict[str, object]:
    return {
        "units": dict(analysis.findings.measurement.units),
        "primary": [describe(effect.estimate) for effect in analysis.findings.primary],
    }


def _refuse_changed_table(experiment: Experiment, analysis: Analysis, state: State) -> None:
    """A log cannot change behind a verdict; a table can, and another answer must not pass for the recorded one."""
    recorded = {key: state.looks[-1].evidence.get(key) for key in ("units", "primary")}
    if state.decision is not None and _seen(analysis) != recorded:
        raise RecordError(
            f"{analysis.findings.measurement.source} is not what it was when {experiment.identity} was decided "
            f"(verdict: {state.decision.verdict}); the verdict stands and cannot be computed again from this table. "
            "Bring the table back, or analyse the new one as an experiment of its own"
        )


def _record(log: EventLog, experiment: Experiment, analysis: Analysis, head: int, clock: Clock) -> None:
    now = clock.now()
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
        evidence={
            "position": head,
            "guard_boundary": state.guard_boundary,
            **_seen(analysis),
        },
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
    log.append_if([taken, decided], head, experiment=experiment.name, kinds=LEDGER)
