"""The read-out of a table of a million units against one hand-written DuckDB query for the same moments."""

from __future__ import annotations

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
  resolution_rate: {{priority: primary, baseline: 0.6, mde: 0.01}}
  amount: {{priority: secondary, kind: mean, of: outcome.amount, better: higher}}
source:
  table: {table}
  unit: unit
  variant: variant
  columns: {{outcome.resolved: resolved, outcome.amount: amount}}
"""


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        table = Path(folder) / "units.parquet"
        duckdb.sql(
            f"""COPY (SELECT 'u' || i AS unit, CASE WHEN hash(i) % 2 = 0 THEN 'control' ELSE 'treatment' END AS variant,
                             hash(i, 1) % 10 < 6 AS resolved, (hash(i, 2) % 1000) / 10.0 AS amount
                      FROM range({ROWS}) t(i)) TO '{table}'"""
        )
        path = Path(folder) / "e.yaml"
        path.write_text(DEFINITION.format(table=table), encoding="utf-8")
        experiment = load_experiment(path)

        def floor() -> None:
            connection = duckdb.connect()
            connection.execute("SET threads = 1")
            connection.execute(
                f"""WITH units AS (
                        SELECT unit, min(variant) AS variant, count(DISTINCT variant) > 1 AS crossed,
                               max(resolved::DOUBLE) AS x, avg(amount) AS y
                        FROM '{table}' GROUP BY unit)
                    SELECT variant, count(*), avg(x), var_pop(x), avg(y), var_pop(y)
                    FROM units WHERE NOT crossed GROUP BY variant"""
            ).fetchall()
            connection.close()

        report(
            f"read-out of {ROWS} units, two metrics / one hand-written query",
            against(lambda: analyze(experiment), floor, pairs=5),
        )


if __name__ == "__main__":
    main()
