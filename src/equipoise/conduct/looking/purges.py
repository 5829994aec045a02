"""What a look lacks because a unit was purged: told apart from what was changed behind it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from equipoise.events.facts import Purge
from equipoise.events.log import EventLog

__all__ = ["Purges", "purges_since"]


@dataclass(frozen=True, slots=True)
class Purges:
    """The purges that took facts from before a position, recorded after it.

    A purge is of one unit; a unit that was purged again, with what came of it meanwhile, counts again.
    """

    until: int
    records: Sequence[Purge]

    def __bool__(self) -> bool:
        return bool(self.records)

    def account_for(self, recorded: Mapping[str, Any], found: Mapping[str, Any]) -> bool:
        """Whether the facts that a look read and that are not there now can be those that were purged.

        Both are facts by kind, as a look keeps them. Purged facts from up to the position are missing, all of them;
        of a unit that went on after it some may be.
        """
        least, most = Counter[str](), Counter[str]()
        for each in self.records:
            most.update(each.facts)
            if each.last is not None and each.last <= self.until:
                least.update(each.facts)
        missing = {kind: recorded[kind] - found.get(kind, 0) for kind in recorded if kind != "sha256"}
        return all(least[kind] <= count <= most[kind] for kind, count in missing.items())

    def __str__(self) -> str:
        count = len(self.records)
        return f"purged: {count:,} unit{'' if count == 1 else 's'}"


def purges_since(log: EventLog, name: str, until: int) -> Purges:
    """The purges of an experiment's facts that a look which read up to a position did not know of."""
    # None: a record of a purge that does not say where its facts were may be of any.
    return Purges(
        until,
        tuple(
            record.fact
            for record in log.read_since(until, experiment=name, kinds=("purge",))
            if isinstance(record.fact, Purge) and (record.fact.first is None or record.fact.first <= until)
        ),
    )
