"""Adaptive estimates from moments against a plain twin that scores unit by unit."""

from __future__ import annotations

import math
import random
from statistics import fmean

import pytest

from equipoise.stats.adaptive.batches import Batch, PairBatch
from equipoise.stats.adaptive.estimates import arm_mean, difference, difference_of_ratios
from equipoise.stats.estimate import Estimate
from equipoise.stats.moments import Moments, PairMoments

Rows = list[list[tuple[str, float, float]]]
SHARES = [{"a": 0.5, "b": 0.3, "c": 0.2}, {"a": 0.2, "b": 0.7, "c": 0.1}, {"a": 0.05, "b": 0.95, "c": 0.0}]


def gathered(seed: int) -> Rows:
    """Three batches of (arm, x, y), drawn by the shares."""
    rng = random.Random(seed)
    rows: Rows = []
    for shares in SHARES:
        drawn = rng.choices(list(shares), weights=list(shares.values()), k=300)
        rows.append([(arm, rng.gauss(ord(arm) - 97, 1.0), rng.choice([1.0, 2.0, 3.0])) for arm in drawn])
    return rows


def scores(rows: Rows, arm: str, column: int) -> list[list[float]]:
    """Γ of every unit: the guess before the batch, and what a unit of the arm says of it over its probability."""
    seen: list[float] = []
    found = []
    for shares, batch in zip(SHARES, rows, strict=True):
        own = [row[column] for row in batch if row[0] == arm]
        guess = fmean(seen) if seen else fmean(own)
        found.append(
            [
                guess + ((row[column] - guess) / shares[arm] if row[0] == arm else 0.0)
                if shares[arm]
                else math.nan
                for row in batch
            ]
        )
        seen += own
    return found


def weighted(found: list[list[float]], weights: list[float]) -> float:
    pairs = [(w, score) for w, of in zip(weights, found, strict=True) for score in of if w]
    return sum(w * score for w, score in pairs) / sum(w for w, _ in pairs)


def batches(rows: Rows) -> list[Batch]:
    return [
        Batch(shares, {arm: Moments.of([x for a, x, _ in batch if a == arm]) for arm in shares})
        for shares, batch in zip(SHARES, rows, strict=True)
    ]


def test_a_mean_from_moments_is_the_weighted_mean_of_scores() -> None:
    """Every arm, with and without stabilising weights; an arm without a share in a batch takes no part in it."""
    rows = gathered(1)
    for arm in "abc":
        for weighting, power in (("stabilised", 0.5), ("doubly_robust", 0.0)):
            found = arm_mean(batches(rows), arm, weighting=weighting)  # type: ignore[arg-type]
            assert isinstance(found, Estimate)
            weights = [shares[arm] ** power if shares[arm] else 0.0 for shares in SHARES]
            assert found.value == pytest.approx(weighted(scores(rows, arm, 1), weights), abs=1e-12)


def test_inverse_probabilities_are_horvitz_and_thompson_s() -> None:
    """Without guesses and with every unit alike: the sum of y / probability over all units."""
    rows = gathered(2)
    found = arm_mean(batches(rows), "a", weighting="inverse_probability")
    assert isinstance(found, Estimate)
    total = sum(
        x / shares["a"]
        for shares, batch in zip(SHARES, rows, strict=True)
        for arm, x, _ in batch
        if arm == "a"
    )
    assert found.value == pytest.approx(total / 900, abs=1e-12)


def test_a_difference_is_that_of_scores_within_batches() -> None:
    """Weighted by one over the root of the summed inverse probabilities; where one arm is out, the batch is."""
    rows = gathered(3)
    found = difference(batches(rows), "c", "a")
    assert isinstance(found, Estimate)
    weights = [(1 / s["c"] + 1 / s["a"]) ** -0.5 if s["c"] else 0.0 for s in SHARES]
    gaps = [
        [c - a for c, a in zip(of_c, of_a, strict=True)]
        for of_c, of_a in zip(scores(rows, "c", 1), scores(rows, "a", 1), strict=True)
    ]
    assert found.value == pytest.approx(weighted(gaps, weights), abs=1e-12)


def test_a_ratio_of_ones_is_a_mean() -> None:
    """With y = 1 for every unit the difference of ratios is that of means, with the same error."""
    rows = gathered(4)
    pairs = [
        PairBatch(
            shares,
            {
                arm: PairMoments.of(own, [1.0] * len(own))
                for arm in shares
                for own in [[x for a, x, _ in batch if a == arm]]
            },
        )
        for shares, batch in zip(SHARES, rows, strict=True)
    ]
    ratio, mean = difference_of_ratios(pairs, "b", "a"), difference(batches(rows), "b", "a")
    assert isinstance(ratio, Estimate)
    assert isinstance(mean, Estimate)
    assert (ratio.value, ratio.standard_error) == pytest.approx((mean.value, mean.standard_error), rel=1e-9)
