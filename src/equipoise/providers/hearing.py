"""What a reply says of itself, whole or piece by piece: text, tokens, model, why it ended, tool calls.

Three shapes are read: chat completions, responses, and embeddings. Whatever has another shape is passed over:
what is not said stays unknown.
"""

from __future__ import annotations

import json
from typing import Any, Literal

import orjson

__all__ = ["Heard", "Wire", "read_json"]

Wire = Literal["chat", "responses", "embeddings"]
_DELTAS = frozenset({"response.output_text.delta", "response.refusal.delta"})
_ENDS = frozenset({"response.completed", "response.incomplete", "response.failed"})
_TEXT = {"text": "text", "output_text": "text", "refusal": "refusal"}
"""The kinds of a part that are text for the reader, and where it stands."""


def read_json(data: bytes) -> Any:
    r"""JSON as the most lenient client reads it: half a surrogate pair or a byte that is not UTF-8 hides nothing.

    Raises ValueError where nobody could read it.

    >>> read_json(b'{"a": 1}'), len(read_json(b'"\\ud800"')), read_json(b'"\xff"')
    ({'a': 1}, 1, '�')
    """
    try:
        return orjson.loads(data)
    except orjson.JSONDecodeError:
        try:
            return json.loads(data.decode("utf-8", "replace"))
        except RecursionError:
            raise ValueError("the JSON is nested too deeply") from None


class Heard:
    """Gathers one reply. Counts are None where the endpoint did not give them.

    What it says of a reply is said of its first choice; `choices` has the others too (`n` of a chat completion).
    """

    __slots__ = (
        "_called",
        "_others",
        "_parts",
        "_tools",
        "_wire",
        "beside",
        "cached_tokens",
        "ended",
        "errored",
        "fingerprint",
        "finish_reason",
        "id",
        "input_tokens",
        "item",
        "last_event",
        "last_output",
        "model",
        "output_tokens",
    )

    def __init__(self, wire: Wire) -> None:
        self._wire = wire
        self._parts: list[str] = []
        self._tools: set[Any] = set()
        self._called: dict[Any, list[str]] = {}
        self._others: dict[int, Heard] = {}
        self.beside: list[tuple[int, str]] = []
        """What the last piece added to other choices than the first, with their indices."""
        self.item: str | None = None
        """The item of a streamed response that was written to last."""
        self.last_output = -1
        """The last output item of a streamed response that was spoken of, from 0."""
        self.last_event = -1
        """The number of the last event of a streamed response."""
        self.id: str | None = None
        self.model: str | None = None
        self.fingerprint: str | None = None
        self.finish_reason: str | None = None
        self.input_tokens: int | None = None
        self.output_tokens: int | None = None
        self.cached_tokens: int | None = None
        self.errored = False
        self.ended = False
        """Whether the last event of a streamed response was heard."""

    @property
    def text(self) -> str:
        """What was written so far, of the first choice."""
        return "".join(self._parts)

    @property
    def choices(self) -> dict[int, Heard]:
        """Every choice of the reply by its index, this one first."""
        return {0: self} | {index: self._others[index] for index in sorted(self._others)}

    @property
    def tool_calls(self) -> int:
        """How many tools were called."""
        return len(self._tools)

    @property
    def called(self) -> tuple[tuple[str, str], ...]:
        """The name and the arguments of each tool that was called, in the order in which they were begun."""
        return tuple((pieces[0], "".join(pieces[1:])) for pieces in self._called.values())

    def whole(self, reply: Any) -> None:
        """A reply that came in one piece.

        >>> heard = Heard("chat")
        >>> heard.whole({"model": "m", "choices": [{"message": {"content": "Hi"}, "finish_reason": "stop"}]})
        >>> heard.text, heard.finish_reason, heard.output_tokens
        ('Hi', 'stop', None)
        """
        if not isinstance(reply, dict):
            return
        if self._wire == "responses":
            self._response(reply)
            return
        self._name(reply)
        self._usage(reply.get("usage"))
        for place, choice in enumerate(_dicts(reply.get("choices"))):
            if place:
                self._other(place).whole({"choices": [choice]})
                continue
            self._end(choice.get("finish_reason"))
            message = choice.get("message")
            if isinstance(message, dict):
                self._parts += [*_texts(message.get("content")), *_texts(message.get("refusal"))]
                for index, call in enumerate(_dicts(message.get("tool_calls"))):
                    self._tools.add(index)
                    self._call(index, call.get("function"))

    def piece(self, event: Any) -> str:
        """A piece of a stream; returns the text it adds to the first choice, "" for none.

        >>> heard = Heard("chat")
        >>> heard.piece({"choices": [{"delta": {"role": "assistant", "content": ""}}]})
        ''
        >>> heard.piece({"choices": [{"delta": {"content": "Hi"}}]}), heard.text
        ('Hi', 'Hi')
        """
        if not isinstance(event, dict):
            return ""
        if self._wire == "responses":
            return self._response_event(event)
        if self.model is None:
            self._name(event)
        if (usage := event.get("usage")) is not None:
            self._usage(usage)
        if "error" in event:
            self.errored = True
        choices = event.get("choices")
        if self.beside:
            self.beside = []
        if not isinstance(choices, list) or not choices:
            return ""
        # Nearly every piece is one of the first choice.
        if len(choices) == 1 and isinstance(choices[0], dict) and not choices[0].get("index"):
            return self._choice(choices[0])
        said = ""
        for choice in _dicts(choices):
            index = choice.get("index")
            if not isinstance(index, int) or not index:
                said += self._choice(choice)
            elif text := self._other(index).piece({"choices": [choice | {"index": 0}]}):
                self.beside.append((index, text))
        return said

    def _other(self, index: int) -> Heard:
        if (found := self._others.get(index)) is None:
            found = self._others[index] = Heard(self._wire)
        return found

    def _choice(self, choice: dict[str, Any]) -> str:
        if (reason := choice.get("finish_reason")) is not None:
            self._end(reason)
        delta = choice.get("delta")
        if not isinstance(delta, dict):
            return ""
        if (tools := delta.get("tool_calls")) is not None:
            for each in _dicts(tools):
                index = each.get("index")
                index = index if isinstance(index, int) else 0
                self._tools.add(index)
                self._call(index, each.get("function"))
        content = delta.get("content")
        if not isinstance(content, str):
            content = "".join(_texts(content))
        if (refusal := delta.get("refusal")) is not None:
            content += "".join(_texts(refusal))
        if content:
            self._parts.append(content)
        return content

    def _call(self, index: int, said: Any) -> None:
        """A tool's name and arguments, or a piece of them."""
        if not isinstance(said, dict):
            return
        pieces = self._called.setdefault(index, [""])
        pieces[0] = _word(said.get("name")) or pieces[0]
        if isinstance(arguments := said.get("arguments"), str):
            pieces.append(arguments)

    def _response_event(self, event: dict[str, Any]) -> str:
        kind = event.get("type")
        self.last_event = max(self.last_event, _count(event, "sequence_number") or 0)
        if (output := _count(event, "output_index")) is not None:
            self.last_output = max(self.last_output, output)
        if kind in _DELTAS and isinstance(said := event.get("delta"), str):
            self.item = _word(event.get("item_id"))
            self._parts.append(said)
            return said
        if kind in _ENDS:
            self.ended = True
            written, self._parts = self.text, []
            response = event.get("response")
            if isinstance(response, dict):
                self._response(response)
            self.errored = self.errored or kind == "response.failed"
            # Some servers tell at the end what they sent no delta of.
            told, self._parts = self.text, [written]
            if told.startswith(written) and (more := told[len(written) :]):
                self._parts.append(more)
                return more
        elif kind == "error":
            self.errored = True
        elif self.id is None and isinstance(response := event.get("response"), dict):
            self._name(response)
        return ""

    def _response(self, reply: dict[str, Any]) -> None:
        self._name(reply)
        usage = reply.get("usage")
        if isinstance(usage, dict):
            self.input_tokens, self.output_tokens = (
                _count(usage, "input_tokens"),
                _count(usage, "output_tokens"),
            )
            details = usage.get("input_tokens_details")
            self.cached_tokens = _count(details, "cached_tokens") if isinstance(details, dict) else None
        for index, item in enumerate(_dicts(reply.get("output"))):
            if item.get("type") == "message":
                self._parts += _texts(item.get("content"))
            elif str(item.get("type", "")).endswith("_call"):
                self._tools.add(index)
                self._call(index, item)
        status = reply.get("status")
        if status == "incomplete":
            details = reply.get("incomplete_details")
            why = details.get("reason") if isinstance(details, dict) else None
            self._end("length" if why == "max_output_tokens" else why)
        elif status == "completed":
            self._end("stop")

    def _name(self, reply: dict[str, Any]) -> None:
        self.id = _word(reply.get("id")) or self.id
        self.model = _word(reply.get("model")) or self.model
        self.fingerprint = _word(reply.get("system_fingerprint")) or self.fingerprint

    def _usage(self, usage: Any) -> None:
        if isinstance(usage, dict):
            self.input_tokens = _count(usage, "prompt_tokens")
            self.output_tokens = _count(usage, "completion_tokens")
            details = usage.get("prompt_tokens_details")
            self.cached_tokens = _count(details, "cached_tokens") if isinstance(details, dict) else None

    def _end(self, reason: Any) -> None:
        self.finish_reason = _word(reason) or self.finish_reason


def _dicts(value: Any) -> list[dict[str, Any]]:
    return [each for each in value if isinstance(each, dict)] if isinstance(value, list) else []


def _texts(content: Any) -> list[str]:
    """The texts of a message: it is one, or has them in its parts."""
    if isinstance(content, str):
        return [content]
    found = [(part, _TEXT.get(str(part.get("type")))) for part in _dicts(content)]
    return [part[name] for part, name in found if name is not None and isinstance(part.get(name), str)]


def _word(value: Any) -> str | None:
    return value if isinstance(value, str) and value else None


def _count(usage: dict[str, Any], name: str) -> int | None:
    value = usage.get(name)
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None
