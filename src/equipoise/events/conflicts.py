"""An event that came again under its id as somebody else's: the first is kept, and the other is told of."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import orjson

from equipoise.events.facts import Conflict, Encoded, encoded

__all__ = ["Kept", "conflicts"]

_IDENTITY: Mapping[str, Sequence[str]] = {
    "exposure": ("unit", "digest", "variant"),
    "impression": ("unit", "digest", "query"),
    "turn": ("unit", "trace", "variant"),
    "shadow": ("unit", "trace", "variant"),
    "outcome": ("unit", "name", "trace"),
    "score": ("unit", "name", "evaluator"),
    "label": ("unit", "name", "rater", "item"),
}
"""What makes an event this one and no other, beside its kind and its experiment. All else may be told anew: an
exposure that is logged again, a value that a client rounds otherwise."""


class Kept(NamedTuple):
    """What a log holds under an id."""

    kind: str
    experiment: str
    body: bytes


def conflicts(kept: Mapping[str, Kept], given: Iterable[Encoded]) -> list[Encoded]:
    """For each event given that has the id of another one, the fact that says so, in their order and once each.

    Its id follows from what was given, so that the same event delivered once more is no further conflict.

    >>> from .facts import Outcome
    >>> one = encoded(Outcome(experiment="e", happened=1.0, unit="u1", name="n", value=1, event_id="x"))
    >>> two = encoded(Outcome(experiment="e", happened=1.0, unit="u2", name="n", value=1, event_id="x"))
    >>> [found.kind for found in conflicts({"x": Kept(one.kind, one.experiment, one.body)}, [one, two, two])]
    ['conflict']
    """
    found: dict[str, Encoded] = {}
    for row in given:
        first = kept.get(row.event_id)
        if first is None or row.kind == Conflict.kind:
            continue
        mine, other = _identity(row.kind, row.experiment, row.body), _identity(*first)
        differs = sorted(name for name in mine.keys() | other.keys() if mine.get(name) != other.get(name))
        if differs:
            told = hashlib.blake2b(orjson.dumps([row.event_id, sorted(mine.items())]), digest_size=16)
            conflict = Conflict(
                experiment=row.experiment,
                happened=row.happened,
                event_id=f"conflict-{told.hexdigest()}",
                of=row.event_id,
                differs=", ".join(differs),
            )
            found.setdefault(conflict.event_id, encoded(conflict))
    return list(found.values())


def _identity(kind: str, experiment: str, body: bytes) -> dict[str, object]:
    try:
        said = orjson.loads(body)
    except orjson.JSONDecodeError:
        said = {}
    told = {name: said.get(name) for name in _IDENTITY.get(kind, ())} if isinstance(said, dict) else {}
    return {"kind": kind, "experiment": experiment} | told
