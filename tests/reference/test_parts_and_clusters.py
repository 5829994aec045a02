"""Segments of a quantile, covariates of clusters, days of a rate, and clocks that run ahead, each against a plain twin."""

from __future__ import annotations

import random

import numpy as np
import polars as pl
import pytest

from equipoise import analyze, load_experiment
from equipoise.clock import ManualClock
from equipoise.events.facts import Exposure, Outcome
from equipoise.events.log import MemoryLog
from equipoise.measurement.measuring import measure_log, measure_table
from equipoise.stats.covariates.cuped import cuped_ratios
from equipoise.stats.cross_moments import CrossMoments

DAY = 86_400.0
START = 1_700_000_000.0
HEAD = """
name: parts
hypothesis: A part is measured as the whole is.
changes: [config]
unit: {type: user}
variants: {control: {config: {x: 1}}, b: {config: {x: 2}}}
"""


def definition(folder, rest):
    path = folder / "parts.yaml"
    path.write_text(HEAD + rest, encoding="utf-8")
    return load_experiment(path)


@pytest.mark.parametrize("clustered", [False, True])
def test_a_quantile_within_a_segment_is_that_of_the_segment_alone(tmp_path, clustered):
    """The primary's quantile by segment, and in a critical segment, is what a table of nobody else gives."""
    rng = random.Random(5)
    rows = [
        {
            "unit": f"u{number}", "variant": rng.choice(("control", "b")), "tier": rng.choice("xyz"), "team": f"t{number % 80}",
            "time": START + turn, "waited": rng.lognormvariate(0.0, 0.5),
        }
        for number in range(900)
        for turn in range(1 + number % 3)
    ]  # fmt: skip
    arm = {row["unit"]: (row["variant"], row["tier"]) for row in rows}
    rows = [row | {"variant": arm[row["unit"]][0], "tier": arm[row["unit"]][1]} for row in rows]
    text = """
segments: [tier]
metrics:
  waited: {priority: primary, kind: quantile, q: 0.9, of: outcome.waited, better: lower, baseline: 2.0, mde: 0.2, spread: 1.0}
critical_segments: [{where: tier=y, metric: waited, margin: 50%}]
"""
    experiment = definition(tmp_path, text + ("cluster: team\n" if clustered else ""))
    measured = measure_table(experiment, pl.DataFrame(rows))
    (parts,) = measured.segments
    assert set(parts.values) == {"x", "y", "z"}
    for value, tallies in parts.values.items():
        alone = measure_table(experiment, pl.DataFrame([row for row in rows if row["tier"] == value]))
        assert tallies == alone.tallies["waited"]
    assert measured.critical_segments == (parts.values["y"],)
    found = analyze(experiment, pl.DataFrame(rows), closing=True).findings
    assert {effect.segment for effect in found.segments} == {"tier=x", "tier=y", "tier=z"}
    assert [effect.held for effect in found.guards] == ["held"]


def clustered_rows(rng, teams, gain=0.0):
    """Teams of two to nine, alike in what they spent before; half of the teams' units are in each arm."""
    rows = []
    for team in range(teams):
        like = rng.normal(0.0, 2.0)
        for member in range(rng.integers(2, 10)):
            arm = "b" if rng.random() < 0.5 else "control"
            before = 10.0 + like + rng.normal()
            rows.append(
                (f"u{team}-{member}", f"t{team}", arm, before, before + rng.normal() + gain * (arm == "b"))
            )
    return rows


def by_hand(rows, arms=("control", "b")):
    """Sums per team and arm of the outcome, the units, and what lies above the covariate's mean over all; and of teams that
    are in both arms, the sums of either.
    """
    centre = np.mean([row[3] for row in rows])
    of = {arm: {} for arm in arms}
    for _, team, arm, before, spent in rows:
        sums = of[arm].setdefault(team, [0.0, 0.0, 0.0])
        sums[0] += spent
        sums[1] += 1.0
        sums[2] += before - centre
    both = [(*of[arms[0]][team], *of[arms[1]][team]) for team in of[arms[0]] if team in of[arms[1]]]
    each = [CrossMoments.of(*map(list, zip(*of[arm].values(), strict=True))) for arm in arms]
    return *each, CrossMoments.of(*map(list, zip(*both, strict=True)))


def adjusted(rows):
    control, treatment, shared = by_hand(rows)
    return cuped_ratios(control, treatment, shared=shared)


CLUSTERED = """
cluster: team
metrics:
  spent: {priority: primary, kind: mean, of: outcome.spent, better: higher, spread: 3.0, mde: 0.5, covariates: [before]}
"""


def frame(rows):
    return pl.DataFrame(rows, schema=["unit", "team", "variant", "before", "spent"], orient="row")


def test_covariates_of_clusters_are_their_sums_beyond_the_mean(tmp_path):
    """With clusters the adjusted effect is that of clusters' sums, and its gain is told; with few there is none."""
    experiment = definition(tmp_path, CLUSTERED)
    rows = clustered_rows(np.random.default_rng(1), 120)
    effect = analyze(experiment, frame(rows), closing=True).effect("spent")
    twin = adjusted(rows)
    for name in ("value", "standard_error", "low", "high"):
        assert getattr(effect.estimate, name) == pytest.approx(getattr(twin.estimate, name), rel=1e-9)
    assert effect.adjustment.gain == pytest.approx(twin.gain, rel=1e-9)
    assert effect.adjustment.gain > 0.5
    few = analyze(experiment, frame(clustered_rows(np.random.default_rng(1), 20)), closing=True).effect(
        "spent"
    )
    assert few.adjustment.gain is None
    assert few.adjustment.because == "clusters are too few to learn from them how far covariates go"


def test_the_adjusted_interval_of_clusters_covers_as_promised():
    """95 % of intervals cover the effect: 2,000 data sets of 60 teams, within 2 points (chance of an alarm < 1e-4)."""
    rng = np.random.default_rng(20)
    covered = 0
    for _ in range(2_000):
        found = adjusted(clustered_rows(rng, 60, gain=0.4)).estimate
        covered += found.low <= 0.4 <= found.high
    assert 0.93 <= covered / 2_000 <= 0.97


def test_a_rate_by_day_counts_the_first_yes(tmp_path):
    """A unit counts on the day of its first yes and on no other; the days add up to the rate."""
    experiment = definition(
        tmp_path,
        "metrics:\n  solved: {priority: primary, kind: proportion, of: outcome.solved, better: higher, per_unit: any, "
        "baseline: 0.5, mde: 0.1}\n",
    )
    rng = random.Random(3)
    rows, first = [], {}
    for number in range(300):
        unit, arm = f"u{number}", ("control", "b")[number % 2]
        for day in range(4):
            yes = rng.random() < 0.3
            rows.append({"unit": unit, "variant": arm, "time": START + day * DAY + number, "solved": yes})
            if yes:
                first.setdefault(unit, day)
    # Somebody comes in late, so that all the others have had their four days.
    rows.append({"unit": "late", "variant": "b", "time": START + 4.1 * DAY, "solved": False})
    daily = measure_table(experiment, pl.DataFrame(rows)).daily
    assert daily.days == 4
    for odd, arm in enumerate(("control", "b")):
        units = [f"u{number}" for number in range(300) if number % 2 == odd]
        shares = [sum(first.get(unit) == day for unit in units) / len(units) for day in range(4)]
        assert daily.moments[arm].means == pytest.approx(shares, rel=1e-12)


def test_a_clock_that_runs_ahead_makes_nobody_ripe(tmp_path):
    """Nobody has had the window that the log has not lived through, whatever a sender says of the time."""
    experiment = definition(
        tmp_path,
        "metrics:\n  spent: {priority: primary, kind: mean, of: outcome.spent, better: higher, spread: 1.0, mde: 0.5, "
        "per_unit: sum, window: 3d}\n",
    )
    log = MemoryLog(clock=ManualClock(START + 4 * DAY))
    log.append(
        [
            Exposure(
                experiment="parts", happened=START + number * DAY, digest=experiment.digest, unit=f"u{number}",
                unit_type="user", variant=("control", "b")[number % 2], probability=0.5, reason="split", attributes={},
            )
            for number in range(4)
        ]
        + [Outcome(experiment="parts", happened=START + 100 * DAY, unit="u3", name="spent", value=1.0)]
    )  # fmt: skip
    measured = measure_log(experiment, log)
    # A clock that is months ahead of all others does not say when the data end.
    assert measured.last == START + 3 * DAY
    assert {arm: tally.immature for arm, tally in measured.tallies["spent"].items()} == {"control": 1, "b": 2}
