"""A small golden set, each case tried several times: one rate, when cases are not all equally hard."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.special import betaln, xlog1py, xlogy

from equipoise.stats.cases.pass_at_k import Tries
from equipoise.stats.domain import inside
from equipoise.stats.estimate import Estimate, NotEstimable
from equipoise.stats.roots import brentq
from equipoise.stats.student import t_estimate

__all__ = ["beta_binomial_interval"]

EDGE = 1e-12

Column = NDArray[np.float64]


def beta_binomial_interval(cases: Sequence[Tries], *, level: float = 0.95) -> Estimate | NotEstimable:
    """The chance that a try at a random case succeeds, by the profile likelihood of the beta-binomial.

    Each case has its own chance, drawn from a beta distribution of mean μ and correlation ρ between tries at
    the same case (0: all cases alike; 1: a case always or never succeeds). Scale: μ is a probability. Cases
    are independent and may differ in their tries; those without a try are left out. `value` is the maximum-likelihood
    μ; the limits are where twice the profile log-likelihood has fallen by t², Student's t of one degree of
    freedom fewer than there are cases. `standard_error` is half the width over that t. There is no test.

    Binomial limits from all tries together are too narrow as soon as cases differ: with 20 cases of 10 tries
    and ρ = 0.3 they cover about 69 per cent. This interval works where `share_over_cases` has too few cases for t,
    and with no failure at all it still counts cases, not tries, since nothing then speaks against ρ = 1.

    Degenerate cases: fewer than two cases with a try are not estimable. Without a success the lower limit
    is 0, without a failure the upper is 1. Errors: UsageError for a level outside (0, 1).
    Source: Skellam (1948), JRSS B 10, 257; Griffiths (1973), Biometrics 29, 637; Venzon & Moolgavkar (1988),
    Applied Statistics 37, 87, for the limits.

    >>> e = beta_binomial_interval([Tries(5, 5)] * 7 + [Tries(5, 3), Tries(5, 0), Tries(5, 4)])
    >>> round(e.value, 3), round(e.low, 3), round(e.high, 3)
    (0.824, 0.518, 0.967)
    """
    from scipy.optimize import minimize_scalar

    level = inside("level", level)
    tried = [case for case in cases if case.n > 0]
    if len(tried) < 2:
        count = "is 1 case" if len(tried) == 1 else "are 0 cases"
        return NotEstimable(f"there {count} with a try, and a spread between cases needs two")
    kinds, weights = np.unique([(case.n, case.passed) for case in tried], axis=0, return_counts=True)
    n, c, w = kinds[:, 0].astype(float), kinds[:, 1].astype(float), weights.astype(float)
    total, passed = float(w @ n), float(w @ c)
    t = t_estimate(0.0, 1.0, len(tried) - 1.0, level=level, null=0.0, method="").high

    def profile(mean: float) -> float:
        return _profile(mean, n, c, w)

    if passed in (0.0, total):
        value, best = passed / total, 0.0
    else:
        near = minimize_scalar(
            lambda x: -profile(1.0 / (1.0 + math.exp(-x))), bounds=(-12.0, 12.0), method="bounded"
        )
        value, best = 1.0 / (1.0 + math.exp(-float(near.x))), -float(near.fun)

    def fallen(mean: float) -> float:
        return best - profile(mean) - t * t / 2.0

    def limit(end: float) -> float:
        # With two or three cases t is so large that nothing short of the end itself is unlikely enough.
        if passed == total * round(end) or fallen(end) <= 0.0:
            return float(round(end))
        inner = min(max(value, EDGE), 1.0 - EDGE)
        return brentq(fallen, min(inner, end), max(inner, end), xtol=1e-10)

    low, high = limit(EDGE), limit(1.0 - EDGE)
    return Estimate(
        value=value,
        standard_error=(high - low) / 2.0 / t,
        low=low,
        high=high,
        level=level,
        method="proportion, beta-binomial profile likelihood",
        degrees_of_freedom=len(tried) - 1.0,
    )


def _profile(mean: float, n: Column, c: Column, w: Column) -> float:
    """The log-likelihood at `mean`, at its best over ρ (binomial coefficients left out)."""
    from scipy.optimize import minimize_scalar

    failed = n - c
    plain = float(w @ (xlogy(c, mean) + xlog1py(failed, -mean)))
    if (n == 1).all():
        return plain

    def loss(x: float) -> float:
        concentration = math.exp(-x)
        a, b = mean * concentration, (1.0 - mean) * concentration
        return -float(w @ (betaln(c + a, failed + b) - betaln(a, b)))

    grid = np.linspace(-9.0, 14.0, 24)
    found = [loss(x) for x in grid]
    k = int(np.argmin(found))
    around = (float(grid[max(0, k - 1)]), float(grid[min(len(grid) - 1, k + 1)]))
    best = minimize_scalar(loss, bounds=around, method="bounded", options={"xatol": 1e-6})
    extreme = -math.inf
    if ((c == 0) | (failed == 0)).all():
        extreme = float(w @ np.where(c > 0, math.log(mean), math.log1p(-mean)))
    return max(plain, -float(best.fun), -min(found), extreme)
