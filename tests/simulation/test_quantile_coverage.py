"""p95 intervals of latencies: independent requests, and ten requests of one user that are alike.

Latencies are log-normal (log-sd 0.8); alike means that 0.3 of the logarithm's variance is the user's (ICC .3).
Seeded; the tolerance beyond 94–96 % is that of a binomial count at |z| = 4, so one check in 16,000 would raise a
false alarm.
"""

from __future__ import annotations

import math

import numpy as np
import pytest

from equipoise.stats.comparison.quantiles import (
    QuantileSummary,
    difference_of_quantiles,
    quantile_interval,
    quantile_of,
)
from equipoise.stats.estimate import Estimate

P95 = math.exp(0.8 * 1.6448536269514722)


def latencies(rng: np.random.Generator, units: int, each: int) -> np.ndarray:
    if each == 1:
        return np.asarray(np.exp(0.8 * rng.normal(size=units)))
    shared = np.repeat(rng.normal(size=units), each)
    return np.asarray(
        np.exp(0.8 * (math.sqrt(0.3) * shared + math.sqrt(0.7) * rng.normal(size=units * each)))
    )


def coverage(
    units: int, each: int, replications: int, seed: int, *, by_unit: bool = True
) -> tuple[float, float]:
    """Of one arm's p95 and of the difference of two arms."""
    rng, ids, single, both = np.random.default_rng(seed), np.repeat(np.arange(units), each), 0, 0
    of = ids if by_unit else None
    for _ in range(replications):
        arms = [latencies(rng, units, each) for _ in range(2)]
        one = quantile_interval(arms[0], of, q=0.95)
        assert isinstance(one, Estimate)
        single += one.low <= P95 <= one.high
        summaries = [quantile_of(arm, of, q=0.95) for arm in arms]
        assert all(isinstance(s, QuantileSummary) for s in summaries)
        difference = difference_of_quantiles(*summaries)  # type: ignore[arg-type]
        both += difference.low <= 0.0 <= difference.high
    return single / replications, both / replications


def within(share: float, replications: int) -> bool:
    slack = 4.0 * math.sqrt(0.95 * 0.05 / replications)
    return 0.94 - slack <= share <= 0.96 + slack


@pytest.mark.parametrize(("each", "replications"), [(1, 3000), (10, 1200)])
def test_p95_intervals_cover_from_five_hundred_units(each: int, replications: int) -> None:
    """One arm and the difference, one or ten requests of each user."""
    single, both = coverage(500, each, replications, 51)
    assert within(single, replications)
    assert within(both, replications)


@pytest.mark.long
@pytest.mark.parametrize(
    ("units", "each", "replications"), [(500, 1, 20_000), (500, 10, 8000), (2000, 10, 3000)]
)
def test_p95_intervals_cover_in_many_replications(units: int, each: int, replications: int) -> None:
    """As above."""
    single, both = coverage(units, each, replications, 52)
    assert within(single, replications)
    assert within(both, replications)


def test_the_formula_for_independent_requests_fails_on_alike_ones() -> None:
    """500 users with ten requests each, counted as 5,000 users, 800 replications: below 90 %, not 95 %."""
    single, both = coverage(500, 10, 800, 53, by_unit=False)
    slack = 4.0 * math.sqrt(0.9 * 0.1 / 800)
    assert single < 0.90 + slack
    assert both < 0.90 + slack
    assert max(single, both) < 0.94 - 4.0 * math.sqrt(0.95 * 0.05 / 800)
