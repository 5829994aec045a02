"""Mean times to an event: each arm's Kaplan–Meier curve, its area and the variance of that, where the units are."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from equipoise.experiment.metric import Metric
from equipoise.measurement.counting import FEW_CLUSTERS, WHOLE, Across, one
from equipoise.measurement.refusals import events_at_entry
from equipoise.measurement.tally import Tally
from equipoise.stats.comparison.restricted_means import RestrictedMean
from equipoise.stats.comparison.shared_clusters import Overlap, SharedVariance
from equipoise.stats.estimate import NotEstimable

if TYPE_CHECKING:
    import duckdb

__all__ = ["check_event_rows", "overlapping", "restricted_tallies", "restricted_tally"]

# Greenwood's sum over the times of events, or that of clusters' sums of their units' influences: the same number
# where each unit is a cluster of its own.
_SPREADS = {
    False: """
        spreads AS (
            SELECT part, variant, sum(leaving)::BIGINT AS blocks,
                   sum(weight * weight * came * (at_risk - came) / at_risk) AS spread
            FROM weights GROUP BY part, variant
        )""",
    True: """
        influences AS (
            SELECT seen.part, seen.variant, cluster, hazard - CASE WHEN event THEN weight ELSE 0 END AS influence
            FROM seen JOIN (SELECT *, sum(weight * came / at_risk) OVER forward AS hazard FROM weights
                            WINDOW forward AS (PARTITION BY part, variant ORDER BY time)) AS told
            ON seen.part = told.part AND seen.variant = told.variant AND seen.time = told.time
            ORDER BY cluster, influence
        ), totals AS MATERIALIZED (
            SELECT part, variant, cluster, sum(influence) AS total FROM influences
            GROUP BY part, variant, cluster ORDER BY cluster
        ), spreads AS (
            SELECT part, variant, count(*) AS blocks, sum(total * total) AS spread
            FROM totals GROUP BY part, variant
        )""",
}
# Of clusters that control has, too, what either arm's spread is made of, and what both go together by.
_TOGETHER = """, together AS (
            SELECT part, variant, count(*) AS clusters, sum(c * c) AS control, sum(t * t) AS treatment, sum(c * t) AS crossed
            FROM (SELECT t.part AS part, t.variant AS variant, c.total AS c, t.total AS t
                  FROM totals AS t JOIN totals AS c ON t.part = c.part AND t.cluster = c.cluster
                  WHERE c.variant = 'control' AND t.variant <> 'control' ORDER BY t.part, t.variant, t.cluster)
            GROUP BY part, variant
        )"""


def check_event_rows(connection: duckdb.DuckDBPyConnection, metric: Metric, came: str) -> None:
    """That a table tells when events came, and not only when their units came in; raises DataError.

    Expects `all_units`, with the time of each unit's first event in the column `came`.
    """
    events, later = one(connection, f"SELECT count({came}), count(*) FILTER ({came} > since) FROM all_units")
    if events and not later:
        raise events_at_entry(metric)


def restricted_tallies(
    connection: duckdb.DuckDBPyConnection,
    metric: Metric,
    came: str,
    arms: Sequence[str],
    *,
    last: float,
    across: Across | None,
    by: str = WHOLE,
    among: str = "units",
) -> dict[str, dict[str, Tally]]:
    """The metric's tallies by part and arm; without `by` there is one part, called ''.

    `came` is the column with the time of a unit's first event, `last` when the data end. A unit without the event
    is in for as long as it was seen, the window at most; one that came in too late to be seen for the whole window
    counts all the same. However many times differ, one row for each part and arm leaves the engine. `across` says how
    clusters lie across the arms, where they carry the variance.
    """
    clustered = across is not None
    # As text, since a bare 86400.0 would be a decimal to the engine.
    horizon, end = f"'{metric.window!r}'::DOUBLE", f"'{last!r}'::DOUBLE"
    shared = across in ("shared", "blocks")
    rows = connection.execute(
        f"""
        WITH seen AS (
            SELECT {by} AS part, variant, {"cluster," if clustered else ""}
                   coalesce({came} < since + {horizon}, false) AS event,
                   least(coalesce({came}, {end}) - since, {horizon}) AS time
            FROM {among} WHERE {by} IS NOT NULL AND coalesce({came}, since) >= since
        ), steps AS (
            SELECT part, variant, time, count(*) FILTER (event) AS came, count(*) AS leaving
            FROM seen GROUP BY part, variant, time
        ), curves AS (
            SELECT *, product('1'::DOUBLE - came / at_risk) OVER forward AS curve,
                   lead(time, 1, {horizon}) OVER forward - time AS width
            FROM (SELECT *, sum(leaving) OVER backward AS at_risk FROM steps
                  WINDOW backward AS (PARTITION BY part, variant ORDER BY time DESC))
            WINDOW forward AS (PARTITION BY part, variant ORDER BY time)
        ), weights AS (
            -- Where all that are left have the event, nothing lies beyond: 0 / 0 is 0.
            SELECT *, CASE WHEN at_risk > came THEN area / (at_risk - came) ELSE 0 END AS weight
            FROM (SELECT *, sum(curve * width) OVER backward AS area FROM curves
                  WINDOW backward AS (PARTITION BY part, variant ORDER BY time DESC))
        ), {_SPREADS[clustered]}{_TOGETHER if shared else ""}
        SELECT part, variant, units, events, censored, min(time) + max(area), spread, blocks,
               max(time) >= {horizon} OR min(curve) = 0{
            ", any_value(clusters), any_value(control), any_value(treatment), any_value(crossed)"
            if shared
            else ""
        }
        FROM weights JOIN spreads USING (part, variant){
            " LEFT JOIN together USING (part, variant)" if shared else ""
        }
        JOIN (SELECT part, variant, count(*) AS units, count(*) FILTER (event) AS events,
                     count(*) FILTER (NOT event AND time < {horizon}) AS censored
              FROM seen GROUP BY part, variant) USING (part, variant)
        GROUP BY part, variant, units, events, censored, spread, blocks
        """
    ).fetchall()
    found: dict[tuple[str, str], list[Any]] = {(part, arm): row for part, arm, *row in rows}
    tallies: dict[str, dict[str, Tally]] = defaultdict(dict)
    for part in sorted({*(part for part, _ in found), *([""] if by == WHOLE else [])}):
        for arm in arms:
            tallies[part][arm] = restricted_tally(metric, arm, found.get((part, arm)), clustered=clustered)
    for (part, arm), (*_, clusters, of_control, own, crossed) in found.items() if shared else ():
        if clusters:
            tallies[part][arm] = overlapping(tallies[part], arm, clusters, of_control, own, crossed)
    return tallies


def overlapping(
    tallies: Mapping[str, Tally], arm: str, clusters: int, control: float, treatment: float, both: float
) -> Tally:
    """A treatment's tally with what `clusters` in both arms give to their variances, and to their covariance.

    `control` and `treatment` are the squares of the clusters' influences, `both` their products.
    """
    tally, other = tallies[arm], tallies["control"].restricted
    own = tally.restricted
    if not isinstance(own, RestrictedMean) or not isinstance(other, RestrictedMean):
        return tally
    scale_c, scale_t = (each.blocks / (each.blocks - 1.0) for each in (other, own))
    shared = SharedVariance(
        int(clusters),
        float(control) * scale_c,
        float(treatment) * scale_t,
        float(both) * math.sqrt(scale_c * scale_t),
    )
    return replace(tally, overlap=Overlap.told(shared, other.standard_error**2, own.standard_error**2))


def restricted_tally(metric: Metric, arm: str, row: Sequence[Any] | None, *, clustered: bool) -> Tally:
    """An arm's tally out of an engine's row: units, events, censored, area, spread, blocks, and whether it is known.

    What comes after these is of no concern here. Without a row nobody of the arm was seen.
    """
    if row is None:
        return Tally(units=0, missing=0, restricted=NotEstimable(f"no unit of {arm} was seen"))
    units, events, censored, value, spread, blocks, known, *_ = row
    window = metric.window or math.inf
    restricted: RestrictedMean | NotEstimable
    if not known:
        restricted = NotEstimable(
            f"no unit of {arm} has been seen without the event for the whole window yet, so its curve is not known so far"
        )
    elif clustered and blocks < FEW_CLUSTERS:
        restricted = NotEstimable(
            f"{arm} has {blocks} cluster{'' if blocks == 1 else 's'}, and with fewer than {FEW_CLUSTERS} a mean time to "
            "an event has no interval that can be trusted"
        )
    elif blocks < 2:
        restricted = NotEstimable(f"{arm} has 1 unit, and a spread needs at least two")
    else:
        restricted = RestrictedMean(
            horizon=window,
            blocks=int(blocks),
            events=int(events),
            value=min(float(value), window),
            standard_error=math.sqrt(float(spread) * blocks / (blocks - 1)),
        )
    return Tally(units=int(units), missing=0, censored=int(censored), restricted=restricted)
