"""Purge: a unit's facts and texts leave the record for good, wherever it is; that so many are gone is recorded."""

from __future__ import annotations

from dataclasses import dataclass

from equipoise.clock import Clock
from equipoise.errors import UsageError
from equipoise.events.opening import in_database, open_texts
from equipoise.events.purged import Purged
from equipoise.events.texts import NoTextsError

__all__ = ["PurgedUnit", "purge_unit"]


@dataclass(frozen=True, slots=True)
class PurgedUnit:
    """What was purged of a unit: its facts, and how many texts."""

    facts: Purged
    texts: int


def purge_unit(
    where: str, unit: str, *, by: str, reason: str | None = None, clock: Clock | None = None
) -> PurgedUnit:
    """Take every fact and every text of a unit out of the log at a path or at `postgresql://…`.

    Texts go first: a purge that was killed and is repeated finds whom they are of by the same name. Raises UsageError
    for a log in memory, which is gone with its process; RecordError where there is no log, or where it cannot be
    written; MissingExtraError without the extra that the log needs (`analysis` for a file, `postgres`).
    """
    if where == "memory:":
        raise UsageError("a log in memory is gone with its process; name the log with --log")
    texts = _texts(where, unit)
    if in_database(where):
        from equipoise.events.postgres import PostgresLog

        log = PostgresLog(where, create=False, clock=clock)
        try:
            return PurgedUnit(log.purge(unit, by=by, reason=reason), texts)
        finally:
            log.close()
    from equipoise.events.cold import purging

    return PurgedUnit(purging.purge(where, unit, by=by, reason=reason, clock=clock), texts)


def _texts(where: str, unit: str) -> int:
    try:
        store = open_texts(where, create=False)
    except NoTextsError:
        return 0
    try:
        return store.purge(unit)
    finally:
        store.close()
