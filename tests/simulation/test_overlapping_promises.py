"""What is forecast of windows that overlap is what happens: every minute drawn anew, and the rule of watches.

Seeded, with the replications stated. Counts are taken as Poisson at |z| = 4 (of a row of checks one in 16,000 would raise a false
alarm). Beside that forecasts may be a fifth off: they know windows of equal minutes, and minutes are not.
"""

from __future__ import annotations

import math
import random
from functools import cache
from itertools import pairwise

import numpy as np
import pytest
from stable import ARRIVALS, LATENCIES, WATCHED, Drawn, arrivals, decide, guarded, latencies, limits, replayed

from equipoise.design.false_alarms import words
from equipoise.events.log import Recorded
from equipoise.experiment.definition import Experiment
from equipoise.measurement.guardrails.baseline import Baseline
from equipoise.measurement.guardrails.cells import Counting
from equipoise.measurement.guardrails.learning import measure_baseline
from equipoise.measurement.guardrails.past import Past
from equipoise.stats.guardrails.overlapping import drawn_runs
from equipoise.stats.guardrails.sums import Term
from equipoise.stats.guardrails.window_values import Limit, Quotient, RateOf

WEEK = 10_080
WARM = 60
"""So many windows from the beginning, where no row can have begun before, are left out."""


@cache
def learnt() -> tuple[Experiment, Baseline, Drawn, dict[str, list[int]]]:
    """An hour of stable traffic, what is forecast from it for windows that slide by the minute, and what it was."""
    experiment = guarded([each | {"every": "1m"} for each in WATCHED])
    facts = list(replayed(experiment, random.Random(1), arrivals(), latencies("replicate")))
    records = [Recorded(place, fact.happened + 0.5, fact) for place, fact in enumerate(facts, 1)]
    cells, _ = Counting(experiment, bucketed=True).fold(records, {})
    past = Past.of(cells, None, None)
    stable = [fact for fact in facts if fact.kind == "turn" and fact.variant == "control"]
    metric = experiment.metric("error_rate")
    return (
        experiment,
        measure_baseline(experiment, past),
        Drawn([fact.latency_s for fact in stable], [fact.error for fact in stable]),
        {arm: [n for n, _ in past.counts(metric, arm, 60.0)] for arm in ("control", "treatment")},
    )


@pytest.mark.skipif(
    not (ARRIVALS.is_file() and LATENCIES.is_file()),
    reason="the traffic and the latencies are not beside the repository (../shared/data)",
)
@pytest.mark.parametrize("rows", [30, pytest.param(600, marks=pytest.mark.long)])
def test_stable_minutes_have_as_many_false_alarms_and_actions_as_forecast(rows):
    """Seven watches that slide by the minute, in each arm: rows of 1,440 windows of five minutes, every turn drawn anew.

    Six hundred rows are 86 weeks. The hour's minutes in their order; both sides.
    """
    experiment, found, pool, minutes = learnt()
    rng, windows = np.random.default_rng(3), 1_440 + WARM
    values = {}
    for arm, counts in minutes.items():
        drawn = [pool.draw(rng, rows, counts[minute % len(counts)]) for minute in range(windows + 4)]
        for metric in ("latency_p95", "error_rate", "cost_per_response"):
            values[metric, arm] = np.stack(
                [
                    pool.values(metric, np.concatenate(drawn[first : first + 5], axis=1))
                    for first in range(windows)
                ],
                axis=1,
            )
    weeks = rows * 1_440 / WEEK
    for watch, forecast in zip(experiment.watches, found.watches, strict=True):
        baseline = experiment.metric(watch.metric).baseline
        beside = limits(watch, values[watch.metric, "control"], baseline)
        for arm, expected in forecast.expected.items():
            alarms, actions = decide(values[watch.metric, arm] > beside, watch.persist)
            for what, seen, rate in (
                ("alarms", int(alarms[:, WARM:].sum()), expected.alarms),
                ("actions", int(actions[:, WARM:].sum()), expected.actions),
            ):
                told = weeks * rate
                print(f"{words(watch)} {arm} {what} a week: forecast {rate:.4g}, seen {seen / weeks:.4g}")
                assert abs(seen - told) <= 4.0 * math.sqrt(told) + 0.2 * told + 1.0, (watch, arm, what)


def runs_of(breached: np.ndarray, run: int) -> tuple[float, float]:
    """The shares of windows that begin so many breached ones, after a clear one, and at all."""
    last = len(breached) - run
    row = np.logical_and.reduce([breached[1 + after : 1 + after + last] for after in range(run)])
    return float((row & ~breached[:last]).mean()), float(row.mean())


@pytest.mark.parametrize(
    ("turns", "rate", "limit", "blocks", "run"),
    [
        (1_000, 0.01, 0.018, 5, 2),
        (1_000, 0.001, 0.0035, 5, 6),
        (1_000, 0.001, 0.0035, 12, 3),
        (203, 0.05, 0.09, 4, 1),
    ],
)
def test_runs_of_rates_are_those_of_two_million_windows(turns, rate, limit, blocks, run):
    """Common and rare, short and longer than a window: within a tenth, beside what two million windows leave to chance."""
    rng, number = np.random.default_rng(5), 2_000_000
    sizes = np.resize([turns // blocks + (place < turns % blocks) for place in range(blocks)], number)
    failed = np.concatenate([[0], np.cumsum(rng.binomial(sizes, rate))])
    begins, lasts = runs_of((failed[blocks:] - failed[:-blocks]) / turns > limit, run)
    found = drawn_runs(
        RateOf(turns, rate), None, limit, above=True, blocks=blocks, run=run, rng=np.random.default_rng(1), draws=40_000
    )  # fmt: skip
    # Windows that share readings are as good as fewer: so many as do not.
    for told, seen in ((found.begins, begins), (found.lasts, lasts)):
        assert told == pytest.approx(seen, abs=0.1 * seen + 4.0 * math.sqrt(seen * blocks / number))


def test_runs_of_means_below_a_lower_limit_are_those_of_windows_that_are_drawn():
    """Skewed readings, and a limit beside control: 200,000 windows."""
    rng, number, turns, blocks = np.random.default_rng(6), 200_000, 200, 4
    values, weights = np.array([0.5, 1.0, 2.0, 8.0]), np.array([0.3, 0.4, 0.2, 0.1])
    means = []
    for _ in range(2):
        counts = rng.multinomial(turns // blocks, weights, size=number + blocks)
        sums = np.concatenate([[0.0], np.cumsum(counts @ values)])
        means.append((sums[blocks:] - sums[:-blocks]) / turns)
    window = Quotient(Term(values, weights, turns), float(turns))
    for run in (1, 3):
        begins, lasts = runs_of(means[0] < 0.75 * means[1], run)
        found = drawn_runs(
            window, window, Limit(share=-0.25), above=False, blocks=blocks, run=run, rng=np.random.default_rng(1), draws=20_000
        )  # fmt: skip
        for told, seen in ((found.begins, begins), (found.lasts, lasts)):
            assert told == pytest.approx(seen, abs=0.1 * seen + 4.0 * math.sqrt(seen * blocks / number))


def test_a_wider_limit_is_never_louder():
    """What is looked for by halves has to be in order, though what follows a breach is drawn."""
    window = RateOf(500, 0.02)
    found = [
        drawn_runs(window, None, limit, above=True, blocks=5, run=2, rng=np.random.default_rng(2)).begins
        for limit in (0.03, 0.036, 0.042, 0.048, 0.054, 0.06)
    ]
    assert all(wide < near for near, wide in pairwise(found))
