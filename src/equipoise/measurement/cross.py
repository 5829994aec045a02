"""Moments of columns and of their products, asked for in one query, each once.

An engine's own variances divide in every row, to follow the mean as it moves. Distances from a centre that is known
beforehand need no division, and keep as many digits where the centre is near: this takes a third of the time. Where a
group turns out to lie far from the centre, the engine's own are asked for instead.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from equipoise.experiment.metric import Metric
from equipoise.measurement.refusals import check_finite
from equipoise.stats.cross_moments import CrossMoments

if TYPE_CHECKING:
    import duckdb

__all__ = ["ALWAYS", "Aggregates", "Asked", "centres", "near"]

ALWAYS = "true"
"""The condition that everybody meets."""

_FIRST = 2048
_BITS = 12
# Ten standard deviations away two digits are lost, of some thirteen.
_FAR = 0.01


class Aggregates:
    """Aggregates asked for in one query, each once."""

    def __init__(self) -> None:
        self.asked: dict[str, int] = {}

    def ask(self, name: str, *arguments: str, where: str = ALWAYS) -> int:
        """The place in a row of an aggregate of the rows that meet a condition; without arguments it counts them.

        What does not meet it is NULL, which no aggregate takes in: a FILTER takes twice as long.
        """
        if where != ALWAYS:
            arguments = tuple(f"CASE WHEN {where} THEN {each} END" for each in arguments or ("1",))
        return self.asked.setdefault(f"{name}({', '.join(arguments) or '*'})", len(self.asked))


@dataclass(frozen=True, slots=True)
class Asked:
    """Where in a row the cross moments of some columns stand: count, means, and the upper triangle of spreads.

    Spreads are the engine's covariances; or, with `distances`, sums of products of distances from a centre, and the
    sums of the distances themselves.
    """

    n: int
    means: tuple[int, ...]
    spreads: Mapping[tuple[int, int], int]
    distances: tuple[int, ...] | None = None

    @classmethod
    def of(
        cls,
        columns: Sequence[str],
        where: str,
        into: Aggregates,
        centre: Mapping[str, float] | None = None,
    ) -> Asked:
        """Ask for the moments of columns; with a `centre` (0 where it has none of a column) by distances from it."""
        n, means = (
            into.ask("count", where=where),
            tuple(into.ask("avg", each, where=where) for each in columns),
        )

        def covariance(a: str, b: str) -> int:
            return into.ask("var_pop", a, where=where) if a == b else into.ask("covar_pop", a, b, where=where)

        def product(a: str, b: str) -> int:
            return into.ask("sum", f"{a} * {b}", where=where)

        if centre is None:
            return cls(n, means, _triangle(columns, covariance))
        away = [_from(each, centre.get(each, 0.0)) for each in columns]
        sums = tuple(into.ask("sum", each, where=where) for each in away)
        return cls(n, means, _triangle(away, product), sums)

    def near(self, row: Sequence[Any]) -> bool:
        """Whether a group lies near enough to its centre for its digits to be kept."""
        n = row[self.n]
        return self.distances is None or all(
            near(n, float(row[self.spreads[i, i]] or 0.0), float(row[at] or 0.0))
            for i, at in enumerate(self.distances)
        )

    def read(self, metric: Metric, row: Sequence[Any], constants: int = 0) -> CrossMoments:
        """The moments, with `constants` columns of nothing but 0 beside."""
        n, size = row[self.n], len(self.means) + constants
        if not n:
            return CrossMoments.zero(size)
        means = [*(row[at] for at in self.means), *[0.0] * constants]
        products = [[0.0] * size for _ in range(size)]
        for (i, j), at in self.spreads.items():
            if self.distances is None:
                product = row[at] * n
            else:
                left, right = float(row[self.distances[i]]), float(row[self.distances[j]])
                product = float(row[at]) - left * (right / n)
            products[i][j] = products[j][i] = product
        check_finite(metric, (*means, *(each for of in products for each in of)))
        return CrossMoments(n, tuple(means), tuple(tuple(of) for of in products))


def near(n: int, square: float, total: float) -> bool:
    """Whether n distances with this sum of squares, and this sum, say how much they vary: some of it is no common distance.

    A constant at the centre is no distance away, one beside it is nothing but distance. A single one does not vary.
    """
    return n < 2 or not square or _FAR * square < square - total * (total / n) < math.inf


def _triangle(columns: Sequence[str], ask: Callable[[str, str], int]) -> dict[tuple[int, int], int]:
    return {
        (i, j): ask(*sorted((left, right)))
        for j, right in enumerate(columns)
        for i, left in enumerate(columns[: j + 1])
    }


def _from(column: str, centre: float) -> str:
    return f"({column} - '{centre!r}'::DOUBLE)" if centre else column


def centres(connection: duckdb.DuckDBPyConnection, table: str, columns: Sequence[str]) -> dict[str, float]:
    """A number near each column of a table: about the mean of its first rows.

    It has few digits, so that whole numbers and their halves are whole numbers of halves away, and add up exactly.
    """
    listed = sorted(set(columns))
    (row,) = connection.execute(
        f"SELECT {', '.join(f'avg({each})' for each in listed)} FROM (SELECT * FROM {table} LIMIT {_FIRST})"
    ).fetchall()
    return {each: _short(mean) for each, mean in zip(listed, row, strict=True)}


def _short(mean: float | None) -> float:
    if mean is None or not math.isfinite(mean):
        return 0.0
    fraction, exponent = math.frexp(mean)
    return math.ldexp(round(math.ldexp(fraction, _BITS)), exponent - _BITS)
