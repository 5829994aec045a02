"""Rehearse: the registered design carried out a thousand times on units that are drawn, to see what it would do.

What is rehearsed is the design itself: the same measurement, boundaries, guardrails, health checks and verdict rule as will
be used, looked at as often as they will be.
"""

from __future__ import annotations

import copyreg
import io
import math
import os
import pickle
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any

import numpy as np

from equipoise.conduct.rehearsal import WORDS, Outcome, Rehearsal, Spread
from equipoise.conduct.rehearsed_bandit import lost_by_a_bandit
from equipoise.conduct.rehearsing import DAY, Ending, Pace, Scenario, alone, run
from equipoise.conduct.rehearsing_bandit import run_bandit
from equipoise.conduct.scenarios import scenarios
from equipoise.design.plan import Plan, plan
from equipoise.errors import UsageError
from equipoise.experiment.definition import Experiment
from equipoise.measurement.population import Assumed, Population
from equipoise.stats.cases.binomial import clopper_pearson_interval
from equipoise.stats.estimate import Estimate, NotEstimable

__all__ = ["rehearse"]

_PARTS = 40
"""Where no traffic is known, a look is taken after each fortieth of the planned units."""
_PATIENCE = 2.0
"""So many times the planned length a run may take; then its time is up."""
_BANDIT_RUNS = 100
_ROUND = 25
"""Runs that one process does at a time."""


def rehearse(
    experiment: Experiment,
    population: Population | None = None,
    *,
    runs: int = 1000,
    seed: int = 0,
    units_per_day: float | None = None,
    every: float = DAY,
    horizon_days: float = 90.0,
    only: Sequence[str] = (),
    processes: int | None = None,
    progress: Callable[[int, int, str], None] = lambda *_: None,
) -> Rehearsal:
    """Carry out a definition's design on drawn units, `runs` times for each scenario.

    `population` is where units come from (None: the definition's own rates). `every` is the time between two looks in
    seconds; where no traffic is known, a look is taken after each fortieth of the planned units, and nothing is said of
    days. `only` names scenarios; the others are left out. Raises UsageError where the primary cannot be drawn or has
    nothing to find, or for numbers that mean nothing.
    """
    if runs < 1:
        raise UsageError(f"{runs} runs show nothing; accepted: 1 or more")
    if not (every > 0 and math.isfinite(every)):
        raise UsageError(f"the time between two looks is above 0, and this is {every:g} s")
    if experiment.method not in ("ab", "bandit"):
        raise UsageError(
            f"{experiment.identity} is a {experiment.method}, and what is rehearsed is an A/B test or a bandit"
        )
    drawn_from = population or Assumed(experiment)
    rehearsed, left_out, notes = _rehearsed(experiment, drawn_from)
    planned = plan(rehearsed, units_per_day=units_per_day)
    if planned.total is None:
        size = planned.sizes.get(rehearsed.primary.name)
        why = size.reason if isinstance(size, NotEstimable) else "nothing could be sized"
        raise UsageError(
            f"there is no design to rehearse: {why}. `equipoise plan` says what each metric lacks"
        )
    known = scenarios(rehearsed, drawn_from)
    chosen = [each for each in known if not only or each.name in only]
    if unknown := sorted(set(only) - {each.name for each in known}):
        raise UsageError(
            f"there is no scenario {', '.join(unknown)}; accepted: {', '.join(each.name for each in known)}"
        )
    pace = _pace(rehearsed, planned, every)
    horizon = max(planned.total, math.ceil(horizon_days * (planned.units_per_day or planned.total / 30)))
    outcomes = []
    total = runs * len(chosen)
    workers = processes or os.cpu_count() or 1
    for index, scenario in enumerate(chosen):
        place = [each.name for each in known].index(scenario.name)

        def told(done: int, index: int = index, says: str = scenario.name) -> None:
            progress(index * runs + done, total, says)

        all_runs = _Runs(
            rehearsed,
            drawn_from,
            scenario,
            pace,
            planned.information,
            planned.total,
            _once(planned),
            (seed, place),
        )
        endings = _endings(all_runs, runs, workers, told)
        outcomes.append(_outcome(all_runs, endings, planned, horizon))
    return Rehearsal(
        experiment=experiment.identity,
        primary=experiment.primary.name,
        population=drawn_from.says,
        runs=runs,
        seed=seed,
        per_day=planned.units_per_day,
        per_look=pace.units(pace.every),
        every=None if planned.units_per_day is None else every,
        horizon=horizon,
        plan=planned,
        method=experiment.method,
        error=planned.alpha if experiment.bandit is None else experiment.bandit.stop.error,
        outcomes=tuple(outcomes),
        left_out=left_out,
        notes=notes,
    )


def _rehearsed(
    experiment: Experiment, population: Population
) -> tuple[Experiment, dict[str, str], tuple[str, ...]]:
    """The definition with what can be rehearsed of it, and what is different for it."""
    left = {
        metric.name: "a bandit's read-out has no quantiles"
        for metric in experiment.metrics
        if metric.kind == "quantile" and experiment.method == "bandit"
    } | dict(population.left_out)
    primary = experiment.primary
    if primary.name in left:
        raise UsageError(
            f"the primary {primary.name} cannot be drawn: {left[primary.name]}. Rehearse on past units: --past"
        )
    notes = []
    if experiment.critical_segments:
        notes.append("critical segments are not rehearsed")
    if any(metric.covariates for metric in experiment.metrics):
        notes.append("covariates are not rehearsed: where they help, looks come sooner than said here")
    if any(metric.winsorise for metric in experiment.metrics):
        notes.append("nothing is winsorised")
    if any(metric.labels for metric in experiment.metrics):
        notes.append("a judge's scores count as they are, without people's labels")
    if experiment.cluster is not None and isinstance(population, Assumed) and population.cluster_size == 1:
        notes.append(
            f"units are drawn as if those of one {experiment.cluster} were not alike; say --cluster-size and --icc"
        )
    metrics = tuple(
        replace(metric, covariates=(), winsorise=None, labels=None)
        for metric in experiment.metrics
        if metric.name not in left
    )
    rehearsed = replace(experiment, metrics=metrics, critical_segments=(), segments=(), source=None)
    return rehearsed, left, tuple(notes)


def _pace(experiment: Experiment, planned: Plan, every: float) -> Pace:
    total = planned.total or 0
    windows = max((metric.window or 0.0 for metric in experiment.metrics), default=0.0)
    whole = experiment.plan.whole_cycles and experiment.plan.cycle > 0
    if planned.units_per_day is None:
        if windows or whole:
            raise UsageError(
                "metrics with a window, and whole cycles, take time: say how many units come in a day, in the plan "
                "(`units_per_day`) or by --units-per-day"
            )
        # A look is a day, for want of another clock; nothing is said of days then.
        return Pace(max(1.0, total / _PARTS), DAY, _PATIENCE * _PARTS * DAY)
    cycle = experiment.plan.cycle if whole else None
    length = _PATIENCE * total / planned.units_per_day * DAY + windows + (cycle or 0.0)
    return Pace(planned.units_per_day, every, max(length, every), cycle)


@dataclass(frozen=True, slots=True)
class _Runs:
    """What all runs of a scenario have in common."""

    experiment: Experiment
    population: Population
    scenario: Scenario
    pace: Pace
    maximum: float | NotEstimable
    units: int
    once: int
    seed: tuple[int, ...]

    def between(self, first: int, last: int) -> list[Ending]:
        """Some of them, each with a generator of its own: it does not matter which process does them."""
        return [self._one(np.random.default_rng((*self.seed, number))) for number in range(first, last)]

    def _one(self, rng: np.random.Generator) -> Ending:
        what = (self.experiment, self.population, self.scenario, self.pace)
        if self.experiment.method == "bandit":
            return run_bandit(*what, planned=self.units, rng=rng)
        return run(*what, maximum=self.maximum, once=self.once, rng=rng)


def _endings(all_runs: _Runs, runs: int, workers: int, told: Callable[[int], None]) -> list[Ending]:
    rounds = [(first, min(first + _ROUND, runs)) for first in range(0, runs, _ROUND)]
    endings: list[Ending] = []
    if workers == 1 or len(rounds) == 1:
        for each in rounds:
            endings += all_runs.between(*each)
            told(len(endings))
        return endings
    packed = _packed(all_runs)
    with ProcessPoolExecutor(min(workers, len(rounds))) as pool:
        for found in pool.map(_unpacked_between, *zip(*((packed, *each) for each in rounds), strict=True)):
            endings += found
            told(len(endings))
    return endings


def _packed(all_runs: _Runs) -> bytes:
    """Made ready for another process: Python does not know how to send a mapping that cannot be changed."""
    into = io.BytesIO()
    pickler = pickle.Pickler(into)
    pickler.dispatch_table = {**copyreg.dispatch_table, MappingProxyType: _thawed}
    pickler.dump(all_runs)
    return into.getvalue()


def _thawed(frozen: Mapping[Any, Any]) -> tuple[Callable[..., Any], tuple[dict[Any, Any]]]:
    return _frozen, (dict(frozen),)


def _frozen(items: dict[Any, Any]) -> Mapping[Any, Any]:
    return MappingProxyType(items)


def _unpacked_between(packed: bytes, first: int, last: int) -> list[Ending]:
    all_runs: _Runs = pickle.loads(packed)  # noqa: S301 - made by the parent, a moment ago
    return all_runs.between(first, last)


def _outcome(all_runs: _Runs, endings: Sequence[Ending], planned: Plan, horizon: int) -> Outcome:
    experiment, scenario = all_runs.experiment, all_runs.scenario
    place = [variant.name for variant in experiment.variants].index(scenario.arm)
    words = Counter(each.word for each in endings)
    burn_in = experiment.plan.burn_in
    before = (planned.units_per_day or 0.0) * burn_in / DAY
    share = float(experiment.allocation[scenario.arm])
    days: Spread | NotEstimable = NotEstimable("no traffic is given; say --units-per-day")
    if planned.units_per_day is not None:
        days = Spread.of([(each.seconds + burn_in) / DAY for each in endings])
    return Outcome(
        scenario=scenario,
        runs=len(endings),
        words={word: words[word] for word in WORDS},
        ships=_share(sum(each.arm == scenario.arm for each in endings), len(endings)),
        crossed=_share(sum(each.crossed for each in endings), len(endings)),
        units=Spread.of([sum(each.served) + before for each in endings]),
        exposed=Spread.of([each.served[place] + before * share for each in endings]),
        looks=float(np.mean([each.looks for each in endings])),
        days=days,
        ended=_ended(endings, None if planned.units_per_day is None else burn_in),
        regret=_regret(all_runs, endings, horizon),
    )


def _ended(endings: Sequence[Ending], burn_in: float | None) -> tuple[tuple[float, float], ...]:
    """The share that had ended by each moment at which some did: in days, or (None) in units.

    Those whose time was up had not.
    """
    moments = Counter(
        float(sum(each.served)) if burn_in is None else (each.seconds + burn_in) / DAY
        for each in endings
        if each.word != "keep running"
    )
    found, so_far = [(0.0, 0.0)], 0
    for moment in sorted(moments):
        so_far += moments[moment]
        found.append((moment, so_far / len(endings)))
    return tuple(found)


def _share(count: int, runs: int) -> Estimate:
    found = clopper_pearson_interval(count, runs)
    assert isinstance(found, Estimate)
    return found


def _regret(
    all_runs: _Runs, endings: Sequence[Ending], horizon: int
) -> Mapping[str, tuple[float, float]] | NotEstimable:
    """What each policy loses in the horizon, against the better arm for everyone; mean and standard error over runs."""
    experiment, scenario, once = all_runs.experiment, all_runs.scenario, all_runs.once
    primary = experiment.primary
    if primary.kind not in ("proportion", "mean", "count"):
        return NotEstimable(f"a {primary.kind.replace('_', ' ')} does not add up over units")
    if set(scenario.effects) - {primary.name}:
        return NotEstimable(f"what a broken guardrail costs is not told by {primary.name}")
    gain = primary.sign * scenario.effects.get(primary.name, 0.0)
    if gain == 0.0:
        return NotEstimable("no arm is better")
    # What each arm's units lose: while it is tried, and ever after by what was decided.
    base = [gain if variant.name == scenario.arm else 0.0 for variant in experiment.variants]
    misses = np.array([max(base) - own for own in base])

    def lost(served: Sequence[float], after: Sequence[float]) -> float:
        return float(misses @ np.array(served) + max(0.0, horizon - sum(served)) * (misses @ np.array(after)))

    shares = [float(experiment.allocation[variant.name]) for variant in experiment.variants]
    nobody = [0.0] * len(base)
    policies = {"as designed": _mean([lost(each.served, each.after) for each in endings])}
    if experiment.method == "bandit":
        policies["even shares"] = (horizon * float(misses.mean()), 0.0)
    else:
        tried = [once * share for share in shares]
        policies["one look at the end"] = _mean(
            [lost(tried, alone(experiment, each.once)) for each in endings]
        )
        policies["a bandit instead"] = _mean(_bandit(all_runs, horizon, len(endings)))
    return policies | {
        "control for everyone": (lost(nobody, alone(experiment, None)), 0.0),
        f"{scenario.arm} for everyone, untested": (lost(nobody, alone(experiment, scenario.arm)), 0.0),
    }


def _bandit(all_runs: _Runs, horizon: int, runs: int) -> list[float]:
    """What Thompson sampling on the primary would have lost, in as many runs as that takes no longer than the rest."""
    experiment, pace = all_runs.experiment, all_runs.pace
    primary, arms = experiment.primary, [variant.name for variant in experiment.variants]
    base = all_runs.population.mean(primary)
    means = [
        base + (all_runs.scenario.effects[primary.name] if arm == all_runs.scenario.arm else 0.0)
        for arm in arms
    ]
    return lost_by_a_bandit(
        primary,
        all_runs.population,
        means,
        horizon,
        max(1, pace.units(pace.every)),
        delay=pace.units(primary.window or 0.0),
        runs=min(runs, _BANDIT_RUNS),
        rng=np.random.default_rng((*all_runs.seed, runs)),
    )


def _mean(values: Sequence[float]) -> tuple[float, float]:
    """A mean over runs, and its standard error."""
    error = float(np.std(values, ddof=1) / math.sqrt(len(values))) if len(values) > 1 else 0.0
    return float(np.mean(values)), error


def _once(planned: Plan) -> int:
    """The units of the same design without looks on the way: nothing is paid for looking early."""
    assert planned.total is not None
    return math.ceil(planned.total / planned.inflation)
