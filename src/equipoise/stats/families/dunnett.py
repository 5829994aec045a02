"""Several treatments against one control: the critical value that all comparisons share.

The comparisons borrow the same control, so their statistics rise and fall together, and Bonferroni asks for
more than is needed. Given the control's own deviation x the treatments are independent, so the joint
probability is one integral over x (Dunnett 1955), of any number of arms of any size.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.special import gammaincinv, gammaln, ndtr

from equipoise.errors import UsageError
from equipoise.stats.domain import counted, finite, inside, positive, sided
from equipoise.stats.normal import critical
from equipoise.stats.roots import brentq

__all__ = ["best_control_share", "dunnett_adjusted", "dunnett_alpha", "dunnett_critical"]

_FARTHEST_X = 37.0
_MOST_POINTS = 200_000
_NODES = 96


def dunnett_critical(
    control: float,
    treatments: Sequence[float],
    *,
    alpha: float = 0.05,
    sides: int = 2,
    degrees_of_freedom: float = math.inf,
) -> float:
    """The value that the largest of all treatment-minus-control statistics exceeds with chance `alpha`.

    `control` and `treatments` are the weights of the arms, above 0: units where all arms spread alike,
    otherwise one over the variance of each arm's mean or rate; only their ratios matter. Two statistics
    have the correlation λ_i·λ_j with λ² = w/(w + w_control). Two sides: of |z|; one side: of z.
    `degrees_of_freedom` are those of the pooled variance; infinite for z statistics.

    c solves 1 − ∫ φ(x) Π_i [Φ((c·s + λ_i·x)/√(1 − λ_i²)) − Φ((−c·s + λ_i·x)/√(1 − λ_i²))] dx = alpha, averaged
    over s = sqrt(χ²/df) where df is finite; with one side the second Φ is 0.

    Degenerate cases: one treatment gives the fixed test's critical value. Errors: UsageError for no
    treatments, weights not above 0, degrees of freedom below 1, alpha outside (0, 1) or, with one side, (0, 0.5],
    or other sides. Source: Dunnett (1955), JASA 50, 1096, and (1964), Biometrics 20, 482, eq. (1).

    >>> round(dunnett_critical(100, [100, 100, 100]), 2)
    2.35
    >>> round(dunnett_critical(1, [1, 1], sides=1, degrees_of_freedom=20), 2)
    2.03
    """
    joint = _Joint(control, treatments, sides, degrees_of_freedom)
    tail = inside("alpha", alpha, 0.0, 0.5 * sides)
    high = critical(tail / joint.arms / sides)
    while joint.exceeded(high) > tail:
        high *= 2.0
    return brentq(lambda c: joint.exceeded(c) - tail, 0.0, high, xtol=1e-11)


def dunnett_alpha(
    control: float, treatments: Sequence[float], *, alpha: float = 0.05, sides: int = 2
) -> float:
    """The error of each single comparison at which all of them together err with `alpha`; a probability.

    It is sides times the normal tail beyond `dunnett_critical`, between alpha/k (Bonferroni) and alpha, and
    is what a sample size for one of k treatments is computed with. Domain, errors and source: as there.

    >>> round(dunnett_alpha(1, [1, 1, 1]), 4)
    0.0188
    """
    return sides * float(ndtr(-dunnett_critical(control, treatments, alpha=alpha, sides=sides)))


def dunnett_adjusted(
    statistics: Sequence[float],
    control: float,
    treatments: Sequence[float],
    *,
    sides: int = 2,
    degrees_of_freedom: float = math.inf,
) -> tuple[float, ...]:
    """Single-step adjusted p-values of treatment-minus-control statistics, in the order given.

    Each is the chance, were no treatment different, that the largest statistic is at least as large as this
    one; it is at most alpha exactly when the statistic reaches `dunnett_critical`. `statistics` are z (or t
    with the pooled `degrees_of_freedom`), one for each treatment; with one side large ones speak against the
    null. The remaining arguments, errors and source are those of `dunnett_critical`; further UsageError
    where statistics and treatments differ in number or a statistic is not finite. Far out the answer is
    relatively exact, not merely 1 minus a probability near 1.

    >>> [round(p, 4) for p in dunnett_adjusted([2.5, 1.0, -0.3], 100, [100, 100, 100])]
    [0.0336, 0.6243, 0.9819]
    """
    joint = _Joint(control, treatments, sides, degrees_of_freedom)
    zs = [finite("a statistic", z) for z in statistics]
    if len(zs) != joint.arms:
        raise UsageError(
            f"each treatment needs one statistic, but {joint.arms} treatments came with {len(zs)}"
        )
    return tuple(joint.exceeded(abs(z) if sides == 2 else z) for z in zs)


def best_control_share(treatments: int) -> float:
    """The share of all units that control should get, so that the comparisons are as sharp as can be.

    With k equal treatments each difference has the variance σ²(1/n_c + 1/n_t), least for a given total where
    n_c = √k · n_t: a share of 1/(1 + √k). Domain: a whole number of treatments from 1. Errors: UsageError
    outside. Source: Dunnett (1955).

    >>> round(best_control_share(4), 4)
    0.3333
    """
    return 1.0 / (1.0 + math.sqrt(counted("treatments", treatments, at_least=1)))


class _Joint:
    """The distribution of the largest of several statistics that share a control."""

    def __init__(
        self, control: float, treatments: Sequence[float], sides: int, degrees_of_freedom: float
    ) -> None:
        self.arms, self._sides = len(treatments), sided(sides)
        if not treatments:
            raise UsageError("at least one treatment is needed")
        own = positive("the weight of control", control)
        shares = [1.0 / (1.0 + own / positive("the weight of a treatment", w)) for w in treatments]
        # Arms of equal weight share one column of the integrand.
        distinct, self._times = np.unique(np.array(shares), return_counts=True)
        self._lean = np.sqrt(distinct)
        self._rest = np.sqrt(np.maximum(1.0 - distinct, 1e-300))
        self._scales, self._chances = _scales(degrees_of_freedom)

    def exceeded(self, c: float) -> float:
        """The probability that some statistic (in absolute value, with two sides) is at least `c`."""
        return min(
            1.0, math.fsum(w * self._at(c * s) for s, w in zip(self._scales, self._chances, strict=True))
        )

    def _at(self, c: float) -> float:
        # The trapezoidal rule is spectrally accurate for a smooth integrand that dies out at both ends.
        reach = min(9.0 + abs(c), _FARTHEST_X)
        step = min(0.1, float((self._rest / self._lean).min()) / 4.0)
        points = min(2 * math.ceil(reach / step) + 1, _MOST_POINTS)
        x, width = np.linspace(-reach, reach, points, retstep=True)
        beyond = ndtr((self._lean[:, None] * x - c) / self._rest[:, None])
        if self._sides == 2:
            beyond += ndtr((-self._lean[:, None] * x - c) / self._rest[:, None])
        # 1 − Π(1 − u) without losing a small u beside the 1.
        with np.errstate(divide="ignore"):
            some = -np.expm1(self._times @ np.log1p(-np.minimum(beyond, 1.0)))
        return float(np.exp(-0.5 * x * x) @ some) * float(width) / math.sqrt(2.0 * math.pi)


def _scales(degrees_of_freedom: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Values of sqrt(χ²/df) and their probabilities: the spread that a pooled variance may show."""
    if degrees_of_freedom == math.inf:
        return np.ones(1), np.ones(1)
    df = positive("degrees_of_freedom", degrees_of_freedom)
    if df < 1.0:
        raise UsageError(f"degrees_of_freedom must be at least 1, not {df:g}")
    half = df / 2.0
    low, high = (math.sqrt(float(gammaincinv(half, p)) / half) for p in (1e-15, 1.0 - 1e-15))
    nodes, weights = np.polynomial.legendre.leggauss(_NODES)
    s = low + (high - low) * (nodes + 1.0) / 2.0
    log_density = (
        math.log(2.0) + half * math.log(half) - float(gammaln(half)) + (df - 1.0) * np.log(s) - half * s * s
    )
    return s, weights * np.exp(log_density) * (high - low) / 2.0
