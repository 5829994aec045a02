"""A stopping rule that somebody wrote down: plain boundaries at plain looks, accepted as they are.

Nothing is corrected. What is computed is the error the rule really has, which is not always the one its
author had in mind.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from equipoise.errors import UsageError
from equipoise.stats.domain import finite, inside, sided
from equipoise.stats.looks.brownian import rising_fractions
from equipoise.stats.looks.sequential import crossing_probabilities

__all__ = ["Crossing", "RegisteredRule", "first_crossing", "registered_rule"]


@dataclass(frozen=True, slots=True)
class RegisteredRule:
    """Looks and boundaries as registered, and the error they have.

    `spent` is the type I error used up by each look, both tails together where there are two sides.
    """

    fractions: tuple[float, ...]
    boundaries: tuple[float, ...]
    sides: int
    spent: tuple[float, ...]

    @property
    def type_one_error(self) -> float:
        """The probability of ever crossing when there is no effect.

        >>> registered_rule([1.0], [1.959964]).type_one_error > 0.0499999
        True
        """
        return self.spent[-1]

    def beside(self, alpha: float) -> str:
        """The true error beside the one meant, as a sentence.

        >>> registered_rule([0.25, 0.5, 0.75, 1.0], [3.47, 2.45, 2.14, 2.01]).beside(0.05)
        'these boundaries have a type I error of 0.0626, more than the 0.05 meant'
        """
        meant = inside("alpha", alpha)
        if abs(self.type_one_error - meant) < 0.005 * meant:
            return f"these boundaries have the type I error meant, {meant:g}"
        than = "more" if self.type_one_error > meant else "less"
        return f"these boundaries have a type I error of {self.type_one_error:.4f}, {than} than the {meant:g} meant"


@dataclass(frozen=True, slots=True)
class Crossing:
    """The look, counted from 1, whose statistic crossed first, its boundary, and on which side."""

    look: int
    statistic: float
    boundary: float
    side: Literal["above", "below"]


def registered_rule(
    fractions: Sequence[float], boundaries: Sequence[float], *, sides: int = 2
) -> RegisteredRule:
    """A rule of plain z boundaries, one a look, with the error it spends by each look.

    `fractions` are information fractions, rising, above 0. Two sides: the rule stops where |z| ≥ boundary;
    one side: where z ≥ boundary. Call it again with the fractions really seen to learn the error the rule
    then had. No degenerate cases. Errors: UsageError as for `crossing_probabilities`.
    Source: Armitage, McPherson & Rowe (1969), JRSS A 132, 235.

    >>> rule = registered_rule([0.25, 0.5, 0.75, 1.0], [3.47, 2.45, 2.14, 2.01])
    >>> [round(error, 4) for error in rule.spent]
    [0.0005, 0.0145, 0.0386, 0.0626]
    """
    crossed = crossing_probabilities(fractions, boundaries, 0.0, sided(sides))
    steps = [up + down for up, down in zip(crossed.upper, crossed.lower, strict=True)]
    spent = tuple(math.fsum(steps[: k + 1]) for k in range(len(steps)))
    return RegisteredRule(rising_fractions(fractions), tuple(float(b) for b in boundaries), sides, spent)


def first_crossing(rule: RegisteredRule, statistics: Sequence[float]) -> Crossing | None:
    """The first look whose z reaches its boundary, or None where none of those made has.

    `statistics` are the z of the looks made, in order; there may be fewer than the rule has looks. Errors:
    UsageError for more statistics than looks or one that is not a finite number: a look that was skipped
    has no z, and the rule must then be read at the looks that were made.

    >>> rule = registered_rule([0.25, 0.5, 0.75, 1.0], [3.47, 2.45, 2.14, 2.01])
    >>> first_crossing(rule, [1.20, 2.10, 2.31])
    Crossing(look=3, statistic=2.31, boundary=2.14, side='above')
    """
    if len(statistics) > len(rule.boundaries):
        raise UsageError(f"the rule has {len(rule.boundaries)} looks, but {len(statistics)} statistics came")
    seen = [finite("a statistic", z) for z in statistics]
    for look, (z, boundary) in enumerate(zip(seen, rule.boundaries, strict=False), start=1):
        if z >= boundary:
            return Crossing(look, z, boundary, "above")
        if rule.sides == 2 and z <= -boundary:
            return Crossing(look, z, boundary, "below")
    return None
