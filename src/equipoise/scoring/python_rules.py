"""Rules written in Python: an expression, or a function in a file. They are the user's own code, run as such."""

from __future__ import annotations

import importlib.util
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

from equipoise.errors import DataError, DefinitionError, Fault
from equipoise.scoring.evaluating import Score, Subject, errored, fails, passes, unscored

__all__ = ["python_check", "score_of"]


def python_check(argument: str, folder: Path) -> tuple[Callable[[Subject], Score], str]:
    """The check an expression or `FILE.py:FUNCTION` makes; and what the file holds, for the digest.

    An expression sees `answer`, `input`, `reference`, `context` and `values`; a function is called with the
    Subject. Either gives true or false, a number in [0, 1], or a Score; None means that there is nothing to
    score. What it raises makes the answer errored. Nothing is fenced in: it is your own code.

    >>> check, _ = python_check("len(answer) < 5 and 'a' in answer", Path())
    >>> check(Subject(answer="abc")).passed, check(Subject(answer="abcdef")).passed
    (True, False)
    """
    file, colon, function = argument.rpartition(":")
    if colon and file.endswith(".py") and function.isidentifier():
        return _function(folder / file, function)
    try:
        code = compile(argument, "<python>", "eval")
    except SyntaxError as error:
        raise DefinitionError(
            [
                Fault(
                    f"the expression '{argument}' is not Python: {error.msg}",
                    field="offline.evaluators",
                    accepted="an expression of answer, input, reference, context and values, or FILE.py:FUNCTION",
                )
            ]
        ) from None

    def evaluate(subject: Subject) -> Any:
        return eval(  # noqa: S307 - the definition's own code, which its owner asks to be run
            code,
            {
                "answer": subject.answer,
                "input": subject.input,
                "reference": subject.reference,
                "context": subject.context,
                "values": subject.values,
            },
        )

    return _guarded(evaluate, f"'{argument}'"), ""


def _function(path: Path, function: str) -> tuple[Callable[[Subject], Score], str]:
    try:
        content = path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(
            f"the file {path} of a `python` evaluator cannot be read: {error}. Name it as FILE.py:FUNCTION, relative "
            "to the definition"
        ) from None
    spec = importlib.util.spec_from_file_location(f"equipoise_rule_{path.stem}", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        raise DataError(f"the file {path} cannot be run: {type(error).__name__}: {error}") from error
    found = getattr(module, function, None)
    if not callable(found):
        raise DataError(f"the file {path} has no function '{function}'")
    return _guarded(found, f"{path.name}:{function}"), content


def _guarded(call: Callable[[Subject], Any], called: str) -> Callable[[Subject], Score]:
    def check(subject: Subject) -> Score:
        try:
            said = call(subject)
        except Exception as error:  # noqa: BLE001 - whatever a user's code raises, the run goes on
            line = traceback.extract_tb(error.__traceback__)[-1].lineno
            return errored(f"{called} raised {type(error).__name__} on line {line}: {error}")
        return score_of(said, called)

    return check


def score_of(said: Any, called: str) -> Score:
    """What a user's code gave, as a score: true or false, a number in [0, 1], a Score, or None for none.

    >>> score_of(0.25, "f").value, score_of(True, "f").passed, score_of("yes", "f").why_not
    (0.25, True, "f gave 'yes'; accepted: true or false, a number from 0 to 1, or a Score")
    """
    match said:
        case Score():
            return said
        case None:
            return unscored(f"{called} gave nothing")
        case bool():
            return passes() if said else fails(f"{called} is false")
        case int() | float() if 0 <= said <= 1:
            return Score(value=float(said))
    return errored(f"{called} gave {said!r}; accepted: true or false, a number from 0 to 1, or a Score")
