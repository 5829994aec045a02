"""A streamed reply on its way through: frames in, frames out, timed, watched, and never longer than needed."""

from __future__ import annotations

import json
from collections import deque
from typing import Any

from equipoise.providers.hearing import Heard, Wire, read_json
from equipoise.providers.sse import DONE, Frame, Frames
from equipoise.providers.timing import Timing
from equipoise.scoring.holding import Holding

__all__ = ["HOLD", "Stream"]

HOLD = 0.25
"""Seconds that a piece is held back at most while it may still be the beginning of a match."""

_Need = tuple[Holding, int]
"""A text, and up to where it must be cleared before a frame may go out."""
_Held = tuple[float, tuple[_Need, ...], int, Frame]
"""When a frame came, what it waits for, the characters of the first choice with it, and itself."""


class Stream:
    """Takes bytes of server-sent events and gives those that may go out.

    `hide_usage` leaves out the token counts, where the gateway asked for them and the client did not: the frame
    that has only them, and the counts of one that says more. `holding` watches the text, and another like it that of
    each further choice (`n`): one that fails stops them all. `buffer` keeps everything until the end.
    """

    __slots__ = (
        "_buffer",
        "_done",
        "_end",
        "_frames",
        "_holding",
        "_needs",
        "_others",
        "_queue",
        "begun",
        "failed",
        "heard",
        "hides_usage",
        "shown",
        "timing",
    )

    def __init__(
        self, wire: Wire, start: float, *, hide_usage: bool, holding: Holding | None, buffer: bool
    ) -> None:
        self._frames = Frames()
        self.hides_usage = hide_usage
        self._holding = holding
        self._others: dict[int, Holding] = {}
        self._buffer = buffer
        self._queue: deque[_Held] = deque()
        self._needs: tuple[_Need, ...] = ()
        self._end = 0
        self.heard = Heard(wire)
        self.timing = Timing(start)
        self._done = False
        self.begun = False
        """Whether anything went out."""
        self.shown = 0
        """Characters of the first choice that went out."""
        self.failed: str | None = None
        """The check that stopped the text, if one did."""

    @property
    def done(self) -> bool:
        """Whether the last event of the reply was heard."""
        return self._done or self.heard.ended

    @property
    def holds(self) -> bool:
        """Whether anything that was heard has not gone out."""
        return bool(self._queue)

    def feed(self, data: bytes, now: float) -> bytes:
        """What may go out now that these bytes came in. UpstreamError for a frame beyond all bounds."""
        frames = self._frames.feed(data)
        if len(frames) == 1 and not self._queue and not self._buffer:
            # The usual piece: one frame, with nothing held before it.
            frame = self._take(frames[0], now)
            if frame is None or self.failed is not None:
                return b""
            if not self._needs:
                self.begun, self.shown = True, self._end
                return frame
            self._queue.append((now, self._needs, self._end, frame))
            return b""
        for each in frames:
            if self.failed is not None:
                break
            self._line_up(each, now)
        return self._let_out()

    def _line_up(self, frame: Frame, now: float) -> None:
        seen = self._take(frame, now)
        if seen is not None and self.failed is None:
            self._queue.append((now, self._needs, self._end, seen))

    def _take(self, frame: Frame, now: float) -> Frame | None:
        """Hear what a frame says; it is returned as the client is to see it, None if not at all."""
        self._needs = ()
        data = frame.data
        if data is None:
            return frame
        if data == DONE:
            self._done = True
            self._settle()
            return frame
        try:
            event: Any = read_json(data)
        except ValueError:
            # Not of this protocol; it is passed on as it is.
            return frame
        heard = self.heard
        piece = heard.piece(event)
        if piece:
            self.timing.content(now)
            self._end += len(piece)
            if self._holding is not None:
                self._watch(self._holding, piece)
        if heard.beside and self._holding is not None:
            for index, said in heard.beside:
                if index not in self._others:
                    self._others[index] = self._holding.another()
                self._watch(self._others[index], said)
        if self.hides_usage and isinstance(event, dict) and event.get("usage") is not None:
            if not event.get("choices"):
                return None
            # The counts ride on a piece that says more.
            del event["usage"]
            return frame.saying(json.dumps(event, ensure_ascii=True, separators=(",", ":")).encode())
        return frame

    def _watch(self, holding: Holding, said: str) -> None:
        cleared = holding.feed(said)
        if holding.failed is not None:
            self.failed = self.failed or holding.failed
        elif cleared < holding.fed:
            self._needs = (*self._needs, (holding, holding.fed))

    def _settle(self) -> None:
        """No more is coming: what is held is a match or is none."""
        if self._holding is None:
            return
        for holding in (self._holding, *self._others.values()):
            holding.finish()
            self.failed = self.failed or holding.failed

    def _let_out(self) -> bytes:
        if self._buffer:
            return b""
        out: list[bytes] = []
        queue = self._queue
        while queue and all(holding.cleared >= end for holding, end in queue[0][1]):
            _, _, self.shown, frame = queue.popleft()
            out.append(frame)
        if out:
            self.begun = True
        return b"".join(out)

    def overdue(self, now: float) -> bytes:
        """What was held for long enough and goes out unfinished; the check of the whole text remains.

        What is a match as it stands does not: then a check has failed.
        """
        queue = self._queue
        if not queue or self._buffer or self.failed is not None or now - queue[0][0] < HOLD:
            return b""
        for since, needs, _, _ in queue:
            if now - since < HOLD:
                break
            for holding, end in needs:
                holding.release(end)
                self.failed = self.failed or holding.failed
        return self._let_out()

    def rest(self) -> bytes:
        """Everything that is left, at the end of a reply that holds to its checks."""
        out = [frame for _, _, _, frame in self._queue]
        self._queue.clear()
        self.begun, self.shown = True, self._end
        out.append(self._frames.rest())
        return b"".join(out)

    def unterminated(self, now: float) -> bytes:
        """Hear what a server left open by hanging up without a blank line; returns it closed, for the client.

        As with `feed`, a check may have failed then.
        """
        left = self._frames.rest()
        if left.strip():
            self._line_up(Frame(left.rstrip(b"\r\n") + b"\n\n"), now)
        self._settle()
        return self._let_out()
