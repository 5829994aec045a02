"""How far each collector has been told of a log: its cursor, whose turn it is, and what it would not take.

Kept beside the log and never in it: facts stay as they happened, and where an outbox stands is no fact. Of a
refused fact only its place is kept, so that what is purged from the log is nowhere else.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from equipoise.errors import RecordError, UsageError
from equipoise.events.beside import Database, Steps, Tables

__all__ = [
    "CURSORS",
    "READER",
    "Cursor",
    "CursorLostError",
    "Cursors",
    "HeldError",
    "Quarantined",
    "StrayCursorError",
]


READER = "reader "
"""What the names of those begin with who read a log for its own project and deliver to nobody."""


@dataclass(frozen=True, slots=True)
class Cursor:
    """Where a collector stands.

    `position` is that of the last fact it was done with, `event_id` that fact's; `acknowledged` when it last took
    one (seconds since 1970 UTC), None if never. Every fact passed by is counted once: `delivered`, or `refused` and
    put into quarantine, out of which go those `replayed` and those `gone` from the log. `retries` counts posts that
    had to be repeated, `trouble` says why nothing gets through now, None while all is well. `who` delivers, None
    for nobody.
    """

    collector: str
    position: int = 0
    event_id: str | None = None
    acknowledged: float | None = None
    delivered: int = 0
    refused: int = 0
    replayed: int = 0
    gone: int = 0
    retries: int = 0
    trouble: str | None = None
    who: str | None = None

    @property
    def quarantined(self) -> int:
        """How many facts are in quarantine now.

        >>> Cursor("http http://collector.example/", refused=5, replayed=3, gone=1).quarantined
        1
        """
        return self.refused - self.replayed - self.gone


@dataclass(frozen=True, slots=True)
class Quarantined:
    """A fact that a collector would not take: where it is in the log, why, since when, and how often it was tried.

    `status` is that of HTTP; None where the answer said so in words of its own protocol. `since` is in seconds
    since 1970 UTC.
    """

    collector: str
    position: int
    event_id: str
    experiment: str
    kind: str
    status: int | None
    reason: str
    since: float = 0.0
    tries: int = 1


class HeldError(RecordError):
    """Another process delivers to this collector."""

    def __init__(self, collector: str, who: str) -> None:
        super().__init__(
            f"{who} delivers to {collector}; one does at a time. Stop it, or leave it to its work"
        )
        self.collector = collector
        self.who = who

    def __reduce__(self) -> tuple[type[HeldError], tuple[str, str]]:
        return type(self), (self.collector, self.who)


class CursorLostError(RecordError):
    """Another process took over meanwhile: what was just acknowledged, it delivers again."""


class StrayCursorError(RecordError):
    """The cursor was kept for another log than this one."""


_CURSOR = (
    "collector, position, event_id, acknowledged, delivered, refused, replayed, gone, retries, trouble, "
    "CASE WHEN until > {now} THEN who END"
)
_ROW = "collector, position, event_id, experiment, kind, status, reason, since, tries"
_BIGINT = "CAST(?{} AS bigint)"
_LONGEST_TURN_S = 600
"""A turn that ends later than that was begun by a clock that was put back since: whoever had it may be gone."""

_SCHEMA = """
CREATE TABLE equipoise_cursors (
    collector    text PRIMARY KEY,
    position     bigint NOT NULL,
    event_id     text,
    acknowledged double precision,
    delivered    bigint NOT NULL,
    refused      bigint NOT NULL,
    replayed     bigint NOT NULL,
    gone         bigint NOT NULL,
    retries      bigint NOT NULL,
    trouble      text,
    holder       text,
    who          text,
    until        double precision
);
CREATE TABLE equipoise_quarantine (
    collector    text NOT NULL,
    position     bigint NOT NULL,
    event_id     text NOT NULL,
    experiment   text NOT NULL,
    kind         text NOT NULL,
    status       integer,
    reason       text NOT NULL,
    since        double precision NOT NULL,
    tries        integer NOT NULL,
    PRIMARY KEY (collector, position)
);
CREATE TABLE equipoise_cursors_format (format integer NOT NULL);
INSERT INTO equipoise_cursors_format VALUES (1)
"""
CURSORS = Tables("the cursors of an outbox", _SCHEMA, "equipoise_cursors_format", 1, 0x4551504F)  # "EQPO"
"""The tables of cursors, in the words that SQLite and PostgreSQL share."""


class Cursors:
    """The cursors beside one log. A cursor moves for whoever holds it, forward, and in one transaction with
    what it leaves behind in quarantine: after any interruption each fact is either still ahead or accounted for.

    `holder` is a name that nobody else has, made for one turn; `who` is for people. Safe to share between threads.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._cursor = _CURSOR.format(now=database.now)

    def take(self, collector: str, holder: str, who: str, seconds: float) -> Cursor:
        """Hold the cursor of a collector, a new one at 0, for so many seconds; HeldError while another does.

        UsageError for more than ten minutes.
        """
        if seconds > _LONGEST_TURN_S:
            raise UsageError(f"a turn of {seconds:g} seconds is too long; accepted: up to {_LONGEST_TURN_S}")
        now = self._database.now

        def steps() -> Steps[tuple[Sequence[Any], bool]]:
            yield (
                (
                    "INSERT INTO equipoise_cursors (collector, position, delivered, refused, replayed, gone, retries) "
                    "VALUES (?1, 0, 0, 0, 0, 0, 0) ON CONFLICT (collector) DO NOTHING"
                ),
                (collector,),
            )
            taken = yield (
                (
                    f"UPDATE equipoise_cursors SET holder = ?2, who = ?3, until = {now} + CAST(?4 AS double precision) "
                    f"WHERE collector = ?1 AND (holder IS NULL OR holder = ?2 OR until <= {now} "
                    f"OR until > {now} + {_LONGEST_TURN_S}) RETURNING 1"
                ),
                (collector, holder, who, seconds),
            )
            found = yield (
                f"SELECT {self._cursor}, who FROM equipoise_cursors WHERE collector = ?1",
                (collector,),
            )
            return found[0], bool(taken)

        row, mine = self._database.carry_out(steps)
        if not mine:
            raise HeldError(collector, row[-1])
        return Cursor(*row[:-1])

    def renew(self, collector: str, holder: str, seconds: float) -> bool:
        """Hold it for so many seconds from now; False where another took over."""
        return self._touch(
            f"UPDATE equipoise_cursors SET until = {self._database.now} + CAST(?3 AS double precision) "
            "WHERE collector = ?1 AND holder = ?2 RETURNING 1",
            (collector, holder, seconds),
        )

    def release(self, collector: str, holder: str) -> None:
        """Let another have it; harmless where one has it already."""
        self._touch(
            "UPDATE equipoise_cursors SET holder = NULL, who = NULL, until = NULL "
            "WHERE collector = ?1 AND holder = ?2 RETURNING 1",
            (collector, holder),
        )

    def advance(
        self,
        collector: str,
        holder: str,
        *,
        position: int,
        event_id: str,
        delivered: int = 0,
        refused: Sequence[Quarantined] = (),
    ) -> None:
        """Move on to `position`: so many facts were delivered, these refused. CursorLostError for who lost it."""

        def steps() -> Steps[bool]:
            moved = yield (
                (
                    "UPDATE equipoise_cursors SET position = ?3, event_id = ?4, "
                    f"delivered = delivered + {_BIGINT.format(5)}, refused = refused + {_BIGINT.format(6)}, "
                    f"acknowledged = CASE WHEN {_BIGINT.format(5)} > 0 THEN {self._database.now} ELSE acknowledged END, "
                    f"trouble = NULL WHERE collector = ?1 AND holder = ?2 AND position < {_BIGINT.format(3)} RETURNING 1"
                ),
                (collector, holder, position, event_id, delivered, len(refused)),
            )
            if moved:
                for each in refused:
                    yield (
                        (
                            f"INSERT INTO equipoise_quarantine ({_ROW}) "
                            f"VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, {self._database.now}, 1)"
                        ),
                        (
                            collector,
                            each.position,
                            each.event_id,
                            each.experiment,
                            each.kind,
                            each.status,
                            each.reason,
                        ),
                    )
            return bool(moved)

        if not self._database.carry_out(steps):
            raise CursorLostError(
                f"another process took over the delivery to {collector}; what was just acknowledged, "
                "it delivers again"
            )

    def hindered(self, collector: str, trouble: str) -> None:
        """Nothing gets through at the moment, and why; a try to be repeated."""
        self._touch(
            "UPDATE equipoise_cursors SET retries = retries + 1, trouble = ?2 WHERE collector = ?1 RETURNING 1",
            (collector, trouble),
        )

    def replayed(self, collector: str, positions: Sequence[int]) -> int:
        """These left the quarantine, as the collector took them; how many were still there."""
        return self._leave(collector, positions, "replayed = replayed")

    def gone(self, collector: str, positions: Sequence[int]) -> int:
        """These left the quarantine, as the log has them no more; how many were still there."""
        return self._leave(collector, positions, "gone = gone")

    def _leave(self, collector: str, positions: Sequence[int], counter: str) -> int:
        def steps() -> Steps[int]:
            count = 0
            # One by one: of two who replay at once, each counts what it took out itself.
            for position in positions:
                left = yield (
                    "DELETE FROM equipoise_quarantine WHERE collector = ?1 AND position = ?2 RETURNING 1",
                    (collector, position),
                )
                count += len(left)
            yield (
                f"UPDATE equipoise_cursors SET {counter} + {_BIGINT.format(2)} WHERE collector = ?1",
                (collector, count),
            )
            return count

        return self._database.carry_out(steps)

    def refused_again(self, collector: str, position: int, status: int | None, reason: str) -> None:
        """It was sent again, and the collector would still not take it."""
        self._touch(
            "UPDATE equipoise_quarantine SET tries = tries + 1, status = ?3, reason = ?4 "
            "WHERE collector = ?1 AND position = ?2 RETURNING 1",
            (collector, position, status, reason),
        )

    def all(self) -> tuple[Cursor, ...]:
        """Every collector that was ever delivered to, by name."""

        def steps() -> Steps[Sequence[Sequence[Any]]]:
            return (yield (f"SELECT {self._cursor} FROM equipoise_cursors ORDER BY collector", ()))

        return tuple(Cursor(*row) for row in self._database.carry_out(steps))

    def quarantine(self, collector: str) -> tuple[Quarantined, ...]:
        """What a collector would not take, in the order of the log."""

        def steps() -> Steps[Sequence[Sequence[Any]]]:
            return (
                yield (
                    f"SELECT {_ROW} FROM equipoise_quarantine WHERE collector = ?1 ORDER BY position",
                    (collector,),
                )
            )

        return tuple(Quarantined(*row) for row in self._database.carry_out(steps))

    def _touch(self, statement: str, values: tuple[Any, ...]) -> bool:
        def steps() -> Steps[bool]:
            return bool((yield statement, values))

        return self._database.carry_out(steps)

    def close(self) -> None:
        """Let go of the database."""
        self._database.close()
