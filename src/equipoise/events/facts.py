"""The facts: what can happen in the life of an experiment, each a small frozen value.

Every fact has an `event_id` that makes re-delivery harmless and the time it happened (seconds since
1970 UTC). The log adds the time it arrived.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, ClassVar

import orjson

from equipoise.errors import RecordError, UsageError
from equipoise.events.ids import new_id

__all__ = [
    "Decision",
    "Exposure",
    "Fact",
    "Gate",
    "Look",
    "Outcome",
    "Registration",
    "Score",
    "Transition",
    "Turn",
    "decode",
    "encode",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Fact:
    """What every fact has: an identity, an experiment's name and the time it happened."""

    kind: ClassVar[str] = "fact"

    experiment: str
    happened: float
    event_id: str = field(default_factory=new_id)


@dataclass(frozen=True, slots=True, kw_only=True)
class Registration(Fact):
    """A definition was frozen: its digest, its canonical form, the plan, and why it may go on."""

    kind: ClassVar[str] = "registration"

    digest: str
    definition: Mapping[str, Any]
    plan: Mapping[str, Any]
    by: str
    reason: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Gate(Fact):
    """The offline gate's decision for a digest: pass, fail, inconclusive or invalid, with evidence."""

    kind: ClassVar[str] = "gate"

    digest: str
    decision: str
    evidence: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Transition(Fact):
    """The experiment moved from one stage to another: who, why, on what evidence."""

    kind: ClassVar[str] = "transition"

    digest: str
    origin: str
    stage: str
    by: str
    reason: str | None = None
    evidence: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Exposure(Fact):
    """A unit was served its variant, with the probability it had and why it got it."""

    kind: ClassVar[str] = "exposure"

    digest: str
    unit: str
    unit_type: str
    variant: str
    probability: float
    reason: str
    epoch: int = 0
    hash_version: int = 1
    attributes: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn(Fact):
    """One call and its answer; what was not measured is absent (None), not zero."""

    kind: ClassVar[str] = "turn"

    unit: str
    latency_s: float | None = None
    ttft_s: float | None = None
    input_tokens: int | None = None
    output_tokens: int | None = None
    cost_usd: float | None = None
    safe: bool | None = None
    error: bool | None = None
    empty: bool | None = None
    model: str | None = None
    sent_digest: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome(Fact):
    """What became of a unit: a named value (true or false, or a number)."""

    kind: ClassVar[str] = "outcome"

    unit: str
    name: str
    value: float | bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Score(Fact):
    """What an evaluator said of a turn, with its identity; `value` is None where it gave none, and why."""

    kind: ClassVar[str] = "score"

    unit: str
    name: str
    value: float | None = None
    evaluator: str
    why_not: str | None = None
    probability: float = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Look(Fact):
    """A registered interim analysis: its information fraction, its boundary, what it saw."""

    kind: ClassVar[str] = "look"

    digest: str
    number: int
    fraction: float
    boundary: float
    statistic: float | None = None
    final: bool
    evidence: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision(Fact):
    """The verdict after a look."""

    kind: ClassVar[str] = "decision"

    digest: str
    look: str
    verdict: str
    because: str
    arm: str | None = None


_KINDS: dict[str, type[Fact]] = {
    each.kind: each
    for each in (Registration, Gate, Transition, Exposure, Turn, Outcome, Score, Look, Decision)
}
_FIELDS = {kind: tuple(entry.name for entry in fields(each)) for kind, each in _KINDS.items()}
_UNSAID = {
    kind: {entry.name: None for entry in fields(each) if str(entry.type).endswith("| None")}
    for kind, each in _KINDS.items()
}
"""What is None in a fact and therefore absent from its body."""
_COLUMNS = {"experiment", "happened", "event_id"}


def encode(fact: Fact) -> bytes:
    """The body of a fact as JSON: everything but what the log keeps in columns; None is left out.

    Raises UsageError for what JSON cannot hold and give back: NaN and infinity would come back as
    "not measured", which is something else.
    """
    body = {
        name: value
        for name in _FIELDS[fact.kind]
        if name not in _COLUMNS and (value := getattr(fact, name)) is not None
    }
    try:
        # Columns are text and a time; encoding them here refuses the same things in every log.
        orjson.dumps([fact.event_id, fact.experiment])
        if not all(map(_finite, (fact.happened, *body.values()))):
            raise TypeError("a number in it is not finite")
        return orjson.dumps(body, default=_plain)
    except TypeError as error:
        raise UsageError(f"this {fact.kind} cannot be kept: {error}") from None


def _finite(value: Any) -> bool:
    if isinstance(value, float):
        return math.isfinite(value)
    if isinstance(value, Mapping):
        return all(map(_finite, value.values()))
    return all(map(_finite, value)) if isinstance(value, list | tuple) else True


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return dict(value)
    raise TypeError(f"{type(value).__name__} cannot be part of a fact")


def decode(kind: str, *, event_id: str, experiment: str, happened: float, body: bytes | str) -> Fact:
    """The fact as it was; fields that this version does not know are ignored, unknown kinds refused.

    >>> fact = Outcome(experiment="e", happened=1.0, unit="u", name="resolved", value=True)
    >>> decode("outcome", event_id=fact.event_id, experiment="e", happened=1.0, body=encode(fact)) == fact
    True
    """
    if kind not in _KINDS:
        raise RecordError(
            f"event {event_id} is a '{kind}', which this version cannot read; "
            f"it reads {', '.join(sorted(_KINDS))}. Use the version that wrote it, or a later one"
        )
    try:
        values = {key: value for key, value in orjson.loads(body).items() if key in _FIELDS[kind]}
        values = _UNSAID[kind] | values
        return _KINDS[kind](event_id=event_id, experiment=experiment, happened=happened, **values)
    except (orjson.JSONDecodeError, TypeError, AttributeError) as error:
        raise RecordError(f"event {event_id} ({kind}) is damaged: {error}") from None
