"""Who is in already: so that neither a pause, nor a changed attribute, nor a log that is away moves anybody."""

from __future__ import annotations

import threading
from hashlib import blake2b

__all__ = ["Enrolled"]

_BITS = 1 << 25
_PROBES = 8


class Enrolled:
    """Remembers units that were exposed, by experiment, in a few bits each: a Bloom filter of 4 MiB.

    `holds` never denies a unit that was added. It takes a stranger for one of them four times in a million
    where there are 1,000,000 units, once in eight thousand million where there are 250,000, and more often beyond.
    So it may decide whether somebody is new where the answer protects those who are in already, and never whether
    an exposure is left out: that is `Exposed`. Nothing is taken before the first unit is in.

    Eight probes by double hashing (Kirsch and Mitzenmacher, Less Hashing, Same Performance, 2006). Safe to share
    between threads.

    >>> enrolled = Enrolled()
    >>> enrolled.add("demo", "conversation-1")
    >>> enrolled.holds("demo", "conversation-1"), enrolled.holds("demo", "conversation-2")
    (True, False)
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._bits = bytearray()

    def add(self, experiment: str, unit: str) -> None:
        """This unit is in."""
        place, step = _hashed(experiment, unit)
        with self._lock:
            # Its size is there from the start: it does not grow with whoever comes in.
            bits = self._bits = self._bits or bytearray(_BITS // 8)
            for _ in range(_PROBES):
                place = (place + step) & (_BITS - 1)
                bits[place >> 3] |= 1 << (place & 7)

    def holds(self, experiment: str, unit: str) -> bool:
        """Whether the unit is in; see the class for how seldom this errs."""
        bits = self._bits
        if not bits:
            return False
        place, step = _hashed(experiment, unit)
        for _ in range(_PROBES):
            place = (place + step) & (_BITS - 1)
            if not bits[place >> 3] >> (place & 7) & 1:
                return False
        return True


def _hashed(experiment: str, unit: str) -> tuple[int, int]:
    name = f"{experiment}\0{unit}".encode("utf-8", "surrogatepass")
    digest = blake2b(name, digest_size=16).digest()
    # An odd step visits every bit, as there are a power of two of them.
    return int.from_bytes(digest[:8], "big"), int.from_bytes(digest[8:], "big") | 1
