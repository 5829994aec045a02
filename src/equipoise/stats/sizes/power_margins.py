"""Non-inferiority: the units that hold an outcome to a margin, their power, and the margin they can hold it to.

The test is the score test at the margin for two rates and a one-sided t test for two means.
"""

from __future__ import annotations

import math
from typing import Literal, SupportsIndex

from scipy.special import ndtr

from equipoise.errors import UsageError
from equipoise.stats.comparison.proportions import restricted_rates
from equipoise.stats.domain import counted, inside, positive
from equipoise.stats.estimate import NotEstimable
from equipoise.stats.normal import critical
from equipoise.stats.roots import brentq
from equipoise.stats.sizes.power import SampleSize, detectable_two_means, power_two_means, size_two_means

__all__ = [
    "Better",
    "excludable_margin_means",
    "excludable_margin_proportions",
    "power_noninferior_means",
    "power_noninferior_proportions",
    "size_noninferior_means",
    "size_noninferior_proportions",
]

Better = Literal["higher", "lower"]


def size_noninferior_proportions(
    baseline: float,
    margin: float,
    *,
    alpha: float = 0.025,
    power: float = 0.8,
    ratio: float = 1.0,
    better: Better = "higher",
) -> SampleSize:
    """Units with which equal rates are shown, with probability `power`, to differ by less than `margin`.

    Scale: `baseline` is the true rate of both arms, `margin` a difference in rates (0.01 is one point,
    always above 0), `alpha` is one-sided, `ratio` = treatment units per control unit. The test is the score
    test at the margin (`difference_of_proportions` with null −margin where higher is better, +margin where
    lower is), and n_c = [z_α·sqrt(p̃_c·q̃_c + p̃_t·q̃_t/r) + z_power·sqrt(pq(1+1/r))]²/margin² with p̃ the
    rates that differ by the margin.

    Errors: UsageError for a baseline outside (0, 1), a margin not above 0 or so wide that it leaves (0, 1)
    and every rate would pass, alpha or power outside (0, 1), a ratio not above 0, or another `better`. No
    degenerate cases.
    Source: Farrington & Manning (1990), Statistics in Medicine 9, 1447, method 3.

    >>> size_noninferior_proportions(0.90, 0.05, power=0.9).control
    775
    """
    p, null = _margin_rates(baseline, margin, better)
    z_alpha, z_power = critical(inside("alpha", alpha)), critical(1.0 - inside("power", power))
    r = positive("ratio", ratio)
    p_c, p_t = restricted_rates(p, 1.0, p, r, null)
    root = z_alpha * math.sqrt(p_c * (1.0 - p_c) + p_t * (1.0 - p_t) / r) + z_power * math.sqrt(
        p * (1.0 - p) * (1.0 + 1.0 / r)
    )
    needed = max(root, 0.0) / null
    return SampleSize.rounded_up(needed * needed, r)  # a product: infinite, not an error, where it overflows


def size_noninferior_means(
    spread: float, margin: float, *, alpha: float = 0.025, power: float = 0.8, ratio: float = 1.0
) -> SampleSize:
    """Units with which equal means are shown, with probability `power`, to differ by less than `margin`.

    Scale: `spread` (standard deviation within an arm) and `margin` (above 0) are in the outcome's unit;
    `alpha` is one-sided. It is the size at which a one-sided t test finds a difference as large as the
    margin, and domain and errors are those of `size_two_means`. Source: Chow, Shao & Wang (2008),
    chapter 3.

    >>> size_noninferior_means(1.0, 0.5)
    SampleSize(control=64, treatment=64)
    """
    return size_two_means(spread, positive("margin", margin), alpha=alpha, power=power, ratio=ratio, sides=1)


def power_noninferior_proportions(
    n_c: SupportsIndex,
    n_t: SupportsIndex,
    baseline: float,
    margin: float,
    alpha: float = 0.025,
    *,
    better: Better = "higher",
) -> float:
    """The probability that equal rates are shown to differ by less than `margin`.

    It inverts `size_noninferior_proportions`.
    Scale and errors as in `size_noninferior_proportions`; arms need at least one unit.
    Source: Farrington & Manning (1990), method 3.

    >>> round(power_noninferior_proportions(775, 775, 0.90, 0.05), 4)
    0.9002
    """
    nc, nt = counted("n_c", n_c, at_least=1), counted("n_t", n_t, at_least=1)
    p, null = _margin_rates(baseline, margin, better)
    p_c, p_t = restricted_rates(p, nc, p, nt, null)
    under_margin = math.sqrt(p_c * (1.0 - p_c) / nc + p_t * (1.0 - p_t) / nt)
    under_equality = math.sqrt(p * (1.0 - p) * (1.0 / nc + 1.0 / nt))
    return float(ndtr((abs(null) - critical(inside("alpha", alpha)) * under_margin) / under_equality))


def power_noninferior_means(
    n_c: SupportsIndex, n_t: SupportsIndex, spread: float, margin: float, alpha: float = 0.025
) -> float:
    """The probability that equal means are shown to differ by less than `margin`.

    It inverts `size_noninferior_means`.
    Scale and errors as in `size_noninferior_means`; arms need at least two units.
    Source: Chow, Shao & Wang (2008),
    chapter 3.

    >>> round(power_noninferior_means(64, 64, 1.0, 0.5), 4)
    0.8015
    """
    return power_two_means(n_c, n_t, spread, positive("margin", margin), alpha, sides=1)


def excludable_margin_proportions(
    n_c: SupportsIndex,
    n_t: SupportsIndex,
    baseline: float,
    *,
    alpha: float = 0.025,
    power: float = 0.8,
    better: Better = "higher",
) -> float | NotEstimable:
    """The smallest margin that equal rates are shown to differ by less than, with probability `power`.

    Scale: a difference in rates above 0, for the true rate `baseline` of both arms; `alpha` is one-sided.
    Solves `power_noninferior_proportions` = power.
    Degenerate cases: not estimable where even the widest margin that leaves the rate inside (0, 1) would
    not be shown that often. Errors: UsageError for a baseline, alpha or power outside (0, 1), another
    `better`, or empty arms.
    Source: Farrington & Manning (1990), Statistics in Medicine 9, 1447, method 3, solved for the margin.

    >>> round(excludable_margin_proportions(775, 775, 0.90, power=0.9), 4)
    0.05
    """
    nc, nt = counted("n_c", n_c, at_least=1), counted("n_t", n_t, at_least=1)
    p, wanted = inside("baseline", baseline), inside("power", power)
    room = p if better == "higher" else 1.0 - p
    narrowest, widest = room * 1e-9, room * (1.0 - 1e-9)

    def lacking(margin: float) -> float:
        return power_noninferior_proportions(nc, nt, p, margin, alpha, better=better) - wanted

    if lacking(widest) < 0.0:
        return NotEstimable(
            f"even the widest margin that a rate of {p:g} has room for would be held with less than {wanted:.0%} power"
        )
    if lacking(narrowest) >= 0.0:
        return narrowest
    return brentq(lacking, narrowest, widest, xtol=1e-12)


def excludable_margin_means(
    n_c: SupportsIndex, n_t: SupportsIndex, spread: float, *, alpha: float = 0.025, power: float = 0.8
) -> float:
    """The smallest margin that equal means are shown to differ by less than, with probability `power`.

    Scale: the outcome's unit. It is the difference that a one-sided t test at `alpha` finds, and domain and
    errors are those of `detectable_two_means`. Source: Chow, Shao & Wang (2008), chapter 3.

    >>> round(excludable_margin_means(64, 64, 1.0), 3)
    0.499
    """
    tail = inside("alpha", alpha)
    if inside("power", power) <= tail:
        raise UsageError(f"power must be above {tail:g}, which the test has without an effect, not {power:g}")
    return detectable_two_means(n_c, n_t, spread, alpha=tail, power=power, sides=1)


def _margin_rates(baseline: float, margin: float, better: str) -> tuple[float, float]:
    p, width = inside("baseline", baseline), positive("margin", margin)
    if better not in ("higher", "lower"):
        raise UsageError(f"better must be 'higher' or 'lower', not {better!r}")
    null = -width if better == "higher" else width
    if not 0.0 < p + null < 1.0:
        raise UsageError(
            f"baseline {'-' if null < 0 else '+'} margin must lie strictly between 0 and 1, not {p + null:g}"
        )
    return p, null
