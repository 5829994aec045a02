"""Counting through Ibis against the embedded engine's: the same measurement to 1e-9, on engines that really run."""

from __future__ import annotations

import dataclasses
import gc
import math
import random
import warnings
from collections.abc import Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from elsewhere import bandit, plays, slots, turns_of
from warehouses import ENGINES, connected, loaded, tables

from equipoise.errors import DataError
from equipoise.experiment.definition import Experiment
from equipoise.experiment.reading import load_experiment
from equipoise.measurement.measuring import measure_table
from equipoise.measurement.slots import places
from equipoise.measurement.warehouse.slots import with_blocks
from equipoise.stats.moments import Moments

# Ibis and Spark call DuckDB and pandas as they were before their latest versions.
pytestmark = [
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
]

DAY = 86_400.0
START = 1_700_000_000.0
ARMS = ("control", "a", "b")


@pytest.fixture(scope="module")
def engines(request, tmp_path_factory):
    """Each engine that is asked for, started once."""
    opened = {}

    def engine(name: str) -> Any:
        if name not in opened:
            url = request.getfixturevalue("postgres").url if name == "postgres" else ""
            opened[name] = connected(name, tmp_path_factory.mktemp(name), url)
        return opened[name]

    yield engine
    for each in opened.values():
        each.disconnect()
    # Spark leaves the ends of its sockets to the collector, which would complain in somebody else's test.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        opened.clear()
        gc.collect()


@pytest.fixture(params=[each for each in ENGINES if each != "pyspark"])
def quick(request, engines):
    """The engines that answer at once."""
    return engines(request.param)


@pytest.fixture(params=ENGINES, scope="module")
def connection(request, engines):
    """Every engine, each for all of its tests together: they stay in one process, and so does its Spark."""
    return engines(request.param)


def alike(found: Any, expected: Any, where: str = "") -> None:
    """Equal, numbers to 1e-9, whatever they are nested in."""
    assert type(found) is type(expected), where
    if dataclasses.is_dataclass(found):
        for field in dataclasses.fields(found):
            alike(getattr(found, field.name), getattr(expected, field.name), f"{where}.{field.name}")
    elif isinstance(found, Mapping):
        assert list(found) == list(expected), where
        for key in found:
            alike(found[key], expected[key], f"{where}[{key!r}]")
    elif isinstance(found, tuple):
        assert len(found) == len(expected), where
        for i, (one, other) in enumerate(zip(found, expected, strict=True)):
            alike(one, other, f"{where}[{i}]")
    elif isinstance(found, float):
        assert math.isclose(found, expected, rel_tol=1e-9, abs_tol=1e-9), (where, found, expected)
    else:
        assert found == expected, where


def agree(connection: Any, experiment: Experiment, table: pa.Table) -> None:
    relation = loaded(connection, table)
    before = tables(connection)
    found = measure_table(experiment, relation)
    assert tables(connection) == before, "what was kept for the while is gone"
    expected = measure_table(experiment, table)
    assert found.source.endswith(f" in {connection.name}")
    alike(dataclasses.replace(found, source=""), dataclasses.replace(expected, source=""))


RULES = ("any", "all", "first", "last", "mean", "sum", "max", "min", "slope")
EVERYTHING = """
name: everything
hypothesis: The engine does not matter.
changes: [config]
unit: {{type: user}}
{cluster}
variants: {{control: {{config: {{x: 1}}}}, a: {{config: {{x: 2}}}}, b: {{config: {{x: 3}}}}}}
segments: [tier, seats]
critical_segments:
  - {{where: "tier=it's \\"gold\\"; DROP TABLE units", metric: ok, margin: 3pp}}
  - {{where: seats=3, metric: per_try, margin: 0.1}}
metrics:
  spent: {{priority: {spent}, kind: mean, of: outcome.v, better: higher, per_unit: sum, spread: 5.0, mde: 1.0, winsorise: 0.9, covariates: [before, visits]{window}}}
  ok: {{priority: {ok}, kind: proportion, of: outcome.ok, better: higher, per_unit: any{window}, covariates: [before]}}
  ok_all: {{priority: guardrail, kind: proportion, of: outcome.ok, better: higher, per_unit: all, margin: 1pp}}
  times: {{kind: count, of: outcome.v, better: higher}}
  any_tries: {{kind: mean, of: outcome.v, better: higher, per_unit: max, absent: 2{window}}}
  often: {{kind: proportion, of: outcome.tries, better: higher, per_unit: sum, above: 2{window}}}
  per_try: {{kind: ratio, of: outcome.v, per: outcome.tries, better: lower, covariates: [before]}}
  half: {{priority: {half}, kind: quantile, q: 0.5, of: outcome.v, better: lower{window}}}
  most: {{kind: quantile, q: 0.95, of: outcome.cost_usd, better: lower}}
{wait}
  w: {{kind: mean, of: turn.cost_usd, better: lower{window}}}
  w_each: {{kind: ratio, of: turn.cost_usd, per: turn.count, better: lower}}
{rules}
plan: {plan}
"""

WAIT = "  wait: {{priority: {}, kind: time_to_event, of: outcome.ok, better: lower, window: 5d}}\n"
WAIT += "  back: {{kind: time_to_event, of: conversation.returned, better: lower, window: 5d}}"


def everything(
    folder: Path,
    *,
    timed: bool = True,
    clustered: bool = False,
    window: bool = False,
    plan: str = "{}",
    primary: str = "spent",
) -> Experiment:
    rules = [rule for rule in RULES if timed or rule not in ("first", "last", "slope")]
    path = folder / "everything.yaml"
    path.write_text(
        EVERYTHING.format(
            cluster="cluster: team" if clustered else "",
            window=", window: 3d" if window else "",
            plan=plan,
            wait=WAIT.format("primary" if primary == "wait" else "secondary") if timed else "",
            **{name: "primary" if name == primary else "secondary" for name in ("spent", "ok", "half")},
            rules="\n".join(
                f"  v_{rule}: {{priority: exploratory, kind: mean, of: outcome.v, better: higher, per_unit: {rule}}}"
                for rule in rules
            ),
        ),
        encoding="utf-8",
    )
    return load_experiment(path)


def rows(seed: int, *, timed: bool = True, number: int = 3_000, teams: int = 120) -> pa.Table:
    """Ten rows for each of 300 units over twenty days: gaps, ties in time, crossings, attributes that change."""
    rng = random.Random(seed)
    homes = [rng.choices(ARMS, (2, 1, 1))[0] for _ in range(300)]
    made = []
    for _ in range(number):
        of = rng.randrange(300)
        made.append(
            {
                "unit": f" ünit {of}" if rng.random() > 0.01 else ("" if rng.random() < 0.5 else None),
                "variant": rng.choice(ARMS) if rng.random() < 0.005 else homes[of],
                "time": START + rng.randrange(int(20 * DAY)) // 3_600 * 3_600.0,
                "team": f"team {of % teams}" if of % 10 else None,
                "tier": ('it\'s "gold"; DROP TABLE units', "plain", "<b>&", None)[
                    of % 4 if rng.random() < 0.9 else 1
                ],
                "seats": of % 20,
                "ok": None if rng.random() < 0.2 else rng.random() < 0.5,
                "v": None if rng.random() < 0.2 else rng.randrange(-400, 4000) / 7,
                "cost_usd": math.exp(rng.gauss(0, 3)),
                "count": 1,
                "returned": None if of % 6 == 0 else rng.random() < 0.1,
                "tries": None if rng.random() < 0.1 else rng.randrange(1, 5),
                "before": None if of % 7 == 0 else of / 3 + (rng.random() < 0.05),
                "visits": of * 31 % 17,
            }
        )
    table = pa.Table.from_pylist(made)
    return table if timed else table.drop(["time"])


@pytest.mark.parametrize("clustered", [False, True], ids=["units", "clusters"])
def test_whatever_a_definition_can_declare_is_counted_alike(connection, tmp_path, clustered):
    """Windows, burn-in, cycles, caps, covariates, clusters, segments, first and last, quantiles: one measurement."""
    experiment = everything(
        tmp_path, clustered=clustered, window=True, plan="{burn_in: 36h, whole_cycles: true, cycle: 6d}"
    )
    agree(connection, experiment, rows(1))


def test_many_clusters_in_several_arms_are_counted_alike(connection, tmp_path):
    """Of clusters that are not few, what each treatment shares with control is counted, with covariates and in segments."""
    experiment, table = everything(tmp_path, clustered=True), rows(6)
    tallies = measure_table(experiment, table).tallies
    assert all(tallies[name][arm].shared.n > 10 for name in ("spent", "ok", "per_try") for arm in ("a", "b"))
    assert all(tallies[name][arm].overlap.clusters > 10 for name in ("half", "wait") for arm in ("a", "b"))
    agree(connection, experiment, table)


def test_crossed_units_may_be_left_out(quick, tmp_path):
    """What is declared of units seen in two variants is done everywhere; the other way stands beside it."""
    agree(quick, everything(tmp_path, plan="{crossed: exclude}"), rows(2))


@pytest.mark.parametrize("clustered", [False, True], ids=["units", "clusters"])
def test_without_a_time_units_in_two_variants_are_left_out(quick, tmp_path, clustered):
    """Nobody knows which variant came first; with few clusters their totals are counted one by one."""
    agree(quick, everything(tmp_path, timed=False, clustered=clustered), rows(3, timed=False, teams=20))


@pytest.mark.parametrize("primary", ["ok", "half", "wait"])
def test_segments_and_days_are_those_of_whatever_is_primary(quick, tmp_path, primary):
    """A rate counts on the day of its first yes; a quantile and a time to an event are read out within segments, too."""
    agree(quick, everything(tmp_path, primary=primary), rows(4))


def test_a_bandit_is_counted_alike_by_epoch(connection, tmp_path):
    """Shares, entries and moments under each, of critical segments too; whoever comes again stays in the first epoch."""
    experiment, table = bandit(tmp_path), plays(7)
    measured = measure_table(experiment, table)
    assert (len(measured.epochs), measured.crossed > 0) == (5, True)
    assert measured.epochs[4].shares == {"control": 0.2, "b": 0.0, "c": 0.8}
    agree(connection, experiment, table)


def test_a_bandit_without_times_or_shares_is_counted_alike(quick, tmp_path):
    """Without a time whoever is seen in two arms is left out; without the two columns there are no epochs."""
    experiment, table = bandit(tmp_path), plays(8)
    windowless = tuple(dataclasses.replace(each, window=None) for each in experiment.metrics)
    agree(quick, dataclasses.replace(experiment, metrics=windowless), table.drop(["time"]))
    silent = table.drop(["probability"])
    assert measure_table(experiment, silent).epochs == ()
    agree(quick, experiment, silent)


CALENDARS: tuple[dict[str, Any], ...] = (
    {},
    {"begins": "2030-01-07", "balance": ["hour"]},
    {"balance": ["weekday"]},
    {"balance": [], "by": None},
)


def test_the_calendar_of_a_switchback_is_the_same_in_every_engine(connection):
    """The name of a slot's block, from 1938 to 3000, before blocks begin and after, with and without a region."""
    rng = random.Random(9)
    for drawn in CALENDARS:
        experiment = slots(**drawn)
        starts = [rng.randrange(-50_000, 1_500_000) * 21_600 for _ in range(200)]
        units = [
            f"{start}{rng.choice(('/eu', '/us/ü')) if drawn.get('by', True) else ''}" for start in starts
        ]
        found = with_blocks(experiment, loaded(connection, pa.table({"unit": units}))).to_pyarrow()
        told = dict(zip(found["unit"].to_pylist(), found["cluster"].to_pylist(), strict=True))
        assert told == {
            unit: block for unit, (_, block) in zip(units, places(experiment, units), strict=True)
        }


def test_a_switchback_is_counted_alike(connection):
    """Blocks that are whole and others that wait, the wash-out, a slot with turns of both arms: slot by slot the same."""
    experiment = slots()
    table = turns_of(experiment, 2.5, seed=10)
    measured = measure_table(experiment, table)
    assert (len(measured.slots), sum(measured.units.values())) == (139, 139)
    assert (measured.clusters, measured.crossed) == ({"control": 55, "treatment": 55}, 1)
    assert measured.aside.washed_out > 50
    agree(connection, experiment, table)


@pytest.mark.parametrize(
    ("drawn", "weeks", "plan"),
    [
        ({}, 9 / 7, {}),
        ({"balance": ["weekday"], "by": None}, 1, {"burn_in": 90_000.0}),
        ({"balance": ["hour"], "begins": "2030-01-07"}, 1, {"crossed": "exclude"}),
        ({"balance": [], "wash_out": "0s"}, 1, {}),
    ],
    ids=["few whole blocks", "days", "hours", "by itself"],
)
def test_slots_are_counted_alike_however_they_were_drawn(quick, drawn, weeks, plan):
    """Where most blocks are not whole every slot counts; with few blocks, or none, the totals and moments are the same."""
    experiment = slots(**drawn)
    experiment = dataclasses.replace(experiment, plan=dataclasses.replace(experiment.plan, **plan))
    agree(quick, experiment, turns_of(experiment, weeks, seed=11))


TYPES = """
name: types
hypothesis: A type is a type.
unit: {type: user}
variants: {control: {}, b: {}}
segments: [seats, paid]
metrics:
  v: {priority: primary, kind: mean, of: outcome.v, better: higher, per_unit: first}
  ok: {kind: proportion, of: outcome.ok, better: higher}
source: {table: none, unit: who, variant: variant, time: at, columns: {outcome.v: v, outcome.ok: ok, seats: seats, paid: paid}}
"""


def types(folder: Path) -> Experiment:
    (folder / "types.yaml").write_text(TYPES, encoding="utf-8")
    return load_experiment(folder / "types.yaml")


def of_types() -> pa.Table:
    """Units that are integers, decimals, booleans; times with a fraction of a second, of both sides of 1970."""
    microseconds = [-1_500_000, 250_001, 250_000, 1_700_000_000_999_999]
    return pa.table(
        {
            "who": pa.array([1, 1, 2, 3], pa.int64()),
            "variant": ["control", "control", "b", "b"],
            "at": pa.array(microseconds, pa.timestamp("us")),
            "v": pa.array([Decimal("1.25"), Decimal("2.50"), None, Decimal("-3.75")], pa.decimal128(10, 2)),
            "ok": pa.array([True, None, False, True]),
            "seats": pa.array([3, 3, None, 12], pa.int32()),
            "paid": pa.array([True, False, True, None]),
        }
    )


def test_types_and_times_are_read_alike(connection, tmp_path):
    """Integers and booleans as text, decimals as numbers, microseconds kept: 1970 and after, and before."""
    agree(connection, types(tmp_path), of_types())
    found = measure_table(types(tmp_path), loaded(connection, of_types()))
    assert (found.first, found.last) == (-1.5, 1_700_000_000.999999)
    assert found.tallies["v"]["control"].moments == Moments.of([1.25])


@pytest.mark.parametrize(
    ("column", "values", "said"),
    [
        ("v", ["1", "2", "3", "4"], "the column 'v' (outcome.v) is string in {engine}. Accepted: numbers or booleans; cast it where you select it, so that nobody has to guess"),
        ("at", ["1", "2", "3", "4"], "the column 'at' (time) is string in {engine}. Accepted: timestamps, dates, or seconds since 1970 as a number; cast it where you select it, so that nobody has to guess"),
        ("seats", [1.5, 2.5, 3.0, 4.0], "the column 'seats' (segment seats) is float64 in {engine}. Accepted: text, integers, booleans or UUIDs, whose text is the same everywhere; cast it where you select it, so that nobody has to guess"),
        ("at", [1.0, None, 3.0, 4.0], "the time column 'at' holds no time in 1 row. Every row needs one"),
        ("v", [1.0, math.inf, 3.0, 4.0], "the column 'v' (outcome.v) holds 1 value that is not a number: inf. Accepted: finite numbers, true, false, or empty for unknown"),
        ("v", [1.0, math.nan, math.nan, 4.0], "the column 'v' (outcome.v) holds 2 values that are not numbers, such as nan. Accepted: finite numbers, true, false, or empty for unknown"),
        ("ok", [1, 0, 2, 0], "ok is a proportion of outcome.ok, and 1 unit has another value than 0 or 1, such as 2. Use `kind: mean`, or record true and false"),
        ("variant", ["control", "b", "c", "b"], "1 row has the variant 'c', which the definition does not; it has: control, b. Add it to `variants:`, or leave those rows out of the table"),
    ],
)  # fmt: skip
def test_what_cannot_be_counted_exactly_is_refused(quick, tmp_path, column, values, said):
    """Text that looks like numbers, text of fractions, missing times, infinities: one sentence each, no number."""
    table = of_types()
    table = table.set_column(table.schema.get_field_index(column), column, pa.array(values))
    with pytest.raises(DataError) as refused:
        measure_table(types(tmp_path), loaded(quick, table))
    assert str(refused.value) == said.format(engine=quick.name)


def test_an_engine_that_fails_says_so(quick, tmp_path):
    """A query of the caller's that cannot be run is told with the engine's first line, and nothing is counted."""
    relation = loaded(quick, of_types())
    broken = relation.mutate(v=(relation.seats.cast("string") + "x").cast("int64"))
    with pytest.raises(DataError) as refused:
        measure_table(types(tmp_path), broken)
    assert str(refused.value).startswith(f"{quick.name} could not count the table: ")
