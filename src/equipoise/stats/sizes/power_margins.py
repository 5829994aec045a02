"""The smallest margin that given units can hold an outcome to: the reverse of the non-inferiority sizes."""

from __future__ import annotations

from typing import SupportsIndex

from equipoise.errors import UsageError
from equipoise.stats.domain import counted, inside
from equipoise.stats.estimate import NotEstimable
from equipoise.stats.roots import brentq
from equipoise.stats.sizes.power import Better, detectable_two_means, power_noninferior_proportions

__all__ = ["excludable_margin_means", "excludable_margin_proportions"]


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
