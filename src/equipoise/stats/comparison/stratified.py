"""Strata (countries, days, devices): a common effect on yes-or-no outcomes, compared within each stratum.

Where shares of the arms or base rates differ between strata, pooling all counts mixes the strata's rates into
the effect (Simpson's paradox); a Mantel–Haenszel estimate compares within strata only.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from equipoise.errors import UsageError
from equipoise.stats.domain import counted, inside, positive
from equipoise.stats.estimate import Estimate, NotEstimable
from equipoise.stats.normal import critical, two_sided

__all__ = ["Stratum", "mantel_haenszel_difference", "mantel_haenszel_odds_ratio"]

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Stratum:
    """Successes and units of both arms in one stratum, which was settled before treatment.

    Errors: UsageError for counts below 0 or more successes than units.
    """

    successes_c: int
    n_c: int
    successes_t: int
    n_t: int

    def __post_init__(self) -> None:
        for arm, successes, n in (
            ("control", self.successes_c, self.n_c),
            ("treatment", self.successes_t, self.n_t),
        ):
            x, size = counted(f"the successes of {arm}", successes), counted(f"the units of {arm}", n)
            if x > size:
                raise UsageError(
                    f"the successes of {arm} cannot exceed its units, but {x} is more than {size}"
                )


def mantel_haenszel_difference(
    strata: Sequence[Stratum], *, level: float = 0.95, null: float = 0.0
) -> Estimate | NotEstimable:
    """The common difference of two rates, treatment minus control, with Mantel–Haenszel weights.

    Scale: a difference of rates. Each stratum's difference has the weight n_c·n_t/(n_c + n_t). Sato's variance is
    right both for few large and for many small strata. The test uses it at the null and the interval holds all
    δ which that test keeps (Klingenberg), so the two never disagree; `standard_error` is Sato's at the estimate,
    or half the interval's width over z where that is 0.
    It would lie where the strata's true differences differ much: it is then their weighted average, but the
    variance assumes one difference. Strata with an empty arm carry no weight.

    Degenerate cases: not estimable where no stratum has units of both arms, or where the variance at the null is
    0. Errors: UsageError for no strata, or a level or null outside its domain.
    Source: Sato (1989), Biometrics 45, 1323; Klingenberg (2014), Statistics in Medicine 33, 2968.

    >>> simpson = [Stratum(170, 200, 640, 800), Stratum(560, 800, 130, 200)]
    >>> e = mantel_haenszel_difference(simpson)
    >>> round(e.value, 4), round(e.low, 4), round(e.high, 4), round(e.p_value, 3)
    (-0.05, -0.0959, -0.0032, 0.036)
    """
    level, null = inside("level", level), inside("null", null, -1.0, 1.0)
    x_c, n_c, x_t, n_t = _columns(strata)
    if x_c.size == 0:
        return NotEstimable("no stratum has units of both arms")
    n = n_c + n_t
    weight = float((n_c * n_t / n).sum())
    value = float(((x_t * n_c - x_c * n_t) / n).sum()) / weight
    # Sato's variance is (δ·P + Q)/W², linear in δ; turning the arms round turns P round.
    p = float(((n_t**2 * x_c - n_c**2 * x_t + n_c * n_t * (n_c - n_t) / 2.0) / n**2).sum())
    q = float(((x_t * (n_c - x_c) + x_c * (n_t - x_t)) / (2.0 * n)).sum())

    def variance(difference: float) -> float:
        return (difference * p + q) / (weight * weight)

    if variance(null) <= 0.0:
        return NotEstimable("every unit in both arms has the same outcome, so there is nothing to compare")
    z = critical((1.0 - level) / 2.0)
    # The roots in δ of (value − δ)² = z²(δ·P + Q)/W².
    centre = value + 0.5 * z * z * p / (weight * weight)
    reach = math.sqrt(max(0.0, centre * centre - value * value + z * z * q / (weight * weight)))
    low, high = max(-1.0, centre - reach), min(1.0, centre + reach)
    statistic = (value - null) / math.sqrt(variance(null))
    return Estimate(
        value=value,
        standard_error=math.sqrt(max(0.0, variance(value))) or (high - low) / (2.0 * z),
        low=low,
        high=high,
        level=level,
        method="difference of proportions over strata, Mantel–Haenszel, Sato and Klingenberg",
        null=null,
        statistic=statistic,
        p_value=two_sided(statistic),
    )


def mantel_haenszel_odds_ratio(
    strata: Sequence[Stratum], *, level: float = 0.95, null: float = 1.0
) -> Estimate | NotEstimable:
    """The common odds ratio, treatment over control.

    Scale: a ratio of odds, 1 for no effect. `standard_error` and `statistic` are on the scale of the *logarithm*,
    on which the interval is symmetric; `low` and `high` are odds ratios again.
    Degenerate cases: not estimable where no stratum has units of both arms, or where the estimate is 0 or
    infinite: no stratum speaks for one of the two arms. Errors: UsageError for no strata, a level outside (0, 1)
    or a null not above 0.
    Source: Mantel & Haenszel (1959), JNCI 22, 719; Robins, Breslow & Greenland (1986), Biometrics 42, 311, for
    the variance.

    >>> e = mantel_haenszel_odds_ratio([Stratum(170, 200, 640, 800), Stratum(560, 800, 130, 200)])
    >>> round(e.value, 4), round(e.low, 4), round(e.high, 4)
    (0.759, 0.5861, 0.9829)
    """
    level, null = inside("level", level), positive("null", null)
    x_c, n_c, x_t, n_t = _columns(strata)
    if x_c.size == 0:
        return NotEstimable("no stratum has units of both arms")
    n = n_c + n_t
    wins, losses = x_t * (n_c - x_c) / n, x_c * (n_t - x_t) / n
    r, s = float(wins.sum()), float(losses.sum())
    if r == 0.0 or s == 0.0:
        return NotEstimable("no stratum has a success in one arm and a failure in the other, both ways round")
    alike, unlike = (x_t + n_c - x_c) / n, (x_c + n_t - x_t) / n
    variance = (
        float((alike * wins).sum()) / (2.0 * r * r)
        + float((alike * losses + unlike * wins).sum()) / (2.0 * r * s)
        + float((unlike * losses).sum()) / (2.0 * s * s)
    )
    error, logarithm = math.sqrt(variance), math.log(r / s)
    half = critical((1.0 - level) / 2.0) * error
    statistic = (logarithm - math.log(null)) / error
    return Estimate(
        value=r / s,
        standard_error=error,
        low=math.exp(logarithm - half),
        high=math.exp(logarithm + half),
        level=level,
        method="odds ratio over strata, Mantel–Haenszel; standard error of its logarithm",
        null=null,
        statistic=statistic,
        p_value=two_sided(statistic),
    )


def _columns(strata: Sequence[Stratum]) -> tuple[Floats, Floats, Floats, Floats]:
    """x_c, n_c, x_t, n_t of the strata in which both arms have units."""
    if not strata:
        raise UsageError("at least one stratum is needed")
    rows = [(s.successes_c, s.n_c, s.successes_t, s.n_t) for s in strata if s.n_c and s.n_t]
    table = np.array(rows, dtype=np.float64).reshape(-1, 4)
    return table[:, 0], table[:, 1], table[:, 2], table[:, 3]
