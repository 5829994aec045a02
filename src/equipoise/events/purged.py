"""What a purge leaves behind: a count of what went, by experiment, and not whose it was."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from operator import attrgetter
from typing import NamedTuple

from equipoise.events.facts import Purge

__all__ = ["Gone", "Purged", "tombs"]


@dataclass(frozen=True, slots=True)
class Purged:
    """What a purge did: facts taken out, the experiments they were of, segments written anew.

    `unclean` is None, or says why bytes of the unit may still be where the log is.
    """

    facts: int
    experiments: tuple[str, ...]
    segments: int
    unclean: str | None


class Gone(NamedTuple):
    """A fact that is taken out, as far as it is counted."""

    position: int
    experiment: str
    kind: str
    event_id: str


def tombs(gone: Iterable[Gone], *, by: str, reason: str | None, now: float) -> list[Purge]:
    """The records of a purge, one for each experiment that lost facts (`now` in seconds since 1970 UTC).

    >>> [tomb] = tombs([Gone(7, "e", "turn", "b"), Gone(3, "e", "turn", "a")], by="ann", reason=None, now=1.0)
    >>> tomb.facts, tomb.first, tomb.last
    ({'turn': 2}, 3, 7)
    """
    ordered = sorted(gone, key=attrgetter("position"))
    found = []
    for experiment in sorted({fact.experiment for fact in ordered}):
        own = [fact for fact in ordered if fact.experiment == experiment]
        found.append(
            Purge(
                experiment=experiment,
                happened=now,
                facts=dict(sorted(Counter(fact.kind for fact in own).items())),
                by=by,
                reason=reason,
                first=own[0].position,
                last=own[-1].position,
            )
        )
    return found
