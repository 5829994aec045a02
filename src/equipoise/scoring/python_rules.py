"""Rules written in Python: an expression, or a function in a file. They are the user's own code, run as such."""

from __future__ import annotations

import hashlib
import inspect
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

from equipoise.errors import DataError, DefinitionError, Fault
from equipoise.scoring.evaluating import Score, Subject, errored, fails, passes, unscored

__all__ = ["python_check", "score_of"]

_EXPRESSION = "<python>"


def python_check(argument: str, folder: Path) -> tuple[Callable[[Subject], Score], str]:
    """The check an expression or `FILE.py:FUNCTION` makes; and what the file holds, for the digest.

    An expression sees `answer`, `input`, `reference`, `context` and `values`; a function is called with the
    Subject. Either gives true or false, a number in [0, 1], or a Score; None means that there is nothing to
    score. What it raises makes the answer errored, with the kind of exception and the line. A function runs in
    a thread, perhaps for several answers at once. Nothing is fenced in: it is your own code.

    >>> check, _ = python_check("len(answer) < 5 and 'a' in answer", Path())
    >>> check(Subject(answer="abc")).passed, check(Subject(answer="abcdef")).passed
    (True, False)
    """
    file, colon, function = argument.rpartition(":")
    if colon and file.endswith(".py") and function.isidentifier():
        return _function(folder / file, function)
    try:
        code = compile(argument, _EXPRESSION, "eval")
    except (SyntaxError, ValueError) as error:
        raise DefinitionError(
            [
                Fault(
                    f"the expression '{argument}' is not Python: {getattr(error, 'msg', error)}",
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

    return _guarded(evaluate, f"'{argument}'", _EXPRESSION), ""


def _function(path: Path, function: str) -> tuple[Callable[[Subject], Score], str]:
    try:
        content = path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(
            f"the file {path} of a `python` evaluator cannot be read: {error}. Name it as FILE.py:FUNCTION, relative "
            "to the definition"
        ) from None
    # Exactly the text that the digest covers is run. Dataclasses look their module up by its name.
    digest = hashlib.sha256(f"{path.resolve()}\n{content}".encode()).hexdigest()
    module = ModuleType(f"equipoise_rule_{path.stem}_{digest[:12]}")
    module.__file__ = str(path)
    sys.modules[module.__name__] = module
    try:
        exec(compile(content, str(path), "exec"), module.__dict__)  # noqa: S102 - the user's own file
    except Exception as error:
        del sys.modules[module.__name__]
        raise DataError(
            f"the file {path} of a `python` evaluator cannot be run: {type(error).__name__}: {error}"
        ) from error
    found = getattr(module, function, None)
    if not callable(found):
        raise DataError(f"the file {path} has no function '{function}'")
    if inspect.iscoroutinefunction(found):
        raise DataError(
            f"'{function}' in {path} is an async function, and a rule is a plain one. Take `async` away, or make it a "
            "plug-in"
        )
    return _guarded(found, f"{path.name}:{function}", str(path)), content


def _guarded(call: Callable[[Subject], Any], called: str, file: str) -> Callable[[Subject], Score]:
    def check(subject: Subject) -> Score:
        try:
            said = call(subject)
        except Exception as error:  # noqa: BLE001 - whatever a user's code raises, the run goes on
            lines = [at.lineno for at in traceback.extract_tb(error.__traceback__) if at.filename == file]
            place = f" on line {lines[-1]}" if lines else ""
            # The message of an exception often repeats what was read, and so perhaps personal data.
            return errored(f"{called} raised {type(error).__name__}{place}")
        return score_of(said, called)

    return check


def score_of(said: Any, called: str) -> Score:
    """What a user's code gave, as a score: true or false, a number in [0, 1], a Score, or None for none.

    >>> score_of(0.25, "f").value, score_of(True, "f").passed, score_of("yes", "f").why_not
    (0.25, True, 'f gave a str; accepted: true or false, a number from 0 to 1, or a Score')
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
    given = f"{said:.6g}" if isinstance(said, int | float) else f"a {type(said).__name__}"
    return errored(f"{called} gave {given}; accepted: true or false, a number from 0 to 1, or a Score")
