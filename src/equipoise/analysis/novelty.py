"""Whether the primary's effect fades or grows with the days since a unit first met it."""

from __future__ import annotations

from equipoise.analysis.findings import Check
from equipoise.experiment.definition import Experiment
from equipoise.measurement.tally import Measurement
from equipoise.stats.estimate import NotEstimable
from equipoise.stats.health.novelty import Novelty, effect_trend

__all__ = ["novelty"]


def novelty(experiment: Experiment, measured: Measurement) -> list[Check]:
    """The trend of the effect over a unit's first days, by treatment; nothing where the primary has no days.

    Only a metric that adds up over a unit's days has any: a count, a mean of sums, or a share of units, each of
    which counts on the day of its first yes. Values are as recorded,
    neither winsorised nor adjusted. A note where the trend's interval excludes 0.
    """
    days = measured.daily
    if days is None:
        return []
    name, metric = "effect by day", experiment.primary.name
    if not days.moments:
        return [
            Check(
                name,
                "ok",
                f"cannot be told yet: half of the units have been in for {days.days} whole "
                f"day{'' if days.days == 1 else 's'} or less",
            )
        ]
    checks = []
    for treatment in experiment.treatments:
        found = effect_trend(range(1, days.days + 1), days.moments["control"], days.moments[treatment.name])
        if isinstance(found, NotEstimable):
            checks.append(Check(name, "ok", f"cannot be told for {treatment.name}: {found.reason}"))
        else:
            checks.append(
                Check(
                    name, "ok" if found.reading == "steady" else "note", _says(metric, treatment.name, found)
                )
            )
    return checks


def _says(metric: str, treatment: str, found: Novelty) -> str:
    trend = f"{found.trend.value:+.4g} a day ({found.trend.low:+.4g} to {found.trend.high:+.4g})"
    means = {
        "steady": "no trend was found, which does not show that there is none",
        "fading": "it fades, as novelty does: what lasts may be less than the average",
        "growing": "it grows, as habits do: what lasts may be more than the average",
        "reversing": "it changes its sign on the way: the average tells of neither beginning nor end",
    }[found.reading]
    return (
        f"{metric} in {treatment} moves by {trend} over the first {len(found.days)} days of a unit, of "
        f"{found.average.value:+.4g} a day on average; {means}"
    )
