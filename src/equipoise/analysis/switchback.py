"""What is asked of time slots beside the effect: was the schedule kept, are blocks whole, what was carried over."""

from __future__ import annotations

from collections import defaultdict

from equipoise.analysis.declared import span
from equipoise.analysis.findings import CarryOver, Check
from equipoise.assignment.switchback import schedule_of
from equipoise.experiment.definition import Experiment
from equipoise.measurement.counting import FEW_CLUSTERS
from equipoise.measurement.tally import Measurement, SlotValue
from equipoise.stats.estimate import NotEstimable
from equipoise.stats.health.carry_over import carry_over_in_blocks

__all__ = ["carry_overs", "carry_overs_said", "check_slots"]

_STRAYED = 0.01
"""More slots than this served otherwise than drawn are no accident."""


def check_slots(experiment: Experiment, measured: Measurement) -> tuple[Check, ...]:
    """Whether slots had the arms that were drawn for them, how many blocks are whole, and what the wash-out left out."""
    drawn = experiment.switchback
    if drawn is None:
        return ()
    checks = []
    if drawn.wash_out:
        turns = measured.aside.washed_out
        what = "turn" if measured.read is not None else "row"
        checks.append(
            Check(
                "wash-out",
                "ok",
                f"{turns:,} {what}{'' if turns == 1 else 's'} of the first {span(drawn.wash_out)} of a slot "
                f"{'does' if turns == 1 else 'do'} not count",
            )
        )
    if not measured.slots:
        return tuple(checks)
    return (*checks, _schedule(experiment, measured.slots), *_blocks(experiment, measured.slots))


def _schedule(experiment: Experiment, slots: tuple[SlotValue, ...]) -> Check:
    schedule = schedule_of(experiment)
    strayed = sum(schedule.arm(_name(slot)) != slot.variant for slot in slots)
    if not strayed:
        return Check("schedule", "ok", f"all {len(slots):,} slots had the arm that was drawn for them")
    says = (
        f"{strayed:,} of {len(slots):,} slots ({strayed / len(slots):.2%}) had another arm than the one that was drawn "
        "for them"
    )
    if strayed / len(slots) > _STRAYED:
        return Check(
            "schedule",
            "invalid",
            f"{says}: whoever served them did not follow this schedule, and chance does not say what made them differ",
        )
    return Check("schedule", "note", says)


def _blocks(experiment: Experiment, slots: tuple[SlotValue, ...]) -> list[Check]:
    drawn = experiment.switchback
    if drawn is None or not drawn.balance:
        return []
    held: dict[str, set[str]] = defaultdict(set)
    for slot in slots:
        held[slot.block].add(slot.variant)
    whole = sum(len(arms) == len(experiment.variants) for arms in held.values())
    says = f"{whole:,} of {len(held):,} blocks have every arm"
    few, mostly = whole < FEW_CLUSTERS, 2 * whole >= len(held)
    alone = sum(len(held[slot.block]) < len(experiment.variants) for slot in slots)
    if not mostly:
        says += (
            "; most slots stand alone in theirs and are compared across times of day, which is right and not sharp: "
            "go on until the blocks are whole"
        )
    elif alone:
        says += "; 1 slot stands" if alone == 1 else f"; {alone:,} slots stand"
        says += " alone and wait for the others of their blocks"
    if few:
        says += f"; with fewer than {FEW_CLUSTERS} the intervals are corrected for it (CR2 and Student's t), and wide"
    return [Check("blocks", "note" if few or not mostly else "ok", says)]


def carry_overs(experiment: Experiment, measured: Measurement) -> tuple[CarryOver, ...]:
    """For each treatment what it leaves behind in the slot after it, in the primary and its unit.

    A slot is asked whose slot before, of the same `by`, was served and had control or the treatment.
    """
    if experiment.switchback is None or not measured.slots:
        return ()
    every = experiment.unit.every
    slots = {(slot.start, slot.whose): slot for slot in measured.slots}
    found = []
    for treatment in experiment.treatments:
        asked = _in_whole_blocks(
            [
                (slot, before)
                for slot in measured.slots
                if slot.size > 0.0
                and (before := slots.get((slot.start - every, slot.whose))) is not None
                and before.variant in ("control", treatment.name)
            ]
        )
        found.append(
            CarryOver(
                treatment.name,
                carry_over_in_blocks(
                    [slot.total for slot, _ in asked],
                    [slot.size for slot, _ in asked],
                    [slot.variant for slot, _ in asked],
                    [before.variant != "control" for _, before in asked],
                    [before.block for _, before in asked],
                ),
            )
        )
    return tuple(found)


def _in_whole_blocks(asked: list[tuple[SlotValue, SlotValue]]) -> list[tuple[SlotValue, SlotValue]]:
    """Of slots and those before them, those whose slot before shares its block with another arm; all where few do."""
    arms: dict[str, set[str]] = defaultdict(set)
    for _, before in asked:
        arms[before.block].add(before.variant)
    if 2 * sum(len(of) == 2 for of in arms.values()) < len(arms):
        return asked
    return [(slot, before) for slot, before in asked if len(arms[before.block]) == 2]


def carry_overs_said(experiment: Experiment, found: tuple[CarryOver, ...]) -> tuple[Check, ...]:
    """Each carry-over as a caution: it informs and does not decide, and what is not found is not absent."""
    drawn = experiment.switchback
    if drawn is None:
        return ()
    after = f"after the wash-out of {span(drawn.wash_out)}" if drawn.wash_out else "in the slot that follows"
    checks = []
    for each in found:
        name = "carry-over" if len(found) == 1 else f"carry-over of {each.variant}"
        estimate = each.estimate
        if isinstance(estimate, NotEstimable):
            checks.append(Check(name, "note", f"cannot be told: {estimate.reason}"))
            continue
        p, metric = 1.0 if estimate.p_value is None else estimate.p_value, experiment.primary.name
        figures = f"{estimate.value:+.3g} in {metric} [{estimate.low:.3g}, {estimate.high:.3g}], p = {p:.2g}"
        if p < 1.0 - estimate.level:
            says = (
                f"the slot before is still felt {after}: where it had {each.variant}, there is {figures}. The effect of "
                "going over for good is then not that of a slot; a new revision needs a longer wash-out, or longer slots"
            )
        else:
            says = (
                f"none of the slot before is shown {after} ({figures}); compare the interval with the effect, "
                "for what is not shown is not absent"
            )
        checks.append(Check(name, "note" if p < 1.0 - estimate.level else "ok", says, p))
    return tuple(checks)


def _name(slot: SlotValue) -> str:
    return f"{slot.start:.0f}" if slot.whose is None else f"{slot.start:.0f}/{slot.whose}"
