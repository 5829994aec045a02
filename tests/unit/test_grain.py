"""`source.grain: unit`: rows that are units are counted as they are, and a table of events is not taken for one."""

from __future__ import annotations

import random
from pathlib import Path

import polars as pl
import pytest

from equipoise import analyze
from equipoise.errors import DataError, DefinitionError
from equipoise.experiment.identity import canonical
from equipoise.experiment.reading import load_experiment

DEFINITION = """
name: grain
hypothesis: A row is what it is said to be.
changes: [config]
unit: {{type: user}}
cluster: {cluster}
variants: {{control: {{config: {{x: 1}}}}, b: {{config: {{x: 2}}}}}}
segments: [device]
metrics:
  won: {{priority: primary, kind: proportion, of: outcome.won, better: higher, baseline: 0.5, mde: 0.05, covariates: [before]}}
  spent: {{kind: mean, of: outcome.spent, better: higher, covariates: [before], winsorise: 0.99}}
  per_visit: {{kind: ratio, of: outcome.spent, per: outcome.visits, better: higher}}
  p90: {{kind: quantile, q: 0.9, of: outcome.spent, better: lower}}
source:
  table: {table}
  unit: who
  variant: arm
  time: at
  {grain}
  columns: {{outcome.won: won, outcome.spent: spent, outcome.visits: visits, device: device, before: before, team: team}}
"""


def rows(units: int = 900, *, names=lambda n: n) -> pl.DataFrame:
    rng = random.Random(5)
    return pl.DataFrame(
        {
            "who": names(n),
            "arm": rng.choice(("control", "b")),
            "at": 60.0 * n,
            "device": rng.choice(("phone", "desktop", None)),
            "won": rng.choice((True, False, None)),
            "spent": rng.randrange(80) / 8,
            "visits": 1 + n % 3,
            "before": None if n % 9 == 0 else rng.randrange(40) / 8,
            "team": f"t{n % 45}",
        }
        for n in range(units)
    )


def told(folder: Path, table: pl.DataFrame, grain: str, cluster: str = "null"):
    table.write_parquet(folder / "t.parquet")
    path = folder / "grain.yaml"
    path.write_text(DEFINITION.format(table="t.parquet", grain=grain, cluster=cluster), encoding="utf-8")
    return analyze(load_experiment(path)).to_dict()


def close(a: object, b: object) -> bool:
    """The same but for the last digits of numbers: rows are added up in another order."""
    if isinstance(a, dict) and isinstance(b, dict):
        return a.keys() == b.keys() and all(close(a[key], b[key]) for key in a)
    if isinstance(a, list) and isinstance(b, list):
        return len(a) == len(b) and all(map(close, a, b))
    return a == pytest.approx(b, rel=1e-9, abs=1e-12) if isinstance(a, float) else a == b


@pytest.mark.parametrize("cluster", ["null", "team"])
@pytest.mark.parametrize("names", [lambda n: n, lambda n: f" user {n} "], ids=["numbers", "text"])
def test_rows_that_are_units_give_what_events_of_one_row_give(tmp_path, cluster, names):
    """Estimates, segments, quantiles, clusters, covariates and days: the same to the ninth digit."""
    table = rows(names=names)
    as_units = told(tmp_path, table, "grain: unit", cluster)
    as_events = told(tmp_path, table, "grain: event", cluster)
    for each in (as_units, as_events):
        # The definitions differ, and so do their names.
        each.pop("experiment")
    assert as_units["units"]["control"] > 300
    assert close(as_units, as_events)


def test_rows_without_a_unit_count_for_nobody(tmp_path):
    """Blank and missing names alike."""
    table = rows(names=lambda n: None if n % 10 == 0 else " " if n % 10 == 1 else f"u{n}")
    found = told(tmp_path, table, "grain: unit")
    assert sum(found["units"].values()) == 720
    assert any("180 of 900 rows name no unit" in check["says"] for check in found["health"])


def test_a_table_of_events_is_not_taken_for_one_of_units(tmp_path):
    """The declaration is held against an estimate of how many units there are."""
    with pytest.raises(DataError) as refused:
        told(tmp_path, rows(names=lambda n: n // 3), "grain: unit")
    said = str(refused.value)
    assert said.startswith("`source.grain: unit` says that each row is a unit, and the 900 rows have about ")
    assert said.endswith(" units. Leave it out, and the rows of each unit are put together")


def test_the_grain_is_part_of_the_definition_where_it_is_said(tmp_path):
    """Left out it changes no digest; a word that is none is refused with those there are."""
    rows().write_parquet(tmp_path / "t.parquet")
    path = tmp_path / "grain.yaml"

    def source(grain: str) -> dict:
        path.write_text(DEFINITION.format(table="t.parquet", grain=grain, cluster="null"), encoding="utf-8")
        return canonical(load_experiment(path))["source"]

    assert "grain" not in source("grain: event")
    assert source("grain: unit")["grain"] == "unit"
    with pytest.raises(DefinitionError) as refused:
        source("grain: row")
    assert "source.grain" in str(refused.value)
    assert "event" in str(refused.value)


def test_a_time_to_an_event_is_not_told_by_rows_that_are_units(tmp_path):
    """Neither by rows that are units nor, yet, through Ibis: a sentence, and no number."""
    ibis = pytest.importorskip("ibis")
    rows().write_parquet(tmp_path / "t.parquet")
    path = tmp_path / "grain.yaml"
    text = DEFINITION.format(table="t.parquet", grain="grain: unit", cluster="null")
    wait = "  wait: {kind: time_to_event, of: outcome.won, better: lower, window: 1d}\n"
    path.write_text(text.replace("  p90:", f"{wait}  p90:"), encoding="utf-8")
    experiment = load_experiment(path)
    with pytest.raises(DataError) as refused:
        analyze(experiment)
    assert str(refused.value) == (
        "wait is a time to an event, which rows that are units (`source.grain: unit`) do not tell; "
        "give events rows of their own"
    )
    with pytest.raises(DataError) as elsewhere:
        analyze(experiment, ibis.memtable(rows().to_arrow()))
    assert str(elsewhere.value) == (
        "wait is a time to an event, which rows that are units (`source.grain: unit`) do not tell; give events rows of their own"
    )
