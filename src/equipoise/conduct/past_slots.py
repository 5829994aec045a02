"""Past slots: what time slots of a definition would have been like in the log of an experiment that ran before."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from equipoise.analysis.findings import describe
from equipoise.conduct.baseline import past_of
from equipoise.errors import UsageError
from equipoise.events.log import EventLog
from equipoise.experiment.definition import Experiment
from equipoise.stats.estimate import NotEstimable
from equipoise.stats.sizes.power_slots import correlation_apart

__all__ = ["PastSlots", "past_slots"]


@dataclass(frozen=True, slots=True, kw_only=True)
class PastSlots:
    """The primary over past slots of one arm: how many, their mean and spread, and how alike slots are.

    `next` is the correlation of slots that follow each other, `in_block` that of slots that would be drawn together.
    `turns` are the readings of a slot on average, `turns_cv` their standard deviation over that.
    """

    metric: str
    arm: str
    slots: int
    mean: float | NotEstimable
    spread: float | NotEstimable
    next: float | NotEstimable
    in_block: float | NotEstimable
    turns: float
    turns_cv: float

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON; a number that does not exist is {"not_estimable": reason}."""
        plain: dict[str, Any] = {
            "metric": self.metric, "arm": self.arm, "slots": self.slots, "turns": self.turns, "turns_cv": self.turns_cv,
        }  # fmt: skip
        for name in ("mean", "spread", "next", "in_block"):
            value = getattr(self, name)
            plain[name] = describe(value) if isinstance(value, NotEstimable) else value
        return plain


def past_slots(
    log: EventLog,
    name: str,
    experiment: Experiment,
    *,
    since: float | None = None,
    until: float | None = None,
    arm: str | None = None,
) -> PastSlots:
    """What slots of a switchback's definition were like under an arm (control) of an experiment in a log.

    UsageError where the definition is no switchback, or its slots are not of whole minutes; RecordError where nothing is
    registered under the name, DataError where nothing was recorded.
    """
    if experiment.switchback is None:
        raise UsageError(
            f"{experiment.identity} is no switchback, and past slots tell its plan nothing. Set `method: switchback`"
        )
    past, arms = past_of(log, name, experiment, since=since, until=until)
    stable = arms[0] if arm is None else arm
    metric, every = experiment.primary, experiment.unit.every
    windows = past.windows(metric, stable, every)
    values = [None if isinstance(each.value, NotEstimable) else each.value for each in windows]
    known = [value for value in values if value is not None]
    readings = [each.n for each in windows if each.n]
    average = math.fsum(readings) / max(len(readings), 1)
    blocks = experiment.blocks
    few = NotEstimable(f"{len(known)} slots have a value, and a spread needs at least two")
    mean = math.fsum(known) / len(known) if known else 0.0
    return PastSlots(
        metric=metric.name,
        arm=stable,
        slots=len(known),
        mean=mean if known else few,
        spread=math.sqrt(math.fsum((value - mean) ** 2 for value in known) / (len(known) - 1))
        if len(known) > 1
        else few,
        next=correlation_apart(values, 1),
        in_block=correlation_apart(values, round(blocks.span / blocks.size / every))
        if "hour" in experiment.switchback.balance
        else NotEstimable("its slots are drawn by themselves, or with others of the day"),
        turns=average,
        turns_cv=math.sqrt(math.fsum((n - average) ** 2 for n in readings) / max(len(readings), 1)) / average
        if average
        else 0.0,
    )
