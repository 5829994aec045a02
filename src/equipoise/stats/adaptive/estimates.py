"""Arms' means, and differences between arms, from data whose probabilities followed what came before.

The score of a unit in a batch with shares e is, for arm w with the guess m made before the batch,

    Γ(w) = m(w) + 1{got w}·(y − m(w)) / e(w),

and given everything before it its mean is the arm's, whatever chose the shares. A weighted mean of scores is therefore
honest, for weights that are known before the batch; it is nearly normal where the weights are such that each unit adds the
same to its variance, however the shares went: √e(w) for one arm, 1/√(1/e(w) + 1/e(v)) for a difference. A difference is
taken within batches, so that a level which moves with the hour or the week, for all arms alike, is no part of it.

Source: Hadad, Hirshberg, Zhan, Wager & Athey (2021), Confidence intervals for policy evaluation in adaptive experiments,
PNAS 118 (15), eq. (5), (9) and section 3 on contrasts. Variances here are conditional on the past rather than sums of
squares, and for rates they are those under the hypothesis that is tested.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np

from equipoise.errors import UsageError
from equipoise.stats.adaptive.batches import Batch, Numbers, PairBatch, Series, residuals
from equipoise.stats.domain import finite, inside, positive
from equipoise.stats.estimate import Estimate, NotEstimable
from equipoise.stats.normal import critical, two_sided

__all__ = ["Weighting", "arm_mean", "difference", "difference_of_ratios", "shared_units"]

Weighting = Literal["stabilised", "doubly_robust", "inverse_probability"]
_METHODS: dict[Weighting, str] = {
    "stabilised": "adaptively weighted",
    "doubly_robust": "doubly robust, every unit alike",
    "inverse_probability": "inverse probabilities, every unit alike",
}
_STEADY = 3.0


def arm_mean(
    batches: Sequence[Batch],
    arm: str,
    *,
    rate: bool = False,
    weighting: Weighting = "stabilised",
    inflation: float = 1.0,
    level: float = 0.95,
) -> Estimate | NotEstimable:
    """An arm's mean, with an interval that holds although the shares followed the outcomes.

    Scale: the outcome's own; `rate` says that it is 0 or 1, and the interval is then a score interval. `stabilised`
    weights are the ones whose coverage holds (tested by simulation); `doubly_robust` without them and
    `inverse_probability` without guesses either are the textbook's, wider, and no nearer to their level.
    `inflation` is the factor by which units that belong together vary more than units alone (a design effect).
    The interval is for one reading at a time that the data did not choose. Where the mean moves over time, it is that
    of the batches together, weighted.

    Degenerate cases: not estimable for an arm with fewer than two units, or with outcomes that are all the same.
    Errors: UsageError for a level outside (0, 1), an unknown weighting or an inflation not above 0.
    Source: Hadad et al. (2021), eq. (5) and (9); Kish (1965), 5.4, for the design effect; Wilson (1927) for the score
    interval.

    >>> from equipoise.stats.moments import Moments
    >>> def batch(share: float, a: list[int], b: list[int]) -> Batch:
    ...     return Batch({"a": share, "b": 1 - share}, {"a": Moments.of(a), "b": Moments.of(b)})
    >>> batches = [batch(0.5, [1, 0] * 50, [1, 0, 0, 0] * 25), batch(0.9, [1, 1, 0] * 60, [0, 0, 1, 0] * 5)]
    >>> e = arm_mean(batches, "b", rate=True)
    >>> round(e.value, 4), round(e.low, 4), round(e.high, 4)
    (0.25, 0.1769, 0.3408)
    """
    level = inside("level", level)
    if weighting not in _METHODS:
        raise UsageError(f"weighting must be one of {', '.join(get_args(Weighting))}, not {weighting}")
    series = Series.of(batches, arm)
    short = _short(arm, series)
    if short:
        return short
    held, e = series.known, np.where(series.known, series.shares, 1.0)
    guesses = np.zeros_like(e) if weighting == "inverse_probability" else series.guesses
    weights = np.where(held, np.sqrt(e) if weighting == "stabilised" else 1.0, 0.0)
    n, whole = series.units, float(weights @ series.units)
    value = float(weights @ (n * guesses + series.counts * (series.means - guesses) / e)) / whole
    own = positive("inflation", inflation) * float(weights**2 @ (n / e)) / whole**2
    noise = float(weights**2 @ (n * (guesses - value) ** 2 * (1.0 - e) / e)) / whole**2
    z = critical((1.0 - level) / 2.0)
    spread = series.variance
    if spread <= 0.0:
        return NotEstimable(f"the outcome is the same for every unit of {arm}")
    if rate:
        low, high = _between(1.0 + z * z * own, -2.0 * value - z * z * own, value * value - z * z * noise)
        error = math.sqrt(max(0.0, own * value * (1.0 - value) + noise))
    else:
        error = math.sqrt(own * spread + noise)
        low, high = value - z * error, value + z * error
    return Estimate(
        value=value,
        standard_error=error,
        low=low,
        high=high,
        level=level,
        method=f"mean, {_METHODS[weighting]}",
    )


def difference(
    batches: Sequence[Batch],
    arm: str,
    against: str,
    *,
    rate: bool = False,
    inflation: tuple[float, float] = (1.0, 1.0),
    level: float = 0.95,
    null: float = 0.0,
) -> Estimate | NotEstimable:
    """The mean of `arm` less that of `against`, compared within batches and adaptively weighted.

    Scale: the outcome's own; `rate` says that it is 0 or 1. Interval, statistic and two-sided p-value belong together:
    the interval excludes `null` exactly when p is below 1 − level. They are for one reading at a time that the data did
    not choose; at the level of a boundary (`anytime.normal_mixture`, in `shared_units`) they hold at every time.
    Batches in which one of the two had no share say nothing here. `inflation` has the design effects of the two arms where
    units belong together; that units of one cluster are in both arms, and alike, is left out, which widens the interval.

    Degenerate cases: not estimable where the arms shared no batch, with fewer than two units in an arm, or where the
    outcome is the same for all units of both. Errors: UsageError for a level outside (0, 1) or an infinite null.
    Source: Hadad et al. (2021), section 3; for rates the variance at the difference in question, as Mee (1984).

    >>> from equipoise.stats.moments import Moments
    >>> def batch(share: float, a: list[int], b: list[int]) -> Batch:
    ...     return Batch({"a": share, "b": 1 - share}, {"a": Moments.of(a), "b": Moments.of(b)})
    >>> batches = [batch(0.5, [1, 0] * 50, [1, 0, 0, 0] * 25), batch(0.9, [1, 1, 0] * 60, [0, 0, 1, 0] * 5)]
    >>> e = difference(batches, "a", "b", rate=True)
    >>> round(e.value, 4), round(e.low, 4), round(e.high, 4), f"{e.p_value:.1e}"
    (0.3125, 0.1933, 0.4181, '5.9e-07')
    """
    level, null = inside("level", level), finite("null", null)
    arms = Series.of(batches, arm), Series.of(batches, against)
    short = _short(arm, arms[0]) or _short(against, arms[1])
    if short:
        return short
    weighted = _Weighted.of(*arms, inflation)
    if weighted is None:
        return NotEstimable(
            f"{arm} and {against} never had shares at the same time, so nothing compares them"
        )
    if arms[0].variance + arms[1].variance <= 0.0:
        return NotEstimable("the outcome is the same for every unit of both arms")
    method = "difference of means, adaptively weighted"
    if not rate:
        return _normal(weighted.value, weighted.variance(*arms), null, level, method)
    return _scored(weighted, arms, null, level, "difference of rates, adaptively weighted")


def difference_of_ratios(
    batches: Sequence[PairBatch],
    arm: str,
    against: str,
    *,
    inflation: tuple[float, float] = (1.0, 1.0),
    level: float = 0.95,
    null: float = 0.0,
) -> Estimate | NotEstimable:
    """The difference of sum(x)/sum(y) between `arm` and `against`, adaptively weighted, by the delta method.

    Scale: x's unit per y's. Degenerate cases: as `difference`, and not estimable where the mean of y is within three
    standard errors of 0 in an arm. Errors: as `difference`.
    Source: Hadad et al. (2021); Deng, Knoblich & Lu (2018), KDD, section 3.

    >>> from equipoise.stats.moments import PairMoments
    >>> a, b = PairMoments.of([1.0, 2.0, 6.0], [1, 1, 2]), PairMoments.of([2.0, 2.0, 9.0], [1, 1, 2])
    >>> e = difference_of_ratios([PairBatch({"a": 0.5, "b": 0.5}, {"a": a, "b": b})] * 4, "b", "a")
    >>> round(e.value, 3), round(e.standard_error, 3)
    (1.0, 0.475)
    """
    level, null = inside("level", level), finite("null", null)
    tops, bottoms = [each.column(0) for each in batches], [each.column(1) for each in batches]
    for name in (arm, against):
        steady = arm_mean(bottoms, name)
        short = _short(name, Series.of(bottoms, name))
        if short:
            return short
        if isinstance(steady, Estimate) and abs(steady.value) <= _STEADY * steady.standard_error:
            return NotEstimable(f"the denominator of {name} is too near 0 for a ratio to be told")
    x = _Weighted.of(Series.of(tops, arm), Series.of(tops, against))
    y = _Weighted.of(Series.of(bottoms, arm), Series.of(bottoms, against))
    if x is None or y is None:
        return NotEstimable(
            f"{arm} and {against} never had shares at the same time, so nothing compares them"
        )
    ratio, other = x.arm / y.arm, x.against / y.against
    own = Series.of(residuals(batches, arm, ratio, y.arm), arm)
    others = Series.of(residuals(batches, against, other, y.against), against)
    linear = _Weighted.of(own, others, inflation)
    assert linear is not None
    if own.variance + others.variance <= 0.0:
        return NotEstimable("the ratio is the same for every unit of each arm, so it has no spread")
    variance = linear.variance(own, others)
    return _normal(ratio - other, variance, null, level, "difference of ratios, adaptively weighted")


def shared_units(batches: Sequence[Batch] | Sequence[PairBatch], arm: str, against: str) -> int:
    """The units of all arms in the batches where both had a share: the clock by which their difference is looked at.

    Degenerate case: 0 where they never shared a batch. No errors.

    >>> from equipoise.stats.moments import Moments
    >>> shared_units([Batch({"a": 0.5, "b": 0.5}, {"a": Moments.of([1.0]), "b": Moments.of([0.0])})], "a", "b")
    2
    """
    return sum(
        sum(moments.n for moments in batch.moments.values())
        for batch in batches
        if batch.shares.get(arm, 0.0) > 0.0 and batch.shares.get(against, 0.0) > 0.0
    )


def _short(arm: str, series: Series) -> NotEstimable | None:
    n = int(series.counts.sum())
    if n < 2:
        return NotEstimable(f"{arm} has {n} unit{'' if n == 1 else 's'}, and a spread needs at least two")
    return None


@dataclass(frozen=True, slots=True)
class _Weighted:
    """The weighted scores of two arms: each arm's mean, and what a unit's variance adds to that of the difference."""

    arm: float
    against: float
    of_arm: float
    of_against: float
    weights: Numbers
    whole: float

    @property
    def value(self) -> float:
        return self.arm - self.against

    @classmethod
    def of(cls, a: Series, b: Series, inflation: tuple[float, float] = (1.0, 1.0)) -> _Weighted | None:
        held = a.known & b.known
        if not held.any():
            return None
        p, q = np.where(held, a.shares, 1.0), np.where(held, b.shares, 1.0)
        weights = np.where(held, 1.0 / np.sqrt(1.0 / p + 1.0 / q), 0.0)
        n, whole = a.units, float(weights @ a.units)
        if whole <= 0.0:
            return None
        means = [
            float(weights @ (n * each.guesses + each.counts * (each.means - each.guesses) / share)) / whole
            for each, share in ((a, p), (b, q))
        ]
        return cls(
            arm=means[0],
            against=means[1],
            of_arm=positive("inflation", inflation[0]) * float(weights**2 @ (n / p)) / whole**2,
            of_against=positive("inflation", inflation[1]) * float(weights**2 @ (n / q)) / whole**2,
            weights=weights,
            whole=whole,
        )

    def noise(self, a: Series, b: Series) -> float:
        """What guesses that miss the means add to the variance."""
        held = self.weights > 0
        p, q = np.where(held, a.shares, 1.0), np.where(held, b.shares, 1.0)
        off, away = a.guesses - self.arm, b.guesses - self.against
        each = off**2 * (1.0 / p - 1.0) + away**2 * (1.0 / q - 1.0) + 2.0 * off * away
        return max(0.0, float(self.weights**2 @ (a.units * each)) / self.whole**2)

    def variance(self, a: Series, b: Series) -> float:
        return self.of_arm * a.variance + self.of_against * b.variance + self.noise(a, b)


def _normal(value: float, variance: float, null: float, level: float, method: str) -> Estimate:
    error = math.sqrt(variance)
    half, z = critical((1.0 - level) / 2.0) * error, (value - null) / error
    return Estimate(
        value=value,
        standard_error=error,
        low=value - half,
        high=value + half,
        level=level,
        method=method,
        null=null,
        statistic=z,
        p_value=two_sided(z),
    )


def _scored(
    weighted: _Weighted, arms: tuple[Series, Series], null: float, level: float, method: str
) -> Estimate | NotEstimable:
    """Rates: at a difference d the arms' rates are those that have it and lie nearest to all the units together.

    Their variances are quadratic in d, and so is the equation for the ends of the interval.
    """
    a, b = arms
    n, m = float(a.counts.sum()), float(b.counts.sum())
    rate, part = float(a.counts @ a.means + b.counts @ b.means) / (n + m), n / (n + m)
    alpha, gamma, kappa = weighted.of_arm, weighted.of_against, weighted.noise(a, b)
    v0 = (alpha + gamma) * rate * (1.0 - rate) + kappa
    v1 = (alpha * (1.0 - part) - gamma * part) * (1.0 - 2.0 * rate)
    v2 = alpha * (1.0 - part) ** 2 + gamma * part**2
    value, z = weighted.value, critical((1.0 - level) / 2.0)
    at = v0 + v1 * value - v2 * value * value
    if at <= 0.0:
        # The rates lie so far apart that no two rates fit all the units together.
        at = weighted.variance(a, b)
    low, high = _between(
        1.0 + z * z * v2, -2.0 * value - z * z * v1, value * value - z * z * v0, around=value
    )
    # A difference that no two rates could have is as far off as can be told.
    tested = max(v0 + v1 * null - v2 * null * null, 1e-9 * at)
    statistic = (value - null) / math.sqrt(tested)
    return Estimate(
        value=value,
        standard_error=math.sqrt(at),
        low=max(low, -1.0),
        high=min(high, 1.0),
        level=level,
        method=method,
        null=null,
        statistic=statistic,
        p_value=two_sided(statistic),
    )


def _between(a: float, b: float, c: float, *, around: float | None = None) -> tuple[float, float]:
    """The roots of a·x² + b·x + c with a > 0; where there are none, the point they would be around."""
    root = b * b - 4.0 * a * c
    if root < 0.0:
        middle = -b / (2.0 * a) if around is None else around
        return middle, middle
    half = math.sqrt(root)
    return (-b - half) / (2.0 * a), (-b + half) / (2.0 * a)
