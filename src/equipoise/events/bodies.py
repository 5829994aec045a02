"""What a log keeps, as it keeps it: for whoever reads a million facts and wants no million objects."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Protocol, TypeAlias, runtime_checkable

from equipoise.events.facts import encode
from equipoise.events.log import EventLog

__all__ = ["Body", "BodyLog", "bodies_of"]

Body: TypeAlias = tuple[int, float, float, bytes]
"""A fact's position, when it happened and when it was received (seconds since 1970 UTC), and the rest of it as JSON."""

_PAGE = 20_000


@runtime_checkable
class BodyLog(Protocol):
    """A log that hands out bodies without making facts of them."""

    def bodies(self, experiment: str, kind: str, *, until: int) -> Iterator[Sequence[Body]]:
        """Facts of one kind up to a position, page by page, in the order of acceptance."""
        ...


def bodies_of(log: EventLog, experiment: str, kind: str, *, until: int) -> Iterator[Sequence[Body]]:
    """The bodies of one kind of fact up to a position, page by page; from any log.

    >>> from equipoise.clock import ManualClock
    >>> from equipoise.events.facts import Outcome
    >>> from equipoise.events.log import MemoryLog
    >>> log = MemoryLog(ManualClock(2.0))
    >>> _ = log.append([Outcome(experiment="e", happened=1.0, unit="u", name="resolved", value=True)])
    >>> list(bodies_of(log, "e", "outcome", until=1))
    [[(1, 1.0, 2.0, b'{"unit":"u","name":"resolved","value":true}')]]
    """
    if isinstance(log, BodyLog):
        yield from log.bodies(experiment, kind, until=until)
        return
    page: list[Body] = []
    for record in log.read_since(0, experiment=experiment, kinds=(kind,)):
        if record.position > until:
            break
        page.append((record.position, record.fact.happened, record.received, encode(record.fact)))
        if len(page) == _PAGE:
            yield page
            page = []
    if page:
        yield page
