"""The split: which arm a unit falls into, if it is covered at all."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from fractions import Fraction
from hashlib import sha256

from equipoise.assignment.hashing import SPACE, prefix, unit_bytes
from equipoise.errors import UsageError

__all__ = ["Splitter", "cut_points", "threshold"]


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


def threshold(share: Fraction) -> bytes | None:
    """The end of a share of all points, as eight bytes; None for all of them.

    A whole digest compares with it as its point does with the number: the first eight bytes decide, and where
    they are equal the digest is the longer, and so not below.
    """
    cut = share.numerator * SPACE // share.denominator
    return None if cut == SPACE else cut.to_bytes(8, "big")


class Splitter:
    """Draws arms for one salt: coverage first, then the split, by labels of their own.

    Because the two are independent, raising the coverage enrols new units and moves none. `arms` stand in
    the order of the ranges: control first, the others by name.
    """

    __slots__ = ("arms", "before", "before_coverage", "covered", "cuts")

    def __init__(self, salt: str, shares: Mapping[str, Fraction], coverage: Fraction = Fraction(1)) -> None:
        if not 0 <= coverage <= 1:
            raise UsageError(f"coverage is a share from 0 to 1, and this is {coverage}")
        self.arms = tuple(sorted(shares, key=lambda name: (name != "control", name)))
        cuts = cut_points([shares[name] for name in self.arms])
        self.cuts = tuple(cut.to_bytes(8, "big") for cut in cuts[:-1])
        self.covered = threshold(coverage)
        self.before_coverage = prefix("coverage", salt)
        self.before = prefix("split", salt)

    def place(self, name: bytes) -> int:
        """Where among `arms` a unit falls, in UTF-8; -1 for one that is not covered."""
        if self.covered is not None and sha256(self.before_coverage + name).digest() >= self.covered:
            return -1
        return bisect_right(self.cuts, sha256(self.before + name).digest())

    def arm(self, unit: str) -> str | None:
        """The arm of a unit, None outside the coverage; UsageError for what cannot name one.

        >>> even = {"control": Fraction(1, 2), "treatment": Fraction(1, 2)}
        >>> Splitter("demo/1", even).arm("conversation-1")
        'control'
        """
        place = self.place(unit_bytes(unit))
        return None if place < 0 else self.arms[place]
