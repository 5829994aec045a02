"""Exact order statistics out of bucket counts: whatever the values, the very one that sorting would give."""

from __future__ import annotations

import math
import random

import ibis
import pyarrow as pa
import pytest

from equipoise.errors import DataError
from equipoise.measurement.warehouse.ranks import Ranks, rank

SHAPES = {
    "uniform": lambda rng: rng.random(),
    "ties": lambda rng: float(rng.randrange(3)),
    "a heavy tail": lambda rng: math.exp(rng.gauss(0, 40)),
    "neighbouring numbers": lambda rng: math.nextafter(1e9, math.inf) if rng.random() < 0.5 else 1e9,
    "the ends of the range": lambda rng: rng.choice((-1.7e308, 0.0, 1.7e308, 1e-290, -1e-290, 1.0)),
    "negative": lambda rng: -(10.0 ** rng.randrange(-9, 9)),
}


@pytest.mark.parametrize("shape", SHAPES)
def test_the_value_at_a_rank_is_the_sorted_one(shape):
    """Every rank asked of two arms of different sizes, whose values may be 600 orders of magnitude apart."""
    rng = random.Random(1)
    values = {arm: [SHAPES[shape](rng) for _ in range(size)] for arm, size in (("control", 700), ("b", 311))}
    rows = [{"sample": arm, "value": value} for arm, of in values.items() for value in of]
    rng.shuffle(rows)
    table = ibis.duckdb.connect().create_table("t", pa.Table.from_pylist(rows))
    ranks = Ranks(table)
    for q in (0.001, 0.25, 0.5, 0.95, 0.999):
        wanted = {arm: rank(q, len(of)) for arm, of in values.items()}
        assert ranks.at(wanted) == {arm: sorted(of)[wanted[arm] - 1] for arm, of in values.items()}


def test_values_that_no_bucket_tells_apart_are_refused():
    """Two numbers nearer to each other than 1e-300 and a rank that falls between them: no guess is made."""
    table = ibis.duckdb.connect().create_table(
        "t", pa.table({"sample": ["b"] * 3, "value": [5e-324, 1e-323, 1e-323]})
    )
    with pytest.raises(DataError) as refused:
        Ranks(table).at({"b": 2})
    assert str(refused.value) == (
        "the engine cannot tell 5e-324 and 1e-323 apart, and a quantile lies between them. "
        "Record the values in a smaller unit"
    )


def test_a_table_that_changes_while_it_is_counted_is_refused():
    """The bracket says three values, the buckets hold two: someone wrote in between."""
    connection = ibis.duckdb.connect()
    table = connection.create_table("t", pa.table({"sample": ["b"] * 3, "value": [1.0, 2.0, 3.0]}))
    ranks = Ranks(table)
    connection.raw_sql("DELETE FROM t WHERE value = 2")
    with pytest.raises(DataError) as refused:
        ranks.at({"b": 2})
    assert str(refused.value) == (
        "the engine counts 2 values from 1.0 to 3.0, and counted 3 before; a quantile of them cannot be told exactly"
    )
