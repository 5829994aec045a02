"""One rehearsal run of a switchback: slots pass, are looked at until it ends, and then what other tests would have said."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from equipoise.analysis.switchback import carry_overs
from equipoise.conduct.rehearsal.run import Ending, Goal, Pace, Scenario, followed
from equipoise.conduct.rehearsal.slots import TimeSlots
from equipoise.experiment.definition import Experiment
from equipoise.measurement.rehearsed.drawn_slots import DrawnSlots
from equipoise.stats.comparison.means import difference_of_means
from equipoise.stats.estimate import Estimate, NotEstimable
from equipoise.stats.moments import Moments

__all__ = ["CARRIED", "TURNS", "run_slots"]

CARRIED, TURNS = "carry-over", "turns one by one"


def run_slots(
    experiment: Experiment,
    slots: TimeSlots,
    scenario: Scenario,
    pace: Pace,
    goal: Goal,
    *,
    rng: np.random.Generator,
) -> Ending:
    """One run from the first slot to a final verdict, by the same analysis and rule as a real one.

    Whether its carry-over test then finds one, and whether a test would have found a difference that takes turns for
    independent, stands beside it.
    """
    drawn = slots.draw(pace.units(pace.longest), pace.per_day, scenario, rng)
    ending = followed(experiment, drawn, scenario, pace, goal)
    return replace(ending, beside=_beside(experiment, slots, scenario, drawn, ending.units, rng))


def _beside(
    experiment: Experiment,
    slots: TimeSlots,
    scenario: Scenario,
    drawn: DrawnSlots,
    units: int,
    rng: np.random.Generator,
) -> Mapping[str, bool]:
    mature = {metric.name: units for metric in experiment.metrics}
    measured = replace(drawn.at(units, mature, 0.0), slots=drawn.values(units))
    carried = next(
        each.estimate for each in carry_overs(experiment, measured) if each.variant == scenario.arm
    )
    found = {CARRIED: _shown(carried, 0.05)}
    if slots.icc is not None and slots.turns > 1:
        found[TURNS] = _shown(
            _by_turns(experiment, slots, scenario, drawn, units, rng), experiment.plan.alpha
        )
    return found


def _by_turns(
    experiment: Experiment,
    slots: TimeSlots,
    scenario: Scenario,
    drawn: DrawnSlots,
    units: int,
    rng: np.random.Generator,
) -> Estimate | NotEstimable:
    """The primary between the turns of both arms, slots forgotten."""
    primary, turns, alike = experiment.primary.name, slots.turns, slots.icc or 0.0
    # A slot's mean has the variance of a turn times this.
    single = slots.noise[primary].spread ** 2 / (alike + (1.0 - alike) / turns)
    values, arms = drawn.crowd.values[primary][:units], drawn.arms[:units]
    within = single * (1.0 - alike) * rng.chisquare(turns - 1, size=units)
    names = [variant.name for variant in experiment.variants]
    told = []
    for arm in ("control", scenario.arm):
        own = arms == names.index(arm)
        between = Moments.of(values[own])
        told.append(Moments(between.n * turns, between.mean, turns * between.m2 + math.fsum(within[own])))
    return difference_of_means(*told)


def _shown(estimate: Estimate | NotEstimable, alpha: float) -> bool:
    return isinstance(estimate, Estimate) and estimate.p_value is not None and estimate.p_value < alpha
