"""The counting in SQL against a slow, plain twin; and whatever must not matter to it does not."""

from __future__ import annotations

import csv
import gzip
import io
import json
import math
import random
from collections import defaultdict
from dataclasses import replace
from pathlib import Path

import duckdb
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from equipoise.events.facts import Exposure, Outcome
from equipoise.events.log import MemoryLog
from equipoise.experiment.definition import TableSource
from equipoise.experiment.reading import load_experiment
from equipoise.measurement.measuring import measure_log, measure_table
from equipoise.stats.comparison.quantiles import QuantileSummary, quantile_of
from equipoise.stats.estimate import NotEstimable
from equipoise.stats.moments import Moments, PairMoments

RULES = ("any", "all", "first", "last", "mean", "sum", "max", "min")
SEEDS = range(4)
ARMS = ("control", "a", "b")


def definition(folder: Path, *, timed: bool, clustered: bool, ordered: bool = True) -> Path:
    rules = [rule for rule in RULES if ordered or rule not in ("first", "last")]
    lines = [
        f"  v_{rule}: {{priority: exploratory, kind: mean, of: outcome.v, better: higher, per_unit: {rule}}}"
        for rule in rules
    ]
    text = f"""
name: twin
hypothesis: The fast count and the slow count agree.
changes: [config]
unit: {{type: user}}
{"cluster: team" if clustered else ""}
variants: {{control: {{config: {{x: 1}}}}, a: {{config: {{x: 2}}}}, b: {{config: {{x: 3}}}}}}
allocation: {{control: 1/2, a: 1/4, b: 1/4}}
segments: [tier]
critical_segments:
  - {{where: "tier=it's \\"gold\\"; DROP TABLE units", metric: ok, margin: 3pp}}
  - {{where: tier=plain, metric: per_try, margin: 0.1}}
metrics:
  ok: {{priority: primary, kind: proportion, of: outcome.ok, better: higher, per_unit: any}}
  ok_all: {{priority: guardrail, kind: proportion, of: outcome.ok, better: higher, per_unit: all, margin: 1pp}}
  times: {{kind: count, of: outcome.v, better: higher}}
  per_try: {{kind: ratio, of: outcome.v, per: outcome.tries, better: lower}}
  half: {{kind: quantile, q: 0.5, of: outcome.v, better: lower}}
  most: {{kind: quantile, q: 0.8, of: outcome.v, better: lower}}
""" + "\n".join(lines)
    time = "time: at," if timed else ""
    text += f"""
source:
  table: rows.csv
  unit: who
  variant: arm
  {time.rstrip(",")}
  columns: {{outcome.ok: "ok?", outcome.v: 'the "value"; DROP TABLE facts', outcome.tries: tries, tier: tier, team: team}}
"""
    path = folder / "twin.yaml"
    path.write_text(text, encoding="utf-8")
    return path


COLUMNS = {"ok": "ok?", "v": 'the "value"; DROP TABLE facts', "tries": "tries"}


def facts(seed: int, *, crossing: float = 0.06, rows: int = 900) -> list[dict]:
    """Rows of 300 units or so; values are eighths, so that sums are exact in any order; times have ties."""
    rng = random.Random(seed)
    home = {}
    made = []
    for _ in range(rows):
        number = rng.randrange(300)
        unit = f"ünit {number}"
        home.setdefault(unit, rng.choices(ARMS, (2, 1, 1))[0])
        arm = rng.choice(ARMS) if rng.random() < crossing else home[unit]
        made.append(
            {
                "who": unit if rng.random() > 0.01 else None,
                "arm": arm,
                "at": float(rng.randrange(50)),
                "team": f"team {number % 17}" if number % 10 else None,
                "tier": ('it\'s "gold"; DROP TABLE units', "plain", "<b>&", None)[number % 4],
                "ok": None if rng.random() < 0.2 else rng.randrange(2),
                "v": None if rng.random() < 0.2 else rng.randrange(-40, 400) / 8,
                "tries": None if rng.random() < 0.1 else rng.randrange(1, 5),
            }
        )
    return made


# --- the twin ---


def reduced(rule: str, found: list[tuple[float, float]]):
    """One value of a unit from its (time, value) pairs; those at one moment stand in the order of their values."""
    values = [value for _, value in found]
    if not values:
        return None
    return {
        "any": max(values),
        "all": min(values),
        "first": min(found)[1],
        "last": max(found)[1],
        "mean": math.fsum(values) / len(values),
        "sum": math.fsum(values),
        "max": max(values),
        "min": min(values),
    }[rule]


def twin(experiment, rows: list[dict], *, timed: bool):
    """Units, crossed, and per metric and arm (units with a value, missing, moments or pairs or quantile)."""
    of_unit = defaultdict(list)
    for row in rows:
        if row["who"] is not None:
            of_unit[row["who"]].append(row)
    units, crossed = {}, 0
    for unit, own in of_unit.items():
        arms = {row["arm"] for row in own}
        crossed += len(arms) > 1
        if len(arms) > 1 and not timed:
            continue
        units[unit] = min((row["at"], row["arm"]) for row in own)[1] if timed else min(arms)
    team = {
        unit: min((row["team"] for row in of_unit[unit] if row["team"] is not None), default=f"unit {unit}")
        for unit in units
    }

    def values_of(unit, quantity):
        return [(row["at"], row[quantity]) for row in of_unit[unit] if row[quantity] is not None]

    def tally(metric, arm, among):
        here = [unit for unit in among if units[unit] == arm]
        rule = metric.per_unit if timed or metric.per_unit not in ("first", "last") else "max"
        if metric.kind == "quantile":
            readings = [(unit, value) for unit in here for _, value in values_of(unit, metric.of.name)]
            blocks = [team[unit] if experiment.cluster else unit for unit, _ in readings]
            numbers = {block: index for index, block in enumerate(sorted(set(blocks)))}
            seen = len({unit for unit, _ in readings})
            summary = quantile_of([v for _, v in readings], [numbers[block] for block in blocks], q=metric.q)
            return seen, len(here) - seen, summary
        pairs = []
        for unit in here:
            x = reduced(rule, values_of(unit, metric.of.name))
            y = reduced(rule, values_of(unit, metric.per.name)) if metric.per else 1.0
            if x is not None and y is not None:
                pairs.append((team[unit], x, y))
        if not metric.per and not experiment.cluster:
            return len(pairs), len(here) - len(pairs), Moments.of([x for _, x, _ in pairs])
        if experiment.cluster:
            sums = defaultdict(lambda: [0.0, 0.0])
            for cluster, x, y in pairs:
                sums[cluster][0] += x
                sums[cluster][1] += y
            both = [tuple(sums[cluster]) for cluster in sorted(sums)]
        else:
            both = [(x, y) for _, x, y in pairs]
        return len(pairs), len(here) - len(pairs), PairMoments.of([x for x, _ in both], [y for _, y in both])

    def segment_of(unit):
        known = [(row["at"], row["tier"]) for row in of_unit[unit] if row["tier"] is not None]
        return min(known)[1] if known else None

    counted = {arm: sum(other == arm for other in units.values()) for arm in ARMS}
    tallies = {metric.name: {arm: tally(metric, arm, units) for arm in ARMS} for metric in experiment.metrics}
    critical = [
        {
            arm: tally(
                experiment.metric(segment.metric), arm, [u for u in units if segment_of(u) == segment.value]
            )
            for arm in ARMS
        }
        for segment in experiment.critical_segments
    ]
    return counted, crossed, tallies, critical


def agree(found, expected) -> None:
    units, missing, summary = expected
    assert (found.units, found.missing) == (units, missing)
    actual = (
        found.quantile
        if found.quantile is not None
        else found.pairs
        if found.pairs is not None
        else found.moments
    )
    if isinstance(summary, NotEstimable):
        assert isinstance(actual, NotEstimable)
        return
    assert type(actual) is type(summary)
    fields = {
        Moments: ("n", "mean", "m2"),
        PairMoments: ("n", "mean_x", "mean_y", "m2_x", "m2_y", "c_xy"),
        QuantileSummary: ("units", "value", "standard_error"),
    }[type(summary)]
    for name in fields:
        assert math.isclose(getattr(actual, name), getattr(summary, name), rel_tol=1e-9, abs_tol=1e-9), name


def check(experiment, measured, rows, *, timed: bool) -> None:
    units, crossed, tallies, critical = twin(experiment, rows, timed=timed)
    assert (measured.units, measured.crossed, measured.kept) == (units, crossed, timed)
    assert measured.rows_without_unit == sum(row["who"] is None for row in rows)
    for metric in experiment.metrics:
        for arm in ARMS:
            agree(measured.tallies[metric.name][arm], tallies[metric.name][arm])
    for found, expected in zip(measured.critical_segments, critical, strict=True):
        for arm in ARMS:
            agree(found[arm], expected[arm])


# --- the table in its many dresses ---


def written(path: Path, rows: list[dict]) -> Path:
    """CSV, JSON lines or Parquet, by the name of the file; gzip where it ends in .gz."""
    named = [{COLUMNS.get(key, key): value for key, value in row.items()} for row in rows]
    if path.suffix == ".parquet":
        pq.write_table(pa.Table.from_pylist(named), path)
        return path
    if "json" in path.name:
        text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in named)
    else:
        stream = io.StringIO()
        writer = csv.DictWriter(stream, list(named[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(named)
        text = stream.getvalue()
    data = text.encode("utf-8")
    path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)
    return path


@pytest.mark.parametrize("clustered", [False, True], ids=["units", "clusters"])
@pytest.mark.parametrize("seed", SEEDS)
def test_with_a_time_the_first_variant_counts_and_everything_agrees(tmp_path, seed, clustered):
    """Several rows a unit, every per_unit rule, gaps, crossovers, ratio, quantiles, segments: SQL equals the twin."""
    experiment = load_experiment(definition(tmp_path, timed=True, clustered=clustered))
    rows = facts(seed)
    written(tmp_path / "rows.csv", rows)
    check(experiment, measure_table(experiment), rows, timed=True)


@pytest.mark.parametrize("clustered", [False, True], ids=["units", "clusters"])
@pytest.mark.parametrize("seed", SEEDS)
def test_without_a_time_units_in_two_variants_are_left_out(tmp_path, seed, clustered):
    """Nobody knows which variant came first, so such units are in no arm; the rest equals the twin."""
    experiment = load_experiment(definition(tmp_path, timed=False, clustered=clustered, ordered=False))
    rows = facts(seed)
    written(tmp_path / "rows.csv", rows)
    measured = measure_table(experiment)
    assert measured.crossed > 0
    check(experiment, measured, rows, timed=False)


@pytest.mark.parametrize("clustered", [False, True], ids=["units", "clusters"])
@pytest.mark.parametrize("seed", SEEDS)
def test_the_log_and_the_table_count_the_same_facts_alike(tmp_path, seed, clustered):
    """Exposures and outcomes in a log give the very tallies of the same facts in a table."""
    experiment = load_experiment(definition(tmp_path, timed=True, clustered=clustered))
    # Outcomes count from the first exposure on, so here every row of a unit exposes it as well.
    rows = [row for row in facts(seed) if row["who"] is not None]
    log = MemoryLog()
    log.append(
        fact
        for row in rows
        for fact in [
            Exposure(
                experiment="twin",
                digest=experiment.digest,
                happened=row["at"],
                unit=row["who"],
                unit_type="user",
                variant=row["arm"],
                probability=0.5,
                reason="split",
                attributes={key: row[key] for key in ("team", "tier") if row[key] is not None},
            ),
            *(
                Outcome(experiment="twin", happened=row["at"], unit=row["who"], name=name, value=row[name])
                for name in COLUMNS
                if row[name] is not None
            ),
        ]
    )
    table, told = (
        measure_table(
            experiment,
            pa.Table.from_pylist(
                [{COLUMNS.get(key, key): value for key, value in row.items()} for row in rows]
            ),
        ),
        measure_log(experiment, log),
    )
    check(experiment, told, rows, timed=True)
    same = {"source": "", "rows": 0, "read": None}
    assert replace(told, **same) == replace(table, **same)
    again = MemoryLog()
    again.append(record.fact for record in log.read_since())
    again.append(
        replace(record.fact, event_id=f"again {record.position}", happened=record.fact.happened + 1000)
        for record in log.read_since(kinds=("exposure",))
    )
    assert replace(measure_log(experiment, again), last=told.last, **same) == replace(told, **same), (
        "telling an exposure twice"
    )


def test_outcomes_before_the_first_exposure_and_of_strangers_do_not_count(tmp_path):
    """What happened before a unit was served is no effect of it; what belongs to nobody exposed is an orphan."""
    experiment = load_experiment(definition(tmp_path, timed=True, clustered=False))
    log = MemoryLog()

    def exposure(unit, arm, at, digest=experiment.digest):
        return Exposure(
            experiment="twin",
            digest=digest,
            happened=at,
            unit=unit,
            unit_type="user",
            variant=arm,
            probability=0.5,
            reason="split",
        )

    def outcome(unit, at, value):
        return Outcome(experiment="twin", happened=at, unit=unit, name="v", value=value)

    log.append(
        [
            exposure("u", "control", 10.0),
            outcome("u", 9.0, 1.0),
            outcome("u", 10.0, 2.0),
            outcome("u", 11.0, 4.0),
        ]
    )
    log.append([outcome("stranger", 12.0, 8.0), exposure("other revision", "a", 1.0, digest="0" * 64)])
    measured = measure_log(experiment, log)
    assert measured.units == {"control": 1, "a": 0, "b": 0}
    assert measured.tallies["v_sum"]["control"].moments == Moments.of([6.0])
    assert measured.aside.orphans == 1
    # Up to a position: the look is what it was when it was taken.
    assert measure_log(experiment, log, until=3).tallies["v_sum"]["control"].moments == Moments.of([2.0])


def test_order_files_and_formats_do_not_matter(tmp_path):
    """Shuffled, split in two, compressed, as Parquet, JSON lines, pandas, Polars, Arrow or DuckDB: the same digits."""
    experiment = load_experiment(definition(tmp_path, timed=True, clustered=True))
    rows = facts(8)
    expected = replace(measure_table(experiment, written(tmp_path / "rows.csv", rows)), source="")
    shuffled = rows[:]
    random.Random(8).shuffle(shuffled)
    tables = {
        name: written(tmp_path / f"other{name}", shuffled)
        for name in (".csv", ".csv.gz", ".jsonl", ".jsonl.gz", ".ndjson", ".parquet", ".CSV")
    }
    for part, own in enumerate((rows[:400], rows[400:])):
        written(tmp_path / f"part-{part}.csv", own)
        (tmp_path / f"day={part}").mkdir()
        written(tmp_path / f"day={part}" / "rows.parquet", own)
        # The same columns in another order.
        written(tmp_path / f"mixed-{part}.csv", [dict(reversed(row.items())) if part else row for row in own])
    tables["two files"] = str(tmp_path / "part-*.csv")
    tables["two folders"] = str(tmp_path / "day=*" / "rows.parquet")
    tables["columns in another order"] = str(tmp_path / "mixed-?.csv")
    arrow = pq.read_table(tmp_path / "other.parquet")
    tables["arrow"] = arrow
    tables["pandas"] = arrow.to_pandas()
    tables["polars"] = pl.from_arrow(arrow)
    tables["polars, lazy"] = pl.from_arrow(arrow).lazy()
    connection = duckdb.connect()
    tables["duckdb"] = connection.from_arrow(arrow)
    for name, table in tables.items():
        assert replace(measure_table(experiment, table), source="") == expected, name


def test_words_for_yes_and_no_and_unknown_are_read_alike(tmp_path):
    """True, TRUE, 1, 1.0 are yes; empty, null and NaN are unknown; ids are trimmed; times may be dates."""
    experiment = load_experiment(definition(tmp_path, timed=True, clustered=False))
    head = '"who","arm","at","tier","ok?","the ""value""; DROP TABLE facts","tries"\n'
    (tmp_path / "words.csv").write_text(
        head
        + "1,control,1970-01-01 00:00:10,x,true,1.5,1\n2,a,1970-01-01T00:00:20Z,x,FALSE,-2,1\n"
        + " 3 ,b,30,x,1.0,,1\n3,b,1970-01-01 01:00:40+01:00,x,,4e0,1\n",
        encoding="utf-8-sig",
    )
    frame = pd.DataFrame(
        {
            "who": ["1", "2", "3", "3"],
            "arm": ["control", "a", "b", "b"],
            "at": pd.to_datetime([10, 20, 30, 40], unit="s", utc=True),
            "tier": "x",
            "ok?": [True, False, True, None],
            COLUMNS["v"]: [1.5, -2.0, math.nan, 4.0],
            "tries": 1,
        }
    )
    words, typed = measure_table(experiment, tmp_path / "words.csv"), measure_table(experiment, frame)
    assert replace(words, source="") == replace(typed, source="")
    assert (words.first, words.last) == (10.0, 40.0)
    assert words.tallies["ok"]["b"].moments == Moments.of([1.0])
    assert words.tallies["v_first"]["b"].moments == Moments.of([4.0])


SIMPLE = """
name: simple
hypothesis: Dialects do not matter.
unit: {type: user}
variants: {control: {}, b: {}}
segments: [seats]
critical_segments: [{where: seats=3, metric: v, margin: 1}]
metrics: {v: {priority: primary, kind: mean, of: outcome.v, better: higher}}
"""


def simple(folder: Path):
    (folder / "simple.yaml").write_text(SIMPLE, encoding="utf-8")
    return load_experiment(folder / "simple.yaml")


def test_the_dialect_does_not_depend_on_the_first_rows(tmp_path):
    """A quoted comma far down, a line break in quotes, semicolons, tabs, and a # at the start: nothing is lost."""
    experiment = simple(tmp_path)
    lines = [f"u{n},{('control', 'b')[n % 2]},{n % 5},3" for n in range(25_000)]
    lines += ['"Müller, Ö.",b,4,3', '"two\nlines",control,1,3', "#7,b,4,3", "'u8,b,4,3", '"say ""hi""",b,4,3']
    (tmp_path / "t.csv").write_text("unit,variant,v,seats\n" + "\n".join(lines) + "\n", encoding="utf-8")
    measured = measure_table(experiment, tmp_path / "t.csv")
    assert measured.rows == 25_005
    assert measured.units == {"control": 12_501, "b": 12_504}
    few = [line for line in lines[:100] if '"' not in line]
    for name, mark in (("t2.csv", ";"), ("t2.tsv", "\t"), ("t3.csv", "\t"), ("t4.csv", "|")):
        text = "\r\n".join(["unit,variant,v,seats", *few]).replace(",", mark)
        (tmp_path / name).write_text(text, encoding="utf-8", newline="")
        assert measure_table(experiment, tmp_path / name).units == {"control": 50, "b": 50}


def test_a_name_with_the_marks_of_a_glob_is_a_name_where_it_exists(tmp_path):
    """`[1]` in a folder or file is no pattern if there is such a file."""
    folder = tmp_path / "run [1]"
    folder.mkdir()
    for name in ("part[1].csv", "part1.csv"):
        (folder / name).write_text(f"unit,variant,v,seats\n{name},b,1,3\n", encoding="utf-8")
    experiment = simple(folder)
    assert measure_table(experiment, folder / "part[1].csv").rows == 1
    named = replace(
        experiment,
        source=TableSource(table="part*.csv", unit="unit", variant="variant", columns={"outcome.v": "v"}),
        folder=str(folder),
    )
    assert measure_table(named).rows == 2


def test_attributes_that_are_no_text_are_read_as_a_table_would(tmp_path):
    """A segment told as 3 is the segment `3`; an attribute nobody knew is none."""
    experiment = simple(tmp_path)
    log = MemoryLog()
    log.append(
        fact
        for number, seats in enumerate((3, "3", True, None))
        for fact in (
            Exposure(
                experiment="simple",
                digest=experiment.digest,
                happened=1.0,
                unit=f"u{number}",
                unit_type="user",
                variant="b",
                probability=0.5,
                reason="split",
                attributes={"seats": seats},
            ),
            Outcome(experiment="simple", happened=2.0, unit=f"u{number}", name="v", value=1.0),
        )
    )
    measured = measure_log(experiment, log)
    assert measured.units["b"] == 4
    assert measured.critical_segments[0]["b"].units == 2
