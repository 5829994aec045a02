"""What a variant makes of a request: model, system prompt and parameters, whoever sends it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from typing import Any, Literal

import orjson

from equipoise.assignment.assigning import Draw
from equipoise.errors import UsageError
from equipoise.experiment.variant import Prompt, thaw

__all__ = ["API", "Applied", "apply", "clashing", "count_usage"]

API = Literal["chat", "responses", "embeddings"]
_SYSTEM = ("system", "developer")
_OURS = frozenset({"model", "messages", "input", "stream"})
_SAME = {"max_tokens": "max_completion_tokens", "max_completion_tokens": "max_tokens"}
"""Parameters of chat completions that say the same by two names."""


@dataclass(frozen=True, slots=True)
class Applied:
    """A body with the variant in it, and the digest of what the variant decides: of that as it is sent."""

    body: dict[str, Any]
    sent_digest: str


def apply(
    draws: tuple[Draw, ...], body: Mapping[str, Any], api: API, attributes: Mapping[str, Any]
) -> Applied:
    """The request with what the draws serve written into it; fields they do not speak of stay as they are.

    Raises UsageError where the request names no model and no variant does.
    """
    sent = dict(body)
    for draw in draws:
        variant = draw.experiment.variant(draw.serves)
        if variant.model is not None:
            sent["model"] = variant.model
        if variant.system is not None and api != "embeddings":
            _instruct(sent, variant.system, api, attributes)
        for name, value in variant.params.items():
            if name not in _OURS:
                # Endpoints refuse a limit that is set by its old and its new name.
                sent.pop(_SAME.get(name, ""), None)
                sent[name] = thaw(value)
    model = sent.get("model")
    if not isinstance(model, str) or not model or model.startswith("experiment/"):
        names = ", ".join(draw.experiment.name for draw in draws)
        raise UsageError(
            f"no variant of {names} names a model, and neither does the request: set `model:` in the definition"
        )
    return Applied(sent, _digest(draws, sent, api))


def count_usage(body: dict[str, Any]) -> bool:
    """Ask for the tokens of a streamed completion in any case; whether the caller did not, and must not see them.

    >>> body = {"stream": True}
    >>> count_usage(body), body["stream_options"], count_usage(body)
    (True, {'include_usage': True}, False)
    """
    options = body.get("stream_options")
    given = options if isinstance(options, Mapping) else {}
    if given.get("include_usage") is True:
        return False
    body["stream_options"] = {**given, "include_usage": True}
    return True


def clashing(one: Draw, other: Draw) -> str | None:
    """What two experiments would both set on one request, if anything; the second then cannot take part."""
    for part in ("model", "system"):
        if any(getattr(each, part) is not None for each in one.experiment.variants) and any(
            getattr(each, part) is not None for each in other.experiment.variants
        ):
            return part
    ours = {name for each in one.experiment.variants for name in each.params}
    theirs = {name for each in other.experiment.variants for name in each.params}
    return next(iter(sorted(ours & theirs)), None)


def _instruct(sent: dict[str, Any], prompt: Prompt, api: API, attributes: Mapping[str, Any]) -> None:
    text = prompt.text
    if prompt.variables:
        # All at once: what a caller sends as a value is text, also where it looks like a variable.
        names = "|".join(map(re.escape, prompt.variables))
        text = re.sub(rf"{{{{({names})}}}}", lambda found: _said(attributes.get(found[1])), text)
    if api == "responses":
        given = sent.get("instructions")
        if prompt.mode == "replace" and isinstance(items := sent.get("input"), list):
            sent["input"] = _without_system(items)
        keeps = prompt.mode == "prepend" and isinstance(given, str) and given
        sent["instructions"] = f"{text}\n\n{given}" if keeps else text
        return
    messages = sent.get("messages")
    if not isinstance(messages, list):
        return
    if prompt.mode == "replace":
        messages = _without_system(messages)
    sent["messages"] = [{"role": "system", "content": text}, *messages]


def _without_system(messages: list[Any]) -> list[Any]:
    return [each for each in messages if not (isinstance(each, dict) and each.get("role") in _SYSTEM)]


def _said(value: object) -> str:
    if value is None:
        return ""
    return str(value).lower() if isinstance(value, bool) else str(value)


def _digest(draws: tuple[Draw, ...], sent: Mapping[str, Any], api: API) -> str:
    decided: list[Any] = [sent.get("model")]
    for draw in draws:
        variant = draw.experiment.variant(draw.serves)
        if variant.system is not None:
            if api == "responses":
                decided.append(sent.get("instructions"))
            elif isinstance(messages := sent.get("messages"), list) and messages:
                decided.append(messages[0])
        decided += [[name, sent.get(name)] for name in sorted(variant.params)]
    return sha256(orjson.dumps(decided)).hexdigest()[:32]
