"""`facts` → one row per unit: its arm, its values, and what was settled at its first exposure."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING

from equipoise.errors import DataError
from equipoise.experiment.definition import Experiment, PlanSettings
from equipoise.experiment.metric import RETURNED, Metric
from equipoise.measurement.by_turn import reads_each
from equipoise.measurement.refusals import several_rows, window_without_times
from equipoise.measurement.tally import Enrolment
from equipoise.measurement.warehouse.asking import engine, keep, number, one_row
from equipoise.measurement.warehouse.facts import Facts

if TYPE_CHECKING:
    from ibis.expr.types import Table, Value

__all__ = ["Units", "check_digits", "enrolled", "per_unit", "slopes", "units_of"]

_FIRST, _LAST, _SLOPE = "first", "last", "slope"


@dataclass(frozen=True, slots=True)
class Units:
    """One row per unit, and how many of them were seen in several variants.

    Columns: `unit`, `key` (tells units apart), `variant`, `arm` (its number), `crossed`, `since`, `cluster`, segments
    `s0 …`, covariates `z0 …`, and of the metric with number i among those that are no quantiles `m{i}_x`, and `m{i}_y`
    for a ratio.
    """

    table: Table
    crossed: int


def units_of(
    experiment: Experiment,
    facts: Facts,
    metrics: Sequence[Metric],
    others: Sequence[Metric],
    settled: Sequence[str],
    kept: ExitStack,
) -> Units:
    """Make one row per unit and keep it where the rows are; `settled` columns hold at the first exposure.

    The `others`, figures that stand beside the metrics (`by_turn`), are numbered after them.

    Raises DataError where an order is asked for that no time tells.
    """
    if not facts.timed and (refused := window_without_times(experiment)):
        raise refused
    table = _numbered(keep(per_unit(experiment, facts, metrics, others, settled), kept))
    ordered = _ordered(facts, metrics, settled)
    flag = (table.variant == experiment.variants[0].name).ifelse(number(1.0), number(0.0))
    far = flag + number(1e8)
    told = one_row(
        table.aggregate(
            crossed=table.count(where=table.crossed),
            # A variance known beforehand, of numbers far from 0.
            share=flag.mean(),
            variance=far.var(how="pop"),
            covariance=far.cov(far, how="pop"),
            several=table.count(where=table.told > 1),
            **{f"moved_{name}": table.count(where=table[f"{name}_changes"]) for name in ordered},
        )
    )
    check_digits(engine(table), told["share"], (told["variance"], told["covariance"]))
    if not facts.timed and (refused := several_rows(experiment, told["several"])):
        raise refused
    moved = {name: each for name, each in ordered.items() if told[f"moved_{name}"]}
    settled_table = _in_order(table, facts, moved) if moved else table
    sloped = _with_slopes(settled_table, facts, metrics)
    table = table if sloped is table else keep(sloped, kept)
    return Units(table.mutate(arm=_arm(table, experiment)), told["crossed"])


def _numbered(units: Table) -> Table:
    """The kept units with `key`: the number of the row, where the engine has one, which is shorter than the name."""
    return units.mutate(key=units.rowid() if engine(units) == "duckdb" else units.unit)


def _arm(units: Table, experiment: Experiment) -> Value:
    """The number of each unit's variant, which its readings and days are grouped by: shorter than its name."""
    import ibis

    numbers = ((variant.name, index) for index, variant in enumerate(experiment.variants))
    return ibis.cases(*((units.variant == name, ibis.literal(index, "int16")) for name, index in numbers))


def check_digits(engine: str, share: float | None, computed: Sequence[float | None]) -> None:
    """Raise DataError where an engine's variance of a 0 or 1 beside 10⁸ is not that of a 0 or 1.

    An engine that takes the square of the mean from the mean of the squares has no digit left there, and would
    have too few for a cost in cents or a time since 1970. Source: Chan, Golub & LeVeque (1983).

    >>> check_digits("good", 0.5, (0.25, 0.25 + 1e-9))
    >>> check_digits("bad", 0.5, (0.25, 0.0))  # doctest: +ELLIPSIS
    Traceback (most recent call last):
        ...
    equipoise.errors.DataError: bad computes a variance of 0 that is 0.25: it loses digits...
    """
    expected = (share or 0.0) * (1.0 - (share or 0.0))
    for each in computed:
        if each is not None and not math.isclose(each, expected, rel_tol=1e-4, abs_tol=1e-9):
            raise DataError(
                f"{engine} computes a variance of {each:g} that is {expected:g}: it loses digits, and no number of it "
                "can be relied on. Copy the table to Parquet, and analyse the file"
            )


def per_unit(
    experiment: Experiment,
    facts: Facts,
    metrics: Sequence[Metric],
    others: Sequence[Metric],
    settled: Sequence[str],
) -> Table:
    """The grouping by unit. What has an order stands as its least value, beside whether it changes at all.

    Who came first is looked up afterwards, and only for those few units.
    """
    rows = facts.table.filter(facts.table.unit.notnull())
    # A time to an event is compared with its window unit by unit, and needs nobody's entry beside each row.
    if any(metric.window is not None and metric.kind != "time_to_event" for metric in experiment.metrics):
        entries = rows.group_by("unit").aggregate(entered=lambda t: t.happened.min())
        rows = rows.join(entries, "unit")
    columns: dict[str, Value] = {
        "variant": rows.variant.min(),
        "crossed": rows.variant.min() != rows.variant.max(),
        "since": rows.happened.min(),
        "told": rows.count(),
        "cluster": rows.cluster.min(),
    }
    for i, metric in enumerate(metrics):
        for part, quantity in zip("xy", metric.quantities, strict=False):
            value = rows[facts.names[quantity]]
            if metric.kind == "time_to_event":
                came = rows.happened.min(where=value != 0)
                known = value.count() > 0
                unknown = rows.happened.min() - number(1.0)
                columns[f"m{i}_{part}"] = known.ifelse(came, unknown) if metric.of == RETURNED else came
                continue
            value = _within(rows, metric, value)
            columns[f"m{i}_{part}"] = _reduced(metric.per_unit, value)
            columns |= _change(f"m{i}_{part}", value) if _in_time(metric) else {}
    for i, other in enumerate(others, len(metrics)):
        value = _within(rows, other, rows[facts.names[other.of]])
        if reads_each(other):
            columns[f"m{i}_x"], columns[f"m{i}_y"] = value.sum(), value.count().nullif(0).cast("float64")
        else:
            columns[f"m{i}_x"] = _reduced(other.per_unit, value)
    for name in settled:
        columns[name] = rows[name].min() if facts.timed else rows[name].max()
        columns |= _change(name, rows[name])
    columns |= _change("variant", rows.variant)
    table = rows.group_by("unit").aggregate(**columns)
    # A unit without a cluster is one of its own.
    return (
        table.mutate(cluster=table.cluster.coalesce("unit " + table.unit))
        if experiment.cluster is not None
        else table
    )


def _within(rows: Table, metric: Metric, value: Value) -> Value:
    """The value, where it lies within the metric's window."""
    if metric.window is None:
        return value
    return (rows.happened < rows.entered + number(metric.window)).ifelse(value, None)


def _reduced(rule: str, value: Value) -> Value:
    if rule in ("all", "min"):
        return value.min()
    if rule in ("mean", "sum"):
        return value.mean() if rule == "mean" else value.sum()
    return value.max()


def _in_time(metric: Metric) -> bool:
    """Whether a unit's value is that of its first or last row."""
    return metric.per_unit in (_FIRST, _LAST) and metric.kind != "time_to_event"


def _change(name: str, value: Value) -> dict[str, Value]:
    return {f"{name}_changes": (value.min() != value.max()).fill_null(False)}


def _ordered(
    facts: Facts, metrics: Sequence[Metric], settled: Sequence[str]
) -> Mapping[str, tuple[str, str, float | None]]:
    """Each column of units whose value depends on the order: of which fact, the first or the last, within what."""
    if not facts.timed:
        return {}
    ordered: dict[str, tuple[str, str, float | None]] = {
        name: (name, _FIRST, None) for name in ("variant", *settled)
    }
    for i, metric in enumerate(metrics):
        if _in_time(metric):
            for part, quantity in zip("xy", metric.quantities, strict=False):
                ordered[f"m{i}_{part}"] = (facts.names[quantity], metric.per_unit, metric.window)
    return ordered


def _in_order(units: Table, facts: Facts, moved: Mapping[str, tuple[str, str, float | None]]) -> Table:
    """The columns as they were first or last, where they change; of one moment the least, or the greatest."""
    import ibis

    changing = units.filter(ibis.or_(*(units[f"{name}_changes"] for name in moved))).select("unit", "since")
    rows = facts.table.join(changing, "unit")
    moments: dict[str, Value] = {}
    for name, (column, which, window) in moved.items():
        told = rows[column].notnull()
        if window is not None:
            told = told & (rows.happened < rows.since + number(window))
        moments[f"{name}_at"] = _picked(which, rows.happened, told)
    dated = rows.join(rows.group_by("unit").aggregate(**moments), "unit")
    settled = dated.group_by("unit").aggregate(
        **{
            f"{name}_settled": _picked(which, dated[column], dated.happened == dated[f"{name}_at"])
            for name, (column, which, _) in moved.items()
        }
    )
    joined = units.left_join(settled, "unit")
    return joined.select(
        *(
            joined[f"{each}_settled"].coalesce(joined[each]).name(each) if each in moved else joined[each]
            for each in units.columns
        )
    )


def _with_slopes(units: Table, facts: Facts, metrics: Sequence[Metric]) -> Table:
    """The units with the slopes that metrics ask for."""
    for i, metric in enumerate(metrics):
        if metric.per_unit == _SLOPE:
            joined = units.left_join(slopes(units, facts, metric), "unit")
            units = joined.select(
                *(joined.slope.name(each) if each == f"m{i}_x" else joined[each] for each in units.columns)
            )
    return units


def slopes(units: Table, facts: Facts, metric: Metric) -> Table:
    """The slope of each unit's readings on their number, in order of time: least squares; none of a single reading."""
    import ibis

    told = facts.table.select("unit", "happened", value=facts.names[metric.of])
    rows = told.filter(told.value.notnull()).join(units.select("unit", "since"), "unit")
    if metric.window is not None:
        rows = rows.filter(rows.happened < rows.since + number(metric.window))
    rows = rows.select("unit", "happened", "value")
    unit = ibis.window(group_by="unit")
    ordered = ibis.window(group_by="unit", order_by=["happened", "value"])
    # Taken from the least, the values keep their digits; their numbers are taken from the middle.
    rows = rows.select(
        "unit",
        height=rows.value - rows.value.min().over(unit),
        place=ibis.row_number().over(ordered).cast("float64"),
        readings=rows.count().over(unit).cast("float64"),
    )
    rows = rows.filter(rows.readings > number(1.0))
    middle = (rows.readings - number(1.0)) / number(2.0)
    n = rows.readings.max()
    return rows.group_by("unit").aggregate(
        slope=(rows.height * (rows.place - middle)).sum() * number(12.0) / (n * (n * n - number(1.0)))
    )


def _picked(which: str, column: Value, where: Value) -> Value:
    return column.min(where=where) if which == _FIRST else column.max(where=where)


def enrolled(units: Table, plan: PlanSettings, last: float | None, *, timed: bool) -> tuple[Table, Enrolment]:
    """Those who entered after the burn-in and, if declared, in whole cycles; and how many did not."""
    if not timed or last is None or not (plan.burn_in or plan.whole_cycles):
        return units, Enrolment()
    start = one_row(units.aggregate(start=units.since.min()))["start"]
    begin = start + plan.burn_in
    cycles = None
    counts = units.since >= number(begin)
    late = units.count(where=units.since.isnull())
    if plan.whole_cycles and plan.cycle:
        cycles = max(0, int((last - begin) / plan.cycle))
        end = number(begin + cycles * plan.cycle)
        late = units.count(where=counts & (units.since >= end))
        counts = counts & (units.since < end)
    told = one_row(units.aggregate(early=units.count(where=units.since < number(begin)), late=late))
    return units.filter(counts), Enrolment(told["early"], told["late"], cycles)
