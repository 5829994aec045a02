"""Coverage with clusters: few, unequal, and what the other corrections claim instead.

Seeded; the tolerance is that of a binomial count at |z| = 4, so one check in 16,000 would raise a false alarm.
"""

from __future__ import annotations

import math

import numpy as np
import pytest

from equipoise.stats.comparison.clusters import clustered_difference
from equipoise.stats.comparison.means import difference_of_means
from equipoise.stats.estimate import Estimate
from equipoise.stats.moments import Moments


def tolerance(share: float, replications: int) -> float:
    return 4.0 * math.sqrt(share * (1 - share) / replications)


def simulate(
    sizes_c: np.ndarray, sizes_t: np.ndarray, icc: float, replications: int, seed: int
) -> tuple[float, float, float]:
    """Coverage of CR2, of CR1 and of a t test that counts units, without an effect."""
    rng = np.random.default_rng(seed)
    k_c, k_t = sizes_c.size, sizes_t.size
    m_c, m_t = np.r_[sizes_c, np.zeros(k_t)], np.r_[np.zeros(k_c), sizes_t]
    cluster = np.repeat(np.arange(k_c + k_t), (m_c + m_t).astype(int))
    treated = cluster >= k_c
    covered = [0, 0, 0]
    for _ in range(replications):
        y = math.sqrt(icc) * rng.normal(size=k_c + k_t)[cluster]
        y += math.sqrt(1 - icc) * rng.normal(size=cluster.size)
        sums = np.bincount(cluster, weights=y)
        s_c, s_t = np.where(m_c > 0, sums, 0.0), np.where(m_t > 0, sums, 0.0)
        found = [
            clustered_difference(s_c, m_c, s_t, m_t),
            clustered_difference(s_c, m_c, s_t, m_t, correction="CR1"),
            difference_of_means(Moments.of(y[~treated]), Moments.of(y[treated])),
        ]
        for i, e in enumerate(found):
            assert isinstance(e, Estimate)
            covered[i] += e.low <= 0.0 <= e.high
    share_2, share_1, units = (c / replications for c in covered)
    return share_2, share_1, units


def test_few_clusters_are_covered_and_units_alone_are_not() -> None:
    """Ten clusters of twenty in each arm, ICC .1, 2,500 replications; a point for the approximate freedom."""
    cr2, cr1, units = simulate(np.full(10, 20), np.full(10, 20), 0.1, 2500, 41)
    assert cr2 == pytest.approx(0.95, abs=0.01 + tolerance(0.95, 2500))
    assert cr1 == pytest.approx(0.95, abs=0.015 + tolerance(0.95, 2500))
    assert units < 0.80


def test_one_thin_arm_is_covered_by_cr2_and_not_by_cr1() -> None:
    """Five clusters against forty, ICC .1, 2,500 replications: CR1 with G − 1 degrees claims too much."""
    cr2, cr1, _ = simulate(np.full(40, 20), np.full(5, 20), 0.1, 2500, 42)
    assert cr2 == pytest.approx(0.95, abs=0.015 + tolerance(0.95, 2500))
    assert cr1 < 0.95 - 0.02 - tolerance(0.95, 2500)


def test_unequal_clusters_are_nearly_covered() -> None:
    """Fifteen in each arm, sizes from 2 to 200, ICC .05, 2,500 replications; three points, since the working model
    of independent units is then wrong and clusters few."""
    sizes = np.round(np.geomspace(2, 200, 15))
    cr2, cr1, _ = simulate(sizes, sizes, 0.05, 2500, 43)
    assert cr2 == pytest.approx(0.95, abs=0.03 + tolerance(0.95, 2500))
    assert cr1 < cr2
