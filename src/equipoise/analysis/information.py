"""How much is known of the primary's effect by now, on the scale that the registered looks are spaced on."""

from __future__ import annotations

from equipoise.analysis.effects import difference
from equipoise.experiment.definition import Experiment
from equipoise.measurement.tally import Measurement
from equipoise.stats.estimate import NotEstimable

__all__ = ["FEW", "information_now"]

FEW = 200
"""Degrees of freedom from which on a variance says by itself how much is known."""


def information_now(
    experiment: Experiment,
    measured: Measurement,
    *,
    maximum: float | NotEstimable,
    units: float | None,
) -> float | NotEstimable:
    """1 / standard error² of the primary's effect; of several treatments, that of the one of which least is known.

    With fewer than `FEW` degrees of freedom it is no more than the share of the planned `units` that are there gives of
    the `maximum`. For whoever waits for a small standard error finds it when the variance happens to look small: with
    twenty, forty or a hundred units, and a test that is right at any fixed number of them, 8.3, 7.7 or 5.8 % of A/A tests
    then end with a difference, and with the limit 5.2 %; with 200 units it is 5.2 % without it. A variance that is larger
    than planned makes a small experiment longer, and one that is smaller no shorter (the restricted design of Birkett &
    Day (1994), Statistics in Medicine 13, 2455).
    """
    tallies = measured.tallies[experiment.primary.name]
    known: list[float] = []
    degrees: list[float] = []
    for treatment in experiment.treatments:
        found = difference(experiment.primary, tallies["control"], tallies[treatment.name], level=0.95)
        if isinstance(found, NotEstimable):
            return found
        known.append(found.standard_error**-2)
        if found.degrees_of_freedom is not None:
            degrees.append(found.degrees_of_freedom)
    if not known:
        return NotEstimable("there is no treatment")
    if not degrees or min(degrees) >= FEW or units is None or isinstance(maximum, NotEstimable):
        return min(known)
    return min(*known, maximum * _there(experiment, measured) / units)


def _there(experiment: Experiment, measured: Measurement) -> int:
    """The units with a value of the primary, in the plan's own: lists where rankers share them."""
    primary = experiment.primary.name
    if measured.lists is not None:
        return measured.lists.counted(primary)
    return sum(tally.units for tally in measured.tallies[primary].values())
