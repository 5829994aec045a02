"""An arm that only sends the discontented away early: per conversation it is called better as often as chance allows."""

from __future__ import annotations

import math

import numpy as np
import pytest

from equipoise.stats.comparison.means import difference_of_means
from equipoise.stats.comparison.ratios import difference_of_ratios
from equipoise.stats.estimate import Estimate, NotEstimable
from equipoise.stats.moments import Moments, PairMoments

FALSE_ALARM = 1e-6
"""The chance that this test fails although the promise holds."""


def better(found: Estimate | NotEstimable) -> bool:
    return isinstance(found, Estimate) and found.low > 0.0


def rates(*, replications: int, units: int, seed: int) -> tuple[float, float]:
    """How often a 95 % interval says that the arm is better, per conversation and per turn; nothing it says is better.

    A conversation has a quality, and its grades lie about it. Both arms have the same; in the treatment those below the
    middle leave after the first answer, and everybody else has six.
    """
    rng = np.random.default_rng(seed)
    found = [0, 0]
    for _ in range(replications):
        quality = rng.normal(size=(2, units))
        turns = np.full((2, units), 6)
        turns[1, quality[1] < 0.0] = 1
        # One grade is as near to the quality as the mean of six: the mean of a conversation has one law in both arms.
        mean = quality + rng.normal(scale=0.3, size=(2, units))
        per_unit = difference_of_means(*(Moments.of(arm) for arm in mean), level=0.95)
        per_turn = difference_of_ratios(
            *(PairMoments.of(arm * n, n.astype(float)) for arm, n in zip(mean, turns, strict=True)),
            level=0.95,
        )
        found[0] += better(per_unit)
        found[1] += better(per_turn)
    return found[0] / replications, found[1] / replications


def tolerance(rate: float, replications: int) -> float:
    """How far a share of so many may lie from its rate but once in 1 / FALSE_ALARM (Bernstein's inequality)."""
    log = math.log(2.0 / FALSE_ALARM)
    return log / (3.0 * replications) + math.sqrt(
        (log / (3.0 * replications)) ** 2 + 2.0 * rate * (1.0 - rate) * log / replications
    )


@pytest.mark.parametrize(
    "replications", [400, pytest.param(20_000, marks=pytest.mark.long)], ids=["short", "long"]
)
def test_sending_people_away_is_no_improvement_per_conversation(replications: int) -> None:
    """Per conversation the share of false winners is 2.5 %; per turn it is nearly every time."""
    per_unit, per_turn = rates(replications=replications, units=400, seed=20)
    assert abs(per_unit - 0.025) <= tolerance(0.025, replications)
    assert per_turn > 0.99
