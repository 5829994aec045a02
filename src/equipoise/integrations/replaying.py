"""Sending what a collector refused once more."""

from __future__ import annotations

import asyncio
import random
import time
from dataclasses import dataclass

from equipoise.events.cursors import Cursors
from equipoise.events.log import EventLog
from equipoise.integrations.batches import PATIENCE, Patience, Sieve, belongs, found, unavailable
from equipoise.integrations.collectors import Away, Receiver, Refused
from equipoise.integrations.parcels import Parcel

__all__ = ["Replayed", "replay"]


@dataclass(slots=True)
class Replayed:
    """What one call of `replay` did: facts taken at last, facts refused again, facts the log has no more."""

    replayed: int = 0
    refused: int = 0
    gone: int = 0


def replay(
    log: EventLog,
    cursors: Cursors,
    collector: Receiver,
    *,
    rng: random.Random,
    patience: Patience = PATIENCE,
) -> Replayed:
    """Send what is in quarantine again, in the order of the log, beside whatever delivers meanwhile.

    What the collector takes leaves the quarantine; what it refuses stays, with the newest reason; what the log has
    no more leaves it and is counted as gone. UpstreamError where the collector cannot be reached;
    StrayCursorError where the quarantine belongs to another log.
    """
    name = collector.name
    done = Replayed()
    waiting = cursors.quarantine(name)
    for cursor in cursors.all():
        if cursor.collector == name:
            belongs(log, cursor)
    with asyncio.Runner() as runner:
        try:
            for start in range(0, len(waiting), collector.most):
                some = waiting[start : start + collector.most]
                here = list(found(log, some))
                present = {each.position for each in here}
                done.gone += cursors.gone(
                    name, [each.position for each in some if each.position not in present]
                )
                _replay_batch(Sieve(runner, collector), cursors, collector, here, done, rng, patience)
        finally:
            runner.run(collector.aclose())
    return done


def _replay_batch(
    sieve: Sieve,
    cursors: Cursors,
    collector: Receiver,
    batch: list[Parcel],
    done: Replayed,
    rng: random.Random,
    patience: Patience,
) -> None:
    failures = 0
    while batch:
        for part, answer in sieve.through(batch):
            if isinstance(answer, Away):
                failures += 1
                wait = patience.after(failures, answer.wait_s, rng)
                if failures >= patience.tries or wait > patience.longest_s:
                    raise unavailable(collector.name, answer, failures)
                time.sleep(wait)
                break
            failures = 0
            if isinstance(answer, Refused):
                cursors.refused_again(collector.name, part[0].position, answer.status, answer.reason)
                done.refused += 1
            else:
                done.replayed += cursors.replayed(collector.name, [each.position for each in part])
            batch = batch[len(part) :]
