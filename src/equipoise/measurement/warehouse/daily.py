"""What each unit did on each of its first days, counted where the rows are."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from equipoise.experiment.metric import Metric
from equipoise.measurement.cross import near
from equipoise.measurement.daily import DAY, FEWEST_DAYS, adds_up, by_day, first_yes, whole_days
from equipoise.measurement.tally import Daily
from equipoise.measurement.warehouse.asking import answer, number
from equipoise.measurement.warehouse.facts import Facts
from equipoise.measurement.warehouse.ranks import Ranks, rank

if TYPE_CHECKING:
    from ibis.expr.types import Table, Value

__all__ = ["daily"]


def daily(facts: Facts, units: Table, metric: Metric, arms: Sequence[str]) -> Daily | None:
    """As `equipoise.measurement.daily.daily`: the same days, the same units, the same moments."""
    import ibis

    if facts.last is None or not adds_up(metric):
        return None
    spans = units.select(sample=ibis.literal("", "string"), value=number(facts.last) - units.since)
    ranks = Ranks(spans)
    had = ranks.at({"": rank(0.5, ranks.whole[""].count)})[""] if ranks.whole else None
    days = whole_days(metric, had)
    if days < FEWEST_DAYS:
        return Daily(days)
    # A day is worth about 0 to most units, and products need no mean to follow. Where it is not, covariances are asked for.
    rows = answer(_by_day(facts, units, metric, days, plain=True))
    if all(
        near(row["n"], row[f"product_{i}_{i}"], row[f"mean_{i}"] * row["n"])
        for row in rows
        for i in range(days)
    ):
        rows = [_about_means(row, days) for row in rows]
    else:
        rows = answer(_by_day(facts, units, metric, days, plain=False))
    return by_day(([arms[row.pop("arm")], *row.values()] for row in rows), days, arms)


def _about_means(row: dict[str, Any], days: int) -> dict[str, Any]:
    """A row of `_by_day` with products about 0, about the means."""
    n, means = row["n"], [row[f"mean_{i}"] for i in range(days)]
    return row | {
        f"product_{i}_{j}": row[f"product_{i}_{j}"] - n * means[i] * means[j]
        for i in range(days)
        for j in range(i, days)
    }


def _by_day(facts: Facts, units: Table, metric: Metric, days: int, *, plain: bool) -> Table:
    """The arm's number, units, the mean of each day, and the sum of products of each pair of days.

    Products are about 0 if they are to be `plain`, else about the means.
    """
    assert facts.last is not None
    whole = units.filter(units.since + number(days * DAY) <= number(facts.last)).select(
        "unit", "key", "arm", "since"
    )
    told = facts.table.select("unit", "happened", value=facts.names[metric.of]).join(whole, "unit")
    told = told.mutate(day=((told.happened - told.since) / number(DAY)).floor())
    if first_yes(metric):
        first = told.day.min(where=told.value == number(1.0))
        each_day = {f"d{day}": (first == number(day)).ifelse(number(1.0), number(0.0)) for day in range(days)}
    else:
        each_day = {
            # NULL on other days, not a FILTER, which takes twice as long where there are so many.
            f"d{day}": (told.day == number(day)).ifelse(told.value, None).sum().fill_null(number(0.0))
            for day in range(days)
        }
    table = told.group_by("arm", "key").aggregate(**each_day)

    def product(i: int, j: int) -> Value:
        one, other = table[f"d{i}"], table[f"d{j}"]
        if plain:
            return (one * other).sum()
        return (one.var(how="pop") if i == j else one.cov(other, how="pop")) * table.count()

    return table.group_by("arm").aggregate(
        n=table.count(),
        **{f"mean_{i}": table[f"d{i}"].mean() for i in range(days)},
        **{f"product_{i}_{j}": product(i, j) for i in range(days) for j in range(i, days)},
    )
