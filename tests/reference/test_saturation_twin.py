"""Control by its cluster's share of treatment beside a regression of all its units, with whole matrices, and another library."""

from __future__ import annotations

import numpy as np
import pytest
import statsmodels.api as sm  # type: ignore[import-untyped]

from equipoise.stats.estimate import Estimate
from equipoise.stats.health.saturation import Saturated, control_by_saturation
from equipoise.stats.moments import PairMoments


def drawn(seed: int, clusters: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Units as (outcome, treated, cluster), alike within clusters of very different sizes."""
    rng = np.random.default_rng(seed)
    cluster = np.repeat(np.arange(clusters), rng.integers(1, 12, clusters))
    treated = rng.random(cluster.size) < 0.4
    return rng.normal(size=clusters)[cluster] + rng.normal(size=cluster.size) + 1e3, treated, cluster


def control(y: np.ndarray, d: np.ndarray, g: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Control's outcomes, the shares of treatment among the others, one by one, and clusters."""
    kept = [i for i in np.flatnonzero(~d) if (g == g[i]).sum() > 1]
    shares = [d[(g == g[i]) & (np.arange(g.size) != i)].mean() for i in kept]
    return y[kept], np.array(shares), g[kept]


def cells(y: np.ndarray, d: np.ndarray, g: np.ndarray) -> list[Saturated]:
    held: dict[tuple[int, int], list[tuple[float, float]]] = {}
    for each in np.unique(g):
        own = g == each
        n, t = int(own.sum()), int(d[own].sum())
        if n > 1 and t < n:
            held.setdefault((n, t), []).append((float(y[own & ~d].sum()), float(n - t)))
    return [
        Saturated(n, t, PairMoments.of(*zip(*of, strict=True))) for (n, t), of in held.items()
    ]  # fmt: skip


@pytest.mark.parametrize(("seed", "clusters"), [(1, 30), (2, 50), (3, 150)])
def test_slope_error_and_freedom_are_those_of_dense_matrices(seed: int, clusters: int) -> None:
    """CR2 by the inverse root of each cluster's block of the hat matrix, and Bell and McCaffrey's freedom, in full."""
    found = control_by_saturation(cells(*drawn(seed, clusters)))
    assert isinstance(found, Estimate)
    y, s, g = control(*drawn(seed, clusters))
    x = np.column_stack([np.ones(y.size), s])
    bread = np.linalg.inv(x.T @ x)
    rest = np.eye(y.size) - x @ bread @ x.T
    left, contrast, pieces, columns = rest @ y, np.array([0.0, 1.0]), [], []
    for cluster in np.unique(g):
        own = np.flatnonzero(g == cluster)
        values, vectors = np.linalg.eigh(rest[np.ix_(own, own)])
        weight = vectors @ np.diag(values**-0.5) @ vectors.T @ x[own] @ bread @ contrast
        pieces.append(left[own] @ weight)
        columns.append(rest[:, own] @ weight)
    b = np.array(columns) @ np.array(columns).T
    assert found.value == pytest.approx(float((bread @ x.T @ y)[1]), rel=1e-7)
    assert found.standard_error == pytest.approx(float(np.sum(np.square(pieces))) ** 0.5, rel=1e-7)
    assert found.degrees_of_freedom == pytest.approx(float(np.trace(b) ** 2 / np.trace(b @ b)), rel=1e-7)


def test_with_many_clusters_it_is_what_another_library_says() -> None:
    """statsmodels' regression with errors by cluster, which knows no CR2: within a hundredth at 3,000 clusters."""
    found = control_by_saturation(cells(*drawn(4, 3000)))
    assert isinstance(found, Estimate)
    y, s, g = control(*drawn(4, 3000))
    theirs = sm.OLS(y, sm.add_constant(s)).fit(cov_type="cluster", cov_kwds={"groups": g})
    assert found.value == pytest.approx(theirs.params[1], rel=1e-6)
    assert found.standard_error == pytest.approx(theirs.bse[1], rel=0.01)
