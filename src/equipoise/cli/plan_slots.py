"""What `equipoise plan` says of a switchback beside its sizes: the schedule, and what past slots were like."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from equipoise.cli.output import rows

if TYPE_CHECKING:
    from equipoise.conduct.past.slots import PastSlots
    from equipoise.experiment.definition import Experiment

__all__ = ["past_text", "schedule_rows", "schedule_text"]

_DAY = 86_400
_ACROSS = 96
"""More slots a day than this fit no line."""
_LONGEST = 28


def schedule_rows(experiment: Experiment, since: float, whose: str | None) -> list[dict[str, Any]]:
    """The slots of the first whole blocks that begin after a time: name, start and arm of each, in order.

    UsageError where slots are by an attribute and no value is given, or the other way round.
    """
    from equipoise.assignment.switchback import schedule_of

    schedule = schedule_of(experiment)
    blocks, end = schedule.blocks, "" if whose is None else f"/{whose}"
    start = blocks.begins(since)
    return [
        {"slot": f"{at}{end}", "starts": _moment(at), "variant": schedule.arm(f"{at}{end}")}
        for at in range(start, start + max(blocks.span, _DAY), blocks.every)
    ]


def schedule_text(experiment: Experiment, since: float, whose: str | None) -> str:
    """The same as a picture in letters: a line for each day, a letter for each slot."""
    found = schedule_rows(experiment, since, whose)
    every = int(experiment.unit.every)
    arms = [variant.name for variant in experiment.variants]
    letters = _letters(arms)
    begins = found[0]["starts"]
    head = f"Which arm runs when, from {begins} UTC on" + (f", in {whose}" if whose is not None else "")
    key = ", ".join(f"{letter} is {arm}" for arm, letter in letters.items())
    if _DAY % every or _DAY // every > _ACROSS:
        return f"{head}: a slot every {every:,} s is too many for a picture; --json has them all."
    days: dict[str, str] = {}
    for slot in found:
        day = f"{datetime.fromtimestamp(int(slot['slot'].partition('/')[0]), UTC):%a %Y-%m-%d}"
        days[day] = days.get(day, "") + letters[slot["variant"]]
    lines = [f"  {day}  {of}" for day, of in list(days.items())[:_LONGEST]]
    waits = _wait(experiment, found, since)
    return "\n".join([f"{head} ({key})", *lines, *waits])


def _wait(experiment: Experiment, found: list[dict[str, Any]], since: float) -> list[str]:
    """What to do where whole blocks begin later than somebody wants to."""
    start = int(found[0]["slot"].partition("/")[0])
    if start - since < _DAY:
        return []
    wanted = f"{datetime.fromtimestamp(since, UTC):%Y-%m-%d}"
    assert experiment.switchback is not None
    said = experiment.switchback.begins
    how = "declare it" if said is None else f"declare that in place of {said}"
    return [f"  Whole blocks begin then. To begin on another day, {how}: `switchback: {{begins: {wanted}}}`."]


def past_text(past: PastSlots) -> str:
    """What past slots were like, and the lines that a definition needs of it."""
    from equipoise.stats.estimate import NotEstimable

    def said(value: float | NotEstimable) -> str:
        return value.reason if isinstance(value, NotEstimable) else f"{value:.4g}"

    table = rows(
        ["past slots", ""],
        [
            ["slots", f"{past.slots:,}"],
            ["turns a slot", f"{past.turns:,.1f} (coefficient of variation {past.turns_cv:.2f})"],
            [f"mean {past.metric}", said(past.mean)],
            ["spread between slots", said(past.spread)],
            ["correlation with the next slot", said(past.next)],
            ["correlation within a block", said(past.in_block)],
        ],
    )
    lines = (
        []
        if isinstance(past.spread, NotEstimable)
        else [f"metrics: {{{past.metric}: {{spread: {past.spread:.4g}}}}}"]
    )
    if not isinstance(past.in_block, NotEstimable):
        lines.append(f"switchback: {{expected_correlation: {min(max(past.in_block, 0.0), 0.99):.2f}}}")
    return table + ("\nTo plan by it: " + ", ".join(lines) + "." if lines else "")


def _letters(arms: list[str]) -> dict[str, str]:
    """A letter for each arm: a point for control, so that the others stand out, and else the first that is free."""
    letters = {"control": "·"}
    for arm in arms[1:]:
        free = [
            each
            for each in arm.upper() + "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
            if each.isalnum() and each not in letters.values()
        ]
        letters[arm] = free[0]
    return letters


def _moment(seconds: int) -> str:
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%d %H:%M}"
