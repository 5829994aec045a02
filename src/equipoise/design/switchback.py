"""What a switchback adds to a plan: sizes in slots that are compared within their blocks, and days of whole blocks."""

from __future__ import annotations

import math
from dataclasses import replace

from equipoise.experiment.definition import Experiment
from equipoise.stats.sizes.power_slots import paired_spread

__all__ = ["FEW_BLOCKS", "in_slots", "slot_cycle", "slot_notes", "slots_per_day"]

DAY = 86_400.0
FEW_BLOCKS = 30
"""Below so many blocks the test pays for its few degrees of freedom."""


def in_slots(experiment: Experiment) -> Experiment:
    """The experiment with the spread that is left within blocks, so that sizes are those of its comparison.

    Any other method stays as it is.
    """
    drawn = experiment.switchback
    if drawn is None or not drawn.balance or not drawn.expected_correlation:
        return experiment
    return replace(
        experiment,
        metrics=tuple(
            metric
            if metric.spread is None
            else replace(metric, spread=paired_spread(metric.spread, drawn.expected_correlation))
            for metric in experiment.metrics
        ),
    )


def slots_per_day(experiment: Experiment) -> float | None:
    """How many slots a day has; None where another unit is randomised, or nobody says how many switch by themselves."""
    if experiment.switchback is None or experiment.switchback.by is not None:
        return None
    return DAY / experiment.unit.every


def slot_cycle(experiment: Experiment) -> float:
    """The days after which a plan may end: whole cycles, and of a switchback whole blocks as well.

    >>> from equipoise.experiment.reading import read_canonical
    >>> plain = {
    ...     "name": "demo", "hypothesis": "It is cheaper.", "unit": {"type": "slot", "every": "30m"}, "changes": ["model"],
    ...     "variants": {"control": {"model": "a"}, "treatment": {"model": "b"}},
    ...     "metrics": {"cost": {"priority": "primary", "kind": "mean", "of": "turn.cost_usd", "better": "lower"}},
    ... }
    >>> slot_cycle(read_canonical(plain)), slot_cycle(read_canonical(plain | {"method": "switchback"}))
    (7.0, 14.0)
    """
    cycle = experiment.plan.cycle
    if experiment.switchback is None or not experiment.switchback.balance:
        return cycle / DAY
    span = experiment.blocks.span
    return math.lcm(round(cycle), span) / DAY if round(cycle) else span / DAY


def slot_notes(experiment: Experiment, total: int | None) -> tuple[str, ...]:
    """What a switchback's numbers leave out, and when another method fits better; nothing for other methods."""
    drawn = experiment.switchback
    if drawn is None:
        return ()
    every = experiment.unit.every
    whose = "" if drawn.by is None else f", each {drawn.by} counted by itself"
    notes = [
        f"a unit is a slot of {every / 60:g} minutes{whose}, and `spread` is the standard deviation between slots"
        + (
            f", of which {1 - math.sqrt(1 - drawn.expected_correlation):.0%} is what slots of a block have in common"
            if drawn.balance and drawn.expected_correlation
            else ""
        )
    ]
    if drawn.by is not None:
        notes.append(f"--units-per-day is slots a day times the number of values of {drawn.by}")
    if drawn.wash_out:
        notes.append(f"the wash-out leaves {1 - drawn.wash_out / every:.0%} of the traffic to count")
    if drawn.balance and total is not None and total / experiment.blocks.size < FEW_BLOCKS:
        notes.append(
            f"these are fewer than {FEW_BLOCKS} blocks: the read-out pays for it with Student's t, and a few odd days weigh "
            "much. Shorter slots, or slots `by:` something, give more"
        )
    notes.append(
        "a switchback fits where units of one arm feel the other's treatment (a cache, a queue, an index, a budget that all "
        "share) and where an arm's effect comes and goes within a slot. Where it lasts longer, or a conversation must "
        "keep its arm, randomise conversations, users or clusters instead"
    )
    return tuple(notes)
