"""The port of the event log, and the twin in memory.

Four verbs: `append` facts, `append_if` nobody else appended meanwhile, `read_since` a position, and
`wait` for something new. A position counts the facts accepted; it only grows.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from equipoise.clock import Clock, SystemClock
from equipoise.errors import RecordError
from equipoise.events.conflicts import Kept, conflicts
from equipoise.events.facts import Encoded, Fact, decode, encoded

__all__ = ["EventLog", "LogGoneError", "MemoryLog", "Receipt", "Recorded", "StaleHeadError", "is_of_another"]


@dataclass(frozen=True, slots=True)
class Receipt:
    """What became of an append: facts accepted, facts whose ids were there already, and the new head.

    `conflicts` of the repeated were others than those kept under their ids; each is told of in the log, which the
    head counts.
    """

    accepted: int
    repeated: int
    head: int
    conflicts: int = 0


@dataclass(frozen=True, slots=True)
class Recorded:
    """A fact in the log: its position, and when it arrived (seconds since 1970 UTC)."""

    position: int
    received: float
    fact: Fact


class LogGoneError(RecordError):
    """The log was deleted or replaced while it was open, or can be written only if it is opened again: what would be
    written to it, nobody would find.
    """


class StaleHeadError(RecordError):
    """Somebody else appended first; read what is new and decide again."""

    def __init__(self, expected: int, found: int) -> None:
        super().__init__(
            f"the log moved on while you decided: you had read up to {expected}, and {found} is new. "
            "Look at what happened, then try again"
        )
        self.expected = expected
        self.found = found

    def __reduce__(self) -> tuple[type[StaleHeadError], tuple[int, int]]:
        return type(self), (self.expected, self.found)


@runtime_checkable
class EventLog(Protocol):
    """An append-only record. Re-delivering a fact is harmless: its `event_id` is accepted once."""

    def append(self, facts: Iterable[Fact | Encoded]) -> Receipt:
        """Keep the facts, all or none; returns once they are durable."""
        ...

    def append_if(
        self,
        facts: Iterable[Fact],
        head: int,
        *,
        experiment: str | None = None,
        kinds: Sequence[str] | None = None,
    ) -> Receipt:
        """As `append`, but only if nothing was accepted after position `head`; else StaleHeadError.

        With `experiment` and `kinds` only facts of those count: a decision is not outdated by the traffic
        that keeps streaming in.
        """
        ...

    def read_since(
        self, position: int = 0, *, experiment: str | None = None, kinds: Sequence[str] | None = None
    ) -> Iterator[Recorded]:
        """Facts after a position, in the order of acceptance."""
        ...

    def wait(self, position: int, timeout: float) -> int:
        """The head, as soon as it is past `position` or after `timeout` seconds."""
        ...

    def head(self) -> int:
        """The position of the last fact; 0 for an empty log."""
        ...

    def close(self) -> None: ...


class MemoryLog:
    """The log of a test or a rehearsal: same promises, gone with the process."""

    def __init__(self, clock: Clock | None = None) -> None:
        self._clock = clock or SystemClock()
        self._changed = threading.Condition(threading.RLock())
        self._records: list[Recorded] = []
        self._kept: dict[str, Kept] = {}

    def append(self, facts: Iterable[Fact | Encoded]) -> Receipt:
        with self._changed:
            return self._append(tuple(facts))

    def append_if(
        self,
        facts: Iterable[Fact],
        head: int,
        *,
        experiment: str | None = None,
        kinds: Sequence[str] | None = None,
    ) -> Receipt:
        with self._changed:
            newer = next(self.read_since(head, experiment=experiment, kinds=kinds), None)
            if newer is not None:
                raise StaleHeadError(head, newer.position)
            return self._append(tuple(facts))

    def _append(self, facts: tuple[Fact | Encoded, ...]) -> Receipt:
        with self._changed:
            accepted = 0
            # Kept as a log on disk would give them back: what cannot be kept is refused before anything is.
            kept = [_decoded(encoded(fact)) for fact in facts]
            received = self._clock.now()
            repeated = []
            for fact in kept:
                if self._keep(fact, received):
                    accepted += 1
                else:
                    repeated.append(encoded(fact))
            told = conflicts({row.event_id: self._kept[row.event_id] for row in repeated}, repeated)
            fresh = sum(self._keep(_decoded(row), received) for row in told)
            self._changed.notify_all()
            return Receipt(accepted, len(facts) - accepted, len(self._records), fresh)

    def _keep(self, fact: Fact, received: float) -> bool:
        if fact.event_id in self._kept:
            return False
        row = encoded(fact)
        self._kept[fact.event_id] = Kept(row.kind, row.experiment, row.body)
        self._records.append(Recorded(len(self._records) + 1, received, fact))
        return True

    def read_since(
        self, position: int = 0, *, experiment: str | None = None, kinds: Sequence[str] | None = None
    ) -> Iterator[Recorded]:
        with self._changed:
            found = self._records[max(position, 0) :]
        for record in found:
            if (experiment is None or record.fact.experiment == experiment) and (
                kinds is None or record.fact.kind in kinds
            ):
                yield record

    def wait(self, position: int, timeout: float) -> int:
        with self._changed:
            self._changed.wait_for(lambda: len(self._records) > position, timeout)
            return len(self._records)

    def head(self) -> int:
        with self._changed:
            return len(self._records)

    def close(self) -> None:
        """Nothing to let go of."""


def is_of_another(log: EventLog, position: int, event_id: str | None) -> bool:
    """Whether a place that somebody kept, a position and the fact there, is none of this log's.

    It is none where the log ends before it, or has another fact there. A fact that was purged says nothing, and 0 is the
    beginning of every log.

    >>> is_of_another(MemoryLog(), 0, None), is_of_another(MemoryLog(), 3, "a")
    (False, True)
    """
    if not position:
        return False
    head, there = log.head(), next(log.read_since(position - 1), None)
    return head < position or (
        there is not None and there.position == position and there.fact.event_id != event_id
    )


def _decoded(row: Encoded) -> Fact:
    return decode(
        row.kind, event_id=row.event_id, experiment=row.experiment, happened=row.happened, body=row.body
    )
