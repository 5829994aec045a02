"""Intervals of mean times to an event: units that come in until the data end, rare events, alike units.

Times are exponential, Weibull, or exponential for the 60 % who have the event at all; units come in evenly over twice the
window, so that half of them are not seen for the whole of it. Seeded; each end of a 95 % interval misses in 2.5 %, and
the tolerance is that of a binomial count at |z| = 4, so that one check in 16,000 would raise a false alarm; to it are
added .5 % for the skewness of samples of this size.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest

from equipoise.stats.comparison.restricted_means import (
    RestrictedMean,
    difference_of_restricted_means,
    restricted_mean_of,
)
from equipoise.stats.estimate import Estimate, NotEstimable
from equipoise.stats.looks.sequential import boundaries
from equipoise.stats.looks.spending import pocock

Draw = Callable[[np.random.Generator, int], np.ndarray]


def exponential(mean: float) -> Draw:
    return lambda rng, n: rng.exponential(mean, n)


def weibull(rng: np.random.Generator, n: int) -> np.ndarray:
    return np.asarray(0.7 * rng.weibull(0.6, n))


def partly(rng: np.random.Generator, n: int) -> np.ndarray:
    return np.where(rng.random(n) < 0.6, rng.exponential(0.4, n), np.inf)


def truth(draw: Draw) -> float:
    """The mean of min(time, 1), to three digits more than any interval here is wide."""
    return float(np.minimum(draw(np.random.default_rng(1), 4_000_000), 1.0).mean())


def summary(
    times: np.ndarray, seen: np.ndarray, clusters: np.ndarray | None = None
) -> RestrictedMean | NotEstimable:
    return restricted_mean_of(np.minimum(times, seen), times <= seen, horizon=1.0, clusters=clusters)


def difference(arms: list[RestrictedMean | NotEstimable]) -> Estimate | NotEstimable:
    one, other = arms
    if isinstance(one, NotEstimable) or isinstance(other, NotEstimable):
        return one if isinstance(one, NotEstimable) else other
    return difference_of_restricted_means(one, other)


def misses(
    control: Draw, treatment: Draw, units: tuple[int, int], replications: int, seed: int
) -> tuple[float, float]:
    """How often the interval of the difference lies above, and below, the true one, of those that there are.

    All but one in a hundred are there.
    """
    rng = np.random.default_rng(seed)
    true = truth(treatment) - truth(control)
    found = [
        difference(
            [
                summary(draw(rng, n), rng.uniform(0.0, 2.0, n))
                for draw, n in zip((control, treatment), units, strict=True)
            ]
        )
        for _ in range(replications)
    ]
    there = [each for each in found if isinstance(each, Estimate)]
    assert len(there) >= 0.99 * replications
    above, below = (sum(each) for each in zip(*((e.low > true, e.high < true) for e in there), strict=True))
    return above / len(there), below / len(there)


def within(share: float, replications: int, slack: float = 0.005) -> bool:
    tolerance = slack + 4.0 * math.sqrt(0.025 * 0.975 / replications)
    return abs(share - 0.025) <= tolerance


PAIRS = {
    "alike": (exponential(1.0), exponential(1.0)),
    "quicker": (exponential(1.0), exponential(0.5)),
    "crossing curves": (exponential(0.6), weibull),
    "not everybody": (exponential(1.5), partly),
}


@pytest.mark.parametrize("pair", PAIRS)
def test_intervals_cover_with_half_of_the_units_still_out(pair: str) -> None:
    """150 units an arm, 1,500 replications: each end misses as often as it says."""
    for share in misses(*PAIRS[pair], (150, 150), 1500, 61):
        assert within(share, 1500)


@pytest.mark.long
@pytest.mark.parametrize("pair", PAIRS)
@pytest.mark.parametrize("units", [100, 1000])
def test_intervals_cover_in_many_replications(pair: str, units: int) -> None:
    """As above, 10,000 times."""
    for share in misses(*PAIRS[pair], (units, units), 10_000, 62):
        assert within(share, 10_000)


@pytest.mark.parametrize(
    ("units", "most"),
    [((2500, 2500), 0.03), pytest.param((25_000, 2500), 0.055, marks=pytest.mark.long)],
    ids=["equal arms", "ten to one"],
)
def test_rare_events_still_cover(units: tuple[int, int], most: float) -> None:
    """About 28 events in the smaller arm, 1,500 replications: no end misses more often than is said here.

    Where the other arm is ten times as large nothing evens out the skewness, and the end above misses in 4.8 %.
    """
    rare = exponential(66.0)
    above, below = misses(rare, rare, units, 1500, 63)
    for share in (above, below):
        assert share <= most + 4.0 * math.sqrt(most * (1.0 - most) / 1500)
    assert above + below >= 0.04 - 4.0 * math.sqrt(0.04 * 0.96 / 1500)


def false_alarms(replications: int, seed: int) -> tuple[float, float]:
    """Equal arms looked at three times while units come in: with Pocock boundaries, and at 1.96 each time.

    The boundaries are those of the shares of information that the looks hold on average.
    """
    rng = np.random.default_rng(seed)
    statistics, information = np.empty((replications, 3)), np.empty((replications, 3))
    for row in range(replications):
        entered = [rng.uniform(0.0, 3.0, 400) for _ in range(2)]
        times = [rng.exponential(1.0, 400) for _ in range(2)]
        for at, now in enumerate((1.5, 2.2, 4.0)):
            arms = [
                summary(time[entry < now], now - entry[entry < now])
                for time, entry in zip(times, entered, strict=True)
            ]
            found = difference(arms)
            assert isinstance(found, Estimate)
            assert found.statistic is not None
            statistics[row, at], information[row, at] = found.statistic, found.standard_error**-2
    shares = information.mean(axis=0) / information[:, -1].mean()
    limits = boundaries([float(share) for share in shares[:-1]] + [1.0], 0.05, pocock)
    return tuple(float((np.abs(statistics) > limit).any(axis=1).mean()) for limit in (limits, 1.96))  # type: ignore[return-value]


def test_registered_looks_keep_their_promise_while_units_are_still_out() -> None:
    """2,000 replications: 5 % at the boundaries, more than 9 % without them.

    A Kaplan–Meier estimate of one horizon is efficient at every look, and efficient estimates grow by independent
    increments (Scharfstein, Tsiatis & Robins 1997, JASA 92, 1342), as the boundaries suppose.
    """
    kept, naive = false_alarms(2000, 66)
    assert abs(kept - 0.05) <= 0.005 + 4.0 * math.sqrt(0.05 * 0.95 / 2000)
    assert naive >= 0.09 - 4.0 * math.sqrt(0.09 * 0.91 / 2000)
    assert naive > kept + 0.03


def clustered(replications: int, seed: int, *, known: bool) -> float:
    """How often a true difference of 0 is missed: 40 clusters an arm, of 1 to 20 units whose speeds are alike."""
    rng = np.random.default_rng(seed)
    missed = 0
    for _ in range(replications):
        arms = []
        for _ in range(2):
            clusters = np.repeat(np.arange(40), rng.integers(1, 21, 40))
            speed = np.exp(0.8 * rng.normal(size=40))[clusters]
            times, seen = rng.exponential(speed), rng.uniform(0.0, 2.0, clusters.size)
            arms.append(summary(times, seen, clusters if known else None))
        found = difference(arms)
        assert isinstance(found, Estimate)
        missed += not found.low <= 0.0 <= found.high
    return missed / replications


def test_clusters_carry_the_variance() -> None:
    """1,500 replications: about 5 % false alarms with clusters known, some 32 % with units taken for independent."""
    known, unknown = clustered(1500, 64, known=True), clustered(1500, 64, known=False)
    assert abs(known - 0.05) <= 0.005 + 4.0 * math.sqrt(0.05 * 0.95 / 1500)
    assert abs(unknown - 0.32) <= 0.03 + 4.0 * math.sqrt(0.32 * 0.68 / 1500)


def test_what_leaving_the_young_out_and_counting_them_as_they_are_would_do() -> None:
    """An arm whose mean is .632: units with an event or a whole window alone, or everybody's time so far, are far off."""
    rng = np.random.default_rng(65)
    times, seen = rng.exponential(1.0, 40_000), rng.uniform(0.0, 2.0, 40_000)
    found = summary(times, seen)
    assert isinstance(found, RestrictedMean)
    true = 1.0 - math.exp(-1.0)
    assert abs(found.value - true) <= 4.0 * found.standard_error
    so_far = np.minimum(np.minimum(times, seen), 1.0)
    complete = so_far[(times <= seen) | (seen >= 1.0)]
    for biased in (so_far, complete):
        assert abs(float(biased.mean()) - true) > 10.0 * found.standard_error
