"""Units of one cluster in several arms, in a plan, at looks of a log, and where clusters themselves were randomised."""

from __future__ import annotations

import random
from typing import Any

import pyarrow as pa
import pytest

from equipoise.analysis.findings import Findings
from equipoise.clock import ManualClock
from equipoise.conduct.analyze import analyze
from equipoise.conduct.look import look
from equipoise.conduct.register import register
from equipoise.conduct.verify import verify
from equipoise.design.plan import plan
from equipoise.events.facts import Exposure, Fact, Outcome
from equipoise.events.log import MemoryLog
from equipoise.experiment.definition import Experiment
from equipoise.experiment.reading import read_canonical
from equipoise.measurement.measuring import measure_table
from equipoise.stats.comparison.clusters import clustered_difference
from equipoise.stats.estimate import Estimate

BASE: dict[str, Any] = {
    "name": "shared",
    "hypothesis": "Conversations of one user are alike.",
    "unit": {"type": "conversation", "from": "header:x-conversation"},
    "attributes": {"user": {"from": "header:x-user"}},
    "cluster": "user",
    "changes": ["retrieval"],
    "variants": {"control": {"retrieval": {"deep": False}}, "treatment": {"retrieval": {"deep": True}}},
    "metrics": {
        "spent": {"priority": "primary", "kind": "mean", "of": "outcome.spent", "better": "lower", "spread": 1.0, "mde": 0.13},
    },
    "plan": {"looks": [0.5, 1.0]},
}  # fmt: skip
NOW = 1_760_000_000.0


def shared(**more: Any) -> Experiment:
    return read_canonical(BASE | more)


def rows(users: int, seed: int = 1) -> list[dict[str, Any]]:
    """One to twelve conversations of each user, what they cost alike within a user; each has an arm of its own."""
    rng = random.Random(seed)
    made = []
    for user in range(users):
        level = rng.gauss(3.0, 0.6)
        made += [
            {
                "unit": f"c{user}-{number}",
                "user": f"u{user}",
                "variant": rng.choice(("control", "treatment")),
                "spent": level + rng.gauss(0.0, 0.8),
            }
            for number in range(rng.randint(1, 12))
        ]
    return made


def facts(experiment: Experiment, made: list[dict[str, Any]], start: float) -> list[Fact]:
    return [
        fact
        for i, row in enumerate(made)
        for fact in (
            Exposure(
                experiment=experiment.name, happened=start + i, digest=experiment.digest, unit=row["unit"],
                unit_type="conversation", variant=row["variant"], probability=0.5, reason="split",
                attributes={"user": row["user"]},
            ),
            Outcome(experiment=experiment.name, happened=start + i + 0.5, unit=row["unit"], name="spent", value=row["spent"]),
        )
    ]  # fmt: skip


def primary(findings: Findings) -> Estimate:
    estimate = findings.primary[0].estimate
    assert isinstance(estimate, Estimate)
    return estimate


def test_looks_count_the_information_that_matched_clusters_give():
    """Information is 1 / SE² of the difference with what users have in common taken off; each look computed again is the same."""
    experiment, made = shared(), rows(250)
    clock = ManualClock(NOW)
    log = MemoryLog(clock)
    register(log, experiment, by="ann")
    half = [row for row in made if int(row["unit"].split("-")[1]) < 6]
    log.append(facts(experiment, half, NOW))
    clock.advance(10_000.0)
    first = look(log, "shared").findings
    log.append(facts(experiment, [row for row in made if row not in half], NOW + 10_000.0))
    clock.advance(10_000.0)
    second = look(log, "shared", closing=True).findings
    for found, among in ((first, half), (second, made)):
        table = analyze(shared(plan={}), pa.Table.from_pylist(among), closing=True).findings
        assert primary(found).standard_error == pytest.approx(primary(table).standard_error, rel=1e-9)
    assert first.look.fraction is not None
    assert second.look.fraction is not None
    errors = primary(first).standard_error, primary(second).standard_error
    assert second.look.fraction / first.look.fraction == pytest.approx((errors[0] / errors[1]) ** 2)
    assert [each.answer for each in verify(log, "shared").looks] == ["same", "same"]


def test_the_treatment_alone_has_the_clusters_that_it_shares_with_control():
    """Few clusters have totals, many have moments of those in both arms, and nothing is said twice."""
    many = measure_table(shared(), pa.Table.from_pylist(rows(250))).tallies["spent"]
    few = measure_table(shared(), pa.Table.from_pylist(rows(20))).tallies["spent"]
    assert many["control"].shared is None
    assert many["treatment"].shared is not None
    assert many["treatment"].totals is None
    assert [few[arm].shared for arm in ("control", "treatment")] == [None, None]
    assert few["treatment"].totals is not None


def test_randomised_clusters_that_belong_together_are_matched():
    """Teams are randomised and those of one company are alike: few companies are matched (CR2), many counted by moments."""
    experiment = shared(unit={"type": "cluster", "from": "header:x-team"})
    for users, method in (
        (20, "difference of cluster totals, CR2 and t"),
        (250, "difference of ratios, delta method"),
    ):
        found = analyze(experiment, pa.Table.from_pylist(rows(users)), closing=True).findings
        assert primary(found).method == method
        said = [check.says for check in found.health if check.name == "clusters"]
        few = "an arm has only 18 clusters; with fewer than 30 the intervals are corrected for it (CR2 and Student's t), and wide"
        assert said == ([few] if users == 20 else [])


def test_thirty_clusters_are_read_out_as_twenty_nine_would_be():
    """Just above the border the interval is that of totals matched one by one, to a few per cent."""
    made = rows(40, seed=3)
    of: dict[str, dict[str, list[float]]] = {"control": {}, "treatment": {}}
    for row in made:
        of[row["variant"]].setdefault(row["user"], []).append(row["spent"])
    users = sorted({row["user"] for row in made})
    totals = [
        [each(of[arm].get(user, [])) for user in users]
        for arm in ("control", "treatment")
        for each in (sum, len)
    ]
    matched = clustered_difference(*totals)
    assert isinstance(matched, Estimate)
    found = primary(analyze(shared(plan={}), pa.Table.from_pylist(made), closing=True).findings)
    assert found.value == pytest.approx(matched.value)
    assert found.standard_error == pytest.approx(matched.standard_error, rel=0.04)
    assert (found.low, found.high) == pytest.approx((matched.low, matched.high), rel=0.08)


def test_a_plan_needs_no_design_effect_and_says_what_would():
    """Units of one cluster are randomised one by one: sizes are those of units that are not alike."""
    made = plan(shared())
    assert made.total == plan(read_canonical({k: v for k, v in BASE.items() if k != "cluster"})).total
    assert made.notes[-1] == (
        "units of one user are alike and each is randomised by itself, so that what they have in common cancels between the "
        "arms: these sizes need no design effect (Abadie, Athey, Imbens & Wooldridge 2023). More units are needed where the "
        "effect differs from one user to another, and with fewer than 30 clusters in an arm"
    )
