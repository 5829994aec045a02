"""Checks that may block an answer before it ships, or a request before it is sent: what `inline` lists."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from equipoise.experiment.variant import thaw
from equipoise.scoring.evaluating import Score, Subject
from equipoise.scoring.safety import complete, not_empty, pii, toxicity
from equipoise.scoring.structured import schema_check

__all__ = ["Inline", "InlineCheck", "inline_checks"]

Check = Callable[[Subject], Score]

_PLAIN: Mapping[str, Check] = {
    "empty": lambda subject: not_empty(subject.answer),
    "length": lambda subject: complete(subject.answer, subject.finish_reason),
    "pii": lambda subject: pii(subject.answer),
    "toxicity": lambda subject: toxicity(subject.answer),
}
_UNSAFE = frozenset({"pii", "toxicity"})
"""What says that an answer is not safe; the other checks are about its form."""


@dataclass(frozen=True, slots=True)
class InlineCheck:
    """One check: what it looks at, whether a streamed answer waits for it whole, and what is said instead."""

    name: str
    run: Check
    on_request: bool
    on_response: bool
    buffer: bool
    fallback: str | None


@dataclass(frozen=True, slots=True)
class Inline:
    """All checks of a definition; everything is computed here, and nothing is asked of anybody."""

    checks: tuple[InlineCheck, ...]

    @property
    def buffers(self) -> bool:
        """Whether a streamed answer is held until it is whole."""
        return any(each.buffer for each in self.checks)

    @property
    def watched(self) -> frozenset[str]:
        """The checks that can stop a stream while it is written."""
        return frozenset(each.name for each in self.checks if each.on_response) & _UNSAFE

    def of_request(self, text: str) -> tuple[tuple[InlineCheck, Score], ...]:
        """What a request does not hold to."""
        subject = Subject(answer=text)
        found = ((each, each.run(subject)) for each in self.checks if each.on_request)
        return tuple((each, score) for each, score in found if score.passed is False)

    def of_response(self, subject: Subject) -> tuple[tuple[InlineCheck, Score], ...]:
        """What an answer does not hold to.

        >>> inline = inline_checks(["pii", "empty", {"json_schema": {"type": "object"}}])
        >>> [check.name for check, _ in inline.of_response(Subject(answer="Write to jo@example.org"))]
        ['pii', 'json_schema']
        >>> inline.of_response(Subject(answer='{"answer": "It takes five days."}'))
        ()
        """
        found = ((each, each.run(subject)) for each in self.checks if each.on_response)
        return tuple((each, score) for each, score in found if score.passed is False)

    def verdicts(self, failing: tuple[tuple[InlineCheck, Score], ...]) -> dict[str, str] | None:
        """What each check of a whole answer found, `passed` or `failed`; None where answers are not checked.

        >>> inline = inline_checks(["pii", "empty", {"check": "toxicity", "on": "request"}])
        >>> inline.verdicts(inline.of_response(Subject(answer="Write to jo@example.org")))
        {'pii': 'failed', 'empty': 'passed'}
        """
        failed = {each.name for each, _ in failing}
        looked = [each.name for each in self.checks if each.on_response]
        return {name: "failed" if name in failed else "passed" for name in looked} or None

    @staticmethod
    def unsafe(failing: tuple[tuple[InlineCheck, Score], ...]) -> bool:
        """Whether what fails says that the text is not safe."""
        return any(each.name in _UNSAFE for each, _ in failing)


def inline_checks(declared: Sequence[str | Mapping[str, Any]]) -> Inline:
    """The checks of a definition, ready to run. Schemas are compiled once; DataError for one that is none.

    A JSON Schema needs the whole answer, so a streamed one waits for it.
    """
    checks: list[InlineCheck] = []
    for each in declared:
        said: Mapping[str, Any] = {"check": each} if isinstance(each, str) else each
        on = said.get("on", "response")
        if "json_schema" in said:
            name, run = "json_schema", schema_check(thaw(said["json_schema"]), Path())[0]
        else:
            name = said["check"]
            run = _PLAIN[name]
        checks.append(
            InlineCheck(
                name,
                run,
                on in ("request", "both"),
                on in ("response", "both"),
                bool(said.get("buffer")) or name == "json_schema",
                said.get("fallback"),
            )
        )
    return Inline(tuple(checks))
