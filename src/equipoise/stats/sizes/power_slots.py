"""Sizes where time slots are randomised: what slots drawn together have in common counts no more."""

from __future__ import annotations

import math
from collections.abc import Sequence

from equipoise.errors import UsageError
from equipoise.stats.domain import finite, positive
from equipoise.stats.estimate import NotEstimable

__all__ = ["correlation_apart", "paired_spread"]

LEAST_PAIRS = 8
"""Fewer pairs of slots than this say nothing of how alike slots are."""


def paired_spread(spread: float, correlation: float) -> float:
    """The spread between slots that is left when slots are compared within their blocks: spread·√(1 − correlation).

    Scale: the outcome's own unit. `spread` is the standard deviation between slots at any time of the week, `correlation`,
    in [0, 1), that between two slots of one block. The difference of two such slots has the variance 2·spread²·(1 −
    correlation), as that of two independent slots of this spread has, so sizes for means hold with it.

    Degenerate cases: with correlation 0 it is the spread. Errors: UsageError outside the domain.
    Source: Fleiss (1986), The Design and Analysis of Clinical Experiments, section 5.1 (matched pairs).

    >>> paired_spread(0.5, 0.75)
    0.25
    """
    spread, rho = positive("spread", spread), finite("correlation", correlation)
    if not 0.0 <= rho < 1.0:
        raise UsageError(f"correlation must be at least 0 and less than 1, not {rho:g}")
    return spread * math.sqrt(1.0 - rho)


def correlation_apart(values: Sequence[float | None], apart: int) -> float | NotEstimable:
    """Pearson's correlation of the values of a series with those `apart` places later; None is a slot without a value.

    Scale: −1 to 1. Each pair counts in which both have a value.

    Degenerate cases: not estimable with fewer than `LEAST_PAIRS` pairs, or where either side is constant. Errors:
    UsageError for `apart` below 1 or a value that is not finite.
    Source: Box, Jenkins, Reinsel & Ljung (2015), Time Series Analysis, chapter 2.

    >>> correlation_apart([1.0, 5.0, 2.0, 6.0, 1.5, 5.5, 1.0, 6.0, 2.0, 5.0, 1.0, 6.0], 2) > 0.9
    True
    """
    if apart < 1:
        raise UsageError(f"slots are at least one apart, not {apart}")
    pairs = [(x, y) for x, y in zip(values, values[apart:], strict=False) if x is not None and y is not None]
    if len(pairs) < LEAST_PAIRS:
        return NotEstimable(
            f"{len(pairs)} pairs of slots are so far apart, and {LEAST_PAIRS} are needed to tell how alike they are"
        )
    if not all(math.isfinite(each) for pair in pairs for each in pair):
        raise UsageError("the values of slots must be finite numbers")
    mean_x, mean_y = (math.fsum(pair[side] for pair in pairs) / len(pairs) for side in (0, 1))
    xx = math.fsum((x - mean_x) ** 2 for x, _ in pairs)
    yy = math.fsum((y - mean_y) ** 2 for _, y in pairs)
    if xx == 0.0 or yy == 0.0:
        return NotEstimable("all slots have the same value")
    return math.fsum((x - mean_x) * (y - mean_y) for x, y in pairs) / math.sqrt(xx * yy)
