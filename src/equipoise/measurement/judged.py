"""What a judge and people said of the same turns: weighted sums of each unit, by part and arm."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from equipoise.experiment.metric import Metric
from equipoise.measurement.counted import ENROLLED
from equipoise.measurement.counting import ALWAYS, WHOLE, Aggregates, Asked, one
from equipoise.measurement.tally import Judged
from equipoise.stats.judges.corrected_totals import JudgedTotals

if TYPE_CHECKING:
    import duckdb

__all__ = ["JudgedTable", "make_judged"]

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
        clustered: bool,
        by: str = WHOLE,
        among: str = "units",
    ) -> Mapping[str, Mapping[str, Judged]]:
        """What a judge and people said, by part and arm, of the units that have been in long enough; the whole is ''."""
        counts = ("j_turns", "j_labels")
        rows = (
            f"(SELECT {by} AS part, * FROM {among} JOIN {self.table} USING (unit) "
            f"WHERE ({by} IS NOT NULL) AND ({self.ripe}))"
        )
        if clustered:
            sums = ", ".join(f"sum({each}) AS {each}" for each in (*_SUMS, *counts))
            rows = f"(SELECT part, variant, cluster, {sums} FROM {rows} GROUP BY part, variant, cluster ORDER BY ALL)"
        ask = Aggregates()
        place = Asked.of(_SUMS, ALWAYS, ask)
        turns, labels = (ask.ask(f"sum({each})") for each in counts)
        nothing = Judged(JudgedTotals.nothing(), self.planned, self.mixed)
        found: dict[str, dict[str, Judged]] = defaultdict(lambda: dict.fromkeys(arms, nothing))
        for part, variant, *row in connection.execute(
            f"SELECT part, variant, {', '.join(ask.asked)} FROM {rows} GROUP BY part, variant"
        ).fetchall():
            totals = JudgedTotals(place.read(self.metric, row), int(row[turns]), int(row[labels]))
            found[part][variant] = replace(nothing, totals=totals)
        return found


def make_judged(
    connection: duckdb.DuckDBPyConnection,
    table: str,
    metric: Metric,
    column: str,
    *,
    planned: int | None,
    ripe: str,
) -> JudgedTable | None:
    """Make `table`: for each unit with scores the five sums of `JudgedTotals`, and how many turns were scored and labelled.

    `column` is the metric's in `scores`. None where there is nothing to correct: no label, and none planned. Needs
    `scores`, `turns`, `labels` and `all_units`.

    A turn counts by one over the probability that it was scored (and labelled), and by one over the number of its unit's
    turns, so that units count alike however long they are. Where scores are a sample of turns, that is the number of
    turns without error; where every turn that there is a score for was scored, the number of those.
    """
    name = metric.of.name.replace("'", "''")
    if planned is None and not one(connection, f"SELECT count(*) FROM labels WHERE name = '{name}'")[0]:
        return None
    within = "" if metric.window is None else f" AND {{0}}.happened < u.since + {metric.window!r}"
    connection.execute(
        f"""
        CREATE TEMP TABLE {table}_turns AS
        SELECT s.unit, s.item, avg(s.{column}) AS score, max(s.probability) AS drawn, bool_or(s.of_a_turn) AS of_a_turn
        FROM scores AS s JOIN all_units AS u ON u.unit = s.unit AND s.happened >= u.since{within.format("s")}
        WHERE s.{column} IS NOT NULL AND s.probability > 0 AND s.probability <= 1
        GROUP BY s.unit, s.item
        """
    )
    sampled, several = one(
        connection,
        f"""SELECT coalesce(bool_or(drawn < 1 AND of_a_turn), false), coalesce(max(n), 0) > 1 FROM {table}_turns
            JOIN (SELECT unit, count(*) AS n FROM {table}_turns GROUP BY unit) USING (unit)""",
    )
    mean = metric.per_unit == "mean"
    long = "1"
    if mean:
        long = "n" if not sampled else "greatest(n, coalesce(turns_of.turns, 0))"
    turns = f"""LEFT JOIN (SELECT u.unit, count(*) AS turns FROM turns AS t
                JOIN all_units AS u ON u.unit = t.unit AND t.happened >= u.since{within.format("t")}
                WHERE {ENROLLED.replace("variant", "t.variant")} AND NOT failed GROUP BY u.unit) AS turns_of USING (unit)"""
    connection.execute(
        f"""
        CREATE TEMP TABLE {table} AS
        SELECT unit, sum(w * score) AS j_judged, sum(w) AS j_weight, coalesce(sum(v * said), 0) AS j_said,
               coalesce(sum(v), 0) AS j_asked, coalesce(sum(v * score), 0) AS j_where,
               count(*) AS j_turns, count(said) AS j_labels
        FROM (SELECT own.*, said, 1.0 / (drawn * {long}) AS w, 1.0 / (drawn * asked * {long}) AS v
              FROM {table}_turns AS own
              JOIN (SELECT unit, count(*) AS n FROM {table}_turns GROUP BY unit) AS lengths USING (unit)
              {turns if mean and sampled else ""}
              LEFT JOIN (SELECT * FROM labels WHERE name = '{name}') AS told USING (item)
              ORDER BY own.unit, own.item)
        GROUP BY unit ORDER BY unit
        """
    )
    return JudgedTable(
        table=table, metric=metric, ripe=ripe, planned=planned, mixed=bool(several) and not mean
    )
