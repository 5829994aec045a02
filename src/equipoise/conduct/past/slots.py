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
from equipoise.experiment.metric import Metric
from equipoise.measurement.guardrails.past import Past
from equipoise.stats.estimate import NotEstimable
from equipoise.stats.sizes.power_slots import correlation_apart

__all__ = ["PastSlots", "past_slots", "past_slots_of_means"]


@dataclass(frozen=True, slots=True, kw_only=True)
class PastSlots:
    """A metric over past slots of one arm: how many, their mean and spread, and how alike slots are.

    `next` is the correlation of slots that follow each other, `in_block` that of slots that would be drawn together.
    `turns` are the readings of a slot on average, `turns_cv` their standard deviation over that, `icc` is how alike they are
    (the intraclass correlation).
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
    icc: float | NotEstimable

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON; a number that does not exist is {"not_estimable": reason}."""
        plain: dict[str, Any] = {
            "metric": self.metric, "arm": self.arm, "slots": self.slots, "turns": self.turns, "turns_cv": self.turns_cv,
        }  # fmt: skip
        for name in ("mean", "spread", "next", "in_block", "icc"):
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
    past, stable = _past(log, name, experiment, since, until)
    return _of(past, experiment, experiment.primary, stable if arm is None else arm)


def past_slots_of_means(log: EventLog, name: str, experiment: Experiment) -> dict[str, PastSlots]:
    """The same for each metric that is a mean over a slot's turns, by its name, under control. Errors as of `past_slots`."""
    past, stable = _past(log, name, experiment, None, None)
    means = [metric for metric in experiment.metrics if metric.kind == "mean"]
    return {metric.name: _of(past, experiment, metric, stable) for metric in means}


def _past(
    log: EventLog, name: str, experiment: Experiment, since: float | None, until: float | None
) -> tuple[Past, str]:
    """The past minutes, and the arm that is stable."""
    if experiment.switchback is None:
        raise UsageError(
            f"{experiment.identity} randomises no slots and no clusters, and those are what --like learns of the past. "
            "Other units are sized by the `baseline` and `spread` of their metrics, and `equipoise simulate --past log "
            "--like NAME` draws past ones"
        )
    past, arms = past_of(log, name, experiment, since=since, until=until)
    return past, arms[0]


def _of(past: Past, experiment: Experiment, metric: Metric, stable: str) -> PastSlots:
    drawn, every = experiment.switchback, experiment.unit.every
    windows = past.windows(metric, stable, every)
    values = [None if isinstance(each.value, NotEstimable) else each.value for each in windows]
    known = [value for value in values if value is not None]
    readings = [each.n for each in windows if each.n]
    average = math.fsum(readings) / max(len(readings), 1)
    blocks = experiment.blocks
    few = NotEstimable(f"{len(known)} slots have a value, and a spread needs at least two")
    mean = math.fsum(known) / len(known) if known else 0.0
    spread: float | NotEstimable = few
    if len(known) > 1:
        spread = math.sqrt(math.fsum((value - mean) ** 2 for value in known) / (len(known) - 1))
    return PastSlots(
        metric=metric.name,
        arm=stable,
        slots=len(known),
        mean=mean if known else few,
        spread=spread,
        next=correlation_apart(values, 1),
        in_block=correlation_apart(values, round(blocks.span / blocks.size / every))
        if drawn is not None and "hour" in drawn.balance
        else NotEstimable("its slots are drawn by themselves, or with others of the day"),
        turns=average,
        turns_cv=math.sqrt(math.fsum((n - average) ** 2 for n in readings) / max(len(readings), 1)) / average
        if average
        else 0.0,
        icc=_alike(past, metric, stable, spread, average),
    )


def _alike(
    past: Past, metric: Metric, arm: str, spread: float | NotEstimable, turns: float
) -> float | NotEstimable:
    """How alike the readings of a slot are: their variance and that of slots' means tell. At least 0."""
    if isinstance(spread, NotEstimable):
        return spread
    readings = past.readings(metric, arm)
    if isinstance(readings, NotEstimable):
        return readings
    alone = readings.variance((1, 1))
    if turns <= 1.0 or not alone > 0.0:
        return NotEstimable("slots have one reading each, or all are the same")
    return min(max((spread**2 / alone - 1.0 / turns) / (1.0 - 1.0 / turns), 0.0), 1.0)
