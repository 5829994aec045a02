"""Does control differ with how many beside it are treated? What the draw within clusters says, in three answers."""

from __future__ import annotations

import random
from dataclasses import replace
from fractions import Fraction
from typing import Any

import pyarrow as pa
import pytest

from equipoise.analysis.analysing import analyse
from equipoise.analysis.findings import Check
from equipoise.analysis.interference import beside_control
from equipoise.errors import UsageError
from equipoise.events.facts import Allocation, Exposure, Fact, Outcome
from equipoise.events.log import MemoryLog
from equipoise.experiment.definition import Experiment
from equipoise.experiment.reading import read_canonical
from equipoise.measurement.measuring import measure_log, measure_table
from equipoise.measurement.tally import Measurement
from equipoise.stats.estimate import Estimate, NotEstimable
from equipoise.stats.health.saturation import Saturated, control_by_saturation
from equipoise.stats.moments import PairMoments

NOW = 1_760_054_400.0
BASE: dict[str, Any] = {
    "name": "notes", "hypothesis": "Notes get more done.", "unit": "user", "cluster": "team", "changes": ["model"],
    "variants": {"control": {"model": "a"}, "treatment": {"model": "b"}},
    "metrics": {"done": {"priority": "primary", "kind": "proportion", "of": "outcome.done", "better": "higher"}},
}  # fmt: skip
COST = {"kind": "mean", "of": "outcome.cost", "priority": "primary", "better": "lower"}
Row = dict[str, Any]


def teams(**more: Any) -> Experiment:
    return read_canonical(BASE | more)


def people(count: int = 150, *, spill: float = 0.0, seed: int = 3) -> list[Row]:
    """Users of teams of one to nine, each drawn by itself; control gets less done the more of the others are treated."""
    rng, rows = random.Random(seed), []
    for team in range(count):
        arms = [rng.random() < 0.5 for _ in range(rng.randrange(1, 10))]
        level = rng.betavariate(12, 8)
        for n, treated in enumerate(arms):
            share = (sum(arms) - treated) / max(len(arms) - 1, 1)
            done = rng.random() < level - (0.0 if treated else spill * share)
            # Of some nobody said what became of them; they are beside the others all the same.
            told = None if rng.random() < 0.05 else float(done)
            rows.append({
                "unit": f"u{team}-{n}", "variant": "treatment" if treated else "control", "team": f"t{team}", "done": told,
                "cost": None if told is None else rng.gauss(2.0, 0.5) - told, "turns": float(rng.randrange(1, 6)),
            })  # fmt: skip
    # Nobody says whose these are; each is alone.
    return rows + [{"unit": f"alone-{n}", "variant": "control", "team": None, "done": 1.0, "cost": 1.0, "turns": 1.0} for n in range(9)]  # fmt: skip


def table(rows: list[Row]) -> pa.Table:
    return pa.Table.from_pylist(rows)


def log(experiment: Experiment, rows: list[Row], *allocations: str) -> MemoryLog:
    held = MemoryLog()
    facts: list[Fact] = [
        Allocation(
            experiment="notes", happened=NOW, digest=experiment.digest, epoch=n, starts=NOW - 60.0 + n,
            shares={"control": share, "treatment": str(1 - Fraction(share))}, coverage="1", by="ann",
        )
        for n, share in enumerate(allocations)
    ]  # fmt: skip
    for n, row in enumerate(rows):
        common: Any = {
            "experiment": "notes",
            "digest": experiment.digest,
            "unit": row["unit"],
            "variant": row["variant"],
        }
        known = {} if row["team"] is None else {"team": row["team"]}
        facts.append(Exposure(**common, happened=NOW + n, unit_type="user", probability=0.5, reason="split", attributes=known))  # fmt: skip
        if row["done"] is not None:
            facts.append(Outcome(experiment="notes", unit=row["unit"], happened=NOW + n + 0.5, name="done", value=row["done"]))  # fmt: skip
    held.append(facts)
    return held


def cells(measured: Measurement) -> tuple[Saturated, ...]:
    assert isinstance(measured.saturations, tuple)
    return measured.saturations


def by_hand(rows: list[Row], x: str, y: str | None = None) -> list[tuple[float, ...]]:
    """Of each cluster the units, the treated, and control's sums; in order."""
    held: dict[str, list[Row]] = {}
    for row in rows:
        held.setdefault(row["team"] or row["unit"], []).append(row)
    found = []
    for of in held.values():
        control = [row for row in of if row["variant"] == "control" and row[x] is not None]
        sums = sum(row[x] for row in control), sum(row[y] if y else 1.0 for row in control)
        found.append((len(of), sum(row["variant"] != "control" for row in of), *sums))
    return sorted(each for each in found if each[0] > 1 and each[3] > 0)


def test_a_control_that_feels_the_treated_beside_it_is_a_caution() -> None:
    """Nine tenths less done where all others are treated: a note with the slope, its interval and what follows."""
    experiment, rows = teams(), people(spill=0.6)
    measured = measure_table(experiment, table(rows))
    found = control_by_saturation(cells(measured))
    assert isinstance(found, Estimate)
    assert found.low < -0.6 < found.high
    clusters = len(by_hand(rows, "done"))
    (check,) = beside_control(experiment, measured)
    assert check == Check(
        "control by team",
        "note",
        f"it moves done of control by {found.value:+.3g} [{found.low:.3g}, {found.high:.3g}] from none of the others of its team "
        f"treated to all of them ({clusters} clusters, shares from 0 to 1, p = {found.p_value:.2g}). Who is treated beside a unit "
        "was drawn: units of control feel it, unless treatment changes how many units a team has, and the effect is not that of "
        "going over for good. Randomise whole clusters (`unit: {type: cluster}`), by team or by what holds more together",
        found.p_value,
    )  # fmt: skip
    assert check in analyse(experiment, measured, maximum=1.0, closing=True).cautions
    assert not analyse(experiment, measured, maximum=1e9).cautions


def test_a_control_that_feels_nothing_is_said_to_show_no_move() -> None:
    """Teams that are alike are no interference."""
    experiment = teams()
    (check,) = beside_control(experiment, measure_table(experiment, table(people())))
    assert check.status == "ok"
    assert check.says.startswith("no move is shown: done of control by ")
    assert check.says.endswith("). What is not shown is not absent")


@pytest.mark.parametrize(
    "metric",
    [
        BASE["metrics"]["done"],
        COST,
        COST | {"kind": "ratio", "per": "outcome.turns"},
        COST | {"winsorise": 0.9},
    ],
)
def test_clusters_are_counted_as_they_lie_and_alike_on_another_engine(metric: Row) -> None:
    """By the number of units and of treated ones, missing values and lone units apart: the sums are those of the rows."""
    ibis = pytest.importorskip("ibis")
    experiment, rows = teams(metrics={"it": metric}), people(60)
    here = cells(measure_table(experiment, table(rows)))
    there = cells(measure_table(experiment, ibis.duckdb.connect().create_table("t", table(rows))))
    assert [(each.units, each.treated, each.totals.n) for each in here] == [
        (each.units, each.treated, each.totals.n) for each in there
    ]
    for ours, theirs in zip(here, there, strict=True):
        for name in ("mean_x", "mean_y", "m2_x", "m2_y", "c_xy"):
            assert getattr(theirs.totals, name) == pytest.approx(
                getattr(ours.totals, name), rel=1e-9, abs=1e-12
            )
    if "winsorise" in metric:
        return
    x, y = str(metric["of"]).split(".")[1], "turns" if metric["kind"] == "ratio" else None
    wanted: dict[tuple[float, float], list[tuple[float, float]]] = {}
    for units, treated, total, size in by_hand(rows, x, y):
        wanted.setdefault((units, treated), []).append((total, size))
    assert {(each.units, each.treated) for each in here} == set(wanted)
    for each in here:
        pairs = PairMoments.of(*zip(*wanted[each.units, each.treated], strict=True))
        assert each.totals.n == pairs.n
        assert each.totals.mean_x == pytest.approx(pairs.mean_x)
        assert each.totals.c_xy == pytest.approx(pairs.c_xy, abs=1e-9)


def test_a_log_says_what_a_table_says_unless_its_allocation_changed() -> None:
    """The same users; and where shares were drawn anew on the way, those who came later have more of it for that alone."""
    experiment, rows = teams(), people(80)
    by_log = measure_log(experiment, log(experiment, rows, "1/2", "1/2"))
    assert cells(by_log) == cells(measure_table(experiment, table(rows)))
    changed = measure_log(experiment, log(experiment, rows, "9/10", "1/2"))
    assert beside_control(experiment, changed) == [
        Check("control by team", "ok", (
            "cannot be told: the allocation changed, so that clusters whose units came in later have more or less treatment for "
            "that alone"))
    ]  # fmt: skip


def test_what_cannot_be_told_says_why_and_what_was_not_drawn_within_clusters_says_nothing() -> None:
    """Few teams; whole teams that a table gave one arm; and units without clusters, or that are clusters."""
    few = measure_table(teams(), table(people(15)))
    (check,) = beside_control(teams(), few)
    clusters = sum(each.totals.n for each in cells(few))
    assert check.says == (
        f"cannot be told: {clusters} clusters have control beside other units, and it takes at least 20"
    )
    whole = [row | {"variant": ("control", "treatment")[len(row["team"] or "") % 2]} for row in people()]
    (check,) = beside_control(teams(), measure_table(teams(), table(whole)))
    assert check.says == (
        "cannot be told: the treatment's share hardly differs between clusters (a standard deviation of 0)"
    )
    alone = teams(cluster=None)
    assert measure_table(alone, table(people())).saturations is None
    rows = [row | {"unit": row["team"], "variant": "control" if int(row["team"][1:]) % 2 else "treatment"} for row in people() if row["team"]]  # fmt: skip
    randomised = teams(unit={"type": "cluster"}, cluster=None)
    assert measure_table(randomised, table(rows)).saturations is None
    quantile = teams(metrics={"cost": COST | {"kind": "quantile", "q": 0.9}})
    assert measure_table(quantile, table(people())).saturations is None


def test_clusters_that_tell_nothing_are_no_number() -> None:
    """A cluster alone with its share, few that differ, a control that never varies; and counts that cannot be."""

    def held(*treated: int, flat: bool = False) -> list[Saturated]:
        return [
            Saturated(10, t, PairMoments.of([(10 - t) * (1.0 if flat else 1.0 + (n * 7919 % 13) / 10)], [10.0 - t]))
            for n, t in enumerate(treated)
        ]  # fmt: skip

    assert isinstance(control_by_saturation(held(*range(2, 8), *range(2, 8), *range(2, 8), *range(2, 8))), Estimate)  # fmt: skip
    assert control_by_saturation(held(*[5] * 29, 1)) == NotEstimable(
        "a cluster stands alone with its share, and nothing says how it would vary"
    )
    assert control_by_saturation(held(*[5] * 28, 1, 1)) == NotEstimable(
        "shares differ in so few clusters that only 1.3 degrees of freedom are left"
    )
    assert control_by_saturation(held(*range(2, 8), *range(2, 8), *range(2, 8), *range(2, 8), flat=True)) == NotEstimable(
        "control does not vary beyond the treatment's share"
    )  # fmt: skip
    with pytest.raises(UsageError, match="none is left for control"):
        Saturated(3, 3, PairMoments.zero())
    with pytest.raises(UsageError, match="units"):
        Saturated(1, 0, PairMoments.zero())
    with pytest.raises(UsageError, match="the sizes of clusters whose control counts are above 0"):
        Saturated(3, 1, PairMoments.of([1.0], [0.0]))
    with pytest.raises(UsageError, match="level"):
        control_by_saturation([], level=1.0)
    assert control_by_saturation([replace(each, totals=PairMoments.zero()) for each in held(1, 2)]) == NotEstimable(
        "0 clusters have control beside other units, and it takes at least 20"
    )  # fmt: skip
