"""How many units a test needs, how often it will find an effect, and which effect it can find.

Every size belongs to the test that will be run: the pooled z test for two rates, Welch's t for two means
(and, in `power_margins`, the score test at the margin for non-inferiority). As is usual, the chance of
rejecting in the *wrong* direction is not counted as power.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, SupportsIndex

from scipy.special import nctdtr, ndtr, stdtrit

from equipoise.errors import UsageError
from equipoise.stats.domain import counted, finite, inside, positive, sided
from equipoise.stats.estimate import NotEstimable
from equipoise.stats.normal import critical
from equipoise.stats.roots import brentq

__all__ = [
    "SampleSize",
    "detectable_two_means",
    "detectable_two_proportions",
    "power_two_means",
    "power_two_proportions",
    "size_two_means",
    "size_two_proportions",
]

# Beyond this many degrees of freedom t and z agree in every digit that a sample size can show.
_MANY = 100_000


@dataclass(frozen=True, slots=True)
class SampleSize:
    """How many units each arm needs.

    >>> SampleSize(1471, 1471).total
    2942
    """

    control: int
    treatment: int

    @property
    def total(self) -> int:
        """Units of both arms together.

        >>> SampleSize(100, 50).total
        150
        """
        return self.control + self.treatment

    @classmethod
    def rounded_up(cls, control: float, ratio: float, fewest: int = 1) -> SampleSize:
        """Whole units from control's exact need, each arm rounded once; `ratio` treatment units per control's.

        Errors: UsageError where the need is not finite.

        >>> SampleSize.rounded_up(10.2, 2.0)
        SampleSize(control=11, treatment=21)
        """
        try:
            return cls(max(math.ceil(control), fewest), max(math.ceil(ratio * control), fewest))
        except (OverflowError, ValueError):
            raise UsageError("the effect is so small that no finite number of units would find it") from None


def size_two_proportions(
    baseline: float,
    mde: float,
    *,
    alpha: float = 0.05,
    power: float = 0.8,
    ratio: float = 1.0,
    sides: int = 2,
) -> SampleSize:
    """Units with which the pooled z test finds a difference `mde` of two rates with probability `power`.

    Scale: `baseline` is the control's rate, `mde` the difference in rates (0.05 is five points, negative
    for a fall), `ratio` = treatment units per control unit. n_c = [z_α·sqrt(p̄q̄(1+1/r)) +
    z_power·sqrt(p_c·q_c + p_t·q_t/r)]²/mde², with p̄ = (p_c + r·p_t)/(1+r) and z_α the critical value at
    alpha/sides; rounded up, and n_t = r times the n_c before rounding, rounded up.

    Errors: UsageError for a baseline or baseline + mde outside (0, 1), no effect, alpha or power outside
    (0, 1), a ratio that is not above 0, or sides other than 1 and 2. There are no degenerate cases: what is
    accepted has a size.
    Source: Fleiss, Levin & Paik (2003), Statistical Methods for Rates and Proportions, 3rd ed.,
    chapter 4, without continuity correction.

    >>> size_two_proportions(0.60, 0.05).total
    2942
    >>> size_two_proportions(0.60, 0.02).total
    18672
    """
    p_c, p_t = _rates(baseline, mde)
    z_alpha, z_power = _criticals(alpha, power, sides)
    r = positive("ratio", ratio)
    pooled = (p_c + r * p_t) / (1.0 + r)
    root = z_alpha * math.sqrt(pooled * (1.0 - pooled) * (1.0 + 1.0 / r)) + z_power * math.sqrt(
        p_c * (1.0 - p_c) + p_t * (1.0 - p_t) / r
    )
    return SampleSize.rounded_up(_squared(max(root, 0.0) / mde), r)


def size_two_means(
    spread: float,
    mde: float,
    *,
    alpha: float = 0.05,
    power: float = 0.8,
    ratio: float = 1.0,
    sides: int = 2,
) -> SampleSize:
    """Units with which the t test finds a difference `mde` of two means with probability `power`.

    Scale: `spread` is the standard deviation within an arm, in the outcome's unit, and so is `mde` (either
    sign); `ratio` = treatment units per control unit. The first guess is n_c = (z_α +
    z_power)²·spread²·(1+1/r)/mde²; units are then added until the noncentral t distribution grants the
    power, so that small samples pay for estimating the spread. Source: Cohen (1988), Statistical Power
    Analysis, section 2.5; Chow, Shao & Wang (2008), Sample Size Calculations in Clinical Research,
    chapter 3.

    Errors: UsageError for a spread that is not above 0, no effect, alpha or power outside (0, 1), a ratio
    not above 0, or sides other than 1 and 2. No degenerate cases.

    >>> size_two_means(1.0, 0.5)
    SampleSize(control=64, treatment=64)
    """
    sigma, delta = positive("spread", spread), _effect(mde)
    z_alpha, z_power = _criticals(alpha, power, sides)
    r = positive("ratio", ratio)
    exact = _squared(max(z_alpha + z_power, 0.0) * (sigma / delta)) * (1.0 + 1.0 / r)
    size = SampleSize.rounded_up(exact, r, fewest=2)
    while size.total < _MANY and (
        _t_power(size.control, size.treatment, delta / sigma, alpha / sides) < power
    ):
        exact = max(exact, float(size.control)) + min(1.0, 1.0 / r)
        size = SampleSize.rounded_up(exact, r, fewest=2)
    return size


def power_two_proportions(
    n_c: SupportsIndex,
    n_t: SupportsIndex,
    baseline: float,
    mde: float,
    alpha: float = 0.05,
    *,
    sides: int = 2,
) -> float:
    """The probability that the pooled z test finds a true difference `mde` of two rates, in its direction.

    Scale and errors as in `size_two_proportions`, which this inverts; arms need at least one unit.
    Source: Fleiss, Levin & Paik (2003), chapter 4.

    >>> round(power_two_proportions(1471, 1471, 0.60, 0.05), 4)
    0.8001
    """
    nc, nt = counted("n_c", n_c, at_least=1), counted("n_t", n_t, at_least=1)
    p_c, p_t = _rates(baseline, mde)
    z_alpha = critical(inside("alpha", alpha) / sided(sides))
    pooled = (nc * p_c + nt * p_t) / (nc + nt)
    under_null = math.sqrt(pooled * (1.0 - pooled) * (1.0 / nc + 1.0 / nt))
    under_effect = math.sqrt(p_c * (1.0 - p_c) / nc + p_t * (1.0 - p_t) / nt)
    return float(ndtr((abs(mde) - z_alpha * under_null) / under_effect))


def power_two_means(
    n_c: SupportsIndex,
    n_t: SupportsIndex,
    spread: float,
    mde: float,
    alpha: float = 0.05,
    *,
    sides: int = 2,
) -> float:
    """The probability that the t test finds a true difference `mde` of two means, in its direction.

    Scale and errors as in `size_two_means`, which this inverts; arms need at least two units.
    Source: Cohen (1988), section 2.5.

    >>> round(power_two_means(64, 64, 1.0, 0.5), 4)
    0.8015
    """
    nc, nt = counted("n_c", n_c, at_least=2), counted("n_t", n_t, at_least=2)
    effect = _effect(mde) / positive("spread", spread)
    return _t_power(nc, nt, effect, inside("alpha", alpha) / sided(sides))


def detectable_two_proportions(
    n_c: SupportsIndex,
    n_t: SupportsIndex,
    baseline: float,
    *,
    alpha: float = 0.05,
    power: float = 0.8,
    sides: int = 2,
    direction: Literal["rise", "fall"] = "rise",
) -> float | NotEstimable:
    """The smallest difference of two rates that these units find with probability `power`.

    Scale: a difference in rates above 0, for a rise or a fall from `baseline`. Solves
    `power_two_proportions` = power.
    Degenerate cases: not estimable where even the largest possible difference would not be found that
    often.
    Errors: UsageError as in `size_two_proportions`, for empty arms, or for another direction.
    Source: Fleiss, Levin & Paik (2003), chapter 4, solved for the difference.

    >>> round(detectable_two_proportions(1471, 1471, 0.60), 4)
    0.05
    """
    nc, nt = counted("n_c", n_c, at_least=1), counted("n_t", n_t, at_least=1)
    p = inside("baseline", baseline)
    _criticals(alpha, power, sides)
    if direction not in ("rise", "fall"):
        raise UsageError(f"direction must be 'rise' or 'fall', not {direction!r}")
    sign, room = (1.0, 1.0 - p) if direction == "rise" else (-1.0, p)
    smallest, largest = room * 1e-9, room * (1.0 - 1e-9)

    def lacking(difference: float) -> float:
        return power_two_proportions(nc, nt, p, sign * difference, alpha, sides=sides) - power

    if lacking(largest) < 0.0:
        return NotEstimable(
            f"even the largest possible {direction} from {p:g} "
            f"would be found with less than {power:.0%} power"
        )
    if lacking(smallest) >= 0.0:
        return smallest
    return brentq(lacking, smallest, largest, xtol=1e-12)


def detectable_two_means(
    n_c: SupportsIndex,
    n_t: SupportsIndex,
    spread: float,
    *,
    alpha: float = 0.05,
    power: float = 0.8,
    sides: int = 2,
) -> float:
    """The smallest difference of two means that these units find with probability `power`, above 0.

    Scale: the outcome's unit. Solves `power_two_means` = power. Errors: UsageError as there, for arms of
    fewer than two units, and for a power not above alpha/sides, which a test has without any effect.
    Source: Cohen (1988), section 2.5, solved for the difference.

    >>> round(detectable_two_means(64, 64, 1.0), 3)
    0.499
    """
    nc, nt = counted("n_c", n_c, at_least=2), counted("n_t", n_t, at_least=2)
    sigma = positive("spread", spread)
    _criticals(alpha, power, sides)
    if power <= alpha / sides:
        raise UsageError(
            f"power must be above {alpha / sides:g}, which the test has without an effect, not {power:g}"
        )
    unit = math.sqrt(1.0 / nc + 1.0 / nt)

    def lacking(noncentrality: float) -> float:
        return _t_power(nc, nt, noncentrality * unit, alpha / sides) - power

    widest = 10.0
    while lacking(widest) < 0.0:
        widest *= 4.0
    return float(brentq(lacking, 0.0, widest, xtol=1e-12)) * unit * sigma


def _t_power(n_c: int, n_t: int, effect: float, tail: float) -> float:
    """One-tailed power of the t test for a standardised effect, with equal spreads."""
    noncentrality = abs(effect) / math.sqrt(1.0 / n_c + 1.0 / n_t)
    df = n_c + n_t - 2
    if df > _MANY:
        return float(ndtr(noncentrality - critical(tail)))
    return 1.0 - float(nctdtr(df, noncentrality, -float(stdtrit(df, tail))))


def _squared(x: float) -> float:
    return x * x  # unlike x ** 2, infinite and not an error where it overflows


def _rates(baseline: float, mde: float) -> tuple[float, float]:
    p = inside("baseline", baseline)
    changed = p + _effect(mde)
    if not 0.0 < changed < 1.0:
        raise UsageError(f"baseline + mde must lie strictly between 0 and 1, not {changed:g}")
    return p, changed


def _effect(mde: float) -> float:
    effect = finite("mde", mde)
    if effect == 0.0:
        raise UsageError("mde must not be 0: no number of units finds an effect that is not there")
    return effect


def _criticals(alpha: float, power: float, sides: int) -> tuple[float, float]:
    return critical(inside("alpha", alpha) / sided(sides)), critical(1.0 - inside("power", power))
