"""What a judge and people said of the same turns: weighted sums of each unit, by part and arm."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from equipoise.experiment.metric import Metric
from equipoise.measurement.counted import ENROLLED
from equipoise.measurement.counting import WHOLE, Across, one
from equipoise.measurement.cross import ALWAYS, Aggregates, Asked
from equipoise.measurement.literals import text_literal
from equipoise.measurement.shared_clusters import shared_with_control
from equipoise.measurement.tally import Judged
from equipoise.stats.judges.corrected_totals import JudgedTotals

if TYPE_CHECKING:
    import duckdb

__all__ = ["JudgedTable", "judged_of_log", "judged_of_table"]

_SUMS = ("j_judged", "j_weight", "j_said", "j_asked", "j_where")


@dataclass(frozen=True, slots=True, kw_only=True)
class JudgedTable:
    """A table of units with what a judge and people said of their turns, for one metric; the rest as in `Judged`.

    `ripe` is the condition that a unit has been in long enough.
    """

    table: str
    metric: Metric
    ripe: str
    planned: int | None
    mixed: bool

    def tallies(
        self,
        connection: duckdb.DuckDBPyConnection,
        arms: Sequence[str],
        *,
        across: Across | None,
        by: str = WHOLE,
        among: str = "units",
    ) -> Mapping[str, Mapping[str, Judged]]:
        """What a judge and people said, by part and arm, of the units that have been in long enough; the whole is ''.

        `across` says how clusters lie across the arms, where they carry the variance.
        """
        counts = ("j_turns", "j_labels")
        rows = (
            f"(SELECT {by} AS part, * FROM {among} JOIN {self.table} USING (unit) "
            f"WHERE ({by} IS NOT NULL) AND ({self.ripe}))"
        )
        if across is not None:
            sums = ", ".join(f"sum({each}) AS {each}" for each in (*_SUMS, *counts))
            connection.execute(
                f"CREATE TEMP TABLE judged_sums AS SELECT part, variant, cluster, {sums} FROM {rows} "
                "GROUP BY part, variant, cluster ORDER BY ALL"
            )
            rows = "judged_sums"
        ask = Aggregates()
        place = Asked.of(_SUMS, ALWAYS, ask)
        turns, labels = (ask.ask("sum", each) for each in counts)
        nothing = Judged(JudgedTotals.nothing(), self.planned, self.mixed)
        found: dict[str, dict[str, Judged]] = defaultdict(lambda: dict.fromkeys(arms, nothing))
        for part, variant, *row in connection.execute(
            f"SELECT part, variant, {', '.join(ask.asked)} FROM {rows} GROUP BY part, variant"
        ).fetchall():
            totals = JudgedTotals(place.read(self.metric, row), int(row[turns]), int(row[labels]))
            found[part][variant] = replace(nothing, totals=totals)
        if across in ("shared", "blocks"):
            for (part, arm), shared in shared_with_control(connection, self.metric, rows, _SUMS).items():
                found[part][arm] = replace(found[part][arm], shared=shared)
        if across is not None:
            connection.execute(f"DROP TABLE {rows}")
        return found


def judged_of_log(
    connection: duckdb.DuckDBPyConnection,
    table: str,
    metric: Metric,
    column: str,
    *,
    planned: int | None,
    ripe: str,
) -> JudgedTable | None:
    """Make `table` out of `scores`, of which `column` is the metric's, `labels`, `turns` and `all_units`.

    None where there is nothing to correct: no label, and none planned. A scored turn counts by one over the probability
    that it was scored, a labelled one by one over that it was labelled, and both by one over the number of the
    unit's turns, so that units count alike however long they are: where scores are a sample of turns, that is the number
    of turns without error; where every turn that there is a score for was scored, the number of those. Of the turns
    that may be labelled the judge reads all, or a share that is the same for all and cancels.
    """
    name = text_literal(metric.of.name)
    if planned is None and not one(connection, f"SELECT count(*) FROM labels WHERE name = {name}")[0]:
        return None
    connection.execute(
        f"""
        CREATE TEMP TABLE {table}_turns AS
        SELECT own.*, said, asked FROM (
            SELECT s.unit, s.item, avg(s.{column}) AS score, max(s.probability) AS drawn, bool_or(s.of_a_turn) AS of_a_turn
            FROM scores AS s JOIN all_units AS u ON u.unit = s.unit AND s.happened >= u.since{_within(metric, "s")}
            WHERE s.{column} IS NOT NULL AND s.probability > 0 AND s.probability <= 1
            GROUP BY s.unit, s.item
        ) AS own LEFT JOIN (SELECT * FROM labels WHERE name = {name}) AS told USING (item)
        """
    )
    (sampled,) = one(
        connection, f"SELECT coalesce(bool_or(drawn < 1 AND of_a_turn), false) FROM {table}_turns"
    )
    turns = f"""(SELECT u.unit, count(*) AS turns FROM turns AS t
                 JOIN all_units AS u ON u.unit = t.unit AND t.happened >= u.since{_within(metric, "t")}
                 WHERE {ENROLLED.replace("variant", "t.variant")} AND NOT failed GROUP BY u.unit)"""
    return _summed(connection, table, metric, planned=planned, ripe=ripe, turns=turns if sampled else None)


def judged_of_table(
    connection: duckdb.DuckDBPyConnection,
    table: str,
    metric: Metric,
    column: str,
    said: str,
    *,
    planned: int | None,
    ripe: str,
) -> JudgedTable:
    """Make `table` out of `facts` that have people's labels in a column, `said`, beside the judge's scores in `column`.

    A row is a turn, labelled ones are taken for a simple random sample of those that were scored.
    """
    connection.execute(
        f"""
        CREATE TEMP TABLE {table}_turns AS
        SELECT f.unit, row_number() OVER () AS item, f.{column} AS score, 1.0 AS drawn, f.{said} AS said, 1.0 AS asked
        FROM facts AS f JOIN all_units AS u ON u.unit = f.unit{_within(metric, "f")}
        WHERE f.{column} IS NOT NULL
        """
    )
    return _summed(connection, table, metric, planned=planned, ripe=ripe, turns=None)


def _within(metric: Metric, alias: str) -> str:
    """The condition that something happened within the metric's window, for one more table of a join."""
    return "" if metric.window is None else f" AND {alias}.happened < u.since + {metric.window!r}"


def _summed(
    connection: duckdb.DuckDBPyConnection,
    table: str,
    metric: Metric,
    *,
    planned: int | None,
    ripe: str,
    turns: str | None,
) -> JudgedTable:
    """The five sums of `JudgedTotals` of each unit with scores, and how many turns were scored and labelled.

    `turns` has the number of turns of each unit, where those that were scored are a sample of them.
    """
    mean = metric.per_unit == "mean"
    length, beside = "n" if mean else "1", ""
    if mean and turns is not None:
        length, beside = (
            "greatest(n, coalesce(turns_of.turns, 0))",
            f"LEFT JOIN {turns} AS turns_of USING (unit)",
        )
    connection.execute(
        f"""
        CREATE TEMP TABLE {table} AS
        SELECT unit, sum(w * score) AS j_judged, sum(w) AS j_weight, coalesce(sum(v * said), 0) AS j_said,
               coalesce(sum(v), 0) AS j_asked, coalesce(sum(v * score), 0) AS j_where,
               count(*) AS j_turns, count(said) AS j_labels
        FROM (SELECT own.*, 1.0 / (drawn * {length}) AS w,
                     CASE WHEN said IS NOT NULL THEN 1.0 / (asked * {length}) END AS v
              FROM {table}_turns AS own
              JOIN (SELECT unit, count(*) AS n FROM {table}_turns GROUP BY unit) AS lengths USING (unit) {beside}
              ORDER BY own.unit, own.item)
        GROUP BY unit ORDER BY unit
        """
    )
    (several,) = one(connection, f"SELECT coalesce(max(j_turns), 0) > 1 FROM {table}")
    return JudgedTable(
        table=table, metric=metric, ripe=ripe, planned=planned, mixed=bool(several) and not mean
    )
