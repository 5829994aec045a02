"""Who may take part: where a request says who it is, conditions on attributes, layers and holdouts."""

from __future__ import annotations

import math
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
    "slot_name",
    "unit_name",
    "unit_source",
]

AttributeType = Literal["text", "number", "boolean"]
AttributeValue = str | float | bool
Test = Literal["in", "not_in", "at_least", "above", "at_most", "below", "starts_with"]
_TRUE, _FALSE = frozenset({"true", "1", "yes"}), frozenset({"false", "0", "no"})
_LONGEST = 1024
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

    def in_body(self, body: Mapping[str, Any]) -> Any:
        """What a JSON body holds at this path; None where it ends early.

        >>> Source("body", "metadata.user").in_body({"metadata": {"user": "u"}})
        'u'
        """
        found: Any = body
        for step in self.name.split("."):
            found = found.get(step) if isinstance(found, Mapping) else None
        return found


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


def unit_source(type: str, text: str | None) -> Source | None:
    """Where a request names a unit of this type; None where it names none (the column of a table is no place in it).

    A unit of type `request` without a place is named by the header `idempotency-key`.

    >>> unit_source("request", None), unit_source("user", None), unit_source("user", "a column")
    (Source(place='header', name='idempotency-key'), None, None)
    """
    if text is None:
        return Source("header", "idempotency-key") if type == "request" else None
    try:
        return parse_source(text)
    except ValueError:
        return None


def unit_name(found: object) -> str | None:
    """What a request holds as the name of a unit: a text or a whole number, of at most 1,024 characters.

    >>> unit_name(" conversation-1 "), unit_name(7), unit_name(True), unit_name(" ")
    ('conversation-1', '7', None, None)
    """
    if isinstance(found, bool) or not isinstance(found, str | int):
        return None
    name = str(found).strip()
    return name if name and len(name) <= _LONGEST else None


def slot_name(now: float, every: float) -> str:
    """The time slot of a moment, named by its start in whole seconds since 1970 UTC.

    >>> slot_name(7_300.5, 3_600.0)
    '7200'
    """
    return f"{int(now // every * every)}"


@dataclass(frozen=True, slots=True)
class Attribute:
    """Something known of a unit before treatment: its type, and where the gateway finds it (None: nowhere)."""

    type: AttributeType = "text"
    source: Source | None = None

    def read(self, value: object) -> str | float | bool | None:
        """What a request holds as the declared type; None where it is none. Headers hold text only.

        >>> Attribute("number").read("21"), Attribute("boolean").read("Yes"), Attribute("number").read(True)
        (21.0, True, None)
        """
        if self.type == "text":
            return value if isinstance(value, str) else None
        if self.type == "boolean":
            if isinstance(value, str):
                value = value.lower()
                return True if value in _TRUE else False if value in _FALSE else None
            return value if isinstance(value, bool) else None
        if isinstance(value, bool) or not isinstance(value, str | int | float):
            return None
        try:
            number = float(value)
        except (ValueError, OverflowError):
            return None
        return number if math.isfinite(number) else None


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
