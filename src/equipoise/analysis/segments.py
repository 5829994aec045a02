"""The primary by segment: its effects there, whether the arms hold the same mix, and whether the total misleads."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from equipoise.analysis.effects import effect_of, value_of
from equipoise.analysis.findings import Check, Effect
from equipoise.experiment.definition import Experiment
from equipoise.measurement.tally import Measurement, SegmentTallies, Tally
from equipoise.stats.estimate import NotEstimable
from equipoise.stats.health.segments import SegmentMix, segment_mix

__all__ = ["directions", "mixes", "segment_effects"]

LEVEL = 0.95
"""Of effects that inform and do not decide; their p-values are adjusted as one family."""

_ALARM = 0.001


def segment_effects(experiment: Experiment, measured: Measurement) -> tuple[Effect, ...]:
    """The primary's effect in each treatment within each value of each declared segment."""
    return tuple(
        effect_of(
            experiment.primary,
            treatment.name,
            tallies,
            level=LEVEL,
            segment=f"{part.attribute}={value}",
        )
        for part in measured.segments
        for value, tallies in part.values.items()
        for treatment in experiment.treatments
    )


def mixes(measured: Measurement) -> list[Check]:
    """Whether the arms hold the same shares of every segment, as randomised arms do up to chance."""
    checks = []
    for part in measured.segments:
        name = f"mix of {part.attribute}"
        rarer = f"; {part.others:,} rarer values are not told apart" if part.others else ""
        mix = _mix(part)
        if isinstance(mix, NotEstimable):
            checks.append(Check(name, "ok", f"cannot be compared: {mix.reason}{rarer}"))
        elif mix.p_value < _ALARM:
            checks.append(
                Check(
                    name,
                    "note",
                    f"the arms hold different shares of {part.attribute} (p = {mix.p_value:.3g}), which randomised arms "
                    "would not: either units were lost in one arm, or the treatment moves what was said to be known "
                    f"before it{rarer}",
                    mix.p_value,
                )
            )
        else:
            checks.append(
                Check(
                    name,
                    "ok",
                    f"the arms hold the same shares of {part.attribute}, up to chance (p = {mix.p_value:.3g}){rarer}",
                    mix.p_value,
                )
            )
    return checks


def directions(experiment: Experiment, measured: Measurement, segments: Sequence[Effect]) -> list[Check]:
    """Whether the total points where its segments point (Simpson 1951), by attribute and treatment.

    The effect within is the segments' average with the weights n_c·n_t/(n_c + n_t) of Mantel and Haenszel. It is
    worth a note where it has another sign than the total and the arms hold different shares, or where a
    segment's own effect, adjusted with its family, is shown to go the other way.
    """
    checks = []
    for part in measured.segments:
        mix = _mix(part)
        mixed = isinstance(mix, SegmentMix) and mix.p_value < _ALARM
        for treatment in experiment.treatments:
            tallies = measured.tallies[experiment.primary.name]
            total = _change(tallies, treatment.name)
            within = _within(part.values, treatment.name)
            if total is None or within is None:
                continue
            opposed = [
                f"{effect.segment} {effect.estimate.value:+.4g} (adjusted p = {effect.adjusted_p:.2g})"
                for effect in segments
                if effect.variant == treatment.name
                and (effect.segment or "").startswith(f"{part.attribute}=")
                and not isinstance(effect.estimate, NotEstimable)
                and effect.adjusted_p is not None
                and effect.adjusted_p <= 1.0 - LEVEL
                and effect.estimate.value * total < 0.0
            ]
            reversed_ = total * within < 0.0
            says = (
                f"{experiment.primary.name} in {treatment.name} is {total:+.4g} in total and {within:+.4g} within "
                f"the values of {part.attribute}"
            )
            if reversed_ and mixed:
                says += ": the total compares different mixes of units; believe what lies within"
            elif reversed_:
                says += ": another sign, and no more than chance, as the arms hold the same shares"
            if opposed:
                says += f"; shown to go the other way: {', '.join(opposed)}"
            noted = (reversed_ and mixed) or bool(opposed)
            checks.append(Check(f"direction by {part.attribute}", "note" if noted else "ok", says))
    return checks


def _mix(part: SegmentTallies) -> SegmentMix | NotEstimable:
    units: dict[str, dict[str, int]] = {}
    for value, tallies in part.values.items():
        for arm, tally in tallies.items():
            units.setdefault(arm, {})[value] = _size(tally)
    return segment_mix(units)


def _size(tally: Tally) -> int:
    return tally.units + tally.missing + tally.immature


def _change(tallies: Mapping[str, Tally], variant: str) -> float | None:
    control, treatment = value_of(tallies["control"]), value_of(tallies[variant])
    return None if control is None or treatment is None else treatment - control


def _within(values: Mapping[str, Mapping[str, Tally]], variant: str) -> float | None:
    weighted: list[tuple[float, float]] = []
    for tallies in values.values():
        change = _change(tallies, variant)
        n_c, n_t = tallies["control"].units, tallies[variant].units
        if change is not None and n_c and n_t:
            weighted.append((n_c * n_t / (n_c + n_t), change))
    total = math.fsum(weight for weight, _ in weighted)
    return math.fsum(weight * change for weight, change in weighted) / total if total else None
