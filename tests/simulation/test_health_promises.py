"""Health checks raise false alarms as rarely as they say, and find what they are for.

Each simulation is seeded and states its replications. The tolerance is that of a binomial count at |z| = 4,
so that over all seeds one check in 16,000 would raise a false alarm. Both sides are checked, as far as the
method promises both.
"""

from __future__ import annotations

import math

import numpy as np
import pytest

from equipoise.stats.estimate import Estimate
from equipoise.stats.health.carry_over import SlotCells, carry_over
from equipoise.stats.health.logged_ratio import LoggedAllocation, anytime_logged_ratio, logged_ratio
from equipoise.stats.health.novelty import DailyMoments, Novelty, effect_trend
from equipoise.stats.health.sample_ratio import (
    AnytimeSampleRatio,
    Epoch,
    SampleRatio,
    anytime_sample_ratio_by_epoch,
    sample_ratio_by_epoch,
)
from equipoise.stats.health.segments import SegmentMix, segment_mix
from equipoise.stats.moments import Moments

FALSE_ALARM_Z = 4.0
RAMP = [(0.99, 0.01), (0.9, 0.1), (0.5, 0.5)]


def tolerance(share: float, replications: int) -> float:
    return FALSE_ALARM_Z * math.sqrt(share * (1 - share) / replications)


def ramps(rng: np.random.Generator, units: tuple[int, ...], loss: float = 0.0) -> list[Epoch]:
    """One ramp of three epochs; `loss` is the share of treatment units that never reach the log."""
    epochs = []
    for (c, t), n in zip(RAMP, units, strict=True):
        treated = rng.binomial(n, t)
        epochs.append(
            Epoch({"c": n - int(treated), "t": int(rng.binomial(treated, 1 - loss))}, {"c": c, "t": t})
        )
    return epochs


@pytest.mark.parametrize("replications", [4000, pytest.param(40_000, marks=pytest.mark.long)])
def test_the_fixed_check_over_a_ramp_has_its_alarm_rate(replications: int) -> None:
    """1 %, 10 %, 50 % of treatment: 5 % alarms at 0.05; half a point is added for the discreteness of counts."""
    rng, alarms = np.random.default_rng(71), 0
    for _ in range(replications):
        found = sample_ratio_by_epoch(ramps(rng, (2000, 3000, 10_000)))
        assert isinstance(found, SampleRatio)
        alarms += found.p_value < 0.05
    assert alarms / replications == pytest.approx(0.05, abs=tolerance(0.05, replications) + 0.005)


@pytest.mark.parametrize("replications", [1000, pytest.param(20_000, marks=pytest.mark.long)])
def test_the_anytime_check_over_a_ramp_may_be_looked_at_daily(replications: int) -> None:
    """Ten days in each of three epochs, looked at every day: at most 5 % alarms (a one-sided promise)."""
    rng, alarms = np.random.default_rng(72), 0
    for _ in range(replications):
        past: list[Epoch] = []
        alarm = False
        for c, t in RAMP:
            seen = 0
            for day in range(1, 11):
                seen += int(rng.binomial(500, t))
                now = Epoch({"c": 500 * day - seen, "t": seen}, {"c": c, "t": t})
                found = anytime_sample_ratio_by_epoch([*past, now], prior_units=2000)
                assert isinstance(found, AnytimeSampleRatio)
                alarm = alarm or found.p_value < 0.05
            past.append(now)
        alarms += alarm
    assert alarms / replications <= 0.05 + tolerance(0.05, replications)


def test_looking_daily_at_the_fixed_check_would_lie() -> None:
    """Thirty looks at Pearson's test, 1,000 replications: more than 20 % alarms where 5 % were promised."""
    rng = np.random.default_rng(73)
    treated = rng.binomial(500, 0.5, (1000, 30)).cumsum(axis=1)
    total = 500 * np.arange(1, 31)
    chi = (treated - total / 2) ** 2 / (total / 4)
    assert (chi > 3.841).any(axis=1).mean() > 0.2


def test_a_loss_of_five_per_cent_is_found_across_epochs() -> None:
    """One treatment unit in twenty is lost, 15,000 units in a ramp, 500 replications: both checks see it.

    At 0.001 the fixed one does so nine times in ten, the one that may be looked at daily two times in three.
    """
    rng, fixed, anytime = np.random.default_rng(74), 0, 0
    for _ in range(500):
        epochs = ramps(rng, (2000, 3000, 40_000), loss=0.05)
        one, two = sample_ratio_by_epoch(epochs), anytime_sample_ratio_by_epoch(epochs)
        assert isinstance(one, SampleRatio)
        assert isinstance(two, AnytimeSampleRatio)
        fixed += one.p_value < 0.001
        anytime += two.p_value < 0.001
    assert fixed / 500 > 0.9
    assert anytime / 500 > 0.5


def thompson(rng: np.random.Generator, units: int, floor: float) -> tuple[np.ndarray, np.ndarray]:
    """A two-armed bandit with rates 0.5 and 0.55, whose weights follow the successes every 50 units."""
    rates, wins, pulls = np.array([0.5, 0.55]), np.ones(2), np.full(2, 2.0)
    probabilities, chosen = np.empty((units, 2)), np.empty(units, dtype=np.int64)
    for start in range(0, units, 50):
        mean = wins / pulls
        z = (mean[1] - mean[0]) / math.sqrt((mean * (1 - mean) / pulls).sum())
        p = min(max(0.5 * (1 + math.erf(z / math.sqrt(2))), floor), 1 - floor)
        block = slice(start, start + 50)
        probabilities[block] = (1 - p, p)
        chosen[block] = rng.random(50) < p
        for arm in (0, 1):
            n = int((chosen[block] == arm).sum())
            wins[arm] += rng.binomial(n, rates[arm])
            pulls[arm] += n
    return probabilities, chosen


@pytest.mark.parametrize("replications", [2000, pytest.param(20_000, marks=pytest.mark.long)])
def test_the_check_under_a_bandit_has_its_alarm_rate(replications: int) -> None:
    """Weights that chase the better arm down to 5 %, 2,000 units: 5 % alarms; half a point for the martingale.

    The totals against the *average* weights have no such rate, since the weights depend on the past.
    """
    rng, alarms = np.random.default_rng(75), 0
    for _ in range(replications):
        ps, chosen = thompson(rng, 2000, 0.05)
        found = logged_ratio(LoggedAllocation.of(("c", "t"), chosen, ps))
        assert isinstance(found, SampleRatio)
        alarms += found.p_value < 0.05
    assert alarms / replications == pytest.approx(0.05, abs=tolerance(0.05, replications) + 0.005)


@pytest.mark.parametrize("replications", [500, pytest.param(4000, marks=pytest.mark.long)])
def test_the_anytime_check_under_a_bandit_may_be_looked_at_at_any_time(replications: int) -> None:
    """The least p-value over twenty looks: at most 5 % alarms, even as a bandit settles at 1 %."""
    rng, alarms = np.random.default_rng(76), 0
    for _ in range(replications):
        ps, chosen = thompson(rng, 2000, 0.01)
        for seen in range(100, 2001, 100):
            found = anytime_logged_ratio(("c", "t"), chosen[:seen], ps[:seen], prior_units=200)
            assert isinstance(found, AnytimeSampleRatio)
            if found.p_value < 0.05:
                alarms += 1
                break
    assert alarms / replications <= 0.05 + tolerance(0.05, replications)


def test_units_lost_under_a_bandit_are_found() -> None:
    """A tenth of the treatment's units vanish from the log, 200 replications at 0.01: nearly always seen by the
    fixed check, and more often than not by the one that may be looked at at any time."""
    rng, fixed, anytime = np.random.default_rng(77), 0, 0
    for _ in range(200):
        ps, chosen = thompson(rng, 10_000, 0.2)
        kept = (chosen == 0) | (rng.random(10_000) > 0.1)
        one = logged_ratio(LoggedAllocation.of(("c", "t"), chosen[kept], ps[kept]))
        two = anytime_logged_ratio(("c", "t"), chosen[kept], ps[kept], prior_units=2000)
        assert isinstance(one, SampleRatio)
        assert isinstance(two, AnytimeSampleRatio)
        fixed += one.p_value < 0.01
        anytime += two.p_value < 0.01
    assert fixed / 200 > 0.9
    assert anytime / 200 > 0.5


def test_the_mix_test_has_its_alarm_rate() -> None:
    """Four segments of very unlike size, 4,000 replications: 5 %; half a point for discreteness."""
    rng, alarms, mix = np.random.default_rng(78), 0, [0.7, 0.2, 0.08, 0.02]
    for c, t in zip(rng.multinomial(1000, mix, 4000), rng.multinomial(600, mix, 4000), strict=True):
        found = segment_mix(
            {
                "c": dict(zip("wxyz", map(int, c), strict=True)),
                "t": dict(zip("wxyz", map(int, t), strict=True)),
            }
        )
        assert isinstance(found, SegmentMix)
        alarms += found.p_value < 0.05
    assert alarms / 4000 == pytest.approx(0.05, abs=tolerance(0.05, 4000) + 0.005)


def test_the_trend_covers_and_regressing_daily_effects_would_not() -> None:
    """Days of a unit are a random walk, the effect fades by 0.1 a day: 95 % of 4,000 intervals cover.

    Least squares on the daily effects, as if the days were independent, covers far less.
    """
    rng, covered, naive = np.random.default_rng(79), 0, 0
    days = np.arange(1.0, 8.0)
    centred = days - days.mean()
    for _ in range(4000):
        walk = [np.cumsum(rng.normal(0, 1, (60, 7)), axis=1) for _ in range(2)]
        walk[1] = walk[1] + 2.0 - 0.1 * days
        found = effect_trend(list(days), *(DailyMoments.of(rows) for rows in walk))
        assert isinstance(found, Novelty)
        covered += found.trend.low <= -0.1 <= found.trend.high
        effects = walk[1].mean(axis=0) - walk[0].mean(axis=0)
        slope = centred @ effects / (centred @ centred)
        rest = effects - effects.mean() - slope * centred
        error = math.sqrt(rest @ rest / 5 / (centred @ centred))
        naive += abs(slope + 0.1) <= 2.571 * error
    assert covered / 4000 == pytest.approx(0.95, abs=tolerance(0.95, 4000) + 0.0025)
    assert naive / 4000 < 0.8


def test_units_without_all_their_days_would_look_like_a_trend() -> None:
    """Late comers like the treatment less; by exposure day, with every unit there is, the effect seems to grow.

    Half of the units came late and have one day instead of three; their effect is 1 and not 3, and steady.
    """
    rng = np.random.default_rng(80)
    early, late = rng.normal(3, 1, (2000, 3)), rng.normal(1, 1, (2000, 1))
    by_day = [np.r_[early[:, 0], late[:, 0]].mean(), early[:, 1].mean(), early[:, 2].mean()]
    assert by_day[2] - by_day[0] > 0.9
    control = DailyMoments.of(rng.normal(0, 1, (2000, 3)))
    found = effect_trend([1, 2, 3], control, DailyMoments.of(early))
    assert isinstance(found, Novelty)
    assert abs(found.trend.value) < 4 * found.trend.standard_error
    assert found.trend.standard_error < 0.03


def switchback(rng: np.random.Generator, on: np.ndarray, carried: float, likeness: float) -> SlotCells:
    """Slots with a smooth course of the day (autocorrelation `likeness`), an effect of 1 and a carry-over."""
    slots = len(on)
    noise, course = rng.normal(0, math.sqrt(1 - likeness**2), slots), np.empty(slots)
    course[0] = rng.normal()
    for i in range(1, slots):
        course[i] = likeness * course[i - 1] + noise[i]
    y = course + on + carried * np.r_[0, on[:-1]]
    now, before, out = on[1:], on[:-1], y[1:]
    return SlotCells(
        control_control=Moments.of(out[(before == 0) & (now == 0)]),
        treatment_control=Moments.of(out[(before == 1) & (now == 0)]),
        control_treatment=Moments.of(out[(before == 0) & (now == 1)]),
        treatment_treatment=Moments.of(out[(before == 1) & (now == 1)]),
    )


@pytest.mark.parametrize("likeness", [0.0, 0.7])
def test_carry_over_covers_when_every_slot_was_drawn_by_itself(likeness: float) -> None:
    """200 slots alike in time or not, 4,000 replications: 95 % cover the carry-over of 0.3; half a point more."""
    rng, covered = np.random.default_rng(81), 0
    for _ in range(4000):
        found = carry_over(switchback(rng, rng.integers(0, 2, 200), 0.3, likeness))
        assert isinstance(found, Estimate)
        covered += found.low <= 0.3 <= found.high
    assert covered / 4000 == pytest.approx(0.95, abs=tolerance(0.95, 4000) + 0.005)


def test_carry_over_of_a_fixed_rhythm_would_lie() -> None:
    """Two slots on, two off, alike in time: a fixed rhythm has another error than its interval says.

    2,000 replications without any carry-over; the interval misses more or fewer than its 5 %.
    """
    rng, covered = np.random.default_rng(82), 0
    on = np.tile([1, 1, 0, 0], 50)
    for _ in range(2000):
        found = carry_over(switchback(rng, on, 0.0, 0.7))
        assert isinstance(found, Estimate)
        covered += found.low <= 0.0 <= found.high
    assert abs(covered / 2000 - 0.95) > tolerance(0.95, 2000)
