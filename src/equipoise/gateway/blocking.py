"""What a client is given in place of an answer that was stopped: whole, well-formed, and said to be filtered."""

from __future__ import annotations

import time
from typing import Any

import orjson

from equipoise.assignment.applying import API
from equipoise.providers.hearing import Heard

__all__ = ["blocked_end", "blocked_reply"]


def blocked_reply(api: API, trace: str, model: str | None, said: str) -> bytes:
    """A whole reply with the text `said` (which may be empty) and the finish reason `content_filter`."""
    now = int(time.time())
    if api == "responses":
        content = [{"type": "output_text", "text": said, "annotations": []}]
        return orjson.dumps(
            {
                "id": f"resp_{trace}",
                "object": "response",
                "created_at": now,
                "model": model,
                "status": "incomplete",
                "incomplete_details": {"reason": "content_filter"},
                "output": [
                    {
                        "id": f"msg_{trace}",
                        "type": "message",
                        "role": "assistant",
                        "status": "incomplete",
                        "content": content,
                    }
                ],
                "parallel_tool_calls": True,
                "tool_choice": "auto",
                "tools": [],
            }
        )
    return orjson.dumps(
        {
            "id": f"chatcmpl-{trace}",
            "object": "chat.completion",
            "created": now,
            "model": model,
            "choices": [
                {
                    "index": 0,
                    "message": {"role": "assistant", "content": said, "refusal": None},
                    "finish_reason": "content_filter",
                }
            ],
        }
    )


def blocked_end(api: API, trace: str, heard: Heard, said: str | None, usage: bool) -> bytes:
    """The end of a stream that was stopped: the fallback text if there is one, the reason, the usual close."""
    if api == "responses":
        events: list[dict[str, Any]] = []
        if said:
            events.append(
                {"type": "response.output_text.delta", "item_id": f"msg_{trace}", "output_index": 0}
                | {"content_index": 0, "delta": said}
            )
        response = orjson.loads(blocked_reply(api, trace, heard.model, said or ""))
        events.append({"type": "response.incomplete", "response": response})
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
    if said:
        pieces.append({"choices": [{"index": 0, "delta": {"content": said}, "finish_reason": None}]})
    pieces.append({"choices": [{"index": 0, "delta": {}, "finish_reason": "content_filter"}]})
    if usage and heard.input_tokens is not None:
        tokens = {"prompt_tokens": heard.input_tokens, "completion_tokens": heard.output_tokens or 0}
        total = heard.input_tokens + (heard.output_tokens or 0)
        pieces.append({"choices": [], "usage": tokens | {"total_tokens": total}})
    return b"".join(b"data: %b\n\n" % orjson.dumps(frame | each) for each in pieces) + b"data: [DONE]\n\n"
