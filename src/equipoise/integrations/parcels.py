"""Facts on their way to a collector, and the shape in which it takes them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol

import orjson

from equipoise.events.facts import Encoded, encoded
from equipoise.events.log import Recorded

__all__ = ["Form", "JsonLines", "Parcel", "parcel"]


class Parcel(NamedTuple):
    """A fact on its way: its position in the log, when it arrived there (seconds since 1970 UTC), and itself."""

    position: int
    received: float
    row: Encoded


def parcel(record: Recorded) -> Parcel:
    """A fact of the log, made ready to be sent."""
    return Parcel(record.position, record.received, encoded(record.fact))


class Form(Protocol):
    """The shape in which a kind of collector takes facts."""

    content_type: str

    def body(self, parcels: Sequence[Parcel]) -> bytes:
        """The facts as one body."""
        ...

    def rejected(self, answer: bytes) -> int | None:
        """How many of the facts an answer with status 2xx turned down; None where it is no answer of this kind."""
        ...


class JsonLines:
    """A fact a line: its id, kind, experiment, times and position, and under `fact` all the rest of it.

    >>> from equipoise.events.facts import Outcome
    >>> fact = Outcome(event_id="1", experiment="e", happened=1.0, unit="u", name="resolved", value=True)
    >>> print(JsonLines().body([parcel(Recorded(7, 2.0, fact))]).decode(), end="")
    {"event_id":"1","kind":"outcome","experiment":"e","happened":1.0,"received":2.0,"position":7,\
"fact":{"unit":"u","name":"resolved","value":true}}
    """

    content_type = "application/x-ndjson"

    def body(self, parcels: Sequence[Parcel]) -> bytes:
        return b"".join(
            orjson.dumps(
                {
                    "event_id": row.event_id,
                    "kind": row.kind,
                    "experiment": row.experiment,
                    "happened": row.happened,
                    "received": received,
                    "position": position,
                    "fact": orjson.Fragment(row.body),
                },
                option=orjson.OPT_APPEND_NEWLINE,
            )
            for position, received, row in parcels
        )

    def rejected(self, answer: bytes) -> int | None:  # noqa: ARG002 - the status says it all
        return 0
