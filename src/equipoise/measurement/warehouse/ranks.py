"""Exact order statistics without sorting: count in buckets, keep the bucket that holds the rank, and again.

An engine's own quantile may interpolate or approximate, and sorting every reading is slow. Which bucket a value
falls into never decreases with the value, whatever the rounding; so a rank's bucket is known from the counts,
and each pass leaves fewer values, until those left are all equal.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING

from equipoise.errors import DataError
from equipoise.measurement.warehouse.asking import Sample, answer, by_sample, number

if TYPE_CHECKING:
    from ibis.expr.types import Table

__all__ = ["Bracket", "Ranks", "rank"]

BUCKETS = 4096


@dataclass(frozen=True, slots=True)
class Bracket:
    """So many values of one sample lie from `low` to `high`, both of which occur."""

    count: int
    low: float
    high: float


def rank(q: float, n: int) -> int:
    """The rank, from 1, of quantile `q` among `n` values: the least with a share of at least q at or below it.

    `q` is taken as it is written in decimals, as a query would have it, so that 0.29 of 100 is 29 and not 30.
    Source: Hyndman & Fan (1996), definition 1.

    >>> rank(0.29, 100), rank(0.5, 3), rank(0.001, 10)
    (29, 2, 1)
    """
    return max(1, math.ceil(Fraction(repr(q)) * n))


class Ranks:
    """The order statistics of a table's samples: columns `sample` and `value`, no NULL.

    `whole` has, by sample, how many values there are and between which two. A pass over all values is made once,
    however many ranks are asked for.
    """

    def __init__(self, table: Table) -> None:
        self._table = table
        found = table.group_by("sample").aggregate(
            count=lambda t: t.count(), low=lambda t: t.value.min(), high=lambda t: t.value.max()
        )
        self.whole: dict[Sample, Bracket] = {
            row["sample"]: Bracket(row["count"], row["low"], row["high"]) for row in answer(found)
        }
        self._counted: dict[tuple[Sample, Bracket], list[Bracket]] = {}

    def at(self, wanted: Mapping[Sample, int]) -> dict[Sample, float]:
        """The value at each sample's wanted rank. Raises DataError where the values do not stay what they are."""
        found: dict[Sample, float] = {}
        left = {sample: (place, self.whole[sample]) for sample, place in wanted.items()}
        while True:
            found |= {sample: each.low for sample, (_, each) in left.items() if each.low == each.high}
            left = {sample: state for sample, state in left.items() if sample not in found}
            if not left:
                return found
            self._count({sample: each for sample, (_, each) in left.items()})
            left = {
                sample: _narrowed(place, each, self._counted[sample, each])
                for sample, (place, each) in left.items()
            }

    def _count(self, within: Mapping[Sample, Bracket]) -> None:
        asked = {sample: each for sample, each in within.items() if (sample, each) not in self._counted}
        if asked:
            whole = all(each == self.whole[sample] for sample, each in asked.items())
            found = _bucketed(self._table, asked, everything=whole and len(asked) == len(self.whole))
            self._counted |= {(sample, asked[sample]): buckets for sample, buckets in found.items()}


def _narrowed(wanted: int, within: Bracket, buckets: list[Bracket]) -> tuple[int, Bracket]:
    """The bucket that holds the wanted rank, and that rank within it."""
    again = sum(each.count for each in buckets)
    if again != within.count:
        raise DataError(
            f"the engine counts {again:,} values from {within.low!r} to {within.high!r}, and counted "
            f"{within.count:,} before; a quantile of them cannot be told exactly"
        )
    if len(buckets) == 1:
        raise DataError(
            f"the engine cannot tell {within.low!r} and {within.high!r} apart, and a quantile lies between them. "
            "Record the values in a smaller unit"
        )
    below = 0
    for each in buckets:
        if wanted <= below + each.count:
            return wanted - below, each
        below += each.count
    raise AssertionError("a rank is at most the number of values")


def _scale(within: Bracket) -> float:
    """Buckets per half of a value; finite, so that nothing is multiplied to NaN."""
    return min(BUCKETS / max(within.high / 2 - within.low / 2, 1e-300), 1e300)


def _bucketed(
    table: Table, within: Mapping[Sample, Bracket], *, everything: bool
) -> dict[Sample, list[Bracket]]:
    import ibis

    # Of halves, because the width of a range may be beyond the largest number.
    lows = by_sample(table, {sample: each.low / 2 for sample, each in within.items()})
    scales = by_sample(table, {sample: _scale(each) for sample, each in within.items()})
    inside = ibis.or_(
        *(
            (table["sample"] == sample)
            & (table.value >= number(each.low))
            & (table.value <= number(each.high))
            for sample, each in within.items()
        )
    )
    place = ibis.least(((table.value / 2 - lows) * scales).floor().cast("int64"), BUCKETS - 1)
    found = (
        (table if everything else table.filter(inside))
        .mutate(place=place)
        .group_by(["sample", "place"])
        .aggregate(count=lambda t: t.count(), low=lambda t: t.value.min(), high=lambda t: t.value.max())
    )
    buckets: dict[Sample, list[tuple[int, Bracket]]] = defaultdict(list)
    for row in answer(found):
        buckets[row["sample"]].append((row["place"], Bracket(row["count"], row["low"], row["high"])))
    return {
        sample: [each for _, each in sorted(of, key=lambda item: item[0])] for sample, of in buckets.items()
    }
