"""The spread to plan with, where it is not one number that everybody knows.

Ratios and quantiles vary as a mean does once their error is expressed per unit: `spread` is then the error
of one unit, spread/√n that of n of them, and `size_two_means`, `power_two_means`, `detectable_two_means` and
`size_noninferior_means` answer for them as for a mean.
"""

from __future__ import annotations

import math

from scipy.special import chdtri

from equipoise.errors import UsageError
from equipoise.stats.comparison.quantiles import QuantileSummary
from equipoise.stats.comparison.ratios import linear_variance, unsteady_denominator
from equipoise.stats.domain import finite, inside, positive
from equipoise.stats.estimate import NotEstimable
from equipoise.stats.moments import Moments, PairMoments

__all__ = ["pilot_spread", "quantile_spread", "ratio_spread"]

FEWEST = 10
"""Fewer pilot units than these say too little about a spread to plan with."""


def ratio_spread(
    mean_x: float, mean_y: float, spread_x: float, spread_y: float, correlation: float
) -> float | NotEstimable:
    """The spread per unit of a ratio of sums mean(x)/mean(y), by the delta method.

    Scale: x's unit per y's unit. sqrt(s²x − 2·R·ρ·sx·sy + R²·s²y) / |ȳ| with R = x̄/ȳ, so that the ratio of
    n units has the standard error spread/√n. x and y are per randomised unit: `mean_y` its turns, say,
    `spread_y` the standard deviation of turns between units, `correlation` that between x and y.

    Degenerate cases: not estimable where x is an exact multiple of y, so that the ratio never varies.
    Errors: UsageError for means that are not finite, a mean_y of 0, spreads that are negative or a
    correlation outside [−1, 1].
    Source: Deng, Knoblich & Lu (2018), Applying the delta method in metric analytics, KDD, section 3.

    >>> round(ratio_spread(6.0, 3.0, 4.0, 1.5, 0.6), 4)
    1.0853
    """
    x, y = finite("mean_x", mean_x), finite("mean_y", mean_y)
    sx, sy, rho = (
        finite("spread_x", spread_x),
        finite("spread_y", spread_y),
        finite("correlation", correlation),
    )
    if y == 0.0:
        raise UsageError("mean_y must not be 0: nothing can be divided by it")
    for name, spread in (("spread_x", sx), ("spread_y", sy)):
        if spread < 0.0:
            raise UsageError(f"{name} must be at least 0, not {spread:g}")
    if not -1.0 <= rho <= 1.0:
        raise UsageError(f"correlation must lie between -1 and 1, not {rho:g}")
    ratio = x / y
    # (sx − ρ·R·sy)² + (1 − ρ²)·R²·sy² is the same sum without cancellation.
    variance = (sx - rho * ratio * sy) ** 2 + (1.0 - rho) * (1.0 + rho) * (ratio * sy) ** 2
    if variance <= (sx + abs(ratio) * sy) ** 2 * 1e-24:
        return NotEstimable("x is an exact multiple of y, so the ratio has no spread")
    return math.sqrt(variance) / abs(y)


def quantile_spread(q: float, density: float) -> float:
    """The spread per unit of a quantile, from the density at it: sqrt(q(1 − q)) / density.

    Scale: the outcome's unit; `density` is the share of turns per unit of the outcome around the quantile
    (above 0), as one tenth of the turns lying between 2.0 and 2.5 seconds is 0.2 per second. Each
    randomised unit has one turn; where it has several that are alike, only a pilot's standard error tells
    (`pilot_spread` of a `QuantileSummary`). The error of n units is spread/√n once n·q·(1 − q) is large,
    some tens.
    Errors: UsageError for q outside (0, 1) or a density not above 0. No degenerate cases.
    Source: Serfling (1980), Approximation Theorems of Mathematical Statistics, section 2.3.3, corollary B.

    >>> round(quantile_spread(0.95, 0.05), 3)
    4.359
    """
    q = inside("q", q)
    return math.sqrt(q * (1.0 - q)) / positive("density", density)


def pilot_spread(
    pilot: Moments | PairMoments | QuantileSummary, *, assurance: float = 0.5
) -> float | NotEstimable:
    """The spread per unit to plan with, from a pilot or from logs; on the scale of the metric.

    Of `Moments` the standard deviation; of `PairMoments` that of the ratio sum(x)/sum(y) by the delta
    method; of a `QuantileSummary` its standard error times √units, which holds however alike the turns of
    a unit are. A pilot knows its spread only roughly: with an assurance of 0.5 (the plain estimate) the
    planned power is missed about every second time. Above 0.5 it is the upper confidence limit
    s·sqrt((m − 1)/χ²_{1−assurance, m−1}), so that the power is reached with that probability; this assumes
    values near normal, and skewed ones need a larger pilot than it says.

    Degenerate cases: not estimable from fewer than ten units, a constant outcome, or a denominator too near
    0. Errors: UsageError for an assurance outside [0.5, 1).
    Source: Browne (1995), Statistics in Medicine 14, 1933, for the limit.

    >>> judged = Moments.of([3.0, 4.0, 5.0, 4.0, 2.0, 5.0, 3.0, 4.0, 4.0, 5.0])
    >>> round(pilot_spread(judged), 3), round(pilot_spread(judged, assurance=0.8), 3)
    (0.994, 1.286)
    """
    share = finite("assurance", assurance)
    if not 0.5 <= share < 1.0:
        raise UsageError(f"assurance must be at least 0.5 and below 1, not {share:g}")
    units = pilot.units if isinstance(pilot, QuantileSummary) else pilot.n
    if units < FEWEST:
        return NotEstimable(
            f"the pilot has {units} unit{'' if units == 1 else 's'}, and a spread to plan with needs at least {FEWEST}"
        )
    if isinstance(pilot, QuantileSummary):
        spread = pilot.standard_error * math.sqrt(units)
    elif isinstance(pilot, Moments):
        if pilot.constant:
            return NotEstimable("the outcome is constant in the pilot")
        spread = math.sqrt(pilot.m2 / (units - 1))
    else:
        if unsteady_denominator(pilot, pilot):
            return NotEstimable("the denominator of the pilot is too near 0 to divide by")
        spread = math.sqrt(linear_variance(pilot) * units)
        if spread == 0.0:
            return NotEstimable("the ratio is the same for every unit of the pilot, so it has no spread")
    if share == 0.5:
        return spread
    # chdtri inverts the upper tail, which is the assurance.
    return spread * math.sqrt((units - 1) / float(chdtri(units - 1, share)))
