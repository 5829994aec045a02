"""An Ibis table → `facts`: the columns that are counted, typed and checked, kept once where the rows are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from equipoise.errors import DataError
from equipoise.experiment.definition import Experiment, TableSource
from equipoise.experiment.metric import Metric, Quantity
from equipoise.measurement.refusals import no_units, other_than_yes_or_no, strays, unknown_variant
from equipoise.measurement.tables import NamedColumns, implied_source, named_columns
from equipoise.measurement.warehouse.asking import answer, engine, keep, number, one_row

if TYPE_CHECKING:
    from ibis.expr.datatypes import DataType
    from ibis.expr.types import Table, Value

__all__ = ["Facts", "facts_of", "typed"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """Rows of `unit`, `variant`, `happened`, `cluster`, segments `s0 …`, covariates `z0 …`, quantities `q0 …`.

    `names` has the column of each quantity. `rows` counts all rows, `without_unit` those of nobody; `first` and
    `last` are seconds since 1970.
    """

    table: Table
    names: Mapping[Quantity, str]
    timed: bool
    rows: int
    without_unit: int
    first: float | None
    last: float | None


def facts_of(experiment: Experiment, relation: Table, kept: ExitStack) -> Facts:
    """Read a relation as the definition, or its silence, declares.

    Raises DataError, naming the column, for one that is not there, that has a type whose text or number would
    depend on the engine, or that holds what is no finite number.
    """
    source = experiment.source or implied_source(experiment, list(relation.columns))
    named = named_columns(experiment, source, list(relation.columns))
    table = keep(typed(relation, source, named, engine(relation)), kept)
    names = {quantity: f"q{index}" for index, quantity in enumerate(named.quantities)}
    labels = [*zip(map(str, named.quantities), names.values(), named.quantities.values(), strict=True)]
    labels += [(name, f"z{i}", column) for i, (name, column) in enumerate(named.covariates.items())]
    kinds = {name: relation[column].type() for _, name, column in labels}
    kinds |= {"happened": relation[source.time].type()} if source.time else {}
    told = one_row(
        table.aggregate(
            rows=table.count(),
            without_unit=table.count(where=table.unit.isnull()),
            first=table.happened.min(),
            last=table.happened.max(),
            **_checks(experiment, table, names, [name for name, kind in kinds.items() if not _finite(kind)]),
        )
    )
    for label, name, column in labels:
        if told.get(f"bad_{name}"):
            raise DataError(
                f"the column '{column}' ({label}) holds "
                f"{strays(told[f'bad_{name}'], 'a number', 'numbers', told[f'worst_{name}'])}. "
                "Accepted: finite numbers, true, false, or empty for unknown"
            )
    if source.time and told["untimed"]:
        raise DataError(
            f"the time column '{source.time}' holds no time in {told['untimed']:,} "
            f"row{'' if told['untimed'] == 1 else 's'}. Every row needs one"
        )
    found = table.filter(table.unit.notnull()).group_by("variant").aggregate(rows=lambda t: t.count())
    _check_variants(experiment, answer(found))
    for metric in experiment.metrics:
        if _yes_or_no(metric) and told[f"others_{names[metric.of]}"]:
            raise other_than_yes_or_no(
                metric, told[f"others_{names[metric.of]}"], told[f"other_{names[metric.of]}"]
            )
    return Facts(
        table=table,
        names=names,
        timed=source.time is not None,
        rows=told["rows"],
        without_unit=told["without_unit"],
        first=told["first"],
        last=told["last"],
    )


def _yes_or_no(metric: Metric) -> bool:
    """Whether what is recorded must be 0 or 1."""
    return metric.kind in ("proportion", "time_to_event") and metric.above is None


def _finite(kind: DataType) -> bool:
    """Whether every value of a type is a finite number or a time: integers, booleans, timestamps and dates are."""
    return not (kind.is_floating() or kind.is_decimal())


def _check_variants(experiment: Experiment, found: Sequence[Mapping[str, Any]]) -> None:
    if not found:
        raise no_units()
    known = [variant.name for variant in experiment.variants]
    for row in sorted(found, key=lambda row: row["variant"] or ""):
        if row["variant"] not in known:
            raise unknown_variant(experiment, row["variant"], row["rows"])


def _checks(
    experiment: Experiment, table: Table, names: Mapping[Quantity, str], suspects: Sequence[str]
) -> dict[str, Value]:
    """Counts of what there must be none of; `suspects` are the columns that may hold what is no finite number."""
    happened = table.happened
    untimed = happened.isnull()
    if "happened" in suspects:
        untimed = untimed | happened.isnan() | happened.isinf()
    checks: dict[str, Value] = {"untimed": table.count(where=untimed)}
    for name in suspects:
        bad = table[name].isnan() | table[name].isinf()
        checks |= {f"bad_{name}": table.count(where=bad), f"worst_{name}": table[name].max(where=bad)}
    for name in {names[metric.of] for metric in experiment.metrics if _yes_or_no(metric)}:
        other = (table[name] != 0) & (table[name] != 1)
        checks |= {
            f"others_{name}": table.unit.nunique(where=other),
            f"other_{name}": table[name].min(where=other),
        }
    return checks


def typed(relation: Table, source: TableSource, named: NamedColumns, dialect: str) -> Table:
    """The expression of `facts`: only the columns that are counted, as text, seconds and doubles."""
    import ibis

    def text(column: str, what: str) -> Value:
        return _text(relation, column, what)

    columns: dict[str, Any] = {
        "unit": text(source.unit, "unit"),
        "variant": text(source.variant, "variant"),
        "happened": _seconds(relation, source.time, dialect) if source.time else ibis.null("float64"),
        "cluster": text(named.cluster, "cluster") if named.cluster else ibis.null("string"),
    }
    if relation[source.unit].type().is_string():
        columns["unit"] = columns["unit"].strip().nullif("")
    for i, (quantity, column) in enumerate(named.quantities.items()):
        columns[f"q{i}"] = _number(relation, column, str(quantity))
    for i, (segment, column) in enumerate(named.segments.items()):
        columns[f"s{i}"] = text(column, f"segment {segment}")
    for i, (covariate, column) in enumerate(named.covariates.items()):
        columns[f"z{i}"] = _number(relation, column, f"covariate {covariate}")
    return relation.select(**columns)


def _text(relation: Table, name: str, what: str) -> Value:
    column = relation[name]
    kind = column.type()
    if kind.is_string():
        return column
    if kind.is_integer() or kind.is_boolean() or kind.is_uuid():
        return column.cast("string")
    raise _unfit(relation, name, what, "text, integers, booleans or UUIDs, whose text is the same everywhere")


def _number(relation: Table, name: str, what: str) -> Value:
    import ibis

    column = relation[name]
    kind = column.type()
    if kind.is_boolean():
        # Not a cast, which not every engine has.
        return ibis.cases((column, number(1.0)), (~column, number(0.0)))
    if kind.is_numeric():
        return column.cast("float64")
    raise _unfit(relation, name, what, "numbers or booleans")


def _seconds(relation: Table, name: str, dialect: str) -> Value:
    column = relation[name]
    kind = column.type()
    if kind.is_numeric():
        return column.cast("float64")
    if kind.is_date():
        column = column.cast("timestamp")
    elif not kind.is_timestamp():
        raise _unfit(relation, name, "time", "timestamps, dates, or seconds since 1970 as a number")
    # Whole seconds first: engines differ in whether the seconds of an epoch keep their fraction, and in how to tell it.
    second = column.truncate("s")
    rest = column.delta(second, unit="microsecond") if dialect == "pyspark" else column.microsecond()
    return second.epoch_seconds().cast("float64") + rest.cast("float64") / number(1e6)


def _unfit(relation: Table, name: str, what: str, accepted: str) -> DataError:
    return DataError(
        f"the column '{name}' ({what}) is {relation[name].type()} in {engine(relation)}. Accepted: {accepted}; "
        "cast it where you select it, so that nobody has to guess"
    )
