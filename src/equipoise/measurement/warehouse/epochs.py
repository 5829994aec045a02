"""A bandit by epoch, counted where the rows are: the shares that they hold, and the tallies under each of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from equipoise.experiment.definition import Experiment
from equipoise.measurement.epochs import SETTLED, Began, no_epoch, of_rows, told_by_epoch
from equipoise.measurement.tally import EpochTallies, Tally
from equipoise.measurement.warehouse.asking import answer, one_row
from equipoise.measurement.warehouse.counting import Counted, moments, tallies_by, with_part
from equipoise.measurement.warehouse.facts import Facts

if TYPE_CHECKING:
    from ibis.expr.types import Table

__all__ = ["announced", "by_epoch", "epoch_moments", "share_rows", "told_epochs"]


def told_epochs(facts: Table) -> bool:
    """Whether the rows say under which shares their units came in."""
    return set(SETTLED) <= set(facts.columns)


def announced(facts: Facts, arms: Sequence[str]) -> dict[int, Began]:
    """As `measurement.epochs.of_table`: the epochs of the rows, by number; none where they do not tell them."""
    if not told_epochs(facts.table):
        return {}
    rows = facts.table.filter(facts.table.unit.notnull())
    unknown, broken = rows.epoch.isnull(), rows.epoch != rows.epoch.floor()
    told = one_row(
        rows.aggregate(
            unknown=rows.count(where=unknown),
            broken=rows.count(where=broken),
            example=rows.epoch.min(where=broken),
        )
    )
    if told["unknown"] or told["broken"]:
        raise no_epoch(told["example"])
    found = sorted(answer(share_rows(facts.table)), key=lambda row: (row["epoch"], row["variant"]))
    return of_rows(
        (
            (row["epoch"], row["variant"], row["rows"] == row["known"], row["low"], row["high"], row["since"])
            for row in found
        ),
        arms,
    )


def share_rows(facts: Table) -> Table:
    """A row for each epoch and arm: rows, those of known probability, the least, the greatest, and the first moment."""
    rows = facts.filter(facts.unit.notnull())
    return rows.group_by("epoch", "variant").aggregate(
        rows=rows.count(),
        known=rows.probability.count(),
        low=rows.probability.min(),
        high=rows.probability.max(),
        since=rows.happened.min(),
    )


def by_epoch(
    experiment: Experiment,
    units: Table,
    counted: Mapping[str, Counted],
    segments: Mapping[str, str],
    began: Mapping[int, Began],
) -> tuple[EpochTallies, ...]:
    """As `measurement.epochs.by_epoch`, of a table whose columns are those of `Counted`; nothing where none `began`."""
    if not began:
        return ()
    arms = [variant.name for variant in experiment.variants]
    came = units.group_by("epoch", "variant").aggregate(units=units.count())

    def tallies(among: Table, metrics: Sequence[Counted]) -> dict[str, dict[int, Mapping[str, Tally]]]:
        plain = [replace(each, covariates=()) for each in metrics]
        found = tallies_by(among, plain, arms, clusters=None, by="epoch")
        return {name: {int(epoch): of for epoch, of in parts.items()} for name, parts in found.items()}

    critical = []
    for each in experiment.critical_segments:
        among = units.filter(units[segments[each.attribute]] == each.value)
        metric = counted.get(each.metric)
        critical.append(tallies(among, [metric])[each.metric] if metric is not None else {})
    return told_by_epoch(
        ((row["epoch"], row["variant"], row["units"], None, None) for row in answer(came)),
        began,
        arms,
        tallies(units, list(counted.values())),
        critical,
    )


def epoch_moments(units: Table, counted: Sequence[Counted]) -> Table:
    """The counts and moments of every metric for each epoch and arm, of units whose columns are those of `Counted`."""
    plain = [replace(each, covariates=()) for each in counted]
    return moments(with_part(units, "epoch"), plain, clustered=False)
