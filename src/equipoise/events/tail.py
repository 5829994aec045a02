"""The end of a log, followed: the facts of some kinds as they come, and nothing looked through twice."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from equipoise.errors import RecordError
from equipoise.events.log import EventLog, Recorded

__all__ = ["AnotherLogError", "Tail"]


class AnotherLogError(RecordError):
    """Where a log was read to, it ends or holds something else: what was known of the one before says nothing of it."""

    def __init__(self) -> None:
        super().__init__(
            "the log is not the one it was: where it was read to, it ends or holds something else. It is read anew"
        )


class Tail:
    """Reads on in a log, from its beginning at first. For one thread.

    What is of other kinds is passed over once, so that asking again costs the same however much of it there is.
    """

    def __init__(self, log: EventLog, kinds: Sequence[str]) -> None:
        self._log, self._kinds = log, kinds
        self._position = 0
        self._event_id: str | None = None

    def new(self) -> Iterator[Recorded]:
        """What came since the last time, each fact once, also where whoever takes it fails.

        Raises AnotherLogError before the first of them; the next call then begins at the beginning.

        >>> from equipoise.events.log import MemoryLog
        >>> list(Tail(MemoryLog(), ("registration",)).new())
        []
        """
        head = self._log.head()
        there = self._there(self._position) if self._event_id is not None else None
        if head < self._position or there not in (None, self._event_id):
            self._position, self._event_id = 0, None
            raise AnotherLogError
        for record in self._log.read_since(self._position, kinds=self._kinds):
            self._position, self._event_id = record.position, record.fact.event_id
            yield record
        if head > self._position:
            self._position, self._event_id = head, self._there(head)

    def _there(self, position: int) -> str | None:
        """The id of the fact at a position; None where there is none, or none any more."""
        found = next(self._log.read_since(position - 1), None) if position else None
        return found.fact.event_id if found is not None and found.position == position else None
