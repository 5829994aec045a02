"""Clusters that are randomised: the read-out over whole clusters, members that were seen under several, and the plan."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from typer.testing import CliRunner

from equipoise.analysis.analysing import analyse
from equipoise.analysis.findings import Findings
from equipoise.cli.main import app
from equipoise.clock import ManualClock
from equipoise.conduct.analyze import analyze
from equipoise.conduct.past.clusters import past_clusters, past_clusters_of_table
from equipoise.conduct.register import register
from equipoise.design.plan import MetricSize, plan
from equipoise.errors import DataError, DefinitionError, UsageError
from equipoise.events.facts import Exposure, Fact, Turn
from equipoise.events.log import MemoryLog
from equipoise.events.opening import open_log
from equipoise.experiment.definition import Experiment
from equipoise.experiment.identity import canonical
from equipoise.experiment.reading import read_canonical, read_definition
from equipoise.measurement.measuring import measure_log
from equipoise.measurement.tally import Members
from equipoise.stats.comparison.clusters import clustered_difference
from equipoise.stats.estimate import Estimate, NotEstimable
from equipoise.stats.moments import Moments
from equipoise.stats.sizes.intraclass import Intraclass, intraclass
from equipoise.stats.sizes.power_clusters import size_clusters

BASE: dict[str, Any] = {
    "name": "answers",
    "hypothesis": "Answers that a team shares make it cheaper.",
    "unit": {"type": "cluster", "from": "header:x-team", "members": "user"},
    "attributes": {"user": {"from": "header:x-user"}},
    "changes": ["retrieval"],
    "variants": {"control": {"retrieval": {"shared": False}}, "treatment": {"retrieval": {"shared": True}}},
    "metrics": {
        "cost": {"priority": "primary", "kind": "ratio", "of": "turn.cost_usd", "per": "turn.count", "better": "lower"},
        "mean_cost": {"kind": "mean", "of": "turn.cost_usd", "better": "lower"},
    },
}  # fmt: skip
NOW = 1_760_000_000.0


def teams(**more: Any) -> Experiment:
    return read_canonical(BASE | more)


def served(experiment: Experiment, count: int = 12, *, wander: int = 0, seed: int = 1) -> Iterator[Fact]:
    """Turns of teams of 3 to 30, costs alike within a team; `wander` users of each team ask under the next one, too."""
    rng = random.Random(seed)
    for n in range(count):
        arm, level, size = ("control", "treatment")[n % 2], rng.gauss(1.0, 0.3), rng.randrange(3, 30)
        common: Any = {
            "experiment": experiment.name,
            "digest": experiment.digest,
            "unit": f"team-{n}",
            "variant": arm,
        }
        yield Exposure(**common, happened=NOW, unit_type="cluster", probability=0.5, reason="split")
        for m in range(size):
            yield Turn(
                **common,
                happened=NOW + m,
                reason="split",
                cost_usd=level + rng.gauss(0.0, 0.5),
                member=f"u{n}-{m % 9}",
            )
        for m in range(wander):
            yield Turn(
                **common,
                happened=NOW + 99.0,
                reason="split",
                cost_usd=level,
                member=f"u{(n + 1) % count}-{m}",
            )


def log_of(facts: Iterator[Fact]) -> MemoryLog:
    log = MemoryLog()
    log.append(list(facts))
    return log


def found(experiment: Experiment, facts: Iterator[Fact]) -> Findings:
    return analyse(experiment, measure_log(experiment, log_of(facts)), maximum=1.0, closing=True)


def said(findings: Findings) -> dict[str, tuple[str, str]]:
    return {each.name: (each.status, each.says) for each in findings.health}


def test_whole_clusters_carry_the_error_and_few_are_said_to_be_few() -> None:
    """Twelve teams: the ratio is that of all turns, with the jackknife over teams."""
    experiment = teams()
    facts = list(served(experiment))
    findings = found(experiment, iter(facts))
    sums: dict[str, dict[str, list[float]]] = {"control": {}, "treatment": {}}
    for fact in facts:
        if isinstance(fact, Turn):
            assert fact.variant is not None
            assert fact.unit is not None
            assert fact.cost_usd is not None
            sums[fact.variant].setdefault(fact.unit, []).append(fact.cost_usd)
    totals: list[list[float]] = [[], [], [], []]
    for arm, (at, _) in {"control": (0, 2), "treatment": (2, 0)}.items():
        for costs in sums[arm].values():
            for place in range(0, 4, 2):
                totals[place].append(sum(costs) if place == at else 0.0)
                totals[place + 1].append(float(len(costs)) if place == at else 0.0)
    twin = clustered_difference(*totals, correction="CR3")
    assert isinstance(twin, Estimate)
    estimate = findings.primary[0].estimate
    assert isinstance(estimate, Estimate)
    assert estimate.method == "difference of cluster totals, CR3 and t"
    assert (estimate.value, estimate.standard_error) == (
        pytest.approx(twin.value),
        pytest.approx(twin.standard_error),
    )
    assert estimate.degrees_of_freedom == pytest.approx(twin.degrees_of_freedom)
    assert said(findings)["arms"] == ("ok", "units: control 6, treatment 6")
    assert said(findings)["clusters"] == (
        "note",
        "an arm has only 6 clusters; with fewer than 30 the intervals are corrected for it (CR3 and Student's t), and wide",
    )  # fmt: skip
    assert said(findings)["members of several clusters"][0] == "ok"
    assert said(findings)["members of several clusters"][1].endswith("was seen in one cluster alone")


def test_members_of_several_clusters_are_counted_and_many_are_a_caution() -> None:
    """Neighbours have other arms, so whoever wanders is in both; a few are noted, many are said to blur."""
    experiment = teams()
    many = found(experiment, served(experiment, 12, wander=3))
    members = many.measurement.members
    assert members is not None
    assert members == Members(members.members, 36, 36)
    share = 36 / members.members
    assert said(many)["members of several clusters"] == (
        "note",
        (f"36 of {members.members} ({share:.2%}) were seen in several clusters, and 36 ({share:.2%}) of them in several arms; what "
        "they did counts where they did it. So many know both arms that what clusters differ by is likely to be less than what "
        "worlds would: randomise what holds them together instead"),
    )  # fmt: skip
    nobody = found(teams(unit={"type": "cluster", "from": "header:x-team", "members": "other"}), _silent())
    assert said(nobody)["members of several clusters"] == (
        "note", "no turn says its other, so nobody knows who was in several clusters",
    )  # fmt: skip
    asked_not = found(teams(unit={"type": "cluster", "from": "header:x-team"}), _silent(members=False))
    assert "members of several clusters" not in said(asked_not)


def _silent(members: bool = True) -> Iterator[Fact]:
    unit: dict[str, Any] = {"type": "cluster", "from": "header:x-team"} | (
        {"members": "other"} if members else {}
    )
    experiment = teams(unit=unit)
    for fact in served(experiment):
        yield Turn(**{name: getattr(fact, name) for name in ("experiment", "digest", "unit", "variant", "happened", "reason", "cost_usd")}) if isinstance(fact, Turn) else fact  # fmt: skip


def test_a_table_of_members_is_read_as_the_log_is() -> None:
    """The same rows with a column of users give the same effect and the same count of wanderers."""
    experiment = teams()
    facts = list(served(experiment, wander=2))
    turns = [fact for fact in facts if isinstance(fact, Turn)]
    rows = pa.table({
        "unit": [turn.unit for turn in turns], "variant": [turn.variant for turn in turns], "user": [turn.member for turn in turns],
        "cost_usd": [turn.cost_usd for turn in turns], "count": [1.0] * len(turns),
    })  # fmt: skip
    by_table, by_log = analyze(experiment, rows).findings, found(experiment, iter(facts))
    assert by_table.primary[0].estimate == by_log.primary[0].estimate
    assert by_table.measurement.members == by_log.measurement.members
    assert analyze(experiment, rows.drop_columns(["user"])).findings.measurement.members is None


def test_another_engine_counts_clusters_alike() -> None:
    """Through Ibis the estimate over whole clusters is the same to nine digits, and those who wander are as many."""
    ibis = pytest.importorskip("ibis")
    experiment = teams()
    turns = [fact for fact in served(experiment, wander=2) if isinstance(fact, Turn)]
    rows = pa.table({
        "unit": [turn.unit for turn in turns], "variant": [turn.variant for turn in turns],
        "user": [None if n % 7 == 0 else turn.member for n, turn in enumerate(turns)],
        "cost_usd": [turn.cost_usd for turn in turns], "count": [1.0] * len(turns),
    })  # fmt: skip
    here, there = (
        analyze(experiment, rows).findings,
        analyze(experiment, ibis.duckdb.connect().create_table("t", rows)).findings,
    )
    ours, theirs = here.primary[0].estimate, there.primary[0].estimate
    assert isinstance(ours, Estimate)
    assert isinstance(theirs, Estimate)
    assert theirs.method == ours.method
    assert theirs.standard_error == pytest.approx(ours.standard_error, rel=1e-9)
    members = here.measurement.members
    assert members is not None
    assert members.in_several > members.in_several_arms - 1 > 0
    assert there.measurement.members == members


def test_the_plan_is_in_clusters_and_warns_of_few() -> None:
    """A rate of single readings, alike within clusters, is sized in clusters; fewer than thirty in an arm are a warning."""
    metrics = {"done": {"priority": "primary", "kind": "ratio", "of": "outcome.done", "per": "turn.count", "better": "higher",
                        "spread": 0.5, "mde": 0.2}}  # fmt: skip
    expected = {"icc": 0.05, "size": 40, "size_cv": 0.6}
    drawn = plan(teams(metrics=metrics, plan={"clusters": expected}))
    twin = size_clusters(0.5, 0.2, 0.05, 40, 0.6)
    size = drawn.sizes["done"]
    assert isinstance(size, MetricSize)
    assert size.units == {"control": twin.clusters.control, "treatment": twin.clusters.treatment}
    assert drawn.notes[:2] == (
        ("a unit is a cluster of 40 readings; with an intraclass correlation of 0.05 they tell as much as 10.9 independent ones "
        "(design effect 3.67)"),
        ("an arm has fewer than 30 clusters: the read-out corrects for it (CR3 and Student's t) and its intervals are wide, a few "
        "odd clusters weigh much, and arms may differ by chance in what nobody thought of. More clusters help, more readings in "
        "each hardly do"),
    )  # fmt: skip
    many = plan(
        teams(metrics=metrics | {"done": metrics["done"] | {"mde": 0.03}}, plan={"clusters": expected})
    )
    assert not any("fewer than 30" in note for note in many.notes)
    plain = plan(
        teams(
            metrics={
                "c": {
                    "priority": "primary",
                    "kind": "mean",
                    "of": "turn.cost_usd",
                    "better": "lower",
                    "spread": 1.0,
                    "mde": 0.2,
                }
            }
        )
    )
    assert plain.total == 788
    assert plain.notes[0] == (
        "a unit is a cluster, and `spread` is the standard deviation between clusters; where only that between readings is known, "
        "say how alike those of a cluster are: `plan: {clusters: {icc: 0.05, size: 20, size_cv: 0.6}}`"
    )


def test_what_is_kept_reads_back_and_what_does_not_fit_is_refused(tmp_path: Path) -> None:
    """Members and clusters are part of the identity, and belong to clusters alone."""
    with_both = teams(plan={"clusters": {"icc": 0.05, "size": 40}})
    assert read_canonical(canonical(with_both)) == with_both
    assert canonical(with_both)["plan"] == {"clusters": {"icc": 0.05, "size": 40.0}}
    path = tmp_path / "e.yaml"

    def faults(**more: Any) -> list[str]:
        path.write_text(yaml.safe_dump(BASE | more), "utf-8")
        with pytest.raises(DefinitionError) as refused:
            read_definition(path)
        return sorted(str(fault).split(": ", 1)[1] for fault in refused.value.faults)

    assert faults(unit={"type": "user", "members": "user"}, plan={"clusters": {"icc": 0.05, "size": 40}}) == [
        "plan.clusters: this is about clusters that are randomised, and the unit is a user; set `unit: {type: cluster}`, or leave it out",
        "unit.members: members belong to a cluster, and the unit is a user; accepted: `unit: {type: cluster, from: …, members: ATTRIBUTE}`",
    ]  # fmt: skip
    assert faults(unit={"type": "cluster", "from": "header:x-team", "members": "usr"}) == [
        "unit.members: 'usr' is not a declared attribute; accepted: user; did you mean 'user'?"
    ]


def test_past_clusters_say_how_alike_their_readings_are(tmp_path: Path) -> None:
    """Out of the log of a test on users, clustered by team, and out of a table: the same correlation, and lines to paste."""
    past = read_canonical(BASE | {"name": "before", "unit": "user", "cluster": "team", "attributes": {}})
    rng, place = random.Random(5), tmp_path / "e.db"
    log = open_log(place)
    register(log, past, by="ann", reason="a test", clock=ManualClock(NOW))
    facts: list[Fact] = []
    values: dict[str, list[float]] = {}
    for n in range(40):
        level = rng.gauss(1.0, 0.3)
        for m in range(rng.randrange(4, 20)):
            common: Any = {
                "experiment": "before",
                "digest": past.digest,
                "unit": f"u{n}-{m}",
                "variant": "control",
            }
            facts.append(
                Exposure(
                    **common,
                    happened=NOW,
                    unit_type="user",
                    probability=0.5,
                    reason="split",
                    attributes={"team": f"t{n}"},
                )
            )
            value = level + rng.gauss(0.0, 0.6)
            values.setdefault(f"t{n}", []).append(value)
            facts.append(Turn(**common, happened=NOW + 1.0, reason="split", cost_usd=value))
    log.append(facts)
    twin = intraclass([Moments.of(of) for _, of in sorted(values.items())])
    assert isinstance(twin, Intraclass)
    assert twin.low < 0.2 < twin.high
    found = past_clusters(log, "before", teams())
    assert isinstance(found, Intraclass)
    assert found.icc == pytest.approx(twin.icc, rel=1e-9)
    with pytest.raises(DataError) as unknown:
        past_clusters(log, "before", teams(), cluster="nothing")
    assert str(unknown.value) == "no reading of turn.cost_usd under control names its cluster ('nothing')"
    log.close()
    table = tmp_path / "past.parquet"
    rows = [
        (f"{team}-{m}", "control", team, value, 1.0)
        for team, of in values.items()
        for m, value in enumerate(of)
    ]
    pq.write_table(
        pa.table(
            dict(zip(("unit", "variant", "team", "cost_usd", "count"), zip(*rows, strict=True), strict=True))
        ),
        table,
    )
    by_table = past_clusters_of_table(teams(), table, cluster="team")
    assert isinstance(by_table, Intraclass)
    assert by_table.icc == pytest.approx(twin.icc, rel=1e-9)
    file = tmp_path / "e.yaml"
    file.write_text(yaml.safe_dump(BASE), "utf-8")
    done = CliRunner().invoke(app, ["plan", str(file), "--like", "before", "--log", str(place)])
    assert done.exit_code == 0, done.output
    assert done.stdout.rstrip().splitlines()[-1] == (
        f"To plan by it: spread: {twin.spread:.4g} at the primary, and plan: {{clusters: {{icc: {twin.icc:.3g}, size: {twin.size:.3g}, "
        f"size_cv: {twin.size_cv:.2g}}}}}."
    )
    done = CliRunner().invoke(app, ["plan", str(file), "--like", str(table), "--cluster", "team", "--json"])
    assert json.loads(done.stdout)["past_clusters"]["icc"] == pytest.approx(twin.icc, rel=1e-9)
    with pytest.raises(UsageError) as refused:
        past_clusters(MemoryLog(), "before", past)
    assert str(refused.value) == (
        f"{past.identity} randomises a user, and past clusters tell its plan nothing. Set `unit: {{type: cluster, from: …}}`"
    )
    with pytest.raises(DataError) as none:
        past_clusters_of_table(
            teams(), pa.table({"unit": ["a"], "variant": ["treatment"], "cost_usd": [1.0], "count": [1.0]})
        )
    assert str(none.value) == "no reading of turn.cost_usd under control names its cluster"


def test_likeness_that_cannot_be_told_is_no_number() -> None:
    """Two clusters, single units, and an outcome that never varies have no intraclass correlation."""
    assert intraclass([Moments.of([1.0, 2.0])] * 2) == NotEstimable(
        "2 clusters have a value, and to tell how alike their units are takes at least three"
    )
    assert intraclass([Moments.of([1.0]), Moments.of([2.0]), Moments.of([3.0])]) == NotEstimable(
        "every cluster has a single unit, which is like nobody"
    )
    assert intraclass([Moments.of([1.0, 1.0])] * 3) == NotEstimable("the outcome is the same for every unit")
    alike = intraclass([Moments.of([1.0, 1.0]), Moments.of([2.0, 2.0]), Moments.of([4.0, 4.0])])
    assert isinstance(alike, Intraclass)
    assert (alike.icc, alike.low, alike.high) == (1.0, 1.0, 1.0)
