"""How a streamed reply kept time: first token, time per token, gaps between pieces."""

from __future__ import annotations

from array import array

__all__ = ["Timing"]


class Timing:
    """Times of the pieces of one reply, in seconds after its request was sent.

    `ttft` is the first piece with *content*: an opening piece that names a role is none. Gaps are those
    between neighbouring pieces of content as they arrived; several in one packet have a gap of 0.
    """

    __slots__ = ("_gaps", "_last", "_start", "ttft")

    def __init__(self, start: float) -> None:
        self._start = start
        self._last = 0.0
        self._gaps = array("d")
        self.ttft: float | None = None

    def content(self, now: float) -> None:
        """A piece of content arrived."""
        if self.ttft is None:
            self.ttft = now - self._start
        else:
            self._gaps.append(now - self._last)
        self._last = now

    def gaps(self) -> tuple[float, float, float] | None:
        """Median, 95th percentile (nearest rank) and longest gap; None with fewer than two pieces.

        >>> timing = Timing(0.0)
        >>> for now in (1.0, 1.5, 3.5): timing.content(now)
        >>> timing.ttft, timing.gaps()
        (1.0, (0.5, 2.0, 2.0))
        """
        if not self._gaps:
            return None
        ordered = sorted(self._gaps)
        count = len(ordered)
        return ordered[(count - 1) // 2], ordered[-(-count * 95 // 100) - 1], ordered[-1]

    def mean_gap(self) -> float | None:
        """Mean gap; None with fewer than two pieces.

        >>> timing = Timing(0.0)
        >>> for now in (1.0, 1.5, 3.5): timing.content(now)
        >>> timing.mean_gap()
        1.25
        """
        return sum(self._gaps) / len(self._gaps) if self._gaps else None

    def per_token(self, output_tokens: int | None) -> float | None:
        """Seconds per token after the first piece; None where the tokens were not counted or are fewer than two."""
        if self.ttft is None or output_tokens is None or output_tokens < 2 or not self._gaps:
            return None
        return (self._last - self._start - self.ttft) / (output_tokens - 1)
