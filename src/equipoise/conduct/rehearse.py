"""Rehearse: the registered design carried out a thousand times on units that are drawn, to see what it would do.

What is rehearsed is the design itself: the same measurement, boundaries, guardrails, health checks and verdict rule as will
be used, looked at as often as they will be.
"""

from __future__ import annotations

import math
import os
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from equipoise.conduct.rehearsal.bandit_run import run_bandit
from equipoise.conduct.rehearsal.found import WORDS, Outcome, Rehearsal, Spread
from equipoise.conduct.rehearsal.interleaved_run import run_lists
from equipoise.conduct.rehearsal.losses import losses
from equipoise.conduct.rehearsal.preparing import Drawn, Searches, assumed, prepared
from equipoise.conduct.rehearsal.run import DAY, Ending, Goal, Pace, Scenario, run
from equipoise.conduct.rehearsal.scenarios import scenarios
from equipoise.conduct.rehearsal.slots import TimeSlots, whose_of
from equipoise.conduct.rehearsal.split_instead import lost_in_lists, split_instead
from equipoise.conduct.rehearsal.switchback_run import run_slots
from equipoise.conduct.rehearsal.workers import carried_out
from equipoise.design.plan import Plan, plan
from equipoise.errors import UsageError
from equipoise.experiment.definition import Experiment
from equipoise.measurement.rehearsed.population import Assumed
from equipoise.stats.cases.binomial import clopper_pearson_interval
from equipoise.stats.estimate import Estimate, NotEstimable

__all__ = ["rehearse"]

_PARTS = 40
"""Where no traffic is known, a look is taken after each fortieth of the planned units."""
_PATIENCE = 2.0
"""So many times the planned length a run may take; then its time is up."""
_MOST_UNITS = 20_000_000
"""A run of more takes some gigabytes,"""
_MOST_LOOKS = 10_000
"""and one of more looks than that takes minutes."""

_GIVES = {
    "bandit": "a bandit gives arms unit by unit",
    "interleaving": "rankers share the list of every query",
    "switchback": "a switchback gives arms to time slots",
}


def rehearse(
    experiment: Experiment,
    population: Drawn | None = None,
    *,
    runs: int = 1000,
    seed: int = 0,
    units_per_day: float | None = None,
    every: float = DAY,
    horizon_days: float = 90.0,
    only: Sequence[str] = (),
    whole_clusters: bool = False,
    processes: int | None = None,
    progress: Callable[[int, int, str], None] = lambda *_: None,
) -> Rehearsal:
    """Carry out a definition's design on drawn units, `runs` times for each scenario.

    `population` is where units, or searches, come from (None: the definition's own rates). `every` is the time between two
    looks in seconds; where no traffic is known, a look is taken after each fortieth of the planned units, and nothing is
    said of days. `only` names scenarios; the others are left out. `whole_clusters` gives a cluster's units one arm, as where
    teams are randomised; else units are randomised one by one. Raises UsageError where the primary cannot be drawn or has
    nothing to find, or for numbers that mean nothing.
    """
    if runs < 1:
        raise UsageError(f"{runs} runs show nothing; accepted: 1 or more")
    if seed < 0:
        raise UsageError(f"a seed is 0 or above, and this is {seed}")
    if processes is not None and processes < 1:
        raise UsageError(f"{processes} processes do nothing; accepted: 1 or more")
    if not (every > 0 and math.isfinite(every)):
        raise UsageError(f"the time between two looks is above 0, and this is {every:g} s")
    if whole_clusters and experiment.method != "ab":
        raise UsageError(
            f"{_GIVES[experiment.method]}, and not to whole clusters; leave --whole-clusters out"
        )
    drawn_from = population or assumed(experiment)
    if experiment.unit.type == "cluster" and (
        whole_clusters or (isinstance(drawn_from, Assumed) and drawn_from.cluster_size > 1)
    ):
        raise UsageError(
            "a unit is a whole cluster here, and clusters of clusters are no question of this design; how alike the "
            "readings of one are is said in the file: `plan: {clusters: {icc: 0.05, size: 20, size_cv: 0.6}}`. Leave "
            "--whole-clusters, --cluster-size and --icc out"
        )
    rehearsed, left_out, notes = prepared(experiment, drawn_from)
    planned = plan(experiment, units_per_day=units_per_day)
    if planned.total is None:
        size = planned.sizes.get(rehearsed.primary.name)
        why = size.reason if isinstance(size, NotEstimable) else "nothing could be sized"
        raise UsageError(
            f"there is no design to rehearse: {why}. `equipoise plan` says what each metric lacks"
        )
    if isinstance(drawn_from, TimeSlots):
        _check_traffic(experiment, planned)
    known = scenarios(rehearsed, drawn_from)
    chosen = [each for each in known if not only or each.name in only]
    if unknown := sorted(set(only) - {each.name for each in known}):
        raise UsageError(
            f"there is no scenario {', '.join(unknown)}; accepted: {', '.join(each.name for each in known)}, "
            "each with an --only of its own"
        )
    pace = _pace(rehearsed, planned, every)
    horizon = max(planned.total, math.ceil(horizon_days * (planned.units_per_day or planned.total / 30)))
    _check_size(rehearsed, pace)
    names = [each.name for each in known]
    all_runs = [
        _Runs(
            experiment=rehearsed,
            population=drawn_from,
            scenario=scenario,
            pace=pace,
            goal=Goal(planned.information, planned.total, _once(planned)),
            whole_clusters=whole_clusters,
            # A scenario's runs are the same whichever others are wanted.
            seed=(seed, names.index(scenario.name)),
        )
        for scenario in chosen
    ]

    def told(place: int, done: int) -> None:
        progress(place * runs + done, runs * len(chosen), chosen[place].name)

    endings = carried_out(all_runs, runs, processes or os.cpu_count() or 1, told)
    outcomes = [_outcome(each, its, planned, horizon) for each, its in zip(all_runs, endings, strict=True)]
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
        counted=experiment.counted,
        error=planned.alpha if experiment.bandit is None else experiment.bandit.stop.error,
        outcomes=tuple(outcomes),
        split=split_instead(rehearsed, drawn_from, _planned(known))
        if isinstance(drawn_from, Searches)
        else None,
        left_out=left_out,
        notes=notes,
    )


def _check_traffic(experiment: Experiment, planned: Plan) -> None:
    if planned.units_per_day is None:
        assert experiment.switchback is not None
        raise UsageError(
            f"how many values of {experiment.switchback.by} have slots of their own is not said; --units-per-day is slots a "
            f"day times their number"
        )
    whose_of(experiment, planned.units_per_day)


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


def _check_size(experiment: Experiment, pace: Pace) -> None:
    units = pace.units(pace.longest)
    if units > _MOST_UNITS:
        raise UsageError(
            f"a run would draw {units:,} units, and a rehearsal takes {_MOST_UNITS:,} at most; rehearse a larger effect: "
            "what looks, guardrails and rule do is much the same"
        )
    steps = [pace.every] if experiment.bandit is None else [pace.every, experiment.bandit.every]
    looks = math.ceil(pace.longest / min(steps))
    if looks > _MOST_LOOKS:
        raise UsageError(
            f"a run would have {looks:,} looks, one each {min(steps):,.0f} s, and a rehearsal takes {_MOST_LOOKS:,} at "
            "most; say a longer time between them: --every"
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Runs:
    """What all runs of a scenario have in common."""

    experiment: Experiment
    population: Drawn
    scenario: Scenario
    pace: Pace
    goal: Goal
    whole_clusters: bool
    seed: tuple[int, ...]

    @property
    def largest(self) -> int:
        return self.pace.units(self.pace.longest)

    def between(self, first: int, last: int) -> list[Ending]:
        """Some of them, each with a generator of its own: it does not matter which process does them."""
        return [self._one(np.random.default_rng((*self.seed, number))) for number in range(first, last)]

    def _one(self, rng: np.random.Generator) -> Ending:
        experiment, drawn = self.experiment, self.population
        what = (self.scenario, self.pace)
        if isinstance(drawn, Searches):
            return run_lists(experiment, drawn, *what, self.goal, rng=rng)
        if isinstance(drawn, TimeSlots):
            return run_slots(experiment, drawn, *what, self.goal, rng=rng)
        if experiment.method == "bandit":
            return run_bandit(experiment, drawn, *what, planned=self.goal.units, rng=rng)
        return run(
            experiment,
            drawn,
            *what,
            self.goal,
            whole_clusters=self.whole_clusters,
            rng=rng,
        )


def _outcome(all_runs: _Runs, endings: Sequence[Ending], planned: Plan, horizon: int) -> Outcome:
    experiment, scenario = all_runs.experiment, all_runs.scenario
    place = [variant.name for variant in experiment.variants].index(scenario.arm)
    words = Counter(each.word for each in endings)
    burn_in = experiment.plan.burn_in
    before = (planned.units_per_day or 0.0) * burn_in / DAY
    # Whoever comes in the burn-in is served as everyone else.
    per_unit = float(experiment.allocation[scenario.arm])
    if isinstance(all_runs.population, Searches):
        per_unit = sum(each.served[place] for each in endings) / max(1, sum(each.units for each in endings))
    days: Spread | NotEstimable = NotEstimable("no traffic is given; say --units-per-day")
    if planned.units_per_day is not None:
        days = Spread.of([(each.seconds + burn_in) / DAY for each in endings])
    return Outcome(
        scenario=scenario,
        runs=len(endings),
        words={word: words[word] for word in WORDS},
        ships=_share(sum(each.arm == scenario.arm for each in endings), len(endings)),
        crossed=_share(sum(each.crossed for each in endings), len(endings)),
        units=Spread.of([each.units + before for each in endings]),
        exposed=Spread.of([each.served[place] + before * per_unit for each in endings]),
        looks=float(np.mean([each.looks for each in endings])),
        days=days,
        ended=_ended(endings, None if planned.units_per_day is None else burn_in),
        beside={
            name: _share(sum(each.beside[name] for each in endings), len(endings))
            for name in endings[0].beside
        },
        regret=_lost(all_runs, endings, horizon=horizon, before=before),
    )


def _planned(known: Sequence[Scenario]) -> Mapping[str, float]:
    return next((each.effects for each in known if each.name == "planned"), {})


def _lost(
    all_runs: _Runs, endings: Sequence[Ending], *, horizon: int, before: float
) -> Mapping[str, tuple[float, float]] | NotEstimable:
    experiment, drawn, scenario = all_runs.experiment, all_runs.population, all_runs.scenario
    if isinstance(drawn, Searches):
        return lost_in_lists(
            experiment, drawn, scenario, endings, horizon=horizon, once=all_runs.goal.once, before=before
        )
    return losses(
        experiment,
        drawn,
        scenario,
        all_runs.pace,
        endings,
        horizon=horizon,
        once=all_runs.goal.once,
        before=before,
        seed=all_runs.seed,
    )


def _ended(endings: Sequence[Ending], burn_in: float | None) -> tuple[tuple[float, float], ...]:
    """The share that had ended by each moment at which some did: in days, or (None) in units.

    Those whose time was up had not.
    """
    moments = Counter(
        float(each.units) if burn_in is None else (each.seconds + burn_in) / DAY
        for each in endings
        if each.word not in ("keep running", "invalid")
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


def _once(planned: Plan) -> int:
    """The units of the same design without looks on the way: nothing is paid for looking early."""
    assert planned.total is not None
    return math.ceil(planned.total / planned.inflation)
