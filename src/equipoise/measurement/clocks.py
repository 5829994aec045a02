"""The two clocks of every event: when it happened, by its source, and when it was received, by the record.

A clock that is a little off is told of. One that is wildly off must not decide when an experiment began, or that it is
over: by Tukey's rule for far-out values (Exploratory Data Analysis, 1977, section 2D) a delay is wild beyond three
interquartile ranges of the quartiles. Events of months that are imported in one go are wide apart, and none is wild.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from equipoise.measurement.literals import text_literal
from equipoise.measurement.tally import SourceClock

if TYPE_CHECKING:
    import duckdb

__all__ = ["NOT_AHEAD", "Clocks", "Fence", "fence_of"]

_DAY = 86_400.0
NOT_AHEAD = -_DAY
"""No fence is nearer: with a delay of so many seconds or more no clock is wildly ahead."""
_LATEST = 90 * _DAY
_FAR_OUT = 3.0
_MOST = 50
"""Sources that are told of one by one, those with most events; whoever sends events may invent names."""

# To a thousandth of a second, to a second above a minute, to a minute above a day: a delay is counted and not kept,
# however many events there are.
_DELAY = """
CASE WHEN abs(received - happened) < 60 THEN round(received - happened, 3)
     WHEN abs(received - happened) < 86400 THEN round(received - happened)
     ELSE round((received - happened) / 60) * 60 END + 0.0
"""


@dataclass(frozen=True, slots=True)
class Fence:
    """Delays (received less happened, in seconds) that may be: below `low` a clock is wildly ahead, above `high` behind."""

    low: float
    high: float

    @property
    def beyond(self) -> str:
        """The condition that an event's delay is outside."""
        return f"(received - happened < {self.low!r} OR received - happened > {self.high!r})"


def fence_of(low_quartile: float, high_quartile: float) -> Fence:
    """The fence around delays with these quartiles, in seconds.

    Nothing is wild within a day ahead or ninety days behind: that is a bad clock, or a late delivery. It takes five
    events to tell one that is wild from the others.

    >>> fence_of(0.0, 0.1)
    Fence(low=-86400.0, high=7776000.1)
    >>> month = 30 * 86400.0
    >>> fence_of(3 * month, 9 * month) == Fence(-15 * month, 27 * month)
    True
    """
    spread = _FAR_OUT * (high_quartile - low_quartile)
    return Fence(
        min(NOT_AHEAD, low_quartile - max(_DAY, spread)), max(_LATEST, high_quartile + max(_LATEST, spread))
    )


class Clocks:
    """How long the events of each kind and source took to be received: counts by delay, in the engine."""

    def __init__(self, connection: duckdb.DuckDBPyConnection) -> None:
        self._run = connection.execute
        self._run(
            "CREATE TEMP TABLE delays (kind VARCHAR, source VARCHAR, delay DOUBLE, events BIGINT, latest DOUBLE)"
        )

    def count(self, kind: str, page: str, *, named: bool) -> None:
        """Take a page in: a table with `happened` and `received`, and a `source` where it is `named`."""
        source = "source" if named else "NULL::VARCHAR AS source"
        self._run(
            f"""INSERT INTO delays SELECT {text_literal(kind)}, {source}, {_DELAY} AS delay, count(*),
                       max(happened) FROM {page} GROUP BY source, delay"""
        )

    def fence(self, kind: str | None = None) -> Fence:
        """The fence around the delays of one kind of event, or of all."""
        among = "" if kind is None else f"WHERE kind = {text_literal(kind)}"
        low, high = self._run(
            f"""SELECT min(delay) FILTER (upto >= 0.25 * events), min(delay) FILTER (upto >= 0.75 * events)
                FROM (SELECT delay, sum(n) OVER (ORDER BY delay) AS upto, sum(n) OVER () AS events
                      FROM (SELECT delay, sum(events) AS n FROM delays {among} GROUP BY delay))"""
        ).fetchone() or (None, None)
        return fence_of(low or 0.0, high or 0.0)

    def beyond(self, fence: Fence, kind: str) -> bool:
        """Whether an event of a kind may be outside of a fence."""
        (found,) = self._run(
            f"""SELECT count(*) FROM delays WHERE kind = {text_literal(kind)}
                AND (delay <= {fence.low!r} OR delay >= {fence.high!r})"""
        ).fetchone() or (0,)
        return bool(found)

    def latest(self) -> tuple[float | None, int]:
        """When the last event happened of those whose clock is not wildly ahead, and how many others there are."""
        low = self.fence().low
        latest, others = self._run(
            f"""SELECT max(latest) FILTER (delay >= {low!r}), sum(events) FILTER (delay < {low!r}) FROM delays"""
        ).fetchone() or (None, None)
        return latest, int(others or 0)

    def told(self) -> tuple[SourceClock, ...]:
        """Each kind and source: the fifty with most events, by name."""
        found = self._run(
            f"""SELECT kind, source, any_value(total), min(delay) FILTER (upto >= 0.5 * total), min(delay), max(delay),
                       coalesce(sum(n) FILTER (delay < 0), 0), coalesce(sum(n) FILTER (delay > {_DAY!r}), 0)
                FROM (SELECT *, sum(n) OVER (PARTITION BY kind, source ORDER BY delay) AS upto,
                             sum(n) OVER (PARTITION BY kind, source) AS total
                      FROM (SELECT kind, source, delay, sum(events) AS n FROM delays GROUP BY ALL))
                GROUP BY kind, source ORDER BY 3 DESC, kind, source NULLS FIRST LIMIT {_MOST}"""
        ).fetchall()
        clocks = [
            SourceClock(kind, source, int(events), median, least, most, int(ahead), int(late))
            for kind, source, events, median, least, most, ahead, late in found
        ]
        return tuple(sorted(clocks, key=lambda each: (each.kind, each.source or "")))
