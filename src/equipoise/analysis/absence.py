"""What missing outcomes could hide: the effect if absence were failure, and its bounds whatever absence was."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from equipoise.analysis.effects import difference
from equipoise.analysis.findings import Check
from equipoise.experiment.definition import Experiment
from equipoise.experiment.metric import Metric
from equipoise.measurement.tally import Measurement, Tally
from equipoise.stats.estimate import NotEstimable
from equipoise.stats.moments import Moments

__all__ = ["absences"]

LEVEL = 0.95
"""Of an effect that informs and does not decide."""


def absences(experiment: Experiment, measured: Measurement) -> list[Check]:
    """How far the units without a value could move each proportion, by treatment; nothing where none is missing.

    Absence may be failure: a user who gave up rates nothing. So the effect is estimated again with every missing
    unit a failure (0 where higher is better, 1 where lower is), in both arms. Whatever they were, the effect lies
    between the bounds that count them for one arm and against the other (Manski 1990, "Nonparametric Bounds on
    Treatment Effects", for outcomes that are 0 or 1; the bounds hold the missing values alone, not chance). A note
    where an effect that was seen has another sign, or none, with absence as failure.
    """
    checks = []
    for metric in experiment.metrics:
        tallies = measured.tallies[metric.name]
        if metric.kind != "proportion" or not any(tally.missing for tally in tallies.values()):
            continue
        # What a judge was not shown, by the draw, is no failure.
        if any(tally.judged is not None for tally in tallies.values()):
            continue
        # A cluster's share is a number, and compared as one.
        compared = replace(metric, kind="mean") if experiment.is_share(metric) else metric
        checks += [
            check
            for treatment in experiment.treatments
            if (check := _absence(compared, treatment.name, tallies)) is not None
        ]
    return checks


def _absence(metric: Metric, treatment: str, tallies: Mapping[str, Tally]) -> Check | None:
    arms = (tallies["control"], tallies[treatment])
    if any(tally.moments is None or not tally.units for tally in arms):
        return None
    seen = difference(replace(metric, covariates=()), *map(_by_unit, arms), level=LEVEL)
    failed = 0.0 if metric.better == "higher" else 1.0
    worst = difference(
        replace(metric, covariates=()), *(_filled(tally, failed) for tally in arms), level=LEVEL
    )
    if isinstance(seen, NotEstimable) or isinstance(worst, NotEstimable):
        return None
    control, treated = arms
    low = _share(treated, 0.0) - _share(control, 1.0)
    high = _share(treated, 1.0) - _share(control, 0.0)
    absent = sum(tally.missing for tally in arms)
    # A handful that cannot move the answer is not worth a reader's care.
    noted = seen.value * worst.value < 0.0 or (seen.low * seen.high > 0.0) != (worst.low * worst.high > 0.0)
    # Where clusters carry the variance, this interval, which is of units, would promise too much.
    chance = "" if treated.pairs is not None else f" ({_points(worst.low)} to {_points(worst.high)})"
    says = (
        f"were all {absent:,} missing {metric.of} failures, {metric.name} in {treatment} would differ by "
        f"{_points(worst.value)}{chance}; whatever they were, by {_points(low)} to {_points(high)}"
    )
    return Check(f"missing {metric.name}", "note" if noted else "ok", says)


def _by_unit(tally: Tally) -> Tally:
    return replace(tally, pairs=None, totals=None, covariates=None, shared=None)


def _filled(tally: Tally, value: float) -> Tally:
    """The tally with every missing unit given a value."""
    assert tally.moments is not None
    return replace(
        _by_unit(tally),
        units=tally.units + tally.missing,
        missing=0,
        moments=tally.moments + Moments(tally.missing, value, 0.0),
    )


def _share(tally: Tally, value: float) -> float:
    filled = _filled(tally, value).moments
    assert filled is not None
    return filled.mean


def _points(share: float) -> str:
    return f"{'−' if share < 0 else '+'}{abs(share) * 100:.3f} pp"
