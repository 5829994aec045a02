"""What a call of a client says: the body it will send, and in it the unit and what is known of the unit."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Self

from equipoise.experiment.audience import Source, unit_name, unit_source

if TYPE_CHECKING:
    from equipoise.experiment.definition import Experiment

__all__ = ["Asked", "Sent", "asked", "attributes_in", "unit_in"]

_TEXTS = ("messages", "instructions", "input")
_OPTIONS = frozenset({"extra_headers", "extra_query", "extra_body", "timeout"})
_NONE: Mapping[str, Any] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Asked:
    """A call, taken apart: what goes into the JSON body, the headers (names in lower case), and the options.

    `beside` names the fields of the body that came in `extra_body`.
    """

    body: Mapping[str, Any]
    headers: Mapping[str, str]
    options: Mapping[str, Any]
    beside: frozenset[str]

    def arguments(self, body: Mapping[str, Any], known: Collection[str]) -> dict[str, Any]:
        """The arguments of the same call with another body.

        What the method does not know by name travels in `extra_body`, as does what came there: there it would
        overrule whatever stood in its place.

        >>> call = asked({"model": "a", "extra_body": {"top_k": 5}, "timeout": 9})
        >>> call.arguments({"model": "b", "top_k": 5, "min_p": 0.1}, {"model"})
        {'timeout': 9, 'model': 'b', 'extra_body': {'top_k': 5, 'min_p': 0.1}}
        """
        made = {**self.options, **{name: value for name, value in body.items() if name in known}}
        if more := {name: value for name, value in body.items() if name not in known or name in self.beside}:
            made["extra_body"] = more
        return made


def asked(arguments: Mapping[str, Any]) -> Asked:
    """Take the arguments of a call apart.

    >>> asked({"model": "a", "extra_headers": {"X-User": "u"}}).headers
    {'x-user': 'u'}
    """
    options = {name: value for name, value in arguments.items() if name in _OPTIONS}
    body = {name: value for name, value in arguments.items() if name not in _OPTIONS}
    beside: Mapping[str, Any] = _NONE
    if isinstance(options.get("extra_body"), Mapping):
        beside = options.pop("extra_body")
    body |= beside
    messages = body.get("messages")
    if isinstance(messages, Iterable) and not isinstance(messages, str | list):
        # Read twice: once by what a variant makes of it, once by the client.
        body["messages"] = list(messages)
    headers = options.get("extra_headers")
    named = headers if isinstance(headers, Mapping) else _NONE
    return Asked(
        body,
        {str(name).lower(): value for name, value in named.items() if isinstance(value, str)},
        options,
        frozenset(beside),
    )


@dataclass(frozen=True, slots=True)
class Sent:
    """What a model was sent that is text, copied so that nobody changes it; `size` is how many characters it has."""

    body: Mapping[str, Any]
    size: int

    @classmethod
    def of(cls, body: Mapping[str, Any]) -> Self:
        """Of the body of a call.

        >>> Sent.of({"model": "a", "messages": [{"role": "user", "content": "Hi"}]})
        Sent(body={'messages': [{'role': 'user', 'content': 'Hi'}]}, size=2)
        """
        copied = {name: _copied(body[name]) for name in _TEXTS if name in body}
        return cls(copied, sum(map(_length, copied.values())))


def _copied(value: Any) -> Any:
    """Plain data of what a client takes: its own messages are objects that know their JSON."""
    if isinstance(value, Mapping):
        return {name: _copied(each) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [_copied(each) for each in value]
    to_dict = getattr(value, "to_dict", None)
    if callable(to_dict):
        return _copied(to_dict())
    return value if isinstance(value, str | int | float | bool) else None


def _length(value: Any) -> int:
    if isinstance(value, dict):
        # What a message says, not how it is called who said it.
        return sum(_length(each) for name, each in value.items() if name not in {"role", "type"})
    if isinstance(value, list):
        return sum(map(_length, value))
    return len(value) if isinstance(value, str) else 0


def unit_in(call: Asked, experiment: Experiment) -> str | None:
    """The unit's name, from the place that the definition declares; None where the call does not say it.

    A unit of type `request` without a place is named by the header `idempotency-key`. Cookies are a browser's:
    a call of a client has none.
    """
    source = unit_source(experiment.unit.type, experiment.unit.source)
    return None if source is None else unit_name(_found(source, call))


def attributes_in(call: Asked, experiment: Experiment) -> dict[str, Any]:
    """What the call says of the unit, by the declared types; what it does not say is absent."""
    found = {
        name: attribute.read(_found(attribute.source, call))
        for name, attribute in experiment.attributes.items()
        if attribute.source is not None
    }
    return {name: value for name, value in found.items() if value is not None}


def _found(source: Source, call: Asked) -> Any:
    if source.place == "header":
        return call.headers.get(source.name)
    if source.place == "cookie":
        return None
    return source.in_body(call.body)
