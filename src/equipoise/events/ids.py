"""Event ids: UUIDv7 (RFC 9562 §5.7), so that an id carries the time it was made and never repeats."""

from __future__ import annotations

import os
import threading
import time
from uuid import UUID

__all__ = ["id_time", "new_id"]

_lock = threading.Lock()
_last = 0
_drawn: list[int] = []


def new_id(now: float | None = None) -> str:
    """A fresh UUIDv7 as 36 characters; ids made in one process in one millisecond still sort in order.

    `now` is in seconds since 1970; None takes the machine's clock. Randomness comes from the
    operating system: an id must be unique, and nothing statistical depends on it.

    >>> a, b = new_id(), new_id()
    >>> a < b, a[14]
    (True, '7')
    """
    global _last  # noqa: PLW0603 - one clock hand per process is what keeps ids in order
    # RFC 9562 §6.2 method 3: 12 bits of sub-millisecond precision, moved on by one where time stood still.
    ticks = time.time_ns() * 4096 // 1_000_000 if now is None else int(now * 1000 * 4096)
    if now is None:
        with _lock:
            ticks = max(ticks, _last + 1)
            _last = ticks
    milliseconds, fraction = divmod(ticks, 4096)
    tail = _randomness() & ((1 << 62) - 1) | 1 << 63
    digits = f"{milliseconds & ((1 << 48) - 1):012x}7{fraction:03x}{tail:016x}"
    return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"


def _randomness() -> int:
    """64 bits from the operating system, fetched 512 at a time: asking it costs more than the rest of an id."""
    try:
        return _drawn.pop()
    except IndexError:
        fresh = memoryview(os.urandom(8 * 512)).cast("Q").tolist()
        mine = fresh.pop()
        _drawn.extend(fresh)
        return int(mine)


def _forget() -> None:
    # A forked process must not draw what its parent draws.
    _drawn.clear()


os.register_at_fork(after_in_child=_forget)


def id_time(event_id: str) -> float:
    """The time in a UUIDv7, in seconds since 1970, to the millisecond; ValueError for any other id.

    >>> id_time(new_id(1_700_000_000.123))
    1700000000.123
    """
    value = UUID(event_id)
    if value.version != 7:
        raise ValueError(f"{event_id} is not a UUIDv7: it carries no time")
    return (value.int >> 80) / 1000.0
