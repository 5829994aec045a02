"""The split is even and draws are independent, for the ids that people really have.

Everything is fixed by the names of salts and units, so a run that passes always passes. The bound of each
check is the quantile that pure chance exceeds with probability ALARM divided by the number of checks
(Bonferroni): had the names been drawn anew, one run in a thousand would raise a false alarm.
"""

from __future__ import annotations

import itertools
import random
import uuid
from collections import Counter
from fractions import Fraction

import numpy as np
import pytest
from scipy.special import chdtri

from equipoise.assignment.hashing import point, prefix, salt
from equipoise.assignment.splitting import Splitter
from equipoise.experiment.reading import read_canonical
from equipoise.sdk.router import Router

ALARM = 0.001
SALTS = 60
UNITS = 2_000
LABELS = ("split", "coverage", "layer", "holdout")
CHECKS = 3 * ((SALTS + 2) + (SALTS - 1) + SALTS + 2 + 6 * SALTS + 2 + 3)

rng = random.Random(20_240_501)
POPULATIONS = {
    "sequential": [str(index) for index in range(UNITS)],
    "uuid": [str(uuid.UUID(int=rng.getrandbits(128), version=4)) for _ in range(UNITS)],
    "prefixed": [f"tenant-{index % 7}/user/{index:09d}" for index in range(UNITS)],
}
SHARES = {"control": Fraction(1, 2), "a": Fraction(1, 3), "b": Fraction(1, 6)}
ARMS = ["control", "a", "b"]


def bound(degrees: int) -> float:
    """The χ² that chance exceeds with probability ALARM / CHECKS."""
    return float(chdtri(degrees, ALARM / CHECKS))


def statistic(counts: np.ndarray, expected: np.ndarray) -> float:
    return float(((counts - expected) ** 2 / expected).sum())


@pytest.mark.parametrize("population", POPULATIONS)
def test_the_split_is_the_one_declared_for_every_salt(population: str) -> None:
    """χ² of three unequal arms over 60 salts; and over all salts together it is not too good either."""
    units = POPULATIONS[population]
    expected = np.array([float(SHARES[arm]) * UNITS for arm in ARMS])
    found = []
    for index in range(SALTS):
        splitter = Splitter(salt(f"experiment-{index}"), SHARES)
        drawn = [splitter.arm(unit) for unit in units]
        found.append(statistic(np.array([drawn.count(arm) for arm in ARMS]), expected))
    assert max(found) < bound(2)
    # The sum of independent χ² is a χ²: both its tails are checked, since a split that is too even is no chance.
    total = sum(found)
    assert total < bound(2 * SALTS)
    assert total > float(chdtri(2 * SALTS, 1 - ALARM / CHECKS))


@pytest.mark.parametrize("population", POPULATIONS)
def test_two_experiments_split_independently(population: str) -> None:
    """χ² of independence for each pair of neighbouring salts: one experiment's arms are even within another's."""
    units = POPULATIONS[population]
    arms = []
    for index in range(SALTS):
        # Names as alike as they come: they differ in one digit, or only in their version.
        splitter = Splitter(salt(f"experiment-{index // 2}", 1 + index % 2), SHARES)
        arms.append(np.array([ARMS.index(str(splitter.arm(unit))) for unit in units]))
    for one, other in itertools.pairwise(arms):
        table = np.zeros((3, 3))
        np.add.at(table, (one, other), 1)
        expected = np.outer(table.sum(1), table.sum(0)) / UNITS
        assert statistic(table, expected) < bound(4)


@pytest.mark.parametrize("population", POPULATIONS)
def test_coverage_and_split_are_independent(population: str) -> None:
    """χ² of independence between being covered at 30 % and the variant, for every salt."""
    units = POPULATIONS[population]
    for index in range(SALTS):
        everybody = Splitter(salt(f"experiment-{index}"), SHARES)
        covered = Splitter(salt(f"experiment-{index}"), SHARES, Fraction(3, 10))
        table = np.zeros((2, 3))
        for unit in units:
            table[int(covered.arm(unit) is None), ARMS.index(str(everybody.arm(unit)))] += 1
        expected = np.outer(table.sum(1), table.sum(0)) / UNITS
        assert statistic(table, expected) < bound(2)


@pytest.mark.parametrize("population", POPULATIONS)
def test_points_are_uniform_to_the_last_bit(population: str) -> None:
    """χ² of 64 equal bins of the highest and of the lowest bits: no end of the point is worse than the other."""
    before = prefix("split", salt("demo"))
    points = [point(before, unit.encode()) for unit in POPULATIONS[population]]
    for shift in (58, 0):
        counts = np.bincount([(each >> shift) & 63 for each in points], minlength=64)
        assert statistic(counts, np.full(64, UNITS / 64)) < bound(63)


@pytest.mark.parametrize("population", POPULATIONS)
def test_the_labels_are_independent_of_one_another(population: str) -> None:
    """χ² of independence between each two of split, coverage, layer and holdout at 30 %, under one and the same salt."""
    units = [unit.encode() for unit in POPULATIONS[population]]
    end = 3 * 2**64 // 10
    found = []
    for index in range(SALTS):
        inside = {
            label: np.array([point(before, unit) < end for unit in units], dtype=int)
            for label in LABELS
            for before in [prefix(label, salt(f"experiment-{index}"))]
        }
        for one, other in itertools.combinations(LABELS, 2):
            table = np.zeros((2, 2))
            np.add.at(table, (inside[one], inside[other]), 1)
            expected = np.outer(table.sum(1), table.sum(0)) / UNITS
            found.append(statistic(table, expected))
    assert len(found) == 6 * SALTS
    assert max(found) < bound(1)
    # All together: neither worse than chance nor better (a sum of independent χ² is a χ²).
    assert sum(found) < bound(6 * SALTS)
    assert sum(found) > float(chdtri(6 * SALTS, 1 - ALARM / CHECKS))


@pytest.mark.parametrize("population", POPULATIONS)
def test_a_whole_design_enrols_the_product_of_its_shares(population: str) -> None:
    """χ² of what the router says with a holdout, a layer, a coverage and a split: each share of the one before it."""
    definition = {
        "name": "demo",
        "hypothesis": "None; this is a simulation.",
        "unit": "conversation",
        "changes": ["model"],
        "variants": {"control": {"model": "a"}, "treatment": {"model": "b"}},
        "metrics": {"resolution_rate": {"priority": "primary"}},
        "holdouts": {"all": "1/4"},
        "layer": {"name": "bots", "range": ["1/5", "4/5"]},
    }
    units = POPULATIONS[population]
    found = []
    for index in range(SALTS):
        router = Router(read_canonical(definition | {"name": f"experiment-{index}"}), coverage=Fraction(1, 2))
        counted = Counter(assigned.variant or assigned.reason for assigned in map(router.assign, units))
        # Held out and in the layer are the same units for every experiment: what is new each time is given those.
        enrolled = np.array([counted[cell] for cell in ("not_covered", "control", "treatment")])
        expected = enrolled.sum() * np.array([0.5, 0.25, 0.25])
        found.append(statistic(enrolled, expected))
    assert sum(found) < bound(2 * SALTS)
    assert sum(found) > float(chdtri(2 * SALTS, 1 - ALARM / CHECKS))
    given = np.array([counted["held_out"], counted["other_layer"], enrolled.sum()])
    assert statistic(given, UNITS * np.array([0.25, 0.30, 0.45])) < bound(2)
