"""Mixtures beside their integrals, and betting beside someone who bets, unit by unit."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.integrate import quad
from scipy.optimize import minimize_scalar
from scipy.stats import norm

from equipoise.stats.anytime.betting import bounded_difference, bounded_mean
from equipoise.stats.anytime.confidence_sequences import (
    sequence_of_difference_of_means,
    sequence_with_known_spread,
)
from equipoise.stats.anytime.normal_mixture import Mixture, always_valid
from equipoise.stats.comparison.means import difference_of_means
from equipoise.stats.estimate import Estimate
from equipoise.stats.moments import Moments


def found(result: object) -> Estimate:
    assert isinstance(result, Estimate)
    return result


@pytest.mark.parametrize(("z", "information"), [(0.0, 3.0), (2.5, 40.0), (-4.0, 900.0)])
def test_p_value_is_one_over_the_mixed_likelihood_ratio(z: float, information: float) -> None:
    """∫ exp(θ·S − θ²·I/2) dN(θ; 0, 1/ρ) with S = z·sqrt(I), by quadrature (Robbins 1970)."""
    rho, score = 12.0, z * math.sqrt(information)
    mixed = quad(
        lambda theta: (
            math.exp(theta * score - theta * theta * information / 2) * norm.pdf(theta, scale=rho**-0.5)
        ),
        -8,
        8,
        points=[score / (information + rho)],
        epsabs=1e-13,
        limit=200,
    )[0]
    assert Mixture(0.95, rho).p_value(z, information) == pytest.approx(min(1.0, 1.0 / mixed), rel=1e-8)


@pytest.mark.parametrize("start", [0.0, 5.0, 60.0])
def test_a_p_value_of_alpha_lies_exactly_on_the_boundary(start: float) -> None:
    """Test and interval are one method, with and without a late start."""
    for level in (0.8, 0.95, 0.999):
        mixture = Mixture(level, 20.0, start)
        for information in (60.0, 100.0, 1e5):
            boundary = mixture.boundary(information)
            assert mixture.p_value(boundary, information) == pytest.approx(1 - level, rel=1e-8)


@pytest.mark.parametrize("level", [0.8, 0.95, 0.999])
def test_tuning_makes_the_boundary_least_at_the_plan(level: float) -> None:
    """Beside a direct search over the precision."""
    searched = minimize_scalar(
        lambda log: Mixture(level, math.exp(log)).boundary(250.0), bounds=(0.0, 8.0), method="bounded"
    )
    assert Mixture.tuned(250.0, level=level).boundary(250.0) == pytest.approx(searched.fun, rel=1e-7)


def test_the_asymptotic_sequence_is_theorem_2_2() -> None:
    """σ̂·sqrt(2(tρ² + 1)/(t²ρ²)·ln(sqrt(tρ² + 1)/α)) of Waudby-Smith et al. (2024), with ρ² = 1/precision.

    A burn-in of one unit saves nothing that six digits show.
    """
    t, rng = 900, np.random.default_rng(1)
    c, d = Moments.of(rng.normal(size=t)), Moments.of(rng.normal(size=t))
    ours = found(sequence_of_difference_of_means(c, d, planned=1000, burn_in=1))
    rho2 = 1.0 / Mixture.tuned(1000.0).precision
    sigma = math.sqrt(c.m2 / (t - 1) + d.m2 / (t - 1))
    half = sigma * math.sqrt(2 * (t * rho2 + 1) / (t * t * rho2) * math.log(math.sqrt(t * rho2 + 1) / 0.05))
    assert (ours.high - ours.low) / 2 == pytest.approx(half, rel=1e-6)


def test_the_known_spread_needs_no_burn_in_and_any_estimate_can_be_wrapped() -> None:
    """Both roads to the same interval, when the information is counted in the same unit."""
    c, t = Moments.of([1.0, 2.0, 4.0]), Moments.of([2.0, 3.0, 9.0])
    ours = found(sequence_with_known_spread(c, t, spread=2.0, planned=50))
    error = 2.0 * math.sqrt(2 / 3)
    plain = found(difference_of_means(c, t))
    known = Estimate(
        value=plain.value, standard_error=error, low=0.0, high=0.0, level=0.95, method="difference of means"
    )
    other = found(always_valid(known, Mixture.tuned(50 / (2 * 2.0**2))))
    assert (ours.low, ours.high, ours.p_value) == pytest.approx((other.low, other.high, other.p_value))


@pytest.mark.parametrize("planned", [30, 200])
def test_hedged_capital_is_that_of_someone_who_bets(planned: int) -> None:
    """Unit by unit, with nothing known but the units before; the limits are where the capital is 2/α."""
    x = np.random.default_rng(2).beta(1, 3, 120)
    ours = found(bounded_mean(x, planned=planned, null=0.3))

    def capitals(m: float) -> tuple[float, float]:
        up, down, total, spread = 1.0, 1.0, 0.5, 0.25
        for i, value in enumerate(x, start=1):
            bet = math.sqrt(2 * math.log(40) / (max(planned, i) * spread / i))
            up *= 1 + min(bet, 0.5 / m) * (value - m)
            down *= 1 - min(bet, 0.5 / (1 - m)) * (value - m)
            total += value
            spread += (value - total / (i + 1)) ** 2
        return up / 2, down / 2

    assert capitals(ours.low)[0] == pytest.approx(20, rel=1e-6)
    assert capitals(ours.high)[1] == pytest.approx(20, rel=1e-6)
    assert ours.p_value == pytest.approx(min(1.0, 1 / max(capitals(0.3))), rel=1e-9)


def test_blocks_of_one_and_nine_are_the_mean_of_block_differences() -> None:
    """What does not fill a block waits, and the limits are on the outcome's scale."""
    rng = np.random.default_rng(3)
    c, t = rng.uniform(2, 5, 41), rng.uniform(2, 5, 400)
    ours = found(bounded_difference(c, t, low=2, high=5, planned=40, block=(1, 9)))
    blocks = t[: 41 * 9].reshape(41, 9).mean(axis=1) - c
    other = found(bounded_mean(blocks, low=-3, high=3, planned=40, null=0.0))
    assert ours.value == pytest.approx(blocks.mean())
    assert (ours.low, ours.high, ours.p_value) == pytest.approx((other.low, other.high, other.p_value))
