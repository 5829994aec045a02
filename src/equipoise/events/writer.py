"""A writer that takes facts off the caller's hands and commits them together.

It commits whenever it is idle and takes along what arrived meanwhile: no timer, so a lone fact waits
for nothing and a burst shares one flush of the disk.
"""

from __future__ import annotations

import queue
import threading
from concurrent.futures import Future
from typing import Self

from equipoise.errors import UsageError
from equipoise.events.facts import Fact, encode
from equipoise.events.log import EventLog

__all__ = ["LogWriter"]

_BATCH = 500


class LogWriter:
    """Hands facts to a log from a thread of its own; `submit` returns at once.

    The future of a submitted fact is done when it is durable, or holds the error that kept it from
    being so. At most `backlog` facts wait; beyond that `submit` waits, because losing facts silently
    is worse than being slow. Closing writes what is left.

    >>> from .log import MemoryLog
    >>> from .facts import Outcome
    >>> log = MemoryLog()
    >>> with LogWriter(log) as writer:
    ...     done = writer.submit(Outcome(experiment="e", happened=0.0, unit="u", name="resolved", value=True))
    >>> log.head(), done.result()
    (1, None)
    """

    def __init__(self, log: EventLog, *, backlog: int = 10_000) -> None:
        self._log = log
        self._queue: queue.Queue[tuple[Fact, Future[None]] | None] = queue.Queue(backlog)
        self._closed = False
        self._closing = threading.Lock()
        self.failed = 0
        self.error: Exception | None = None
        self._thread = threading.Thread(target=self._run, name="equipoise-log-writer", daemon=True)
        self._thread.start()

    def submit(self, fact: Fact) -> Future[None]:
        """Queue a fact. Raises UsageError after `close`, and for a fact that no log can keep."""
        # Tried here, so that whoever made such a fact hears of it and not those whose facts travel with it.
        encode(fact)
        future: Future[None] = Future()
        with self._closing:
            if self._closed:
                raise UsageError("this writer is closed; make another to go on writing")
            self._queue.put((fact, future))
        return future

    def flush(self) -> None:
        """Return once everything submitted so far is written or has failed."""
        self._queue.join()

    def close(self) -> None:
        """Write what is left and stop; harmless to call twice."""
        with self._closing:
            if not self._closed:
                self._closed = True
                self._queue.put(None)
        self._thread.join()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def _run(self) -> None:
        while (first := self._queue.get()) is not None:
            batch = [first]
            last = False
            while len(batch) < _BATCH:
                try:
                    following = self._queue.get_nowait()
                except queue.Empty:
                    break
                if following is None:
                    last = True
                    break
                batch.append(following)
            self._write(batch)
            for _ in batch:
                self._queue.task_done()
            if last:
                break
        self._queue.task_done()

    def _write(self, batch: list[tuple[Fact, Future[None]]]) -> None:
        try:
            self._log.append([fact for fact, _ in batch])
        except Exception as error:  # noqa: BLE001 - whatever it is, each waiting caller must hear of it
            self.failed += len(batch)
            self.error = error
            for _, future in batch:
                future.set_exception(error)
        else:
            for _, future in batch:
                future.set_result(None)
