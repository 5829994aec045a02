"""What a client is given in place of an answer that was stopped: whole, well-formed, and said to be filtered."""

from __future__ import annotations

import time
from typing import Any

import orjson

from equipoise.assignment.applying import API
from equipoise.providers.hearing import Heard

__all__ = ["blocked_end", "blocked_reply"]


def blocked_reply(api: API, trace: str, heard: Heard, said: str) -> bytes:
    """A whole reply with the text `said` (which may be empty) and the finish reason `content_filter`.

    It has as many choices as were heard: one that fails a check stops them all.
    """
    if api == "responses":
        return orjson.dumps(_response(trace, heard, [_message(f"msg_{trace}", said)]))
    reply = {
        "id": f"chatcmpl-{trace}",
        "object": "chat.completion",
        "created": int(time.time()),
        "model": heard.model,
        "choices": [
            {
                "index": index,
                "message": {"role": "assistant", "content": said, "refusal": None},
                "finish_reason": "content_filter",
            }
            for index in heard.choices
        ],
    }
    return orjson.dumps(reply | ({} if heard.input_tokens is None else {"usage": _usage(heard)}))


def blocked_end(
    api: API, trace: str, heard: Heard, said: str | None, *, usage: bool, begun: bool, shown: int
) -> bytes:
    """The end of a stream that was stopped: the fallback text if there is one, the reason, the usual close.

    `begun` says whether the client has seen anything of the reply, `shown` how many characters of its text.
    """
    if api == "responses":
        events = _response_events(trace, heard, said, begun=begun, shown=shown)
        return b"".join(
            b"event: %b\ndata: %b\n\n" % (each["type"].encode(), orjson.dumps(each)) for each in events
        )
    frame = {
        "id": heard.id or f"chatcmpl-{trace}",
        "object": "chat.completion.chunk",
        "created": int(time.time()),
        "model": heard.model,
    }
    pieces: list[dict[str, Any]] = []
    for index in heard.choices:
        delta = ({} if begun else {"role": "assistant"}) | ({"content": said} if said else {})
        if delta:
            pieces.append({"choices": [{"index": index, "delta": delta, "finish_reason": None}]})
        pieces.append({"choices": [{"index": index, "delta": {}, "finish_reason": "content_filter"}]})
    if usage and heard.input_tokens is not None:
        pieces.append({"choices": [], "usage": _usage(heard)})
    return b"".join(b"data: %b\n\n" % orjson.dumps(frame | each) for each in pieces) + b"data: [DONE]\n\n"


def _response_events(
    trace: str, heard: Heard, said: str | None, *, begun: bool, shown: int
) -> list[dict[str, Any]]:
    """The fallback is an item of its own after those of the model, which may be held back in their middle."""
    events: list[dict[str, Any]] = []
    if not begun:
        events.append({"type": "response.created", "response": _response(trace, heard, [], "in_progress")})
    output = [_message(heard.item or f"msg_{trace}_0", _sayable(heard.text[:shown]))] if shown else []
    if said:
        item = _message(f"msg_{trace}", said)
        place = {"output_index": heard.last_output + 1}
        within = place | {"item_id": item["id"], "content_index": 0}
        empty = {"type": "output_text", "text": "", "annotations": []}
        events += [
            {"type": "response.output_item.added", "item": item | {"content": []}} | place,
            {"type": "response.content_part.added", "part": empty} | within,
            {"type": "response.output_text.delta", "delta": said, "logprobs": []} | within,
        ]
        output.append(item)
    events.append({"type": "response.incomplete", "response": _response(trace, heard, output)})
    return [each | {"sequence_number": heard.last_event + 1 + at} for at, each in enumerate(events)]


def _response(
    trace: str, heard: Heard, output: list[dict[str, Any]], status: str = "incomplete"
) -> dict[str, Any]:
    return {
        "id": heard.id or f"resp_{trace}",
        "object": "response",
        "created_at": int(time.time()),
        "model": heard.model,
        "status": status,
        "incomplete_details": {"reason": "content_filter"} if status == "incomplete" else None,
        "output": output,
        "parallel_tool_calls": True,
        "tool_choice": "auto",
        "tools": [],
    }


def _message(name: str, said: str) -> dict[str, Any]:
    content = [{"type": "output_text", "text": said, "annotations": []}]
    return {"id": name, "type": "message", "role": "assistant", "status": "incomplete", "content": content}


def _usage(heard: Heard) -> dict[str, Any]:
    read, written = heard.input_tokens or 0, heard.output_tokens or 0
    return {"prompt_tokens": read, "completion_tokens": written, "total_tokens": read + written}


def _sayable(text: str) -> str:
    """Half of a surrogate pair cannot be written as UTF-8."""
    return text.encode("utf-8", "replace").decode()
