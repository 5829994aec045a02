"""An Ibis table → `facts`: the columns that are counted, typed and checked, where the rows are."""

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

    Of a bandit that tells them also `epoch` and `probability`, of clusters that tell it `member`. `names` has the column
    of each quantity. `rows` counts all rows, `without_unit` those of nobody; `first` and `last` are seconds since 1970.
    """

    table: Table
    names: Mapping[Quantity, str]
    timed: bool
    rows: int
    without_unit: int
    first: float | None
    last: float | None


def facts_of(experiment: Experiment, relation: Table, kept: ExitStack, *, standing: bool = False) -> Facts:
    """Read a relation as the definition, or its silence, declares: kept once, or where it lies if it is `standing`.

    Raises DataError, naming the column, for one that is not there, that has a type whose text or number would
    depend on the engine, or that holds what is no finite number.
    """
    source = experiment.source or implied_source(experiment, list(relation.columns))
    named = named_columns(experiment, source, list(relation.columns))
    table = typed(relation, source, named, engine(relation), tidy=_tidy(relation, source.unit))
    table = table if standing else keep(table, kept)
    names = {quantity: f"q{index}" for index, quantity in enumerate(named.quantities)}
    labels = [*zip(map(str, named.quantities), names.values(), named.quantities.values(), strict=True)]
    labels += [(name, f"z{i}", column) for i, (name, column) in enumerate(named.covariates.items())]
    labels += [(each, each, column) for each, column in named.epochs.items()]
    kinds = {name: relation[column].type() for _, name, column in labels}
    kinds |= {"happened": relation[source.time].type()} if source.time else {}
    suspects = [name for name, kind in kinds.items() if not _finite(kind)]
    proportions = {names[metric.of]: metric for metric in experiment.metrics if _yes_or_no(metric)}
    told = one_row(
        table.aggregate(
            rows=table.count(),
            first=table.happened.min(),
            last=table.happened.max(),
            untimed=table.count(where=_untimed(table, "happened" in suspects)),
            **{f"bad_{name}": table.count(where=_boundless(table[name])) for name in suspects},
            **{f"other_{name}": table.count(where=_neither(table[name])) for name in proportions},
        )
    )
    for label, name, column in labels:
        if told.get(f"bad_{name}"):
            raise _no_number(table, name, f"the column '{column}' ({label})")
    if source.time and told["untimed"]:
        raise DataError(
            f"the time column '{source.time}' holds no time in {told['untimed']:,} "
            f"row{'' if told['untimed'] == 1 else 's'}. Every row needs one"
        )
    found = answer(table.filter(table.unit.notnull()).group_by("variant").aggregate(rows=lambda t: t.count()))
    _check_variants(experiment, found)
    for name, metric in proportions.items():
        if told[f"other_{name}"]:
            raise _no_answer(table, name, metric)
    return Facts(
        table=table,
        names=names,
        timed=source.time is not None,
        rows=told["rows"],
        without_unit=told["rows"] - sum(row["rows"] for row in found),
        first=told["first"],
        last=told["last"],
    )


def _tidy(relation: Table, unit: str) -> bool:
    """Whether no unit has space around it or is empty, where to look costs a fraction of trimming them all."""
    column = relation[unit]
    if engine(relation) != "duckdb" or not column.type().is_string():
        return False
    # What is empty or begins with a space sorts before '!'.
    untidy = relation.count(where=(column < "!") | column.endswith(" "))
    return not one_row(relation.aggregate(untidy=untidy))["untidy"]


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


def _untimed(table: Table, suspect: bool) -> Value:
    """Whether a row has no time, or one that is no finite number, where there may be such."""
    return table.happened.isnull() | _boundless(table.happened) if suspect else table.happened.isnull()


def _boundless(value: Value) -> Value:
    return value.isnan() | value.isinf()


def _neither(value: Value) -> Value:
    """Whether a value is known, and neither 0 nor 1."""
    return (value != 0) & (value != 1)


def _no_number(table: Table, name: str, where: str) -> DataError:
    bad = _boundless(table[name])
    told = one_row(table.aggregate(rows=table.count(where=bad), worst=table[name].max(where=bad)))
    return DataError(
        f"{where} holds {strays(told['rows'], 'a number', 'numbers', told['worst'])}. "
        "Accepted: finite numbers, true, false, or empty for unknown"
    )


def _no_answer(table: Table, name: str, metric: Metric) -> DataError:
    other = _neither(table[name])
    told = one_row(table.aggregate(units=table.unit.nunique(where=other), least=table[name].min(where=other)))
    return other_than_yes_or_no(metric, told["units"], told["least"])


def typed(
    relation: Table, source: TableSource, named: NamedColumns, dialect: str, *, tidy: bool = False
) -> Table:
    """The expression of `facts`: only the columns that are counted, as text, seconds and doubles.

    Units that are text are trimmed, unless they are known to be `tidy`.
    """
    import ibis

    def text(column: str, what: str) -> Value:
        return _text(relation, column, what)

    columns: dict[str, Any] = {
        "unit": text(source.unit, "unit"),
        "variant": text(source.variant, "variant"),
        "happened": _seconds(relation, source.time, dialect) if source.time else ibis.null("float64"),
        "cluster": text(named.cluster, "cluster") if named.cluster else ibis.null("string"),
    }
    if relation[source.unit].type().is_string() and not tidy:
        columns["unit"] = columns["unit"].strip().nullif("")
    for i, (quantity, column) in enumerate(named.quantities.items()):
        columns[f"q{i}"] = _number(relation, column, str(quantity))
    for i, (segment, column) in enumerate(named.segments.items()):
        columns[f"s{i}"] = text(column, f"segment {segment}")
    for i, (covariate, column) in enumerate(named.covariates.items()):
        columns[f"z{i}"] = _number(relation, column, f"covariate {covariate}")
    for each, column in named.epochs.items():
        columns[each] = _number(relation, column, each)
    if named.members is not None:
        columns["member"] = text(named.members, "members")
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
