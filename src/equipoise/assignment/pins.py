"""Pins: which epoch a unit entered in, for definitions that cannot tell otherwise.

A store keeps a digest of the unit and not its id, so it holds no names, and no name is too long for it.
"""

from __future__ import annotations

import threading
from hashlib import sha256
from typing import Protocol, runtime_checkable

from equipoise.assignment.hashing import unit_bytes

__all__ = ["MemoryPins", "PinStore", "unit_key"]


@runtime_checkable
class PinStore(Protocol):
    """Keeps the epoch of a unit, once and for all; shared by every process that serves the unit.

    Both verbs raise RecordError where the store is away or full: whoever asks then enrols nobody new. They
    raise UsageError for what cannot name a unit.
    """

    def pin(self, experiment_salt: str, unit: str, epoch: int) -> int:
        """The epoch kept for the unit: the one given, where it is the first; durable when this returns."""
        ...

    def find(self, experiment_salt: str, unit: str) -> int | None:
        """The epoch kept for the unit, or None."""
        ...

    def close(self) -> None: ...


def unit_key(unit: str) -> bytes:
    """Under what a store keeps a unit: 32 bytes, the SHA-256 of its UTF-8.

    >>> unit_key("conversation-1").hex()[:16]
    '413055e0cb3a7c6d'
    """
    return sha256(unit_bytes(unit)).digest()


class MemoryPins:
    """The pins of a test or a rehearsal: same promises, without a bound, gone with the process.

    >>> pins = MemoryPins()
    >>> pins.pin("demo/1", "conversation-1", 2), pins.pin("demo/1", "conversation-1", 3)
    (2, 2)
    >>> pins.find("demo/1", "conversation-2") is None
    True
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._epochs: dict[tuple[str, bytes], int] = {}

    def pin(self, experiment_salt: str, unit: str, epoch: int) -> int:
        with self._lock:
            return self._epochs.setdefault((experiment_salt, unit_key(unit)), epoch)

    def find(self, experiment_salt: str, unit: str) -> int | None:
        with self._lock:
            return self._epochs.get((experiment_salt, unit_key(unit)))

    def close(self) -> None:
        """Nothing to let go of."""
