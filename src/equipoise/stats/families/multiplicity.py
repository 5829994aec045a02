"""Several hypotheses at once: p-values adjusted so that each may be compared with the family's own level."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, SupportsIndex

from equipoise.errors import UsageError
from equipoise.stats.domain import counted, inside
from equipoise.stats.estimate import NotEstimable

__all__ = [
    "ADJUSTMENTS",
    "Adjustment",
    "Family",
    "benjamini_hochberg",
    "benjamini_yekutieli",
    "bonferroni",
    "chance_of_any",
    "holm",
]

Adjustment = Literal["bonferroni", "holm", "benjamini_hochberg", "benjamini_yekutieli"]


def bonferroni(p_values: Sequence[float]) -> tuple[float, ...]:
    """Adjusted p-values min(1, m·p), in the order given.

    The chance of any false rejection stays below the level under any dependence. An empty family
    gives an empty answer.
    Errors: UsageError for a p-value outside [0, 1].
    Source: Dunn (1961), JASA 56, 52.

    >>> [round(p, 3) for p in bonferroni([0.001, 0.020, 0.12, 0.42])]
    [0.004, 0.08, 0.48, 1.0]
    """
    ps = _checked(p_values)
    return tuple(min(1.0, len(ps) * p) for p in ps)


def holm(p_values: Sequence[float]) -> tuple[float, ...]:
    """Holm's step-down p-values, in the order given: Bonferroni's promise, never larger than Bonferroni's.

    The i-th smallest is max over j ≤ i of min(1, (m − j + 1)·p(j)). Holds under any dependence. Errors:
    UsageError for a p-value outside [0, 1]. Source: Holm (1979), Scandinavian Journal of Statistics 6, 65.

    >>> [round(p, 3) for p in holm([0.001, 0.020, 0.12, 0.42])]
    [0.004, 0.06, 0.24, 0.42]
    """
    ps = _checked(p_values)
    adjusted, worst = [0.0] * len(ps), 0.0
    for rank, i in enumerate(sorted(range(len(ps)), key=ps.__getitem__)):
        worst = max(worst, min(1.0, (len(ps) - rank) * ps[i]))
        adjusted[i] = worst
    return tuple(adjusted)


def benjamini_hochberg(p_values: Sequence[float]) -> tuple[float, ...]:
    """Benjamini and Hochberg's step-up p-values, in the order given.

    The expected share of false ones among the rejections stays below the level. The i-th smallest is
    min over j ≥ i of min(1, m·p(j)/j). Holds for independent and for positively dependent tests.
    Errors: UsageError for a p-value outside [0, 1].
    Source: Benjamini & Hochberg (1995), JRSS B 57, 289, eq. (1).

    >>> [round(p, 3) for p in benjamini_hochberg([0.001, 0.020, 0.12, 0.42])]
    [0.004, 0.04, 0.16, 0.42]
    """
    ps = _checked(p_values)
    adjusted, best = [0.0] * len(ps), 1.0
    order = sorted(range(len(ps)), key=ps.__getitem__)
    for rank in range(len(ps), 0, -1):
        best = min(best, len(ps) * ps[order[rank - 1]] / rank)
        adjusted[order[rank - 1]] = best
    return tuple(adjusted)


def benjamini_yekutieli(p_values: Sequence[float]) -> tuple[float, ...]:
    """Benjamini and Yekutieli's step-up p-values, in the order given.

    Benjamini and Hochberg's, with p multiplied by 1 + 1/2 + … + 1/m: the same promise under *any*
    dependence, negative too, as between metrics of which one rises because the other falls.
    Errors: UsageError for a p-value outside [0, 1].
    Source: Benjamini & Yekutieli (2001), Annals of Statistics 29, 1165, theorem 1.3.

    >>> [round(p, 4) for p in benjamini_yekutieli([0.001, 0.020, 0.12, 0.42])]
    [0.0083, 0.0833, 0.3333, 0.875]
    """
    ps = _checked(p_values)
    harmonic = math.fsum(1.0 / rank for rank in range(1, len(ps) + 1))
    adjusted, best = [0.0] * len(ps), 1.0
    order = sorted(range(len(ps)), key=ps.__getitem__)
    for rank in range(len(ps), 0, -1):
        best = min(best, harmonic * len(ps) * ps[order[rank - 1]] / rank)
        adjusted[order[rank - 1]] = best
    return tuple(adjusted)


def chance_of_any(tests: SupportsIndex, alpha: float = 0.05) -> float:
    """The chance that at least one of several independent tests rejects where nothing is there; in [0, 1).

    1 − (1 − alpha)^tests; without tests it is 0. Errors: UsageError for a negative number of tests or an
    alpha outside (0, 1). Source: Šidák (1967), JASA 62, 626.

    >>> f"{chance_of_any(20):.0%}"
    '64%'
    """
    return -math.expm1(counted("tests", tests) * math.log1p(-inside("alpha", alpha)))


ADJUSTMENTS: Mapping[Adjustment, Callable[[Sequence[float]], tuple[float, ...]]] = {
    "bonferroni": bonferroni,
    "holm": holm,
    "benjamini_hochberg": benjamini_hochberg,
    "benjamini_yekutieli": benjamini_yekutieli,
}


@dataclass(frozen=True, slots=True)
class Family:
    """Hypotheses that are judged together, and how: declared before the data are seen.

    `members` are the names of the hypotheses and `method` is a key of `ADJUSTMENTS`. A family that could be
    chosen after the results would promise nothing, so p-values must come for exactly its members. Errors:
    UsageError for a family without members, a name given twice, or another method.

    >>> Family(("latency", "cost"), "holm").members
    ('latency', 'cost')
    """

    members: tuple[str, ...]
    method: Adjustment

    def __post_init__(self) -> None:
        if not self.members:
            raise UsageError("a family needs at least one member")
        twice = [name for i, name in enumerate(self.members) if name in self.members[:i]]
        if twice:
            raise UsageError(f"{twice[0]} is named twice in one family")
        if self.method not in ADJUSTMENTS:
            raise UsageError(f"method must be one of {', '.join(ADJUSTMENTS)}, not {self.method!r}")

    def adjust(self, p_values: Mapping[str, float | NotEstimable]) -> dict[str, float | NotEstimable]:
        """The adjusted p-value of each member, in the family's order; probabilities.

        Degenerate cases: a member that is not estimable stays so, and still counts as a hypothesis (as if
        its p were 1): were it dropped, a broken metric would make the others look better. Errors:
        UsageError where the names are not the family's, or for a p-value outside [0, 1].
        Source: that of `method`.

        >>> family = Family(("latency", "cost", "length"), "bonferroni")
        >>> family.adjust({"latency": 0.01, "cost": 0.2, "length": NotEstimable("there are no units")})["latency"]
        0.03
        """
        if set(p_values) != set(self.members):
            raise UsageError(
                f"p-values must come for exactly the members {sorted(self.members)}, not {sorted(p_values)}"
            )
        found = [p_values[name] for name in self.members]
        adjusted = ADJUSTMENTS[self.method]([1.0 if isinstance(p, NotEstimable) else p for p in found])
        return {
            name: p if isinstance(p, NotEstimable) else new
            for name, p, new in zip(self.members, found, adjusted, strict=True)
        }


def _checked(p_values: Sequence[float]) -> list[float]:
    for p in p_values:
        if not 0.0 <= p <= 1.0:
            raise UsageError(f"every p-value must lie between 0 and 1, not {p}")
    return [float(p) for p in p_values]
