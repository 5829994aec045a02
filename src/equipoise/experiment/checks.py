"""How checks are declared: which rules there are and what each takes. What they do is `scoring`'s.

A definition is read before anything is scored, and a misspelt rule must be told together with every other
fault of the file; so the grammar of checks is part of the definition.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from equipoise.errors import nearest

__all__ = ["GRAMMAR", "CheckFault", "RuleForm", "check_faults"]


@dataclass(frozen=True, slots=True)
class RuleForm:
    """Which arguments a rule takes, in words and as a test; `bare` rules may be named without any."""

    accepted: str
    takes: Callable[[Any], bool]
    bare: bool = False


@dataclass(frozen=True, slots=True)
class CheckFault:
    """Something wrong with a check, at a path below `offline`."""

    path: tuple[str | int, ...]
    problem: str
    accepted: str | None = None
    next: str | None = None


def _is_text(argument: Any) -> bool:
    return (isinstance(argument, str) and argument != "") or argument == {"from": "reference"}


def _is_pattern(argument: Any) -> bool:
    if not isinstance(argument, str):
        return False
    try:
        re.compile(argument)
    except (re.error, RecursionError, OverflowError):
        return False
    return True


def _is_count(argument: Any) -> bool:
    return isinstance(argument, int) and not isinstance(argument, bool) and argument >= 0


def _is_true(argument: Any) -> bool:
    return argument is True


def _is_allowance(argument: Any) -> bool:
    return argument is True or (
        isinstance(argument, Mapping)
        and set(argument) == {"allow"}
        and isinstance(argument["allow"], list | tuple)
        and all(isinstance(each, str) for each in argument["allow"])
    )


_TEXT = "a text, or {from: reference}"
_ALLOW = "true, or {allow: [what may be said]}"
GRAMMAR: Mapping[str, RuleForm] = {
    "contains": RuleForm(_TEXT, _is_text),
    "equals": RuleForm(_TEXT, _is_text),
    "json_valid": RuleForm("true", _is_true, bare=True),
    "max_chars": RuleForm("a whole number", _is_count),
    "min_chars": RuleForm("a whole number", _is_count),
    "not_contains": RuleForm(_TEXT, _is_text),
    "not_empty": RuleForm("true", _is_true, bare=True),
    "pii": RuleForm(_ALLOW, _is_allowance, bare=True),
    "regex": RuleForm("a regular expression of Python", _is_pattern),
    "safety": RuleForm(_ALLOW, _is_allowance, bare=True),
}
"""Every rule by name."""


def check_faults(
    declared: Sequence[Mapping[str, Any]], must_pass: Sequence[str] = ()
) -> Iterator[CheckFault]:
    """Everything wrong with a definition's checks and with the names of those that must pass.

    >>> [fault.problem for fault in check_faults([{"contans": "x"}], ["safety"])]
    ["there is no rule 'contans'"]
    """
    names: list[str] = []
    faulty = False
    for index, check in enumerate(declared):
        fault = _fault(check, ("checks", index), names)
        if fault is not None:
            faulty = True
            yield fault
        else:
            rule = next(key for key in check if key != "name")
            names += [check.get("name", rule)]
    rules = {next(key for key in check if key != "name") for check in declared if set(check) - {"name"}}
    known = dict.fromkeys([*names, *(rule for rule, form in GRAMMAR.items() if form.bare)])
    for index, name in enumerate(must_pass):
        # With a faulty check nobody knows which names there should be.
        if name not in known and name not in rules and not faulty:
            yield CheckFault(
                ("gate", "must_pass", index),
                f"no check is called '{name}'",
                ", ".join(known),
                nearest(name, known),
            )


def _fault(check: Mapping[str, Any], path: tuple[str | int, ...], taken: Sequence[str]) -> CheckFault | None:
    rules = [key for key in check if key != "name"]
    if len(rules) != 1:
        return CheckFault(
            path,
            f"a check has one rule, and this has {len(rules)}",
            "{RULE: argument}, such as {contains: policy}",
        )
    rule = rules[0]
    if rule not in GRAMMAR:
        return CheckFault(
            path, f"there is no rule '{rule}'", ", ".join(sorted(GRAMMAR)), nearest(rule, GRAMMAR)
        )
    argument = dict(check[rule]) if isinstance(check[rule], Mapping) else check[rule]
    if not GRAMMAR[rule].takes(argument):
        return CheckFault((*path, rule), f"'{rule}' does not take {argument!r}", GRAMMAR[rule].accepted)
    name = check.get("name", rule)
    if not isinstance(name, str) or not name:
        return CheckFault((*path, "name"), "the name of a check is a text", "a text")
    if name in taken:
        return CheckFault(
            path, f"a second check is called '{name}'", None, f"name it: {{{rule}: …, name: ANOTHER}}"
        )
    return None
