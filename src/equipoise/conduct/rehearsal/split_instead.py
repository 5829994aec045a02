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
from equipoise.measurement.rehearsed.population import Numbers
from equipoise.stats.estimate import NotEstimable
from equipoise.stats.normal import critical
from equipoise.stats.sizes.power import size_two_means

__all__ = ["Split", "lost_in_lists", "split_instead"]

_PAST = NotEstimable("past lists do not tell what people would have clicked in a list of one ranker alone")
_LOWER = NotEstimable("where less is better, clicks are no finds")


_PARTS = 20
"""Lists are left out in so many parts, to see how much their luck is worth."""


@dataclass(frozen=True, slots=True)
class Split:
    """An A/B test on the same clicks, one ranker's own list for each query: its more telling metric, and queries in all.

    `low` and `high` are what the luck of the drafted lists leaves open, with 95 % confidence.
    """

    metric: str
    queries: int
    low: int
    high: int
    power: float

    def to_dict(self) -> dict[str, Any]:
        return {
            "metric": self.metric,
            "queries": self.queries,
            "low": self.low,
            "high": self.high,
            "power": self.power,
        }


def split_instead(
    experiment: Experiment, searches: object, effects: Mapping[str, float]
) -> Split | NotEstimable:
    """The A/B with the planned alpha and power for these effects, by clicks or by the reciprocal rank of the first."""
    if not isinstance(searches, AssumedSearches):
        return _PAST
    if experiment.primary.sign < 0:
        return _LOWER
    effect = effects.get(experiment.primary.name, 0.0)
    if effect == 0.0:
        return NotEstimable("no arm is better")
    found = _sizes(experiment, searches, effect)
    if not found:
        return NotEstimable("its arms would not differ")
    metric = min(found, key=lambda name: found[name])
    # On the scale of the logarithm, so that no number of queries is below 0.
    logs = [
        math.log(sizes[metric])
        for part in searches.parts(_PARTS)
        if metric in (sizes := _sizes(experiment, part, effect))
    ]
    wide = math.exp(critical(0.025) * _jackknife(logs))
    queries = found[metric]
    low, high = math.floor(queries / wide), math.ceil(queries * wide)
    return Split(metric, queries, low, high, experiment.plan.power)


def _sizes(experiment: Experiment, searches: AssumedSearches, effect: float) -> dict[str, int]:
    """The queries that the A/B takes, by metric; without those in which its arms do not differ."""
    # Where lists are left out, the largest effect that there is may be a little less.
    better = min(max(searches.better(effect), 0.0), 1.0)
    found = {}
    for name, columns in (
        ("clicks", searches.own.clicks),
        ("reciprocal rank of the first click", searches.own.reciprocal),
    ):
        (mean, variance), (other, its) = (
            _arm(columns, share, searches.clicking) for share in (better, 1.0 - better)
        )
        try:
            size = size_two_means(
                math.sqrt((variance + its) / 2.0),
                abs(mean - other),
                alpha=experiment.plan.alpha,
                power=experiment.plan.power,
            )
        except UsageError:
            continue
        found[name] = size.control + size.treatment
    return found


def _arm(columns: Numbers, better: float, clicking: float) -> tuple[float, float]:
    """Mean and variance of an arm that is the better ranker in so many searches; of some nobody clicks anything."""
    mean, square = (
        clicking * float((1 - better) * np.mean(columns[:, 0] ** k) + better * np.mean(columns[:, 1] ** k))
        for k in (1, 2)
    )
    return mean, square - mean**2


def _jackknife(values: Sequence[float]) -> float:
    """The standard error of a number by what it comes to without one part at a time."""
    return math.sqrt(float(np.var(values)) * (len(values) - 1)) if values else 0.0


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
    """By policy how many searches in `horizon` queries do not find what they would have with the better ranker's list.

    Mean and standard error, over runs and by the luck of the drafted lists; `once` and `before` are as in `losses`. A list
    that both share may find more than either ranker's own where each is better in many searches, and loses less than
    nothing then.
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
    split = split_instead(experiment, searches, scenario.effects)

    def policies(of: AssumedSearches) -> dict[str, list[float]]:
        shared, misses = _misses(of, scenario.arm, effect)

        def lost(tried: float, each: float, arm: str | None) -> float:
            return min(tried, horizon) * each + max(0.0, horizon - tried) * misses[arm or "control"]

        found = {
            "as designed": [lost(each.units + before, shared, each.arm) for each in endings],
            "one look at the end": [lost(once + before, shared, each.once) for each in endings],
        }
        if isinstance(split, Split):
            half = sum(misses.values()) / 2.0
            ships = split.power if effect > 0 else 0.0
            shipped, not_shipped = (lost(split.queries, half, arm) for arm in (scenario.arm, None))
            found["an A/B instead"] = [ships * shipped + (1.0 - ships) * not_shipped]
        return found | {
            "control for everyone": [horizon * misses["control"]],
            f"{scenario.arm} for everyone, untested": [horizon * misses[scenario.arm]],
        }

    parts = [policies(part) for part in searches.parts(_PARTS)]
    return {
        name: (
            float(np.mean(values)),
            math.hypot(_error(values), _jackknife([float(np.mean(part[name])) for part in parts])),
        )
        for name, values in policies(searches).items()
    }


def _misses(searches: AssumedSearches, arm: str, effect: float) -> tuple[float, dict[str, float]]:
    """The share of searches that miss what the better ranker's list finds: with lists of both, and with each one's own."""
    better = min(max(searches.better(effect), 0.0), 1.0)
    worst, best = (float(of) for of in np.mean(searches.own.found, axis=0))
    finds = {arm: better * best + (1.0 - better) * worst, "control": better * worst + (1.0 - better) * best}
    most = max(finds.values())
    shared = searches.clicking * (most - float(np.mean(searches.own.in_shared)))
    return shared, {name: searches.clicking * (most - of) for name, of in finds.items()}


def _error(values: Sequence[float]) -> float:
    return float(np.std(values, ddof=1) / math.sqrt(len(values))) if len(values) > 1 else 0.0
