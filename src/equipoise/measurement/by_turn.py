"""The other figure of a metric of turns: per turn where it is declared per unit, per unit where it is declared per turn."""

from __future__ import annotations

from dataclasses import replace

from equipoise.experiment.definition import Experiment
from equipoise.experiment.metric import PER_TURN, TURN_COUNT, Metric

__all__ = ["beside", "others", "reads_each"]


_OF_ALL = ("any", "all", "mean", "sum")
"""What takes every turn of a unit; the first, the last or the largest is another question than that of turns."""


def others(experiment: Experiment) -> tuple[Metric, ...]:
    """The other figures that can be shown beside an experiment's metrics, under the names of these.

    Where requests are randomised, or rows are units, a unit is one reading, and both figures are the same.
    """
    if experiment.unit.type == "request" or (experiment.source and experiment.source.grain == "unit"):
        return ()
    many = experiment.unit.type in ("cluster", "slot")
    found = (beside(metric, alike=many) for metric in experiment.metrics)
    return tuple(other for other in found if other is not None)


def beside(metric: Metric, *, alike: bool = False) -> Metric | None:
    """A rate, mean or count of turns as one sum over their number; a ratio per turn as a mean over units; else None.

    What a unit adds up to is that mean where its length is what became of it, as a conversation's is. Where units are
    `alike`, clusters and slots, whose size was there before, it is the unit's own mean, so that large ones weigh no more.

    >>> from equipoise.experiment.metric import Quantity
    >>> cost = Metric(name="cost", priority="guardrail", tier="code", kind="ratio", better="lower", per_unit="sum",
    ...               of=Quantity("turn", "cost_usd"), per=TURN_COUNT)
    >>> [(beside(cost, alike=alike).kind, beside(cost, alike=alike).per_unit) for alike in (False, True)]
    [('mean', 'sum'), ('mean', 'mean')]
    >>> errors = Metric(name="errors", priority="primary", tier="code", kind="proportion", better="lower",
    ...                 of=Quantity("turn", "error"), per_unit="any")
    >>> beside(errors).kind, reads_each(beside(errors))
    ('ratio', True)
    """
    plain = replace(metric, covariates=(), winsorise=None, above=None, absent=None)
    if metric.kind == "ratio":
        summed = metric.per in PER_TURN and metric.per_unit == "sum"
        return replace(plain, kind="mean", per=None, per_unit="mean" if alike else "sum") if summed else None
    if (
        metric.kind not in ("proportion", "mean", "count")
        or metric.of.stream not in ("turn", "score")
        or metric.of == TURN_COUNT
        or metric.per_unit not in _OF_ALL
        or metric.above is not None
    ):
        return None
    return replace(plain, kind="ratio", per=metric.of, per_unit="sum")


def reads_each(other: Metric) -> bool:
    """Whether such a figure is the sum of all readings over their number."""
    return other.kind == "ratio"
