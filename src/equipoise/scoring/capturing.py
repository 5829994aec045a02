"""The text of a turn on its way to be kept: drawn at the turn, then read and redacted in another thread."""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Self

from equipoise.events.text_writer import TextWriter
from equipoise.events.texts import Said, Text, ToolCall, unit_digest
from equipoise.experiment.definition import Experiment
from equipoise.providers.hearing import Heard, Wire
from equipoise.scoring.redacting import Redactor, kinds_of

__all__ = ["Answered", "Asked", "Capturing", "capturing"]

_MOST_MESSAGES = 200
_MOST_PIECES = 64
"""Choices of an answer, and tools that it calls."""
_MOST_CHARACTERS = 262_144
"""Of all texts of a request together; what was said last goes first."""
_CONTEXT = "context"
_FOUND = ("tool", "function", "function_call_output")
"""Whose messages are what was looked up, and not what anybody said."""
_LONGEST_NAME = 200
_LONGEST_WORD = 40


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """A turn's fact, by its id and what is known of it, and the body that the model was sent.

    `happened` is in seconds since 1970 UTC, `probability` that with which the turn was drawn.
    """

    event_id: str
    kind: str
    variant: str | None
    trace: str
    unit: str | None
    happened: float
    api: Wire
    body: Mapping[str, Any]
    probability: float


@dataclass(frozen=True, slots=True)
class Answered:
    """What the client was given: the first choice, the others, and the tools that were called."""

    text: str
    others: tuple[str, ...]
    tools: tuple[tuple[str, str], ...]
    blocked: bool

    @classmethod
    def of(cls, heard: Heard | None, text: str, *, whole: bool, blocked: bool) -> Self:
        """Of an answer that is not `whole` the first choice stands alone: nobody knows what was shown of the rest."""
        if heard is None or not whole:
            return cls(text, (), (), blocked)
        _, *others = heard.choices.values()
        return cls(text, tuple(each.text for each in others), heard.called, blocked)


@dataclass(frozen=True, slots=True)
class Capturing:
    """What a definition says of the texts of its turns: how likely one is kept, without what, and how long (seconds).

    How likely may depend on an attribute (`by`); `shares` are the probabilities for those of its values that have their own.
    """

    experiment: str
    digest: str
    probability: float
    kinds: frozenset[str]
    keep_s: float
    by: str | None = None
    shares: Mapping[str, float] = field(default_factory=dict)

    def draw(self, attributes: Mapping[str, Any]) -> float | None:
        """The probability with which a turn's text was drawn to be kept, or None where it was not.

        By chance alone, whatever its variant or its answer; of its unit at most the attribute that the definition names.
        """
        probability = self.probability
        if self.by is not None and (value := attributes.get(self.by)) is not None:
            said = str(value).lower() if isinstance(value, bool) else str(value)
            probability = self.shares.get(said, probability)
        return probability if random.random() < probability else None  # noqa: S311 - a sample, not a secret

    def offer(self, texts: TextWriter, asked: Asked, answered: Answered, size: int) -> None:
        """Hand a turn's text over; `size` is about how many bytes its request has."""
        held = (
            size
            + len(answered.text)
            + sum(map(len, answered.others))
            + sum(len(arguments) for _, arguments in answered.tools)
        )
        texts.offer(partial(self.text, asked, answered), held)

    def text(self, asked: Asked, answered: Answered) -> Text:
        """The text of a turn as it may be kept: redacted, and within bounds."""
        redactor = Redactor(self.kinds)
        cut = 0

        def clean(said: str) -> str:
            nonlocal cut
            redacted = redactor.text(said)
            cut += redacted.cut
            return redacted.text

        request: list[Said] = []
        context: list[str] = []
        messages = _messages(asked.body, asked.api)
        taken = characters = 0
        for role, said in reversed(messages):
            if taken == _MOST_MESSAGES or characters >= _MOST_CHARACTERS:
                break
            taken, characters = taken + 1, characters + min(len(said), redactor.longest)
            if role == _CONTEXT:
                context.append(clean(said))
            else:
                request.append(Said(role, clean(said)))
        others, tools = answered.others[:_MOST_PIECES], answered.tools[:_MOST_PIECES]
        return Text(
            event_id=asked.event_id,
            kind=asked.kind,
            experiment=self.experiment,
            digest=self.digest,
            variant=asked.variant,
            trace=asked.trace,
            unit=None if asked.unit is None else unit_digest(asked.unit),
            happened=asked.happened,
            expires=asked.happened + self.keep_s,
            probability=asked.probability,
            request=tuple(reversed(request)),
            context=tuple(reversed(context)),
            answer=clean(answered.text),
            others=tuple(clean(each) for each in others),
            tools=tuple(ToolCall(clean(name)[:_LONGEST_NAME], clean(arguments)) for name, arguments in tools),
            blocked=answered.blocked,
            omitted=len(messages)
            - taken
            + len(answered.others)
            - len(others)
            + len(answered.tools)
            - len(tools),
            cut=cut,
            redacted=dict(sorted(redactor.found.items())),
        )


def capturing(experiment: Experiment) -> Capturing | None:
    """What to keep of an experiment's turns; None where it keeps no text."""
    share = float(experiment.text_share)
    if not share:
        return None
    capture = experiment.capture
    judge = experiment.online_judge
    return Capturing(
        experiment.name,
        experiment.digest,
        share,
        kinds_of(capture.redact),
        capture.keep,
        judge.by if judge is not None else None,
        {} if judge is None else {value: float(each) for value, each in judge.shares.items()},
    )


def _messages(body: Mapping[str, Any], api: Wire) -> list[tuple[str, str]]:
    """What the model was sent, as who said what; context that was retrieved has a role of its own.

    Messages of tools are context, and so is a message that is named so: `{"role": "system", "name": "context", …}`.
    """
    said: list[tuple[str, str]] = []
    given = body.get("messages" if api == "chat" else "input")
    if api == "responses" and isinstance(instructions := body.get("instructions"), str):
        said.append(("system", instructions))
    if isinstance(given, str):
        return [*said, ("user", given)]
    for item in given if isinstance(given, list) else ():
        if not isinstance(item, dict):
            continue
        role = _word(item.get("role") or item.get("type")) or "unknown"
        if role in _FOUND or item.get("name") == _CONTEXT:
            role = _CONTEXT
        said.append((role, _said(item)))
    return said


def _said(item: Mapping[str, Any]) -> str:
    """The texts of a message; of a part that is no text, such as a picture, its kind alone."""
    pieces: list[str] = []
    for content in (item.get("content"), item.get("output"), item.get("refusal")):
        if isinstance(content, str):
            pieces.append(content)
        for part in content if isinstance(content, list) else ():
            if isinstance(part, dict):
                text = next(
                    (part[key] for key in ("text", "refusal") if isinstance(part.get(key), str)), None
                )
                pieces.append(
                    text
                    if text is not None
                    else f"[{_word(part.get('type')) or 'a part'}, which is not kept]"
                )
    calls = [item] if item.get("type") == "function_call" else item.get("tool_calls")
    for call in calls if isinstance(calls, list) else ():
        function = call.get("function", call) if isinstance(call, dict) else None
        if isinstance(function, dict):
            pieces.append(f"{function.get('name')}({function.get('arguments')})")
    return "\n".join(pieces)


def _word(said: object) -> str | None:
    """One of a protocol's own words, which tell nothing of anybody."""
    return said if isinstance(said, str) and len(said) <= _LONGEST_WORD and said.isidentifier() else None
