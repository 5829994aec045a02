"""What an A/B test of two rankers would take, and what each policy loses, where the same people click in the same way."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from equipoise.conduct.rehearsal.clicks import AssumedSearches
from equipoise.conduct.rehearsal.run import Ending, Scenario
from equipoise.errors import UsageError
from equipoise.experiment.definition import Experiment
from equipoise.measurement.population import Numbers
from equipoise.stats.estimate import NotEstimable
from equipoise.stats.sizes.power import size_two_means

__all__ = ["Split", "lost_in_lists", "split_instead"]

_PAST = NotEstimable("past lists do not tell what people would have clicked in a list of one ranker alone")
_LOWER = NotEstimable("where less is better, clicks are no finds")


@dataclass(frozen=True, slots=True)
class Split:
    """An A/B test on the same clicks, one ranker's own list for each query: its more telling metric, and queries in all."""

    metric: str
    queries: int
    power: float

    def to_dict(self) -> dict[str, Any]:
        return {"metric": self.metric, "queries": self.queries, "power": self.power}


def split_instead(
    experiment: Experiment, searches: object, effects: Mapping[str, float]
) -> Split | NotEstimable:
    """The A/B with the planned alpha and power for these effects, by clicks or by the reciprocal rank of the first."""
    if not isinstance(searches, AssumedSearches):
        return _PAST
    if experiment.primary.sign < 0:
        return _LOWER
    better = searches.better(effects.get(experiment.primary.name, 0.0))
    if better == 0.5:
        return NotEstimable("no arm is better")
    own, found = searches.own, []
    for name, columns in (("clicks", own.clicks), ("reciprocal rank of the first click", own.reciprocal)):
        (mean, variance), (other, its) = (
            _arm(columns, share, searches.clicking) for share in (better, 1 - better)
        )
        try:
            size = size_two_means(
                math.sqrt((variance + its) / 2.0),
                abs(mean - other),
                alpha=experiment.plan.alpha,
                power=experiment.plan.power,
            )
        except UsageError:
            # As many clicks on either: nothing to find by this metric.
            continue
        found.append(Split(name, size.control + size.treatment, experiment.plan.power))
    return min(found, key=lambda each: each.queries, default=NotEstimable("its arms would not differ"))


def _arm(columns: Numbers, better: float, clicking: float) -> tuple[float, float]:
    """Mean and variance of an arm that is the better ranker in so many searches; of some nobody clicks anything."""
    mean, square = (
        clicking * float((1 - better) * np.mean(columns[:, 0] ** k) + better * np.mean(columns[:, 1] ** k))
        for k in (1, 2)
    )
    return mean, square - mean**2


def lost_in_lists(
    experiment: Experiment,
    searches: object,
    scenario: Scenario,
    endings: Sequence[Ending],
    *,
    horizon: int,
    once: int,
    before: float,
) -> Mapping[str, tuple[float, float]] | NotEstimable:
    """By policy how many searches in `horizon` queries do not find what they would have found with the better ranker's list.

    Mean and standard error over runs; `once` and `before` are as in `losses`. A list that both share may find more than
    either ranker's own where each is better in many searches, and loses less than nothing then.
    """
    primary = experiment.primary
    if not isinstance(searches, AssumedSearches):
        return _PAST
    if primary.sign < 0:
        return _LOWER
    if set(scenario.effects) - {primary.name}:
        return NotEstimable(f"what a broken guardrail costs is not told by {primary.name}")
    effect = scenario.effects.get(primary.name, 0.0)
    if effect == 0.0:
        return NotEstimable("no arm is better")
    own, better = searches.own, searches.better(effect)
    worse_finds, better_finds = (float(of) for of in np.mean(own.found, axis=0))
    finds = {
        scenario.arm: better * better_finds + (1 - better) * worse_finds,
        "control": better * worse_finds + (1 - better) * better_finds,
    }
    best = max(finds.values())
    shared = searches.clicking * (best - float(np.mean(own.in_shared)))
    misses = {arm: searches.clicking * (best - of) for arm, of in finds.items()}

    def lost(tried: float, each: float, arm: str | None) -> float:
        return min(tried, horizon) * each + max(0.0, horizon - tried) * misses[arm or "control"]

    split = split_instead(experiment, searches, scenario.effects)
    policies = {
        "as designed": _mean([lost(each.units + before, shared, each.arm) for each in endings]),
        "one look at the end": _mean([lost(once + before, shared, each.once) for each in endings]),
    }
    if isinstance(split, Split):
        half = sum(misses.values()) / 2.0
        ships = split.power if effect > 0 else 0.0
        policies["an A/B instead"] = (
            ships * lost(split.queries, half, scenario.arm) + (1 - ships) * lost(split.queries, half, None),
            0.0,
        )
    return policies | {
        "control for everyone": (horizon * misses["control"], 0.0),
        f"{scenario.arm} for everyone, untested": (horizon * misses[scenario.arm], 0.0),
    }


def _mean(values: Sequence[float]) -> tuple[float, float]:
    """A mean over runs, and its standard error."""
    error = float(np.std(values, ddof=1) / math.sqrt(len(values))) if len(values) > 1 else 0.0
    return float(np.mean(values)), error
