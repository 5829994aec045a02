"""Drift: whether what comes in, or what is made of it, is still what it was; and two means that share nothing."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import SupportsIndex

from scipy.special import chdtri

from equipoise.errors import UsageError
from equipoise.stats.domain import counted, inside
from equipoise.stats.estimate import Estimate, NotEstimable
from equipoise.stats.student import t_estimate

__all__ = ["Stability", "difference_of_estimates", "population_stability"]

_SOFTENING = 0.5


@dataclass(frozen=True, slots=True)
class Stability:
    """How far two distributions over the same classes are apart: 0 where they agree, without an upper end.

    `chance` is what the index stays below in 95 of 100 comparisons in which nothing has changed, if what was counted is
    independent; where some belong together it is too low.
    """

    index: float
    chance: float
    classes: int

    @property
    def stable(self) -> bool:
        """Whether chance explains the difference."""
        return self.index <= self.chance


def population_stability(
    reference: Mapping[str, SupportsIndex], latest: Mapping[str, SupportsIndex], *, level: float = 0.95
) -> Stability | NotEstimable:
    """The population stability index of counts by class: the sum of (p − q)·ln(p / q), which is a symmetric divergence.

    Scale: nats. A class that one side lacks counts as half a one there, as does every class on both sides. Without a change
    the index over (1/n + 1/m) is nearly chi-squared with one degree of freedom less than there are classes.

    Degenerate cases: not estimable without a count on either side, or with a single class, which cannot change. Errors:
    UsageError for counts that are negative or no whole numbers, and for a level outside (0, 1).
    Source: Kullback & Leibler (1951), Annals of Mathematical Statistics 22, 79, for the divergence; Yurdakul & Naranjo
    (2020), Journal of Risk Model Validation 14(4), 89, for its distribution.

    >>> found = population_stability({"phone": 500, "desktop": 500}, {"phone": 700, "desktop": 300})
    >>> round(found.index, 3), round(found.chance, 4), found.stable
    (0.169, 0.0077, False)
    """
    level = inside("level", level)
    names = list(dict.fromkeys([*reference, *latest]))
    before = [counted(f"the count of {name}", reference.get(name, 0)) for name in names]
    after = [counted(f"the count of {name}", latest.get(name, 0)) for name in names]
    n, m = sum(before), sum(after)
    if not n or not m:
        return NotEstimable(f"there is nothing to compare {'with' if not n else 'yet'}")
    if len(names) < 2:
        return NotEstimable(f"everything is '{names[0]}', before and after")
    soft = _SOFTENING * len(names)
    index = math.fsum(
        ((b + _SOFTENING) / (m + soft) - (a + _SOFTENING) / (n + soft))
        * math.log((b + _SOFTENING) * (n + soft) / ((a + _SOFTENING) * (m + soft)))
        for a, b in zip(before, after, strict=True)
    )
    return Stability(index, float(chdtri(len(names) - 1, 1.0 - level)) * (1.0 / n + 1.0 / m), len(names))


def difference_of_estimates(
    one: Estimate | NotEstimable, other: Estimate | NotEstimable, *, level: float = 0.95, null: float = 0.0
) -> Estimate | NotEstimable:
    """`one` less `other`, which rest on different data.

    Scale: that of both. The variance is the sum of both, the degrees of freedom are Welch and Satterthwaite's; an estimate
    without degrees of freedom has infinitely many.

    Degenerate cases: not estimable where either is not. Errors: UsageError for a standard error that is not above 0, and
    for a level outside (0, 1).
    Source: Welch (1947), Biometrika 34, 28.

    >>> from equipoise.stats.cases.case_means import mean_over_cases
    >>> found = difference_of_estimates(mean_over_cases([4.0, 5.0, 3.0]), mean_over_cases([2.0, 3.0, 4.0]))
    >>> round(found.value, 2), round(found.standard_error, 4), round(found.degrees_of_freedom, 2)
    (1.0, 0.8165, 4.0)
    """
    for each in (one, other):
        if isinstance(each, NotEstimable):
            return each
        if not each.standard_error > 0.0:
            raise UsageError(f"a standard error is above 0, and this is {each.standard_error!r}")
    assert isinstance(one, Estimate)
    assert isinstance(other, Estimate)
    variances = [one.standard_error**2, other.standard_error**2]
    spread = math.fsum(
        variance**2 / each.degrees_of_freedom
        for variance, each in zip(variances, (one, other), strict=True)
        if each.degrees_of_freedom is not None
    )
    total = math.fsum(variances)
    return t_estimate(
        one.value - other.value,
        math.sqrt(total),
        total**2 / spread if spread else math.inf,
        level=level,
        null=null,
        method="difference of two means that share nothing, Welch's t",
    )
