"""What guardrails are watched by, kept beside the log: cells of a minute, how far the log was folded, what was decided.

All of it follows from the log. It is written in one transaction a batch, so that after any interruption each fact is
either still ahead or in its cell, once. Of a unit there is a number made of its name, and the name itself nowhere: what
is purged from the log must not stay beside it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Any, NamedTuple, TypeAlias

from equipoise.errors import RecordError
from equipoise.events.beside import Database, Steps, Tables

__all__ = [
    "WINDOWS",
    "CellKey",
    "Folding",
    "Kept",
    "KeptDecision",
    "Member",
    "StrayWindowsError",
    "Windows",
    "unit_key",
]

_SCHEMA = """
CREATE TABLE equipoise_windows (
    fold     bigint PRIMARY KEY,
    revision bigint NOT NULL,
    position bigint NOT NULL,
    event_id text,
    state    text NOT NULL
);
CREATE TABLE equipoise_window_cells (
    fold     bigint NOT NULL,
    minute   bigint NOT NULL,
    arm      text NOT NULL,
    quantity text NOT NULL,
    body     text NOT NULL,
    PRIMARY KEY (fold, minute, arm, quantity)
);
CREATE TABLE equipoise_window_units (
    fold  bigint NOT NULL,
    unit  bigint NOT NULL,
    arm   text NOT NULL,
    since double precision NOT NULL,
    PRIMARY KEY (fold, unit)
);
CREATE TABLE equipoise_window_decisions (
    fold    bigint NOT NULL,
    watch   bigint NOT NULL,
    arm     text NOT NULL,
    ends    bigint NOT NULL,
    body    text NOT NULL,
    carried double precision,
    PRIMARY KEY (fold, watch, arm, ends)
);
CREATE TABLE equipoise_windows_format (format integer NOT NULL);
INSERT INTO equipoise_windows_format VALUES (1)
"""
WINDOWS = Tables("the windows of guardrails", _SCHEMA, "equipoise_windows_format", 1, 0x45515057)  # "EQPW"
"""The tables, in the words that SQLite and PostgreSQL share."""

_ROWS = 1_000
"""Rows of one statement: PostgreSQL takes 32,767 values, SQLite one less."""


class CellKey(NamedTuple):
    """Whose cell it is: minutes since 1970 UTC, a variant, and what was counted (`turn.latency_s`)."""

    minute: int
    arm: str
    quantity: str


class Member(NamedTuple):
    """A unit's arm, and when it was first exposed (seconds since 1970 UTC)."""

    arm: str
    since: float


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptDecision:
    """What was decided on one window of one arm by the definition's watch number `watch`, as JSON.

    `ends` is the end of the window, `carried` when it was carried out (both seconds since 1970 UTC; None: not yet).
    """

    watch: int
    arm: str
    ends: int
    body: str
    carried: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """Where a fold stands: the log was read up to `position`, whose fact is `event_id`; `state` is JSON."""

    revision: int = 0
    position: int = 0
    event_id: str | None = None
    state: str = "{}"
    cells: Mapping[CellKey, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Folding:
    """What a batch changed: cells as they are now, units that came in, decisions; minutes before `since` go."""

    position: int
    event_id: str | None
    state: str
    cells: Mapping[CellKey, str]
    units: Mapping[int, Member]
    decisions: Sequence[KeptDecision] = ()
    since: int | None = None


class StrayWindowsError(RecordError):
    """The windows were kept for another log than this one."""


_Row: TypeAlias = tuple[Any, ...]


def unit_key(name: str) -> int:
    """A unit's number: 64 bits of BLAKE2b (RFC 7693). Of a hundred million units two share one with a chance of 3e-4.

    >>> unit_key("conversation-1")
    7303399821250189476
    """
    digest = blake2b(name.encode("utf-8", "surrogatepass"), digest_size=8).digest()
    return int.from_bytes(digest, "big", signed=True)


class Windows:
    """The windows beside one log, for each revision of an experiment (`digest`) a fold of its own.

    A fold moves from the revision that was read and from no other: of two processes that fold the same facts one moves
    it, and the other reads where it stands. Safe to share between threads.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    def read(self, digest: str) -> Kept:
        """Where the fold of a revision stands, with its cells; at the beginning of the log for a new one."""
        fold = unit_key(digest)

        def steps() -> Steps[Kept]:
            found = yield (
                "SELECT revision, position, event_id, state FROM equipoise_windows WHERE fold = ?1",
                (fold,),
            )
            if not found:
                return Kept()
            cells = yield (
                "SELECT minute, arm, quantity, body FROM equipoise_window_cells WHERE fold = ?1",
                (fold,),
            )
            revision, position, event_id, state = found[0]
            return Kept(
                revision=revision,
                position=position,
                event_id=event_id,
                state=state,
                cells={CellKey(*key): body for *key, body in cells},
            )

        return self._database.carry_out(steps)

    def members(self, digest: str, units: Sequence[int]) -> dict[int, Member]:
        """The arms of those of these units that are known."""
        fold = unit_key(digest)

        def steps() -> Steps[dict[int, Member]]:
            known: dict[int, Member] = {}
            for start in range(0, len(units), _ROWS):
                some = units[start : start + _ROWS]
                places = ", ".join(f"?{place}" for place in range(2, len(some) + 2))
                rows = yield (
                    f"SELECT unit, arm, since FROM equipoise_window_units WHERE fold = ?1 AND unit IN ({places})",
                    (fold, *some),
                )
                known |= {unit: Member(arm, since) for unit, arm, since in rows}
            return known

        return self._database.carry_out(steps) if units else {}

    def save(self, digest: str, revision: int, folding: Folding) -> bool:
        """Keep what a batch changed, all or nothing; False, and nothing kept, where the fold moved on meanwhile."""
        fold = unit_key(digest)

        def steps() -> Steps[bool]:
            yield (
                (
                    "INSERT INTO equipoise_windows (fold, revision, position, state) VALUES (?1, 0, 0, '{}') "
                    "ON CONFLICT (fold) DO NOTHING"
                ),
                (fold,),
            )
            moved = yield (
                (
                    "UPDATE equipoise_windows SET revision = revision + 1, position = ?3, event_id = ?4, state = ?5 "
                    "WHERE fold = ?1 AND revision = ?2 RETURNING 1"
                ),
                (fold, revision, folding.position, folding.event_id, folding.state),
            )
            if not moved:
                return False
            for places, values in _rows([(fold, *key, body) for key, body in folding.cells.items()]):
                yield (
                    (
                        f"INSERT INTO equipoise_window_cells (fold, minute, arm, quantity, body) VALUES {places} "
                        "ON CONFLICT (fold, minute, arm, quantity) DO UPDATE SET body = excluded.body"
                    ),
                    values,
                )
            for places, values in _rows([(fold, unit, *member) for unit, member in folding.units.items()]):
                yield (
                    (
                        f"INSERT INTO equipoise_window_units (fold, unit, arm, since) VALUES {places} "
                        "ON CONFLICT (fold, unit) DO UPDATE SET since = excluded.since"
                    ),
                    values,
                )
            for places, values in _rows(
                [(fold, each.watch, each.arm, each.ends, each.body) for each in folding.decisions]
            ):
                yield (
                    (
                        f"INSERT INTO equipoise_window_decisions (fold, watch, arm, ends, body) VALUES {places} "
                        "ON CONFLICT (fold, watch, arm, ends) DO NOTHING"
                    ),
                    values,
                )
            if folding.since is not None:
                yield (
                    "DELETE FROM equipoise_window_cells WHERE fold = ?1 AND minute < ?2",
                    (fold, folding.since),
                )
            return True

        return self._database.carry_out(steps)

    def decisions(self, digest: str, *, open_only: bool = False) -> tuple[KeptDecision, ...]:
        """What was decided, by the end of the window; with `open_only` what was not carried out yet."""

        def steps() -> Steps[Sequence[Sequence[Any]]]:
            return (
                yield (
                    (
                        "SELECT watch, arm, ends, body, carried FROM equipoise_window_decisions WHERE fold = ?1"
                        f"{' AND carried IS NULL' if open_only else ''} ORDER BY ends, watch, arm"
                    ),
                    (unit_key(digest),),
                )
            )

        return tuple(
            KeptDecision(watch=watch, arm=arm, ends=ends, body=body, carried=carried)
            for watch, arm, ends, body, carried in self._database.carry_out(steps)
        )

    def carried(self, digest: str, watch: int, arm: str, ends: int) -> bool:
        """Note that a decision was carried out; False where that was noted before, or there is none."""

        def steps() -> Steps[bool]:
            return bool(
                (
                    yield (
                        (
                            f"UPDATE equipoise_window_decisions SET carried = {self._database.now} "
                            "WHERE fold = ?1 AND watch = ?2 AND arm = ?3 AND ends = ?4 AND carried IS NULL RETURNING 1"
                        ),
                        (unit_key(digest), watch, arm, ends),
                    )
                )
            )

        return self._database.carry_out(steps)

    def now(self) -> float:
        """The time, in seconds since 1970 UTC, by the clock of whoever writes the log: the machine's, or the database's."""

        def steps() -> Steps[float]:
            return float((yield (f"SELECT {self._database.now}", ()))[0][0])

        return self._database.carry_out(steps)

    def close(self) -> None:
        """Let go of the database."""
        self._database.close()


def _rows(rows: Sequence[_Row]) -> Iterator[tuple[str, _Row]]:
    """Rows as the numbered places of a few statements, and the values that stand there."""
    for start in range(0, len(rows), _ROWS):
        some = rows[start : start + _ROWS]
        width = len(some[0])
        places = (
            f"({', '.join(f'?{row * width + place + 1}' for place in range(width))})"
            for row in range(len(some))
        )
        yield ", ".join(places), tuple(value for row in some for value in row)
