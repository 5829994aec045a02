"""A bandit by epoch: who came in under which shares, and the tallies of each metric among them."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING, Any

from equipoise.errors import DataError
from equipoise.events.log import EventLog
from equipoise.experiment.definition import Experiment, TableSource
from equipoise.measurement.tally import EpochTallies, Tally
from equipoise.rollout.stages import LEDGER, fold

if TYPE_CHECKING:
    import duckdb

__all__ = [
    "SETTLED",
    "Began",
    "began",
    "by_epoch",
    "columns_of",
    "no_epoch",
    "of_rows",
    "of_table",
    "told_by_epoch",
]

SETTLED = ("epoch", "probability")
"""The columns that a bandit's units have besides: the epoch in which a unit entered, and the probability of its arm."""

_SAME, _ROUNDED = 1e-9, 1e-3


@dataclass(frozen=True, slots=True)
class Began:
    """When an epoch began (seconds since 1970 UTC), and the shares it was announced with."""

    starts: float | None
    shares: Mapping[str, float]


def columns_of(experiment: Experiment, source: TableSource, present: Collection[str]) -> dict[str, str]:
    """The columns of a table that say under which shares a bandit's units came in; none unless it has both.

    They are named in `source.columns`, or called `epoch` and `probability`. Raises DataError where one is named that is
    not there.
    """
    if experiment.method != "bandit":
        return {}
    for each in SETTLED:
        if each in source.columns and source.columns[each] not in present:
            raise DataError(
                f"the table has no column '{source.columns[each]}', which the definition names for {each}; it has: "
                f"{', '.join(present)}"
            )
    found = {each: source.columns.get(each, each) for each in SETTLED}
    return found if all(column in present for column in found.values()) else {}


def of_table(connection: duckdb.DuckDBPyConnection, arms: Sequence[str]) -> dict[int, Began]:
    """The epochs of a table's rows, by number; raises DataError as `of_rows` does."""
    odd = connection.execute(
        "SELECT epoch FROM facts WHERE unit IS NOT NULL AND (epoch IS NULL OR epoch <> floor(epoch)) LIMIT 1"
    ).fetchone()
    if odd:
        raise no_epoch(odd[0])
    rows = connection.execute(
        """SELECT epoch, variant, count(*) = count(probability), min(probability), max(probability), min(happened)
           FROM facts WHERE unit IS NOT NULL GROUP BY epoch, variant ORDER BY epoch, variant"""
    ).fetchall()
    return of_rows(rows, arms)


def no_epoch(found: float | None) -> DataError:
    """An epoch that is no whole number."""
    return DataError(f"an epoch is a whole number, counted in the order of time, and one row has {found}")


def of_rows(rows: Iterable[Sequence[Any]], arms: Sequence[str]) -> dict[int, Began]:
    """The epochs of a table, by number, out of an engine's rows: the shares are the probabilities that the table holds.

    A row is of an epoch and an arm, in their order: whether every probability is known, the least, the greatest, and the
    first moment. Arms of which an epoch has no row share what is left of 1. Raises DataError for probabilities that are
    none, that change within an epoch, or that add up to more than 1.
    """
    shares: dict[int, dict[str, float]] = defaultdict(dict)
    starts: dict[int, float | None] = {}
    for epoch, arm, known, low, high, since in rows:
        if not known or not 0.0 < low <= high <= 1.0:
            raise DataError(
                f"in epoch {epoch:.0f} rows of {arm} hold a probability that is none; accepted: above 0 and at most 1"
            )
        if high - low > _SAME:
            raise DataError(
                f"in epoch {epoch:.0f} rows of {arm} hold probabilities from {low:.4g} to {high:.4g}; an epoch is a time in "
                "which they do not change, so give each its own number"
            )
        shares[int(epoch)][arm] = low
        told = starts.get(int(epoch))
        starts[int(epoch)] = since if told is None or since is None else min(told, since)
    made = {}
    for epoch, known_shares in shares.items():
        left = 1.0 - math.fsum(known_shares.values())
        absent = [arm for arm in arms if arm not in known_shares]
        if left < -_ROUNDED or (not absent and left > _ROUNDED):
            raise DataError(
                f"the probabilities of epoch {epoch} add up to {1.0 - left:.4g}; those of all arms add up to 1"
            )
        # Written with four digits, thirds do not add up to 1 exactly.
        rest = max(0.0, left) / len(absent) if absent and left > _ROUNDED else 0.0
        whole = math.fsum(known_shares.values()) + rest * len(absent)
        made[epoch] = Began(starts[epoch], {arm: known_shares.get(arm, rest) / whole for arm in arms})
    return made


def began(log: EventLog, name: str, until: int | None) -> dict[int, Began]:
    """The epochs that the allocation log announced by a position, by number, of the revision that was registered then."""
    ledger = log.read_since(0, experiment=name, kinds=LEDGER)
    state = fold(record.fact for record in ledger if until is None or record.position <= until)
    return {
        each.epoch: Began(each.starts, {arm: float(Fraction(share)) for arm, share in each.shares.items()})
        for each in state.allocations
    }


def by_epoch(
    connection: duckdb.DuckDBPyConnection,
    announced: Mapping[int, Began],
    arms: Sequence[str],
    tallies: Mapping[str, Mapping[int, Mapping[str, Tally]]],
    critical: Sequence[Mapping[int, Mapping[str, Tally]]],
    *,
    logged_apart: bool = True,
) -> tuple[EpochTallies, ...]:
    """Every epoch that was announced or that somebody came in, oldest first.

    `tallies` has each metric's by epoch and arm, `critical` those of each critical segment's metric within it.
    `logged_apart` says that exposures hold their probabilities beside the announced shares.
    """
    rows = connection.execute(
        """SELECT epoch, variant, count(*), min(probability), max(probability) FROM units
           WHERE epoch IS NOT NULL GROUP BY epoch, variant ORDER BY epoch, variant"""
    ).fetchall()
    if not logged_apart:
        # What a table holds are the shares themselves.
        rows = [(epoch, variant, count, None, None) for epoch, variant, count, *_ in rows]
    return told_by_epoch(rows, announced, arms, tallies, critical)


def told_by_epoch(
    rows: Iterable[Sequence[Any]],
    announced: Mapping[int, Began],
    arms: Sequence[str],
    tallies: Mapping[str, Mapping[int, Mapping[str, Tally]]],
    critical: Sequence[Mapping[int, Mapping[str, Tally]]],
) -> tuple[EpochTallies, ...]:
    """As `by_epoch`, out of an engine's rows: epoch, arm, units, and the least and greatest probability that was logged."""
    units: dict[int, dict[str, int]] = defaultdict(dict)
    logged: dict[int, dict[str, tuple[float, float]]] = defaultdict(dict)
    for epoch, variant, count, low, high in rows:
        units[int(epoch)][variant] = count
        if low is not None:
            logged[int(epoch)][variant] = (low, high)
    made = []
    for epoch in sorted({*announced, *units}):
        told = announced.get(epoch)
        made.append(
            EpochTallies(
                number=epoch,
                starts=None if told is None else told.starts,
                shares=None if told is None else {arm: told.shares.get(arm, 0.0) for arm in arms},
                units={arm: units[epoch].get(arm, 0) for arm in arms},
                logged=dict(logged[epoch]),
                tallies={name: of[epoch] for name, of in tallies.items() if epoch in of},
                critical=tuple(of.get(epoch, {}) for of in critical),
            )
        )
    return tuple(made)
