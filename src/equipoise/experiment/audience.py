"""Who may take part: where a request says who it is, conditions on attributes, layers and holdouts."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from fractions import Fraction
from operator import ge, gt, le, lt
from typing import Any, Literal, get_args

__all__ = [
    "TESTS",
    "Attribute",
    "AttributeType",
    "AttributeValue",
    "Condition",
    "Layer",
    "Source",
    "Test",
    "parse_conditions",
    "parse_source",
]

AttributeType = Literal["text", "number", "boolean"]
AttributeValue = str | float | bool
Test = Literal["in", "not_in", "at_least", "above", "at_most", "below", "starts_with"]
TESTS: tuple[Test, ...] = get_args(Test)
_COMPARE: Mapping[Test, Callable[[Any, Any], bool]] = {
    "at_least": ge,
    "above": gt,
    "at_most": le,
    "below": lt,
}


@dataclass(frozen=True, slots=True)
class Source:
    """Where a request holds something: a header or cookie (by name), or a field of its JSON body (by path)."""

    place: Literal["header", "cookie", "body"]
    name: str

    def __str__(self) -> str:
        return f"{self.place}:{self.name}"


def parse_source(text: str) -> Source:
    """Read `header:x-user-id`, `cookie:sid` or `body:metadata.user`; ValueError for anything else.

    Names of headers have no case; a path into the body is made of keys with dots between them.

    >>> str(parse_source("header:X-User-Id"))
    'header:x-user-id'
    """
    place, colon, name = text.partition(":")
    name = name.strip()
    if not colon or not name or any(each.isspace() for each in name):
        raise ValueError(text)
    if place == "header":
        return Source("header", name.lower())
    if place == "cookie":
        return Source("cookie", name)
    if place == "body" and all(name.split(".")):
        return Source("body", name)
    raise ValueError(text)


@dataclass(frozen=True, slots=True)
class Attribute:
    """Something known of a unit before treatment: its type, and where the gateway finds it (None: nowhere)."""

    type: AttributeType = "text"
    source: Source | None = None


@dataclass(frozen=True, slots=True)
class Condition:
    """One test of one attribute; `value` is a tuple for `in` and `not_in`, else a number or a text.

    Tests are typed: `true` is not 1, "3" is not 3. An attribute that is absent or of another type fulfils no
    condition, not even `not_in`: of whom nothing is known, nothing is concluded.
    """

    attribute: str
    test: Test
    value: AttributeValue | tuple[AttributeValue, ...]

    def holds(self, attributes: Mapping[str, Any]) -> bool:
        """Whether the attributes fulfil the condition.

        >>> Condition("age", "at_least", 18).holds({"age": 21}), Condition("age", "at_least", 18).holds({"age": "21"})
        (True, False)
        """
        return self.tester()(attributes.get(self.attribute))

    def tester(self) -> Callable[[object], bool]:
        """The test of a value as one function, for a path where each call counts."""
        value, wanted = self.value, self.test != "not_in"
        if isinstance(value, tuple):
            listed = {(_kind(each), each) for each in value}
            kinds = {_kind(each) for each in value}
            if kinds == {str}:
                texts = frozenset(value)
                if wanted:
                    return _within(texts)
                return lambda found: isinstance(found, str) and found not in texts

            def among(found: object) -> bool:
                # `True == 1` to Python, and so the kind is part of the key.
                kind = str if type(found) is str else _kind(found)
                return kind in kinds and ((kind, found) in listed) is wanted

            return among
        if self.test == "starts_with":
            return lambda found: isinstance(found, str) and found.startswith(str(value))
        compare = _COMPARE[self.test]
        return lambda found: _kind(found) is float and compare(found, value)


def _within(texts: frozenset[Any]) -> Callable[[object], bool]:
    def within(found: object) -> bool:
        # Nothing but a text is equal to one; what cannot be looked up is none.
        try:
            return found in texts
        except TypeError:
            return False

    return within


def _kind(value: object) -> type | None:
    if isinstance(value, bool):
        return bool
    if isinstance(value, int | float):
        return float
    return str if isinstance(value, str) else None


def parse_conditions(target: Mapping[str, Any]) -> tuple[Condition, ...]:
    """Read conditions: a value, a list of values, or tests by name, for each attribute. All must hold.

    Raises ValueError(attribute, what was wrong) for what is no condition.

    >>> parse_conditions({"country": ["DE", "FR"], "age": {"at_least": 18}})[1]
    Condition(attribute='country', test='in', value=('DE', 'FR'))
    """
    found: list[Condition] = []
    for attribute, said in sorted(target.items()):
        tests = said if isinstance(said, Mapping) else {"in": said}
        if not tests:
            raise ValueError(attribute, "no test")
        for test, value in sorted(tests.items()):
            found.append(_condition(attribute, test, value))
    return tuple(found)


def _condition(attribute: str, test: str, value: Any) -> Condition:
    if test not in TESTS:
        raise ValueError(attribute, f"the test '{test}'")
    if test in ("in", "not_in"):
        listed = value if isinstance(value, list | tuple) else [value]
        if not listed or any(_kind(each) is None for each in listed):
            raise ValueError(attribute, f"{value!r} for '{test}'")
        return Condition(attribute, test, tuple(listed))
    wanted = float if test in _COMPARE else str
    if _kind(value) is not wanted:
        raise ValueError(attribute, f"{value!r} for '{test}'")
    return Condition(attribute, test, value)


@dataclass(frozen=True, slots=True)
class Layer:
    """A place among mutually exclusive experiments: units whose point in the layer is in [start, end)."""

    name: str
    start: Fraction = Fraction(0)
    end: Fraction = Fraction(1)

    def overlaps(self, other: Layer) -> bool:
        """Whether a unit can fall into both.

        >>> Layer("bot", Fraction(0), Fraction(1, 2)).overlaps(Layer("bot", Fraction(1, 2), Fraction(1)))
        False
        """
        return self.name == other.name and self.start < other.end and other.start < self.end
