"""What every judge's reply is read by: its last well-formed JSON object, and nothing else."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

import rfc8785

__all__ = ["identity", "last_json", "question"]

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
    return json.dumps(
        {name: part for name, part in parts.items() if part is not None}, ensure_ascii=False, indent=1
    )


def identity(parts: Mapping[str, Any]) -> str:
    """SHA-256 of a judge's whole configuration, in canonical JSON.

    >>> identity({"model": "m", "params": {}})[:8]
    '68bc1887'
    """
    return hashlib.sha256(rfc8785.dumps(_plain(parts))).hexdigest()


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value
