"""Asking an engine through Ibis: what is an Ibis table, and one way to run an expression or keep its rows there."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

from equipoise.errors import DataError

Sample = str | int
"""What a sample is called: an arm's number, its name beside a part's, or nothing."""

if TYPE_CHECKING:
    from ibis.expr.types import Table, Value

__all__ = ["Sample", "answer", "by_sample", "engine", "is_relation", "keep", "number", "one_row"]


def is_relation(table: object) -> bool:
    """Whether this is an Ibis table; nobody who has not imported Ibis can hold one."""
    types = sys.modules.get("ibis.expr.types")
    return types is not None and isinstance(table, types.Table)


def engine(table: Table) -> str:
    """The name of the engine that holds a table: duckdb, postgres, pyspark …"""
    return str(table.get_backend().name)


def answer(query: Table) -> list[dict[str, Any]]:
    """The rows of an aggregate. DataError, with the engine's first line, where it cannot be computed."""
    try:
        rows: list[dict[str, Any]] = query.to_pyarrow().to_pylist()
    except Exception as error:  # noqa: BLE001 - each engine fails in its own way
        raise _failed(query, error) from None
    return rows


def one_row(query: Table) -> dict[str, Any]:
    """The only row of an aggregate without groups."""
    (row,) = answer(query)
    return row


def keep(table: Table, until: ExitStack) -> Table:
    """Compute a table once, into a temporary one of the engine, which is dropped with `until`."""
    try:
        kept = table.cache()
        until.callback(kept.release)
        return kept
    except Exception as error:  # noqa: BLE001 - each engine fails in its own way
        raise _failed(table, error, "Its user must be allowed to make temporary tables") from None


def number(value: float) -> Value:
    """A number as the engine's double, with all its digits; a bare literal may be taken for a decimal."""
    import ibis

    return ibis.literal(repr(float(value))).cast("float64")


def by_sample(table: Table, values: Mapping[Sample, float]) -> Value:
    """The number of each row's sample; NULL for a sample that has none."""
    import ibis

    return ibis.cases(*((table["sample"] == sample, number(value)) for sample, value in values.items()))


def _failed(query: Table, error: Exception, advice: str = "") -> DataError:
    said: Sequence[str] = str(error).strip().splitlines() or [type(error).__name__]
    return DataError(
        f"{engine(query)} could not count the table: {said[0].strip().rstrip('.')}"
        + (f". {advice}" if advice else "")
    )
