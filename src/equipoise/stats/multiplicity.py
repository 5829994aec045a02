"""Several hypotheses at once: p-values adjusted so that each may be compared with the family's own level."""

from __future__ import annotations

from collections.abc import Sequence

from equipoise.errors import UsageError

__all__ = ["benjamini_hochberg", "bonferroni", "holm"]


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


def _checked(p_values: Sequence[float]) -> list[float]:
    for p in p_values:
        if not 0.0 <= p <= 1.0:
            raise UsageError(f"every p-value must lie between 0 and 1, not {p}")
    return [float(p) for p in p_values]
