"""The primary's effect day by day, with all who had come in by then."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from equipoise.analysis.effects import difference
from equipoise.analysis.findings import SoFar
from equipoise.experiment.definition import Experiment
from equipoise.measurement.tally import Measurement, Tally
from equipoise.stats.estimate import NotEstimable

__all__ = ["FEWEST_DAYS", "effect_so_far"]

FEWEST_DAYS = 3
"""Fewer days draw no line."""


def effect_so_far(experiment: Experiment, measured: Measurement, *, level: float) -> tuple[SoFar, ...]:
    """The effect at the end of each day in which units came in, by treatment; nothing for fewer than three days.

    A day whose units have not been in for the whole of the metric's window adds nothing and has no point. Each unit
    counts with everything it did until now, whenever it came in. Covariates are not used. The intervals hold for one day
    each, not for all together: they show drift, and are no test.
    """
    metric = replace(experiment.primary, covariates=())
    entered = [entry for entry in measured.entry_days if any(map(_ripe, entry.tallies.values()))]
    if len(entered) < FEWEST_DAYS:
        return ()
    together: Mapping[str, Tally] | None = None
    found = []
    for entry in entered:
        together = (
            entry.tallies
            if together is None
            else {arm: _both(tally, entry.tallies[arm]) for arm, tally in together.items()}
        )
        for treatment in experiment.treatments:
            estimate = difference(metric, together["control"], together[treatment.name], level=level)
            if not isinstance(estimate, NotEstimable):
                found.append(
                    SoFar(treatment.name, entry.day + 1, estimate.value, estimate.low, estimate.high)
                )
    return tuple(found)


def _ripe(tally: Tally) -> bool:
    return tally.units + tally.missing > 0


def _both(one: Tally, other: Tally) -> Tally:
    return Tally(
        units=one.units + other.units,
        missing=one.missing + other.missing,
        immature=one.immature + other.immature,
        moments=None if one.moments is None or other.moments is None else one.moments + other.moments,
        pairs=None if one.pairs is None or other.pairs is None else one.pairs + other.pairs,
    )
