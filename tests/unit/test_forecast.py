"""What a forecast knows of windows: that they vary more than their readings, and where a limit has to be looked for."""

from __future__ import annotations

import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parents[1]))
from stable import START, guarded

from equipoise.events.windows import CellKey
from equipoise.experiment.definition import Experiment
from equipoise.measurement.guardrails.baseline import WatchBaseline
from equipoise.measurement.guardrails.buckets import bucket, middle, quantile, scaled
from equipoise.measurement.guardrails.cells import ONE, Cell
from equipoise.measurement.guardrails.learning import measure_baseline
from equipoise.measurement.guardrails.past import Past
from equipoise.rollout.streaks import Streak, judge, lengthen

WINDOWS, TURNS = 600, 300
NUMBER = {"metric": "error_rate", "max": 0.1, "window": "5m", "for": 2, "then": "rollback"}
BESIDE = {"metric": "error_rate", "max": "control+4pp", "window": "5m", "for": 2, "then": "rollback"}


def errors(rates: np.ndarray, rng: np.random.Generator) -> dict[CellKey, Cell]:
    """A window of 300 turns an arm for each pair of rates, all in its first minute."""
    cells = {}
    for window, pair in enumerate(np.clip(rates, 0.001, 0.9)):
        for arm, rate in zip(("control", "treatment"), pair.tolist(), strict=True):
            failed = int(rng.binomial(TURNS, rate))
            minute = START // 60 + 5 * window
            cells[CellKey(minute, arm, "turn")] = Cell(TURNS, TURNS * ONE, 0, {})
            cells[CellKey(minute, arm, "turn.error")] = Cell(
                TURNS, failed * ONE, 0, Counter({0: TURNS - failed, bucket(1.0): failed})
            )
    # The last window is whole, too.
    cells[CellKey(START // 60 + 5 * WINDOWS - 1, "control", "turn")] = Cell(0, 0, 0, {})
    return cells


def forecast(experiment: Experiment, rates: np.ndarray, seed: int) -> WatchBaseline:
    past = Past.of(errors(rates, np.random.default_rng(seed)), None, None)
    (watch,) = measure_baseline(experiment, past).watches
    return watch


def test_an_hour_that_is_worse_for_both_arms_makes_a_number_loud_and_spares_control():
    """Rates that move together, slowly: about as many actions as new weeks of such rates have, and none beside control."""
    rng = np.random.default_rng(2)
    level = np.empty(WINDOWS)
    last = 0.0
    for window, noise in enumerate(rng.normal(size=WINDOWS)):
        last = 0.8 * last + 0.6 * noise
        level[window] = 0.06 + 0.015 * last
    together = np.stack([level, level], axis=1)
    number = forecast(guarded([NUMBER]), together, 3)
    steady = forecast(guarded([NUMBER]), np.full((WINDOWS, 2), 0.06), 3)
    assert steady.actions < 0.1 * number.actions
    # The rule over 40 times as many windows of the same kind, both arms.
    experiment = guarded([NUMBER])
    watch, seen, last = experiment.watches[0], 0, 0.0
    streaks = {"control": Streak(), "treatment": Streak()}
    for window in range(40 * WINDOWS):
        last = 0.8 * last + 0.6 * float(rng.normal())
        for arm in ("control", "treatment"):
            value = float(rng.binomial(TURNS, min(max(0.06 + 0.015 * last, 0.001), 0.9))) / TURNS
            streaks[arm], breach = lengthen(
                streaks[arm], watch, judge(watch, value, control=value), 300 * (window + 1)
            )
            seen += breach is not None and breach.sustained
    assert number.actions == pytest.approx(seen / (40 * WINDOWS) * 2016, rel=0.35)
    beside, calm = (forecast(guarded([BESIDE]), each, 3) for each in (together, np.full((WINDOWS, 2), 0.06)))
    assert beside.actions == pytest.approx(calm.actions, rel=0.5)


def test_arms_that_drift_apart_make_a_limit_beside_control_loud():
    """Rates that move in one arm alone: the differences say so, and the forecast is that of wider windows."""
    rng = np.random.default_rng(4)
    apart = np.stack([np.full(WINDOWS, 0.06), rng.normal(0.06, 0.02, WINDOWS)], axis=1)
    loud = forecast(guarded([BESIDE]), apart, 5)
    calm = forecast(guarded([BESIDE]), np.full((WINDOWS, 2), 0.06), 5)
    assert loud.actions > 3.0 * calm.actions
    # Two in a row of the share of windows that really are beyond: 0.02 of the rate and 0.0194 of the counts.
    truth = float(np.mean(rng.normal(0.0, np.hypot(0.02, 0.0194), 400_000) > 0.04))
    assert loud.breached == pytest.approx(truth, rel=0.25)


def test_a_baseline_that_is_not_the_rate_any_more_is_not_taken_for_a_quiet_limit():
    """Where the limit is passed in every window no streak begins; what is proposed lies beyond the rate all the same."""
    watch = {"metric": "error_rate", "max": "baseline+20%", "window": "5m", "for": 2, "then": "rollback"}
    found = forecast(guarded([watch]), np.full((WINDOWS, 2), 0.06), 3)
    assert found.breached > 0.999
    assert found.actions < 1.0
    # The declared baseline is 0.01: the limit is more than 0.06, and so far that few windows pass it.
    assert 0.01 * (1.0 + found.proposal.watch.max.amount.value) > 0.08
    assert found.proposal.actions <= 0.1


def test_windows_that_overlap_are_judged_more_often_and_act_less_often_than_that():
    """Five times as many windows, of which most are like the one before: more actions than without, and not five times as many."""
    tumbling = forecast(guarded([NUMBER]), np.full((WINDOWS, 2), 0.06), 3)
    sliding = forecast(guarded([NUMBER | {"every": "1m"}]), np.full((WINDOWS, 2), 0.06), 3)
    assert "window: 5m, every: 1m, for: 2" in sliding.says
    assert sliding.breached == pytest.approx(tumbling.breached, rel=0.05)
    # By chance alone two windows in a row are breached seldom; two that share four fifths, in a third of all cases.
    assert sliding.actions > 5.0 * tumbling.actions
    assert tumbling.alarms < sliding.alarms < 3.5 * tumbling.alarms
    assert sliding.actions < sliding.alarms
    assert sliding.proposal.actions <= 0.1
    assert sliding.proposal.watch.every == 60.0
    assert sliding.proposal.watch.max.amount.value > tumbling.proposal.watch.max.amount.value


def test_a_lower_limit_is_looked_for_downward():
    """A `min` is proposed below what is usual, and forecast to notice what becomes less."""
    watch = {"metric": "error_rate", "min": 0.055, "window": "5m", "for": 2, "then": "review"}
    found = forecast(guarded([watch]), np.full((WINDOWS, 2), 0.06), 3)
    assert found.actions > 100.0
    limit = found.proposal.watch.min.amount.value
    assert 0.0 < limit < 0.045
    assert found.proposal.watch.max is None
    assert [each.factor for each in found.caught] == [0.7, 0.5]
    assert found.caught[0].chance < found.caught[1].chance > 0.95
    assert found.proposal.actions <= 0.1


def test_numbers_that_are_made_larger_change_buckets_as_they_would():
    """Shared out between neighbours, in order and in number; their quantiles grow by the factor, within a bucket."""
    rng = np.random.default_rng(6)
    numbers = rng.lognormal(0.0, 0.8, 50_000)
    before = Counter(bucket(each) for each in numbers.tolist())
    for factor in (0.5, 0.7, 1.0, 1.3, 2.0, 5.0):
        after = scaled(before, factor)
        real = Counter(bucket(each) for each in (numbers * factor).tolist())
        assert sum(after.values()) == pytest.approx(50_000)
        whole = Counter({number: round(count) for number, count in after.items()})
        for q in (0.5, 0.95, 0.99):
            assert quantile(whole, q) == pytest.approx(quantile(real, q), rel=0.021)
        mean = sum(middle(number) * count for number, count in after.items()) / 50_000
        assert mean == pytest.approx(factor * float(numbers.mean()), rel=0.002)
    assert scaled({0: 3, -bucket(2.0): 1}, 2.0)[0] == 3
