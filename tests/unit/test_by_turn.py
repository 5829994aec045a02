"""Metrics of turns per conversation and per turn: an arm that drives people away is not flattered by its few turns."""

from __future__ import annotations

import random
from pathlib import Path

import polars as pl
import pytest

from equipoise import analyze
from equipoise.experiment.definition import Experiment
from equipoise.experiment.reading import load_experiment
from equipoise.stats.comparison.ratios import difference_of_ratios
from equipoise.stats.estimate import Estimate
from equipoise.stats.moments import PairMoments
from equipoise.verdict.analysis import Analysis

DEFINITION = """
name: answers
hypothesis: Shorter first answers are as good.
changes: [config]
unit: {type: UNIT}
variants: {control: {config: {x: 1}}, b: {config: {x: 2}}}
metrics:
  failed: {priority: primary, kind: proportion, of: turn.error, better: lower, per_unit: any, baseline: 0.3, mde: 0.05}
  cost: {priority: guardrail, kind: ratio, of: turn.cost_usd, per: turn.count, better: lower, margin: 50%}
  grade: {kind: mean, of: score.grade, better: higher}
source: {table: t.csv, unit: talk, variant: arm, time: at, columns: {turn.error: error, turn.cost_usd: cost, turn.count: turn, score.grade: grade}}
"""


def definition(folder: Path, *, unit: str = "conversation") -> Experiment:
    path = folder / "answers.yaml"
    path.write_text(DEFINITION.replace("UNIT", unit), encoding="utf-8")
    return load_experiment(path)


def talks(*, units: int = 1_500, seed: int = 3) -> pl.DataFrame:
    """Two, four or six turns a conversation; in b every second one ends with its first answer, which is often an error.

    A turn of b costs a fifth more.
    """
    rng = random.Random(seed)
    rows = []
    for n in range(2 * units):
        arm = ("control", "b")[n % 2]
        left = arm == "b" and rng.random() < 0.5
        rows += [
            {
                "talk": f"{arm}{n}",
                "arm": arm,
                "at": 60.0 * n + k,
                "error": rng.random() < (0.06 if arm == "control" else 0.3 if left else 0.02),
                "cost": (0.01 if arm == "control" else 0.012) * rng.uniform(0.9, 1.1),
                "turn": 1,
                "grade": rng.gauss(3.0 if arm == "control" else 2.0 if left else 3.1, 0.5),
            }
            for k in range(1 if left else rng.choice([2, 4, 6]))
        ]
    return pl.DataFrame(rows)


def both(analysis: Analysis, metric: str) -> tuple[Estimate, Estimate]:
    (found,) = [each for each in analysis.findings.by_turn if each.metric == metric]
    assert isinstance(found.per_unit.estimate, Estimate)
    assert isinstance(found.per_turn.estimate, Estimate)
    return found.per_unit.estimate, found.per_turn.estimate


def test_an_arm_that_drives_people_away_is_better_per_turn_and_worse_per_conversation(tmp_path: Path) -> None:
    """A mean of grades: b's few who stay give many good ones. Per turn b is better, per conversation it is worse."""
    rng = random.Random(5)
    rows = []
    for n in range(1_600):
        arm = ("control", "b")[n % 2]
        left = arm == "b" and rng.random() < 0.4
        turns = 1 if left else 5 if arm == "control" else 12
        rows += [
            {
                "talk": f"{arm}{n}", "arm": arm, "at": 60.0 * n + k, "error": False, "cost": 0.01, "turn": 1,
                "grade": (1.0 if left else 3.0 if arm == "control" else 3.4) + rng.gauss(0, 0.3),
            }
            for k in range(turns)
        ]  # fmt: skip
    found = analyze(definition(tmp_path), pl.DataFrame(rows), closing=True)
    per_conversation, per_turn = both(found, "grade")
    assert per_conversation.high < 0.0 < per_turn.low
    assert found.effect("grade").estimate.value == per_conversation.value
    (beside,) = [each for each in found.findings.by_turn if each.metric == "grade"]
    treated = beside.turns["b"]
    assert beside.turns["control"] == 5.0
    assert beside.says == (
        f"grade in b is worse per conversation and better per turn: a conversation of b has {treated:.3g} turns, one of "
        "control 5; how many turns there are is itself the arm's doing, so what is said per conversation counts"
    )
    for shown in (str(found), found.to_markdown(), found.to_html()):
        assert beside.says in shown.replace("&#39;", "'")
        assert f"turn (5 and {treated:.3g} a conversation)" in shown
    assert [each["metric"] for each in found.to_dict()["by_turn"]] == ["failed", "grade", "cost"]


def test_what_decides_is_per_conversation_and_what_stands_beside_is_the_ratio_of_sums(tmp_path: Path) -> None:
    """Each figure against the same computed from the rows: shares of conversations, sums over sums, means of sums."""
    table = talks()
    found = analyze(definition(tmp_path), table, closing=True)
    per = table.group_by("talk", maintain_order=True).agg(
        pl.col("arm").first(),
        pl.col("error").any().alias("failed"),
        pl.col("error").sum().alias("errors"),
        pl.len().alias("turns"),
        pl.col("cost").sum().alias("cost"),
    )
    control, b = (per.filter(pl.col("arm") == arm) for arm in ("control", "b"))
    of_units, of_turns = both(found, "failed")
    assert of_units.value == pytest.approx(b["failed"].mean() - control["failed"].mean(), rel=1e-12)
    expected = difference_of_ratios(
        *(
            PairMoments.of(side["errors"].cast(float).to_list(), side["turns"].cast(float).to_list())
            for side in (control, b)
        ),
        level=of_turns.level,
    )
    assert isinstance(expected, Estimate)
    for name in ("value", "standard_error", "low", "high"):
        assert getattr(of_turns, name) == pytest.approx(getattr(expected, name), rel=1e-9), name
    # A ratio per turn is what was declared; the dollars of a conversation stand beside it.
    a_conversation, a_turn = both(found, "cost")
    assert a_turn.value == pytest.approx(0.002, rel=0.02)
    assert a_conversation.value == pytest.approx(b["cost"].mean() - control["cost"].mean(), rel=1e-9)
    assert (a_turn.value > 0.0, a_conversation.value < 0.0) == (True, True)
    assert found.effect("cost").estimate.value == a_turn.value
    (said,) = [each.says for each in found.findings.by_turn if each.metric == "cost"]
    assert said is not None
    assert said.startswith(
        "cost in b is better per conversation and worse per turn: a conversation of b has 2.53 turns, "
    )
    assert said.endswith(
        "; with fewer turns there are fewer occasions, and an answer that ends a conversation early makes them fewer, too"
    )


def test_of_clusters_a_ratio_stands_beside_the_mean_of_their_means(tmp_path: Path) -> None:
    """How large a cluster is was so before: beside the ratio, which large ones lead, clusters weigh alike."""
    table = talks()
    found = analyze(definition(tmp_path, unit="cluster"), table, closing=True)
    per = table.group_by("talk").agg(pl.col("arm").first(), pl.col("cost").mean())
    control, b = (per.filter(pl.col("arm") == arm)["cost"] for arm in ("control", "b"))
    a_cluster, a_turn = both(found, "cost")
    assert a_cluster.value == pytest.approx(b.mean() - control.mean(), rel=1e-9)
    assert a_cluster.standard_error == pytest.approx(
        ((b.var() / len(b)) + (control.var() / len(control))) ** 0.5, rel=1e-9
    )
    assert a_turn.value == pytest.approx(0.002, rel=0.02)
    assert [each.says for each in found.findings.by_turn if each.metric == "cost"] == [None]


def test_where_each_unit_has_one_turn_there_is_one_figure(tmp_path: Path) -> None:
    """First turns alone, or requests as units: both figures would be the same, and one is shown."""
    firsts = talks(units=200).unique("talk", maintain_order=True)
    assert analyze(definition(tmp_path), firsts, closing=True).findings.by_turn == ()
    assert (
        analyze(definition(tmp_path, unit="request"), talks(units=200), closing=True).findings.by_turn == ()
    )


def test_before_a_look_is_due_only_guardrails_have_both_figures(tmp_path: Path) -> None:
    """A peek shows of other metrics neither the one nor the other."""
    peek = analyze(definition(tmp_path), talks(units=40), closing=False)
    assert not peek.findings.look.due
    assert [each.metric for each in peek.findings.by_turn] == ["cost"]
