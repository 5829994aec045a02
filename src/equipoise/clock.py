"""Time, passed in: whatever needs the time is given a clock, so that a test or a rehearsal can set it."""

from __future__ import annotations

import time
from typing import Protocol

__all__ = ["Clock", "ManualClock", "SystemClock"]


class Clock(Protocol):
    """Something that knows the time in seconds since 1970-01-01 UTC."""

    def now(self) -> float: ...


class SystemClock:
    """The machine's own clock."""

    now = staticmethod(time.time)


class ManualClock:
    """A clock set by hand.

    >>> clock = ManualClock(100.0)
    >>> clock.advance(5.0)
    >>> clock.now()
    105.0
    """

    def __init__(self, start: float = 0.0) -> None:
        self._now = start

    def now(self) -> float:
        return self._now

    def advance(self, seconds: float) -> None:
        """Move on; time never runs backwards, so a negative step is refused."""
        if seconds < 0:
            raise ValueError(f"time cannot run backwards by {-seconds} s")
        self._now += seconds
