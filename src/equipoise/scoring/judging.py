"""How every judge is asked and read: one JSON object in, one JSON object out, and nothing guessed."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import rfc8785

from equipoise.errors import UpstreamError
from equipoise.providers.messages import Reply, Request
from equipoise.scoring.evaluators import AskedJudge

__all__ = ["Asked", "ask_json", "concluding_json", "identity", "last_json", "question"]

_SEED = 7
_OPENING = re.compile(r'\{[ \t\r\n]*["}]')


def last_json(text: str) -> dict[str, Any] | None:
    """The last well-formed, outermost JSON object in a text, or None where there is none.

    Nothing is read from where an object begins that is not well formed: what looks like an object inside it may
    be a quotation. Takes time in proportion to the text. A lone surrogate, which no file can hold, becomes `?`.

    >>> last_json('Here: {"a": 1}, as asked.')
    {'a': 1}
    >>> last_json("I give it 4 of 5") is None
    True
    """
    found = [each.value for each in _objects(text) if each.value is not None]
    return found[-1] if found else None


def concluding_json(reply: str) -> dict[str, Any] | None:
    """The JSON object that a judge’s reply comes to, or None where it comes to none.

    A judge may reason in words before, quote braces, or put the object in a code fence. The last object
    counts, and only if it ends the reply or stands on lines of its own: one that a sentence quotes on its way
    was written by somebody else. Where the last one is broken off or not well formed, an earlier one is no verdict.

    >>> concluding_json('A scores {2}, so {"winner": "B"} at first, but no: {"winner": "A", "reason": "has {x}"}')
    {'winner': 'A', 'reason': 'has {x}'}
    >>> concluding_json('The answer says {"winner": "A"}, which is no merit. B is better.') is None
    True
    >>> concluding_json('{"reason": "it says {"winner": "A"}", "winner": "B"}') is None
    True
    """
    found = _concluding(reply)
    return None if found is None else found.value


def _concluding(reply: str) -> _Found | None:
    found = list(_objects(reply))
    if not found:
        return None
    last = found[-1]
    before, after = reply[: last.start].rpartition("\n")[2], reply[last.end :]
    alone = not before.strip() and not _has_words(after.partition("\n")[0])
    return last if alone or not _has_words(after) else None


@dataclass(frozen=True, slots=True)
class _Found:
    """An object and where it stands; the value is None where one begins that is not well formed."""

    value: dict[str, Any] | None
    start: int
    end: int


def _objects(text: str) -> Iterator[_Found]:
    """The outermost objects of a text in turn, up to one that is not well formed."""
    decoder = json.JSONDecoder()
    at = 0
    while opening := _OPENING.search(text, at):
        start = opening.start()
        try:
            value, at = decoder.raw_decode(text, start)
            # Written and read again: what cannot be encoded would break whatever keeps the verdict.
            value = json.loads(json.dumps(value, ensure_ascii=False).encode("utf-8", "replace"))
        except (ValueError, RecursionError):  # also a number with more digits than Python reads
            yield _Found(None, start, len(text))
            return
        yield _Found(value, start, at)


def _has_words(text: str) -> bool:
    return any(character.isalnum() for character in text)


def _is_quoted(said: str, parts: Any) -> bool:
    """Whether a text stands word for word in what was judged, however its lines are broken."""
    if isinstance(parts, str):
        return "".join(said.split()) in "".join(parts.split())
    if isinstance(parts, Mapping):
        return any(_is_quoted(said, each) for each in parts.values())
    return isinstance(parts, list | tuple) and any(_is_quoted(said, each) for each in parts)


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
    judge: AskedJudge,
    *,
    system: str,
    parts: Mapping[str, Any],
    schema: Mapping[str, Any],
    about: Mapping[str, str],
    sample: int = 0,
    revision: int = 1,
    wishes: Mapping[str, Any] | None = None,
) -> Asked:
    """Ask for one JSON object of that schema, as deterministically as the endpoint can.

    A reply by schema, a temperature of 0 and a seed are wished for where the judge's `params` leave them open;
    an endpoint that refuses them is asked without. The reply is read as the object it comes to either way, unless that is a
    quotation of what was judged: an answer may say what a verdict on it looks like.
    `sample` tells apart repeated askings, and `revision` a series of verdicts from the one before; what was asked
    once under both is found in a run's journal.
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
        model=judge.model,
        messages=(
            {"role": "system", "content": system},
            {"role": "user", "content": question(parts)},
        ),
        params=judge.params,
        wishes={name: wish for name, wish in wished.items() if name not in judge.params},
        draw=f"verdict {revision}#{sample}",
        about=about,
    )
    try:
        reply = await judge.provider.complete(request)
    except UpstreamError as error:
        return Asked(value=None, why_not=f"the judge did not answer: {error}", errored=True)
    found = _concluding(reply.text)
    if found is None or found.value is None:
        return Asked(value=None, reply=reply, why_not="the judge’s reply does not end in a JSON object")
    if reply.finish_reason == "length" and _has_words(reply.text[found.end :]):
        # What it would have come to nobody knows; what it has so far may be a quotation.
        return Asked(value=None, reply=reply, why_not="the judge’s reply was cut off before its verdict")
    if _is_quoted(reply.text[found.start : found.end], parts):
        return Asked(
            value=None, reply=reply, why_not="the judge’s reply ends in a quotation of what was judged"
        )
    return Asked(value=found.value, reply=reply)
