"""Server-sent events by bytes: frames whole, wherever the network cuts them."""

from __future__ import annotations

import re

from equipoise.errors import UpstreamError

__all__ = ["DONE", "Frame", "Frames"]

DONE = b"[DONE]"
_LONGEST = 8 * 1024 * 1024
_TOO_LONG = "a server-sent event is longer than 8 MiB"
_BOM = b"\xef\xbb\xbf"
_END = re.compile(rb"(?>\r\n|\r|\n){2}")
"""A line's end and an empty line; CRLF is one end and never two."""
_SEAM = 3
"""So many bytes of the longest end, CRLF CRLF, may have come before."""


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

    def saying(self, data: bytes) -> Frame:
        r"""The event with other data, of one line; what else it says stays.

        >>> Frame(b'id: 7\ndata: 1\n\n').saying(b"2")
        b'id: 7\ndata: 2\n\n'
        """
        lines = bytes(self).replace(b"\r\n", b"\n").replace(b"\r", b"\n").split(b"\n")
        kept = [line + b"\n" for line in lines if line and not (line.startswith(b"data:") or line == b"data")]
        return Frame(b"%bdata: %b\n\n" % (b"".join(kept), data))


class Frames:
    r"""Cuts a stream of bytes into frames (WHATWG HTML, "Server-sent events": lines end in LF, CR or CRLF).

    `feed` gives the frames that are whole; `rest` what was left at the end of the stream, which some servers
    forget to close. Every byte comes out once and the frames are the same whatever the sizes of the pieces; only
    a byte order mark at the beginning is left out. Linear in the bytes. A frame beyond 8 MiB is an
    UpstreamError: memory is bounded.

    >>> frames = Frames()
    >>> frames.feed(b"data: 1\n"), frames.feed(b"\ndata: 2\r\n\r\nda")
    ([], [b'data: 1\n\n', b'data: 2\r\n\r\n'])
    >>> frames.rest()
    b'da'
    """

    __slots__ = ("_first", "_open", "_size")

    def __init__(self) -> None:
        self._open: list[bytes] = []
        self._size = 0
        self._first = True

    def feed(self, data: bytes) -> list[Frame]:
        """The frames that are whole with these bytes, in order."""
        if self._open:
            # The end of a frame can only be where new bytes are: a long frame in small pieces is joined once.
            seam = b"".join(self._open[-_SEAM:])[-_SEAM:] + data
            if not self._first and not (_END.search(seam) if b"\r" in seam else b"\n\n" in seam):
                self._keep(data)
                return []
            data = b"".join(self._open) + data
            self._open.clear()
            self._size = 0
        if self._first:
            if len(data) < len(_BOM) and _BOM.startswith(data):
                self._keep(data)
                return []
            data = data.removeprefix(_BOM)
            self._first = False
        if b"\r" not in data:
            found = data.split(b"\n\n")
            left = found.pop()
            frames = [Frame(each + b"\n\n") for each in found]
        else:
            frames, left = _any_ending(data)
        if len(data) > _LONGEST and any(len(frame) > _LONGEST for frame in frames):
            raise UpstreamError(_TOO_LONG)
        self._keep(left)
        return frames

    def _keep(self, data: bytes) -> None:
        if not data:
            return
        self._size += len(data)
        if self._size > _LONGEST:
            raise UpstreamError(_TOO_LONG)
        self._open.append(data)

    def rest(self) -> Frame:
        """What was left open at the end."""
        left = Frame(b"".join(self._open))
        self._open.clear()
        self._size = 0
        return left


def _any_ending(data: bytes) -> tuple[list[Frame], bytes]:
    frames: list[Frame] = []
    start = 0
    for end in _END.finditer(data):
        # Whether a line feed follows decides where the line ends: with the last byte it is open.
        if end.end() == len(data) and data.endswith(b"\r"):
            break
        frames.append(Frame(data[start : end.end()]))
        start = end.end()
    return frames, data[start:]
