"""The facts: what can happen in the life of an experiment, each a small frozen value.

Every fact has an `event_id` that makes re-delivery harmless and the time it happened (seconds since
1970 UTC). The log adds the time it arrived. What others may tell has an optional `source`: who told it, None for
our own gateway and for a Router that was given no name.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from types import MappingProxyType
from typing import Any, ClassVar, NamedTuple

import orjson

from equipoise.errors import RecordError, UsageError
from equipoise.events.ids import new_id
from equipoise.events.lists import check_list

__all__ = [
    "KINDS",
    "Alert",
    "Allocation",
    "Conflict",
    "Decision",
    "Encoded",
    "Exposure",
    "Fact",
    "Gate",
    "Impression",
    "Label",
    "Look",
    "Loss",
    "Outcome",
    "Purge",
    "Registration",
    "Score",
    "Shadow",
    "Transition",
    "Turn",
    "compact",
    "decode",
    "encode",
    "encoded",
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
    """The experiment moved from one stage to another, or its service changed: who, why, on what evidence.

    `service` is `open`, `paused` (nobody new enters) or `redirected` (everyone is served control); None
    leaves it as it was. `variant` is the arm that ships.
    """

    kind: ClassVar[str] = "transition"

    digest: str
    origin: str
    stage: str
    by: str
    reason: str | None = None
    evidence: Mapping[str, Any] = field(default_factory=dict)
    service: str | None = None
    variant: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Allocation(Fact):
    """An epoch of the allocation log: from `starts` (seconds since 1970 UTC) on, who enters gets these shares.

    `shares` and `coverage` are exact fractions as text. A unit keeps the epoch in which it entered. `evidence` is what
    a bandit made the shares of: what was known of each arm, and the probability with which it is best and is played.
    """

    kind: ClassVar[str] = "allocation"

    digest: str
    epoch: int
    starts: float
    shares: Mapping[str, str]
    coverage: str
    by: str
    reason: str | None = None
    evidence: Mapping[str, Any] | None = None


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
    source: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Impression(Fact):
    """A unit was shown one list of several rankers' items: the exposure of an interleaved experiment, a query at a time.

    `query` names the list; what was asked is said nowhere. `teams` has for each of the `items` the ranker that gave it,
    None where it counts for nobody; `short` names the rankers that had nothing left to give. `shares`, of a
    probabilistic list, are for each ranker the chances that it gave each item, and `ranks`, of a balanced one, the places
    of the items in each ranker's own list, from 1. TypeError for a list that no read-out could make anything of.
    """

    kind: ClassVar[str] = "impression"

    digest: str
    unit: str
    unit_type: str
    query: str
    scheme: str
    items: Sequence[str]
    teams: Sequence[str | None]
    short: Sequence[str] | None = None
    shares: Mapping[str, Sequence[float]] | None = None
    ranks: Mapping[str, Sequence[int | None]] | None = None
    epoch: int = 0
    hash_version: int = 1
    attributes: Mapping[str, str] = field(default_factory=dict)
    source: str | None = None

    def __post_init__(self) -> None:
        check_list(self.query, self.items, self.teams, self.short, self.shares, self.ranks)


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn(Fact):
    """One call and its answer; what was not measured is absent (None), not zero.

    Times are in seconds: `latency_s` from the request to the end of the reply, `ttft_s` to the first token of
    content, `tpot_s` per token after it, `itl_s` (mean) and `itl_…_s` between neighbouring pieces of content,
    `overhead_s` what the gateway itself took. `variant` is the arm the unit belongs to, or None with the
    `reason` why it belongs to none; `redirected` says that it was served control all the same, `fallback` that
    another model answered. `json_valid` is known where JSON was asked for. `cancelled` turns and those cut by a
    timeout are right-censored. `checks` holds `passed`, `failed` or `skipped` for each inline check. `sampled` is the
    probability with which the turn was drawn to have its text kept, where it was drawn. `member` is who of a cluster it was,
    where clusters are randomised and the definition says how members are named.
    """

    kind: ClassVar[str] = "turn"

    unit: str | None = None
    digest: str | None = None
    variant: str | None = None
    epoch: int | None = None
    reason: str | None = None
    trace: str | None = None
    latency_s: float | None = None
    ttft_s: float | None = None
    tpot_s: float | None = None
    itl_s: float | None = None
    itl_p50_s: float | None = None
    itl_p95_s: float | None = None
    itl_max_s: float | None = None
    overhead_s: float | None = None
    input_tokens: int | None = None
    output_tokens: int | None = None
    cached_tokens: int | None = None
    cost_usd: float | None = None
    safe: bool | None = None
    error: bool | None = None
    empty: bool | None = None
    json_valid: bool | None = None
    blocked: bool | None = None
    cancelled: bool | None = None
    redirected: bool | None = None
    fallback: bool | None = None
    retries: int | None = None
    warm: bool | None = None
    stream: bool | None = None
    status: int | None = None
    finish_reason: str | None = None
    tool_calls: int | None = None
    retrieved_documents: int | None = None
    retrieved_tokens: int | None = None
    model: str | None = None
    fingerprint: str | None = None
    sent_digest: str | None = None
    checks: Mapping[str, str] | None = None
    source: str | None = None
    sampled: float | None = None
    member: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Shadow(Turn):
    """A call that nobody saw: what `variant` would have answered to the turn of the same `trace`.

    `of` is the event id of that turn: a trace may have several.
    """

    kind: ClassVar[str] = "shadow"

    of: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Loss(Fact):
    """What could not be kept while the log was away, told when it was back: how many facts of which kind.

    A lost `exposure` is a unit that was served unenrolled, a request at a time.
    """

    kind: ClassVar[str] = "loss"

    since: float
    facts: Mapping[str, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Conflict(Fact):
    """An event came under the id `of` of one that the log holds, and is another one: the first was kept.

    `differs` names what tells them apart (such as "unit" or "kind, name"). `happened` is the later one's.
    """

    kind: ClassVar[str] = "conflict"

    of: str
    differs: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome(Fact):
    """What became of a unit: a named value (true or false, or a number), or words about it (`comment`).

    `trace` names the turn it is about, where it is about one; of an interleaved list, `query` and `item` name the list
    and what in it was clicked.
    """

    kind: ClassVar[str] = "outcome"

    unit: str
    name: str
    value: float | bool
    trace: str | None = None
    comment: str | None = None
    source: str | None = None
    query: str | None = None
    item: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Score(Fact):
    """What an evaluator said of a turn, with its identity; `value` is None where it gave none, and why.

    `trace` is the turn, `probability` the one with which it was drawn to be scored. `evaluator` names the evaluator as
    it was configured: two scores with the same are readings of one instrument. `configuration` is that configuration
    in full, `because` the reason it gave, `cost_usd` what asking it cost.
    """

    kind: ClassVar[str] = "score"

    unit: str
    name: str
    value: float | None = None
    evaluator: str
    why_not: str | None = None
    probability: float = 1.0
    source: str | None = None
    trace: str | None = None
    configuration: Mapping[str, Any] | None = None
    because: str | None = None
    cost_usd: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Label(Fact):
    """What a person said of a turn, or of an arena's case: how good it is (`value`), or which of two is better.

    `name` is what was asked: the score it grades, `preference` (1 `variant` is better, 0.5 neither, 0 control is) or
    `thumbs` (1 up, 0 down). `value` is None where the rater passed. `item` is what was shown: the `trace` of a turn, or
    the id of a case; `first` the variant shown first of two. `draw` says what drew the item (`audit`: at random, with
    this `probability`; `disagreement`: where judge and outcome disagree, which says nothing of the rest). `seconds` is
    the time from showing to answer. A label that takes another's place, or takes it back (`value` None), names it in
    `replaces`. `digest` is the revision it was given under, `shown` a digest of the texts that were shown: labels of a
    case say nothing of other answers to it.
    """

    kind: ClassVar[str] = "label"

    name: str
    rater: str
    item: str
    value: float | None = None
    unit: str | None = None
    trace: str | None = None
    variant: str | None = None
    first: str | None = None
    draw: str = "audit"
    probability: float = 1.0
    seconds: float | None = None
    comment: str | None = None
    replaces: str | None = None
    digest: str | None = None
    shown: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Alert(Fact):
    """A watch's window was breached: which watch (its number in the definition), in which arm, and what was due on it.

    `action` is what was carried out: `alert` or `review` (someone is told), `pause` or `rollback` (and the transition
    says so). `sustained` says that so many windows in a row were breached as the watch asks for. `ends` is the end of
    the window (seconds since 1970 UTC), `value` and `limit` are on the metric's own scale.
    """

    kind: ClassVar[str] = "alert"

    digest: str
    watch: int
    metric: str
    variant: str
    action: str
    sustained: bool
    ends: float
    streak: int
    value: float
    limit: float
    says: str


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


@dataclass(frozen=True, slots=True, kw_only=True)
class Purge(Fact):
    """A unit was taken out of the record for good: by whom and why, and how many facts of which kind.

    `first` and `last` are the positions in the log of the first and the last of them. Which unit it was is said
    nowhere.
    """

    kind: ClassVar[str] = "purge"

    facts: Mapping[str, int]
    by: str
    reason: str | None = None
    first: int | None = None
    last: int | None = None


_KINDS: dict[str, type[Fact]] = {
    each.kind: each
    for each in (
        Registration,
        Gate,
        Transition,
        Allocation,
        Exposure,
        Impression,
        Turn,
        Shadow,
        Loss,
        Conflict,
        Outcome,
        Score,
        Label,
        Alert,
        Look,
        Decision,
        Purge,
    )
}
KINDS = tuple(_KINDS)
"""The kinds of facts that this version writes and reads."""
_FIELDS = {kind: tuple(entry.name for entry in fields(each)) for kind, each in _KINDS.items()}
_UNSAID = {
    kind: {entry.name: None for entry in fields(each) if str(entry.type).endswith("| None")}
    for kind, each in _KINDS.items()
}
"""What is None in a fact and therefore absent from its body."""
_COLUMNS = {"experiment", "happened", "event_id"}
_BODY = {kind: tuple(name for name in names if name not in _COLUMNS) for kind, names in _FIELDS.items()}
_WITHIN = (float, dict, list, tuple, MappingProxyType)
"""What may hold a number that is not finite."""
_LONGEST = 600


def encode(fact: Fact) -> bytes:
    """The body of a fact as JSON: everything but what the log keeps in columns; None is left out.

    Raises UsageError for what JSON cannot hold and give back: NaN and infinity would come back as
    "not measured", which is something else.
    """
    body = {name: value for name in _BODY[fact.kind] if (value := getattr(fact, name)) is not None}
    try:
        # Columns are text and a time; encoding them here refuses the same things in every log.
        orjson.dumps([fact.event_id, fact.experiment])
        # An index of PostgreSQL takes no longer text and no NUL: no log does, so that each may follow another.
        if any(len(text) > _LONGEST or "\0" in text for text in (fact.event_id, fact.experiment)):
            raise TypeError(
                f"its id and its experiment have at most {_LONGEST} characters, and none of them is NUL"
            )
        if not math.isfinite(fact.happened):
            raise TypeError("a number in it is not finite")
        for value in body.values():
            if type(value) in _WITHIN and not _finite(value):
                raise TypeError("a number in it is not finite")
        return compact(body)
    except TypeError as error:
        raise UsageError(f"this {fact.kind} cannot be kept: {error}") from None


class Encoded(NamedTuple):
    """A fact as a log keeps it, made once and checked: what `append` takes beside facts."""

    event_id: str
    kind: str
    experiment: str
    happened: float
    body: bytes


def encoded(fact: Fact | Encoded) -> Encoded:
    """A fact made ready to be kept; UsageError for one that no log can keep."""
    if isinstance(fact, Encoded):
        return fact
    return Encoded(fact.event_id, fact.kind, fact.experiment, float(fact.happened), encode(fact))


def _finite(value: Any) -> bool:
    if isinstance(value, float):
        return math.isfinite(value)
    if isinstance(value, Mapping):
        return all(map(_finite, value.values()))
    return all(map(_finite, value)) if isinstance(value, list | tuple) else True


def compact(body: Mapping[str, Any]) -> bytes:
    """JSON in as many bytes as it has: orjson leaves the room it worked in (some 8 KiB) with what it returns."""
    return bytes(memoryview(orjson.dumps(body, default=_plain)))


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
