"""From the table of units to tallies: one grouped query for all metrics, for the whole and for each segment."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

from equipoise.experiment.metric import Metric
from equipoise.measurement.cross import ALWAYS, Aggregates, Asked, centres
from equipoise.measurement.literals import text_literal
from equipoise.measurement.shared_clusters import shared_with_control
from equipoise.measurement.tally import Cap, ClusterTotals, Tally
from equipoise.stats.moments import Moments, PairMoments

if TYPE_CHECKING:
    import duckdb

__all__ = [
    "FEW_CLUSTERS",
    "WHOLE",
    "Across",
    "Counted",
    "capped",
    "complete",
    "grouped",
    "of_one_size",
    "one",
    "tallies_by",
    "with_totals",
]

FEW_CLUSTERS = 30
"""Arms of which one has fewer clusters than this have their clusters' totals counted one by one, not only moments."""

_ROUNDING = 1e-9

Across = Literal["apart", "shared", "blocks"]
"""How clusters lie across arms: each in one as a whole; units of one in several, as they were drawn; or each in all.

The last are the blocks of a switchback. Of clusters in several arms what the arms have in common cancels: of blocks, and
where clusters are few, by each cluster's totals, else by the moments of those that a treatment shares with control.
"""

WHOLE = "''"
"""Grouped by nothing: all units are one part, called by the empty text."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Counted:
    """How a metric stands in the table of units: expressions of its value, and of who has been in long enough.

    `y` is a ratio's denominator. `covariates` are columns of numbers known before treatment. `full` are columns
    of which every unit has a value.
    """

    metric: Metric
    x: str
    y: str | None = None
    ripe: str = "true"
    covariates: tuple[str, ...] = ()
    full: frozenset[str] = frozenset()

    @property
    def valued(self) -> str:
        """The condition under which a unit has a value that counts."""
        tests = [] if self.ripe == ALWAYS else [f"({self.ripe})"]
        tests += [f"{each} IS NOT NULL" for each in (self.x, self.y) if each and each not in self.full]
        return " AND ".join(tests) or ALWAYS


def of_one_size(sizes: Moments) -> float:
    """How many clusters of one size weigh as those of these sizes do: (Σ m)² / Σ m², m being the sizes.

    Source: Kish (1965), Survey Sampling, section 11.7.

    >>> of_one_size(Moments(40, 3.0, 0.0)), of_one_size(Moments(2, 3.0, 2.0))
    (40.0, 1.8)
    """
    square = sizes.n * sizes.mean * sizes.mean
    return sizes.n * square / (square + sizes.m2) if square else 0.0


def with_totals(sizes: Mapping[str, Moments], arms: Iterable[str], across: Across | None) -> frozenset[str]:
    """The arms of which totals are counted, out of the sizes of each one's clusters that have a value.

    Of blocks all; else those that have few, and control beside them. Of randomised clusters it is how many `of_one_size`
    they weigh as: many that a few outweigh tell as little as few. An arm without any is compared with nothing, and makes no
    other's clusters few.

    >>> sizes = {arm: Moments(n, 1.0, 0.0) for arm, n in {"control": 40, "a": 12, "b": 35, "c": 0}.items()}
    >>> sorted(with_totals(sizes, sizes, "shared"))
    ['a', 'control']
    """
    if across == "blocks":
        return frozenset(arms)
    many = {arm: of_one_size(each) if across == "apart" else each.n for arm, each in sizes.items()}
    control = many.get("control", 0)
    few = {
        arm for arm, n in many.items() if arm != "control" and 0 < min(n, control) < FEW_CLUSTERS - _ROUNDING
    }
    return frozenset({"control", *few} if few else ())


def grouped(by: str) -> str:
    """What to group by: part and arm, where there are parts."""
    return "variant" if by == WHOLE else "part, variant"


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


def complete(connection: duckdb.DuckDBPyConnection, columns: Iterable[str]) -> frozenset[str]:
    """Which of the columns have a value for every unit that counts."""
    listed = sorted(set(columns))
    rows, *known = one(
        connection, f"SELECT {', '.join(['count(*)', *(f'count({each})' for each in listed)])} FROM units"
    )
    return frozenset(column for column, count in zip(listed, known, strict=True) if count == rows)


def tallies_by(
    connection: duckdb.DuckDBPyConnection,
    counted: Sequence[Counted],
    arms: Sequence[str],
    *,
    clusters: Mapping[str, int] | None,
    across: Across | None = None,
    by: str = WHOLE,
    among: str = "units",
) -> dict[str, dict[str, dict[str, Tally]]]:
    """The tallies of metrics by metric, part and arm; without `by` there is one part, called ''.

    `clusters` counts clusters by arm where they carry the variance; they lie `across` the arms.
    """
    if not counted:
        return {}
    columns = {
        each.metric.name: _columns(connection, each, clustered=clusters is not None) for each in counted
    }
    about = centres(connection, "units", [each for of in columns.values() for each in of])
    for centre in (about, None):
        ask = Aggregates()
        everyone = ask.ask("count")
        asked = [
            (ask.ask("count", where=each.ripe), Asked.of(columns[each.metric.name], each.valued, ask, centre))
            for each in counted
        ]
        rows = connection.execute(
            f"SELECT {by} AS part, variant, {', '.join(ask.asked)} FROM {among} WHERE {by} IS NOT NULL "
            f"GROUP BY {grouped(by)}"
        ).fetchall()
        if all(place.near(row) for _, _, *row in rows for _, place in asked):
            break
    found: dict[str, dict[str, dict[str, Tally]]] = {each.metric.name: defaultdict(dict) for each in counted}
    for part, variant, *row in rows:
        for each, (ripe, place) in zip(counted, asked, strict=True):
            full = sum(z in each.full for z in each.covariates) if clusters is None else 0
            moments = place.read(each.metric, row, constants=full)
            found[each.metric.name][part][variant] = Tally(
                units=moments.n,
                missing=row[ripe] - moments.n,
                immature=row[everyone] - row[ripe],
                moments=None if each.y else moments.column(0) if moments.n else Moments.zero(),
                pairs=(moments.pair(0, 1) if moments.n else PairMoments.zero()) if each.y else None,
                covariates=moments if each.covariates and clusters is None and moments.n else None,
            )
    for each in counted:
        parts = found[each.metric.name]
        empty = Tally(
            units=0,
            missing=0,
            moments=None if each.y else Moments.zero(),
            pairs=PairMoments.zero() if each.y or clusters is not None else None,
        )
        for part in {*parts, *([""] if by == WHOLE else [])}:
            parts[part] = {arm: parts[part].get(arm, empty) for arm in arms}
        if clusters is not None:
            _clustered(
                connection,
                each,
                parts,
                arms,
                across=across,
                by=by,
                among=among,
            )
        found[each.metric.name] = {part: parts[part] for part in sorted(parts)}
    return found


def _columns(connection: duckdb.DuckDBPyConnection, counted: Counted, *, clustered: bool) -> list[str]:
    """The columns whose moments are those of the metric's units, with covariates where units carry the variance."""
    columns = [counted.x] if counted.y is None else [counted.x, counted.y]
    if not clustered:
        columns += counted.covariates
        columns += [_unknown(z) for z in counted.covariates if z not in counted.full]
    return _filled(connection, counted, columns)


def _filled(connection: duckdb.DuckDBPyConnection, counted: Counted, columns: Sequence[str]) -> list[str]:
    """The columns, with covariates that are not known filled in."""
    gaps = [z for z in counted.covariates if z in columns and z not in counted.full]
    fill = _centres(connection, gaps)
    return [f"coalesce({each}, {fill[each]})" if each in fill else each for each in columns]


def _centres(connection: duckdb.DuckDBPyConnection, columns: Sequence[str]) -> dict[str, str]:
    """The mean of each column over all units, as a literal: a fill near the values keeps the digits."""
    if not columns:
        return {}
    means = one(
        connection, "SELECT " + ", ".join(f"coalesce(avg({each}), 0)" for each in columns) + " FROM units"
    )
    return {each: f"'{float(mean)!r}'::DOUBLE" for each, mean in zip(columns, means, strict=True)}


def _unknown(column: str) -> str:
    return f"CASE WHEN {column} IS NULL THEN 1.0::DOUBLE ELSE 0.0::DOUBLE END"


def _clustered(
    connection: duckdb.DuckDBPyConnection,
    counted: Counted,
    parts: dict[str, dict[str, Tally]],
    arms: Sequence[str],
    *,
    across: Across | None,
    by: str,
    among: str,
) -> None:
    """Sums per cluster put beside the units' moments: a mean over units is a ratio of sums over clusters.

    Covariates are taken from their mean over all units before they are added up, so that a large cluster does not
    stand out by its size; their differences between arms are then 0 on average, as those of units are. Of few clusters,
    as of blocks, there are totals.
    """
    gaps = [_unknown(z) for z in counted.covariates if z not in counted.full]
    extra = [*counted.covariates, *gaps]
    centre = _centres(connection, extra)
    columns = [
        counted.x,
        counted.y or "1.0::DOUBLE",
        *(f"coalesce({each} - {centre[each]}, 0)" for each in extra),
    ]
    names = [f"c{i}" for i in range(len(columns))]
    sums = ", ".join(f"sum({column}) AS {name}" for column, name in zip(columns, names, strict=True))
    table = "cluster_sums"
    connection.execute(
        f"CREATE TEMP TABLE {table} AS "
        f"SELECT {by} AS part, variant, cluster, {sums} FROM {among} WHERE ({by} IS NOT NULL) AND {counted.valued} "
        "GROUP BY part, variant, cluster ORDER BY part, variant, cluster"
    )
    ask = Aggregates()
    place = Asked.of(names, ALWAYS, ask)
    constants = len(counted.covariates) - len(gaps)
    for part, variant, *row in connection.execute(
        f"SELECT part, variant, {', '.join(ask.asked)} FROM {table} GROUP BY part, variant"
    ).fetchall():
        moments = place.read(counted.metric, row, constants=constants)
        parts[part][variant] = replace(
            parts[part][variant], pairs=moments.pair(0, 1), covariates=moments if extra else None
        )
    matched = {
        part: with_totals(
            {arm: tally.pairs.y for arm, tally in of.items() if tally.pairs is not None}, arms, across
        )
        for part, of in parts.items()
    }
    for (part, arm), totals in _totals(connection, table, matched).items():
        parts[part][arm] = replace(parts[part][arm], totals=totals)
    if across == "shared":
        found = shared_with_control(connection, counted.metric, table, names, constants=constants)
        for (part, arm), shared in found.items():
            if arm not in matched[part]:
                parts[part][arm] = replace(parts[part][arm], shared=shared)
    connection.execute(f"DROP TABLE {table}")
    for part, of in parts.items():
        parts[part] = {
            arm: tally if tally.pairs is not None else replace(tally, pairs=PairMoments.zero())
            for arm, tally in of.items()
        }


def _totals(
    connection: duckdb.DuckDBPyConnection, table: str, matched: Mapping[str, Iterable[str]]
) -> dict[tuple[str, str], ClusterTotals]:
    """Of the arms that are matched in a part each cluster's sum and size, in one order; 0 and 0 where an arm has none."""
    named = [part for part, arms in matched.items() if arms]
    if not named:
        return {}
    parts: dict[str, dict[str, dict[str, tuple[float, float]]]] = defaultdict(dict)
    for part, variant, cluster, a, b in connection.execute(
        f"SELECT part, variant, cluster, c0, c1 FROM {table} WHERE part IN ({', '.join(map(text_literal, named))}) "
        "ORDER BY part, cluster, variant"
    ).fetchall():
        parts[part].setdefault(cluster, {})[variant] = (a, b)
    return {
        (part, arm): ClusterTotals(
            tuple(of.get(arm, (0.0, 0.0))[0] for of in clusters.values()),
            tuple(of.get(arm, (0.0, 0.0))[1] for of in clusters.values()),
        )
        for part, clusters in parts.items()
        for arm in matched[part]
    }
