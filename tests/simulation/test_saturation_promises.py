"""Control by its cluster's share of treatment alarms in 5 % without interference, and finds one that is there.

The world: clusters whose numbers of units are lognormal, units alike within them by an intraclass correlation, each unit drawn to
treatment by itself. Seeded; short tests tolerate a binomial count at |z| = 4 (one false alarm in 16,000), long ones half a point,
which 40,000 replications leave by chance once in 200,000. Where sizes vary wildly, or clusters are at their fewest, the test
alarms too rarely, and has a point and a half to do so.
"""

from __future__ import annotations

import math

import numpy as np
import pytest

from equipoise.stats.estimate import NotEstimable
from equipoise.stats.health.saturation import Saturated, control_by_saturation
from equipoise.stats.moments import PairMoments

ALPHA = 0.05


class Apart(Saturated):
    """The share with the unit itself counted in, as it must not be."""

    @property
    def share(self) -> float:
        return self.treated / self.units


def alarms(
    clusters: int,
    mean: float,
    cv: float,
    icc: float,
    replications: int,
    *,
    p: float = 0.5,
    spill: float = 0.0,
    of_size: float = 0.0,
    saturations: tuple[float, ...] = (),
    kind: type[Saturated] = Saturated,
) -> float:
    """How often control is seen to differ with the share, which moves it by `spill` spreads of a unit from 0 to 1.

    `of_size` is what an outcome changes by with each doubling of the cluster; with `saturations` each cluster is drawn to one.
    """
    rng, seen = np.random.default_rng((clusters, round(mean), round(100 * icc))), 0
    width = math.sqrt(math.log1p(cv * cv))
    for _ in range(replications):
        units = np.maximum(1, np.round(mean * np.exp(rng.normal(-width * width / 2, width, clusters))))
        chance = rng.choice(saturations, clusters) if saturations else np.full(clusters, p)
        treated = rng.binomial(units.astype(int), chance)
        left = units - treated
        level = math.sqrt(icc) * rng.normal(size=clusters) + of_size * np.log2(units)
        level += spill * treated / np.maximum(units - 1, 1)
        sums = left * level + np.sqrt(left * (1 - icc)) * rng.normal(size=clusters)
        found = control_by_saturation(
            [
                kind(int(n), int(t), PairMoments(1, x, y, 0.0, 0.0, 0.0))
                for n, t, x, y in zip(units, treated, sums.tolist(), left.tolist(), strict=True)
                if n > 1 and y > 0
            ]
        )
        # Where it cannot be told there is no alarm.
        seen += not isinstance(found, NotEstimable) and found.p_value is not None and found.p_value < ALPHA
    return seen / replications


def near(share: float, replications: int) -> float:
    return max(4.0 * math.sqrt(share * (1 - share) / replications), 0.005)


@pytest.mark.parametrize(
    ("clusters", "mean", "icc"), [(40, 8.0, 0.1), (60, 20.0, 0.2), (200, 8.0, 0.1), (200, 3.0, 0.3)]
)
@pytest.mark.parametrize("replications", [1500, pytest.param(40_000, marks=pytest.mark.long)])
def test_without_interference_one_in_twenty_alarms(
    clusters: int, mean: float, icc: float, replications: int
) -> None:
    """Sizes vary by six tenths; an outcome that goes with the size of a cluster changes nothing."""
    of_size = 0.2 if clusters == 200 else 0.0
    found = alarms(clusters, mean, 0.6, icc, replications, of_size=of_size)
    assert found == pytest.approx(ALPHA, abs=near(ALPHA, replications))


@pytest.mark.parametrize(("clusters", "cv", "p"), [(20, 0.6, 0.5), (60, 1.0, 0.5), (60, 0.6, 0.2)])
@pytest.mark.parametrize("replications", [1500, pytest.param(40_000, marks=pytest.mark.long)])
def test_few_and_wildly_unequal_clusters_do_not_alarm_too_often(
    clusters: int, cv: float, p: float, replications: int
) -> None:
    """The fewest clusters that are read out, sizes that vary by as much as they are, a fifth treated: on the safe side."""
    found = alarms(clusters, 12.0, cv, 0.2, replications, p=p)
    allowed = near(ALPHA, replications)
    assert ALPHA - allowed - 0.015 < found < ALPHA + allowed


@pytest.mark.parametrize("replications", [600, pytest.param(10_000, marks=pytest.mark.long)])
def test_what_spills_over_is_found(replications: int) -> None:
    """Half a spread from none to all treated, 500 teams of ten, a correlation of .1; with saturations of .2, .5 and .8 150 do."""
    by_chance = alarms(500, 10.0, 0.6, 0.1, replications, spill=0.5)
    by_design = alarms(150, 10.0, 0.6, 0.1, replications, spill=0.5, saturations=(0.2, 0.5, 0.8))
    assert by_chance > 0.9 - near(0.9, replications)
    assert by_design > 0.78 - near(0.78, replications)


def test_drawn_saturations_alarm_as_rarely() -> None:
    """Two-stage randomisation without interference: 5 %, 1,500 replications."""
    found = alarms(60, 10.0, 0.6, 0.1, 1500, saturations=(0.2, 0.5, 0.8))
    assert found == pytest.approx(ALPHA, abs=near(ALPHA, 1500))


def test_a_unit_that_counts_in_its_own_share_alarms_for_nothing() -> None:
    """Where outcomes go with the size of clusters, 400 of them: 5 % with the unit left out, more than half with it, 400 replications."""
    assert alarms(400, 4.0, 0.6, 0.1, 400, of_size=0.5) == pytest.approx(ALPHA, abs=near(ALPHA, 400))
    assert alarms(400, 4.0, 0.6, 0.1, 400, of_size=0.5, kind=Apart) > 0.5
