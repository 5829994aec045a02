"""Exact quantiles of all readings of an arm's units, with the variance of its unit or cluster."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from fractions import Fraction
from typing import TYPE_CHECKING

from equipoise.experiment.metric import Metric
from equipoise.measurement.counting import WHOLE, Across, grouped
from equipoise.measurement.literals import text_literal
from equipoise.measurement.tally import Tally
from equipoise.stats.comparison.quantiles import QuantileSummary, quantile_levels, quantile_overlap
from equipoise.stats.cross_moments import CrossMoments
from equipoise.stats.estimate import NotEstimable
from equipoise.stats.moments import PairMoments
from equipoise.stats.normal import critical

if TYPE_CHECKING:
    import duckdb

__all__ = ["make_readings", "quantile_tallies"]


def make_readings(
    connection: duckdb.DuckDBPyConnection,
    table: str,
    metric: Metric,
    column: str,
    *,
    ripe: str,
    clustered: bool,
    settled: Sequence[str] = (),
) -> None:
    """A table of every reading that counts: its arm, its unit, the block whose variance it has, its segments."""
    within = "" if metric.window is None else f" AND facts.happened < units.since + {metric.window!r}"
    connection.execute(
        f"""CREATE TEMP TABLE {table} AS
            SELECT units.variant AS variant, {"units.cluster" if clustered else "units.number"} AS block,
                   {"units.unit AS unit," if clustered else ""} facts.{column} AS value
                   {"".join(f", units.{each} AS {each}" for each in settled)}
            FROM facts JOIN units ON units.unit = facts.unit WHERE facts.{column} IS NOT NULL AND ({ripe}){within}"""
    )


def quantile_tallies(
    connection: duckdb.DuckDBPyConnection,
    table: str,
    metric: Metric,
    arms: Sequence[str],
    *,
    ripe: str,
    across: Across | None,
    by: str = WHOLE,
    where: str = "true",
) -> dict[str, dict[str, Tally]]:
    """The metric's tallies by part and arm, out of its readings; without `by` there is one part, called ''.

    `across` says how clusters lie across the arms, where they carry the variance.
    """
    q = metric.q or 0.5
    counts: dict[tuple[str, str], tuple[int, int]] = {
        (part, arm): (units, mature)
        for part, arm, units, mature in connection.execute(
            f"""SELECT {by} AS part, variant, count(*), count(*) FILTER (WHERE {ripe}) FROM units
                WHERE {by} IS NOT NULL AND {where} GROUP BY {grouped(by)}"""
        ).fetchall()
    }
    of = f"FROM {table} WHERE {by} IS NOT NULL AND {where}"
    values: dict[tuple[str, str], float] = {
        (part, arm): value
        for part, arm, value in connection.execute(
            f"SELECT {by} AS part, variant, quantile_disc(value, {q!r}) {of} GROUP BY {grouped(by)}"
        ).fetchall()
    }
    blocks: dict[tuple[str, str], tuple[int, PairMoments]] = {}
    shared: dict[tuple[str, str], CrossMoments] = {}
    if values:
        each = _each_block(of, by, values, clustered=across is not None)
        if across in ("shared", "blocks"):
            connection.execute(f"CREATE TEMP TABLE quantile_blocks AS {each}")
            shared = _shared(connection, "quantile_blocks")
            blocks = _blocks(connection, "quantile_blocks")
            connection.execute("DROP TABLE quantile_blocks")
        else:
            blocks = _blocks(connection, each)
    levels = {group: quantile_levels(q, moments) for group, (_, moments) in blocks.items()}
    asked = {group: pair for group, pair in levels.items() if not isinstance(pair, NotEstimable)}
    bounds: dict[tuple[str, str], tuple[float, float]] = {}
    if asked:
        found = connection.execute(
            "SELECT "
            + ", ".join(
                f"quantile_disc(value, [{low!r}, {high!r}]) FILTER (WHERE {_is(by, group)})"
                for group, (low, high) in asked.items()
            )
            + f" {of}"
        ).fetchone()
        bounds = {group: tuple(pair) for group, pair in zip(asked, found or (), strict=True)}
    tallies: dict[str, dict[str, Tally]] = defaultdict(dict)
    for part in sorted({*(part for part, _ in counts), *([""] if by == WHOLE else [])}):
        for arm in arms:
            group = part, arm
            units, mature = counts.get(group, (0, 0))
            seen, moments = blocks.get(group, (0, PairMoments.zero()))
            level = levels.get(group, NotEstimable("there are no readings"))
            tallies[part][arm] = Tally(
                units=seen,
                missing=mature - seen,
                immature=units - mature,
                quantile=level
                if isinstance(level, NotEstimable)
                else _summary(q, moments.n, values[group], *bounds[group]),
                overlap=quantile_overlap(blocks[part, "control"][1], moments, shared[group])
                if group in shared
                else None,
            )
    return tallies


def _summary(q: float, blocks: int, value: float, low: float, high: float) -> QuantileSummary | NotEstimable:
    if high <= low:
        return NotEstimable("the readings do not vary around the quantile")
    return QuantileSummary(q, blocks, value, (high - low) / (2.0 * critical(0.025)))


def _is(by: str, group: tuple[str, str]) -> str:
    part, arm = group
    return f"variant = {text_literal(arm)}" + ("" if by == WHOLE else f" AND {by} = {text_literal(part)}")


def _each_block(of: str, by: str, values: dict[tuple[str, str], float], *, clustered: bool) -> str:
    """A query with the units of each block, and how many of its readings lie at or below the quantile, of how many."""
    below = " ".join(
        f"WHEN {_is(by, group)} THEN value <= '{value!r}'::DOUBLE" for group, value in values.items()
    )
    return (
        f"(SELECT {by} AS part, variant, block, {'count(DISTINCT unit)' if clustered else '1'} AS units, "
        f"count(*) FILTER (CASE {below} END) AS a, count(*) AS b {of} GROUP BY {grouped(by)}, block)"
    )


def _blocks(
    connection: duckdb.DuckDBPyConnection, each: str
) -> dict[tuple[str, str], tuple[int, PairMoments]]:
    """Units seen, and the moments of the readings below and of all of them."""
    rows = connection.execute(
        # Whole numbers are added up exactly, in whatever order they come.
        f"""SELECT part, variant, sum(units), count(*), sum(a), sum(b), sum(a * a), sum(b * b), sum(a * b)
            FROM {each} GROUP BY part, variant"""
    ).fetchall()
    return {
        (part, arm): (
            int(units),
            PairMoments(
                n,
                a / n,
                b / n,
                float(aa - Fraction(a * a, n)),
                float(bb - Fraction(b * b, n)),
                float(ab - Fraction(a * b, n)),
            ),
        )
        for part, arm, units, *sums in rows
        for n, a, b, aa, bb, ab in [[int(number) for number in sums]]
    }


def _shared(connection: duckdb.DuckDBPyConnection, each: str) -> dict[tuple[str, str], CrossMoments]:
    """By part and treatment, of the blocks that control has, too: readings below and in all, of control and of it."""
    columns = ("c.a", "c.b", "t.a", "t.b")
    pairs = [(i, j) for j in range(4) for i in range(j + 1)]
    sums = ", ".join(f"sum({column})" for column in columns)
    products = ", ".join(f"sum({columns[i]} * {columns[j]})" for i, j in pairs)
    rows = connection.execute(
        f"""SELECT t.part, t.variant, count(*), {sums}, {products}
            FROM {each} AS t JOIN {each} AS c ON t.part = c.part AND t.block = c.block
            WHERE c.variant = 'control' AND t.variant <> 'control' GROUP BY t.part, t.variant"""
    ).fetchall()
    found = {}
    for part, arm, n, *numbers in rows:
        told = [int(number) for number in numbers]
        spread = {
            pair: float(product - Fraction(told[pair[0]] * told[pair[1]], n))
            for pair, product in zip(pairs, told[4:], strict=True)
        }
        found[part, arm] = CrossMoments(
            n,
            tuple(total / n for total in told[:4]),
            tuple(tuple(spread[min(i, j), max(i, j)] for j in range(4)) for i in range(4)),
        )
    return found
