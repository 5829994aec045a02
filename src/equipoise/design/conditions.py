"""How a test will be run, beyond one look at two arms of independent units, and what that costs."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal, get_args

from equipoise.errors import UsageError
from equipoise.stats.domain import counted
from equipoise.stats.families.dunnett import dunnett_alpha
from equipoise.stats.looks.sequential import inflation
from equipoise.stats.looks.spending import SPENDING
from equipoise.stats.sizes.power_clusters import design_effect

__all__ = ["PLAIN", "Conditions", "Correction", "days_needed"]

Correction = Literal["dunnett", "bonferroni"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Conditions:
    """Several treatments against one control, several looks, and whole clusters that are randomised.

    `arms` counts control too; with more than two the error is shared out among the comparisons by
    `correction`. `looks` are evenly spaced and spend as `spending` says. `icc` and `cluster_size` come
    together. Errors: UsageError for anything else.

    >>> Conditions(arms=4, looks=3).treatments
    3
    """

    arms: int = 2
    correction: Correction = "dunnett"
    looks: int = 1
    spending: str = "obrien_fleming"
    icc: float | None = None
    cluster_size: float | None = None
    cluster_cv: float = 0.0

    def __post_init__(self) -> None:
        counted("arms", self.arms, at_least=2)
        counted("looks", self.looks, at_least=1)
        if self.correction not in get_args(Correction):
            raise UsageError(f"correction must be 'dunnett' or 'bonferroni', not {self.correction!r}")
        if self.spending not in SPENDING:
            raise UsageError(f"spending must be one of {', '.join(SPENDING)}, not {self.spending!r}")
        if (self.icc is None) != (self.cluster_size is None):
            raise UsageError("icc and cluster_size belong together: give both, or neither")
        if self.icc is None and self.cluster_cv:
            raise UsageError("cluster_cv needs icc and cluster_size beside it")
        if self.icc is not None and self.cluster_size is not None:
            design_effect(self.icc, self.cluster_size, self.cluster_cv)

    @property
    def treatments(self) -> int:
        """Arms without control."""
        return self.arms - 1

    @property
    def clustered(self) -> bool:
        """Whether whole clusters are randomised."""
        return self.icc is not None

    @property
    def names(self) -> tuple[str, ...]:
        """The arms as they are called in a result.

        >>> Conditions().names, Conditions(arms=3).names
        (('control', 'treatment'), ('control', 'treatment_1', 'treatment_2'))
        """
        if self.arms == 2:
            return ("control", "treatment")
        return ("control", *(f"treatment_{i}" for i in range(1, self.arms)))

    def alpha_each(self, alpha: float, ratio: float, sides: int) -> float:
        """The error that each comparison may make, so that all together make `alpha`.

        >>> round(Conditions(arms=4).alpha_each(0.05, 1.0, 2), 4)
        0.0188
        """
        if self.treatments == 1:
            return alpha
        if self.correction == "bonferroni":
            return alpha / self.treatments
        return dunnett_alpha(1.0, [ratio] * self.treatments, alpha=alpha, sides=sides)

    def inflation(self, alpha: float, power: float, sides: int) -> float:
        """By how much the looks raise the largest number of units: a factor of at least 1.

        >>> round(Conditions(looks=4).inflation(0.05, 0.8, 2), 4)
        1.0196
        """
        if self.looks == 1:
            return 1.0
        fractions = [look / self.looks for look in range(1, self.looks + 1)]
        return inflation(fractions, alpha, power, SPENDING[self.spending], sides).factor

    def to_dict(self) -> dict[str, Any]:
        """The JSON shape of what departs from the plain case.

        >>> Conditions(looks=4).to_dict()
        {'looks': 4, 'spending': 'obrien_fleming'}
        """
        shape: dict[str, Any] = {}
        if self.arms > 2:
            shape |= {"arms": self.arms, "correction": self.correction}
        if self.looks > 1:
            shape |= {"looks": self.looks, "spending": self.spending}
        if self.clustered:
            shape |= {"icc": self.icc, "cluster_size": self.cluster_size, "cluster_cv": self.cluster_cv}
        return shape


PLAIN = Conditions()
"""One look at two arms of independent units."""


def days_needed(
    units: int, units_per_day: float, *, burn_in_days: float = 0.0, cycle_days: float = 7.0
) -> float:
    """Days until so many units are enrolled, rounded up to whole cycles.

    Whole cycles (weeks, say), so that every weekday is seen equally often; a cycle of 0 rounds to whole
    days. `burn_in_days` come first and count no units. Errors: UsageError for negative numbers or traffic
    that is not above 0.

    >>> days_needed(2942, 300), days_needed(2942, 300, burn_in_days=5), days_needed(2942, 300, cycle_days=0)
    (14.0, 21.0, 10.0)
    """
    counted("units", units)
    for name, value in (("burn_in_days", burn_in_days), ("cycle_days", cycle_days)):
        if not (math.isfinite(value) and value >= 0.0):
            raise UsageError(f"{name} must be a finite number of at least 0, not {value}")
    if not (math.isfinite(units_per_day) and units_per_day > 0.0):
        raise UsageError(f"units_per_day must be a finite number greater than 0, not {units_per_day}")
    cycle = cycle_days or 1.0
    # A traffic that divides evenly must not cost a cycle to rounding.
    return math.ceil((burn_in_days + units / units_per_day) / cycle - 1e-9) * cycle
