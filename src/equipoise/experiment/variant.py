"""One arm: what it changes of model, prompt, parameters, retrieval, serving or free configuration."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Literal

__all__ = ["CHANGEABLE", "Difference", "Prompt", "Variant", "control_first", "differences", "freeze", "thaw"]

JSON = Any
PromptMode = Literal["replace", "prepend"]


def _nothing() -> Mapping[str, JSON]:
    return MappingProxyType({})


CHANGEABLE = ("model", "system", "template", "params", "retrieval", "endpoint", "serving", "config")
"""The parts of a variant, and so what `changes:` may name (or a path below one: `params.temperature`)."""


def control_first(name: str) -> tuple[bool, str]:
    """The key by which variants stand in order: control, then the others by name.

    >>> sorted(["b", "control", "a"], key=control_first)
    ['control', 'a', 'b']
    """
    return name != "control", name


@dataclass(frozen=True, slots=True)
class Prompt:
    """A prompt: its text, and the file it was read from (which is not part of its identity).

    A system prompt may stand before the caller's own instead of replacing it (`mode`), and `{{NAME}}` in it
    stands for the attribute of that name where NAME is among `variables`.
    """

    text: str
    file: str | None = field(default=None, compare=False)
    mode: PromptMode = "replace"
    variables: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Variant:
    """One arm of an experiment; `control` is the one the others are compared with.

    `template` makes the user's message out of a case: `{{input}}` and `{{NAME}}` stand for what it holds.
    """

    name: str
    model: str | None = None
    system: Prompt | None = None
    template: Prompt | None = None
    params: Mapping[str, JSON] = field(default_factory=_nothing)
    retrieval: Mapping[str, JSON] = field(default_factory=_nothing)
    endpoint: Mapping[str, JSON] = field(default_factory=_nothing)
    serving: Mapping[str, JSON] = field(default_factory=_nothing)
    config: Mapping[str, JSON] = field(default_factory=_nothing)

    @property
    def settings(self) -> dict[str, JSON]:
        """Everything this arm sets, as plain JSON, without what it leaves alone."""
        return {part: value for part in CHANGEABLE if (value := thaw(getattr(self, part))) not in (None, {})}


@dataclass(frozen=True, slots=True)
class Difference:
    """One leaf that differs from control: `path` such as `params.temperature`, both values (None: not set)."""

    variant: str
    path: str
    control: JSON
    treatment: JSON


def freeze(value: JSON) -> JSON:
    """Plain JSON made immutable: mappings become read-only views, lists become tuples."""
    if isinstance(value, Mapping):
        return MappingProxyType({str(key): freeze(item) for key, item in value.items()})
    if isinstance(value, list | tuple):
        return tuple(freeze(item) for item in value)
    return value


def thaw(value: JSON) -> JSON:
    """The inverse of `freeze`; a plain prompt becomes its text."""
    if isinstance(value, Prompt):
        special = {} if value.mode == "replace" else {"mode": value.mode}
        if value.variables:
            special["variables"] = list(value.variables)  # type: ignore[assignment]
        return {"text": value.text} | special if special else value.text
    if isinstance(value, Mapping):
        return {key: thaw(item) for key, item in value.items()}
    if isinstance(value, tuple):
        return [thaw(item) for item in value]
    return value


def _leaves(value: JSON, path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], JSON]]:
    if isinstance(value, dict) and value:
        for key in sorted(value):
            yield from _leaves(value[key], (*path, key))
    else:
        yield path, value


def _same(one: JSON, other: JSON) -> bool:
    """Equality of JSON values: 1 and 1.0 are one number, but true is not 1 (as it is to Python)."""
    if isinstance(one, bool) or isinstance(other, bool):
        return one is other
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(_same, one, other))
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(_same(one[key], other[key]) for key in one)
    return bool(one == other)


def differences(control: Variant, treatment: Variant) -> tuple[Difference, ...]:
    """Every setting in which a treatment differs from control, leaf by leaf, in a fixed order.

    >>> a = Variant(name="control", model="m", params={"temperature": 0.3})
    >>> b = Variant(name="warm", model="m", params={"temperature": 0.9})
    >>> differences(a, b)
    (Difference(variant='warm', path='params.temperature', control=0.3, treatment=0.9),)
    """
    # Paths are kept as steps until they are shown: the key "a.b" is not the key "b" below "a".
    ours = {path: leaf for part, value in control.settings.items() for path, leaf in _leaves(value, (part,))}
    theirs = {
        path: leaf for part, value in treatment.settings.items() for path, leaf in _leaves(value, (part,))
    }
    return tuple(
        Difference(treatment.name, ".".join(path), ours.get(path), theirs.get(path))
        for path in sorted(ours.keys() | theirs.keys())
        if (path in ours) != (path in theirs) or not _same(ours[path], theirs[path])
    )
