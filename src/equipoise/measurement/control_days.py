"""Control by day and by the treatment's share of all traffic: what tells whether control changes as treatment spreads."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from typing import TYPE_CHECKING, NamedTuple

from equipoise.events.facts import Allocation
from equipoise.events.log import EventLog
from equipoise.experiment.definition import Experiment
from equipoise.measurement.counting import Counted
from equipoise.stats.health.interference import ControlDay

if TYPE_CHECKING:
    import duckdb

__all__ = ["Share", "control_days", "shares"]


class Share(NamedTuple):
    """From `starts` (seconds since 1970 UTC) on treatments have a `share` of all traffic, and `drawn` of who takes part."""

    starts: float
    share: float
    drawn: float


_DAY = 86_400.0


def shares(experiment: Experiment, log: EventLog, until: int | None = None) -> tuple[Share, ...]:
    """How the treatments' share of all traffic went, by the allocations of an experiment in a log; its coverage counts in.

    Nothing of a switchback, where everybody has one arm at a time, nor of a bandit: its shares follow what control was seen
    to earn, so that control differs between them although nobody feels the treatment.
    """
    if experiment.switchback is not None or experiment.bandit is not None:
        return ()
    found = []
    for record in log.read_since(0, experiment=experiment.name, kinds=("allocation",)):
        if until is not None and record.position > until:
            break
        assert isinstance(record.fact, Allocation)
        treated = 1 - Fraction(record.fact.shares.get("control", "0"))
        share = float(treated * Fraction(record.fact.coverage))
        found.append(Share(record.fact.starts, share, float(treated)))
    return tuple(sorted(found))


def control_days(
    connection: duckdb.DuckDBPyConnection, counted: Counted, told: Sequence[Share]
) -> tuple[ControlDay, ...]:
    """A metric of control's units by the day they came in and the share there was; nothing where it never changed.

    Days are those of UTC. A ratio is that of the day's sums.
    """
    if len({each.share for each in told}) < 2:
        return ()
    number = " + ".join(f"(since >= {each.starts!r}::DOUBLE)::INTEGER" for each in told)
    value = f"sum({counted.x}) / sum({counted.y})" if counted.y else f"avg({counted.x})"
    rows = connection.execute(
        f"""SELECT CAST(floor(since / {_DAY!r}) AS BIGINT) AS day, {number} AS epoch, count(*), {value}
            FROM units WHERE variant = 'control' AND {counted.valued} GROUP BY 1, 2 ORDER BY 1, 2"""
    ).fetchall()
    # Whoever came in before the first allocation is held to have met it.
    return tuple(
        ControlDay(int(day), told[max(epoch, 1) - 1].share, int(units), float(mean))
        for day, epoch, units, mean in rows
        if mean is not None
    )
