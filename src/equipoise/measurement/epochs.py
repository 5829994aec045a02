"""A bandit by epoch: who came in under which shares, and the tallies of each metric among them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING

from equipoise.events.log import EventLog
from equipoise.measurement.tally import EpochTallies, Tally
from equipoise.rollout.stages import LEDGER, fold

if TYPE_CHECKING:
    import duckdb

__all__ = ["SETTLED", "Began", "began", "by_epoch"]

SETTLED = ("epoch", "probability")
"""The columns that a bandit's units have besides: the epoch in which a unit entered, and the probability of its arm."""


@dataclass(frozen=True, slots=True)
class Began:
    """When an epoch began (seconds since 1970 UTC), and the shares it was announced with."""

    starts: float
    shares: Mapping[str, float]


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
) -> tuple[EpochTallies, ...]:
    """Every epoch that was announced or that somebody came in, oldest first.

    `tallies` has each metric's by epoch and arm, `critical` those of each critical segment's metric within it.
    """
    units: dict[int, dict[str, int]] = defaultdict(dict)
    logged: dict[int, dict[str, tuple[float, float]]] = defaultdict(dict)
    for epoch, variant, count, low, high in connection.execute(
        """SELECT epoch, variant, count(*), min(probability), max(probability) FROM units
           WHERE epoch IS NOT NULL GROUP BY epoch, variant ORDER BY epoch, variant"""
    ).fetchall():
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
