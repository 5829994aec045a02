"""What every judge's reply is read by: its last well-formed JSON object, and nothing else."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

__all__ = ["last_json", "question"]

_LONGEST = 50_000


def last_json(reply: str) -> dict[str, Any] | None:
    """The last well-formed, outermost JSON object in a reply, or None where there is none.

    A judge may reason in words before, quote braces, or put the object in a code fence. Only the last
    50,000 characters are read.

    >>> last_json('A scores {2}, so {"winner": "B"} at first, but no: {"winner": "A", "reason": "cites {x}"}')
    {'winner': 'A', 'reason': 'cites {x}'}
    >>> last_json("I give it 4 of 5") is None
    True
    """
    text = reply[-_LONGEST:]
    decoder = json.JSONDecoder()
    found: dict[str, Any] | None = None
    at = text.find("{")
    while at >= 0:
        try:
            value, end = decoder.raw_decode(text, at)
        except (json.JSONDecodeError, RecursionError):
            at = text.find("{", at + 1)
            continue
        if isinstance(value, dict):
            found = value
        at = text.find("{", end)
    return found


def question(parts: Mapping[str, Any]) -> str:
    """What is judged, as one JSON object, so that nothing in an answer can end its part and begin another."""
    return json.dumps({name: part for name, part in parts.items() if part is not None}, ensure_ascii=False, indent=1)
