"""Clusters with units in both arms: what they have in common cancels in the difference of the arms.

Units are randomised one by one, and those of one cluster (conversations of one user) are alike whichever arms they fall
into. Each arm's value then varies between clusters, and both vary together. The difference of values that are sums of
pieces u, one of each cluster, varies by Σ (u_treatment − u_control)², of which a cluster without units in an arm has one
piece alone. The moments of the clusters that are in both arms say how far the pieces of the two go together.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from equipoise.errors import UsageError
from equipoise.stats.cross_moments import CrossMoments
from equipoise.stats.domain import counted, finite
from equipoise.stats.moments import PairMoments
from equipoise.stats.student import satterthwaite

__all__ = [
    "ALIKE",
    "NOTHING",
    "ArmVariance",
    "Overlap",
    "SharedSpread",
    "SharedVariance",
    "outcomes",
    "ratio_form",
    "shared_spread",
    "variance_of_difference",
]

Floats = NDArray[np.float64]

ALIKE = "in every cluster the arms differ alike, so their difference has no spread"
"""Why there is no interval where all that varies is common to both arms."""

NOTHING = 1e-12
"""What is left of two variances beside this part of them is rounding."""


class ArmVariance(NamedTuple):
    """The variance of an arm's value, the clusters that it is made of, and its degrees of freedom."""

    variance: float
    clusters: int
    freedom: float


class SharedVariance(NamedTuple):
    """What the `clusters` in both arms give to the variance of either arm's value, and the values' covariance.

    A variance of the difference that is no larger than `rounding` is nothing but that.
    """

    clusters: int
    control: float
    treatment: float
    covariance: float
    rounding: float = 0.0


@dataclass(frozen=True, slots=True)
class Overlap:
    """How far two arms go together whose errors are told otherwise than by their clusters' sums: a quantile's, a curve's.

    Of the `clusters` in both arms, the shares of either arm's variance, from 0 to 1, that they give, and the correlation
    of the arms' errors. Errors: UsageError for numbers outside these ranges.

    >>> Overlap(10, control=1.0, treatment=0.5, correlation=0.4).of(2.0, 3.0)
    SharedVariance(clusters=10, control=4.0, treatment=4.5, covariance=2.4000000000000004, rounding=0.0)
    """

    clusters: int
    control: float
    treatment: float
    correlation: float

    def __post_init__(self) -> None:
        counted("clusters", self.clusters, at_least=1)
        for name, least in (("control", 0.0), ("treatment", 0.0), ("correlation", -1.0)):
            value = finite(name, getattr(self, name))
            if not least - NOTHING <= value <= 1.0 + NOTHING:
                raise UsageError(f"{name} must lie between {least:g} and 1, not {value}")

    @classmethod
    def told(cls, shared: SharedVariance, control: float, treatment: float) -> Overlap | None:
        """The overlap of two arms of which these are the variances; None where an arm has none.

        >>> Overlap.told(SharedVariance(10, 1.0, 1.0, 0.5), 1.0, 4.0)
        Overlap(clusters=10, control=1.0, treatment=0.25, correlation=0.25)
        """
        if control <= 0.0 or treatment <= 0.0:
            return None
        correlation = shared.covariance / control**0.5 / treatment**0.5
        return cls(
            shared.clusters,
            min(shared.control / control, 1.0),
            min(shared.treatment / treatment, 1.0),
            max(-1.0, min(correlation, 1.0)),
        )

    def of(self, control: float, treatment: float) -> SharedVariance:
        """What the clusters in both arms give, by the standard errors of the arms' values."""
        return SharedVariance(
            self.clusters,
            self.control * control**2,
            self.treatment * treatment**2,
            self.correlation * control * treatment,
        )


@dataclass(frozen=True, slots=True)
class SharedSpread:
    """What the `clusters` in both arms give to the variances of k values of either arm, and their covariances.

    `between` has a row for each of control's values and a column for each of the treatment's. `rounding` is what the sums
    that they were made of may have lost.
    """

    clusters: int
    control: Floats
    treatment: Floats
    between: Floats
    rounding: Floats

    def along(self, weights: Floats) -> SharedVariance:
        """The same of one sum of the values, weighted alike in both arms."""
        own, size = (self.control, self.treatment, self.between), np.abs(weights)
        control, treatment, between = (float(weights @ each @ weights) for each in own)
        rounding = float(size @ self.rounding @ size)
        return SharedVariance(self.clusters, control, treatment, between, rounding)


def shared_spread(
    shared: CrossMoments,
    control: Sequence[float],
    treatment: Sequence[float],
    rows_control: Floats,
    rows_treatment: Floats,
) -> SharedSpread:
    """What clusters in both arms give to values that are linear in their sums.

    `shared` has the k columns of control and then those of the treatment, a row for each cluster that is in both. The
    means of all of an arm's clusters are the centre from which theirs are away. `rows_control` and `rows_treatment` have
    a row of k weights for each value: what a cluster that lies one further from the centre adds to it.

    Errors: UsageError where the columns are not twice as many as an arm's.
    Source: Cameron & Miller (2015), Journal of Human Resources 50, 317, eq. (11), for units of one cluster in both arms.

    >>> both = CrossMoments.of([1.0, 3.0], [2.0, 6.0])
    >>> half = np.array([[0.5]])
    >>> shared_spread(both, [2.0], [4.0], half, half).along(np.ones(1))
    SharedVariance(clusters=2, control=0.5, treatment=2.0, covariance=1.0, rounding=6.394884621840902e-14)
    """
    k = len(control)
    if len(treatment) != k or len(shared.means) != 2 * k:
        raise UsageError(
            f"clusters in both arms need the columns of control and of the treatment, {k} and {len(treatment)}, and have "
            f"{len(shared.means)}"
        )
    away = np.array(shared.means) - np.array((*control, *treatment))
    products = np.array(shared.products) + shared.n * np.outer(away, away)
    c, t = np.asarray(rows_control, dtype=np.float64), np.asarray(rows_treatment, dtype=np.float64)
    own_c, own_t, between = products[:k, :k], products[k:, k:], products[:k, k:]
    size_c, size_t, crossed = np.abs(c), np.abs(t), np.abs(c) @ np.abs(between) @ np.abs(t).T
    sizes = size_c @ np.abs(own_c) @ size_c.T + size_t @ np.abs(own_t) @ size_t.T + crossed + crossed.T
    return SharedSpread(
        shared.n, c @ own_c @ c.T, t @ own_t @ t.T, c @ between @ t.T, rounding=sizes * 2.0**-46
    )


def ratio_form(arm: PairMoments) -> Floats:
    """What a cluster adds to sum(x)/sum(y), by its x and its y: (x − R·y) / (ȳ·sqrt(n(n − 1))), of n clusters.

    At least two clusters and a mean of y other than 0. The squares add up to the delta-method variance of the ratio.
    Source: Deng, Knoblich & Lu (2018), KDD, section 3.

    >>> ratio_form(PairMoments.of([1.0, 3.0], [1.0, 1.0]))
    array([[ 0.70710678, -1.41421356]])
    """
    scale = arm.mean_y * (arm.n * (arm.n - 1.0)) ** 0.5
    return np.array([[1.0 / scale, -arm.mean_x / arm.mean_y / scale]])


def outcomes(shared: CrossMoments | None) -> CrossMoments | None:
    """The first two columns of either arm alone: what a ratio is made of, without the covariates beside it.

    >>> outcomes(CrossMoments.of([1.0], [2.0], [9.0], [3.0], [4.0], [9.0])).means
    (1.0, 2.0, 3.0, 4.0)
    """
    if shared is None:
        return None
    half = len(shared.means) // 2
    return shared.columns(0, 1, half, half + 1)


def variance_of_difference(
    control: ArmVariance, treatment: ArmVariance, shared: SharedVariance | None = None
) -> tuple[float, float]:
    """The variance of treatment minus control, and its degrees of freedom.

    Without `shared` the arms are independent and the freedom is Welch and Satterthwaite's. With it the covariance is
    taken off twice, and the freedom is Satterthwaite's for three independent sums: over the clusters of control alone, of
    the treatment alone, and of both. It is G − 1 where all of G clusters are in both arms, as of pairs.

    Some variance is greater than 0. What is left beside both arms' variances and no larger than rounding counts as 0;
    there the freedom is 1.
    Source: Satterthwaite (1946), Biometrics Bulletin 2, 110.

    >>> variance_of_difference(ArmVariance(1.0, 10, 9.0), ArmVariance(1.0, 10, 9.0))
    (2.0, 18.0)
    >>> both = SharedVariance(10, 1.0, 1.0, 0.5)
    >>> variance_of_difference(ArmVariance(1.0, 10, 9.0), ArmVariance(1.0, 10, 9.0), both)
    (1.0, 9.0)
    """
    apart = control.variance + treatment.variance
    if shared is None or not shared.clusters:
        return apart, satterthwaite(
            (control.variance, control.freedom + 1.0), (treatment.variance, treatment.freedom + 1.0)
        )
    variance = apart - 2.0 * shared.covariance
    if variance <= max(NOTHING * apart, shared.rounding):
        return 0.0, 1.0
    parts = []
    left = variance
    for arm, both in ((control, shared.control), (treatment, shared.treatment)):
        alone = arm.clusters - shared.clusters
        if alone > 0:
            own = min(max(0.0, arm.variance - both), left)
            parts.append((own, arm.freedom * alone / arm.clusters + 1.0))
            left -= own
    per_cluster = min(arm.freedom / arm.clusters for arm in (control, treatment))
    parts.append((left, per_cluster * shared.clusters + 1.0))
    return variance, satterthwaite(*parts)
