"""Rules: plain checks of a text, declared as one-key mappings such as `{contains: "policy"}`."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from equipoise.errors import DefinitionError, Fault, nearest
from equipoise.scoring.passing import CheckResult, Failed, Passed
from equipoise.scoring.safety import not_empty, pii, safety

__all__ = ["RULES", "Check", "CheckResult", "Failed", "Passed", "read_checks"]


@dataclass(frozen=True, slots=True)
class Check:
    """One rule with its argument. `name` is the rule's, unless the declaration gives one.

    >>> Check("contains", "contains", "policy").run("Our Policy says so.")
    Passed()
    >>> Check("max_chars", "max_chars", 3).run("Hello")
    Failed(reason='5 characters, and at most 3 are allowed')
    """

    name: str
    rule: str
    argument: Any = True

    @property
    def needs_reference(self) -> bool:
        """Whether the rule compares with the case's reference (`{equals: {from: reference}}`)."""
        return isinstance(self.argument, Mapping) and self.argument.get("from") == "reference"

    def run(self, text: str, reference: str | None = None) -> CheckResult:
        """Passed, or Failed with the reason. A rule that needs a reference must be given one."""
        argument = self.argument
        if self.needs_reference:
            if reference is None:
                raise ValueError(f"the check '{self.name}' needs a reference")
            argument = reference
        return RULES[self.rule].run(text, argument)


@dataclass(frozen=True, slots=True)
class Rule:
    """What a rule does, which arguments it takes (in words, and as a test), and whether it needs one."""

    run: Callable[[str, Any], CheckResult]
    accepted: str
    takes: Callable[[Any], bool]
    bare: bool = False


def _passed(holds: bool, reason: str) -> CheckResult:
    return Passed() if holds else Failed(reason)


def _equals(text: str, wanted: str) -> CheckResult:
    return _passed(text.strip() == wanted.strip(), "the text is not the one that is wanted")


def _contains(text: str, wanted: str) -> CheckResult:
    return _passed(wanted.casefold() in text.casefold(), f"does not contain {_quoted(wanted)}")


def _not_contains(text: str, unwanted: str) -> CheckResult:
    return _passed(unwanted.casefold() not in text.casefold(), f"contains {_quoted(unwanted)}")


def _regex(text: str, pattern: str) -> CheckResult:
    return _passed(re.search(pattern, text) is not None, f"nothing matches {_quoted(pattern)}")


def _json_valid(text: str, _: object) -> CheckResult:
    try:
        orjson.loads(text)
    except orjson.JSONDecodeError as error:
        return Failed(f"not JSON: {error.msg} at line {error.lineno} column {error.colno}")
    return Passed()


def _max_chars(text: str, most: int) -> CheckResult:
    return _passed(len(text) <= most, f"{len(text)} characters, and at most {most} are allowed")


def _min_chars(text: str, least: int) -> CheckResult:
    return _passed(len(text) >= least, f"{len(text)} characters, and at least {least} are wanted")


def _quoted(text: str) -> str:
    return repr(text if len(text) <= 60 else text[:59] + "…")


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


def _is_allowance(argument: Any) -> bool:
    return argument is True or (
        isinstance(argument, Mapping)
        and set(argument) == {"allow"}
        and isinstance(argument["allow"], list | tuple)
        and all(isinstance(each, str) for each in argument["allow"])
    )


def _allowed(argument: Any) -> Sequence[str]:
    return () if argument is True else tuple(argument["allow"])


_TEXT = "a text, or {from: reference}"
_ALLOW = "true, or {allow: [what may be said]}"
RULES: Mapping[str, Rule] = {
    "contains": Rule(_contains, _TEXT, _is_text),
    "equals": Rule(_equals, _TEXT, _is_text),
    "json_valid": Rule(_json_valid, "true", lambda argument: argument is True, bare=True),
    "max_chars": Rule(_max_chars, "a whole number", _is_count),
    "min_chars": Rule(_min_chars, "a whole number", _is_count),
    "not_contains": Rule(_not_contains, _TEXT, _is_text),
    "not_empty": Rule(lambda text, _: not_empty(text), "true", lambda argument: argument is True, bare=True),
    "pii": Rule(lambda text, argument: pii(text, allow=_allowed(argument)), _ALLOW, _is_allowance, bare=True),
    "regex": Rule(_regex, "a regular expression of Python", _is_pattern),
    "safety": Rule(
        lambda text, argument: safety(text, allow=_allowed(argument)), _ALLOW, _is_allowance, bare=True
    ),
}
"""Every rule by name. Words are compared without regard to case, except by `equals` and `regex`."""


def read_checks(
    declared: Sequence[Mapping[str, Any]], *, must_pass: Sequence[str] = ()
) -> tuple[tuple[Check, ...], frozenset[str]]:
    """The checks of a definition, and the names of those that every case must pass.

    `must_pass` names checks or rules; a rule that needs no argument (`safety`, `pii`, `not_empty`,
    `json_valid`) need not be declared. A second check of the same rule is given a name of its own:
    `{contains: refund, name: refunds}`. Raises DefinitionError with every fault found.

    >>> checks, needed = read_checks([{"contains": "policy"}], must_pass=["safety"])
    >>> [check.name for check in checks], sorted(needed)
    (['contains', 'safety'], ['safety'])
    """
    faults: list[Fault] = []
    checks: list[Check] = []
    for index, each in enumerate(declared):
        found = _read(each, f"offline.checks[{index}]", {check.name for check in checks})
        if isinstance(found, Fault):
            faults.append(found)
        else:
            checks.append(found)
    needed: set[str] = set()
    for index, name in enumerate(must_pass):
        matching = {check.name for check in checks if name in (check.name, check.rule)}
        if not matching and name in RULES and RULES[name].bare:
            checks.append(Check(name, name))
            matching = {name}
        if not matching and not faults:
            known = [*(check.name for check in checks), *(rule for rule in RULES if RULES[rule].bare)]
            faults.append(
                Fault(
                    f"no check is called '{name}'",
                    field=f"offline.gate.must_pass[{index}]",
                    accepted=", ".join(dict.fromkeys(known)),
                    next=nearest(name, known),
                )
            )
        needed |= matching
    if faults:
        raise DefinitionError(faults)
    return tuple(checks), frozenset(needed)


def _read(declared: Mapping[str, Any], field: str, taken: set[str]) -> Check | Fault:
    rules = [key for key in declared if key != "name"]
    if len(rules) != 1:
        return Fault(
            f"a check has one rule, and this has {len(rules)}",
            field=field,
            accepted="{RULE: argument}, such as {contains: policy}",
        )
    rule = rules[0]
    if rule not in RULES:
        return Fault(
            f"there is no rule '{rule}'",
            field=field,
            accepted=", ".join(sorted(RULES)),
            next=nearest(rule, RULES),
        )
    if not RULES[rule].takes(_thawed(declared[rule])):
        return Fault(
            f"'{rule}' does not take {declared[rule]!r}",
            field=f"{field}.{rule}",
            accepted=RULES[rule].accepted,
        )
    name = declared.get("name", rule)
    if not isinstance(name, str) or not name:
        return Fault("the name of a check is a text", field=f"{field}.name", accepted="a text")
    if name in taken:
        return Fault(
            f"a second check is called '{name}'", field=field, next=f"name it: {{{rule}: …, name: ANOTHER}}"
        )
    return Check(name, rule, declared[rule])


def _thawed(argument: Any) -> Any:
    return dict(argument) if isinstance(argument, Mapping) else argument
