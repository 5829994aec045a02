"""What the user says in a request: the text that checks on requests look at."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from equipoise.assignment.applying import API

__all__ = ["said_by_user"]


def said_by_user(body: Mapping[str, Any], api: API) -> str:
    """What the user says in this turn: the text of the last user messages, or the input."""
    given = body.get("messages" if api == "chat" else "input")
    if not isinstance(given, list):
        return _text(given) if api != "chat" else ""
    said: list[str] = []
    for item in reversed(given):
        if isinstance(item, str):
            said.append(item)
        elif isinstance(item, dict) and item.get("role") == "user":
            said.append(_text(item.get("content")))
        elif said:
            # What was asked before was looked at in its own turn.
            break
    return "\n".join(reversed(said))


def _text(content: object) -> str:
    if isinstance(content, str):
        return content
    if not isinstance(content, list):
        return ""
    return "\n".join(
        part["text"] for part in content if isinstance(part, dict) and isinstance(part.get("text"), str)
    )
