"""Server-sent events by bytes: frames whole, wherever the network cuts them."""

from __future__ import annotations

from equipoise.errors import UpstreamError

__all__ = ["DONE", "Frame", "Frames"]

DONE = b"[DONE]"
_LONGEST = 8 * 1024 * 1024
_BOM = b"\xef\xbb\xbf"


class Frame(bytes):
    """One event as it came, its closing blank line included, so that it can be passed on untouched."""

    __slots__ = ()

    @property
    def data(self) -> bytes | None:
        r"""The lines of `data:` joined by line feeds; None for a comment or an event without data.

        >>> Frame(b'data: {"a":1}\n\n').data, Frame(b": still here\n\n").data
        (b'{"a":1}', None)
        """
        # Nearly every frame of a completion is one line of data.
        if (
            self.startswith(b"data:")
            and b"\n" not in (body := self[5:].rstrip(b"\r\n"))
            and b"\r" not in body
        ):
            return bytes(body[1:] if body.startswith(b" ") else body)
        found = [
            line[6:] if line.startswith(b"data: ") else line[5:]
            for line in bytes(self).replace(b"\r\n", b"\n").replace(b"\r", b"\n").split(b"\n")
            if line.startswith(b"data:") or line == b"data"
        ]
        return b"\n".join(found) if found else None


class Frames:
    r"""Cuts a stream of bytes into frames (WHATWG HTML, "Server-sent events": lines end in LF, CR or CRLF).

    `feed` gives the frames that are whole; `rest` what was left at the end of the stream, which some servers
    forget to close. Every byte comes out once, whatever the sizes of the pieces. A frame beyond 8 MiB is an
    UpstreamError: memory is bounded.

    >>> frames = Frames()
    >>> frames.feed(b"data: 1\n"), frames.feed(b"\ndata: 2\r\n\r\nda")
    ([], [b'data: 1\n\n', b'data: 2\r\n\r\n'])
    >>> frames.rest()
    b'da'
    """

    __slots__ = ("_buffer", "_first")

    def __init__(self) -> None:
        self._buffer = b""
        self._first = True

    def feed(self, data: bytes) -> list[Frame]:
        """The frames that are whole with these bytes, in order."""
        buffer = self._buffer + data if self._buffer else data
        if self._first:
            if len(buffer) < 3 and _BOM.startswith(buffer):
                self._buffer = buffer
                return []
            buffer = buffer.removeprefix(_BOM)
            self._first = False
        if b"\r" not in buffer:
            found = buffer.split(b"\n\n")
            self._buffer = found.pop()
            frames = [Frame(each + b"\n\n") for each in found]
        else:
            frames = self._any_ending(buffer)
        if len(self._buffer) > _LONGEST:
            raise UpstreamError("a server-sent event is longer than 8 MiB")
        return frames

    def _any_ending(self, buffer: bytes) -> list[Frame]:
        frames: list[Frame] = []
        start = line = at = 0
        while True:
            ends = [place for place in (buffer.find(b"\n", at), buffer.find(b"\r", at)) if place >= 0]
            if not ends:
                break
            end = min(ends)
            after = end + 1
            if buffer[end : end + 1] == b"\r":
                # Whether a line feed follows decides what the line's end is: with the last byte it is open.
                if after == len(buffer):
                    break
                if buffer[after : after + 1] == b"\n":
                    after += 1
            if end == line:
                frames.append(Frame(buffer[start:after]))
                start = after
            line = at = after
        self._buffer = buffer[start:]
        return frames

    def rest(self) -> Frame:
        """What was left open at the end."""
        left, self._buffer = self._buffer, b""
        return Frame(left)
