"""The draw: is the unit enrolled, and if so, which variant is its own."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Literal

from equipoise.assignment.hashing import SPACE, point, prefix, unit_bytes
from equipoise.errors import UsageError

__all__ = ["Draw", "Splitter", "cut_points"]


@dataclass(frozen=True, slots=True)
class Draw:
    """What the hash says of a unit.

    `variant` is None for a unit outside the coverage; it is served the default and is no part of the
    experiment (in particular it is not control). `probability` is the variant's share of the enrolled.
    """

    variant: str | None
    reason: Literal["split", "not_covered"]
    probability: float | None


def cut_points(shares: Sequence[Fraction]) -> tuple[int, ...]:
    """Upper ends of the arms' ranges of points: floor(2**64 × running sum), exactly; the last is 2**64.

    Arm i takes the points from the end of arm i − 1 up to, but not including, its own. The last arm
    closes the range, so that no point is left over. Shares are exact and must add up to 1.

    >>> [f"{cut:#x}" for cut in cut_points((Fraction(1, 3), Fraction(2, 3)))]
    ['0x5555555555555555', '0x10000000000000000']
    """
    if not shares or any(share <= 0 for share in shares) or sum(shares) != 1:
        raise UsageError(
            f"shares must be positive and add up to 1; these are {', '.join(map(str, shares)) or 'none'}"
        )
    running = Fraction(0)
    cuts = []
    for share in shares:
        running += share
        cuts.append(running.numerator * SPACE // running.denominator)
    return tuple(cuts)


class Splitter:
    """Draws variants for one salt: coverage first, then the split, by labels of their own.

    Because the two are independent, raising the coverage enrols new units and moves none.
    `allocation` is in the order of the ranges: control first, the others by name.
    """

    __slots__ = ("_before_coverage", "_before_split", "_covered", "_cuts", "_draws")

    def __init__(
        self, salt: str, allocation: Mapping[str, Fraction], coverage: Fraction = Fraction(1)
    ) -> None:
        if not 0 <= coverage <= 1:
            raise UsageError(f"coverage is a share from 0 to 1, and this is {coverage}")
        order = sorted(allocation, key=lambda name: (name != "control", name))
        self._cuts = cut_points([allocation[name] for name in order])
        self._draws = tuple(Draw(name, "split", float(allocation[name])) for name in order)
        self._covered = coverage.numerator * SPACE // coverage.denominator
        self._before_coverage = prefix("coverage", salt)
        self._before_split = prefix("split", salt)

    def draw(self, unit: str) -> Draw:
        """The draw of a unit; UsageError for what cannot name one.

        >>> even = {"control": Fraction(1, 2), "treatment": Fraction(1, 2)}
        >>> Splitter("demo/1", even).draw("conversation-1")
        Draw(variant='control', reason='split', probability=0.5)
        """
        name = unit_bytes(unit)
        if self._covered < SPACE and point(self._before_coverage, name) >= self._covered:
            return _NOT_COVERED
        return self._draws[bisect_right(self._cuts, point(self._before_split, name))]


_NOT_COVERED = Draw(None, "not_covered", None)
