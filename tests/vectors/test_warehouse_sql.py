"""The statements that run in a warehouse, as files that anybody may read before letting them in.

A change of them is made on purpose: `PYTHONPATH=tests python tests/vectors/test_warehouse_sql.py` writes them anew.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import ibis
import pytest
from elsewhere import bandit, slots

from equipoise.experiment.definition import Experiment
from equipoise.experiment.reading import load_experiment
from equipoise.measurement.warehouse.statements import statements

FOLDER = Path(__file__).parent / "sql"
DIALECTS = ("duckdb", "postgres", "pyspark", "datafusion")
DEFINITION = """
name: shown
hypothesis: What runs in a warehouse can be read beforehand.
unit: {type: user}
cluster: team
variants: {control: {}, b: {}}
segments: [tier]
metrics:
  resolved: {priority: primary, kind: proportion, of: outcome.resolved, better: higher}
  cost: {kind: mean, of: turn.cost_usd, better: lower, per_unit: sum}
  cost_per_turn: {kind: ratio, of: turn.cost_usd, per: outcome.turns, better: lower}
  mood: {kind: mean, of: score.mood, better: higher, per_unit: slope}
  wait: {kind: time_to_event, of: outcome.resolved, better: lower, window: 1d}
source:
  connection: env:WAREHOUSE
  table: analytics.turns
  unit: user_id
  variant: arm
  time: at
  columns: {outcome.resolved: resolved, turn.cost_usd: cost, outcome.turns: turns, score.mood: mood, tier: tier, team: team}
"""
SCHEMA = {
    "user_id": "int64",
    "arm": "string",
    "at": "timestamp",
    "resolved": "boolean",
    "cost": "decimal(12, 6)",
    "turns": "int32",
    "mood": "float64",
    "tier": "string",
    "team": "string",
    "prompt": "string",
}


BESIDE = {
    "bandit": {
        "epoch": "int64",
        "probability": "float64",
        "tier": "string",
        "before": "float64",
        "answered": "boolean",
    },
    "switchback": {},
}
"""Designs beyond the plain one, and the columns that their tables have besides."""


def shown(dialect: str, folder: Path) -> str:
    (folder / "shown.yaml").write_text(DEFINITION, encoding="utf-8")
    relation = ibis.table(SCHEMA, name="turns", database="analytics")
    return text(load_experiment(folder / "shown.yaml"), relation, dialect)


def shown_beside(design: str, folder: Path) -> str:
    experiment = bandit(folder) if design == "bandit" else slots(by=None)
    columns = {"unit": "int64", "variant": "string", "time": "float64"}
    columns |= {"cost_usd": "float64", "count": "int32", "latency_s": "float64"} | BESIDE[design]
    return text(experiment, ibis.table(columns, name="turns"), "postgres")


def text(experiment: Experiment, relation: ibis.Table, dialect: str) -> str:
    found = statements(experiment, relation, dialect)
    return "\n\n".join(f"-- {name}\n{query}" for name, query in found.items()) + "\n"


@pytest.mark.parametrize("dialect", DIALECTS)
def test_the_statements_are_those_in_the_files(dialect, tmp_path):
    """Facts, units, moments, clusters, slopes and times in each dialect, to the letter; the text of prompts is in none of them."""
    text = shown(dialect, tmp_path)
    assert text == (FOLDER / f"{dialect}.sql").read_text(encoding="utf-8")
    assert "prompt" not in text


@pytest.mark.parametrize("design", BESIDE)
def test_the_statements_of_other_designs_are_those_in_the_files(design, tmp_path):
    """A bandit's shares and epochs, a switchback's slots and blocks, to the letter."""
    assert shown_beside(design, tmp_path) == (FOLDER / f"postgres-{design}.sql").read_text(encoding="utf-8")


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as place:
        made = {each: shown(each, Path(place)) for each in DIALECTS}
        made |= {f"postgres-{each}": shown_beside(each, Path(place)) for each in BESIDE}
        for name, written in made.items():
            (FOLDER / f"{name}.sql").write_text(written, encoding="utf-8")
