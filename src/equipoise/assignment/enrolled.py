"""Who is in already: so that neither a pause, nor a changed attribute, nor a log that is away moves anybody."""

from __future__ import annotations

import threading
from hashlib import blake2b

__all__ = ["Enrolled"]

_PROBES = 12
_BITS_A_UNIT = 32
_FIRST, _LARGEST = 1 << 19, 1 << 25
"""Bits of the first layer (16,384 units) and of the last one (1,048,576 units)."""


class Enrolled:
    """Remembers units that were exposed, by experiment, in a few bits each: a Bloom filter that grows.

    `holds` never denies a unit that was added. It takes a stranger for one of them a few times in a million, up
    to 1,400,000 units, for which it needs 5.3 MiB; beyond that it stays as large and errs more often (twice as
    many units: about once in a thousand). So it may decide whether somebody is new where the answer protects those
    who are in already, and never whether an exposure is left out: that is `Exposed`.

    Layers of four times the size of the one before (Almeida et al., Scalable Bloom Filters, 2007), twelve probes by
    double hashing (Kirsch and Mitzenmacher, Less Hashing, Same Performance, 2006). Safe to share between threads.

    >>> enrolled = Enrolled()
    >>> enrolled.add("demo", "conversation-1")
    >>> enrolled.holds("demo", "conversation-1"), enrolled.holds("demo", "conversation-2")
    (True, False)
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._layers: list[bytearray] = []
        self._room = 0

    def add(self, experiment: str, unit: str) -> None:
        """This unit is in."""
        with self._lock:
            if self._holds(hashed := _hashed(experiment, unit)):
                return
            if self._room <= 0 and (not self._layers or len(self._layers[-1]) * 8 < _LARGEST):
                bits = len(self._layers[-1]) * 32 if self._layers else _FIRST
                self._layers.append(bytearray(bits // 8))
                self._room = bits // _BITS_A_UNIT
            self._room -= 1
            layer = self._layers[-1]
            first, step = hashed
            mask = len(layer) * 8 - 1
            for probe in range(_PROBES):
                place = (first + probe * step) & mask
                layer[place >> 3] |= 1 << (place & 7)

    def holds(self, experiment: str, unit: str) -> bool:
        """Whether the unit is in; see the class for how seldom this errs."""
        return bool(self._layers) and self._holds(_hashed(experiment, unit))

    def _holds(self, hashed: tuple[int, int]) -> bool:
        first, step = hashed
        for layer in self._layers:
            mask = len(layer) * 8 - 1
            for probe in range(_PROBES):
                place = (first + probe * step) & mask
                if not layer[place >> 3] >> (place & 7) & 1:
                    break
            else:
                return True
        return False


def _hashed(experiment: str, unit: str) -> tuple[int, int]:
    name = f"{experiment}\0{unit}".encode("utf-8", "surrogatepass")
    digest = blake2b(name, digest_size=16).digest()
    # An odd step visits every bit of a layer, whose size is a power of two.
    return int.from_bytes(digest[:8], "big"), int.from_bytes(digest[8:], "big") | 1
