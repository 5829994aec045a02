"""What each unit did on each of its first days: the moments that tell whether an effect fades."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from equipoise.experiment.metric import Metric
from equipoise.measurement.counting import one
from equipoise.measurement.cross import ALWAYS, Aggregates, Asked
from equipoise.measurement.tally import Daily
from equipoise.stats.health.novelty import DailyMoments

if TYPE_CHECKING:
    import duckdb

__all__ = ["DAY", "FEWEST_DAYS", "adds_up", "by_day", "daily", "first_yes", "whole_days"]

DAY = 86_400.0
FEWEST_DAYS, MOST_DAYS = 3, 14


def daily(
    connection: duckdb.DuckDBPyConnection,
    metric: Metric,
    column: str,
    arms: Sequence[str],
    ends: float | None,
) -> Daily | None:
    """A metric that adds up, by day since first exposure; None where it does not add up or there are no times.

    A sum adds up, and so does whether there was any: on the day of the first yes. A day without a value is
    worth 0. Only units that were in for all the days count; there are as many days as half of the units have had,
    fourteen at most and three at least: no effect has a say in it.
    """
    if ends is None or not adds_up(metric):
        return None
    (had,) = one(connection, f"SELECT quantile_disc({ends!r} - since, 0.5) FROM units")
    days = whole_days(metric, had)
    if days < FEWEST_DAYS:
        return Daily(days)
    day_of = "coalesce(sum(CASE WHEN day = {day} THEN value END), 0)"
    if first_yes(metric):
        day_of = "CASE WHEN min(day) FILTER (WHERE value = 1) = {day} THEN 1.0::DOUBLE ELSE 0.0::DOUBLE END"
    totals = ", ".join(f"{day_of.format(day=day)} AS d{day}" for day in range(days))
    names = [f"d{day}" for day in range(days)]
    # A day is worth about 0 to most units: the centre. Only where it is not are all rows read once more.
    centre: dict[str, float] | None
    for centre in ({}, None):
        ask = Aggregates()
        place = Asked.of(names, ALWAYS, ask, centre)
        told = connection.execute(
            f"""SELECT variant, {", ".join(ask.asked)}
                FROM (SELECT number, any_value(variant) AS variant, {totals}
                      FROM (SELECT units.number, units.variant, told.{column} AS value,
                                   floor((happened - units.since) / {DAY!r}) AS day
                            FROM facts AS told JOIN units ON told.unit = units.unit
                            WHERE units.since + {days * DAY!r} <= {ends!r})
                      GROUP BY number ORDER BY number)
                GROUP BY variant"""
        ).fetchall()
        if all(place.near(row) for _, *row in told):
            break
    moments = {variant: place.read(metric, row) for variant, *row in told}
    upper = [(i, j) for i in range(days) for j in range(i, days)]
    rows = [
        (variant, each.n, *each.means, *(each.products[i][j] for i, j in upper))
        for variant, each in moments.items()
    ]
    return by_day(rows, days, arms)


def first_yes(metric: Metric) -> bool:
    """Whether a unit's value is that there was any, which counts on the day of the first."""
    return metric.per_unit == "any" and metric.kind == "proportion" and metric.above is None


def adds_up(metric: Metric) -> bool:
    """Whether a unit's value is the sum of its days."""
    return first_yes(metric) or (metric.per_unit == "sum" and metric.kind in ("mean", "count"))


def whole_days(metric: Metric, had: float | None) -> int:
    """How many days are told apart where half of the units have been in for `had` seconds or longer."""
    most = MOST_DAYS if metric.window is None else min(MOST_DAYS, int(metric.window // DAY))
    return 0 if had is None else min(most, int(had // DAY))


def by_day(rows: Iterable[Sequence[Any]], days: int, arms: Sequence[str]) -> Daily | None:
    """The moments out of an engine's rows: arm, units, the mean of each day, the products of each pair of days."""
    upper = [(i, j) for i in range(days) for j in range(i, days)]
    found = {}
    for variant, n, *numbers in rows:
        products = [[0.0] * days for _ in range(days)]
        for (i, j), product in zip(upper, numbers[days:], strict=True):
            products[i][j] = products[j][i] = product
        found[variant] = DailyMoments(n, tuple(numbers[:days]), tuple(tuple(row) for row in products))
    if not any(mean for moments in found.values() for mean in moments.means[1:]):
        # One row a unit: what is dated by the exposure says nothing of later days.
        return None
    nothing = DailyMoments(0, (0.0,) * days, ((0.0,) * days,) * days)
    return Daily(days, {arm: found.get(arm, nothing) for arm in arms})
