"""Rules: what an answer holds to or does not, declared as one-key mappings such as `{contains: "policy"}`."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from equipoise.experiment.evaluators import Declared, Kind
from equipoise.experiment.variant import thaw
from equipoise.scoring.code_tests import CodeTests
from equipoise.scoring.evaluating import Evaluator, Score, Subject, fails, graded, passes, unscored
from equipoise.scoring.evaluators import Tools
from equipoise.scoring.judging import identity
from equipoise.scoring.python_rules import python_check
from equipoise.scoring.refusals import refuses
from equipoise.scoring.safety import Lexicon, complete, leak, not_empty, pii, read_lexicon, safety, toxicity
from equipoise.scoring.structured import contains_json, is_json, schema_check

__all__ = ["Rule", "build"]

Check = Callable[[Subject], Score]


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """An evaluator that computes: `check` says at once what it thinks of an answer.

    `inline` rules take microseconds and may run before an answer ships; the others, a user's own functions,
    run in a thread when they are awaited. Every rule takes time linear in the length of the answer, but for
    patterns and code that the definition itself brings. `content` is what a file the rule names holds: it is
    part of the digest.
    """

    declared: Declared
    says: Check = field(compare=False)
    inline: bool = True
    content: str = ""

    @property
    def name(self) -> str:
        return self.declared.name

    @property
    def kind(self) -> Kind:
        return "rule"

    @property
    def revision(self) -> int:
        return self.declared.revision

    @property
    def configuration(self) -> Mapping[str, Any]:
        """The declaration, and what stands in the files it names."""
        said = self.declared
        return {
            "rule": said.rule,
            "argument": thaw(said.argument),
            "revision": said.revision,
            "threshold": said.threshold,
            "negated": said.negated,
            "content": self.content,
        }

    @property
    def digest(self) -> str:
        """SHA-256 of the configuration."""
        return identity(self.configuration)

    @property
    def measures(self) -> tuple[str, ...]:
        return (self.declared.name,)

    def check(self, subject: Subject) -> Score:
        """What the rule says of an answer, held to its declaration."""
        return graded(self.says(subject), self.declared)

    async def score(self, subject: Subject) -> Mapping[str, Score]:
        said = self.check(subject) if self.inline else await asyncio.to_thread(self.check, subject)
        return {self.declared.name: said}


def build(declared: Declared, tools: Tools) -> Evaluator:
    """The rule that a definition declares.

    Raises DataError for a file that cannot be read or a schema that is none, DefinitionError for an
    expression that is not Python.

    >>> rule = build(Declared(name="short", rule="max_chars", argument=3), Tools())
    >>> rule.check(Subject(answer="Hello")).explanation
    '5 characters, and at most 3 are allowed'
    """
    argument = thaw(declared.argument)
    match declared.rule:
        case "code_tests":
            return CodeTests(declared)
        case "python":
            says, content = python_check(argument, tools.folder)
            # An expression is as quick as its writer made it; a function may do anything.
            return Rule(declared=declared, says=says, inline=not content, content=content)
        case "json_schema":
            says, content = schema_check(argument, tools.folder)
            return Rule(declared=declared, says=says, content=content)
        case "toxicity":
            lexicon, content = _lexicon(argument, tools.folder)
            allow = _allowed(argument)
            return Rule(
                declared=declared,
                says=lambda subject: toxicity(subject.answer, words=lexicon, allow=allow),
                content=content,
            )
    return Rule(declared=declared, says=_PLAIN[declared.rule](argument))


def _lexicon(argument: Any, folder: Path) -> tuple[Lexicon | None, str]:
    words = argument.get("words") if isinstance(argument, dict) else None
    if words is None:
        return None, ""
    source = folder / words if isinstance(words, str) else words
    lexicon = read_lexicon(source)
    return lexicon, source.read_text("utf-8") if isinstance(source, Path) else ""


def _allowed(argument: Any) -> tuple[str, ...]:
    return tuple(argument.get("allow", ())) if isinstance(argument, dict) else ()


def _compared(test: Callable[[str, str], str | None]) -> Callable[[Any], Check]:
    """A rule that compares the answer with a text, or with the case's reference."""

    def of(argument: Any) -> Check:
        def says(subject: Subject) -> Score:
            wanted = subject.reference if argument == {"from": "reference"} else argument
            if not wanted:
                return unscored("the case has no reference to compare with")
            problem = test(subject.answer, wanted)
            return passes() if problem is None else fails(problem)

        return says

    return of


def _texts(test: Callable[[str, list[str]], str | None]) -> Callable[[Any], Check]:
    def of(argument: Any) -> Check:
        wanted = [argument] if isinstance(argument, str) else list(argument)

        def says(subject: Subject) -> Score:
            problem = test(subject.answer, wanted)
            return passes() if problem is None else fails(problem)

        return says

    return of


def _counted(count: Callable[[str], int], noun: str, *, most: bool) -> Callable[[Any], Check]:
    def of(argument: Any) -> Check:
        def says(subject: Subject) -> Score:
            number = count(subject.answer)
            if number <= argument if most else number >= argument:
                return passes()
            bound = f"at most {argument} are allowed" if most else f"at least {argument} are wanted"
            return fails(f"{number} {noun}, and {bound}")

        return says

    return of


def _bounded(known: Callable[[Subject], float | None], unit: str) -> Callable[[Any], Check]:
    def of(argument: Any) -> Check:
        def says(subject: Subject) -> Score:
            value = known(subject)
            if value is None:
                return unscored(f"the {unit} of the answer is not known")
            shown, most = (f"${n:.6g}" if unit == "cost" else f"{n:.6g} s" for n in (value, argument))
            return passes() if value <= argument else fails(f"{shown}, and at most {most} is allowed")

        return says

    return of


def _shown(wanted: str) -> str:
    """A text of the definition or of a case, quoted, on one line and short."""
    line = " ".join(wanted.split())
    return f"'{line if len(line) <= 80 else line[:79] + '…'}'"


def _contains(answer: str, wanted: str) -> str | None:
    return None if wanted.casefold() in answer.casefold() else f"does not contain {_shown(wanted)}"


def _not_contains(answer: str, wanted: str) -> str | None:
    return f"contains {_shown(wanted)}" if wanted.casefold() in answer.casefold() else None


def _equals(answer: str, wanted: str) -> str | None:
    return None if answer.strip() == wanted.strip() else "is not the text it should equal"


def _starts_with(answer: str, wanted: str) -> str | None:
    begins = answer.lstrip().casefold().startswith(wanted.casefold())
    return None if begins else f"does not start with {_shown(wanted)}"


def _contains_all(answer: str, wanted: list[str]) -> str | None:
    folded = answer.casefold()
    missing = [each for each in wanted if each.casefold() not in folded]
    return f"does not contain {', '.join(map(_shown, missing))}" if missing else None


def _contains_any(answer: str, wanted: list[str]) -> str | None:
    folded = answer.casefold()
    found = any(each.casefold() in folded for each in wanted)
    return None if found else f"contains none of {', '.join(map(_shown, wanted))}"


def _regex(argument: str, *, wanted: bool) -> Check:
    pattern = re.compile(argument)

    def says(subject: Subject) -> Score:
        found = pattern.search(subject.answer) is not None
        if found is wanted:
            return passes()
        return fails(f"{'does not match' if wanted else 'matches'} the pattern {argument}")

    return says


_CITATION = re.compile(r"https?://\S|\[\d{1,4}\]|\[\^\w{1,20}\]|\(source:|\bsource:", re.IGNORECASE)


def _cites(argument: Any) -> Check:
    if isinstance(argument, list):
        return _texts(_cites_one)(argument)
    pattern = _CITATION if argument is True else re.compile(argument)

    def says(subject: Subject) -> Score:
        return passes() if pattern.search(subject.answer) else fails("cites no source")

    return says


def _cites_one(answer: str, wanted: list[str]) -> str | None:
    return None if _contains_any(answer, wanted) is None else "cites none of the sources it may"


def _refusal(argument: Any) -> Check:
    expected = argument == "expected"

    def says(subject: Subject) -> Score:
        if refuses(subject.answer) is expected:
            return passes()
        return fails("does not refuse" if expected else "refuses to answer")

    return says


def _words(answer: str) -> int:
    return len(answer.split())


_PLAIN: Mapping[str, Callable[[Any], Check]] = {
    "cites": _cites,
    "complete": lambda _: lambda subject: complete(subject.answer, subject.finish_reason),
    "contains": _compared(_contains),
    "contains_all": _texts(_contains_all),
    "contains_any": _texts(_contains_any),
    "contains_json": lambda _: lambda subject: contains_json(subject.answer),
    "cost": _bounded(lambda subject: subject.cost_usd, "cost"),
    "equals": _compared(_equals),
    "json_valid": lambda _: lambda subject: is_json(subject.answer),
    "latency": _bounded(lambda subject: subject.latency_s, "latency"),
    "leak": lambda argument: (
        lambda subject: leak(subject.answer, [argument] if isinstance(argument, str) else argument)
    ),
    "max_chars": _counted(len, "characters", most=True),
    "max_words": _counted(_words, "words", most=True),
    "min_chars": _counted(len, "characters", most=False),
    "min_words": _counted(_words, "words", most=False),
    "not_contains": _compared(_not_contains),
    "not_empty": lambda _: lambda subject: not_empty(subject.answer),
    "not_regex": lambda argument: _regex(argument, wanted=False),
    "pii": lambda argument: lambda subject: pii(subject.answer, allow=_allowed(argument)),
    "refusal": _refusal,
    "regex": lambda argument: _regex(argument, wanted=True),
    "safety": lambda argument: lambda subject: safety(subject.answer, allow=_allowed(argument)),
    "starts_with": _compared(_starts_with),
}
