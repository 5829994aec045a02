"""Checks that may block an answer before it ships: what a definition lists under `inline`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from equipoise.experiment.variant import thaw
from equipoise.scoring.evaluating import Score, Subject
from equipoise.scoring.safety import complete, not_empty, pii, toxicity
from equipoise.scoring.structured import schema_check

__all__ = ["Inline", "inline_checks"]

Inline = Callable[[Subject], tuple[tuple[str, Score], ...]]

_PLAIN: Mapping[str, Callable[[Subject], Score]] = {
    "empty": lambda subject: not_empty(subject.answer),
    "length": lambda subject: complete(subject.answer, subject.finish_reason),
    "pii": lambda subject: pii(subject.answer),
    "toxicity": lambda subject: toxicity(subject.answer),
}


def inline_checks(declared: Sequence[str | Mapping[str, Any]]) -> Inline:
    """One function for all checks of a definition: the names and scores of those an answer does not hold to.

    Schemas are compiled once. Everything is computed here, in microseconds, and nothing is asked of anybody.
    Raises DataError for a schema that cannot be used.

    >>> check = inline_checks(["pii", "empty", {"json_schema": {"type": "object"}}])
    >>> [name for name, _ in check(Subject(answer="Write to jo@example.org"))]
    ['pii', 'json_schema']
    >>> check(Subject(answer='{"answer": "It takes five days."}'))
    ()
    """
    checks: list[tuple[str, Callable[[Subject], Score]]] = []
    for each in declared:
        if isinstance(each, str):
            checks.append((each, _PLAIN[each]))
        else:
            checks.append(("json_schema", schema_check(thaw(each["json_schema"]), Path())[0]))

    def run(subject: Subject) -> tuple[tuple[str, Score], ...]:
        found = ((name, check(subject)) for name, check in checks)
        return tuple((name, score) for name, score in found if score.passed is False)

    return run
