"""Structured output: whether JSON was asked for, and whether JSON came."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson

__all__ = ["json_valid"]

_JSON = ("json_object", "json_schema")


def json_valid(body: Mapping[str, Any], text: str) -> bool | None:
    """Whether an answer's whole text is JSON (RFC 8259); None where the request asked for none, or no text came.

    Asked for by `response_format` (chat completions) or `text.format` (responses). Whether the JSON keeps to its
    schema is a question for an inline check.

    >>> asked = {"response_format": {"type": "json_object"}}
    >>> json_valid(asked, '{"a": 1}'), json_valid(asked, '{"a": 1'), json_valid({}, "Hi"), json_valid(asked, "")
    (True, False, None, None)
    """
    wanted = body.get("response_format")
    if not isinstance(wanted, Mapping):
        form = body.get("text")
        wanted = form.get("format") if isinstance(form, Mapping) else None
    if not text or not isinstance(wanted, Mapping) or wanted.get("type") not in _JSON:
        return None
    try:
        orjson.loads(text)
    except orjson.JSONDecodeError:
        return False
    return True
