"""What each policy loses in a horizon against the better arm for everyone: as designed, and the alternatives."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np

from equipoise.conduct.rehearsal.bandit_instead import lost_by_a_bandit
from equipoise.conduct.rehearsal.run import Ending, Pace, Scenario, alone
from equipoise.conduct.rehearsal.slots import TimeSlots
from equipoise.experiment.definition import Experiment
from equipoise.measurement.rehearsed.population import Population
from equipoise.stats.estimate import NotEstimable

__all__ = ["losses"]

_BANDIT_RUNS = 100


def losses(
    experiment: Experiment,
    population: Population | TimeSlots,
    scenario: Scenario,
    pace: Pace,
    endings: Sequence[Ending],
    *,
    horizon: int,
    once: int,
    before: float,
    seed: tuple[int, ...],
) -> Mapping[str, tuple[float, float]] | NotEstimable:
    """By policy what is lost in `horizon` units, in the primary added up over them: mean and standard error over runs.

    `once` is how many units a design with one look at the end takes, `before` how many come in the burn-in: they are served
    by the arms as everyone else, and lose as much. What is beyond the horizon is nobody's loss.
    """
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
    shares = np.array([float(experiment.allocation[variant.name]) for variant in experiment.variants])

    def lost(served: Sequence[float], after: Sequence[float]) -> float:
        tried = np.array(served) + before * shares
        total = float(tried.sum())
        within = tried * min(1.0, horizon / total)
        return float(misses @ within + max(0.0, horizon - total) * (misses @ np.array(after)))

    def everyone(arm: str | None) -> tuple[float, float]:
        return horizon * float(misses @ np.array(alone(experiment, arm))), 0.0

    policies = {"as designed": _mean([lost(each.served, each.after) for each in endings])}
    if experiment.method == "bandit":
        policies["even shares"] = (horizon * float(misses.mean()), 0.0)
    else:
        tried = [once * float(share) for share in shares]
        policies["one look at the end"] = _mean(
            [lost(tried, alone(experiment, each.once)) for each in endings]
        )
    if experiment.method == "ab" and not isinstance(population, TimeSlots):
        mean, effect = population.mean(primary), scenario.effects[primary.name]
        policies["a bandit instead"] = _mean(
            lost_by_a_bandit(
                primary,
                population,
                [mean + (effect if variant.name == scenario.arm else 0.0) for variant in experiment.variants],
                horizon,
                max(1, pace.units(pace.every)),
                delay=pace.units(primary.window or 0.0),
                runs=min(len(endings), _BANDIT_RUNS),
                rng=np.random.default_rng((*seed, len(endings))),
            )
        )
    return policies | {
        "control for everyone": everyone(None),
        f"{scenario.arm} for everyone, untested": everyone(scenario.arm),
    }


def _mean(values: Sequence[float]) -> tuple[float, float]:
    """A mean over runs, and its standard error."""
    error = float(np.std(values, ddof=1) / math.sqrt(len(values))) if len(values) > 1 else 0.0
    return float(np.mean(values)), error
