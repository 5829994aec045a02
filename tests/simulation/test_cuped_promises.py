"""What adjustment promises: the gain is ρ², and its intervals cover.

Each simulation is seeded and states its replications; the tolerance is that of a binomial count at |z| = 4, so that
over all seeds one check in 16,000 would raise a false alarm, plus the half point that the docstring grants.
"""

from __future__ import annotations

import math

import numpy as np
import pytest

from equipoise.stats.covariates.cuped import (
    Adjusted,
    cuped_means,
    cuped_proportions,
    cuped_ratios,
)
from equipoise.stats.covariates.cuped_relative import cuped_means_relative
from equipoise.stats.cross_moments import CrossMoments
from equipoise.stats.estimate import NotEstimable

LIFT = 0.1


def tolerance(share: float, replications: int) -> float:
    return 4.0 * math.sqrt(share * (1 - share) / replications)


def rows(
    kind: str, rho: float, shape: tuple[int, int], rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Outcome and covariate with correlation rho (of the values themselves) and a mean well above 0."""
    z, w = rng.normal(size=shape), rng.normal(size=shape)
    if kind == "normal":
        return 5.0 + rho * z + math.sqrt(1 - rho * rho) * w, 3.0 + z
    log_rho = math.log1p(rho * math.expm1(1.0))
    return np.exp(log_rho * z + math.sqrt(1 - log_rho * log_rho) * w), np.exp(z)


def moments(y: np.ndarray, x: np.ndarray) -> list[CrossMoments]:
    my, mx = y.mean(axis=1), x.mean(axis=1)
    dy, dx = y - my[:, None], x - mx[:, None]
    yy, xy, xx = ((a * b).sum(axis=1) for a, b in ((dy, dy), (dx, dy), (dx, dx)))
    columns = (c.tolist() for c in (my, mx, yy, xy, xx))
    return [
        CrossMoments(y.shape[1], (a, b), ((p, q), (q, r))) for a, b, p, q, r in zip(*columns, strict=True)
    ]


def coverage(
    kind: str, rho: float, n: int, replications: int, seed: int, ratio: int = 1
) -> tuple[float, float, list[float]]:
    """Coverage of the relative and the absolute interval, and the gains."""
    rng, relative, absolute, gains = np.random.default_rng(seed), 0, 0, []
    chunk = max(1, 1_000_000 // n)
    truth = LIFT * (5.0 if kind == "normal" else math.exp(0.5))
    for first in range(0, replications, chunk):
        rows_ = min(chunk, replications - first)
        control = moments(*rows(kind, rho, (rows_, n), rng))
        y, x = rows(kind, rho, (rows_, n * ratio), rng)
        y = y + truth if kind == "normal" else y * (1 + LIFT)
        for c, t in zip(control, moments(y, x), strict=True):
            a, b = cuped_means_relative(c, t, null=LIFT), cuped_means(c, t)
            assert isinstance(a, Adjusted)
            assert isinstance(b, Adjusted)
            relative += a.estimate.low <= LIFT <= a.estimate.high
            absolute += b.estimate.low <= truth <= b.estimate.high
            gains.append(b.gain)
    return relative / replications, absolute / replications, gains


@pytest.mark.parametrize("kind", ["normal", "log-normal"])
@pytest.mark.parametrize("rho", [0.0, 0.5, 0.9])
def test_intervals_cover_from_two_hundred_units(kind: str, rho: float) -> None:
    """200 units in each arm, 4,000 replications."""
    relative, absolute, _ = coverage(kind, rho, 200, 4000, 31)
    assert relative == pytest.approx(0.95, abs=0.005 + tolerance(0.95, 4000))
    assert absolute == pytest.approx(0.95, abs=0.005 + tolerance(0.95, 4000))


@pytest.mark.long
@pytest.mark.parametrize("kind", ["normal", "log-normal"])
@pytest.mark.parametrize("rho", [0.0, 0.3, 0.6, 0.9])
@pytest.mark.parametrize(("n", "replications"), [(200, 40_000), (2000, 10_000), (20_000, 1500)])
def test_intervals_cover_at_every_size(kind: str, rho: float, n: int, replications: int) -> None:
    """As above, with more replications and sizes."""
    relative, absolute, _ = coverage(kind, rho, n, replications, 32)
    assert relative == pytest.approx(0.95, abs=0.005 + tolerance(0.95, replications))
    assert absolute == pytest.approx(0.95, abs=0.005 + tolerance(0.95, replications))


@pytest.mark.long
def test_unlike_arms_cover_from_two_thousand_units() -> None:
    """One to four, log-normal: within half a point from 2,000 units in the smaller arm, 20,000 replications."""
    relative, absolute, _ = coverage("log-normal", 0.5, 2000, 20_000, 33, ratio=4)
    assert relative == pytest.approx(0.95, abs=0.005 + tolerance(0.95, 20_000))
    assert absolute == pytest.approx(0.95, abs=0.005 + tolerance(0.95, 20_000))


@pytest.mark.parametrize("rho", [0.0, 0.3, 0.6, 0.9])
@pytest.mark.parametrize(("kind", "replications"), [("normal", 60), ("log-normal", 200)])
def test_the_variance_left_is_one_less_rho_squared(rho: float, kind: str, replications: int) -> None:
    """Within 1 % of 1 − ρ² on average over pairs of arms of 20,000, and 4 of the average's own standard errors.

    A single experiment's gain scatters: at ρ = .9 its 1 − gain has a spread of 0.9 % (normal) or 4 % (log-normal).
    """
    *_, gains = coverage(kind, rho, 20_000, replications, 34)
    slack = 4 * float(np.std(gains)) / replications**0.5
    assert 1 - np.mean(gains) == pytest.approx(1 - rho * rho, abs=0.01 * (1 - rho * rho) + slack)


def test_the_adjusted_estimates_vary_as_much_as_they_say() -> None:
    """500 units, 4,000 replications: the stated variance is the estimates' own, within 4 of its standard errors."""
    rng, values, stated = np.random.default_rng(35), [], []
    for c, t in zip(
        moments(*rows("normal", 0.8, (4000, 500), rng)),
        moments(*rows("normal", 0.8, (4000, 500), rng)),
        strict=True,
    ):
        a = cuped_means(c, t)
        assert isinstance(a, Adjusted)
        values.append(a.estimate.value)
        stated.append(a.estimate.standard_error**2)
    assert np.var(values) / np.mean(stated) == pytest.approx(1.0, abs=4 * math.sqrt(2 / 4000))


def test_rates_and_ratios_cover_and_gain() -> None:
    """500 units, 1,500 replications; a point for linearising and counts."""
    rng, covered, gains = np.random.default_rng(36), [0, 0], [[], []]  # type: ignore[var-annotated]
    for _ in range(1500):
        arms: list[list[CrossMoments]] = [[], []]
        for _ in range(2):
            x = rng.normal(size=500)
            arms[0].append(CrossMoments.of(rng.random(500) < 1 / (1 + np.exp(-x)), x))
            turns = rng.geometric(0.3, 500)
            arms[1].append(CrossMoments.of(turns * (3 + x + rng.normal(size=500)), turns, x))
        for i, method in enumerate((cuped_proportions, cuped_ratios)):
            a = method(*arms[i])
            assert isinstance(a, Adjusted)
            covered[i] += a.estimate.low <= 0.0 <= a.estimate.high
            gains[i].append(a.gain)
    for share, gain in zip(covered, gains, strict=True):
        assert share / 1500 == pytest.approx(0.95, abs=0.01 + tolerance(0.95, 1500))
        assert np.mean(gain) > 0.1


def test_a_covariate_that_the_treatment_moved_is_refused() -> None:
    """Adjusting for it would take the effect itself away; 500 units and a shift of half a spread."""
    rng = np.random.default_rng(37)
    x = [rng.normal(size=500), rng.normal(0.5, 1.0, 500)]
    found = cuped_means(*(CrossMoments.of(one + rng.normal(size=500), one) for one in x))
    assert isinstance(found, NotEstimable)
    assert found.reason.startswith("the covariates differ between the arms (p = ")
    assert found.reason.endswith(
        ", so they were not settled before treatment, or the units were not randomised"
    )
