"""What an adaptive experiment leaves behind: batches of units, each with the probabilities that its units came in under."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from equipoise.errors import UsageError
from equipoise.stats.estimate import NotEstimable
from equipoise.stats.moments import Moments, PairMoments

__all__ = ["Batch", "Numbers", "PairBatch", "Series", "naive_mean", "residuals"]

Numbers = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Batch:
    """Units that came in under the same `shares` (probabilities of the arms), and the moments of their outcome by arm.

    Batches stand in the order in which they began. An arm that is in one of the two and not in the other had no share,
    or no unit. Errors: UsageError for shares that do not lie in [0, 1] or do not add up to 1, and for units of an arm
    that had no share.

    >>> Batch({"a": 0.5, "b": 0.5}, {"a": Moments.of([1.0, 0.0]), "b": Moments.of([1.0])}).units
    3
    """

    shares: Mapping[str, float]
    moments: Mapping[str, Moments]

    def __post_init__(self) -> None:
        _check(self.shares, {arm: moments.n for arm, moments in self.moments.items()})

    @property
    def units(self) -> int:
        """Units of all arms."""
        return sum(moments.n for moments in self.moments.values())


@dataclass(frozen=True, slots=True)
class PairBatch:
    """The same for two outcomes of each unit, such as the numerator and the denominator of a ratio.

    >>> PairBatch({"a": 1.0}, {"a": PairMoments.of([1.0, 3.0], [1.0, 2.0])}).column(1).moments["a"].mean
    1.5
    """

    shares: Mapping[str, float]
    moments: Mapping[str, PairMoments]

    def __post_init__(self) -> None:
        _check(self.shares, {arm: moments.n for arm, moments in self.moments.items()})

    def column(self, which: int) -> Batch:
        """One of the two alone: 0 the first, 1 the second.

        >>> PairBatch({"a": 1.0}, {"a": PairMoments.of([1.0, 3.0], [1.0, 2.0])}).column(0).units
        2
        """
        return Batch(self.shares, {arm: pairs.y if which else pairs.x for arm, pairs in self.moments.items()})


def _check(shares: Mapping[str, float], units: Mapping[str, int]) -> None:
    # Written so that a NaN is refused too.
    if not all(0.0 <= share <= 1.0 for share in shares.values()):
        raise UsageError(f"shares must lie between 0 and 1, not {dict(shares)}")
    total = math.fsum(shares.values())
    if abs(total - 1.0) > 1e-6:
        raise UsageError(f"the shares of a batch must sum to 1, not {total:g}")
    stray = [arm for arm, n in units.items() if n and not shares.get(arm, 0.0)]
    if stray:
        raise UsageError(f"{stray[0]} has units and no share in a batch; no unit can have come in under it")


def naive_mean(batches: Sequence[Batch], arm: str) -> float | NotEstimable:
    """The plain mean of an arm's units, which is *biased*: to be shown beside an honest estimate, and never alone.

    An arm that had bad luck is given fewer units to make up for it, so that on average its plain mean is too low, the
    more so the less it was played. It has no interval, since none around it would hold.

    Scale: the outcome's own. Degenerate case: not estimable without a unit.
    Source: Nie, Tian, Taylor & Zou (2018), Why adaptively collected data have negative bias, AISTATS.

    >>> half = {"a": 0.5, "b": 0.5}
    >>> naive_mean([Batch(half, {"a": Moments.of([1.0, 0.0])}), Batch(half, {"a": Moments.of([1.0])})], "a")
    0.6666666666666666
    """
    total = sum((batch.moments.get(arm, Moments.zero()) for batch in batches), Moments.zero())
    return total.mean if total.n else NotEstimable(f"no unit of {arm} has a value")


@dataclass(frozen=True, slots=True)
class Series:
    """One arm through the batches: its `shares`, all arms' `units`, its own `counts`, `means` and `m2`.

    `guesses` are what was known of the arm's mean before each batch (in the first that has units of it, their own
    mean): any guess leaves the estimate unbiased, and a good one makes it narrow. `known` says where there is one.
    """

    shares: Numbers
    units: Numbers
    counts: Numbers
    means: Numbers
    m2: Numbers
    guesses: Numbers
    known: NDArray[np.bool_]

    @classmethod
    def of(cls, batches: Sequence[Batch], arm: str) -> Series:
        own = [batch.moments.get(arm, Moments.zero()) for batch in batches]
        counts, means, m2 = (
            np.array([getattr(each, name) for each in own], dtype=np.float64) for name in ("n", "mean", "m2")
        )
        seen = np.cumsum(counts)
        before = seen - counts
        sums = np.cumsum(counts * means) - counts * means
        shares = np.array([float(batch.shares.get(arm, 0.0)) for batch in batches], dtype=np.float64)
        return cls(
            shares=shares,
            units=np.array([batch.units for batch in batches], dtype=np.float64),
            counts=counts,
            means=means,
            m2=m2,
            guesses=np.where(before > 0, sums / np.maximum(before, 1.0), means),
            known=(seen > 0) & (shares > 0),
        )

    @property
    def mean(self) -> float:
        """The arm's mean by inverse probabilities, self-normalised: over all units alike, whenever they came."""
        weights = self._inverse()
        return float(weights @ self.means / weights.sum())

    @property
    def variance(self) -> float:
        """The variance of one unit's outcome, by inverse probabilities.

        The plain variance would err with the plain mean: where successes are rare, an arm that had few of them early
        seems steadier than it is, and is not asked again.
        """
        weights = self._inverse()
        spread = np.where(self.counts > 0, self.m2 / np.maximum(self.counts, 1.0), 0.0)
        n = float(self.counts.sum())
        second = float(weights @ (spread + (self.means - self.mean) ** 2) / weights.sum())
        return second * n / (n - 1.0)

    def _inverse(self) -> Numbers:
        held = self.shares > 0
        return np.where(held, self.counts / np.where(held, self.shares, 1.0), 0.0)


def residuals(batches: Sequence[PairBatch], arm: str, ratio: float, per: float) -> list[Batch]:
    """Of one arm's pairs (x, y) the outcome (x − `ratio`·y) / `per`, the linear part of an error in x over y.

    `ratio` and `per` (the mean of y) are of all batches. Source: Deng, Knoblich & Lu (2018), KDD, section 3.

    >>> pairs = PairBatch({"a": 1.0}, {"a": PairMoments.of([1.0, 3.0], [1.0, 2.0])})
    >>> residuals([pairs], "a", 4 / 3, 1.5)[0].moments["a"].n
    2
    """
    made = []
    for batch in batches:
        pairs = batch.moments.get(arm, PairMoments.zero())
        m2 = pairs.m2_x - 2.0 * ratio * pairs.c_xy + ratio * ratio * pairs.m2_y
        own = Moments(pairs.n, (pairs.mean_x - ratio * pairs.mean_y) / per, max(0.0, m2) / (per * per))
        others = {
            name: Moments(each.n, 0.0, 0.0) for name, each in batch.moments.items() if name != arm and each.n
        }
        made.append(Batch(batch.shares, {**others, arm: own}))
    return made
