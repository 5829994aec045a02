"""The log as JSON lines, for whatever reads those: a fact each, in the order of positions."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict

from equipoise.events.facts import compact
from equipoise.events.log import EventLog

__all__ = ["json_lines"]


def json_lines(
    log: EventLog, *, experiment: str | None = None, kinds: Sequence[str] | None = None
) -> Iterator[bytes]:
    """Each fact as one line of JSON (UTF-8, with its line feed); what was not said is left out.

    A line has `position`, `received` and `happened` (seconds since 1970 UTC), `kind`, `event_id`, `experiment`, and
    the fields of its kind. Raises RecordError where the log cannot be read.

    >>> from equipoise.events.facts import Outcome
    >>> from equipoise.events.log import MemoryLog
    >>> from equipoise.clock import ManualClock
    >>> log = MemoryLog(ManualClock(2.0))
    >>> _ = log.append([Outcome(experiment="e", happened=1.0, event_id="a", unit="u", name="solved", value=True)])
    >>> next(json_lines(log))[:56]
    b'{"position":1,"received":2.0,"kind":"outcome","event_id"'
    """
    for record in log.read_since(0, experiment=experiment, kinds=kinds):
        fact = record.fact
        said = {name: value for name, value in asdict(fact).items() if value is not None}
        head = {"position": record.position, "received": record.received, "kind": fact.kind}
        order = {name: said.pop(name) for name in ("event_id", "experiment", "happened")}
        yield compact(head | order | said) + b"\n"
