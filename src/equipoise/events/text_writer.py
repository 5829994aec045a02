"""A writer of texts: redacts and keeps them in a thread of its own, and rather loses one than holds anybody up."""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable
from time import monotonic
from typing import Self

from equipoise.clock import Clock, SystemClock
from equipoise.events.texts import NoTextsError, Text, TextStore

__all__ = ["TextWriter"]

_BATCH = 50
_RETRY_S = 0.5
_EXPIRE_S = 3_600.0
"""To be rid of the bytes a file is written anew, which is not done for every text."""
_logger = logging.getLogger("equipoise.texts")

Make = Callable[[], Text]


class TextWriter:
    """Takes texts off the hands of those who serve; `offer` returns at once.

    What is offered is a function that makes the text (and redacts it), called in the writer's thread, and the characters
    that it holds on to meanwhile. At most `backlog` texts with `room` characters wait; what is offered beyond that is
    lost, counted and logged. While the store takes nothing in, `trouble` says why; it is tried again every half second,
    and what waits then is lost only with the process.

    `opens` opens the store, and makes it only when told to: where no text is kept, there is no file. With `expires` the
    writer also removes what has expired: at once, and then every `every_s` seconds.

    >>> from equipoise.events.opening import open_texts
    >>> from equipoise.events.texts import Text
    >>> store = open_texts("memory:")
    >>> with TextWriter(lambda create: store) as writer:
    ...     taken = writer.offer(lambda: Text(event_id="1", kind="turn", experiment="bot", digest="d", variant=None,
    ...         trace="t", unit=None, happened=1.0, expires=2.0, probability=1.0, answer="Hello"), 5)
    ...     writer.flush()
    ...     [text.answer for text in store.of_traces(["t"], now=1.5)]
    ['Hello']
    """

    def __init__(
        self,
        opens: Callable[[bool], TextStore],
        *,
        backlog: int = 1_000,
        room: int = 32 * 1024 * 1024,
        expires: bool = False,
        every_s: float = _EXPIRE_S,
        clock: Clock | None = None,
    ) -> None:
        self._opens = opens
        self._store: TextStore | None = None
        self._backlog, self._room = backlog, room
        self._clock = clock or SystemClock()
        self._expires, self._every_s = expires, every_s
        # What expired while nobody served goes first.
        self._due = monotonic()
        self._queue: deque[tuple[Make, int]] = deque()
        self._held = 0
        self._writing = 0
        self._changed = threading.Condition()
        self._closed = False
        self.kept = 0
        """Texts kept since the process began."""
        self.lost = 0
        """Texts that were drawn and not kept."""
        self.trouble: Exception | None = None
        """Why the store takes nothing in; None where it does."""
        self._thread = threading.Thread(target=self._run, name="equipoise-text-writer", daemon=True)
        self._thread.start()

    @property
    def waiting(self) -> int:
        """How many texts are not kept yet."""
        return len(self._queue) + self._writing

    def offer(self, make: Make, size: int) -> bool:
        """Queue a text without ever waiting; False, and counted as lost, where too much waits already."""
        with self._changed:
            if self._closed or self.waiting >= self._backlog or self._held + size > self._room:
                first, self.lost = not self.lost, self.lost + 1
            else:
                self._queue.append((make, size))
                self._held += size
                self._changed.notify_all()
                return True
        if first:
            _logger.error("texts are being lost: %s", self.trouble or "too many wait to be written")
        return False

    def flush(self) -> None:
        """Return once everything offered so far is kept or lost."""
        with self._changed:
            self._changed.wait_for(lambda: not self.waiting or not self._thread.is_alive())

    def close(self, timeout: float | None = None) -> None:
        """Keep what is left, if the store takes it in at once, and stop; waits for that so many seconds at most."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        self._thread.join(timeout)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def _run(self) -> None:
        while True:
            with self._changed:
                left = max(self._due - monotonic(), 0.0) if self._expires else None
                self._changed.wait_for(lambda: self._queue or self._closed, left)
                if self._closed and not self._queue:
                    break
                batch = [self._queue.popleft() for _ in range(min(len(self._queue), _BATCH))]
                self._writing = len(batch)
            if batch:
                self._write(batch)
            if self._expires and monotonic() >= self._due:
                self._expire()
                self._due = monotonic() + self._every_s
        if self._store is not None:
            self._store.close()

    def _write(self, batch: list[tuple[Make, int]]) -> None:
        texts = [text for make, _ in batch if (text := self._made(make)) is not None]
        unmade, kept = len(batch) - len(texts), False
        while texts and not kept:
            kept = self._kept(texts)
            if not kept:
                with self._changed:
                    if self._closed or self._changed.wait_for(lambda: self._closed, _RETRY_S):
                        # One last time, and no longer: whoever stops waits for it.
                        kept = self._kept(texts)
                        break
        with self._changed:
            self.kept += len(texts) if kept else 0
            self.lost += unmade + (0 if kept else len(texts))
            self._held -= sum(size for _, size in batch)
            self._writing = 0
            self._changed.notify_all()

    @staticmethod
    def _made(make: Make) -> Text | None:
        try:
            return make()
        except Exception as error:  # noqa: BLE001 - a text that cannot be redacted is not kept, and stops no other
            # What went wrong may quote the text: only its kind is said.
            _logger.error("a text could not be prepared and is lost: %s", type(error).__name__)  # noqa: TRY400
            return None

    def _kept(self, texts: list[Text]) -> bool:
        try:
            if self._store is None:
                self._store = self._opens(True)
            self._store.keep(texts)
        except Exception as error:  # noqa: BLE001 - whatever it is, whoever serves goes on
            if self.trouble is None:
                _logger.error("texts are not kept: %s", error)  # noqa: TRY400 - the sentence says it all
            self.trouble = error
            return False
        if self.trouble is not None:
            _logger.warning("texts are kept again")
            self.trouble = None
        return True

    def _expire(self) -> None:
        try:
            if self._store is None:
                self._store = self._opens(False)
            if gone := self._store.expire(self._clock.now()):
                _logger.info("%d texts have expired and are removed", gone)
        except NoTextsError:
            pass
        except Exception as error:  # noqa: BLE001 - tried again the next time
            _logger.error("expired texts are not removed: %s", error)  # noqa: TRY400 - the sentence says it all
