"""How evaluators are declared: which there are and what each takes. What they do is `scoring`'s.

A definition is read before anything is scored, and a misspelt evaluator must be told together with every
other fault of the file; so the grammar of evaluators is part of the definition.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from equipoise.errors import nearest

__all__ = [
    "GRAMMAR",
    "Declared",
    "EvaluatorFault",
    "EvaluatorForm",
    "Kind",
    "declared",
    "evaluator_faults",
    "measures_of",
]

Kind = Literal["rule", "similarity", "judge", "plugin"]
OPTIONS = ("name", "revision", "threshold", "negated")
"""What may stand beside an evaluator's own key."""


@dataclass(frozen=True, slots=True)
class EvaluatorForm:
    """Which arguments an evaluator takes, in words and as a test; `bare` ones may be named without any.

    `scored` ones give a number; the others pass or fail.
    """

    accepted: str
    takes: Callable[[Any], bool]
    bare: bool = False
    kind: Kind = "rule"
    scored: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Declared:
    """An evaluator as a definition declares it.

    `threshold`: a score from there on passes. `negated`: what would pass fails, and the other way round.
    A change of `revision` starts a new series of scores.
    """

    name: str
    rule: str
    argument: Any = True
    revision: int = 1
    threshold: float | None = None
    negated: bool = False

    @property
    def kind(self) -> Kind:
        return GRAMMAR[self.rule].kind


@dataclass(frozen=True, slots=True)
class EvaluatorFault:
    """Something wrong with an evaluator, at a path below `offline`."""

    path: tuple[str | int, ...]
    problem: str
    accepted: str | None = None
    next: str | None = None


def _is_text(argument: Any) -> bool:
    return (isinstance(argument, str) and argument != "") or argument == {"from": "reference"}


def _is_texts(argument: Any) -> bool:
    return (
        isinstance(argument, list | tuple)
        and len(argument) > 0
        and all(isinstance(each, str) and each != "" for each in argument)
    )


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


def _is_positive(argument: Any) -> bool:
    return (
        isinstance(argument, int | float)
        and not isinstance(argument, bool)
        and math.isfinite(argument)
        and argument > 0
    )


def _is_true(argument: Any) -> bool:
    return argument is True


def _is_words(argument: Any) -> bool:
    return isinstance(argument, str) and argument.strip() != ""


def _options(required: Mapping[str, Callable[[Any], bool]], **optional: Callable[[Any], bool]) -> Any:
    """A test for a mapping that has every required key, perhaps some optional ones, and no other."""

    def takes(argument: Any) -> bool:
        if not isinstance(argument, Mapping) or set(required) - set(argument):
            return False
        known = {**required, **optional}
        return all(key in known and known[key](value) for key, value in argument.items())

    return takes


def _either(*takes: Callable[[Any], bool]) -> Callable[[Any], bool]:
    return lambda argument: any(each(argument) for each in takes)


def _one_of(*accepted: Any) -> Callable[[Any], bool]:
    return lambda argument: any(argument is each or argument == each for each in accepted)


_is_allowance = _either(_is_true, _options({"allow": _is_texts}))
_is_toxicity = _either(_is_true, _options({}, words=_either(_is_texts, _is_words), allow=_is_texts))
_is_cosine = _either(
    _is_true,
    _options({}, of=_one_of("characters", "words"), n=lambda n: _is_count(n) and 1 <= n <= 10),
)
_is_embedding = _either(
    _options({"model": _is_words}, base_url=_is_words, key_env=_is_words), _options({"local": _is_words})
)
_is_greedy = _either(
    _options({"model": _is_words}, base_url=_is_words, key_env=_is_words, of=_one_of("words", "sentences")),
    _options({"local": _is_words}, of=_one_of("words", "sentences")),
)
_is_scale = lambda top: _is_count(top) and 2 <= top <= 10  # noqa: E731 - one line says it
_is_code = _options({}, tests=_is_text, timeout_s=_is_positive, memory_mb=_is_positive, entry=_is_words)

_TEXT = "a text, or {from: reference}"
_TEXTS = "a list of texts"
_ALLOW = "true, or {allow: [what may be said]}"
_EMBEDDING = "{model: NAME, base_url: …, key_env: …}, or {local: NAME}"

GRAMMAR: Mapping[str, EvaluatorForm] = {
    # Rules: an answer holds to them or does not.
    "cites": EvaluatorForm(
        "true (a link or a mark such as [1]), a regular expression, or a list of sources",
        _either(_is_true, _is_pattern, _is_texts),
        bare=True,
    ),
    "code_tests": EvaluatorForm(
        "true (the tests are the case's reference), or {tests: …, timeout_s: …, memory_mb: …}",
        _either(_is_true, _is_code),
        bare=True,
    ),
    "complete": EvaluatorForm("true", _is_true, bare=True),
    "contains": EvaluatorForm(_TEXT, _is_text),
    "contains_all": EvaluatorForm(_TEXTS, _is_texts),
    "contains_any": EvaluatorForm(_TEXTS, _is_texts),
    "contains_json": EvaluatorForm("true", _is_true, bare=True),
    "cost": EvaluatorForm("the most an answer may cost, in US dollars", _is_positive),
    "equals": EvaluatorForm(_TEXT, _is_text),
    "json_schema": EvaluatorForm(
        "a JSON Schema, or the name of a file that holds one",
        _either(_is_words, lambda argument: isinstance(argument, Mapping)),
    ),
    "json_valid": EvaluatorForm("true", _is_true, bare=True),
    "latency": EvaluatorForm("the longest an answer may take, in seconds", _is_positive),
    "leak": EvaluatorForm(
        "a text or a list of texts that no answer may repeat", _either(_is_words, _is_texts)
    ),
    "max_chars": EvaluatorForm("a whole number", _is_count),
    "max_words": EvaluatorForm("a whole number", _is_count),
    "min_chars": EvaluatorForm("a whole number", _is_count),
    "min_words": EvaluatorForm("a whole number", _is_count),
    "not_contains": EvaluatorForm(_TEXT, _is_text),
    "not_empty": EvaluatorForm("true", _is_true, bare=True),
    "not_regex": EvaluatorForm("a regular expression of Python", _is_pattern),
    "pii": EvaluatorForm(_ALLOW, _is_allowance, bare=True),
    "python": EvaluatorForm("an expression of Python, or FILE.py:FUNCTION", _is_words, scored=True),
    "refusal": EvaluatorForm(
        "true (no answer may refuse), or `expected` (every answer must)", _one_of(True, "expected"), bare=True
    ),
    "regex": EvaluatorForm("a regular expression of Python", _is_pattern),
    "safety": EvaluatorForm(_ALLOW, _is_allowance, bare=True),
    "starts_with": EvaluatorForm(_TEXT, _is_text),
    "toxicity": EvaluatorForm(
        "true, or {words: a file or a list, allow: [what may be said]}", _is_toxicity, bare=True
    ),
    # Similarities to the reference, from 0 to 1.
    "bleu": EvaluatorForm("true", _is_true, bare=True, kind="similarity", scored=True),
    "chrf": EvaluatorForm("true", _is_true, bare=True, kind="similarity", scored=True),
    "cosine": EvaluatorForm(
        "true, or {of: characters or words, n: 1 to 10}",
        _is_cosine,
        bare=True,
        kind="similarity",
        scored=True,
    ),
    "embedding": EvaluatorForm(_EMBEDDING, _is_embedding, kind="similarity", scored=True),
    "greedy_match": EvaluatorForm(
        _EMBEDDING + ", and of: sentences or words", _is_greedy, kind="similarity", scored=True
    ),
    "rouge": EvaluatorForm(
        "rougeL, rouge1 or rouge2",
        _one_of(True, "rougeL", "rouge1", "rouge2"),
        bare=True,
        kind="similarity",
        scored=True,
    ),
    # Judges: a language model is asked.
    "faithfulness": EvaluatorForm("true", _is_true, bare=True, kind="judge", scored=True),
    "g_eval": EvaluatorForm(
        "what is judged, or {criteria: …, steps: [how], top: 2 to 10}",
        _either(_is_words, _options({"criteria": _is_words}, steps=_is_texts, top=_is_scale)),
        kind="judge",
        scored=True,
    ),
    "meets": EvaluatorForm("a statement that an answer meets or does not", _is_words, kind="judge"),
    # Somebody else's, found by its entry point.
    "plugin": EvaluatorForm(
        "{use: NAME, and what it takes}",
        lambda argument: isinstance(argument, Mapping) and _is_words(argument.get("use")),
        kind="plugin",
        scored=True,
    ),
}
"""Every evaluator by name."""


def declared(listed: Sequence[Mapping[str, Any]]) -> tuple[Declared, ...]:
    """The evaluators of a list that has no faults.

    >>> declared([{"contains": "policy", "name": "cites policy"}])[0].rule
    'contains'
    """
    found = []
    for each in listed:
        rule = _rules(each)[0]
        options = {key: each[key] for key in OPTIONS if key in each}
        found.append(Declared(**{"name": rule, "rule": rule, "argument": each[rule]} | options))
    return tuple(found)


def measures_of(listed: Sequence[Mapping[str, Any]], axes: Sequence[str] = ()) -> tuple[str, ...]:
    """The names of what is measured: those of the evaluators, and the axes of the rubric.

    >>> measures_of([{"contains": "policy"}, {"cosine": True, "name": "close"}], ["clarity"])
    ('contains', 'close', 'clarity')
    """
    named = [str(each.get("name", rules[0])) for each in listed if (rules := _rules(each))]
    return tuple(dict.fromkeys([*named, *axes]))


def evaluator_faults(
    listed: Sequence[Mapping[str, Any]], must_pass: Sequence[str] = ()
) -> Iterator[EvaluatorFault]:
    """Everything wrong with a definition's evaluators and with the names of those that must pass.

    >>> [fault.problem for fault in evaluator_faults([{"contans": "x"}], ["safety"])]
    ["there is no evaluator 'contans'"]
    """
    names: list[str] = []
    faulty = False
    for index, each in enumerate(listed):
        faults = list(_faults(each, ("evaluators", index), names))
        faulty = faulty or bool(faults)
        yield from faults
        if not faults:
            names.append(str(each.get("name", _rules(each)[0])))
    rules = {rule for each in listed for rule in _rules(each)}
    known = dict.fromkeys(
        [*names, *(rule for rule, form in GRAMMAR.items() if form.bare and not form.scored)]
    )
    for index, name in enumerate(must_pass):
        # With a faulty evaluator nobody knows which names there should be.
        if name not in known and name not in rules and not faulty:
            yield EvaluatorFault(
                ("gate", "must_pass", index),
                f"no evaluator is called '{name}'",
                ", ".join(known),
                nearest(name, known),
            )


def _rules(each: Mapping[str, Any]) -> list[str]:
    return [key for key in each if key not in OPTIONS]


def _faults(
    each: Mapping[str, Any], path: tuple[str | int, ...], taken: Sequence[str]
) -> Iterator[EvaluatorFault]:
    rules = _rules(each)
    if len(rules) != 1:
        yield EvaluatorFault(
            path,
            f"an evaluator has one rule, and this has {len(rules)}",
            "{RULE: argument}, such as {contains: policy}",
            next((near for rule in rules if (near := nearest(rule, OPTIONS))), None),
        )
        return
    rule = rules[0]
    if rule not in GRAMMAR:
        yield EvaluatorFault(
            path, f"there is no evaluator '{rule}'", ", ".join(sorted(GRAMMAR)), nearest(rule, GRAMMAR)
        )
        return
    form = GRAMMAR[rule]
    argument = _thawed(each[rule])
    if not form.takes(argument):
        yield EvaluatorFault((*path, rule), f"'{rule}' does not take {argument!r}", form.accepted)
    name = each.get("name", rule)
    if not isinstance(name, str) or not name:
        yield EvaluatorFault((*path, "name"), "the name of an evaluator is a text", "a text")
    elif name in taken:
        yield EvaluatorFault(
            path, f"a second evaluator is called '{name}'", None, f"name it: {{{rule}: …, name: ANOTHER}}"
        )
    if not (_is_count(each.get("revision", 1)) and each.get("revision", 1) >= 1):
        yield EvaluatorFault((*path, "revision"), "a revision is a whole number", "1, 2, …")
    if not isinstance(each.get("negated", False), bool):
        yield EvaluatorFault((*path, "negated"), "negated is yes or no", "true or false")
    threshold = each.get("threshold")
    if threshold is not None and not (
        isinstance(threshold, int | float) and not isinstance(threshold, bool) and math.isfinite(threshold)
    ):
        yield EvaluatorFault((*path, "threshold"), "a threshold is a number", "a number")
    elif threshold is not None and not form.scored:
        yield EvaluatorFault(
            (*path, "threshold"), f"'{rule}' passes or fails and gives no number to hold to a threshold"
        )


def _thawed(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _thawed(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_thawed(item) for item in value]
    return value
