"""What was declared before launch, counted by the engine and by a slow, plain twin: who counts, and for how much."""

from __future__ import annotations

import csv
import gzip
import json
import math
import random
import statistics
from collections import defaultdict
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from equipoise import analyze
from equipoise.events.facts import Exposure, Outcome
from equipoise.events.log import MemoryLog
from equipoise.experiment.definition import Experiment
from equipoise.experiment.reading import load_experiment
from equipoise.measurement.measuring import measure_log, measure_table
from equipoise.stats.comparison.clusters import clustered_difference
from equipoise.stats.comparison.means import difference_of_means
from equipoise.stats.covariates.cuped import cuped_means
from equipoise.stats.cross_moments import CrossMoments, known_or_missing
from equipoise.stats.moments import Moments

ROOT = Path(__file__).resolve().parents[2]
SHARED = ROOT.parent / "shared" / "data"
MAIL = SHARED / "ab_charity_mail"
AIRLINE = SHARED / "agent_airline_runs"
DAY = 86_400.0
START = 1_700_000_000.0
SEEDS = range(4)

DEFINITION = """
name: declared
hypothesis: What was declared is what is counted.
changes: [config]
unit: {{type: user}}
variants: {{control: {{config: {{x: 1}}}}, b: {{config: {{x: 2}}}}}}
segments: [tier]
metrics:
  spent: {{priority: primary, kind: mean, of: outcome.spent, better: higher, per_unit: sum, spread: 5.0, mde: 1.0, window: 3d, winsorise: 0.9, covariates: [before]}}
  whole: {{kind: count, of: outcome.spent, better: higher}}
  middle: {{kind: quantile, q: 0.5, of: outcome.spent, better: higher, window: 2d}}
plan: {plan}
"""


def definition(folder: Path, plan: str) -> Experiment:
    path = folder / "declared.yaml"
    path.write_text(DEFINITION.format(plan=plan), encoding="utf-8")
    return load_experiment(path)


def record(experiment: Experiment, seed: int) -> tuple[MemoryLog, list[tuple], list[tuple]]:
    """A log of 400 units over twenty days; exposures (unit, at, arm, before) and outcomes (unit, at, value)."""
    rng = random.Random(seed)
    exposures, outcomes = [], []
    for number in range(400):
        at = START + rng.randrange(int(20 * DAY))
        arm = rng.choice(("control", "b"))
        before = None if rng.random() < 0.2 else rng.randrange(80) / 8
        exposures.append((f"u{number:03}", at, arm, before))
        if rng.random() < 0.03:
            exposures.append(
                (f"u{number:03}", at + 0.3 * DAY, "b" if arm == "control" else "control", before)
            )
        outcomes += [
            (f"u{number:03}", at + rng.randrange(int(6 * DAY)), rng.randrange(800) / 8 + (before or 0))
            for _ in range(rng.randrange(5))
        ]
    # Nothing happens after the twentieth day: younger units have not had their whole window.
    outcomes = [row for row in outcomes if row[1] < START + 20 * DAY]
    log = MemoryLog()
    log.append(
        [
            Exposure(
                experiment="declared", happened=at, digest=experiment.digest, unit=unit, unit_type="user", variant=arm,
                probability=0.5, reason="split", attributes={"tier": unit[-1]} | ({} if before is None else {"before": before}),
            )
            for unit, at, arm, before in exposures
        ]
        + [Outcome(experiment="declared", happened=at, unit=unit, name="spent", value=value) for unit, at, value in outcomes]
    )  # fmt: skip
    return log, exposures, outcomes


PLANS = {
    "nothing declared": ("{}", 0.0, False, "first_seen"),
    "a burn-in": ("{burn_in: 2d}", 2 * DAY, False, "first_seen"),
    "whole cycles": ("{burn_in: 1d, whole_cycles: true}", DAY, True, "first_seen"),
    "crossed excluded": ("{crossed: exclude, burn_in: 36h}", 1.5 * DAY, False, "exclude"),
}


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("plan", PLANS.values(), ids=PLANS)
def test_the_engine_counts_what_the_twin_counts(tmp_path, plan, seed):
    """Units, maturity, windows, caps and covariates agree with a loop over the raw facts, to 1e-9."""
    written, burn_in, whole, crossed = plan
    experiment = definition(tmp_path, written)
    log, exposures, outcomes = record(experiment, seed)
    measured = measure_log(experiment, log)

    since, arms, known = {}, defaultdict(list), {}
    for unit, at, arm, before in sorted(exposures, key=lambda row: row[1]):
        since.setdefault(unit, at)
        arms[unit].append(arm)
        known[unit] = before
    last = max(at for _, at, *_ in (*exposures, *outcomes))
    begin = min(since.values()) + burn_in
    cycles = math.floor((last - begin) / (7 * DAY))
    end = begin + cycles * 7 * DAY if whole else math.inf
    enrolled = [unit for unit in sorted(since) if begin <= since[unit] < end]
    counted = [unit for unit in enrolled if crossed == "first_seen" or len(set(arms[unit])) == 1]
    assert measured.enrolment.burn_in == sum(at < begin for at in since.values())
    assert measured.enrolment.unfinished == sum(at >= end for at in since.values())
    assert measured.enrolment.whole_cycles == (cycles if whole else None)
    assert measured.units == {arm: sum(arms[unit][0] == arm for unit in counted) for arm in ("control", "b")}

    def sums(among, window):
        """The sum of each unit that has had its window and has a value in it."""
        found = defaultdict(list)
        for unit, at, value in outcomes:
            if unit in among and at >= since[unit] and at < since[unit] + window:
                found[unit].append(value)
        return {unit: math.fsum(values) for unit, values in found.items()}

    ripe = {unit for unit in counted if since[unit] + 3 * DAY <= last}
    spent = sums(ripe, 3 * DAY)
    ordered = sorted(spent.values())
    cap = ordered[math.ceil(0.9 * len(ordered)) - 1]
    assert (measured.caps["spent"].value, measured.caps["spent"].units) == (
        cap,
        sum(value > cap for value in ordered),
    )
    cross = {}
    for arm in ("control", "b"):
        own = [unit for unit in counted if arms[unit][0] == arm]
        tally = measured.tallies["spent"][arm]
        values = [min(spent[unit], cap) for unit in own if unit in spent]
        assert (tally.units, tally.missing, tally.immature) == (
            len(values),
            sum(unit in ripe and unit not in spent for unit in own),
            sum(unit not in ripe for unit in own),
        )
        assert (tally.moments.n, tally.moments.mean, tally.moments.m2) == pytest.approx(
            (len(values), Moments.of(values).mean, Moments.of(values).m2), rel=1e-9
        )
        before = [math.nan if known[unit] is None else known[unit] for unit in own if unit in spent]
        cross[arm] = CrossMoments.of(values, *known_or_missing(before))
        everything = sums(set(own), math.inf)
        total = measured.tallies["whole"][arm]
        assert (total.units, total.missing, total.immature) == (
            len(everything),
            len(own) - len(everything),
            0,
        )
        mature = {unit for unit in own if since[unit] + 2 * DAY <= last}
        readings = [value for unit, at, value in outcomes if unit in mature and at < since[unit] + 2 * DAY]
        middle = measured.tallies["middle"][arm]
        assert middle.quantile.value == sorted(readings)[math.ceil(0.5 * len(readings)) - 1]
        assert middle.immature == len(own) - len(mature)
    ours = cuped_means(*(measured.tallies["spent"][arm].covariates for arm in ("control", "b")))
    theirs = cuped_means(cross["control"], cross["b"])
    assert (ours.estimate.value, ours.estimate.standard_error, ours.gain) == pytest.approx(
        (theirs.estimate.value, theirs.estimate.standard_error, theirs.gain), rel=1e-9
    )

    others = [u for u in enrolled if (len(set(arms[u])) == 1 if crossed == "first_seen" else True)]
    for arm in ("control", "b"):
        tally = measured.otherwise[arm]
        assert tally.units + tally.missing + tally.immature == sum(arms[unit][0] == arm for unit in others)
    (tiers,) = measured.segments
    assert {value: sum(t.units + t.missing + t.immature for t in by.values()) for value, by in tiers.values.items()} == {
        digit: sum(unit[-1] == digit for unit in counted) for digit in "0123456789"
    }  # fmt: skip


def test_a_window_without_a_time_is_refused(tmp_path):
    """What lies within a window nobody can tell without a time, and the message says what to name."""
    from equipoise.errors import DataError

    frame = pl.DataFrame({"unit": ["a"], "variant": ["b"], "spent": [1.0], "before": [1.0], "tier": ["x"]})
    with pytest.raises(DataError) as caught:
        measure_table(definition(tmp_path, "{}"), frame)
    assert str(caught.value) == (
        "spent has a window, and no time tells what lies within it; name the time column as `source.time`"
    )


def test_an_outlier_far_out_moves_nothing_once_winsorised(tmp_path):
    """Ten times the largest gift or a million times: the winsorised mean is the same, and the cap is told."""
    rows = [
        {"unit": str(n), "variant": ("control", "b")[n % 2], "time": START + n, "spent": float(n), "before": 1.0, "tier": "x"}
        for n in range(200)
    ] + [{"unit": "late", "variant": "b", "time": START + 9 * DAY, "spent": 1.0, "before": 1.0, "tier": "x"}]  # fmt: skip
    found = []
    for factor in (10.0, 1e6):
        far = [*rows[:199], rows[199] | {"spent": 199.0 * factor}, rows[200]]
        analysis = analyze(definition(tmp_path, "{}"), pl.DataFrame(far), closing=True)
        found.append(analysis.effect("spent").estimate)
        checks = {check.name: check.says for check in analysis.findings.health}
        assert checks["winsorised spent"] == (
            "as declared, values above 179 (the 0.9 quantile of all arms together) count as that: 20 units"
        )
        assert checks["window of spent"] == (
            "200 units had the whole window of 3 days; 1 unit not yet, which does not count for it"
        )
        assert analysis.effect("spent").immature == {"control": 0, "b": 1}
        # A covariate that is the same for everybody says nothing, and the report says that.
        assert analysis.effect("spent").adjustment.gain == pytest.approx(0.0, abs=1e-6)
    assert found[0] == found[1]


# --- real data ---


@pytest.mark.skipif(not MAIL.is_dir(), reason="the mail test is not beside the repository")
def test_gift_history_hardly_sharpens_the_mail_test_and_the_report_says_so(tmp_path):
    """The highest earlier gift correlates .06 with the gift: CUPED takes less than 1 % of the variance away."""
    text = (ROOT / "examples" / "real" / "charity_mail.yaml").read_text(encoding="utf-8")
    for old, new in (
        ("../../../shared/data/ab_charity_mail", str(MAIL)),
        ("spread: 8.2}", "spread: 8.2, covariates: [pre_highest_gift_usd]}"),
    ):
        assert old in text
        text = text.replace(old, new)
    path = tmp_path / "mail.yaml"
    path.write_text(text, encoding="utf-8")
    analysis = analyze(path)
    effect = analysis.effect("amount")

    with gzip.open(MAIL / "donors.csv.gz", "rt", encoding="utf-8", newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["amount_usd"] != ""]
    y = np.array([float(row["amount_usd"]) for row in rows])
    x = np.array([float(row["pre_highest_gift_usd"] or "nan") for row in rows])
    treated = np.array([row["arm"] == "match" for row in rows])
    assert not np.isnan(x).any()
    # The regression of the gift on arm and history, each centred: its coefficient is the adjusted effect.
    design = np.column_stack([np.ones(len(y)), treated, x - x.mean()])
    residual = y - design @ np.linalg.lstsq(design, y, rcond=None)[0]
    plain = difference_of_means(Moments.of(y[~treated]), Moments.of(y[treated]))
    correlation = statistics.correlation(x.tolist(), y.tolist())
    assert round(correlation, 2) == 0.06
    assert effect.adjustment.plain.value == pytest.approx(plain.value, rel=1e-9)
    assert effect.adjustment.gain == pytest.approx(correlation**2, abs=0.002)
    assert effect.estimate.standard_error == pytest.approx(
        plain.standard_error * math.sqrt(residual.var() / y.var()), rel=1e-3
    )
    assert f"which took {effect.adjustment.gain:.1%} of the variance away; unadjusted it is" in str(analysis)
    for shown in (analysis.to_html(), analysis.to_markdown().replace("\\", "")):
        assert "amount in match is adjusted by pre_highest_gift_usd" in shown
    told = json.loads(analysis.to_json())["effects"][1]["adjustment"]
    assert (told["covariates"], told["gain"]) == (["pre_highest_gift_usd"], effect.adjustment.gain)


@pytest.mark.skipif(not AIRLINE.is_dir(), reason="the airline runs are not beside the repository")
def test_four_trials_of_a_task_are_not_four_tasks(tmp_path):
    """Tasks in two arms, four trials each: the clustered interval is the wider one, by CR2 and Student's t."""
    with gzip.open(AIRLINE / "conversations.jsonl.gz", "rt", encoding="utf-8") as file:
        rows = [json.loads(line) for line in file]
    # Half the tasks play the treatment; nothing differs but chance and the tasks.
    frame = pl.DataFrame(
        [
            {
                "unit": f"{row['task_id']}/{row['trial']}",
                "task": str(row["task_id"]),
                "variant": ("control", "b")[row["task_id"] % 2],
                "resolved": row["reward"],
            }
            for row in rows
        ]
    )
    text = """
name: airline
hypothesis: Trials of one task are alike.
changes: [config]
unit: {type: conversation}
CLUSTER
variants: {control: {config: {x: 1}}, b: {config: {x: 2}}}
metrics: {resolved: {priority: primary, kind: proportion, of: outcome.resolved, better: higher, baseline: 0.5, mde: 0.2}}
source: {table: none.csv, unit: unit, variant: variant, columns: {outcome.resolved: resolved}}
"""
    found = {}
    for name, cluster in (("naive", ""), ("clustered", "cluster: task")):
        path = tmp_path / f"{name}.yaml"
        path.write_text(text.replace("CLUSTER", cluster), encoding="utf-8")
        found[name] = analyze(path, frame)
    naive, clustered = (found[name].effect("resolved").estimate for name in ("naive", "clustered"))
    assert naive.value == pytest.approx(clustered.value, rel=1e-12)
    assert clustered.high - clustered.low > 1.3 * (naive.high - naive.low)
    sums, sizes = defaultdict(lambda: [0.0, 0.0]), defaultdict(lambda: [0, 0])
    for row in rows:
        sums[row["task_id"]][row["task_id"] % 2] += row["reward"]
        sizes[row["task_id"]][row["task_id"] % 2] += 1
    tasks = sorted(sums)
    by_hand = clustered_difference(
        *([part[task][arm] for task in tasks] for arm in (0, 1) for part in (sums, sizes))
    )
    assert clustered.degrees_of_freedom == pytest.approx(by_hand.degrees_of_freedom, rel=1e-9)
    assert clustered.standard_error == pytest.approx(by_hand.standard_error, rel=1e-9)
    assert clustered.degrees_of_freedom < 25
    checks = {check.name: check.says for check in found["clustered"].findings.health}
    assert checks["clusters"] == (
        "an arm has only 12 clusters; with fewer than 30 the intervals are corrected for it (CR2 and Student's t), "
        "and wide"
    )
    # Names of clusters do not travel.
    assert "task" not in repr(
        replace(measure_table(load_experiment(tmp_path / "clustered.yaml"), frame), source="")
    )
