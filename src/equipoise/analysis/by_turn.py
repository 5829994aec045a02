"""Metrics of turns per unit and per turn, side by side: a conversation that breaks off has fewer turns, not better ones."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from equipoise.analysis.effects import effect_of
from equipoise.analysis.findings import ByTurn, Effect
from equipoise.experiment.definition import Experiment
from equipoise.experiment.metric import Metric
from equipoise.measurement.by_turn import others, reads_each
from equipoise.measurement.tally import Measurement, Tally
from equipoise.stats.estimate import NotEstimable

__all__ = ["by_turn"]

_LEVEL = 0.95
_RANK = {"better": 1, "not shown to differ": 0, "not known": 0, "worse": -1}


def by_turn(experiment: Experiment, measured: Measurement, effects: Sequence[Effect]) -> tuple[ByTurn, ...]:
    """Both figures of each effect whose metric is of turns, and a sentence where they do not say the same.

    The figure per unit divides by what was randomised. Per turn the treatment has a say in the number that is divided
    by: an arm whose first answers drive people away has fewer turns, and those of the patient (what comes of dividing by
    something that treatment moves: Rosenbaum 1984, "The consequences of adjustment for a concomitant variable that has
    been affected by the treatment"). Nothing where every unit had one reading.
    """
    figures = {other.name: other for other in others(experiment) if other.name in measured.by_turn}
    found = []
    for effect in effects:
        other = figures.get(effect.metric)
        if other is None or effect.segment:
            continue
        tallies = measured.by_turn[effect.metric]
        level = _LEVEL if isinstance(effect.estimate, NotEstimable) else effect.estimate.level
        beside = effect_of(other, effect.variant, tallies, level=level)
        # A share stays one, whatever it is divided by.
        beside = replace(beside, kind=effect.kind if reads_each(other) else beside.kind)
        of_turns = tallies if reads_each(other) else measured.tallies[effect.metric]
        turns = {arm: _turns(of_turns[arm]) for arm in ("control", effect.variant)}
        if all(each == 1.0 for each in turns.values()):
            continue
        per_unit, per_turn = (effect, beside) if reads_each(other) else (beside, effect)
        found.append(
            ByTurn(
                metric=effect.metric,
                variant=effect.variant,
                unit=experiment.unit.type,
                per_unit=per_unit,
                per_turn=per_turn,
                turns=turns,
                says=_says(
                    experiment.unit.type,
                    experiment.metric(effect.metric) if reads_each(other) else other,
                    per_unit,
                    per_turn,
                    turns,
                ),
            )
        )
    return tuple(found)


def _turns(tally: Tally) -> float | None:
    """How many readings a unit with a value has on average; None without one."""
    if tally.pairs is None or not tally.units:
        return None
    # Where there are clusters the pairs are theirs.
    return tally.pairs.mean_y * tally.pairs.n / tally.units


def _says(
    unit: str, of_units: Metric, per_unit: Effect, per_turn: Effect, turns: Mapping[str, float | None]
) -> str | None:
    """What the two figures say where it is not the same; `of_units` is the metric of that per unit."""
    first, second = _shown(per_unit), _shown(per_turn)
    if first == second:
        return None
    control, treated = turns["control"], turns[per_unit.variant]
    many = (
        ""
        if control is None or treated is None
        else f": a {unit} of {per_unit.variant} has {treated:.3g} turns, one of control {control:.3g}"
    )
    advice = f"how many turns there are is itself the arm's doing, so what is said per {unit} counts"
    gathers = of_units.per_unit not in ("mean", "first", "last")
    fewer = control is not None and treated is not None and treated < control
    if _RANK[first] > _RANK[second] and gathers and fewer:
        advice = (
            "with fewer turns there are fewer occasions, and an answer that ends a conversation early makes them fewer, "
            "too"
        )
    return (
        f"{per_unit.metric} in {per_unit.variant} is {first} per {unit} and {second} per turn{many}; {advice}"
    )


def _shown(effect: Effect) -> str:
    estimate = effect.estimate
    if isinstance(estimate, NotEstimable) or estimate.p_value is None:
        return "not known"
    if estimate.p_value > 1.0 - estimate.level:
        return "not shown to differ"
    return "better" if (estimate.value > 0.0) == (effect.better == "higher") else "worse"
