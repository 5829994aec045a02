"""What a reply says of itself, whole or piece by piece: text, tokens, model, why it ended, tool calls.

Three shapes are read: chat completions, responses, and embeddings. Whatever has another shape is passed over:
what is not said stays unknown.
"""

from __future__ import annotations

from typing import Any, Literal

__all__ = ["Heard"]

Wire = Literal["chat", "responses", "embeddings"]


class Heard:
    """Gathers one reply. Counts are None where the endpoint did not give them."""

    __slots__ = (
        "_parts",
        "_tools",
        "_wire",
        "cached_tokens",
        "errored",
        "fingerprint",
        "finish_reason",
        "id",
        "input_tokens",
        "model",
        "output_tokens",
    )

    def __init__(self, wire: Wire) -> None:
        self._wire = wire
        self._parts: list[str] = []
        self._tools: set[Any] = set()
        self.id: str | None = None
        self.model: str | None = None
        self.fingerprint: str | None = None
        self.finish_reason: str | None = None
        self.input_tokens: int | None = None
        self.output_tokens: int | None = None
        self.cached_tokens: int | None = None
        self.errored = False

    @property
    def text(self) -> str:
        """What was written so far, of the first choice."""
        return "".join(self._parts)

    @property
    def tool_calls(self) -> int:
        """How many tools were called."""
        return len(self._tools)

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
        for choice in _dicts(reply.get("choices"))[:1]:
            self._end(choice.get("finish_reason"))
            message = choice.get("message")
            if isinstance(message, dict):
                self._content(message.get("content"))
                for index, _ in enumerate(_dicts(message.get("tool_calls"))):
                    self._tools.add(index)

    def piece(self, event: Any) -> str:
        """A piece of a stream; returns the text it adds, "" for none.

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
        if not isinstance(choices, list) or not choices or not isinstance(choices[0], dict):
            return ""
        choice = choices[0]
        if choice.get("index"):
            return ""
        if (reason := choice.get("finish_reason")) is not None:
            self._end(reason)
        delta = choice.get("delta")
        if not isinstance(delta, dict):
            return ""
        if (tools := delta.get("tool_calls")) is not None:
            for each in _dicts(tools):
                self._tools.add(each.get("index", 0))
        content = delta.get("content")
        if isinstance(content, str) and content:
            self._parts.append(content)
            return content
        return ""

    def _response_event(self, event: dict[str, Any]) -> str:
        kind = event.get("type")
        if kind == "response.output_text.delta" and isinstance(event.get("delta"), str):
            self._parts.append(event["delta"])
            return str(event["delta"])
        if kind in ("response.completed", "response.incomplete", "response.failed"):
            written, self._parts = self._parts, []
            response = event.get("response")
            if isinstance(response, dict):
                self._response(response)
            self._parts = written or self._parts
            self.errored = self.errored or kind == "response.failed"
        elif kind == "error":
            self.errored = True
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
                self._content(item.get("content"))
            elif str(item.get("type", "")).endswith("_call"):
                self._tools.add(index)
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

    def _content(self, content: Any) -> None:
        if isinstance(content, str):
            self._parts.append(content)
            return
        for part in _dicts(content):
            if part.get("type") in ("text", "output_text") and isinstance(part.get("text"), str):
                self._parts.append(part["text"])

    def _end(self, reason: Any) -> None:
        self.finish_reason = _word(reason) or self.finish_reason


def _dicts(value: Any) -> list[dict[str, Any]]:
    return [each for each in value if isinstance(each, dict)] if isinstance(value, list) else []


def _word(value: Any) -> str | None:
    return value if isinstance(value, str) and value else None


def _count(usage: dict[str, Any], name: str) -> int | None:
    value = usage.get(name)
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None
