"""Whether rows can be counted where they lie, as often as it takes, or are copied first."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from equipoise.measurement.warehouse.asking import engine

if TYPE_CHECKING:
    from ibis.expr.types import Table

__all__ = ["standing"]

_SCANS = ("READ_PARQUET", "SEQ_SCAN")


@contextmanager
def standing(relation: Table) -> Iterator[bool]:
    """Whether the rows of a relation stay what they are within, and are as near as a copy of them would be.

    So it is where DuckDB only has to scan a table of its own, which a transaction holds as it is, or Parquet files, which
    are as good as written once. A copy of those takes longer than all of the counting, and more memory than there may be.
    """
    if not _scanned(relation):
        yield False
        return
    held = _held(relation)
    if not held:
        _run(relation, "BEGIN TRANSACTION")
    try:
        yield True
    except BaseException:
        if not held:
            _run(relation, "ROLLBACK")
        raise
    if not held:
        _run(relation, "COMMIT")


def _scanned(relation: Table) -> bool:
    """Whether the engine's plan is one scan: no join, no view that computes, no rows from elsewhere."""
    import ibis
    from ibis.expr.operations import InMemoryTable

    # What is held in memory is told to the engine by the first query, and is not there to be explained before.
    if engine(relation) != "duckdb" or relation.op().find(InMemoryTable):
        return False
    try:
        told = _run(relation, f"EXPLAIN (FORMAT json) {ibis.to_sql(relation)}").fetchall()
        (step,) = json.loads(told[0][1])
    except Exception:  # noqa: BLE001 - what cannot be explained is copied, and says why it cannot be
        return False
    return step["name"].strip() in _SCANS and not step["children"]


def _held(relation: Table) -> bool:
    """Whether the caller holds a transaction: two statements have one, or one each. To try would end theirs."""
    first, second = (_run(relation, "SELECT txid_current()").fetchall() for _ in range(2))
    return bool(first == second)


def _run(relation: Table, statement: str) -> Any:
    return relation.get_backend().raw_sql(statement)
