"""Which ids were sealed: a sorted file of short keys beside each segment, read without any library.

De-duplication outlives the seal by these. A key is 16 bytes of BLAKE2b of the id (RFC 7693): two of a thousand
million ids share one with a probability of 1.5e-21, so that a key stands for its id.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable
from hashlib import blake2b

__all__ = ["WIDTH", "holds", "is_timed", "joined", "packed"]

WIDTH = 16
"""Bytes of a key."""


def _key(event_id: str) -> bytes:
    return blake2b(event_id.encode(), digest_size=WIDTH).digest()


def packed(ids: Iterable[str]) -> bytes:
    """The keys of some ids, sorted, one after the other.

    >>> len(packed(["a", "b"]))
    32
    """
    return b"".join(sorted(map(_key, ids)))


def joined(parts: Iterable[bytes]) -> bytes:
    """The keys of several packed ones, packed, each once.

    >>> joined([packed(["b"]), packed(["a", "b"])]) == packed(["a", "b"])
    True
    """
    found = {part[start : start + WIDTH] for part in parts for start in range(0, len(part), WIDTH)}
    return b"".join(sorted(found))


class _Keys:
    """Packed keys as the sequence that `bisect` wants."""

    def __init__(self, data: bytes) -> None:
        self._data = data

    def __len__(self) -> int:
        return len(self._data) // WIDTH

    def __getitem__(self, place: int) -> bytes:
        return self._data[place * WIDTH : (place + 1) * WIDTH]


def holds(data: bytes, event_id: str) -> bool:
    """Whether an id is among packed keys.

    >>> holds(packed(["a", "b"]), "b"), holds(packed(["a", "b"]), "c")
    (True, False)
    """
    wanted, keys = _key(event_id), _Keys(data)
    place = bisect_left(keys, wanted)
    return place < len(keys) and keys[place] == wanted


def is_timed(event_id: str) -> bool:
    """Whether an id has the form of a UUIDv7: such ids sort by the time in them, as text.

    Any other id may be as old as it likes, and is looked for wherever others of its sort were sealed.

    >>> is_timed("018bcfe5-6800-7000-8000-000000000000"), is_timed("order-17")
    (True, False)
    """
    return len(event_id) == 36 and event_id[14] == "7"
