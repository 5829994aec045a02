"""Batches of facts: read from a log, posted to a collector, and waited for."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from equipoise.errors import RecordError, UpstreamError
from equipoise.events.cursors import Cursor, Quarantined, StrayCursorError
from equipoise.events.log import EventLog, Recorded, is_of_another
from equipoise.integrations.collectors import MOST, Acknowledged, Away, Receiver, Refused
from equipoise.integrations.parcels import Parcel, parcel

__all__ = ["MOST", "PATIENCE", "Patience", "Sieve", "batches", "belongs", "found", "unavailable"]

_LARGEST = 1024 * 1024
_NEAR = 2_000


@dataclass(frozen=True, slots=True)
class Patience:
    """How an outbox waits, in seconds.

    `first_s` is the wait after a first failure; it doubles up to `longest_s`, and each is shortened by chance to
    between a half and all of itself. A collector that names a time is left alone that long, but no longer than
    `asked_s`. Whoever delivers has its turn for `turn_s` and renews it all the while; so long does another wait for
    one that was killed. `tries` are made where somebody waits for the end.
    """

    first_s: float = 0.5
    longest_s: float = 60.0
    asked_s: float = 3600.0
    turn_s: float = 10.0
    tries: int = 5

    def after(self, failures: int, asked_s: float | None, rng: random.Random) -> float:
        """How long to wait after so many failures in a row, of which the last asked for so much.

        >>> 2.0 <= Patience().after(4, None, random.Random(1)) <= 4.0
        True
        >>> Patience().after(1, 90.0, random.Random(1))
        90.0
        """
        # The doubling is cut off where any wait is longer than the longest.
        own: float = min(self.longest_s, self.first_s * 2.0 ** min(failures - 1, 60)) * rng.uniform(0.5, 1.0)
        return max(own, min(asked_s or 0.0, self.asked_s))


PATIENCE = Patience()


def belongs(log: EventLog, cursor: Cursor) -> None:
    """StrayCursorError where the cursor was kept for another log."""
    if is_of_another(log, cursor.position, cursor.event_id):
        raise StrayCursorError(
            f"the cursor of {cursor.collector} stands at position {cursor.position} of another log than this one, "
            f"which ends at {log.head()}. Deliver the log it belongs to, or take away the cursors beside this one (the "
            "file ….outbox, or the table equipoise_cursors) to deliver this one from its beginning"
        )


def batches(
    log: EventLog,
    position: int,
    until: int | None,
    *,
    most: int = MOST,
    kinds: Sequence[str] | None = None,
) -> Iterator[list[Parcel]]:
    """What is in the log after a position, of some kinds, in batches that a collector may be expected to take."""
    batch: list[Parcel] = []
    size = 0
    try:
        for record in log.read_since(position, kinds=kinds):
            if until is not None and record.position > until:
                break
            each = parcel(record)
            if batch and (len(batch) == most or size + len(each.row.body) > _LARGEST):
                yield batch
                batch, size = [], 0
            batch.append(each)
            size += len(each.row.body)
    except RecordError:
        # What can be read before what cannot be goes out first.
        if batch:
            yield batch
        raise
    if batch:
        yield batch


class Sieve:
    """Posts facts so that those at fault come to light: a refused batch is halved until one fact is alone.

    It remembers how far the doubt reaches, so that a failure in the middle of a search costs one post.
    """

    def __init__(self, runner: asyncio.Runner, collector: Receiver) -> None:
        self._runner, self._collector = runner, collector
        self._doubtful = 0
        """The position up to which a fact is known to be at fault, where that is still ahead."""

    def through(
        self, batch: Sequence[Parcel]
    ) -> Iterator[tuple[Sequence[Parcel], Acknowledged | Refused | Away]]:
        """What became of each part of a batch, in order; a part that is refused is one fact alone.

        It ends after a part that nobody answered for.
        """
        while batch:
            doubtful = sum(each.position <= self._doubtful for each in batch)
            part = batch[: max(1, doubtful // 2)] if doubtful else batch
            answer = self._runner.run(self._collector.post(part))
            if isinstance(answer, Refused) and len(part) > 1:
                self._doubtful = part[-1].position
                continue
            yield part, answer
            if isinstance(answer, Away):
                return
            batch = batch[len(part) :]


def found(log: EventLog, wanted: Sequence[Quarantined]) -> Iterator[Parcel]:
    """Those of the facts that the log still has, by their positions."""
    records: Iterator[Recorded] = iter(())
    record: Recorded | None = None
    for each in wanted:
        if record is None or each.position - record.position > _NEAR:
            records = log.read_since(each.position - 1)
            record = next(records, None)
        while record is not None and record.position < each.position:
            record = next(records, None)
        if record is not None and record.position == each.position:
            if record.fact.event_id != each.event_id:
                raise StrayCursorError(
                    f"position {each.position} of this log holds another fact than the one that {each.collector} "
                    "refused: the quarantine belongs to another log"
                )
            yield parcel(record)


def unavailable(collector: str, away: Away, tried: int) -> UpstreamError:
    """The error for a collector that is not waited for any longer."""
    asked = "" if away.wait_s is None else f" and asks to wait {away.wait_s:.0f} s"
    times = "once" if tried == 1 else f"{tried} times"
    return UpstreamError(
        f"{collector} {away.reason}{asked}, asked {times}; what it has not acknowledged is delivered the next time"
    )
