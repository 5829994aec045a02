"""Mean times to an event, counted where the rows are: the curve, its area and the variance of that, step by step."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from equipoise.experiment.metric import Metric
from equipoise.measurement.counting import Across
from equipoise.measurement.refusals import events_at_entry
from equipoise.measurement.restricted_means import overlapping, restricted_tally
from equipoise.measurement.tally import Tally
from equipoise.measurement.warehouse.asking import answer, number, one_row
from equipoise.measurement.warehouse.counting import beside_control, with_part

if TYPE_CHECKING:
    from ibis.expr.types import Table, Value

__all__ = ["check_event_rows", "restricted_rows", "restricted_tallies", "shared_rows"]

_GROUP = ("part", "variant")


def check_event_rows(units: Table, metric: Metric, came: str) -> None:
    """That a table tells when events came, and not only when their units came in; raises DataError."""
    told = one_row(
        units.aggregate(events=units[came].count(), later=units.count(where=units[came] > units.since))
    )
    if told["events"] and not told["later"]:
        raise events_at_entry(metric)


def restricted_tallies(
    units: Table,
    metric: Metric,
    came: str,
    arms: Sequence[str],
    *,
    last: float,
    across: Across | None,
    by: str | None = None,
) -> dict[str, dict[str, Tally]]:
    """As `equipoise.measurement.restricted_means.restricted_tallies`, by part and arm, to nine digits."""
    clustered, parted = across is not None, with_part(units, by)
    rows = answer(restricted_rows(parted, metric, came, last=last, clustered=clustered))
    found: dict[tuple[str, str], Sequence[Any]] = {}
    for row in rows:
        known = row["longest"] >= metric.window or row["lowest"] == 0.0
        found[row["part"], row["variant"]] = (
            row["units"], row["events"], row["censored"], row["area"], row["spread"], row["blocks"], known,
        )  # fmt: skip
    tallies: dict[str, dict[str, Tally]] = defaultdict(dict)
    for part in sorted({*(part for part, _ in found), *(() if by else ("",))}):
        for arm in arms:
            tallies[part][arm] = restricted_tally(metric, arm, found.get((part, arm)), clustered=clustered)
    if across in ("shared", "blocks"):
        for row in answer(shared_rows(parted, metric, came, last=last)):
            part, arm = row["part"], row["variant"]
            tallies[part][arm] = overlapping(
                tallies[part], arm, row["clusters"], row["control"], row["treatment"], row["both"]
            )
    return tallies


def restricted_rows(units: Table, metric: Metric, came: str, *, last: float, clustered: bool) -> Table:
    """A row for each part and arm: units, events, censored, area under the curve, its spread, and how it ended.

    A product over earlier times is the exponential of a sum of logarithms, which every engine has; where all that are
    left have the event, nothing lies beyond, and the curve is 0.
    """
    told, totals = _curves(units, metric, came, last=last, clustered=clustered)
    if totals is None:
        return told.select(
            *_GROUP, "units", "events", "censored", "area", "longest", "lowest",
            spread=told.greenwood, blocks=told.units,
        )  # fmt: skip
    spreads = totals.group_by(*_GROUP).aggregate(
        spread=(totals.total * totals.total).sum(), blocks=totals.count()
    )
    both = told.join(spreads, _GROUP)
    return both.select(
        *_GROUP, "units", "events", "censored", "area", "longest", "lowest", "spread", "blocks"
    )


def shared_rows(units: Table, metric: Metric, came: str, *, last: float) -> Table:
    """A row for each treatment and part, of the clusters that control has, too: how many, the squares of their influences
    on either arm's curve, and the products.
    """
    _, totals = _curves(units, metric, came, last=last, clustered=True)
    assert totals is not None
    both = beside_control(totals, totals.variant == "control", "cluster", ["total"])
    return both.group_by(*_GROUP).aggregate(
        clusters=both.count(),
        control=(both.control_total * both.control_total).sum(),
        treatment=(both.total * both.total).sum(),
        both=(both.control_total * both.total).sum(),
    )


def _curves(
    units: Table, metric: Metric, came: str, *, last: float, clustered: bool
) -> tuple[Table, Table | None]:
    """What is known of each part and arm's curve, and how much each of its clusters moves it, where there are clusters."""
    import ibis

    assert metric.window is not None
    horizon, end = number(metric.window), number(last)
    # Before its entry nothing comes to a unit: it is one of which nothing can be known.
    units = units.filter(units[came].isnull() | (units[came] >= units.since))
    event = (units[came] < units.since + horizon).fill_null(False)
    time = ibis.least(units[came].coalesce(end) - units.since, horizon)
    seen = units.select(*_GROUP, "cluster", event=event, time=time)
    forward = ibis.cumulative_window(group_by=_GROUP, order_by="time")
    backward = ibis.cumulative_window(group_by=_GROUP, order_by=ibis.desc("time"))
    steps = seen.group_by(*_GROUP, "time").aggregate(
        came=seen.count(where=seen.event).cast("float64"), leaving=seen.count().cast("float64")
    )
    steps = steps.mutate(
        at_risk=steps.leaving.sum().over(backward),
        width=steps.time.lead().over(ibis.window(group_by=_GROUP, order_by="time")).coalesce(horizon)
        - steps.time,
    )
    stay = steps.at_risk - steps.came
    steps = steps.mutate(stay=stay, falls=(stay > number(0.0)).ifelse(_ln(stay, steps.at_risk), number(0.0)))
    curve = (steps.stay > number(0.0)).ifelse(steps.falls.sum().over(forward).exp(), number(0.0))
    steps = steps.mutate(curve=curve)
    steps = steps.mutate(area=(steps.curve * steps.width).sum().over(backward))
    weight = (steps.stay > number(0.0)).ifelse(steps.area / _some(steps.stay), number(0.0))
    steps = steps.mutate(weight=weight)
    ends = steps.group_by(*_GROUP).aggregate(
        area=steps.time.min() + steps.area.max(),
        longest=steps.time.max(),
        lowest=steps.curve.min(),
        greenwood=(steps.weight * steps.weight * steps.came * steps.stay / steps.at_risk).sum(),
    )
    sizes = seen.group_by(*_GROUP).aggregate(
        units=seen.count(),
        events=seen.count(where=seen.event),
        censored=seen.count(where=~seen.event & (seen.time < horizon)),
    )
    told = ends.join(sizes, _GROUP)
    if not clustered:
        return told, None
    hazards = steps.mutate(hazard=(steps.weight * steps.came / steps.at_risk).sum().over(forward)).select(
        *_GROUP, "time", "weight", "hazard"
    )
    each = seen.join(hazards, (*_GROUP, "time"))
    each = each.select(
        *_GROUP, "cluster", influence=each.hazard - each.event.ifelse(each.weight, number(0.0))
    )
    return told, each.group_by(*_GROUP, "cluster").aggregate(total=each.influence.sum())


def _some(number_left: Value) -> Value:
    """The number, at least 1: an engine may divide in a branch that it does not take."""
    import ibis

    return ibis.greatest(number_left, number(1.0))


def _ln(part: Value, whole: Value) -> Value:
    """The logarithm of a share, where there is one."""
    return (_some(part) / whole).ln()
