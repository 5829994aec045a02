"""How every judge is asked and read: one JSON object in, one JSON object out, and nothing guessed."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import rfc8785

from equipoise.errors import UpstreamError
from equipoise.providers.messages import Provider, Reply, Request

__all__ = ["Asked", "ask_json", "identity", "last_json", "question"]

_LONGEST = 50_000
_SEED = 7


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
    """SHA-256 of a configuration, in canonical JSON.

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


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What came of asking a judge: the object it replied, or why there is none.

    `errored` tells an endpoint that failed from a reply that could not be read.
    """

    value: Mapping[str, Any] | None
    reply: Reply | None = None
    why_not: str | None = None
    errored: bool = False

    @property
    def cost_usd(self) -> float | None:
        """What the reply cost; None where that is not known, 0 where nobody replied."""
        return self.reply.cost_usd if self.reply is not None else 0.0


async def ask_json(
    provider: Provider,
    model: str,
    *,
    system: str,
    parts: Mapping[str, Any],
    schema: Mapping[str, Any],
    params: Mapping[str, Any],
    about: Mapping[str, str],
    sample: int = 0,
    wishes: Mapping[str, Any] | None = None,
) -> Asked:
    """Ask for one JSON object of that schema, as deterministically as the endpoint can.

    A reply by schema, a temperature of 0 and a seed are wished for where `params` leave them open; an endpoint
    that refuses them is asked without. The reply is read as its last well-formed object either way.
    `sample` tells apart repeated askings; what was asked once under it is found in a run's journal.
    """
    wished: dict[str, Any] = {
        "temperature": 0,
        "seed": _SEED + sample,
        "response_format": {
            "type": "json_schema",
            "json_schema": {"name": "verdict", "strict": True, "schema": schema},
        },
    } | dict(wishes or {})
    request = Request(
        model=model,
        messages=(
            {"role": "system", "content": system},
            {"role": "user", "content": question(parts)},
        ),
        params=params,
        wishes={name: wish for name, wish in wished.items() if name not in params},
        draw=f"verdict#{sample}" if sample else "",
        about=about,
    )
    try:
        reply = await provider.complete(request)
    except UpstreamError as error:
        return Asked(value=None, why_not=f"the judge did not answer: {error}", errored=True)
    value = last_json(reply.text)
    if value is None:
        return Asked(value=None, reply=reply, why_not="the judge’s reply holds no JSON object")
    return Asked(value=value, reply=reply)
