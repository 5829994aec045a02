"""Prompt and answer text: a stream of its own beside the log, with its own retention, redacted before it comes here.

A text belongs to a turn (or a shadow) and is named by that fact's `event_id`. The unit stands here as a digest alone.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Any, Protocol

import orjson

from equipoise.errors import RecordError

__all__ = [
    "FORMAT",
    "NoTextsError",
    "Said",
    "Text",
    "TextStore",
    "ToolCall",
    "packed",
    "unit_digest",
    "unpacked",
]

FORMAT = 1
_LEVEL = 6
_LARGEST = 16 * 1024 * 1024
"""Bytes that a text may unpack to: more than any that was packed."""


@dataclass(frozen=True, slots=True)
class Said:
    """One message of a request: who said it, and what."""

    role: str
    text: str


@dataclass(frozen=True, slots=True)
class ToolCall:
    """A tool that the answer calls, with its arguments as JSON."""

    name: str
    arguments: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Text:
    """What was asked and answered in one turn, as it is kept.

    `event_id` is that of the turn's fact, `kind` its kind (`turn` or `shadow`). `probability` is that with which the
    turn was drawn, in (0, 1]. `happened` and `expires` are seconds since 1970 UTC. `request` is what the model was sent,
    without the `context` that was retrieved for it, which stands apart. `others` are further choices of the answer.
    `blocked` says that an inline check stopped it: `answer` is then what the client was given. `omitted` counts
    messages that were left out, `cut` texts that are shorter here than they were; `redacted` counts what was taken out, by
    kind.

    >>> text = Text(event_id="1", kind="turn", experiment="bot", digest="d", variant="control", trace="t", unit="u",
    ...             happened=1.0, expires=2.0, probability=0.05, request=(Said("user", "Hi"),), answer="Hello")
    >>> unpacked(packed(text), text.event_id) == text
    True
    """

    event_id: str
    kind: str
    experiment: str
    digest: str
    variant: str | None
    trace: str
    unit: str | None
    happened: float
    expires: float
    probability: float
    request: tuple[Said, ...] = ()
    context: tuple[str, ...] = ()
    answer: str = ""
    others: tuple[str, ...] = ()
    tools: tuple[ToolCall, ...] = ()
    blocked: bool = False
    omitted: int = 0
    cut: int = 0
    redacted: Mapping[str, int] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON."""
        return {
            "event_id": self.event_id,
            "kind": self.kind,
            "experiment": self.experiment,
            "digest": self.digest,
            "variant": self.variant,
            "trace": self.trace,
            "unit": self.unit,
            "happened": self.happened,
            "expires": self.expires,
            "probability": self.probability,
            "request": [{"role": each.role, "text": each.text} for each in self.request],
            "context": list(self.context),
            "answer": self.answer,
            "others": list(self.others),
            "tools": [{"name": each.name, "arguments": each.arguments} for each in self.tools],
            "blocked": self.blocked,
            "omitted": self.omitted,
            "cut": self.cut,
            "redacted": dict(self.redacted),
        }


class NoTextsError(RecordError):
    """Beside this log no text was ever kept."""


class TextStore(Protocol):
    """Keeps texts until they expire. What has expired is not given out, whether or not it was removed yet."""

    def keep(self, texts: Sequence[Text]) -> None:
        """Keep the texts, all or none; one whose id is there already is passed over."""
        ...

    def of_traces(self, traces: Sequence[str], *, now: float) -> tuple[Text, ...]:
        """The texts of these traces, in the order in which they happened."""
        ...

    def turns(self, experiment: str, digest: str, *, now: float) -> tuple[tuple[str, str | None], ...]:
        """The ids of the turns of one revision that have texts, each with its variant."""
        ...

    def named(self, event_ids: Sequence[str], *, now: float) -> tuple[Text, ...]:
        """The texts of these facts, in the order in which they happened."""
        ...

    def expire(self, now: float) -> int:
        """Remove what has expired, and its bytes; how many texts that were."""
        ...

    def purge(self, unit: str) -> int:
        """Remove every text of a unit, named as the log names it, and its bytes; how many texts that were."""
        ...

    def close(self) -> None: ...


def unit_digest(unit: str) -> str:
    """What stands for a unit among the texts: 128 bits of BLAKE2b, in hexadecimal.

    >>> unit_digest("jo@example.org")
    '245800867c82dc3257d97d05e6dda549'
    """
    return blake2b(unit.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()


def packed(text: Text) -> bytes:
    """A text as a store keeps it: its JSON, deflated."""
    return zlib.compress(orjson.dumps(text.to_dict()), _LEVEL)


def unpacked(data: bytes, event_id: str) -> Text:
    """The text as it was; fields that this version does not know are ignored. RecordError where it is damaged."""
    try:
        opening = zlib.decompressobj()
        said = orjson.loads(opening.decompress(data, _LARGEST))
        return Text(
            request=tuple(Said(each["role"], each["text"]) for each in said["request"]),
            context=tuple(said["context"]),
            others=tuple(said["others"]),
            tools=tuple(ToolCall(each["name"], each["arguments"]) for each in said["tools"]),
            **{name: said[name] for name in _PLAIN},
        )
    except (zlib.error, orjson.JSONDecodeError, KeyError, TypeError) as error:
        raise RecordError(f"the text of event {event_id} is damaged: {error}") from None


_PLAIN = (
    "event_id", "kind", "experiment", "digest", "variant", "trace", "unit", "happened", "expires", "probability",
    "answer", "blocked", "omitted", "cut", "redacted",
)  # fmt: skip
