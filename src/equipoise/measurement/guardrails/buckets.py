"""Logarithmic buckets: whole counts of numbers, from which any quantile is told within one per cent.

Source: Masson, Rim, Lee, DDSketch: A Fast and Fully-Mergeable Quantile Sketch with Relative-Error Guarantees
(PVLDB 12(12), 2019), definition 2 and lemma 2, without a bound on the number of buckets: a minute has few.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Mapping
from fractions import Fraction

__all__ = ["RELATIVE_ERROR", "bucket", "middle", "quantile", "scaled"]

_WIDTH = 1.02
RELATIVE_ERROR = 0.01
"""What a number and the middle of its bucket differ by at most, as a share of the number: 0.02 / 2.02, and a little for
the arithmetic. Of a number nearer to 0 than 2.3e-308 it is more."""
_LOG = math.log(_WIDTH)
_MIDDLE = math.log(2.0 / (_WIDTH + 1.0))
_FIRST = math.floor(math.log(sys.float_info.min * sys.float_info.epsilon) / _LOG) - 2
"""Before the bucket of the least positive number: every positive number has a positive bucket."""


def bucket(value: float) -> int:
    """The bucket of a finite number. Buckets have the order of their numbers; 0 has bucket 0, −x that of x negated.

    >>> bucket(3.3) - bucket(3.0), bucket(-3.0) == -bucket(3.0), bucket(0.0)
    (5, True, 0)
    """
    if value > 0.0:
        return math.ceil(math.log(value) / _LOG) - _FIRST
    return -bucket(-value) if value < 0.0 else 0


def middle(number: int) -> float:
    """What a bucket stands for: within one per cent of each number in it.

    >>> round(middle(bucket(3.0)), 2)
    3.0
    """
    if number == 0:
        return 0.0
    exponent = (abs(number) + _FIRST) * _LOG + _MIDDLE
    try:
        size = math.exp(exponent)
    except OverflowError:
        size = sys.float_info.max
    return math.copysign(size, number)


def quantile(counts: Mapping[int, int], q: float) -> float | None:
    """The number of rank ⌈q·n⌉ (the least for q = 0), within one per cent; None where nothing was counted.

    `q` is in [0, 1]. It is the read-out's quantile, which is that number exactly.

    >>> counts = {bucket(value): 1 for value in (1.0, 2.0, 3.0, 4.0)}
    >>> round(quantile(counts, 0.5), 1), quantile({}, 0.5)
    (2.0, None)
    """
    # Of the q that was written: 0.07 of a hundred is the seventh, and 0.07 * 100 in doubles is more than 7.
    rank = max(1, math.ceil(Fraction(repr(q)) * sum(counts.values())))
    for number, count in sorted(counts.items()):
        rank -= count
        if rank <= 0:
            return middle(number)
    return None


def scaled(counts: Mapping[int, float], factor: float) -> dict[int, float]:
    """The buckets of the same numbers times a factor above 0, as numbers spread evenly in each would share them out.

    Each bucket goes to one or two neighbours; what is nearer to 0 than doubles are stays where it is.

    >>> scaled({bucket(3.0): 4}, 1.02) == {bucket(3.0) + 1: 4.0}
    True
    >>> sum(scaled({bucket(3.0): 4}, 1.3).values())
    4.0
    """
    moved = math.log(factor) / _LOG
    # A hair of rounding is no part of a bucket.
    steps = math.floor(moved + 1e-9)
    part = max(moved - steps, 0.0)
    part = 0.0 if part < 1e-9 else part
    found: dict[int, float] = {}
    for number, count in counts.items():
        for step, share in ((steps, 1.0 - part), (steps + 1, part)):
            if share == 0.0:
                continue
            place = 0 if number == 0 else int(math.copysign(max(abs(number) + step, 1), number))
            found[place] = found.get(place, 0.0) + count * share
    return found
