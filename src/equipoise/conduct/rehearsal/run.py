"""One rehearsal run: a crowd comes, is served its arms, and is looked at as often as the team would, until it ends."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from equipoise.analysis.analysing import analyse
from equipoise.analysis.findings import Findings
from equipoise.analysis.looks import PastLook
from equipoise.errors import UsageError
from equipoise.experiment.definition import Experiment
from equipoise.experiment.metric import Metric
from equipoise.experiment.verdict_rule import Word
from equipoise.measurement.rehearsed.drawn import Drawn
from equipoise.measurement.rehearsed.population import Crowd, Numbers, Population, Readings
from equipoise.measurement.tally import Measurement
from equipoise.rollout.stages import FINAL
from equipoise.stats.estimate import NotEstimable
from equipoise.verdict.conditions import primary_states
from equipoise.verdict.deciding import decide

__all__ = [
    "DAY",
    "Ending",
    "Goal",
    "Pace",
    "Scenario",
    "Traffic",
    "alone",
    "changed",
    "crossing",
    "followed",
    "run",
]

DAY = 86_400.0


@dataclass(frozen=True, slots=True)
class Scenario:
    """What is true in a rehearsal: by metric, how much a treatment differs from control, on the metric's own scale.

    Only `arm` differs; other treatments are like control.
    """

    name: str
    says: str
    arm: str
    effects: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Goal:
    """What the plan registers: the information of the last look, its units, and those of a design with `once` a look."""

    information: float | NotEstimable
    units: int
    once: int


@dataclass(frozen=True, slots=True)
class Pace:
    """How units come: `per_day` evenly; looked at every `every` seconds, for `longest` seconds at most.

    Of a `cycle` (seconds) that is not over nobody counts, where the plan says so; None: everybody counts at once.
    """

    per_day: float
    every: float
    longest: float
    cycle: float | None = None

    @property
    def checks(self) -> int:
        return math.ceil(self.longest / self.every - 1e-9)

    def units(self, seconds: float) -> int:
        """How many have come by then."""
        return max(0, math.floor(self.per_day * seconds / DAY + 1e-9))

    def counted(self, seconds: float) -> int:
        """How many of them count."""
        if self.cycle is None:
            return self.units(seconds)
        return self.units(math.floor(seconds / self.cycle + 1e-9) * self.cycle)


@dataclass(frozen=True, slots=True)
class Ending:
    """How a run ended: the word, the arm that ships, after how many seconds and units, and what each arm served by then.

    `served` are units; of rankers that share lists, items. `crossed` says that the primary's boundary was crossed, in
    whatever direction, at a look. A run whose time was up keeps running, or is invalid where its last read-out was. `after`
    are the shares of the arms from then on: of who ships all, of control where none does, and the last ones of a bandit that
    goes on. `once` is the arm that would have shipped had the same units been looked at once, at the end of a design with a
    single look; None where none would.
    `beside` says of other tests, by their names, whether they find something in the same data.
    """

    word: Word
    arm: str | None
    seconds: float
    units: int
    served: tuple[int, ...]
    looks: int
    crossed: bool
    after: tuple[float, ...]
    once: str | None = None
    beside: Mapping[str, bool] = field(default_factory=dict)


class Traffic(Protocol):
    """What comes in one run, as it can be looked at."""

    def served(self, units: int) -> tuple[int, ...]:
        """What each arm has served when so many units have come."""
        ...

    def at(self, exposed: int, mature: Mapping[str, int], time: float) -> Measurement:
        """What is measured when so many units count, of a metric those before `mature`, so many seconds after the first."""
        ...


def run(
    experiment: Experiment,
    population: Population,
    scenario: Scenario,
    pace: Pace,
    goal: Goal,
    *,
    whole_clusters: bool = False,
    rng: np.random.Generator,
) -> Ending:
    """One run from the first unit to a final verdict, by the same analysis and the same rule as a real one.

    Every check that is no registered look is a peek, at which a guardrail may end it. Arms are given unit by unit, or to
    `whole_clusters`: UsageError where the units have none.
    """
    most = pace.units(pace.longest)
    shares = [float(experiment.allocation[variant.name]) for variant in experiment.variants]
    arms = rng.choice(len(shares), size=most, p=shares).astype(np.int64)
    crowd = population.draw(most, rng)
    if whole_clusters:
        if crowd.clusters is None:
            raise UsageError(
                "units that are drawn have no clusters; say --cluster-size, or draw past units where `cluster:` is declared"
            )
        many = int(crowd.clusters.max(initial=0)) + 1
        arms = rng.choice(len(shares), size=many, p=shares).astype(np.int64)[crowd.clusters]
    names = [variant.name for variant in experiment.variants]
    moved = arms == names.index(scenario.arm)
    for metric in experiment.metrics:
        if effect := scenario.effects.get(metric.name, 0.0):
            crowd = changed(crowd, metric, moved, effect, population.mean(metric), rng)
    return followed(experiment, Drawn(experiment, crowd, arms), scenario, pace, goal)


def followed(
    experiment: Experiment,
    drawn: Traffic,
    scenario: Scenario,
    pace: Pace,
    goal: Goal,
) -> Ending:
    """What comes, looked at as often as the team would until a verdict is final; arguments as those of `run`."""
    most = pace.units(pace.longest)
    at_once = _once(experiment, drawn, goal.once)
    past: list[PastLook] = []
    crossed = False
    seconds = 0.0
    word: Word = "keep running"
    before: tuple[int, dict[str, int]] | None = None
    for check in range(1, pace.checks + 1):
        seconds = check * pace.every
        counted = pace.counted(seconds)
        if min(drawn.served(counted)) < 2:
            continue
        mature = {metric.name: pace.units(seconds - (metric.window or 0.0)) for metric in experiment.metrics}
        if (counted, mature) == before:
            # Nobody came: what was said of the same data is said of them again.
            continue
        before = (counted, mature)
        findings = analyse(
            experiment,
            drawn.at(counted, mature, seconds),
            maximum=goal.information,
            units=goal.units,
            past=past,
            repeated=True,
        )
        verdict = decide(findings)
        if findings.look.due:
            crossed = crossed or crossing(findings, scenario)
            past.append(_taken(findings))
        if verdict.word in FINAL and (findings.look.due or verdict.word != "ship"):
            units = min(pace.units(seconds), most)
            served, after = drawn.served(units), alone(experiment, verdict.arm)
            return Ending(
                verdict.word, verdict.arm, seconds, units, served, len(past), crossed, after, at_once
            )
        word = "invalid" if verdict.word == "invalid" else "keep running"
    served, after = drawn.served(most), alone(experiment, None)
    return Ending(word, None, seconds, most, served, len(past), crossed, after, at_once)


def alone(experiment: Experiment, arm: str | None) -> tuple[float, ...]:
    """The shares where one arm is everyone's; None is control."""
    return tuple(float(variant.name == (arm or "control")) for variant in experiment.variants)


def _once(experiment: Experiment, drawn: Traffic, units: int) -> str | None:
    """The arm that ships when so many units are looked at for the only time."""
    plain = replace(experiment, plan=replace(experiment.plan, looks=(1.0,), boundaries=None))
    measured = drawn.at(units, dict.fromkeys((metric.name for metric in experiment.metrics), units), 0.0)
    return decide(analyse(plain, measured, maximum=NotEstimable("there is one look"), closing=True)).arm


def crossing(findings: Findings, scenario: Scenario) -> bool:
    """Whether the primary is shown to be better or worse: in the arm that differs, and where none does, in any."""
    return any(
        primary_states(effect, findings) & {"better", "worse"}
        for effect in findings.primary
        if not scenario.effects or effect.variant == scenario.arm
    )


def _taken(findings: Findings) -> PastLook:
    look = findings.look
    # Where the arms are not those that were declared there is no effect, and its alpha is spent all the same.
    first = findings.primary[0].estimate if findings.primary else None
    statistic = None if first is None or isinstance(first, NotEstimable) else first.statistic
    return PastLook(look.at, look.boundary, statistic, look.guard_boundary)


def changed(
    crowd: Crowd,
    metric: Metric,
    moved: NDArray[np.bool_],
    effect: float,
    mean: float,
    rng: np.random.Generator,
) -> Crowd:
    """The crowd with a metric of the units that `moved` changed so that it comes to `effect` more than its `mean`.

    Of a rate as many noes become yeses, or yeses noes, as that takes. Numbers are multiplied, so that money and time stay
    above 0 and keep the shape of their distribution; where the mean is not above 0 the effect is added.
    """
    if metric.kind == "quantile":
        readings = crowd.readings[metric.name]
        touched = moved[readings.units]
        other = readings.values * (1 + effect / mean) if mean > 0 else readings.values + effect
        values = np.where(touched, other, readings.values)
        return replace(crowd, readings={**crowd.readings, metric.name: Readings(values, readings.starts)})
    values = crowd.values[metric.name]
    if metric.kind == "proportion" and ((values > 0) & (values < 1)).any():
        values = np.where(moved, _shifted(values, effect), values)
    elif metric.kind == "proportion":
        values = _flipped(values, moved, effect, mean, rng)
    elif mean > 0:
        values = np.where(moved, values * (1 + effect / mean), values)
    else:
        values = np.where(moved, values + effect, values)
    return replace(crowd, values={**crowd.values, metric.name: values})


def _shifted(values: Numbers, effect: float) -> Numbers:
    """Shares, moved by so much on average: those in the middle most, as odds move them, and none out of 0 to 1."""
    room = values * (1.0 - values)
    pull = min(max(effect / float(np.nanmean(room)), -1.0), 1.0)
    shifted = values + pull * room
    left = effect - pull * float(np.nanmean(room))
    # What the odds do not reach comes of turning noes into yeses in every unit, or the other way round.
    mean = float(np.nanmean(shifted))
    return shifted + left * ((1.0 - shifted) / (1.0 - mean) if left > 0 else shifted / mean)


def _flipped(
    values: Numbers, moved: NDArray[np.bool_], effect: float, rate: float, rng: np.random.Generator
) -> Numbers:
    chance = effect / (1.0 - rate) if effect > 0 else -effect / rate
    of = (values == 0) if effect > 0 else (values == 1)
    turned = moved & of & (rng.random(values.size) < chance)
    return np.where(turned, 1.0 - values, values)
