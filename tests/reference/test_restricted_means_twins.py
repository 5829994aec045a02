"""Mean times to an event beside statsmodels' curve, a slow jackknife, and a plain reading of rows and logs."""

from __future__ import annotations

import csv
import math
import random
from collections import defaultdict
from collections.abc import Collection
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from statsmodels.duration.survfunc import SurvfuncRight  # type: ignore[import-untyped]

from equipoise.events.facts import Exposure, Outcome
from equipoise.events.log import MemoryLog
from equipoise.experiment.definition import Experiment
from equipoise.experiment.reading import load_experiment
from equipoise.measurement.measuring import measure_log, measure_table
from equipoise.measurement.tally import Tally
from equipoise.stats.comparison.restricted_means import RestrictedMean, restricted_mean_of
from equipoise.stats.estimate import NotEstimable

HOUR = 3600.0
WINDOW = 6 * HOUR
START = 1_700_000_000.0
SEEDS = range(4)
ARMS = ("control", "a", "b")


def sample(seed: int, size: int, *, ties: bool) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    times, seen = rng.weibull(0.8, size), rng.uniform(0.0, 2.5, size)
    if ties:
        times, seen = np.ceil(times * 8) / 8, np.ceil(seen * 8) / 8
    return np.minimum(times, seen), times <= seen


def restricted(times: np.ndarray, events: np.ndarray, horizon: float, **more: Any) -> RestrictedMean:
    found = restricted_mean_of(times, events, horizon=horizon, **more)
    assert isinstance(found, RestrictedMean)
    return found


@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("seed", SEEDS)
def test_the_area_and_its_variance_are_those_of_statsmodels_curve(seed: int, ties: bool) -> None:
    """Value and Greenwood's variance, from the curve of another package; with the number at risk, at every time."""
    times, events = sample(seed, 200, ties=ties)
    horizon = 1.5
    curve = SurvfuncRight(times, events.astype(int))
    variance = 0.0
    edges = [0.0, *curve.surv_times, math.inf]
    heights = [1.0, *curve.surv_prob]

    def area(since: float) -> float:
        return math.fsum(
            height * max(0.0, min(high, horizon) - max(low, since))
            for height, low, high in zip(heights, edges[:-1], edges[1:], strict=True)
        )

    mean = area(0.0)
    for time, n, d in zip(curve.surv_times, curve.n_risk, curve.n_events, strict=True):
        if time < horizon and n > d:
            variance += area(time) ** 2 * d / (n * (n - d))
    found = restricted(times, events, horizon)
    assert found.value == pytest.approx(mean, rel=1e-12)
    assert found.standard_error**2 * 199 / 200 == pytest.approx(variance, rel=1e-10)


def test_the_clustered_variance_is_near_the_jackknife_that_leaves_clusters_out() -> None:
    """60 clusters of ten alike units: leaving each out in turn gives the same error to three per cent."""
    rng = np.random.default_rng(7)
    clusters = np.repeat(np.arange(60), 10)
    times = rng.exponential(np.exp(0.7 * rng.normal(size=60))[clusters])
    seen = rng.uniform(0.5, 3.0, 600)
    events, times = times <= seen, np.minimum(times, seen)
    found = restricted(times, events, 2.0, clusters=clusters)
    left = [
        restricted(
            times[clusters != each], events[clusters != each], 2.0, clusters=clusters[clusters != each]
        ).value
        for each in range(60)
    ]
    jackknife = math.sqrt(59 / 60 * sum((value - sum(left) / 60) ** 2 for value in left))
    assert found.standard_error == pytest.approx(jackknife, rel=0.03)
    assert found.standard_error > 1.3 * restricted(times, events, 2.0).standard_error


DEFINITION = """
name: waits
hypothesis: What is counted by the engine is what a plain reading counts.
changes: [config]
unit: {{type: user}}
{cluster}
variants: {{control: {{config: {{x: 1}}}}, a: {{config: {{x: 2}}}}, b: {{config: {{x: 3}}}}}}
segments: [tier]
critical_segments: [{{where: tier=gold, metric: wait, margin: 600}}]
metrics:
  wait: {{priority: primary, kind: time_to_event, of: outcome.done, better: lower, window: 6h, spread: 7000, mde: 900}}
  soon: {{priority: guardrail, kind: time_to_event, of: outcome.done, better: lower, window: 1h, margin: 300}}
  done: {{kind: proportion, of: outcome.done, better: higher, window: 6h}}
  share: {{kind: proportion, of: outcome.done, better: higher}}
plan: {{burn_in: 1h}}
source: {{table: rows.csv, unit: unit, variant: variant, time: time, columns: {{outcome.done: done, tier: tier, team: team}}}}
"""


def definition(folder: Path, *, clustered: bool = False) -> Experiment:
    path = folder / "waits.yaml"
    path.write_text(DEFINITION.format(cluster="cluster: team" if clustered else ""), encoding="utf-8")
    return load_experiment(path)


def rows(seed: int, units: int = 700) -> list[dict[str, Any]]:
    """An entry for each unit over two days, to the minute; then noes and at most two yeses; some in two variants."""
    rng = random.Random(seed)
    end = START + 48 * HOUR
    made: list[dict[str, Any]] = []
    for number in range(units):
        at = START + 60.0 * rng.randrange(48 * 60)
        of = {
            "unit": f"u{number:04}",
            "team": f"t{number % 97}",
            "tier": ("gold", "plain", None)[number % 3],
        }
        arm = rng.choice(ARMS)
        later = [(at + 60.0 * rng.randrange(1, 200), 0.0)]
        later += [(at + 60.0 * rng.randrange(1, 600), 1.0) for _ in range(rng.choice((0, 1, 1, 2)))]
        made.append({**of, "variant": arm, "time": at, "done": None})
        made += [
            {**of, "variant": rng.choice(ARMS) if rng.random() < 0.02 else arm, "time": time, "done": value}
            for time, value in later
            if time <= end
        ]
    return made


def twin(
    made: list[dict[str, Any]],
    window: float,
    arm: str,
    *,
    clustered: bool,
    tier: str | None = None,
    without: Collection[str] = (),
) -> tuple[int, int, RestrictedMean | NotEstimable]:
    """Units, censored, and the restricted mean of one arm, unit by unit."""
    of_unit = defaultdict(list)
    for row in made:
        of_unit[row["unit"]].append(row)
    last = max(row["time"] for row in made)
    start = min(row["time"] for row in made)
    times, events, teams = [], [], []
    for unit, own in of_unit.items():
        if unit in without:
            continue
        entry = min(own, key=lambda row: row["time"])
        if entry["variant"] != arm or entry["time"] < start + HOUR or (tier and entry["tier"] != tier):
            continue
        came = min((row["time"] for row in own if row["done"] == 1.0), default=math.inf)
        event = came - entry["time"] < window
        times.append(came - entry["time"] if event else min(last - entry["time"], window))
        events.append(event)
        teams.append(int(entry["team"][1:]))
    cut = sum(not event and time < window for time, event in zip(times, events, strict=True))
    summary = restricted_mean_of(times, events, horizon=window, clusters=teams if clustered else None)
    return len(times), cut, summary


def agree(found: Tally, expected: tuple[int, int, RestrictedMean | NotEstimable]) -> None:
    units, cut, summary = expected
    assert (found.units, found.censored, found.missing, found.immature) == (units, cut, 0, 0)
    assert isinstance(found.restricted, RestrictedMean)
    assert isinstance(summary, RestrictedMean)
    assert (found.restricted.blocks, found.restricted.events) == (summary.blocks, summary.events)
    assert found.restricted.value == pytest.approx(summary.value, rel=1e-11)
    assert found.restricted.standard_error == pytest.approx(summary.standard_error, rel=1e-9)


@pytest.mark.parametrize("clustered", [False, True], ids=["units", "clusters"])
@pytest.mark.parametrize("seed", SEEDS)
def test_the_engine_counts_times_as_a_plain_reading_does(tmp_path: Path, seed: int, clustered: bool) -> None:
    """Two windows, ties, burn-in, units in two variants, segments, a critical segment: the table equals the twin."""
    experiment, made = definition(tmp_path, clustered=clustered), rows(seed)
    with (tmp_path / "rows.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(made[0]))
        writer.writeheader()
        writer.writerows(made)
    measured = measure_table(experiment)
    assert measured.crossed > 0
    for arm in ARMS:
        for name, window in (("wait", WINDOW), ("soon", HOUR)):
            agree(measured.tallies[name][arm], twin(made, window, arm, clustered=clustered))
        gold = twin(made, WINDOW, arm, clustered=clustered, tier="gold")
        agree(measured.critical_segments[0][arm], gold)
        agree(measured.segments[0].values["gold"][arm], gold)
    # The primary with units seen in two variants left out.
    several = defaultdict(set)
    for row in made:
        several[row["unit"]].add(row["variant"])
    crossed = {unit for unit, variants in several.items() if len(variants) > 1}
    for arm in ARMS:
        agree(measured.otherwise[arm], twin(made, WINDOW, arm, clustered=clustered, without=crossed))


@pytest.mark.parametrize("seed", SEEDS)
def test_a_log_tells_the_same_times_as_a_table(tmp_path: Path, seed: int) -> None:
    """Exposures and outcomes give the very digits of the same facts in a table, shuffled or told twice."""
    experiment = definition(tmp_path)
    made = rows(seed)
    random.Random(seed).shuffle(made)
    log = MemoryLog()
    for row in made:
        log.append(
            [
                Exposure(
                    experiment="waits", digest=experiment.digest, happened=row["time"], unit=row["unit"], unit_type="user",
                    variant=row["variant"], probability=1 / 3, reason="split",
                    attributes={key: row[key] for key in ("team", "tier") if row[key] is not None},
                ),
                *([] if row["done"] is None else [
                    Outcome(experiment="waits", happened=row["time"], unit=row["unit"], name="done", value=row["done"] == 1.0)
                ]),
            ]
        )  # fmt: skip
    told = measure_log(experiment, log)
    table = measure_table(experiment, pl.DataFrame(made + made[:100], infer_schema_length=None))
    same = {"source": "", "rows": 0, "read": None}
    assert replace(told, **same) == replace(table, **same)  # type: ignore[arg-type]
    for arm in ARMS:
        agree(told.tallies["wait"][arm], twin(made, WINDOW, arm, clustered=False))
