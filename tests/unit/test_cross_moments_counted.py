"""Moments as sums about a centre: the digits of two passes, wherever the numbers lie, and exact where they can be."""

from __future__ import annotations

import math
import random
from collections.abc import Iterator, Sequence
from pathlib import Path

import duckdb
import numpy as np
import pyarrow as pa
import pytest

from equipoise.errors import DataError
from equipoise.experiment.metric import Metric, Quantity
from equipoise.experiment.reading import load_experiment
from equipoise.measurement.cross import ALWAYS, Aggregates, Asked, centres
from equipoise.measurement.measuring import measure_table
from equipoise.stats.cross_moments import CrossMoments

METRIC = Metric(
    name="spent",
    kind="mean",
    of=Quantity("outcome", "spent"),
    better="higher",
    priority="primary",
    tier="business",
    per_unit="sum",
)


@pytest.fixture
def engine() -> Iterator[duckdb.DuckDBPyConnection]:
    connection = duckdb.connect()
    connection.execute("SET threads = 1")
    yield connection
    connection.close()


def put(engine: duckdb.DuckDBPyConnection, rows: Sequence[Sequence[float]]) -> None:
    engine.register(
        "given",
        pa.table({name: pa.array([row[i] for row in rows], pa.float64()) for i, name in enumerate("xy")}),
    )
    engine.execute("CREATE OR REPLACE TABLE t AS FROM given")


def counted(
    engine: duckdb.DuckDBPyConnection,
    rows: Sequence[Sequence[float]],
    centre: dict[str, float] | None,
    where: str = ALWAYS,
) -> CrossMoments | None:
    """The moments of the rows, or None where they lie far from the centre."""
    put(engine, rows)
    ask = Aggregates()
    place = Asked.of(["x", "y"], where, ask, centre)
    (row,) = engine.execute(f"SELECT {', '.join(ask.asked)} FROM t").fetchall()
    return place.read(METRIC, row) if place.near(row) else None


@pytest.mark.parametrize("offset", [0.0, 1.0, 1e4])
def test_they_are_those_of_two_passes(engine: duckdb.DuckDBPyConnection, offset: float) -> None:
    """With the centre that the first rows give, means and products are those of numpy's two passes, to 1e-12."""
    rng = random.Random(4)
    rows = [(offset + rng.gauss(3, 2), rng.gauss(-1, 5)) for _ in range(3_000)]
    put(engine, rows)
    found = counted(engine, rows, centres(engine, "t", ["x", "y"]))
    expected = CrossMoments.of([x for x, _ in rows], [y for _, y in rows])
    assert found is not None
    assert found.means == pytest.approx(expected.means, rel=1e-12)
    for i in (0, 1):
        assert found.products[i] == pytest.approx(expected.products[i], rel=1e-9)


def test_of_whole_numbers_they_are_exact(engine: duckdb.DuckDBPyConnection) -> None:
    """A centre has few digits, so that of 0 and 1 and of eighths no digit is lost, in whatever order they come."""
    rng = random.Random(5)
    rows = [(float(rng.random() < 0.3), rng.randrange(80) / 8) for _ in range(2_000)]
    n, ones, eighths = len(rows), sum(x for x, _ in rows), sum(y for _, y in rows)
    for _ in range(3):
        rng.shuffle(rows)
        found = counted(engine, rows, {"x": 0.2998046875, "y": 4.94921875})
        assert found is not None
        assert found.means == (ones / n, eighths / n)
        assert found.products[0][0] == pytest.approx(ones * (n - ones) / n, rel=1e-15)


@pytest.mark.parametrize(
    ("rows", "near"),
    [
        ([(5.0, 1.0), (5.0, 2.0)], False),
        ([(7.0, 1.0), (8.0, 2.0)], True),
        ([(100.0, 1.0), (101.0, 2.0)], False),
        ([(100.0, 1.0)], True),
        ([(1e200, 1.0), (-1e200, 2.0)], False),
        ([], True),
    ],
    ids=["constant", "beside", "far", "one row", "beyond squares", "none"],
)
def test_a_group_that_lies_far_from_the_centre_says_so(
    engine: duckdb.DuckDBPyConnection, rows: list[tuple[float, float]], near: bool
) -> None:
    """Where distances are nothing but distance, the engine's own variance is asked for; a single row has none."""
    found = counted(engine, rows, {"x": 7.0})
    assert (found is not None) is near
    if found and found.n == 1:
        assert found.products[0][0] == 0.0


def test_constants_at_the_centre_do_not_vary(engine: duckdb.DuckDBPyConnection) -> None:
    """A column of nothing but 0 has a spread of exactly 0, and is as near as can be."""
    found = counted(engine, [(0.0, 1.0), (0.0, 2.0)], {})
    assert found is not None
    assert found.products == ((0.0, 0.0), (0.0, 0.5))


def test_what_does_not_meet_the_condition_is_left_out(engine: duckdb.DuckDBPyConnection) -> None:
    """Counts, means and products are those of the rows that meet the condition, by either way of counting."""
    rows = [(1.0, 1.0), (2.0, 3.0), (6.0, 5.0), (50.0, -50.0)]
    for centre in ({"x": 2.0}, None):
        found = counted(engine, rows, centre, "y > 0")
        assert found == CrossMoments(3, (3.0, 3.0), ((14.0, 10.0), (10.0, 8.0)))


def test_squares_beyond_the_largest_number_are_refused(engine: duckdb.DuckDBPyConnection) -> None:
    """A number whose square is none is told in one sentence, by the engine's own variance as well."""
    with pytest.raises(DataError) as refused:
        counted(engine, [(1e200, 1.0), (-1e200, 2.0)], None)
    assert str(refused.value) == (
        "the values of spent are too large to be added up: their squares leave the range of a number (about 1e308). "
        "Record them in a larger unit"
    )


def test_a_centre_is_near_the_first_rows_and_short(engine: duckdb.DuckDBPyConnection) -> None:
    """Twelve binary digits of the mean; 0 where nothing is known, or what is known is no number."""
    engine.execute(
        "CREATE TABLE t AS SELECT i::DOUBLE AS x, NULL::DOUBLE AS y, 'inf'::DOUBLE AS z FROM range(3000) r(i)"
    )
    found = centres(engine, "t", ["x", "y", "z"])
    assert found == {"x": 1023.5, "y": 0.0, "z": 0.0}
    assert math.frexp(found["x"])[0] * 2**12 % 1 == 0


def test_arms_that_lie_far_apart_keep_their_digits(tmp_path: Path) -> None:
    """Beside an arm at a million, one of constants varies by exactly 0, and each by what numpy finds."""
    path = tmp_path / "e.yaml"
    path.write_text(
        """
name: apart
hypothesis: Where numbers lie is no matter.
changes: [config]
unit: {type: user}
variants: {control: {config: {x: 1}}, far: {config: {x: 2}}, third: {config: {x: 3}}}
metrics: {spent: {priority: primary, kind: mean, of: outcome.spent, better: higher, spread: 5, mde: 1}}
""",
        encoding="utf-8",
    )
    values = {
        "control": [5.1] * 300,
        "far": [1e6 + n % 10 for n in range(300)],
        "third": [n / 7 for n in range(300)],
    }
    rows = [(arm, value) for arm, of in values.items() for value in of]
    frame = pa.table(
        {
            "unit": [f"u{n}" for n in range(len(rows))],
            "variant": [arm for arm, _ in rows],
            "spent": [value for _, value in rows],
        }
    )
    found = measure_table(load_experiment(path), frame).tallies["spent"]
    spreads = {arm: tally.moments.m2 for arm, tally in found.items() if tally.moments}
    assert spreads["control"] == 0.0
    for arm in ("far", "third"):
        assert spreads[arm] == pytest.approx(np.var(values[arm]) * 300, rel=1e-9)
