"""Arms with units in the same clusters, beside regressions with cluster-robust errors and sums over clusters one by one."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import statsmodels.api as sm  # type: ignore[import-untyped]

from equipoise import analyze
from equipoise.experiment.definition import Experiment
from equipoise.experiment.reading import load_experiment
from equipoise.stats.comparison.clusters import clustered_difference
from equipoise.stats.comparison.ratios import difference_of_ratios
from equipoise.stats.covariates.cuped import Adjusted, cuped_ratios
from equipoise.stats.covariates.cuped_relative import cuped_ratios_relative
from equipoise.stats.cross_moments import CrossMoments
from equipoise.stats.estimate import Estimate

DEFINITION = """
name: shared
hypothesis: What conversations of one user have in common cancels between the arms.
changes: [config]
unit: {type: conversation}
cluster: user
variants: {control: {config: {x: 1}}, a: {config: {x: 2}}, b: {config: {x: 3}}}
segments: [tier]
metrics:
  spent: {priority: primary, kind: mean, of: outcome.spent, better: higher, spread: 1.0, mde: 0.1}
  ok: {kind: proportion, of: outcome.ok, better: higher, per_unit: any}
  per_try: {kind: ratio, of: outcome.spent, per: outcome.tries, better: higher}
critical_segments: [{where: tier=x, metric: ok, margin: 50%}]
"""


def found(result: object) -> Estimate:
    assert isinstance(result, Estimate)
    return result


def units(
    seed: int, clusters: int, arms: int = 2, most: int = 12
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Outcome, denominator, arm and cluster of units: one to `most` less one in a cluster, each with an arm of its own."""
    rng = np.random.default_rng(seed)
    cluster = np.repeat(np.arange(clusters), rng.integers(1, most, clusters))
    arm = rng.integers(0, arms, cluster.size)
    tries = rng.integers(1, 5, cluster.size).astype(float)
    outcome = 3.0 + rng.normal(size=clusters)[cluster] + rng.normal(size=cluster.size) + 0.3 * (arm > 0)
    return outcome, tries, arm, cluster


def in_arm(columns: list[np.ndarray], chosen: np.ndarray, cluster: np.ndarray) -> tuple[np.ndarray, ...]:
    """The sums of each cluster in an arm, and whether it is there at all."""
    k = int(cluster.max()) + 1
    sums = [np.bincount(cluster, weights=column * chosen, minlength=k) for column in columns]
    return *sums, np.bincount(cluster, weights=chosen, minlength=k) > 0


def moments(
    columns: list[np.ndarray], arm: np.ndarray, cluster: np.ndarray, other: int = 1
) -> tuple[CrossMoments, CrossMoments, CrossMoments]:
    """Control's sums per cluster, another arm's, and those of the clusters in both."""
    *c, in_c = in_arm(columns, arm == 0, cluster)
    *t, in_t = in_arm(columns, arm == other, cluster)
    both = in_c & in_t
    return (
        CrossMoments.of(*(column[in_c] for column in c)),
        CrossMoments.of(*(column[in_t] for column in t)),
        CrossMoments.of(*(column[both] for column in (*c, *t))),
    )


def pieces(columns: list[np.ndarray], arm: np.ndarray, cluster: np.ndarray, other: int = 1) -> np.ndarray:
    """What each cluster adds to the difference of sum(x)/sum(y), and of the means of further columns."""
    sides = []
    for number in (0, other):
        *sums, there = in_arm(columns, arm == number, cluster)
        n = int(there.sum())
        ratio = sums[0].sum() / sums[1].sum()
        own = [(sums[0] - ratio * sums[1]) / sums[1][there].mean()]
        own += [np.where(there, column - column[there].mean(), 0.0) for column in sums[2:]]
        sides.append(np.array(own) / math.sqrt(n * (n - 1.0)))
    found: np.ndarray = sides[1] - sides[0]
    return found


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_a_mean_is_least_squares_with_errors_by_cluster(seed: int) -> None:
    """With every cluster in both arms it is statsmodels' sandwich times G/(G − 1), and CR1 with G − 1 degrees."""
    y, _, d, g = units(seed, 60, most=30)
    ones = np.ones(y.size)
    c, t, shared = moments([y, ones], d, g)
    kept = np.isin(g, np.flatnonzero(in_arm([y], d == 0, g)[1] & in_arm([y], d == 1, g)[1]))
    y, d, g, ones = y[kept], d[kept], np.unique(g[kept], return_inverse=True)[1], ones[kept]
    c, t, shared = moments([y, ones], d, g)
    ours = found(difference_of_ratios(c.pair(0, 1), t.pair(0, 1), shared=shared))
    fit = sm.OLS(y, sm.add_constant(d)).fit(cov_type="cluster", cov_kwds={"groups": g})
    assert ours.value == pytest.approx(fit.params[1], rel=1e-9)
    stata = (y.size - 1) / (y.size - 2)
    assert ours.standard_error**2 == pytest.approx(fit.cov_params()[1, 1] / stata, rel=1e-9)
    *of_c, _ = in_arm([y, ones], d == 0, g)
    *of_t, _ = in_arm([y, ones], d == 1, g)
    cr1 = found(clustered_difference(*of_c, *of_t, correction="CR1"))
    assert ours.degrees_of_freedom == pytest.approx(shared.n - 1)
    assert (ours.low, ours.high, ours.p_value) == pytest.approx((cr1.low, cr1.high, cr1.p_value), rel=1e-9)


@pytest.mark.parametrize("seed", [4, 5])
def test_a_ratio_is_weighted_least_squares_with_errors_by_cluster(seed: int) -> None:
    """Of x/y with y as weights; statsmodels counts one G for both arms, where one has a few clusters more than the other."""
    x, y, d, g = units(seed, 400)
    c, t, shared = moments([x, y], d, g)
    ours = found(difference_of_ratios(c.pair(0, 1), t.pair(0, 1), shared=shared))
    fit = sm.WLS(x / y, sm.add_constant(d), weights=y).fit(cov_type="cluster", cov_kwds={"groups": g})
    assert ours.value == pytest.approx(fit.params[1], rel=1e-9)
    assert ours.standard_error == pytest.approx(math.sqrt(fit.cov_params()[1, 1]), rel=1e-3)
    each = pieces([x, y], d, g)[0]
    assert ours.standard_error**2 == pytest.approx(float(each @ each), rel=1e-9)
    assert shared.n < ours.degrees_of_freedom < c.n + t.n - shared.n


@pytest.mark.parametrize("seed", [6, 7])
def test_the_adjustment_is_a_regression_of_the_clusters_differences(seed: int) -> None:
    """θ is what explains most of each cluster's piece of the difference by its pieces of the covariates' differences."""
    x, y, d, g = units(seed, 80)
    rng = np.random.default_rng(seed)
    like = x - x.mean() + rng.normal(size=x.size)
    columns = [x, y, like, rng.normal(size=x.size)]
    c, t, shared = moments(columns, d, g)
    ours = cuped_ratios(c, t, shared=shared)
    assert isinstance(ours, Adjusted)
    each = pieces(columns, d, g)
    theta, *_ = np.linalg.lstsq(each[1:].T, each[0], rcond=None)
    assert ours.coefficients == pytest.approx(theta, rel=1e-6)
    left = each[0] - theta @ each[1:]
    clusters, k = c.n + t.n - shared.n, 2
    shift = np.array(t.means[2:]) - np.array(c.means[2:])
    hotelling = float(shift @ np.linalg.inv(each[1:] @ each[1:].T) @ shift)
    inflation = (clusters - 2) / (clusters - 2 - k) * (1 + hotelling / (clusters - 2))
    assert ours.estimate.standard_error**2 == pytest.approx(float(left @ left) * inflation, rel=1e-9)
    assert ours.estimate.value == pytest.approx(ours.plain.value - float(theta @ shift), rel=1e-9)
    assert ours.plain == found(
        difference_of_ratios(c.pair(0, 1), t.pair(0, 1), shared=shared.columns(0, 1, 4, 5))
    )
    relative = cuped_ratios_relative(c, t, shared=shared)
    assert isinstance(relative, Adjusted)
    assert relative.estimate.p_value == pytest.approx(ours.estimate.p_value, rel=1e-6)


def shown(folder: Path) -> Experiment:
    (folder / "shared.yaml").write_text(DEFINITION, encoding="utf-8")
    return load_experiment(folder / "shared.yaml")


def test_every_effect_of_a_read_out_counts_what_its_clusters_share(tmp_path: Path) -> None:
    """Means, rates and ratios, absolute and relative, of two treatments, in segments: the sums of the clusters' pieces."""
    x, tries, arm, g = units(8, 150, arms=3)
    ok = x > 3.4
    tier = np.where(g % 3 == 0, "y", "x")
    frame = pl.DataFrame(
        {
            "unit": [f"c{i}" for i in range(x.size)],
            "user": [f"u{each}" for each in g],
            "variant": np.array(["control", "a", "b"])[arm],
            "tier": tier,
            "spent": x,
            "ok": ok,
            "tries": tries,
        }
    )
    findings = analyze(shown(tmp_path), frame, closing=True).findings
    ones = np.ones(x.size)
    columns = {"spent": [x, ones], "ok": [ok.astype(float), ones], "per_try": [x, tries]}
    told = 0
    for effect in (*findings.effects, *findings.segments):
        among = np.full(x.size, True) if effect.segment is None else tier == effect.segment[-1]
        own, of, cluster = [each[among] for each in columns[effect.metric]], arm[among], g[among]
        other = ["control", "a", "b"].index(effect.variant)
        each = pieces(own, of, cluster, other)[0]
        ratio = [own[0][of == i].sum() / own[1][of == i].sum() for i in (0, other)]
        estimate = found(effect.estimate)
        assert estimate.value == pytest.approx(ratio[1] - ratio[0], rel=1e-9)
        assert estimate.standard_error**2 == pytest.approx(float(each @ each), rel=1e-9)
        relative = found(effect.relative)
        c, t, shared = moments(own, of, cluster, other)
        scaled = float(
            np.sum(
                (pieces_of(own, of, cluster, 0) * ratio[1] / ratio[0] - pieces_of(own, of, cluster, other))
                ** 2
            )
        )
        assert relative.standard_error == pytest.approx(math.sqrt(scaled) / ratio[0], rel=1e-9)
        assert relative.p_value == pytest.approx(estimate.p_value, rel=1e-9)
        assert (
            estimate.standard_error < found(difference_of_ratios(c.pair(0, 1), t.pair(0, 1))).standard_error
        )
        assert shared.n > 20
        told += 1
    assert told == 2 * (3 + 1 + 2)


def pieces_of(columns: list[np.ndarray], arm: np.ndarray, cluster: np.ndarray, number: int) -> np.ndarray:
    """What each cluster adds to one arm's ratio."""
    x, y, there = in_arm(columns, arm == number, cluster)
    n = int(there.sum())
    found: np.ndarray = (x - x.sum() / y.sum() * y) / y[there].mean() / math.sqrt(n * (n - 1.0))
    return found


@pytest.mark.parametrize("clusters", [31, 60])
def test_nothing_jumps_where_clusters_cease_to_be_few(clusters: int) -> None:
    """From thirty on the error is within 5 per cent of CR2's, and the interval, which has more freedom, within 8."""
    for seed in range(20):
        x, _, d, g = units(100 + seed, clusters, most=30)
        ones = np.ones(x.size)
        c, t, shared = moments([x, ones], d, g)
        *of_c, _ = in_arm([x, ones], d == 0, g)
        *of_t, _ = in_arm([x, ones], d == 1, g)
        ours = found(difference_of_ratios(c.pair(0, 1), t.pair(0, 1), shared=shared))
        few = found(clustered_difference(*of_c, *of_t))
        assert ours.standard_error == pytest.approx(few.standard_error, rel=0.05)
        assert ours.high - ours.low == pytest.approx(few.high - few.low, rel=0.08)


def test_a_mean_time_of_all_events_is_the_mean_of_the_times(tmp_path: Path) -> None:
    """Seen for the whole window, the restricted mean has the error of the mean of min(time, window), matched by cluster."""
    (tmp_path / "times.yaml").write_text(
        """
name: times
hypothesis: Users wait for as long as they do, in whichever arm.
changes: [config]
unit: {type: conversation}
cluster: user
variants: {control: {config: {x: 1}}, a: {config: {x: 2}}, b: {config: {x: 3}}}
metrics:
  solved: {priority: primary, kind: time_to_event, of: outcome.done, better: lower, window: 1h, baseline: 1000, spread: 900, mde: 100}
  took: {kind: mean, of: outcome.took, better: lower}
""",
        encoding="utf-8",
    )
    x, _, arm, g = units(9, 120, arms=3)
    waited = np.exp(x + 4.0)
    names = np.array(["control", "a", "b"])[arm]
    rows = [{"unit": f"c{i}", "user": f"u{g[i]}", "variant": names[i], "time": 1e9} for i in range(x.size)]
    rows += [
        {**row, "time": 1e9 + waited[i], "done": True, "took": min(waited[i], 3600.0)}
        for i, row in enumerate(rows)
    ]
    rows.append({"unit": None, "user": None, "variant": "a", "time": 1e9 + 1e6})
    findings = analyze(
        load_experiment(tmp_path / "times.yaml"), pl.DataFrame(rows, infer_schema_length=None), closing=True
    ).findings
    solved, took = ([e for e in findings.effects if e.metric == name] for name in ("solved", "took"))
    assert len(solved) == len(took) == 2
    for one, other in zip(solved, took, strict=True):
        for this, that in ((one.estimate, other.estimate), (one.relative, other.relative)):
            a, b = found(this), found(that)
            assert (a.value, a.standard_error, a.degrees_of_freedom) == pytest.approx(
                (b.value, b.standard_error, b.degrees_of_freedom), rel=1e-9
            )
