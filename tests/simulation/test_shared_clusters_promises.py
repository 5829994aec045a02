"""False alarms, power and looks where units of one cluster fall into both arms: as many as registered, and no fewer.

Seeded; the tolerance is that of a binomial count at |z| = 4, so one check in 16,000 would raise a false alarm. Clusters
are of one unit and a Poisson number of others, nine on average; the intraclass correlation is 0.3.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
import pytest

from equipoise.stats.comparison.quantiles import (
    QuantileSummary,
    difference_of_quantiles,
    quantile_of,
    quantile_overlap,
)
from equipoise.stats.comparison.ratios import difference_of_ratios
from equipoise.stats.comparison.restricted_means import (
    RestrictedMean,
    difference_of_restricted_means,
    restricted_mean_of,
)
from equipoise.stats.comparison.shared_clusters import Overlap, SharedVariance
from equipoise.stats.covariates.cuped import Adjusted, cuped_ratios
from equipoise.stats.cross_moments import CrossMoments
from equipoise.stats.estimate import Estimate
from equipoise.stats.judges.corrected_totals import JudgedTotals, corrected_difference_of_totals
from equipoise.stats.moments import PairMoments

ICC, OTHERS = 0.3, 9
POCOCK_AT_THREE = 2.289
"""Pocock (1977), table 1: three looks, two-sided alpha 0.05."""
KINDS = ("mean", "proportion", "ratio")


def tolerance(share: float, replications: int) -> float:
    return 4.0 * math.sqrt(share * (1 - share) / replications)


def units(
    kind: str, clusters: int, rng: np.random.Generator, effect: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Outcome, size, whether treated, and cluster of each unit; every unit draws an arm of its own."""
    cluster = np.repeat(np.arange(clusters), 1 + rng.poisson(OTHERS, clusters))
    treated = rng.random(cluster.size) < 0.5
    size = np.ones(cluster.size)
    if kind == "proportion":
        spare = 1.0 / ICC - 1.0
        rate = rng.beta(0.3 * spare, 0.7 * spare, clusters)[cluster]
        return (rng.random(cluster.size) < rate).astype(float), size, treated, cluster
    like = math.sqrt(ICC) * rng.normal(size=clusters)[cluster]
    own = math.sqrt(1.0 - ICC) * rng.normal(size=cluster.size)
    if kind == "ratio":
        size = 1.0 + rng.poisson(3, cluster.size)
        return size * (3.0 + like + own + effect * treated), size, treated, cluster
    return 3.0 + like + own + effect * treated, size, treated, cluster


def read(
    x: np.ndarray, y: np.ndarray, treated: np.ndarray, cluster: np.ndarray, *, matched: bool = True
) -> Estimate:
    """The difference, with what clusters have in common taken off; or as if each arm had clusters of its own."""
    k = int(cluster.max()) + 1
    arms = []
    for chosen in (~treated, treated):
        own = cluster[chosen]
        sums = [np.bincount(own, weights=each[chosen], minlength=k) for each in (x, y)]
        arms.append((*sums, np.bincount(own, minlength=k) > 0))
    (x_c, y_c, in_c), (x_t, y_t, in_t) = arms
    both = in_c & in_t
    found = difference_of_ratios(
        PairMoments.of(x_c[in_c], y_c[in_c]),
        PairMoments.of(x_t[in_t], y_t[in_t]),
        shared=CrossMoments.of(x_c[both], y_c[both], x_t[both], y_t[both]) if matched else None,
    )
    assert isinstance(found, Estimate)
    return found


def crossings(
    kind: str, clusters: int, replications: int, seed: int, *, effect: float = 0.0
) -> tuple[float, float]:
    """In what share of replications the effect is significant at 0.05, and would be were the arms taken for independent."""
    rng = np.random.default_rng(seed)
    crossed = np.zeros(2)
    for _ in range(replications):
        drawn = units(kind, clusters, rng, effect)
        crossed += [(read(*drawn, matched=each).p_value or 1.0) < 0.05 for each in (True, False)]
    matched, apart = crossed / replications
    return float(matched), float(apart)


@pytest.mark.parametrize("kind", KINDS)
def test_an_a_a_crosses_in_five_per_cent(kind: str) -> None:
    """Forty clusters, 2,500 replications, half a point for the approximation; with independent arms next to none would."""
    matched, apart = crossings(kind, 40, 2_500, 11)
    assert matched == pytest.approx(0.05, abs=0.005 + tolerance(0.05, 2_500))
    assert apart < 0.01


def test_the_power_is_that_of_units_that_are_not_alike() -> None:
    """Two hundred clusters, an effect planned for 80 % without a design effect: found in 80 %, and not in half (n 1,500)."""
    effect = (1.959964 + 0.841621) * math.sqrt(4.0 / (200 * (1 + OTHERS)))
    matched, apart = crossings("mean", 200, 1_500, 12, effect=effect)
    assert matched == pytest.approx(0.80, abs=0.01 + tolerance(0.80, 1_500))
    assert apart < 0.50


@pytest.mark.long
@pytest.mark.parametrize(("clusters", "replications"), [(40, 40_000), (200, 40_000), (2_000, 10_000)])
@pytest.mark.parametrize("kind", KINDS)
def test_an_a_a_crosses_in_five_per_cent_within_half_a_point(
    kind: str, clusters: int, replications: int
) -> None:
    """Means, rates and ratios, from forty to two thousand clusters; half a point beside the tolerance of the count."""
    matched, apart = crossings(kind, clusters, replications, 13)
    assert matched == pytest.approx(0.05, abs=0.005 + tolerance(0.05, replications))
    assert apart < 0.01


def looks(clusters: int, rng: np.random.Generator) -> Iterator[float]:
    """The statistic at three looks, while units of the same clusters go on coming in."""
    x, y, treated, cluster = units("mean", clusters, rng, 0.0)
    came = rng.permutation(x.size)
    for share in (1 / 3, 2 / 3, 1.0):
        seen = came[: round(share * x.size)]
        yield abs(read(x[seen], y[seen], treated[seen], cluster[seen]).statistic or 0.0)


@pytest.mark.long
def test_looks_at_clusters_that_go_on_growing_cross_in_five_per_cent() -> None:
    """Three Pocock looks at 400 clusters, the same at every look: 5 % in all (n 20,000); at 1.96 each time more than 10 %."""
    rng = np.random.default_rng(14)
    most = np.array([max(looks(400, rng)) for _ in range(20_000)])
    assert float((most > POCOCK_AT_THREE).mean()) == pytest.approx(0.05, abs=0.005 + tolerance(0.05, 20_000))
    assert float((most > 1.96).mean()) > 0.095


def quantile_crossings(clusters: int, replications: int, seed: int, q: float = 0.9) -> tuple[float, float]:
    """In what share of A/As the difference of a quantile is significant, of turns whose users fall into both arms."""
    rng = np.random.default_rng(seed)
    crossed = np.zeros(2)
    for _ in range(replications):
        x, _, treated, cluster = units("mean", clusters, rng, 0.0)
        arms, pairs = [], []
        for chosen in (~treated, treated):
            summary = quantile_of(x[chosen], cluster[chosen], q=q)
            assert isinstance(summary, QuantileSummary)
            below = np.bincount(cluster[chosen], weights=x[chosen] <= summary.value, minlength=clusters)
            arms.append(summary)
            pairs.append((below, np.bincount(cluster[chosen], minlength=clusters).astype(float)))
        (a, b), (c, d) = pairs
        both = (b > 0) & (d > 0)
        overlap = quantile_overlap(
            PairMoments.of(a[b > 0], b[b > 0]),
            PairMoments.of(c[d > 0], d[d > 0]),
            CrossMoments.of(a[both], b[both], c[both], d[both]),
        )
        for i, each in enumerate((overlap, None)):
            found = difference_of_quantiles(arms[0], arms[1], overlap=each)
            assert isinstance(found, Estimate)
            crossed[i] += (found.p_value or 1.0) < 0.05
    matched, apart = crossed / replications
    return float(matched), float(apart)


def test_a_quantile_crosses_in_five_per_cent_too() -> None:
    """The 90th percentile, 200 clusters, 2,000 A/As, a point for the order statistics; of independent arms too few would."""
    matched, apart = quantile_crossings(200, 2_000, 15)
    assert matched == pytest.approx(0.05, abs=0.01 + tolerance(0.05, 2_000))
    assert apart < matched


def time_crossings(clusters: int, replications: int, seed: int) -> tuple[float, float]:
    """In what share of A/As the difference of mean times to an event is significant, half of the units censored."""
    rng = np.random.default_rng(seed)
    crossed = np.zeros(2)
    for _ in range(replications):
        x, _, treated, cluster = units("mean", clusters, rng, 0.0)
        waited, seen = np.exp(x - 3.0), rng.uniform(0.2, 3.0, x.size)
        time, event = np.minimum(waited, seen), waited <= seen
        arms = [
            restricted_mean_of(time[chosen], event[chosen], horizon=2.0, clusters=cluster[chosen])
            for chosen in (~treated, treated)
        ]
        control, treatment = arms
        assert isinstance(control, RestrictedMean)
        assert isinstance(treatment, RestrictedMean)
        c, t = (
            influences(time[chosen], event[chosen], cluster[chosen], clusters)
            for chosen in (~treated, treated)
        )
        both = (np.bincount(cluster[~treated], minlength=clusters) > 0) & (
            np.bincount(cluster[treated], minlength=clusters) > 0
        )
        scale = [arm.blocks / (arm.blocks - 1.0) for arm in (control, treatment)]
        shared = SharedVariance(
            int(both.sum()),
            float(c[both] @ c[both]) * scale[0],
            float(t[both] @ t[both]) * scale[1],
            float(c[both] @ t[both]) * math.sqrt(scale[0] * scale[1]),
        )
        overlap = Overlap.told(shared, control.standard_error**2, treatment.standard_error**2)
        for i, each in enumerate((overlap, None)):
            found = difference_of_restricted_means(control, treatment, overlap=each)
            assert isinstance(found, Estimate)
            crossed[i] += (found.p_value or 1.0) < 0.05
    matched, apart = crossed / replications
    return float(matched), float(apart)


def influences(
    time: np.ndarray, event: np.ndarray, cluster: np.ndarray, clusters: int, horizon: float = 2.0
) -> np.ndarray:
    """How much each cluster moves the area under the curve, by the curve with each unit counted a little more."""
    order = np.argsort(time, kind="stable")
    t, died = np.minimum(time[order], horizon), event[order] & (time[order] < horizon)
    at_risk = np.arange(t.size, 0, -1.0)
    curve = np.cumprod(np.where(died, 1.0 - 1.0 / at_risk, 1.0))
    area = np.cumsum((curve * np.diff(np.append(t, horizon)))[::-1])[::-1]
    left = np.where(at_risk > 1.0, area / np.maximum(at_risk - 1.0, 1.0), 0.0)
    hazard = np.cumsum(np.where(died, left / at_risk, 0.0))
    found: np.ndarray = np.bincount(
        cluster[order], weights=hazard - np.where(died, left, 0.0), minlength=clusters
    )
    return found


def test_a_mean_time_crosses_in_five_per_cent_too() -> None:
    """Times of which a third are not seen to the end, 200 clusters, 2,000 A/As, a point beside the tolerance."""
    matched, apart = time_crossings(200, 2_000, 16)
    assert matched == pytest.approx(0.05, abs=0.01 + tolerance(0.05, 2_000))
    assert apart < 0.02


def by_arm(
    columns: list[np.ndarray], treated: np.ndarray, cluster: np.ndarray
) -> tuple[CrossMoments, CrossMoments, CrossMoments]:
    """Sums of the columns by cluster in control and in the treatment, and in both of those that are in both."""
    k = int(cluster.max()) + 1
    sums = [
        np.array([np.bincount(cluster, weights=column * chosen, minlength=k) for column in columns])
        for chosen in (~treated, treated)
    ]
    there = [np.bincount(cluster[chosen], minlength=k) > 0 for chosen in (~treated, treated)]
    both = there[0] & there[1]
    control, treatment = (CrossMoments.of(*each[:, here]) for each, here in zip(sums, there, strict=True))
    return control, treatment, CrossMoments.of(*(row[both] for each in sums for row in each))


def test_covariates_take_off_as_much_and_no_more() -> None:
    """Forty clusters, two covariates of which one is like its cluster, 2,500 A/As: 5 % cross, and 5 % are unbalanced at 5 %."""
    rng = np.random.default_rng(17)
    crossed = unbalanced = 0
    for _ in range(2_500):
        x, ones, treated, cluster = units("mean", 40, rng, 0.0)
        like = rng.normal(size=40)[cluster] + rng.normal(size=x.size)
        covariates = [each - each.mean() for each in (x + like, rng.normal(size=x.size))]
        control, treatment, shared = by_arm([x, ones, *covariates], treated, cluster)
        found = cuped_ratios(control, treatment, shared=shared)
        assert isinstance(found, Adjusted)
        crossed += (found.estimate.p_value or 1.0) < 0.05
        unbalanced += found.balance_p < 0.05
    assert crossed / 2_500 == pytest.approx(0.05, abs=0.01 + tolerance(0.05, 2_500))
    assert unbalanced / 2_500 == pytest.approx(0.05, abs=0.01 + tolerance(0.05, 2_500))


def test_a_judge_corrected_by_labels_crosses_in_five_per_cent_too() -> None:
    """A hundred clusters, half of the turns labelled, a judge wrong in 15 %, 2,000 A/As; of independent arms too few would."""
    rng = np.random.default_rng(18)
    crossed = np.zeros(2)
    for _ in range(2_000):
        said, ones, treated, cluster = units("proportion", 100, rng, 0.0)
        judge = np.where(rng.random(said.size) < 0.85, said, 1.0 - said)
        asked = (rng.random(said.size) < 0.5) * 2.0
        moments = by_arm([judge, ones, said * asked, asked, judge * asked], treated, cluster)
        control, treatment = (
            JudgedTotals(each, int(chosen.sum()), int((asked[chosen] > 0).sum()))
            for each, chosen in zip(moments, (~treated, treated), strict=False)
        )
        for i, shared in enumerate((moments[2], None)):
            found = corrected_difference_of_totals(control, treatment, shared=shared)
            assert isinstance(found, Estimate)
            crossed[i] += (found.p_value or 1.0) < 0.05
    matched, apart = crossed / 2_000
    assert matched == pytest.approx(0.05, abs=0.01 + tolerance(0.05, 2_000))
    assert apart < 0.02
