"""Act: what a watch decided is carried out: an alert for everybody to read, and the experiment paused or rolled back."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from itertools import takewhile

from equipoise.clock import Clock, SystemClock
from equipoise.conduct.ledger import state_of
from equipoise.conduct.redirecting import met
from equipoise.conduct.watch import Due, Watcher
from equipoise.events.facts import Alert, Transition
from equipoise.events.log import EventLog, StaleHeadError
from equipoise.experiment.definition import Experiment, Watch
from equipoise.rollout.stages import LEDGER, STAGES, State, rolled_back_to

__all__ = ["BY", "Acted", "act", "carry_out"]

BY = "monitor"
"""Who moved an experiment, as its ledger says it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Acted:
    """What was done on a decision: the alert as it stands in the log, and the move that goes with it.

    `transition` is None where nothing was to be moved. `ours` is False where it had been done before, by whomever.
    """

    alert: Alert
    transition: Transition | None = None
    ours: bool = True


def carry_out(
    log: EventLog, experiment: Experiment, watcher: Watcher, *, since: int = 0, clock: Clock | None = None
) -> tuple[Acted, ...]:
    """Carry out all that is due of an experiment, oldest first, and note that it was.

    Whom a rollback met is counted afterwards, and kept as evidence of its own, as an operator's is. Interrupted anywhere,
    the next call goes on where this one ended: what is in the log is not written again. `since` is a position of the log
    that the watcher had reached when nothing was due; what was carried out is looked for after it.
    """
    done, ended = [], []
    for due in watcher.due():
        acted = act(log, experiment, due, since=since, clock=clock)
        done.append(acted)
        if acted.transition is not None and acted.transition.stage == "rolled back":
            ended.append((due, acted.transition))
        else:
            watcher.carried_out(due)
    # First all is done that was decided; to count whom it met takes seconds on a large log.
    for due, transition in ended:
        _count(log, experiment, due, transition, since=since, clock=clock or SystemClock())
        watcher.carried_out(due)
    return tuple(done)


def act(
    log: EventLog, experiment: Experiment, due: Due, *, since: int = 0, clock: Clock | None = None
) -> Acted:
    """Carry out one decision: an alert under its `event_id`, and for `pause` and `rollback` the transition, both or none.

    Whoever else moves the experiment meanwhile is first, and it is decided again by what they made of it. An experiment
    that is paused or rolled back already, or is over, is not moved: the alert says so, and its `action` is `alert`.

    >>> from equipoise.conduct.ledger import state_of
    >>> from equipoise.conduct.register import register
    >>> from equipoise.events.log import MemoryLog
    >>> from equipoise.experiment.reading import read_canonical
    >>> from equipoise.rollout.streaks import Breach
    >>> experiment = read_canonical({"name": "bot", "hypothesis": "It errs less.", "unit": "user", "changes": ["model"],
    ...     "variants": {"control": {"model": "a"}, "treatment": {"model": "b"}},
    ...     "metrics": {"resolution_rate": {"priority": "primary"}, "error_rate": {"priority": "guardrail"}},
    ...     "watches": [{"metric": "error_rate", "max": 0.1, "window": "5m", "for": 2, "then": "pause"}]})
    >>> log = MemoryLog()
    >>> _ = register(log, experiment, by="ana", reason="no gate is declared")
    >>> breach = Breach(action="pause", sustained=True, ends=1700000400, streak=2, value=0.25, limit=0.1)
    >>> due = Due(watch=0, arm="treatment", breach=breach, event_id="d:watch:0:treatment:1700000400", carried=None)
    >>> print(act(log, experiment, due).alert.says)
    error_rate of treatment was 0.25 in the 5 minutes up to 2023-11-14 22:20:00 UTC, and at most 0.1 is allowed; \
2 such windows in a row: nobody new is let in
    >>> state_of(log, "bot").service, act(log, experiment, due).ours
    ('paused', False)
    """
    clock = clock or SystemClock()
    while True:
        head = log.head()
        found = _found(log, experiment, due, since, head)
        if found is not None:
            return found
        acted = _decided(experiment, due, state_of(log, experiment.name), clock.now())
        facts = [acted.alert] if acted.transition is None else [acted.alert, acted.transition]
        try:
            # Alerts count, too: of two monitors one writes, and the other finds what was written.
            log.append_if(facts, head, experiment=experiment.name, kinds=(*LEDGER, Alert.kind))
        except StaleHeadError:
            continue
        return acted


def _found(log: EventLog, experiment: Experiment, due: Due, since: int, head: int) -> Acted | None:
    """What was done on a decision before, if it was."""
    kinds = (Alert.kind, Transition.kind)
    alert = transition = None
    records = log.read_since(since, experiment=experiment.name, kinds=kinds)
    for record in takewhile(lambda record: record.position <= head, records):
        fact = record.fact
        if isinstance(fact, Alert) and fact.event_id == due.event_id:
            alert = fact
        elif isinstance(fact, Transition) and fact.event_id == _moving(due):
            transition = fact
    return None if alert is None else Acted(alert=alert, transition=transition, ours=False)


def _count(
    log: EventLog, experiment: Experiment, due: Due, done: Transition, *, since: int, clock: Clock
) -> None:
    """Keep whom a rollback met: a transition from a stage to itself. Nothing where another revision is registered since."""
    counted, event_id = None, f"{due.event_id}:met"
    while True:
        head = log.head()
        state = state_of(log, experiment.name)
        moves = log.read_since(since, experiment=experiment.name, kinds=(Transition.kind,))
        if state.digest != experiment.digest or any(each.fact.event_id == event_id for each in moves):
            return
        counted = counted or met(log, experiment, service=done.service or state.service, now=done.happened)
        stage = state.stage or done.stage
        told = replace(
            done,
            event_id=event_id,
            happened=clock.now(),
            origin=stage,
            stage=stage,
            evidence={**done.evidence, **counted},
            service=None,
        )
        try:
            log.append_if([told], head, experiment=experiment.name, kinds=LEDGER)
        except StaleHeadError:
            # Somebody else moved it: what this one did is told from where it stands now.
            continue
        return


def _moving(due: Due) -> str:
    return f"{due.event_id}:transition"


def _decided(experiment: Experiment, due: Due, state: State, now: float) -> Acted:
    """The alert, and the move if one is to be made of an experiment that stands so."""
    breach, watch = due.breach, experiment.watches[due.watch]
    action = breach.action if breach.sustained else "alert"
    moving = action in ("pause", "rollback")
    rolled = rolled_back_to(watch.scope, state.service) if action == "rollback" else None
    instead = _instead(experiment, rolled, state) if moving else None
    says = f"{_breached(due, watch)}; {_streak(due, watch, instead, rolled)}"
    alert = Alert(
        experiment=experiment.name,
        happened=now,
        event_id=due.event_id,
        digest=experiment.digest,
        watch=due.watch,
        metric=watch.metric,
        variant=due.arm,
        action="alert" if instead else action,
        sustained=breach.sustained,
        ends=float(breach.ends),
        streak=breach.streak,
        value=breach.value,
        limit=breach.limit,
        says=says,
    )
    if instead or not moving:
        return Acted(alert=alert)
    stage = state.stage or "offline"
    transition = Transition(
        experiment=experiment.name,
        happened=now,
        event_id=_moving(due),
        digest=experiment.digest,
        origin=stage,
        stage="rolled back" if action == "rollback" else stage,
        by=BY,
        reason=says,
        evidence={"alert": due.event_id, "watch": due.watch, "metric": watch.metric, "variant": due.arm}
        | asdict(breach)
        | ({} if rolled is None else {"scope": watch.scope}),
        service=rolled or "paused",
    )
    return Acted(alert=alert, transition=transition)


def _instead(experiment: Experiment, rolled: str | None, state: State) -> str | None:
    """Why an experiment that stands so is not moved, to the service `rolled` by a rollback; None where it is."""
    if state.digest != experiment.digest:
        return "another revision is registered since"
    if state.stage == "rolled back" and rolled == "redirected" != state.service:
        # Who is in kept the variant, and does so no more.
        return None
    if state.stage not in STAGES:
        return (
            f"it is {state.stage} already"
            if state.stage in ("shipped", "rolled back")
            else "nobody is served it"
        )
    if rolled is not None:
        return None
    if state.service != "open":
        return (
            "it is paused already" if state.service == "paused" else "it serves control to everyone already"
        )
    return None


_THEN = {
    "alert": "",
    "review": ": somebody should look at it",
    "pause": ": nobody new is let in",
}
_ROLLED_BACK = {
    "redirected": ": it is rolled back, and everyone is served control",
    "paused": ": it is rolled back; nobody new is let in, and who is in keeps the variant to the end",
}


def _breached(due: Due, watch: Watch) -> str:
    breach, number = due.breach, int(watch.window // 60)
    minutes = "minute" if number == 1 else f"{number} minutes"
    until = f"{datetime.fromtimestamp(breach.ends, UTC):%Y-%m-%d %H:%M:%S} UTC"
    allowed = f"at {'least' if watch.max is None else 'most'} {breach.limit:.6g} is allowed"
    return f"{watch.metric} of {due.arm} was {breach.value:.6g} in the {minutes} up to {until}, and {allowed}"


def _streak(due: Due, watch: Watch, instead: str | None, rolled: str | None) -> str:
    breach = due.breach
    if not breach.sustained:
        return f"the first such window, and at {watch.persist} in a row the watch says {watch.then}"
    row = "one such window is enough" if breach.streak == 1 else f"{breach.streak} such windows in a row"
    if instead:
        return f"{row}, and the watch says {breach.action}, but {instead}"
    return f"{row}{_THEN[breach.action] if rolled is None else _ROLLED_BACK[rolled]}"
