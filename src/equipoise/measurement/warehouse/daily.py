"""What each unit did on each of its first days, counted where the rows are."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from equipoise.experiment.metric import Metric
from equipoise.measurement.daily import DAY, FEWEST_DAYS, adds_up, by_day, first_yes, whole_days
from equipoise.measurement.tally import Daily
from equipoise.measurement.warehouse.asking import answer, number
from equipoise.measurement.warehouse.facts import Facts
from equipoise.measurement.warehouse.ranks import Ranks, rank

if TYPE_CHECKING:
    from ibis.expr.types import Table

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
    rows = answer(_by_day(facts, units, metric, days))
    return by_day(([row[name] for name in row] for row in rows), days, arms)


def _by_day(facts: Facts, units: Table, metric: Metric, days: int) -> Table:
    """Arm, units, the mean of each day, and the sum of products about the means of each pair of days."""
    assert facts.last is not None
    whole = units.filter(units.since + number(days * DAY) <= number(facts.last)).select(
        "unit", "key", "variant", "since"
    )
    told = facts.table.select("unit", "happened", value=facts.names[metric.of]).join(whole, "unit")
    told = told.mutate(day=((told.happened - told.since) / number(DAY)).floor())
    if first_yes(metric):
        first = told.day.min(where=told.value == number(1.0))
        each_day = {f"d{day}": (first == number(day)).ifelse(number(1.0), number(0.0)) for day in range(days)}
    else:
        each_day = {
            f"d{day}": told.value.sum(where=told.day == number(day)).fill_null(number(0.0))
            for day in range(days)
        }
    table = told.group_by("variant", "key").aggregate(**each_day)
    return table.group_by("variant").aggregate(
        n=table.count(),
        **{f"mean_{i}": table[f"d{i}"].mean() for i in range(days)},
        **{
            f"product_{i}_{j}": (
                table[f"d{i}"].var(how="pop") if i == j else table[f"d{i}"].cov(table[f"d{j}"], how="pop")
            )
            * table.count()
            for i in range(days)
            for j in range(i, days)
        },
    )
