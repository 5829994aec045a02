"""Members of clusters: who was seen under several of them, and so in several arms."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from equipoise.experiment.definition import Experiment
from equipoise.measurement.counted import ENROLLED
from equipoise.measurement.counting import Across, one
from equipoise.measurement.tally import Measurement, Members, Tally

if TYPE_CHECKING:
    import duckdb

__all__ = ["across", "members_of_log", "members_of_table", "of_units", "whole"]

_COUNTED = """SELECT count(*), count(*) FILTER (clusters > 1), count(*) FILTER (arms > 1)
              FROM (SELECT count(DISTINCT unit) AS clusters, count(DISTINCT variant) AS arms FROM {rows} GROUP BY member)"""


def of_units(experiment: Experiment) -> Experiment:
    """An experiment that randomises clusters, with each unit as the cluster that carries the variance.

    The name of the cluster is empty: nothing has it, and so each unit is one of its own.
    """
    whole = experiment.unit.type == "cluster" and experiment.cluster is None
    return replace(experiment, cluster="") if whole else experiment


def across(experiment: Experiment) -> Across | None:
    """How the clusters that carry the variance lie across arms; None where units do.

    What was randomised lies in one arm, and what holds it in several. The blocks of a switchback are its clusters.
    """
    if experiment.cluster is None and experiment.unit.type != "cluster":
        return None
    if experiment.switchback is not None:
        return "blocks"
    return "apart" if experiment.unit.type == "cluster" and not experiment.cluster else "shared"


def whole(experiment: Experiment, measured: Measurement) -> Measurement:
    """What was measured of clusters that were randomised: their totals say that each is in one arm as a whole."""
    if across(experiment) != "apart":
        return measured

    def told(tallies: Mapping[str, Tally]) -> dict[str, Tally]:
        return {
            arm: tally if tally.totals is None else replace(tally, totals=replace(tally.totals, whole=True))
            for arm, tally in tallies.items()
        }

    return replace(
        measured,
        tallies={name: told(of) for name, of in measured.tallies.items()},
        critical_segments=tuple(map(told, measured.critical_segments)),
        segments=tuple(
            replace(each, values={value: told(of) for value, of in each.values.items()})
            for each in measured.segments
        ),
        otherwise=told(measured.otherwise),
        by_turn={name: told(of) for name, of in measured.by_turn.items()},
    )


def members_of_log(connection: duckdb.DuckDBPyConnection, experiment: Experiment) -> Members | None:
    """The members of `turns`; None where nobody asks for them."""
    if experiment.unit.members is None:
        return None
    rows = (
        "(SELECT turns.member, turns.unit, arms.variant FROM turns "
        "JOIN (SELECT unit, min(variant) AS variant FROM exposures GROUP BY unit) AS arms USING (unit) "
        f"WHERE turns.member IS NOT NULL AND {ENROLLED.replace('variant', 'turns.variant')})"
    )
    return Members(*map(int, one(connection, _COUNTED.format(rows=rows))))


def members_of_table(connection: duckdb.DuckDBPyConnection) -> Members | None:
    """The members of a table's `facts`; None where they have no column of members."""
    columns = {str(row[0]) for row in connection.execute("DESCRIBE facts").fetchall()}
    if "member" not in columns:
        return None
    rows = "(SELECT member, unit, variant FROM facts WHERE member IS NOT NULL AND unit IS NOT NULL)"
    return Members(*map(int, one(connection, _COUNTED.format(rows=rows))))
