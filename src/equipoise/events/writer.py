"""A writer that takes facts off the caller's hands and commits them together.

It commits whenever it is idle and takes along what arrived meanwhile: no timer, so a lone fact waits
for nothing and a burst shares one flush of the disk.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from time import monotonic
from typing import NamedTuple, Self

from equipoise.errors import UsageError
from equipoise.events.facts import Encoded, Fact, encoded
from equipoise.events.log import EventLog

__all__ = ["LogWriter"]

_BATCH = 500
_RETRY = 0.5

Told = Future[None] | Callable[[Exception | None], None] | None
"""Whom to tell when facts are durable, or why they are not."""


class _Group(NamedTuple):
    """Facts that were handed over together: they are written in one transaction, and told of as one."""

    rows: Sequence[Encoded]
    told: Told


class LogWriter:
    """Hands facts to a log from a thread of its own; `submit` returns at once.

    The future of a submitted fact is done when it is durable, or holds the error that kept it from
    being so. At most `backlog` facts wait; beyond that `submit` waits, because losing facts silently
    is worse than being slow. Closing writes what is left. `log` may be a function that opens the log: it is
    asked again for each delivery until it does, and what it opened is closed with the writer.

    A `patient` writer keeps the facts that nobody waits for while the log does not take them in, and tries
    again every half second; `trouble` then holds the error. Where it has nothing left to write, it asks whether
    the log takes in no facts at all, so that `trouble` ends by itself.

    >>> from .log import MemoryLog
    >>> from .facts import Outcome
    >>> log = MemoryLog()
    >>> with LogWriter(log) as writer:
    ...     done = writer.submit(Outcome(experiment="e", happened=0.0, unit="u", name="resolved", value=True))
    >>> log.head(), done.result()
    (1, None)
    """

    def __init__(
        self, log: EventLog | Callable[[], EventLog], *, backlog: int = 10_000, patient: bool = False
    ) -> None:
        self._log: EventLog | None = None if callable(log) else log
        self._open: Callable[[], EventLog] | None = log if callable(log) else None
        self._backlog = backlog
        self._patient = patient
        self._groups: deque[_Group] = deque()
        self._queued = 0
        self._writing = 0
        self._changed = threading.Condition()
        self._closed = False
        self._since = 0.0
        self.failed = 0
        self.dropped = 0
        self.conflicts = 0
        self.error: Exception | None = None
        self.trouble: Exception | None = None
        """Why the last batch was not written; None after one that was."""
        self._thread = threading.Thread(target=self._run, name="equipoise-log-writer", daemon=True)
        self._thread.start()

    def submit(self, fact: Fact, *, wait: bool = True) -> Future[None]:
        """Queue a fact. Raises UsageError after `close`, and for a fact that no log can keep.

        With `wait`, waits while the backlog is full; without, the fact is taken in all the same, so callers
        bound what they submit.
        """
        # Tried here, so that whoever made such a fact hears of it and not those whose facts travel with it.
        row = encoded(fact)
        future: Future[None] = Future()
        # It will be written whether or not the caller still waits: cancelling it is not possible.
        future.set_running_or_notify_cancel()
        with self._changed:
            if wait:
                self._changed.wait_for(lambda: self._closed or self.waiting < self._backlog)
            if self._closed:
                raise UsageError("this writer is closed; make another to go on writing")
            self._queue([row], future)
        return future

    def hand_over(self, rows: Sequence[Encoded], told: Callable[[Exception | None], None]) -> None:
        """Queue facts that somebody waits for, without waiting for room; `told` is called once, in the writer's
        thread, when all of them are durable or none is. Raises UsageError after `close`.
        """
        with self._changed:
            if self._closed:
                raise UsageError("this writer is closed; make another to go on writing")
            self._queue(rows, told)

    def offer(self, fact: Fact | Encoded) -> bool:
        """Queue a fact that nobody waits for, without ever waiting; see `offer_all`."""
        return self.offer_all([encoded(fact)])

    def offer_all(self, rows: Sequence[Encoded]) -> bool:
        """Queue facts that nobody waits for, all or none; False, and counted as `dropped`, where the backlog is
        full or the writer closed: for callers that serve and may not stand still.
        """
        with self._changed:
            if self._closed or self.waiting + len(rows) > self._backlog:
                self.dropped += len(rows)
                return False
            self._queue(rows, None)
        return True

    def _queue(self, rows: Sequence[Encoded], told: Told) -> None:
        self._groups.append(_Group(rows, told))
        self._queued += len(rows)
        self._changed.notify_all()

    @property
    def stuck_s(self) -> float:
        """For how many seconds the log has been at the batch it is at; 0 while it has none."""
        since = self._since
        return monotonic() - since if since else 0.0

    @property
    def waiting(self) -> int:
        """How many facts are not written yet."""
        return self._queued + self._writing

    def flush(self) -> None:
        """Return once everything submitted so far is written or has failed."""
        with self._changed:
            self._changed.wait_for(lambda: not self.waiting or not self._thread.is_alive())

    def close(self) -> None:
        """Write what is left and stop; harmless to call twice."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        self._thread.join()
        if self._open is not None and self._log is not None:
            self._log.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def _run(self) -> None:
        while True:
            with self._changed:
                again = _RETRY if self._patient and self.trouble is not None else None
                self._changed.wait_for(lambda: self._groups or self._closed, again)
                if self._closed and not self._groups:
                    return
                batch = self._take()
            self._since = monotonic()
            self._write(batch)
            self._since = 0.0
            with self._changed:
                self._writing = 0
                self._changed.notify_all()
                if self.trouble is not None and self._patient and not self._closed:
                    # Whoever submits meanwhile is waited on no longer than until the next try.
                    self._changed.wait_for(lambda: self._closed, _RETRY)

    def _take(self) -> list[_Group]:
        """What waits, in whole groups: at most one batch of facts, or one group that is larger."""
        batch: list[_Group] = []
        while self._groups and (not batch or self._writing + len(self._groups[0].rows) <= _BATCH):
            batch.append(self._groups.popleft())
            self._writing += len(batch[-1].rows)
        self._queued -= self._writing
        return batch

    def _write(self, batch: list[_Group]) -> None:
        try:
            if self._log is None:
                assert self._open is not None
                self._log = self._open()
            receipt = self._log.append([row for group in batch for row in group.rows])
            self.conflicts += receipt.conflicts
        except Exception as error:  # noqa: BLE001 - whatever it is, each waiting caller must hear of it
            self.error = self.trouble = error
            kept = (
                [group for group in batch if group.told is None] if self._patient and not self._closed else []
            )
            again = sum(len(group.rows) for group in kept)
            with self._changed:
                self.failed += self._writing - again
                self._groups.extendleft(reversed(kept))
                self._queued += again
                self._writing = 0
            _tell(batch, error)
        else:
            self.trouble = None
            _tell(batch, None)


def _tell(batch: list[_Group], error: Exception | None) -> None:
    for _, told in batch:
        if told is None:
            continue
        if not isinstance(told, Future):
            told(error)
        elif error is None:
            told.set_result(None)
        else:
            told.set_exception(error)
