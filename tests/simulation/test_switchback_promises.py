"""A switchback errs as often as it says, where turns of a slot are alike and slots remember: the naive analysis does not.

The world: a slot's level follows a first-order autoregression of coefficient 0.8 and variance 1, on top of the ups and downs
of a day and a slow trend; a turn adds noise of variance 4, so an intraclass correlation of 0.2 within slots at one time
of day; traffic follows the day, too. Arms are drawn by the real schedule, with another salt in every replication. Each
simulation is seeded and states its replications; the tolerance is that of a binomial count at |z| = 4 (one false alarm in
16,000), and the long ones are held to half a point.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.signal import lfilter

from equipoise.assignment.switchback import Schedule
from equipoise.experiment.switchback import Balance, Switchback
from equipoise.stats.comparison.clusters import clustered_difference
from equipoise.stats.comparison.means import difference_of_means
from equipoise.stats.estimate import Estimate
from equipoise.stats.health.carry_over import carry_over_in_blocks
from equipoise.stats.moments import Moments

HALVES = {"control": Fraction(1, 2), "treatment": Fraction(1, 2)}
MONDAY = 4 * 86_400 + 2900 * 604_800
ALPHA, HALF_A_POINT = 0.05, 0.005
BOTH: tuple[Balance, ...] = ("hour", "weekday")
Floats = NDArray[np.float64]


def tolerance(share: float, replications: int) -> float:
    return 4.0 * math.sqrt(share * (1 - share) / replications)


@dataclass(frozen=True)
class Design:
    """Slots of so many hours, over so many weeks, with wash-out as a share of a slot."""

    hours: int
    weeks: int
    balance: tuple[Balance, ...] = BOTH
    wash_out: float = 0.0

    @property
    def slots(self) -> int:
        return self.weeks * 168 // self.hours

    def draw(self, salt: str) -> tuple[NDArray[np.bool_], NDArray[np.int64]]:
        """The arm of each slot (treatment is true) and its block, by the real schedule."""
        schedule = Schedule(salt, HALVES, Switchback(balance=self.balance), every=self.hours * 3600)
        units = [str(MONDAY + n * self.hours * 3600) for n in range(self.slots)]
        blocks = [schedule.blocks.place(unit).block for unit in units]
        numbers = {block: n for n, block in enumerate(dict.fromkeys(blocks))}
        return np.array([schedule.arm(unit) == "treatment" for unit in units]), np.array(
            [numbers[b] for b in blocks]
        )


@dataclass(frozen=True)
class Seen:
    """What one replication shows: the test over slots, the carry-over, and the naive test over turns."""

    slots: Estimate
    carried: Estimate
    turns: Estimate


def replicate(
    design: Design, rng: np.random.Generator, salt: str, *, effect: float, lasts: float, noise: float = 2.0
) -> Seen:
    """One experiment. In the first `lasts` of a slot the arm before is still at work."""
    arms, blocks = design.draw(salt)
    n = design.slots
    innovation = rng.normal(size=n) * 0.6
    innovation[0] /= 0.6
    hour = np.arange(n) * design.hours % 24
    level = lfilter([1.0], [1.0, -0.8], innovation) + 1.5 * np.sin(2 * np.pi * hour / 24) + np.arange(n) / n
    turns = 4 + rng.poisson(20 * (1 + 0.8 * np.sin(2 * np.pi * hour / 24)))
    slot = np.repeat(np.arange(n), turns)
    at = rng.random(slot.size)
    before = np.r_[False, arms[:-1]]
    acting = np.where(at < lasts, before[slot], arms[slot])
    y = level[slot] + effect * acting + noise * rng.normal(size=slot.size)
    counts = at >= design.wash_out
    naive = difference_of_means(Moments.of(y[~arms[slot]]), Moments.of(y[arms[slot]]))
    held = np.bincount(slot[counts], minlength=n)
    means = np.bincount(slot[counts], weights=y[counts], minlength=n) / np.maximum(held, 1)
    there = held > 0
    found: list[Estimate] = []
    if design.balance:
        sums, sizes = np.zeros((2, blocks.max() + 1)), np.zeros((2, blocks.max() + 1))
        np.add.at(sums, (arms[there].astype(int), blocks[there]), means[there])
        np.add.at(sizes, (arms[there].astype(int), blocks[there]), 1.0)
        compared = clustered_difference(sums[0], sizes[0], sums[1], sizes[1])
    else:
        compared = difference_of_means(Moments.of(means[there & ~arms]), Moments.of(means[there & arms]))
    # The first slot follows none; the last before it stands alone in its block, and is not asked either.
    asked, drawn_with = there & (np.arange(n) > 0), np.r_[-1, blocks[:-1]]
    if design.balance and design.balance != ("weekday",):
        asked &= drawn_with != blocks[-1]
    carried = carry_over_in_blocks(
        means[asked].tolist(),
        [1.0] * int(asked.sum()),
        arms[asked].tolist(),
        before[asked].tolist(),
        drawn_with[asked].tolist(),
    )
    for each in (compared, carried, naive):
        assert isinstance(each, Estimate)
        found.append(each)
    return Seen(*found)


def rate(flags: list[bool]) -> float:
    return sum(flags) / len(flags)


def alarms(design: Design, replications: int, seed: int) -> tuple[float, float, float]:
    """How often, without any effect, the slots, the carry-over and the turns say that there is one."""
    rng = np.random.default_rng(seed)
    seen = [replicate(design, rng, f"null/{seed}/{n}", effect=0.0, lasts=0.0) for n in range(replications)]
    return tuple(
        rate([getattr(each, of).p_value < ALPHA for each in seen]) for of in ("slots", "carried", "turns")
    )  # type: ignore[return-value]


DESIGNS = {
    "hour and weekday": Design(4, 4),
    "few slots": Design(12, 4),
    "hour alone": Design(4, 4, ("hour",)),
    "each by itself": Design(4, 4, ()),
    "each weekday": Design(4, 4, ("weekday",)),
}


@pytest.mark.parametrize("name", DESIGNS)
def test_the_error_is_as_said_where_slots_remember_and_turns_are_alike(name: str) -> None:
    """600 replications of each design: 5 % alarms of the effect and of the carry-over, and many times that of turns."""
    slots, carried, turns = alarms(DESIGNS[name], 600, 7 + list(DESIGNS).index(name))
    assert slots == pytest.approx(ALPHA, abs=tolerance(ALPHA, 600))
    assert carried == pytest.approx(ALPHA, abs=tolerance(ALPHA, 600))
    assert turns > 0.25


@pytest.mark.long
@pytest.mark.parametrize("name", DESIGNS)
def test_the_error_is_as_said_to_half_a_point(name: str) -> None:
    """40,000 replications of each design: within half a point of 5 %, by which one in 200,000 would err by chance.

    The jackknife of the carry-over errs on the safe side, and has half a point more there.
    """
    slots, carried, turns = alarms(DESIGNS[name], 40_000, 101 + list(DESIGNS).index(name))
    assert slots == pytest.approx(ALPHA, abs=HALF_A_POINT)
    assert ALPHA - 2 * HALF_A_POINT < carried < ALPHA + HALF_A_POINT
    assert turns > 0.25


@pytest.mark.parametrize("replications", [400, pytest.param(10_000, marks=pytest.mark.long)])
def test_what_is_carried_over_is_found_or_washed_out(replications: int) -> None:
    """An effect of 1 that takes a quarter of a slot to come and to go, over four weeks of slots of four hours.

    With a wash-out of a quarter the interval covers 1 as often as it says, and no carry-over is left. Without it the estimate
    is that of three quarters, most intervals miss, and the carry-over is found nearly always. Turns counted one by one miss
    far more often than they say, whether there is carry-over or not.
    """
    rng = np.random.default_rng(23)
    plain, washed = Design(4, 4), Design(4, 4, wash_out=0.25)
    with_it = [
        replicate(washed, rng, f"w/{n}", effect=1.0, lasts=0.25, noise=0.5) for n in range(replications)
    ]
    without = [
        replicate(plain, rng, f"p/{n}", effect=1.0, lasts=0.25, noise=0.5) for n in range(replications)
    ]
    covered = rate([each.slots.low <= 1.0 <= each.slots.high for each in with_it])
    assert covered == pytest.approx(0.95, abs=max(tolerance(0.95, replications), HALF_A_POINT))
    assert np.mean([each.slots.value for each in with_it]) == pytest.approx(1.0, abs=0.03)
    left = rate([each.carried.p_value < ALPHA for each in with_it])  # type: ignore[operator]
    allowed = max(tolerance(ALPHA, replications), HALF_A_POINT)
    assert ALPHA - allowed - HALF_A_POINT < left < ALPHA + allowed
    assert np.mean([each.slots.value for each in without]) == pytest.approx(0.75, abs=0.03)
    assert rate([each.slots.low <= 1.0 <= each.slots.high for each in without]) < 0.7
    assert np.mean([each.carried.value for each in without]) == pytest.approx(0.25, abs=0.03)
    assert rate([each.carried.p_value < ALPHA for each in without]) > 0.3  # type: ignore[operator]
    assert rate([each.turns.low <= 1.0 <= each.turns.high for each in with_it]) < 0.6
