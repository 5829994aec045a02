"""Rules in Python: what an expression and a function may give, and what comes of their mistakes."""

from __future__ import annotations

import asyncio
import threading

import pytest

from equipoise.errors import DataError, DefinitionError
from equipoise.experiment.evaluators import Declared
from equipoise.scoring.evaluating import Score, Subject, errored, unscored
from equipoise.scoring.evaluators import Tools, build

ACCEPTED = "accepted: true or false, a number from 0 to 1, or a Score"


def rule(argument, folder=None):
    declared = Declared(name="mine", rule="python", argument=argument)
    return build(declared, Tools() if folder is None else Tools(folder=folder))


def scored(evaluator, **known):
    return asyncio.run(evaluator.score(Subject(**{"answer": "five days"} | known)))["mine"]


@pytest.mark.parametrize(
    "expression, score",
    [
        ("answer.split() == ['five', 'days']", Score(value=1.0, passed=True)),
        ("reference in answer", Score(value=1.0, passed=True)),
        ("values['days'] > 5", Score(value=0.0, passed=False, explanation="'values['days'] > 5' is false")),
        ("len(context) / 4 if input else 1", Score(value=0.25)),
        ("[w for w in answer.split() if w in reference] != []", Score(value=1.0, passed=True)),
        ("None", unscored("'None' gave nothing")),
        ("answer", errored(f"'answer' gave a str; {ACCEPTED}")),
        ("len(answer)", errored(f"'len(answer)' gave 9; {ACCEPTED}")),
        ("float('nan')", errored(f"'float('nan')' gave nan; {ACCEPTED}")),
        ("int(answer)", errored("'int(answer)' raised ValueError on line 1")),
        ("secret", errored("'secret' raised NameError on line 1")),
    ],
)
def test_an_expression_sees_the_subject_and_gives_a_score(expression, score):
    """True or false, a number in [0, 1], nothing; anything else, and what it raises, is an error and no zero."""
    known = {
        "reference": "five",
        "input": "How long?",
        "context": ("It takes five days.",),
        "values": {"days": 5},
    }
    assert scored(rule(expression), **known) == score


def test_an_expression_that_is_not_python_is_a_fault_of_the_definition():
    """It is met before anything is asked."""
    with pytest.raises(DefinitionError) as caught:
        rule("len(answer")
    assert str(caught.value) == (
        "offline.evaluators: the expression 'len(answer' is not Python: '(' was never closed; accepted: an expression "
        "of answer, input, reference, context and values, or FILE.py:FUNCTION"
    )


def test_the_reason_never_repeats_what_was_read():
    """An exception's message holds the answer; the score's does not."""
    found = scored(rule("int(answer)"), answer="jo@example.org")
    assert found.errored
    assert "jo@example.org" not in str(found)


def test_a_functions_error_is_placed_in_its_own_file(tmp_path):
    """The line is the user's, not the library's that raised; a wrong signature has no line at all."""
    (tmp_path / "mine.py").write_text(
        "import json\n\n\ndef read(subject):\n    return json.loads(subject.answer)\n\n\ndef two(a, b): ...\n"
    )
    assert scored(rule("mine.py:read", tmp_path)) == errored("mine.py:read raised JSONDecodeError on line 5")
    assert scored(rule("mine.py:two", tmp_path)) == errored("mine.py:two raised TypeError")


def test_a_file_may_define_dataclasses_and_hand_a_score_through(tmp_path):
    """The file is a module like any other."""
    (tmp_path / "mine.py").write_text(
        "from __future__ import annotations\n"
        "from dataclasses import dataclass\n"
        "from equipoise.scoring.evaluating import Score\n"
        "@dataclass\nclass Length:\n    words: int\n"
        "def score(subject):\n    return Score(value=Length(3).words / 4, label='long')\n"
    )
    assert scored(rule("mine.py:score", tmp_path)) == Score(value=0.75, label="long")


def test_a_function_runs_in_a_thread_and_an_expression_at_once(tmp_path):
    """A slow function holds nobody up; only what is quick may stand before an answer that ships."""
    (tmp_path / "mine.py").write_text(
        "import threading\nseen = []\ndef where(subject):\n    seen.append(threading.get_ident())\n    return seen[-1] != subject.values['here']\n"
    )
    function = rule("mine.py:where", tmp_path)
    assert scored(function, values={"here": threading.get_ident()}).passed
    assert (function.inline, rule("True").inline) == (False, True)


@pytest.mark.parametrize(
    "content, argument, message",
    [
        (None, "none.py:f", "the file {folder}/none.py of a `python` evaluator cannot be read: [Errno 2] No such file or directory: '{folder}/none.py'. Name it as FILE.py:FUNCTION, relative to the definition"),
        ("x = 1", "mine.py:f", "the file {folder}/mine.py has no function 'f'"),
        ("1 / 0", "mine.py:f", "the file {folder}/mine.py of a `python` evaluator cannot be run: ZeroDivisionError: division by zero"),
        ("async def f(subject): ...", "mine.py:f", "'f' in {folder}/mine.py is an async function, and a rule is a plain one. Take `async` away, or make it a plug-in"),
    ],
)  # fmt: skip
def test_a_file_that_cannot_be_used_says_why(tmp_path, content, argument, message):
    """Before anything is asked, with the file and the way out."""
    if content is not None:
        (tmp_path / "mine.py").write_text(content)
    with pytest.raises(DataError) as caught:
        rule(argument, tmp_path)
    assert str(caught.value) == message.replace("{folder}", str(tmp_path))


def test_a_change_of_the_file_is_another_evaluator(tmp_path):
    """The digest covers the code that runs, and the code that runs is what the file holds now."""
    file = tmp_path / "mine.py"
    file.write_text("def f(subject):\n    return True\n")
    before = rule("mine.py:f", tmp_path)
    file.write_text("def f(subject):\n    return False\n")
    after = rule("mine.py:f", tmp_path)
    assert before.digest != after.digest
    assert (scored(before).passed, scored(after).passed) == (True, False)
