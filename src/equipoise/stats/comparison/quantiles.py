"""Quantiles such as the 95th percentile of latency: one arm's, and the difference between two arms.

Turns are measured but units are randomised, so a quantile's error must be that of the units. Whether a turn
lies below the quantile is a ratio metric (turns below / turns, per unit), and its delta-method error says
how far the *level* may be off. The values at those two levels, read off the sorted turns, bound the
quantile; no density has to be guessed. A database can do all of this in two passes: the pair moments, then
three quantiles.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from equipoise.errors import UsageError
from equipoise.stats.comparison.ratios import linear_variance, shared_variance, unsteady_denominator
from equipoise.stats.comparison.shared_clusters import ALIKE, ArmVariance, Overlap, variance_of_difference
from equipoise.stats.cross_moments import CrossMoments
from equipoise.stats.domain import counted, finite, inside
from equipoise.stats.estimate import Estimate, NotEstimable
from equipoise.stats.moments import PairMoments
from equipoise.stats.normal import critical
from equipoise.stats.student import t_estimate

__all__ = [
    "QuantileSummary",
    "difference_of_quantiles",
    "quantile_interval",
    "quantile_levels",
    "quantile_of",
    "quantile_overlap",
]


@dataclass(frozen=True, slots=True)
class QuantileSummary:
    """One arm's quantile `q`, with its standard error, both in the outcome's unit, and how many units it has.

    Errors: UsageError for a q outside (0, 1), a standard error not above 0, or fewer than two units.
    """

    q: float
    units: int
    value: float
    standard_error: float

    def __post_init__(self) -> None:
        inside("q", self.q)
        counted("units", self.units, at_least=2)
        finite("value", self.value)
        if not finite("standard_error", self.standard_error) > 0.0:
            raise UsageError(f"standard_error must be greater than 0, not {self.standard_error}")


def quantile_levels(
    q: float, below: PairMoments, *, level: float = 0.95
) -> tuple[float, float] | NotEstimable:
    """The two levels whose quantiles bound quantile `q` at confidence `level`: q ∓ z·σ.

    `below` holds one pair per randomised unit: x = its turns at or below the estimated quantile, y = its
    turns. σ is the delta-method standard error of sum(x)/sum(y), so that turns of one unit may be alike.

    Degenerate cases: not estimable with fewer than two units, where σ is 0, or where a level leaves (0, 1):
    too few turns lie beyond the quantile. Errors: UsageError for a q or level outside (0, 1).
    Source: Deng, Knoblich & Lu (2018), section 4; Serfling (1980), section 2.6, for the order-statistic
    interval.

    >>> units = PairMoments.of([1, 0, 1, 0] * 100, [1, 1, 1, 1] * 100)
    >>> [round(x, 3) for x in quantile_levels(0.5, units)]
    [0.451, 0.549]
    """
    q, z = inside("q", q), critical((1.0 - inside("level", level)) / 2.0)
    if below.n < 2:
        return NotEstimable(f"there {'is 1 unit' if below.n == 1 else 'are 0 units'}, and a spread needs two")
    if unsteady_denominator(below, below):
        return NotEstimable("the number of turns per unit varies too much to divide by its mean")
    reach = z * math.sqrt(linear_variance(below))
    if reach == 0.0:
        return NotEstimable("every unit has the same share below the quantile, so it has no spread")
    if not (q - reach > 0.0 and q + reach < 1.0):
        return NotEstimable(f"too few turns lie beyond quantile {q:g} to bound it")
    return q - reach, q + reach


def quantile_of(
    values: Sequence[float] | NDArray[np.floating],
    units: Sequence[int] | NDArray[np.integer] | None = None,
    *,
    q: float,
    level: float = 0.95,
) -> QuantileSummary | NotEstimable:
    """One arm's quantile from raw turns: `values`, and for each of them the number of its unit.

    Without `units` every turn is a unit of its own. The value is the inverse of the empirical distribution
    (the least turn with a share of at least q at or below it); the standard error is the width between the
    quantiles at `quantile_levels`, over 2z.

    Degenerate cases: not estimable without values, as in `quantile_levels`, or where the outcome does not
    vary around the quantile. Errors: UsageError for values that are not finite, lengths that differ, or q
    or level outside (0, 1).
    Source: Deng, Knoblich & Lu (2018), section 4; Hyndman & Fan (1996), definition 1.

    >>> s = quantile_of([float(i) for i in range(1, 1001)], q=0.9)
    >>> s.value, round(s.standard_error, 1)
    (900.0, 9.4)
    """
    q, level = inside("q", q), inside("level", level)
    array = np.asarray(values, dtype=np.float64).ravel()
    if not np.isfinite(array).all():
        raise UsageError("values must all be finite numbers")
    if array.size == 0:
        return NotEstimable("there are no values")
    ids = np.arange(array.size) if units is None else np.asarray(units).ravel()
    if ids.size != array.size:
        raise UsageError(f"values and units must have the same length, not {array.size} and {ids.size}")
    value = float(np.quantile(array, q, method="inverted_cdf"))
    _, index = np.unique(ids, return_inverse=True)
    turns = np.bincount(index)
    pairs = PairMoments.of(np.bincount(index, weights=array <= value), turns)
    levels = quantile_levels(q, pairs, level=level)
    if isinstance(levels, NotEstimable):
        return levels
    low, high = np.quantile(array, levels, method="inverted_cdf")
    if high <= low:
        return NotEstimable("the outcome does not vary around the quantile")
    error = float(high - low) / (2.0 * critical((1.0 - level) / 2.0))
    return QuantileSummary(q, int(turns.size), value, error)


def quantile_interval(
    values: Sequence[float] | NDArray[np.floating],
    units: Sequence[int] | NDArray[np.integer] | None = None,
    *,
    q: float,
    level: float = 0.95,
) -> Estimate | NotEstimable:
    """One arm's quantile with its own interval, from raw turns; there is no test.

    Scale: the outcome's unit. The limits are the turns at `quantile_levels`, so they lie unevenly about the value
    of a skewed outcome and are never impossible ones. Everything else is as in `quantile_of`: without `units`
    every turn counts as a unit of its own, which claims far too much where turns of a unit are alike.

    Degenerate cases and errors: those of `quantile_of`. Source: Serfling (1980), section 2.6; Deng, Knoblich & Lu
    (2018), section 4.

    >>> e = quantile_interval([float(i) for i in range(1, 1001)], q=0.9)
    >>> e.value, e.low, e.high
    (900.0, 882.0, 919.0)
    """
    summary = quantile_of(values, units, q=q, level=level)
    if isinstance(summary, NotEstimable):
        return summary
    array = np.asarray(values, dtype=np.float64).ravel()
    index = np.arange(array.size)
    if units is not None:
        _, index = np.unique(np.asarray(units).ravel(), return_inverse=True)
    below = PairMoments.of(np.bincount(index, weights=array <= summary.value), np.bincount(index))
    levels = quantile_levels(q, below, level=level)
    assert not isinstance(levels, NotEstimable)
    low, high = np.quantile(array, levels, method="inverted_cdf")
    return Estimate(
        value=summary.value,
        standard_error=summary.standard_error,
        low=float(low),
        high=float(high),
        level=level,
        method=f"quantile ({q:g}), order statistics",
    )


def quantile_overlap(
    control: PairMoments, treatment: PairMoments, shared: CrossMoments | None
) -> Overlap | None:
    """How far the errors of two arms' quantiles go together, where clusters have turns in both; None where none has.

    Each arm's pairs are as in `quantile_levels`, of its clusters, and `shared` has those in both, of control and then of
    the treatment. The error of a quantile is that of the share of turns below it, over the density there; so the
    correlation of the shares is that of the quantiles. None, too, where an arm has fewer than two clusters, or its share
    has no error or none that can be told.
    Source: Bahadur (1966), Annals of Mathematical Statistics 37, 577, for the error; Deng, Knoblich & Lu (2018), section 4.

    >>> arm = PairMoments.of([1, 0, 1, 2], [1, 1, 2, 2])
    >>> quantile_overlap(arm, arm, CrossMoments.of([1, 0, 1, 2], [1, 1, 2, 2], [1, 0, 1, 2], [1, 1, 2, 2])).clusters
    4
    """
    if min(control.n, treatment.n) < 2 or unsteady_denominator(control, treatment):
        return None
    together = shared_variance(control, treatment, shared)
    if together is None:
        return None
    return Overlap.told(together, linear_variance(control), linear_variance(treatment))


def difference_of_quantiles(
    control: QuantileSummary,
    treatment: QuantileSummary,
    *,
    overlap: Overlap | None = None,
    level: float = 0.95,
    null: float = 0.0,
) -> Estimate | NotEstimable:
    """The difference of a quantile, treatment minus control, from one summary per arm.

    Scale: the outcome's unit. Each arm's error is taken as estimated from its units, so the interval and
    two-sided p are Student's with Welch–Satterthwaite degrees of freedom; with many units that is the
    normal. Arms are independent, or have clusters in common: `overlap` (`quantile_overlap`) then says how far their errors
    go together.
    Degenerate cases: not estimable where all that varies is common to both arms. Errors: UsageError where the arms' q
    differ, for a level outside (0, 1) or a null that is not finite. Source: Deng, Knoblich & Lu (2018),
    section 4.

    >>> slow, fast = QuantileSummary(0.95, 900, 2.4, 0.05), QuantileSummary(0.95, 900, 2.2, 0.05)
    >>> e = difference_of_quantiles(slow, fast)
    >>> round(e.value, 2), round(e.statistic, 2), round(e.p_value, 4)
    (-0.2, -2.83, 0.0047)
    >>> round(difference_of_quantiles(slow, fast, overlap=Overlap(900, 1.0, 1.0, 0.5)).statistic, 2)
    -4.0
    """
    if control.q != treatment.q:
        raise UsageError(f"both arms need the same quantile, not {control.q:g} and {treatment.q:g}")
    error_c, error_t = control.standard_error, treatment.standard_error
    variance, freedom = variance_of_difference(
        ArmVariance(error_c**2, control.units, control.units - 1.0),
        ArmVariance(error_t**2, treatment.units, treatment.units - 1.0),
        None if overlap is None else overlap.of(error_c, error_t),
    )
    if variance == 0.0:
        return NotEstimable(ALIKE)
    return t_estimate(
        treatment.value - control.value,
        math.hypot(error_c, error_t) if overlap is None else math.sqrt(variance),
        freedom,
        level=level,
        null=finite("null", null),
        method=f"difference of quantiles ({control.q:g}), order statistics",
    )
