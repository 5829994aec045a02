"""The full read-out of a table of turns against one hand-written DuckDB script doing the same."""

from __future__ import annotations

import resource
import sys
import tempfile
from pathlib import Path

import duckdb
from pairs import against, report

from equipoise.conduct.analyze import analyze
from equipoise.experiment.reading import load_experiment

TURNS = 2_000_000
PER_UNIT = 4
DEFINITION = """
name: bench
hypothesis: None; this is a benchmark.
changes: [config]
unit: {{type: conversation}}
variants: {{control: {{config: {{a: 1}}}}, treatment: {{config: {{a: 2}}}}}}
attributes: {{country: {{type: text}}}}
segments: [country]
metrics:
  cost:
    {{priority: primary, kind: mean, of: turn.cost, per_unit: sum, better: lower, baseline: 0.02, mde: 0.0001, spread: 0.02}}
  error_rate:
    {{priority: guardrail, kind: proportion, of: turn.error, per_unit: any, better: lower, baseline: 0.04, margin: 1pp}}
  slowest: {{priority: guardrail, kind: quantile, q: 0.95, of: turn.latency, better: lower, baseline: 2.2, margin: 50%}}
  cost_per_token: {{priority: secondary, kind: ratio, of: turn.cost, per: turn.tokens, better: lower}}
source:
  table: {table}
  unit: conversation
  variant: variant
  time: time
  columns: {{turn.cost: cost, turn.error: error, turn.latency: latency, turn.tokens: tokens, country: country}}
"""
_TABLE = f"""
COPY (SELECT 'conversation-' || (i // {PER_UNIT}) AS conversation,
             CASE WHEN hash(i // {PER_UNIT}) % 2 = 0 THEN 'control' ELSE 'treatment' END AS variant,
             1.7e9 + (i // {PER_UNIT}) * (20 * 86400.0 / ? * {PER_UNIT}) + (i % {PER_UNIT}) * 100000.0 AS time,
             'country-' || hash(i // {PER_UNIT}, 7) % 8 AS country, (hash(i, 1) % 1000) / 1e5::DOUBLE AS cost,
             hash(i, 2) % 100 = 0 AS error, exp((hash(i, 3) % 1000) / 500.0::DOUBLE - 1) AS latency,
             1 + (hash(i, 4) % 500)::INT AS tokens
      FROM range(?) t(i)) TO '{{table}}'
"""
# What somebody would write by hand: one row a conversation, and everything else from there.
_UNITS = """
CREATE TABLE units AS
SELECT conversation, arg_min(variant, time) AS variant, min(variant) <> max(variant) AS crossed, min(time) AS since,
       arg_min(country, time) AS country, sum(cost) AS cost, max(error::INT) AS error, sum(tokens) AS tokens
FROM turns GROUP BY conversation
"""
_MOMENTS = """
SELECT variant, count(*), avg(cost), var_pop(cost), avg(error), var_pop(error), avg(tokens), var_pop(tokens),
       covar_pop(cost, tokens)
FROM units GROUP BY variant
"""
_SEGMENTS = "SELECT country, variant, count(*), avg(cost), var_pop(cost) FROM units GROUP BY country, variant"
_READINGS = """
CREATE TABLE readings AS
SELECT units.variant, units.conversation, latency AS value FROM turns JOIN units USING (conversation)
"""
_QUANTILES = "SELECT variant, quantile_disc(value, 0.95) FROM readings GROUP BY variant ORDER BY variant"
_BELOW = """
SELECT variant, count(*), avg(a), avg(b), var_pop(a), var_pop(b), covar_pop(a, b) FROM (
    SELECT variant, count(*) FILTER (value <= CASE variant WHEN 'control' THEN ? ELSE ? END) AS a, count(*) AS b
    FROM readings GROUP BY variant, conversation) GROUP BY variant
"""
_BOUNDS = "SELECT variant, quantile_disc(value, [0.9495, 0.9505]) FROM readings GROUP BY variant"
_DAYS = 13


def _daily() -> str:
    days = ", ".join(
        f"coalesce(sum(t.cost) FILTER (t.time >= u.since + {day * 86400} "
        f"AND t.time < u.since + {(day + 1) * 86400}), 0) AS d{day}"
        for day in range(_DAYS)
    )
    pairs = ", ".join(f"covar_pop(d{i}, d{j})" for i in range(_DAYS) for j in range(i, _DAYS))
    return f"""
SELECT variant, count(*), {", ".join(f"avg(d{day})" for day in range(_DAYS))}, {pairs}
FROM (SELECT any_value(u.variant) AS variant, {days} FROM turns AS t JOIN units AS u USING (conversation)
      WHERE u.since + {_DAYS * 86400} <= (SELECT max(time) FROM turns) GROUP BY conversation)
GROUP BY variant"""


def by_hand(table: Path) -> None:
    """One script: a row a conversation, then moments, segments, the quantile with its variance, and days."""
    connection = duckdb.connect()
    connection.execute("SET threads = 1")
    connection.execute(f"CREATE VIEW turns AS SELECT * FROM '{table}'")
    for statement in (_UNITS, _READINGS):
        connection.execute(statement)
    for query in (_MOMENTS, _SEGMENTS, _daily()):
        connection.execute(query).fetchall()
    at = [value for _, value in connection.execute(_QUANTILES).fetchall()]
    connection.execute(_BELOW, at).fetchall()
    connection.execute(_BOUNDS).fetchall()
    connection.close()


def write_turns(table: Path, turns: int) -> None:
    """So many turns, four a conversation, as Parquet."""
    connection = duckdb.connect()
    connection.execute("SET threads = 1")
    connection.execute(_TABLE.format(table=table), [turns, turns])
    connection.close()


def main(turns: int = TURNS, pairs: int = 3) -> None:
    with tempfile.TemporaryDirectory() as folder:
        table = Path(folder) / "turns.parquet"
        write_turns(table, turns)
        path = Path(folder) / "e.yaml"
        path.write_text(DEFINITION.format(table=table), encoding="utf-8")
        experiment = load_experiment(path)
        figures = against(lambda: analyze(experiment), lambda: by_hand(table), pairs=pairs)
        figures["peak_mib"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        report(f"full read-out of {turns} turns / one hand-written script", figures)


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
