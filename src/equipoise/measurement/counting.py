"""From the table of units to tallies: one grouped query a metric, for the whole and for each segment."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from equipoise.errors import DataError
from equipoise.experiment.metric import Metric
from equipoise.measurement.tally import Cap, ClusterTotals, Tally
from equipoise.stats.comparison.quantiles import QuantileSummary, quantile_levels
from equipoise.stats.covariates.cross_moments import CrossMoments
from equipoise.stats.estimate import NotEstimable
from equipoise.stats.moments import Moments, PairMoments
from equipoise.stats.normal import critical

if TYPE_CHECKING:
    import duckdb

__all__ = ["FEW_CLUSTERS", "Counted", "capped", "one", "quantile_tallies", "tallies_by"]

FEW_CLUSTERS = 30
"""An arm with fewer clusters than this has its clusters' totals counted one by one, not only their moments."""

WHOLE = "''"
"""Grouped by nothing: all units are one part, called by the empty text."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Counted:
    """How a metric stands in the table of units: expressions of its value, and of who has been in long enough.

    `y` is a ratio's denominator. `covariates` are columns of numbers known before treatment.
    """

    metric: Metric
    x: str
    y: str | None = None
    ripe: str = "true"
    covariates: tuple[str, ...] = ()

    @property
    def valued(self) -> str:
        """The condition under which a unit has a value that counts."""
        return f"({self.ripe}) AND {self.x} IS NOT NULL" + (f" AND {self.y} IS NOT NULL" if self.y else "")


def one(connection: duckdb.DuckDBPyConnection, query: str) -> tuple[Any, ...]:
    """The only row of an aggregate without groups."""
    row = connection.execute(query).fetchone()
    if row is None:
        raise AssertionError("an aggregate without groups has one row")
    return row


def capped(connection: duckdb.DuckDBPyConnection, counted: Counted) -> tuple[Counted, Cap | None]:
    """The metric winsorised, if it was declared: one cap for all arms, so that it favours none."""
    q = counted.metric.winsorise
    if q is None:
        return counted, None
    (value,) = one(connection, f"SELECT quantile_disc({counted.x}, {q!r}) FROM units WHERE {counted.valued}")
    if value is None:
        return counted, None
    limit = f"'{float(value)!r}'::DOUBLE"
    (above,) = one(connection, f"SELECT count(*) FROM units WHERE {counted.valued} AND {counted.x} > {limit}")
    # Not least(), which takes a value that is missing for the cap.
    held = f"CASE WHEN {counted.x} > {limit} THEN {limit} ELSE {counted.x} END"
    return replace(counted, x=held), Cap(q, float(value), int(above))


def tallies_by(
    connection: duckdb.DuckDBPyConnection,
    counted: Counted,
    arms: Sequence[str],
    *,
    clusters: Mapping[str, int] | None,
    by: str = WHOLE,
    among: str = "units",
) -> dict[str, dict[str, Tally]]:
    """The metric's tallies by part and arm; without `by` there is one part, called ''.

    `clusters` counts clusters by arm where they carry the variance.
    """
    metric, x, y = counted.metric, counted.x, counted.y
    rows = connection.execute(
        f"""SELECT {by} AS part, variant, count(*), count(*) FILTER (WHERE {counted.ripe}),
                   count(*) FILTER (WHERE {counted.valued}), avg({x}) FILTER (WHERE {counted.valued}),
                   var_pop({x}) FILTER (WHERE {counted.valued}) * count(*) FILTER (WHERE {counted.valued})
            FROM {among} WHERE {by} IS NOT NULL GROUP BY part, variant"""
    ).fetchall()
    found: dict[str, dict[str, Tally]] = defaultdict(dict)
    for part, variant, units, ripe, valued, mean, m2 in rows:
        _check_finite(metric, (number for number in (mean, m2) if number is not None))
        found[part][variant] = Tally(
            units=valued,
            missing=ripe - valued,
            immature=units - ripe,
            moments=None if y else Moments(valued, mean, m2) if valued else Moments.zero(),
        )
    pairs: dict[tuple[str, str], PairMoments] = {}
    crosses: dict[tuple[str, str], CrossMoments] = {}
    totals: dict[tuple[str, str], ClusterTotals] = {}
    if y or clusters is not None:
        cluster = "" if clusters is None else ", cluster"
        table = f"(SELECT {by} AS part, variant, {x} AS a, {y or '1.0'} AS b{cluster} FROM {among} WHERE {counted.valued})"
        if clusters is not None:
            # Sums per cluster: a mean over units is a ratio of sums over clusters.
            table = (
                f"(SELECT part, variant, cluster, sum(a) AS a, sum(b) AS b FROM {table} "
                "GROUP BY part, variant, cluster ORDER BY part, variant, cluster)"
            )
        for part, variant, *numbers in connection.execute(
            f"""SELECT part, variant, count(*), avg(a), avg(b), var_pop(a) * count(*), var_pop(b) * count(*),
                       covar_pop(a, b) * count(*) FROM {table} GROUP BY part, variant"""
        ).fetchall():
            _check_finite(metric, numbers)
            pairs[part, variant] = PairMoments(*numbers)
        if clusters is not None and min(clusters.values()) < FEW_CLUSTERS:
            totals = _totals(connection, table, arms)
    if counted.covariates and clusters is None:
        crosses = _crossed_moments(connection, counted, by, among)
    empty = Tally(units=0, missing=0, moments=None if y else Moments.zero())
    return {
        part: {
            arm: replace(
                found[part].get(arm, empty),
                pairs=pairs.get((part, arm), PairMoments.zero()) if y or clusters is not None else None,
                covariates=crosses.get((part, arm)),
                totals=totals.get((part, arm)),
            )
            for arm in arms
        }
        for part in sorted({*found, *([""] if by == WHOLE else [])})
    }


def _totals(
    connection: duckdb.DuckDBPyConnection, table: str, arms: Sequence[str]
) -> dict[tuple[str, str], ClusterTotals]:
    """Each cluster's sum and size, in one order for all arms of a part; 0 and 0 where an arm has none of it."""
    parts: dict[str, dict[str, dict[str, tuple[float, float]]]] = defaultdict(dict)
    for part, variant, cluster, a, b in connection.execute(
        f"SELECT part, variant, cluster, a, b FROM {table} ORDER BY part, cluster, variant"
    ).fetchall():
        parts[part].setdefault(cluster, {})[variant] = (a, b)
    return {
        (part, arm): ClusterTotals(
            tuple(of.get(arm, (0.0, 0.0))[0] for of in clusters.values()),
            tuple(of.get(arm, (0.0, 0.0))[1] for of in clusters.values()),
        )
        for part, clusters in parts.items()
        for arm in arms
    }


def _crossed_moments(
    connection: duckdb.DuckDBPyConnection, counted: Counted, by: str, among: str
) -> dict[tuple[str, str], CrossMoments]:
    """The outcome beside its covariates, each as two columns: its value, and whether it is unknown."""
    outcome = [counted.x] if counted.y is None else [counted.x, counted.y]
    # A fill near the values keeps the digits; which one it is does not matter to the estimate.
    centres = one(
        connection,
        "SELECT " + ", ".join(f"coalesce(avg({z}), 0)" for z in counted.covariates) + " FROM units",
    )
    known = [f"coalesce({z}, '{c!r}'::DOUBLE)" for z, c in zip(counted.covariates, centres, strict=True)]
    unknown = [f"CASE WHEN {z} IS NULL THEN 1.0 ELSE 0.0 END" for z in counted.covariates]
    columns = [*outcome, *known, *unknown]
    names = [f"c{i}" for i in range(len(columns))]
    upper = [(i, j) for i in range(len(columns)) for j in range(i, len(columns))]
    rows = connection.execute(
        f"""SELECT part, variant, count(*), {", ".join(f"avg({name})" for name in names)},
                   {", ".join(_product(names[i], names[j]) for i, j in upper)}
            FROM (SELECT {by} AS part, variant, {", ".join(f"{c} AS {n}" for c, n in zip(columns, names, strict=True))}
                  FROM {among} WHERE {counted.valued}) GROUP BY part, variant"""
    ).fetchall()
    result = {}
    for part, variant, n, *numbers in rows:
        _check_finite(counted.metric, numbers)
        products = [[0.0] * len(columns) for _ in columns]
        for (i, j), product in zip(upper, numbers[len(columns) :], strict=True):
            products[i][j] = products[j][i] = product
        result[part, variant] = CrossMoments(
            n, tuple(numbers[: len(columns)]), tuple(tuple(row) for row in products)
        )
    return result


def _product(a: str, b: str) -> str:
    return f"var_pop({a}) * count(*)" if a == b else f"covar_pop({a}, {b}) * count(*)"


def _check_finite(metric: Metric, numbers: Iterable[float]) -> None:
    if not all(math.isfinite(number) for number in numbers):
        raise DataError(
            f"the values of {metric.name} are too large to be added up: their squares leave the range of a "
            "number (about 1e308). Record them in a larger unit"
        )


def quantile_tallies(
    connection: duckdb.DuckDBPyConnection,
    metric: Metric,
    column: str,
    arms: Sequence[str],
    *,
    ripe: str,
    clustered: bool,
) -> dict[str, Tally]:
    """The exact quantile of all readings of an arm's units, with the variance of its unit or cluster."""
    group = "units.cluster" if clustered else "units.unit"
    within = "" if metric.window is None else f" AND facts.happened < units.since + {metric.window!r}"
    counts = {
        arm: (units, mature)
        for arm, units, mature in connection.execute(
            f"SELECT variant, count(*), count(*) FILTER (WHERE {ripe}) FROM units GROUP BY variant"
        ).fetchall()
    }
    result = {}
    for arm in arms:
        connection.execute(
            f"""CREATE OR REPLACE TEMP TABLE readings AS
                SELECT {group} AS block, units.unit AS unit, facts.{column} AS value
                FROM facts JOIN units ON units.unit = facts.unit
                WHERE units.variant = ? AND facts.{column} IS NOT NULL AND ({ripe}){within}""",
            [arm],
        )
        (seen,) = one(connection, "SELECT count(DISTINCT unit) FROM readings")
        units, mature = counts.get(arm, (0, 0))
        result[arm] = Tally(
            units=seen,
            missing=mature - seen,
            immature=units - mature,
            quantile=_quantile(connection, metric.q or 0.5)
            if seen
            else NotEstimable("there are no readings"),
        )
    return result


def _quantile(connection: duckdb.DuckDBPyConnection, q: float) -> QuantileSummary | NotEstimable:
    def at(level: float) -> float:
        return float(one(connection, f"SELECT quantile_disc(value, {level!r}) FROM readings")[0])

    value = at(q)
    numbers = one(
        connection,
        f"""SELECT count(*), avg(a), avg(b), var_pop(a) * count(*), var_pop(b) * count(*), covar_pop(a, b) * count(*)
            FROM (SELECT count(*) FILTER (WHERE value <= {value!r}) AS a, count(*) AS b
                  FROM readings GROUP BY block ORDER BY block)""",
    )
    levels = quantile_levels(q, PairMoments(*numbers))
    if isinstance(levels, NotEstimable):
        return levels
    low, high = (at(level) for level in levels)
    if high <= low:
        return NotEstimable("the readings do not vary around the quantile")
    return QuantileSummary(q, numbers[0], value, (high - low) / (2.0 * critical(0.025)))
