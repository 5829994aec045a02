"""Sealing again and again beside those who write: small segments, one after the other, and never in their way."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from equipoise.clock import Clock, SystemClock
from equipoise.errors import MissingExtraError, RecordError
from equipoise.events.cold.sealing import HOT_S, check, seal_until

__all__ = ["EVERY_S", "WHILE_SERVING_FACTS", "Sealing", "keep_sealing"]

EVERY_S = 60.0
"""How often it is looked whether there is a segment to seal, in seconds."""
WHILE_SERVING_FACTS = 5_000
"""Facts in a segment where somebody waits for the log: whoever writes waits for one such transaction at most, which is
some 30 ms."""
_BREATH_S = 0.1


@dataclass(frozen=True, slots=True)
class Sealing:
    """What has been sealed so far, when (seconds since 1970 UTC), and why it is not going on, if it is not."""

    segments: int = 0
    facts: int = 0
    at: float | None = None
    trouble: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON."""
        return asdict(self)


def keep_sealing(
    log: str | Path,
    *,
    stop: threading.Event,
    told: Callable[[Sealing], None],
    every_s: float = EVERY_S,
    hot_s: float = HOT_S,
    segment_facts: int = WHILE_SERVING_FACTS,
    clock: Clock | None = None,
) -> None:
    """Seal the SQLite log at a path whenever a whole segment is old enough, until `stop` is set.

    A rest that fills no segment stays hot. `told` is called with what was done after each round that did something, and
    when something goes wrong or is right again: a log that is not there, or a full disk, is tried again the
    next time. Raises UsageError as `seal`, MissingExtraError without the `analysis` extra, once there is something to seal.
    """
    check(hot_s, segment_facts)
    clock, so_far = clock or SystemClock(), Sealing()
    while not stop.is_set():
        before = so_far
        try:
            so_far = _round(Path(log), so_far, stop, hot_s, segment_facts, clock)
        except MissingExtraError as error:
            told(replace(so_far, trouble=str(error)))
            raise
        if so_far != before:
            told(so_far)
        stop.wait(every_s)


def _round(
    log: Path, so_far: Sealing, stop: threading.Event, hot_s: float, segment_facts: int, clock: Clock
) -> Sealing:
    """Segment by segment, with a breath between for those who write."""
    while not stop.is_set():
        try:
            done = seal_until(log, clock.now() - hot_s, segment_facts, whole=True, most=1)
        except RecordError as error:
            return replace(so_far, trouble=str(error))
        if not done.segments:
            break
        so_far = Sealing(so_far.segments + done.segments, so_far.facts + done.facts, clock.now())
        stop.wait(_BREATH_S)
    return replace(so_far, trouble=None)
