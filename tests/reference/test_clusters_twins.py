"""Cluster-robust numbers beside dense matrices over all units, and beside another library."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
import statsmodels.api as sm  # type: ignore[import-untyped]

from equipoise.conduct.analyze import analyze
from equipoise.experiment.reading import read_canonical
from equipoise.stats.comparison.clusters import clustered_difference
from equipoise.stats.comparison.ratios import difference_of_ratios
from equipoise.stats.estimate import Estimate
from equipoise.stats.moments import PairMoments


def found(result: object) -> Estimate:
    assert isinstance(result, Estimate)
    return result


def rows(seed: int, clusters: int, *, within: bool) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Units as (outcome, treated, cluster), with clusters of very different sizes."""
    rng = np.random.default_rng(seed)
    cluster = np.repeat(np.arange(clusters), rng.integers(1, 12, clusters))
    treated = rng.integers(0, 2, cluster.size) if within else cluster % 2
    outcome = rng.normal(size=clusters)[cluster] + rng.normal(size=cluster.size) + 0.3 * treated
    return outcome, treated, cluster


def totals(y: np.ndarray, d: np.ndarray, g: np.ndarray) -> list[np.ndarray]:
    k = int(g.max()) + 1
    return [
        np.bincount(g, weights=w * (d == arm), minlength=k) for arm in (0, 1) for w in (y, np.ones(y.size))
    ]


def dense(y: np.ndarray, d: np.ndarray, g: np.ndarray) -> tuple[float, float, float]:
    """Imbens & Kolesár (2016), section III: CR2 variance and Bell–McCaffrey freedom, by whole matrices."""
    x = np.column_stack([np.ones(y.size), d])
    bread = np.linalg.inv(x.T @ x)
    hat = np.eye(y.size) - x @ bread @ x.T
    left, contrast = hat @ y, np.array([0.0, 1.0])
    pieces, columns = [], []
    for cluster in np.unique(g):
        own = np.flatnonzero(g == cluster)
        values, vectors = np.linalg.eigh(hat[np.ix_(own, own)])
        root = vectors @ np.diag(1 / np.sqrt(values)) @ vectors.T
        weight = root @ x[own] @ bread @ contrast
        pieces.append(left[own] @ weight)
        columns.append(hat[:, own] @ weight)
    b = np.array(columns) @ np.array(columns).T
    return (
        float((bread @ x.T @ y)[1]),
        float(np.sum(np.square(pieces))),
        float(np.trace(b) ** 2 / np.trace(b @ b)),
    )


@pytest.mark.parametrize("within", [False, True])
@pytest.mark.parametrize(("seed", "clusters"), [(1, 9), (2, 20), (3, 41)])
def test_cr2_and_its_freedom_from_totals_are_those_of_dense_matrices(
    seed: int, clusters: int, within: bool
) -> None:
    """Bell & McCaffrey's numbers need nothing but the clusters' totals."""
    y, d, g = rows(seed, clusters, within=within)
    ours = found(clustered_difference(*totals(y, d, g)))
    value, variance, freedom = dense(y, d, g)
    assert ours.value == pytest.approx(value, rel=1e-9)
    assert ours.standard_error**2 == pytest.approx(variance, rel=1e-9)
    assert ours.degrees_of_freedom == pytest.approx(freedom, rel=1e-9)


@pytest.mark.parametrize("within", [False, True])
def test_cr1_is_that_of_statsmodels(within: bool) -> None:
    """statsmodels also multiplies by (N − 1)/(N − 2), which totals of ratios do not know."""
    y, d, g = rows(4, 23, within=within)
    fit = sm.OLS(y, sm.add_constant(d)).fit(cov_type="cluster", cov_kwds={"groups": g})
    ours = found(clustered_difference(*totals(y, d, g), correction="CR1"))
    stata = (y.size - 1) / (y.size - 2)
    assert ours.standard_error**2 == pytest.approx(fit.cov_params()[1, 1] / stata, rel=1e-9)
    assert ours.degrees_of_freedom == len(np.unique(g)) - 1


def test_clusters_of_one_unit_are_the_difference_of_ratios() -> None:
    """CR2 with one unit in each cluster is Welch's unequal-variance error."""
    rng = np.random.default_rng(5)
    c, t = rng.normal(size=30), rng.normal(size=45)
    none_c, none_t = np.zeros(30), np.zeros(45)
    ours = found(
        clustered_difference(
            np.r_[c, none_t], np.r_[none_c + 1, none_t], np.r_[none_c, t], np.r_[none_c, none_t + 1]
        )
    )
    other = found(difference_of_ratios(PairMoments.of(c, none_c + 1), PairMoments.of(t, none_t + 1)))
    assert (ours.value, ours.standard_error) == pytest.approx((other.value, other.standard_error))


@pytest.mark.parametrize("seed", [11, 12, 13])
def test_shares_of_whole_clusters_are_the_weighted_regression_of_their_readings(seed: int) -> None:
    """Each reading by one over its cluster's readings, errors by cluster; a sample's variance has one cluster less."""
    _, d, g = rows(seed, 80, within=False)
    y = (np.random.default_rng(seed).random(g.size) < 0.5 + 0.1 * d + 0.2 * (g % 3)).astype(float)
    experiment = read_canonical({
        "name": "teams", "hypothesis": "Notes help.", "unit": {"type": "cluster"}, "changes": ["config"],
        "variants": {"control": {"config": {"notes": 0}}, "treatment": {"config": {"notes": 1}}},
        "metrics": {"thumbs": {"priority": "primary", "per_unit": "mean"}},
    })  # fmt: skip
    table = pa.table({
        "unit": [f"team-{team}" for team in g], "variant": [("control", "treatment")[arm] for arm in d], "thumbs_up": y,
    })  # fmt: skip
    ours = found(analyze(experiment, table).findings.primary[0].estimate)
    model = sm.WLS(y, sm.add_constant(d), weights=1.0 / np.bincount(g)[g])
    theirs = model.fit(cov_type="cluster", cov_kwds={"groups": g, "use_correction": False})
    assert ours.value == pytest.approx(theirs.params[1], rel=1e-9)
    # 40 clusters in each arm.
    assert ours.standard_error == pytest.approx(theirs.bse[1] * (40 / 39) ** 0.5, rel=1e-9)
