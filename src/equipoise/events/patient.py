"""A log that is opened when it is first needed, and again after it was away."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TypeVar

from equipoise.events.facts import Encoded, Fact
from equipoise.events.log import EventLog, LogGoneError, Receipt, Recorded

__all__ = ["PatientLog"]

T = TypeVar("T")


class PatientLog:
    """Stands before a log that may not be there yet: a gateway starts and serves without it.

    `opens` opens the log and raises RecordError where it cannot; every call tries until it could. Should the log
    be deleted or replaced afterwards, `again` opens what is then in its place, or refuses to.

    >>> from equipoise.events.log import MemoryLog
    >>> PatientLog(MemoryLog).head()
    0
    """

    def __init__(self, opens: Callable[[], EventLog], again: Callable[[], EventLog] | None = None) -> None:
        self._opens, self._again = opens, again or opens
        self._lock = threading.Lock()
        self._log: EventLog | None = None

    def _asked(self, ask: Callable[[EventLog], T]) -> T:
        with self._lock:
            if self._log is None:
                self._log = self._opens()
                self._opens = self._again
            log = self._log
        try:
            return ask(log)
        except LogGoneError:
            with self._lock:
                if self._log is log:
                    self._log = None
            log.close()
            raise

    def append(self, facts: Iterable[Fact | Encoded]) -> Receipt:
        return self._asked(lambda log: log.append(facts))

    def append_if(
        self,
        facts: Iterable[Fact],
        head: int,
        *,
        experiment: str | None = None,
        kinds: Sequence[str] | None = None,
    ) -> Receipt:
        return self._asked(lambda log: log.append_if(facts, head, experiment=experiment, kinds=kinds))

    def read_since(
        self, position: int = 0, *, experiment: str | None = None, kinds: Sequence[str] | None = None
    ) -> Iterator[Recorded]:
        return self._asked(lambda log: log.read_since(position, experiment=experiment, kinds=kinds))

    def wait(self, position: int, timeout: float) -> int:
        return self._asked(lambda log: log.wait(position, timeout))

    def head(self) -> int:
        return self._asked(lambda log: log.head())

    def close(self) -> None:
        with self._lock:
            if self._log is not None:
                self._log.close()
                self._log = None
