"""The interference check alarms as rarely as it says, and finds what it is for.

The world: control's daily means have weekdays, a trend and shocks of their own, beside the noise of so many units as the ramp
leaves to control. Seeded; the tolerance is that of a binomial count at |z| = 4, and half a point for Bell and McCaffrey's
degrees of freedom, which are an approximation where days do not vary alike.
"""

from __future__ import annotations

import math

import numpy as np
import pytest

from equipoise.stats.estimate import Estimate
from equipoise.stats.health.interference import ControlDay, control_by_share

RAMPS = {"three steps": (7, 14, 28), "slow": (14, 28, 56), "late": (3, 21, 28)}
SHARES = (0.05, 0.2, 0.5)


def alarms(name: str, moves: float, replications: int, seed: int) -> float:
    rng, seen = np.random.default_rng(seed), 0
    ends = RAMPS[name]
    for _ in range(replications):
        weekday, trend = rng.normal(0.0, 0.3, 7), rng.normal(0.0, 0.02)
        days = []
        for day in range(ends[-1]):
            share = SHARES[sum(day >= end for end in ends[:-1])]
            units = 1 + int(rng.poisson(600 * (1 - share)))
            mean = (
                weekday[day % 7]
                + trend * day
                + moves * share
                + rng.normal(0.0, 0.03)
                + rng.normal() / math.sqrt(units)
            )
            days.append(ControlDay(day, share, units, mean))
        found = control_by_share(days)
        assert isinstance(found, Estimate)
        assert found.p_value is not None
        seen += found.p_value < 0.05
    return seen / replications


@pytest.mark.parametrize("name", RAMPS)
@pytest.mark.parametrize("replications", [1500, pytest.param(20_000, marks=pytest.mark.long)])
def test_a_still_control_alarms_as_rarely_as_said(name: str, replications: int) -> None:
    """5 %, whatever the weekdays and the trend."""
    allowed = 4.0 * math.sqrt(0.05 * 0.95 / replications) + 0.005
    assert alarms(name, 0.0, replications, 50 + len(name)) == pytest.approx(0.05, abs=allowed)


def test_a_control_that_moves_is_found() -> None:
    """A whole share moves control by 1 (0.45 over the ramp, fifteen times a day's shock): found in 95 of 100, 400 replications."""
    assert alarms("three steps", 1.0, 400, 61) > 0.9
    assert alarms("slow", 1.0, 400, 62) > 0.95
