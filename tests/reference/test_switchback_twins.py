"""Twins of the switchback's tests: the randomisation test over schedules drawn again, and the carry-over by regression."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest

from equipoise.assignment.switchback import Schedule
from equipoise.experiment.switchback import Switchback
from equipoise.stats.comparison.clusters import clustered_difference
from equipoise.stats.estimate import Estimate
from equipoise.stats.health.carry_over import SlotCells, carry_over, carry_over_in_blocks
from equipoise.stats.moments import Moments

HALVES = {"control": Fraction(1, 2), "treatment": Fraction(1, 2)}
MONDAY, EVERY, SLOTS = 4 * 86_400 + 2900 * 604_800, 6 * 3600, 112


def drawn(salt: str) -> tuple[np.ndarray, np.ndarray]:
    """Arms and block numbers of four weeks of quarter days."""
    schedule = Schedule(salt, HALVES, Switchback(), every=EVERY)
    units = [str(MONDAY + n * EVERY) for n in range(SLOTS)]
    names = [schedule.blocks.place(unit).block for unit in units]
    numbers = {name: n for n, name in enumerate(dict.fromkeys(names))}
    return np.array([schedule.arm(unit) == "treatment" for unit in units]), np.array(
        [numbers[name] for name in names]
    )


def world(seed: int) -> np.ndarray:
    """A day's ups and downs, a walk, and a long tail: nothing like independent normal slots."""
    rng = np.random.default_rng(seed)
    walk = np.cumsum(rng.normal(size=SLOTS)) * 0.2
    return 3.0 * np.sin(np.arange(SLOTS) * np.pi / 2) + walk + rng.exponential(1.0, SLOTS)


def by_blocks(y: np.ndarray, arms: np.ndarray, blocks: np.ndarray) -> Estimate:
    sums, sizes = np.zeros((2, blocks.max() + 1)), np.zeros((2, blocks.max() + 1))
    np.add.at(sums, (arms.astype(int), blocks), y)
    np.add.at(sizes, (arms.astype(int), blocks), 1.0)
    found = clustered_difference(sums[0], sizes[0], sums[1], sizes[1])
    assert isinstance(found, Estimate)
    return found


def carried(y: np.ndarray, arms: np.ndarray, blocks: np.ndarray) -> Estimate:
    before = np.r_[False, arms[:-1]]
    drawn_with = np.r_[-1, blocks[:-1]]
    asked = (drawn_with >= 0) & (drawn_with != blocks[-1])
    found = carry_over_in_blocks(
        y[asked].tolist(),
        [1.0] * int(asked.sum()),
        arms[asked].tolist(),
        before[asked].tolist(),
        drawn_with[asked].tolist(),
    )
    assert isinstance(found, Estimate)
    return found


@pytest.mark.parametrize("seed", [1, 2, 3, 4])
def test_the_test_over_blocks_is_the_randomisation_test_of_the_schedule(seed: int) -> None:
    """The share of 1,500 schedules drawn again whose statistic is as far out: p agrees within .05, for effect and carry-over.

    That is four standard errors of such a share at its widest, and a hundredth for what t only approaches.
    """
    y = world(seed)
    arms, blocks = drawn(f"seen/{seed}")
    redrawn = [drawn(f"again/{seed}/{n}")[0] for n in range(1500)]
    for statistic in (by_blocks, carried):
        seen = statistic(y, arms, blocks)
        again = [abs(statistic(y, other, blocks).statistic) >= abs(seen.statistic) for other in redrawn]  # type: ignore[arg-type]
        assert seen.p_value == pytest.approx(np.mean(again), abs=0.06)


def test_without_blocks_the_carry_over_is_that_of_the_four_cells() -> None:
    """Slots each in a block of its own: the same figure as Welch's over four cells when cells are of one size."""
    rng = np.random.default_rng(5)
    arms, before = np.array([0, 0, 1, 1] * 30), np.array([0, 1, 0, 1] * 30, dtype=bool)
    y = rng.normal(size=120) + 0.4 * before + arms
    found = carry_over_in_blocks(y.tolist(), [1.0] * 120, arms.tolist(), before.tolist(), list(range(120)))
    cells = {(a, b): Moments.of(y[(arms == a) & (before == b)]) for a in (0, 1) for b in (False, True)}
    twin = carry_over(
        SlotCells(
            control_control=cells[0, False], treatment_control=cells[0, True],
            control_treatment=cells[1, False], treatment_treatment=cells[1, True],
        )
    )  # fmt: skip
    assert isinstance(found, Estimate)
    assert isinstance(twin, Estimate)
    assert found.value == pytest.approx(twin.value, rel=1e-12)
    assert found.standard_error == pytest.approx(twin.standard_error, rel=0.03)
