"""Rules: plain checks of a text, declared as one-key mappings such as `{contains: "policy"}`."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from equipoise.errors import DefinitionError, Fault, dotted
from equipoise.experiment.checks import check_faults
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
        return RULES[self.rule](text, argument)


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


def _allowed(argument: Any) -> Sequence[str]:
    return () if argument is True else tuple(argument["allow"])


RULES: Mapping[str, Callable[[str, Any], CheckResult]] = {
    "contains": _contains,
    "equals": _equals,
    "json_valid": _json_valid,
    "max_chars": _max_chars,
    "min_chars": _min_chars,
    "not_contains": _not_contains,
    "not_empty": lambda text, _: not_empty(text),
    "pii": lambda text, argument: pii(text, allow=_allowed(argument)),
    "regex": _regex,
    "safety": lambda text, argument: safety(text, allow=_allowed(argument)),
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
    faults = [
        Fault(each.problem, field=f"offline.{dotted(each.path)}", accepted=each.accepted, next=each.next)
        for each in check_faults(declared, must_pass)
    ]
    if faults:
        raise DefinitionError(faults)
    checks = []
    for each in declared:
        rule = next(key for key in each if key != "name")
        checks.append(Check(each.get("name", rule), rule, each[rule]))
    needed: set[str] = set()
    for name in must_pass:
        matching = {check.name for check in checks if name in (check.name, check.rule)}
        if not matching:
            checks.append(Check(name, name))
            matching = {name}
        needed |= matching
    return tuple(checks), frozenset(needed)
