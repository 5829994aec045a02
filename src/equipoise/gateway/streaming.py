"""A streamed reply on its way through: frames in, frames out, timed, watched, and never longer than needed."""

from __future__ import annotations

from collections import deque
from typing import Any

import orjson

from equipoise.providers.hearing import Heard, Wire
from equipoise.providers.sse import DONE, Frame, Frames
from equipoise.providers.timing import Timing
from equipoise.scoring.holding import Holding

__all__ = ["HOLD", "Stream"]

HOLD = 0.25
"""Seconds that a piece is held back at most while it may still be the beginning of a match."""


class Stream:
    """Takes bytes of server-sent events and gives those that may go out.

    `hide_usage` drops the frame with the token counts, where the gateway asked for it and the client did not.
    `holding` watches the text; `buffer` keeps everything until the end.
    """

    __slots__ = (
        "_buffer",
        "_end",
        "_frames",
        "_holding",
        "_queue",
        "_since",
        "done",
        "heard",
        "hides_usage",
        "timing",
    )

    def __init__(
        self, wire: Wire, start: float, *, hide_usage: bool, holding: Holding | None, buffer: bool
    ) -> None:
        self._frames = Frames()
        self.hides_usage = hide_usage
        self._holding = holding
        self._buffer = buffer
        self._queue: deque[tuple[int, Frame]] = deque()
        self._since = 0.0
        self._end = 0
        self.heard = Heard(wire)
        self.timing = Timing(start)
        self.done = False

    @property
    def failed(self) -> str | None:
        """The check that stopped the text, if one did."""
        return None if self._holding is None else self._holding.failed

    def feed(self, data: bytes, now: float) -> bytes:
        """What may go out now that these bytes came in. UpstreamError for a frame beyond all bounds."""
        frames = self._frames.feed(data)
        if len(frames) == 1 and not self._queue and not self._buffer:
            # The usual piece: one frame, with nothing held before it.
            frame = frames[0]
            if not self._take(frame, now) or self.failed is not None:
                return b""
            if self._holding is None or self._holding.cleared >= self._end:
                return frame
            self._queue.append((self._end, frame))
            self._since = now
            return b""
        out: list[bytes] = []
        for frame in frames:
            if self._take(frame, now) and self.failed is None:
                if not self._queue:
                    self._since = now
                self._queue.append((self._end, frame))
        self._let_out(out)
        return b"".join(out)

    def _take(self, frame: Frame, now: float) -> bool:
        """Hear what a frame says; False for one that the client is not to see."""
        data = frame.data
        if data is None:
            return True
        if data == DONE:
            self.done = True
            return True
        try:
            event: Any = orjson.loads(data)
        except orjson.JSONDecodeError:
            # Not of this protocol; it is passed on as it is.
            return True
        piece = self.heard.piece(event)
        if piece:
            self.timing.content(now)
            self._end += len(piece)
            if self._holding is not None:
                self._holding.feed(piece)
        elif (
            self.hides_usage
            and isinstance(event, dict)
            and event.get("usage") is not None
            and not event.get("choices")
        ):
            return False
        return True

    def _let_out(self, out: list[bytes]) -> None:
        if self._buffer:
            return
        cleared = self._end if self._holding is None else self._holding.cleared
        queue = self._queue
        while queue and queue[0][0] <= cleared:
            out.append(queue.popleft()[1])

    def overdue(self, now: float) -> bytes:
        """What was held for long enough and goes out unfinished; the check of the whole text remains."""
        if not self._queue or self._buffer or self._holding is None or now - self._since < HOLD:
            return b""
        out: list[bytes] = []
        self._holding.release()
        self._let_out(out)
        return b"".join(out)

    def rest(self) -> bytes:
        """Everything that is left, at the end of a reply that holds to its checks."""
        out = [frame for _, frame in self._queue]
        self._queue.clear()
        out.append(self._frames.rest())
        return b"".join(out)

    def unterminated(self, now: float) -> bytes:
        """Hear what a server left open by hanging up without a blank line; returns it closed, for the client."""
        left = self._frames.rest()
        if not left.strip():
            return b""
        frame = Frame(left.rstrip(b"\r\n") + b"\n\n")
        if not self._take(frame, now):
            return b""
        self._queue.append((self._end, frame))
        out: list[bytes] = []
        self._let_out(out)
        return b"".join(out)
