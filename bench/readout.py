"""The read-out of a table with one row per unit against one hand-written DuckDB query for the sufficient statistics."""

from __future__ import annotations

import resource
import sys
import tempfile
from pathlib import Path

import duckdb
from pairs import against, report

from equipoise.conduct.analyze import analyze
from equipoise.experiment.reading import load_experiment

ROWS = 1_000_000
DEFINITION = """
name: bench
hypothesis: None; this is a benchmark.
changes: [config]
unit: {{type: user}}
variants: {{control: {{config: {{a: 1}}}}, treatment: {{config: {{a: 2}}}}}}
metrics:
  bought: {{priority: primary, kind: proportion, of: outcome.bought, better: higher, baseline: 0.6, mde: 0.01}}
  spent: {{priority: secondary, kind: mean, of: outcome.spent, better: higher}}
  visits: {{priority: secondary, kind: mean, of: outcome.visits, better: higher}}
  per_visit: {{priority: secondary, kind: ratio, of: outcome.spent, per: outcome.visits, better: higher}}
  bought_adjusted: {{priority: secondary, kind: proportion, of: outcome.bought, better: higher, covariates: [bought_before]}}
  spent_adjusted: {{priority: secondary, kind: mean, of: outcome.spent, better: higher, covariates: [spent_before]}}
  visits_adjusted: {{priority: secondary, kind: mean, of: outcome.visits, better: higher, covariates: [visits_before]}}
  per_visit_adjusted:
    {{priority: secondary, kind: ratio, of: outcome.spent, per: outcome.visits, better: higher,
     covariates: [spent_before, visits_before]}}
source:
  table: {table}
  unit: unit
  variant: variant
  grain: unit
  columns: {{outcome.bought: bought, outcome.spent: spent, outcome.visits: visits}}
"""
_TABLE = """
COPY (SELECT i AS unit, CASE WHEN hash(i) % 2 = 0 THEN 'control' ELSE 'treatment' END AS variant,
             (hash(i, 1) % 10 < 6)::INT AS bought, (hash(i, 2) % 1000) / 10.0::DOUBLE AS spent, 1 + hash(i, 3) % 7 AS visits,
             (hash(i, 4) % 10 < 6)::INT AS bought_before,
             (hash(i, 2) % 1000 + hash(i, 5) % 1000) / 20.0::DOUBLE AS spent_before,
             1 + hash(i, 6) % 7 AS visits_before
      FROM range(?) t(i)) TO '{table}'
"""
_COLUMNS = ("bought", "spent", "visits", "bought_before", "spent_before", "visits_before")
# Every mean and variance, and the covariances that the eight results rest on.
_PAIRS = (
    ("spent", "visits"),
    ("bought", "bought_before"),
    ("spent", "spent_before"),
    ("visits", "visits_before"),
    ("spent", "visits_before"),
    ("visits", "spent_before"),
    ("spent_before", "visits_before"),
)


def by_hand(table: Path) -> None:
    """One query for the moments of both arms."""
    wanted = [f"{how}({name})" for name in _COLUMNS for how in ("avg", "var_pop")]
    wanted += [f"covar_pop({a}, {b})" for a, b in _PAIRS]
    connection = duckdb.connect()
    connection.execute("SET threads = 1")
    connection.execute(
        f"SELECT variant, count(*), {', '.join(wanted)} FROM '{table}' GROUP BY variant"
    ).fetchall()
    connection.close()


def main(rows: int = ROWS) -> None:
    with tempfile.TemporaryDirectory() as folder:
        table = Path(folder) / "units.parquet"
        connection = duckdb.connect()
        connection.execute("SET threads = 1; SET memory_limit = '200MB'")
        connection.execute(_TABLE.format(table=table), [rows])
        connection.close()
        path = Path(folder) / "e.yaml"
        path.write_text(DEFINITION.format(table=table), encoding="utf-8")
        experiment = load_experiment(path)
        figures = against(lambda: analyze(experiment), lambda: by_hand(table), pairs=5)
        figures["peak_mib"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        report(f"read-out of {rows} rows, one a unit, to eight results / one hand-written query", figures)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else ROWS)
