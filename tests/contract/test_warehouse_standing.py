"""Rows that stand still in DuckDB are counted where they lie, all from one state; everything else is copied first."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet
import pytest
from warehouses import tables

from equipoise.errors import DataError
from equipoise.experiment.definition import Experiment
from equipoise.experiment.reading import load_experiment
from equipoise.measurement.measuring import measure_table
from equipoise.measurement.warehouse.standing import standing

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")

ROWS = pa.table(
    {
        "unit": [f"user {n}" for n in range(40)],
        "variant": ["treatment" if n % 2 else "control" for n in range(40)],
        "ok": [n % 3 == 0 for n in range(40)],
    }
)
ANOTHER = "INSERT INTO users VALUES ('user 40', 'control', true)"


@pytest.fixture
def duck() -> Iterator[Any]:
    import ibis

    connection = ibis.duckdb.connect()
    yield connection
    connection.disconnect()


def experiment(folder: Path, of: str = "ok") -> Experiment:
    path = folder / "e.yaml"
    path.write_text(
        f"""
name: standing
hypothesis: Rows are counted from one state.
changes: [config]
unit: {{type: user}}
variants: {{control: {{config: {{x: 1}}}}, treatment: {{config: {{x: 2}}}}}}
metrics: {{ok: {{priority: primary, kind: proportion, of: outcome.{of}, better: higher, baseline: 0.4, mde: 0.1}}}}
source: {{table: users, unit: unit, variant: variant, columns: {{outcome.{of}: {of}}}}}
""",
        encoding="utf-8",
    )
    return load_experiment(path)


def test_a_table_of_duckdb_is_one_state_while_others_write(duck: Any) -> None:
    """What another connection commits in between is not seen within, and is afterwards."""
    users = duck.create_table("users", ROWS)
    other = duck.con.cursor()
    with standing(users) as still:
        assert still
        before = users.count().execute()
        other.execute(ANOTHER)
        assert users.count().execute() == before == 40
    assert users.count().execute() == 41


def test_the_transaction_of_the_caller_stays_theirs(duck: Any, tmp_path: Path) -> None:
    """Within a transaction of the caller's the read-out sees what they wrote, and neither keeps nor undoes it."""
    users = duck.create_table("users", ROWS)
    duck.raw_sql("BEGIN")
    duck.raw_sql(ANOTHER)
    assert measure_table(experiment(tmp_path), users).rows == 41
    import ibis

    assert measure_table(experiment(tmp_path), users.union(ibis.memtable(ROWS))).rows == 81
    duck.raw_sql("ROLLBACK")
    assert users.count().execute() == 40


def test_after_a_refusal_nothing_is_left_and_the_connection_works(duck: Any, tmp_path: Path) -> None:
    """A value that is refused, or an engine that fails half-way, leaves no table and no transaction behind."""
    users = duck.create_table("users", ROWS.append_column("n", pa.array(range(40))))
    left = tables(duck)
    with pytest.raises(
        DataError, match=r"^ok is a proportion of outcome\.n, and 38 units have another value"
    ):
        measure_table(experiment(tmp_path, "n"), users)
    assert tables(duck) == left
    with pytest.raises(Exception, match="stop"), standing(users):
        duck.raw_sql("SELECT error('stop')").fetchall()
    duck.raw_sql("BEGIN")
    duck.raw_sql("ROLLBACK")
    assert measure_table(experiment(tmp_path), users).rows == 40


def test_only_what_is_scanned_is_counted_where_it_lies(duck: Any, tmp_path: Path) -> None:
    """Tables, Parquet files and views of nothing else are scanned; what is computed, parsed or held elsewhere is copied."""
    pa.parquet.write_table(ROWS, tmp_path / "users.parquet")
    pa.csv.write_csv(ROWS, tmp_path / "users.csv")
    users = duck.create_table("users", ROWS)
    duck.raw_sql("CREATE VIEW plain AS SELECT * FROM users")
    duck.raw_sql("CREATE VIEW computed AS SELECT upper(unit) AS unit, variant, ok FROM users")
    import ibis

    kinds = {
        "table": users,
        "parquet": duck.read_parquet(tmp_path / "users.parquet"),
        "view": duck.table("plain"),
        "computed": duck.table("computed"),
        "random": users.filter(ibis.random() < 2),
        "joined": users.join(users.select("unit"), "unit"),
        "csv": duck.read_csv(tmp_path / "users.csv"),
        "frame": duck.table("plain").union(ibis.memtable(ROWS)),
    }
    found = {}
    for name, relation in kinds.items():
        with standing(relation) as still:
            found[name] = still
    assert {name for name, still in found.items() if still} == {"table", "parquet", "view"}


@pytest.mark.parametrize("unit", [" user", "user ", " ", ""])
def test_units_with_space_around_them_are_trimmed_wherever_they_are_counted(
    duck: Any, tmp_path: Path, unit: str
) -> None:
    """One untidy name is enough for all to be trimmed: where it is blank its row is nobody's."""
    made = ROWS.slice(0, 4)
    made = made.set_column(0, "unit", pa.array(["user", unit, "b", "c"]))
    made = made.set_column(1, "variant", pa.array(["control", "control", "treatment", "treatment"]))
    duck.create_table("users", made)
    blank = not unit.strip()
    for table in (duck.table("users"), made):
        measured = measure_table(experiment(tmp_path), table)
        assert (measured.rows, measured.rows_without_unit) == (4, 1 if blank else 0)
