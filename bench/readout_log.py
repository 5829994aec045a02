"""The read-out of a log of a million turns against one hand-written DuckDB script over the same rows."""

from __future__ import annotations

import random
import resource
import sqlite3
import sys
import tempfile
from pathlib import Path

import duckdb
import pyarrow as pa
from pairs import against, report

from equipoise.conduct.look import look
from equipoise.conduct.register import register
from equipoise.events.facts import Encoded, Exposure, Outcome, Turn, encoded
from equipoise.events.sqlite import SQLiteLog
from equipoise.experiment.definition import Experiment
from equipoise.experiment.reading import load_experiment

UNITS = 250_000
TURNS = 4
DEFINITION = """
name: bench
hypothesis: None; this is a benchmark.
changes: [config]
unit: {type: user}
variants: {control: {config: {a: 1}}, treatment: {config: {a: 2}}}
metrics:
  resolution_rate: {priority: primary, baseline: 0.6, mde: 0.001}
  error_rate: {priority: guardrail, baseline: 0.01, margin: 1pp}
  latency_p95: {priority: guardrail, baseline: 1.0, margin: 50%}
  cost_per_response: {priority: secondary}
"""
# What somebody would write by hand for the same four metrics: parsed once, counted once.
_PARSE = """
CREATE TABLE told AS SELECT kind, happened, s.* FROM (
    SELECT kind, happened, from_json(body, '{"unit": "VARCHAR", "variant": "VARCHAR", "name": "VARCHAR",
        "value": "BOOLEAN", "latency_s": "DOUBLE", "cost_usd": "DOUBLE", "error": "BOOLEAN"}') AS s FROM rows)
"""
_UNITS = """
CREATE TABLE units AS
WITH entered AS (
    SELECT unit, arg_min(variant, happened) AS variant, min(happened) AS since
    FROM told WHERE kind = 'exposure' GROUP BY unit)
SELECT e.unit, any_value(e.variant) AS variant, max(t.value::INT) FILTER (t.name = 'resolved') AS resolved,
       max(t.error::INT) AS error, sum(t.cost_usd) AS cost, sum((NOT t.error)::INT) AS answered
FROM entered AS e LEFT JOIN told AS t ON t.unit = e.unit AND t.kind <> 'exposure' AND t.happened >= e.since
GROUP BY e.unit
"""
_MOMENTS = """
SELECT variant, count(*), avg(resolved), var_pop(resolved), avg(error), var_pop(error),
       avg(cost), avg(answered), var_pop(cost), var_pop(answered), covar_pop(cost, answered)
FROM units GROUP BY variant
"""
_READINGS = """
CREATE TABLE readings AS SELECT u.variant, t.unit, t.latency_s AS value
FROM told AS t JOIN units AS u ON u.unit = t.unit WHERE t.kind = 'turn' AND t.latency_s IS NOT NULL
"""
_QUANTILES = "SELECT variant, quantile_disc(value, 0.95) FROM readings GROUP BY variant ORDER BY variant"
_BELOW = """
SELECT variant, count(*), avg(a), avg(b), var_pop(a), var_pop(b), covar_pop(a, b) FROM (
    SELECT variant, count(*) FILTER (value <= CASE variant WHEN 'control' THEN ? ELSE ? END) AS a, count(*) AS b
    FROM readings GROUP BY variant, unit) GROUP BY variant
"""
_BOUNDS = "SELECT variant, quantile_disc(value, [0.9495, 0.9505]) FROM readings GROUP BY variant"


def fill(log: SQLiteLog, experiment: Experiment, units: int = UNITS) -> None:
    """Each unit is exposed, has its turns, and sometimes tells whether it was helped."""
    rng = random.Random(1)
    batch: list[Encoded] = []
    for number in range(units):
        arm = rng.choice(("control", "treatment"))
        common = {"experiment": experiment.name, "unit": f"conversation-{number:08d}"}
        at = 1.7e9 + number * 0.1
        batch.append(
            encoded(
                Exposure(
                    **common,
                    happened=at,
                    digest=experiment.digest,
                    unit_type="user",
                    variant=arm,
                    probability=0.5,
                    reason="split",
                )
            )
        )
        batch += [
            encoded(
                Turn(
                    **common,
                    happened=at + turn,
                    digest=experiment.digest,
                    variant=arm,
                    epoch=0,
                    latency_s=rng.lognormvariate(0.0, 0.5),
                    ttft_s=rng.random(),
                    input_tokens=rng.randrange(2000),
                    output_tokens=rng.randrange(500),
                    cost_usd=rng.random() / 100,
                    error=rng.random() < 0.01,
                    safe=True,
                    stream=True,
                    status=200,
                    warm=True,
                    model="a-model",
                )
            )
            for turn in range(TURNS)
        ]
        batch.append(encoded(Outcome(**common, happened=at + 9, name="resolved", value=rng.random() < 0.6)))
        if len(batch) > 20_000:
            log.append(batch)
            batch = []
    log.append(batch)


def by_hand(path: Path) -> None:
    """One script: SQLite's rows as Arrow, JSON by DuckDB, moments and quantiles of both arms."""
    rows = sqlite3.connect(path).execute("SELECT kind, happened, body FROM events ORDER BY position")
    pages = []
    schema = pa.schema([("kind", pa.string()), ("happened", pa.float64()), ("body", pa.string())])
    while page := rows.fetchmany(10_000):
        kinds, happened, bodies = zip(*page, strict=True)
        columns = [pa.array(kinds), pa.array(happened), pa.array(bodies, pa.binary()).cast(pa.string())]
        pages.append(pa.RecordBatch.from_arrays(columns, schema=schema))
    connection = duckdb.connect()
    connection.execute("SET threads = 1")
    connection.register("rows", pa.Table.from_batches(pages))
    for statement in (_PARSE, _UNITS, _READINGS):
        connection.execute(statement)
    connection.execute(_MOMENTS).fetchall()
    at = [value for _, value in connection.execute(_QUANTILES).fetchall()]
    connection.execute(_BELOW, at).fetchall()
    connection.execute(_BOUNDS).fetchall()
    connection.close()


def main(units: int = UNITS) -> None:
    with tempfile.TemporaryDirectory() as folder:
        definition = Path(folder) / "e.yaml"
        definition.write_text(DEFINITION, encoding="utf-8")
        experiment = load_experiment(definition)
        path = Path(folder) / "log.db"
        log = SQLiteLog(path)
        register(log, experiment, by="bench", reason="a benchmark")
        fill(log, experiment, units)
        # Peeks, which record nothing: each pass reads the same rows.
        figures = against(lambda: look(log, "bench"), lambda: by_hand(path), pairs=3)
        figures["peak_mib"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        report(f"read-out of a log of {units * TURNS} turns, four metrics / one hand-written script", figures)
        log.close()


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else UNITS)
