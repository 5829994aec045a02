"""Sequential methods beside a slow and obvious twin: Gauss–Legendre quadrature on the score scale."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pytest
from scipy.optimize import brentq
from scipy.special import ndtr
from scipy.stats import multivariate_normal

from equipoise.stats.estimate import Estimate
from equipoise.stats.looks.after_stopping import after_stopping, stagewise_tails
from equipoise.stats.looks.classic_boundaries import wang_tsiatis_boundaries
from equipoise.stats.looks.futility import futility_design, next_futility, stopping_probabilities
from equipoise.stats.looks.overrun import after_overrun
from equipoise.stats.looks.sequential import boundaries, next_boundary
from equipoise.stats.looks.spending import (
    hwang_shih_decani,
    obrien_fleming,
    obrien_fleming_of_both_tails,
    pocock,
)

Regions = Sequence[Sequence[tuple[float, float]]]


def equal(looks: int) -> list[float]:
    return [look / looks for look in range(1, looks + 1)]


def estimate(value: float, error: float) -> Estimate:
    return Estimate(
        value=value,
        standard_error=error,
        low=value - 1.96 * error,
        high=value + 1.96 * error,
        level=0.95,
        method="difference",
    )


def twin(ts: Sequence[float], going_on: Regions, drift: float, z: float) -> float:
    """P(go on at every look but the last, and z at the last above `z`), by 100 nodes a region.

    The score s = z·√t has independent increments N(drift·Δt, Δt).
    """
    nodes, weights = np.polynomial.legendre.leggauss(100)
    s, mass, before = np.zeros(1), np.ones(1), 0.0
    for t, regions in zip(ts[:-1], going_on, strict=False):
        points, density = [], []
        for region in regions:
            low, high = (max(min(x, 9 + drift), -9 + drift) * math.sqrt(t) for x in region)
            here = (low + high) / 2 + (high - low) / 2 * nodes
            steps = (here[:, None] - s[None, :] - drift * (t - before)) / math.sqrt(t - before)
            carried = np.exp(-steps * steps / 2) @ mass / math.sqrt(2 * math.pi * (t - before))
            points.append(here)
            density.append(carried * weights * (high - low) / 2)
        s, mass, before = np.concatenate(points), np.concatenate(density), t
    last = ts[-1]
    beyond = (z * math.sqrt(last) - s - drift * (last - before)) / math.sqrt(last - before)
    return float(mass @ ndtr(-beyond))


def two_sided(limits: Sequence[float]) -> Regions:
    return [[(-b, b)] for b in limits]


@pytest.mark.parametrize("alpha", [0.01, 0.05, 0.1])
@pytest.mark.parametrize("sides", [1, 2])
@pytest.mark.parametrize("delta", [0.0, 0.25, 0.5])
def test_classic_constants_have_exactly_their_error(alpha: float, sides: int, delta: float) -> None:
    """K = 2 to 10 at .05, 3 and 10 at the other levels: the error by quadrature is alpha to 2e-8, which is worth less than 1e-6 of the constant."""
    for looks in range(2, 11) if alpha == 0.05 else (3, 10):
        ts = equal(looks)
        limits = wang_tsiatis_boundaries(ts, alpha, delta, sides).boundaries
        regions = two_sided(limits) if sides == 2 else [[(-math.inf, b)] for b in limits]
        spent = sum(twin(ts[: k + 1], regions[:k], 0.0, limits[k]) for k in range(looks))
        # The exact boundary is cut at FARTHEST, which is worth less than 1e-15.
        assert sides * spent == pytest.approx(alpha, abs=2e-8)


@pytest.mark.parametrize(
    "spending", [obrien_fleming, obrien_fleming_of_both_tails, pocock, hwang_shih_decani(-4)]
)
@pytest.mark.parametrize("ts", [[0.1, 0.15, 0.7, 1.0], [0.3, 0.31, 0.99, 1.0]])
def test_spent_boundaries_are_those_of_the_twin(spending: object, ts: list[float]) -> None:
    """Unequal information, both tails, each boundary bracketed by quadrature.

    2e-5 where two looks are a thirtieth apart and the second may spend 2e-5; 1e-4 is promised.
    """
    found = boundaries(ts, 0.05, spending)  # type: ignore[arg-type]
    spent = 0.0
    for k, t in enumerate(ts):
        wanted = spending(t, 0.025) - spent  # type: ignore[operator]
        if wanted > 1e-14:
            nearer, farther = (
                twin(ts[: k + 1], two_sided(found[:k]), 0.0, found[k] + d) for d in (-2e-5, 2e-5)
            )
            assert nearer > wanted > farther
            spent += wanted


def test_three_looks_with_futility_are_a_trivariate_normal() -> None:
    """The probability of going on twice and then crossing is a box of a normal with correlations √(t_i/t_j)."""
    ts, upper, lower, drift = [0.3, 0.6, 1.0], [2.8, 2.4, 2.0], [-0.5, 0.6, 2.0], 2.5
    found = stopping_probabilities(ts, upper, lower, drift)
    mean = drift * np.sqrt(ts)
    cov = [[math.sqrt(min(a, b) / max(a, b)) for a in ts] for b in ts]
    corners = {"lower_limit": [-0.5, 0.6, 2.0], "abseps": 1e-9, "releps": 1e-9, "maxpts": 10**6}
    box = multivariate_normal.cdf([2.8, 2.4, 50.0], mean, cov, **corners)
    assert found.upper[2] == pytest.approx(box, abs=2e-6)
    assert math.fsum(found.upper + found.lower + found.futility) == pytest.approx(1.0, abs=1e-7)


@pytest.mark.parametrize("sides", [1, 2])
@pytest.mark.parametrize("binding", [False, True])
def test_futility_designs_have_their_error_and_power_by_the_twin(sides: int, binding: bool) -> None:
    """Alpha with futility obeyed (binding) or overruled (not), and 0.8 of power with it obeyed."""
    ts = [0.25, 0.5, 0.8, 1.0]
    plan = futility_design(
        ts, 0.025 * sides, 0.8, obrien_fleming, hwang_shih_decani(-2), sides=sides, binding=binding
    )
    pairs = list(zip(plan.boundaries, plan.futility, strict=True))
    obeyed: Regions = [[(a, b)] if sides == 1 else [(-b, -a), (a, b)] for b, a in pairs]
    overruled: Regions = [[(-math.inf if sides == 1 else -b, b)] for b, _ in pairs]

    def crossed(regions: Regions, drift: float) -> float:
        return sum(twin(ts[: k + 1], regions[:k], drift, plan.boundaries[k]) for k in range(4))

    assert crossed(obeyed if binding else overruled, 0.0) == pytest.approx(0.025, abs=1e-7)
    assert crossed(obeyed, plan.drift) == pytest.approx(0.8, abs=1e-6)


@pytest.mark.parametrize("sides", [1, 2])
def test_boundaries_computed_look_by_look_are_those_of_the_plan(sides: int) -> None:
    """Taken when planned, outer and futility boundaries are the design's, binding or not."""
    ts = equal(4)
    for binding in (False, True):
        plan = futility_design(ts, 0.05, 0.9, pocock, obrien_fleming, sides=sides, binding=binding)
        for k in range(1, 4):
            made, outer, inner = ts[:k], plan.boundaries[:k], plan.futility[:k]
            limit = next_boundary(
                made, outer, ts[k], 0.05, pocock, sides=sides, binding=inner if binding else None
            )
            assert limit == pytest.approx(plan.boundaries[k], abs=1e-6)
            end = next_futility(
                made, outer, inner, ts[k], limit, 0.1, obrien_fleming, plan.drift, last=k == 3, sides=sides
            )
            assert end == pytest.approx(plan.futility[k], abs=1e-5)


@pytest.mark.parametrize(("look", "z"), [(1, 3.0), (2, 2.6), (3, -2.5), (4, 0.7), (4, -3.0)])
def test_stagewise_tails_are_sums_over_the_endings_further_out(look: int, z: float) -> None:
    """Above: crossings above at earlier looks and a larger z at this one, each by quadrature."""
    ts, limits = equal(4)[:look], [2.6, 2.5, 2.4, 2.3][:look]
    for drift in (-1.0, 0.0, 2.8):
        slow = sum(twin(ts[: k + 1], two_sided(limits[:k]), drift, limits[k]) for k in range(look - 1))
        slow += twin(ts, two_sided(limits[:-1]), drift, z)
        found = stagewise_tails(ts, limits, z, drift)
        assert found.above == pytest.approx(slow, abs=1e-7)
        assert found.above + found.below == pytest.approx(1.0, abs=1e-7)


def test_limits_are_where_the_twin_has_a_fortieth() -> None:
    """Stopped at the third look on the estimate's own scale: at `low`, 1/40 is further above; and so on."""
    ts, limits = [0.2, 0.45, 0.7], [4.5, 2.9, 2.3]
    seen = Estimate(value=0.8, standard_error=0.12, low=0.0, high=1.0, level=0.95, method="m", null=0.5)
    found = after_stopping(seen, ts, limits)
    assert isinstance(found, Estimate)
    for limit, share in ((found.low, 0.025), (found.value, 0.5), (found.high, 0.975)):
        drift = (limit - 0.5) / (0.12 * math.sqrt(0.7))
        slow = sum(twin(ts[: k + 1], two_sided(limits[:k]), drift, limits[k]) for k in range(2))
        slow += twin(ts, two_sided(limits[:-1]), drift, 2.5)
        assert slow == pytest.approx(share, abs=1e-7)


def test_overrun_limits_are_where_the_combined_z_is_extreme() -> None:
    """Hall & Ding (2008): √(1 − s)·Φ⁻¹(1 − p₁) + √s·z₂ is ±1.96 at the limits and 0 at the median."""
    ts, limits = [0.3, 0.6], [3.2, 2.6]
    stopped, final, share = estimate(0.28, 0.1), estimate(0.25, 0.09), 0.15
    found = after_overrun(stopped, final, ts, limits, share=share)
    assert isinstance(found, Estimate)
    seen, total = 0.1**-2, 0.09**-2
    more = total - seen
    increment = (total * 0.25 - seen * 0.28) / more
    for limit, z in ((found.low, 1.959964), (found.value, 0.0), (found.high, -1.959964)):
        drift = limit / (0.1 * math.sqrt(0.6))
        p = twin(ts[:1], [], drift, 3.2) + twin(ts, two_sided([3.2]), drift, 2.8)
        first = brentq(lambda x: float(ndtr(-x)) - p, -9, 9)  # noqa: B023
        second = (increment - limit) * math.sqrt(more)
        assert math.sqrt(1 - share) * first + math.sqrt(share) * second == pytest.approx(z, abs=1e-5)
