"""Status: how a registered experiment is served now, whom it has exposed, what is watched, and what comes next.

Of traffic the exposures are read, and in a canary or in shadow its turns; nothing is written.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from fractions import Fraction
from itertools import takewhile
from typing import TYPE_CHECKING, Any, Literal

from equipoise.clock import Clock, SystemClock
from equipoise.conduct.enter import Known, known
from equipoise.conduct.ledger import registered
from equipoise.conduct.looking.progress import NextLook, pace_so_far, upcoming
from equipoise.conduct.redirecting import SHARED, FirstExposures, first_exposures, redirected_turns
from equipoise.events.facts import Alert, Loss
from equipoise.events.log import EventLog
from equipoise.events.windows import Kept, Windows
from equipoise.experiment.definition import Experiment
from equipoise.experiment.variant import control_first
from equipoise.measurement.guardrails.cells import TURNS, Cell
from equipoise.measurement.guardrails.watching import Standing
from equipoise.measurement.warmth import ArmWarmth
from equipoise.rollout.stages import STAGES, WATCHED, Blocked, State, canary_ended, may_enter
from equipoise.rollout.weights import next_weights

if TYPE_CHECKING:
    from equipoise.conduct.shadow import Shadowing

__all__ = ["Ahead", "EpochLine", "HealthLine", "Status", "WatchLine", "Weights", "status"]

_ALERTS = 5


@dataclass(frozen=True, slots=True)
class EpochLine:
    """One epoch: from `starts` (seconds since 1970 UTC) on, these shares of this coverage, and who came in."""

    epoch: int
    starts: float
    shares: dict[str, str]
    coverage: str
    exposed: dict[str, int]


@dataclass(frozen=True, slots=True)
class HealthLine:
    """One thing that was checked, and what was found: `ok`, a `note`, or what makes every number worthless."""

    name: str
    status: Literal["ok", "note", "invalid"]
    says: str


@dataclass(frozen=True, slots=True, kw_only=True)
class WatchLine:
    """How a watch stands in one arm: so many `breached` windows in a row, of which its action asks for `needed`.

    `ends` is the end of the last window that was judged (seconds since 1970 UTC; None before any), `value` and `limit` are
    what it said, on the metric's own scale; where it said nothing, `because` has the reason.
    """

    watch: int
    metric: str
    bound: str
    arm: str
    action: str
    breached: int
    needed: int
    ends: int | None
    verdict: str | None
    value: float | None
    limit: float | None
    because: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Weights:
    """When a bandit's shares change next (seconds since 1970 UTC; None: they do not, and `because` says why).

    `evidence` is what the last shares that the bandit made rest on, as it stands in the ledger; None before any.
    """

    next: float | None
    because: str | None
    evidence: Mapping[str, Any] | None


@dataclass(frozen=True, slots=True)
class Ahead:
    """What comes after the stage (None: nothing), what stands between, and the command that goes on."""

    stage: str | None
    blocks: tuple[Blocked, ...]
    command: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Status:
    """The stage, the service (`open`, `paused`, `redirected`), the arm that shipped, and every epoch.

    Where rankers share lists, `exposed` and `counted` count lists, and so does the plan.

    `exposed` are all units of each arm, `counted` those that are part of the estimate: who came in during a canary is
    not, unless the definition says so. `planned` is how many units the plan asks for (None: no size could be planned).
    `warmth` has the turns of a canary, by arm, and is empty in any other stage; `shadow` is the read-out of shadow, in
    that stage alone. `watches` is empty where nothing was watched yet. `alerts` are the latest, the last one first.
    `redirects` are the turns of each arm that were served control in its place; they are counted where that may have
    been: everyone is redirected, or an arm was removed.
    """

    experiment: str
    stage: str
    service: str
    shipped: str | None
    verdict: str | None
    exposed: dict[str, int]
    counted: dict[str, int]
    planned: int | None
    units_per_day: float | None
    next_look: NextLook | None
    epochs: tuple[EpochLine, ...]
    weights: Weights | None
    health: tuple[HealthLine, ...]
    warmth: Mapping[str, ArmWarmth]
    redirects: Mapping[str, int]
    watches: tuple[WatchLine, ...]
    alerts: tuple[Alert, ...]
    shadow: Shadowing | None
    ahead: Ahead

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON."""
        shadow = None if self.shadow is None else self.shadow.to_dict()
        names = [name for name in Status.__slots__ if name not in ("shadow", "alerts", "warmth")]
        said = {name: _plain(getattr(self, name)) for name in names}
        return said | {
            "warmth": {arm: asdict(each) | {"too_cold": each.too_cold} for arm, each in self.warmth.items()},
            "alerts": [asdict(each) for each in self.alerts],
            "shadow": shadow,
        }


def _plain(value: Any) -> Any:
    if isinstance(value, tuple):
        return [_plain(each) for each in value]
    return asdict(value) if hasattr(value, "__dataclass_fields__") else value


def status(log: EventLog, name: str, *, windows: Windows | None = None, clock: Clock | None = None) -> Status:
    """How an experiment stands. Units count once, in the arm and epoch of their first exposure to this revision.

    `windows` are what its watches are kept in, where there are any; they are read as they stand. RecordError where nothing
    is registered under the name.
    """
    now = (clock or SystemClock()).now()
    experiment, registration, state = registered(log, name, WATCHED)
    found = first_exposures(log, experiment)
    evidence = known(log, experiment, state)
    kept = windows.read(experiment.digest) if windows is not None and experiment.watches else Kept()
    counts = Counter((each.arm, each.epoch) for each in found.by_unit.values())
    exposed = {arm: sum(n for (of, _), n in counts.items() if of == arm) for arm in _arms(experiment, counts)}
    of_plan = found.counted(canary_ended(experiment, state))
    alerts = [record.fact for record in log.read_since(0, experiment=name, kinds=("alert",))]
    return Status(
        experiment=experiment.identity,
        stage=state.stage or "offline",
        service=state.service,
        shipped=state.shipped,
        verdict=None if state.decision is None else state.decision.verdict,
        exposed=exposed,
        counted={arm: of_plan[arm] for arm in exposed},
        planned=registration.plan.get("total"),
        units_per_day=pace_so_far(state, found, now).per_day,
        next_look=upcoming(experiment, state, found, now),
        epochs=tuple(
            EpochLine(
                each.epoch,
                each.starts,
                dict(each.shares),
                each.coverage,
                {arm: counts[arm, each.epoch] for arm in exposed},
            )
            for each in state.allocations
        ),
        weights=_weights(experiment, state),
        health=(*_health(log, experiment, state, found, counts, evidence), *_late(kept)),
        warmth=evidence.warmth,
        redirects=redirected_turns(log, experiment) if _redirects(experiment, state) else {},
        watches=_watches(experiment, kept),
        alerts=tuple(
            each for each in reversed(alerts) if isinstance(each, Alert) and each.digest == experiment.digest
        )[:_ALERTS],
        shadow=evidence.shadow,
        ahead=_ahead(experiment, state, evidence),
    )


def _weights(experiment: Experiment, state: State) -> Weights | None:
    if experiment.bandit is None:
        return None
    due = next_weights(experiment, state)
    made = [each.evidence for each in state.allocations if each.evidence is not None]
    return Weights(
        next=None if isinstance(due, str) else due,
        because=due if isinstance(due, str) else None,
        evidence=made[-1] if made else None,
    )


def _arms(experiment: Experiment, counts: Mapping[tuple[str, int], int]) -> list[str]:
    if experiment.interleaving is not None:
        return [SHARED]
    return sorted(
        {variant.name for variant in experiment.variants} | {arm for arm, _ in counts},
        key=control_first,
    )


def _redirects(experiment: Experiment, state: State) -> bool:
    kept = state.allocations[-1].shares if state.allocations else experiment.allocation
    return state.service == "redirected" or len(kept) < len(experiment.variants)


def _health(
    log: EventLog,
    experiment: Experiment,
    state: State,
    found: FirstExposures,
    counts: Mapping[tuple[str, int], int],
    evidence: Known,
) -> tuple[HealthLine, ...]:
    """What exposures tell, without counting anything else: the rest is the business of a read-out."""
    units = len(found.by_unit)
    if not units:
        return ()
    crossed = f"{found.crossed:,} of {units:,} units were exposed to more than one variant; the first counts"
    lines = (
        []
        if experiment.interleaving is not None
        else [
            _sample_ratio(state, counts),
            HealthLine("units in two variants", "note", crossed)
            if found.crossed
            else HealthLine("units in two variants", "ok", "no unit was exposed to more than one variant"),
        ]
    )
    lost = Counter[str]()
    for record in log.read_since(0, experiment=experiment.name, kinds=("loss",)):
        if isinstance(record.fact, Loss):
            lost.update(record.fact.facts)
    if lost:
        said = ", ".join(f"{count:,} {kind}" for kind, count in sorted(lost.items()))
        lines.append(HealthLine("recording loss", "note", f"the record was away for a while and lost {said}"))
    if evidence.evidence.cold:
        arms = " and ".join(evidence.evidence.cold)
        lines.append(HealthLine("cold model", "note", f"too little traffic to keep {arms} warm"))
    return tuple(lines)


def _sample_ratio(state: State, counts: Mapping[tuple[str, int], int]) -> HealthLine:
    name = "sample ratio"
    try:
        from equipoise.analysis.fairness import judged
        from equipoise.stats.health.sample_ratio import Epoch, anytime_sample_ratio_by_epoch
    except ModuleNotFoundError:
        return HealthLine(name, "note", "not judged here: it needs the 'analysis' extra")
    names = sorted({arm for each in state.allocations for arm in each.shares} | {arm for arm, _ in counts})
    result = anytime_sample_ratio_by_epoch(
        [
            Epoch(
                {arm: counts.get((arm, each.epoch), 0) for arm in names},
                {arm: Fraction(each.shares.get(arm, "0")) for arm in names},
            )
            for each in state.allocations
        ]
    )
    check = judged(
        name,
        result,
        fair="the units follow the shares",
        unfair="the units do not follow the shares",
        cause="units were lost or gained in one arm",
    )
    return HealthLine(name, check.status, check.says)


def _late(kept: Kept) -> Iterator[HealthLine]:
    """What came after its minute was closed, of the turns of the minutes that are kept."""
    turns = Cell.together(Cell.decode(body) for key, body in kept.cells.items() if key.quantity == TURNS)
    if turns.late:
        said = f"{turns.late:,} of the last {turns.n:,} turns came after their minute was closed: they count in it, late"
        yield HealthLine("late turns", "note", f"{said}, and no watch decides anew for them")


def _watches(experiment: Experiment, kept: Kept) -> tuple[WatchLine, ...]:
    lines = []
    for (number, arm), streak in sorted(Standing.decode(kept.state).streaks.items()):
        watch, last = experiment.watches[number], streak.last
        bound = f"min {watch.min}" if watch.max is None else f"max {watch.max}"
        lines.append(
            WatchLine(
                watch=number,
                metric=watch.metric,
                bound=bound,
                arm=arm,
                action=watch.then,
                breached=streak.breached,
                needed=watch.persist,
                ends=streak.ends,
                verdict=None if last is None else last.verdict,
                value=None if last is None else last.value,
                limit=None if last is None else last.limit,
                because=None if last is None else last.reason,
            )
        )
    return tuple(lines)


def _ahead(experiment: Experiment, state: State, evidence: Known) -> Ahead:
    """The next stage, and the command that goes on."""
    command = f"equipoise rollout {experiment.name}"
    if state.stage in ("shipped", "rolled back"):
        return Ahead(None, (), None)
    if state.service == "redirected":
        blocked = Blocked("everyone is served control; `resume` opens it again", False)
        return Ahead(state.stage, (blocked,), f"{command} resume")
    order = [each for each in STAGES if each in experiment.rollout.stages]
    left: Sequence[str] = order[len(list(takewhile(lambda each: each != state.stage, order))) + 1 :]
    if state.stage not in order:
        left = order
    following = next((each for each in left if each not in experiment.rollout.skip), None)
    if following is None:
        return _deciding(experiment, state)
    blocks = may_enter(following, evidence.evidence)
    go_on = f"{command} enter {following}"
    if any(not block.reason_suffices for block in blocks):
        resumed = state.service != "open" and any("`resume`" in block.because for block in blocks)
        return Ahead(following, blocks, f'{command} resume --reason "…"' if resumed else None)
    return Ahead(following, blocks, f'{go_on} --reason "…"' if blocks else go_on)


def _deciding(experiment: Experiment, state: State) -> Ahead:
    """The last stage ends with a verdict."""
    command, decision = f"equipoise rollout {experiment.name}", state.decision
    if decision is None or not state.finished:
        because = "there is no verdict yet" if decision is None else f"the last verdict is {decision.verdict}"
        return Ahead("shipped", (Blocked(because, True),), f"equipoise analyze {experiment.name}")
    if decision.verdict == "ship":
        return Ahead("shipped", (), f"{command} ship {decision.arm}")
    return Ahead("rolled back", (), f'{command} roll-back --reason "the verdict is {decision.verdict}"')
