"""Arms with few clusters, wherever they are few: in a segment, in one of three arms, or of those that have a value."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from equipoise.analysis.findings import Effect, Findings
from equipoise.conduct.analyze import analyze
from equipoise.experiment.reading import read_canonical
from equipoise.stats.comparison.clusters import clustered_difference
from equipoise.stats.estimate import Estimate, NotEstimable

MATCHED, DELTA = "difference of cluster totals, CR2 and t", "difference of ratios, delta method"
BASE: dict[str, Any] = {
    "name": "few",
    "hypothesis": "Wherever clusters are few, they are read out as few.",
    "unit": {"type": "conversation", "from": "header:x-conversation"},
    "attributes": {"user": {"from": "header:x-user"}},
    "cluster": "user",
    "changes": ["retrieval"],
    "variants": {"control": {"retrieval": {"deep": False}}, "treatment": {"retrieval": {"deep": True}}},
    "metrics": {
        "spent": {"priority": "primary", "kind": "mean", "of": "outcome.spent", "better": "lower"},
        "rated": {"kind": "mean", "of": "outcome.rated", "better": "higher"},
    },
}  # fmt: skip
TEAMS: dict[str, Any] = {
    **{key: value for key, value in BASE.items() if key not in ("cluster", "attributes")},
    "unit": {"type": "cluster", "from": "header:x-team"},
    "metrics": {
        "per_success": {
            "priority": "primary", "kind": "ratio", "of": "outcome.spent", "per": "outcome.resolved", "better": "lower"
        }
    },
}  # fmt: skip


def rows(users: int, arms: Sequence[str] = ("control", "treatment"), **more: Any) -> list[dict[str, Any]]:
    """Four conversations of each user, each in an arm of its own."""
    rng = random.Random(users)
    name = "".join(map(str, more.values()))
    return [
        {
            "unit": f"{name}-{user}-{number}",
            "user": f"{name}-{user}",
            "variant": rng.choice(arms),
            "spent": rng.gauss(3.0, 1.0),
            "rated": rng.gauss(3.0, 1.0) if user < 12 else None,
            **more,
        }
        for user in range(users)
        for number in range(4)
    ]


def read_out(definition: dict[str, Any], made: list[dict[str, Any]]) -> Findings:
    return analyze(read_canonical(definition), pa.Table.from_pylist(made), closing=True).findings


def method(effect: Effect) -> str:
    assert isinstance(effect.estimate, Estimate), effect.estimate
    return effect.estimate.method


def test_a_segment_of_few_clusters_is_matched_although_there_are_many_in_all() -> None:
    """Few users of a segment are matched one by one; the whole, and a segment of many, are counted by moments."""
    many = {"segments": ["tier"], "critical_segments": [{"where": "tier=gold", "metric": "spent", "margin": "90%"}]}  # fmt: skip
    found = read_out(BASE | many, [*rows(90, tier="free"), *rows(14, tier="gold")])
    assert method(found.primary[0]) == DELTA
    by = {effect.segment: method(effect) for effect in found.segments}
    assert by == {"tier=free": DELTA, "tier=gold": MATCHED}
    assert {method(effect) for effect in found.effects if effect.segment == "tier=gold"} == {MATCHED}


def test_few_clusters_with_a_value_are_matched_although_many_came() -> None:
    """Twelve users rated anything: their ratings are matched, and what all of them spent is not."""
    found = read_out(BASE, rows(90))
    assert {effect.metric: method(effect) for effect in found.effects} == {"spent": DELTA, "rated": MATCHED}


def test_an_arm_of_few_clusters_takes_nothing_from_the_others() -> None:
    """Of three arms one has few users: it alone is matched, and the other has its relative change."""
    three = {"variants": BASE["variants"] | {"rare": {"retrieval": {"deep": 2}}}, "allocation": {"control": 0.45, "treatment": 0.45, "rare": 0.1}}  # fmt: skip
    found = read_out(BASE | three, rows(90, ["control", "treatment"] * 9 + ["rare"] * 2))
    spent = {effect.variant: effect for effect in found.effects if effect.metric == "spent"}
    assert {arm: method(effect) for arm, effect in spent.items()} == {"treatment": DELTA, "rare": MATCHED}
    assert isinstance(spent["treatment"].relative, Estimate)
    few = NotEstimable("with so few clusters a relative change has no interval that can be trusted")
    assert spent["rare"].relative == few


@pytest.mark.parametrize("users", [20, 29, 33])
def test_the_sentence_on_relative_changes_is_that_of_few_clusters(users: int) -> None:
    """Also where the few of both arms are more than thirty together."""
    found = read_out(BASE, [row for row in rows(users) if stays(row) or row["variant"] == "control"])
    few = NotEstimable("with so few clusters a relative change has no interval that can be trusted")
    assert {effect.relative for effect in found.effects} == {few}


def stays(row: dict[str, Any]) -> bool:
    """A fifth of the treatment's users are left out, so that one arm has few users and both together have not."""
    return int(row["user"].split("-")[1]) % 5 > 0


@pytest.mark.parametrize("teams", [24, 50])
def test_what_teams_without_a_success_spent_counts(teams: int) -> None:
    """Of few teams some never succeed: the cost per success is all cost over all successes, and its error the jackknife's."""
    rng = np.random.default_rng(teams)
    cost, won, arm = rng.exponential(2.0, teams), rng.binomial(2, 0.4, teams), np.arange(teams) % 2
    assert (won == 0).any()
    found = read_out(
        TEAMS,
        [
            {"unit": f"t{i}", "variant": ("control", "treatment")[arm[i]], "spent": cost[i], "resolved": float(won[i])}
            for i in range(teams)
        ],
    ).primary[0].estimate  # fmt: skip
    assert isinstance(found, Estimate)
    values, variance = [], 0.0
    for i in (0, 1):
        x, y = cost[arm == i], won[arm == i]
        values.append(x.sum() / y.sum())
        # The jackknife's moves, linear in the cluster that is left out (CR3).
        moves = (x - values[-1] * y) / (y.sum() - y)
        variance += float(moves @ moves) * (x.size - 1) / x.size
    assert found.value == pytest.approx(values[1] - values[0])
    assert found.standard_error == pytest.approx(variance**0.5)


def test_sizes_that_tell_nothing_are_reasons_and_not_errors() -> None:
    """No success in an arm, successes in one cluster alone, or fewer than none: no estimate, and why."""
    spent, none = [3.0, 4.0, 5.0], [0.0] * 3
    for sizes, reason in (
        ([0.0, 0.0, 0.0], "no cluster of treatment has a size above 0, and a ratio needs at least two"),
        ([0.0, 2.0, 0.0], "only 1 cluster of treatment has a size above 0, and a ratio needs at least two"),
        (
            [2.0, 2.0, -1.0],
            "a cluster of treatment has a size below 0, and with few clusters each needs one of at least 0",
        ),
    ):
        found = clustered_difference([*spent, *none], [1, 1, 1, *none], [*none, *spent], [*none, *sizes])
        assert found == NotEstimable(reason)


@pytest.mark.parametrize("huge", [1, 40])
def test_many_clusters_that_weigh_as_few_are_corrected_for(huge: int) -> None:
    """Forty teams in an arm, of which two are forty times as large, weigh as four in a ratio; alike they are forty."""
    made = [
        {"unit": f"t{i}", "variant": ("control", "treatment")[i % 2], "spent": (2.0 + i % 7) * size, "resolved": size}
        for i in range(80)
        for size in [float(huge if i < 4 else 1)]
    ]  # fmt: skip
    found = read_out(TEAMS, made)
    says = [check.says for check in found.health if check.name == "clusters"]
    noted = (
        "clusters are so unequal that the 40 of control weigh in per_success as 4 of one size, and are corrected for as few are "
        "(CR3 and Student's t). A mean or a share with `per_unit: mean` has clusters weigh alike"
    )
    tallies = found.measurement.tallies["per_success"].values()
    assert [tally.totals is not None for tally in tallies] == [huge > 1] * 2
    (effect,) = found.primary
    few = NotEstimable("with so few clusters a relative change has no interval that can be trusted")
    assert (effect.relative == few) is (huge > 1)
    assert says == ([noted] if huge > 1 else [])
