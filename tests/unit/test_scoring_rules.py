"""Rules: what each says of an answer, and how a wrong declaration is met."""

from __future__ import annotations

import asyncio
import gzip
import json
import subprocess
import sys
from pathlib import Path

import pytest

from equipoise.errors import DataError, DefinitionError
from equipoise.experiment.evaluators import GRAMMAR, Declared
from equipoise.scoring.evaluating import Score, Subject
from equipoise.scoring.evaluators import Tools, build, read_evaluators
from equipoise.scoring.structured import schema_check

SCHEMAS = Path(__file__).parents[3] / "shared" / "data" / "schema_checks" / "cases.jsonl.gz"


def score(declared, answer="", *, folder=None, **more):
    (evaluator,), _ = read_evaluators([declared], tools=Tools(folder=folder or Path()))
    found = asyncio.run(evaluator.score(Subject(answer=answer, **more)))
    return found[evaluator.name]


@pytest.mark.parametrize(
    "declared, good, bad, why",
    [
        ({"contains": "Policy"}, "our POLICY says", "no", "does not contain 'Policy'"),
        ({"not_contains": "sorry"}, "fine", "So Sorry", "contains 'sorry'"),
        ({"contains_all": ["a", "b"]}, "b a", "a", "does not contain 'b'"),
        ({"contains_any": ["x", "y"]}, "Y", "z", "contains none of 'x', 'y'"),
        ({"equals": "Yes."}, " Yes.\n", "yes.", "is not the text it should equal"),
        ({"starts_with": "dear"}, " Dear Jo", "Hi", "does not start with 'dear'"),
        ({"regex": r"\d{3}"}, "a 123", "a 12", r"does not match the pattern \d{3}"),
        ({"not_regex": "x+"}, "a", "axx", "matches the pattern x+"),
        ({"json_valid": True}, "[1]", "[1", "is not JSON: unexpected end of data, at line 1 column 3"),
        ({"contains_json": True}, 'So: {"a": 1}.', "none", "holds no JSON object"),
        ({"json_schema": {"required": ["a"]}}, '```json\n{"a": 1}\n```', "{}", 'does not fit the schema: "a" is a required property'),
        ({"max_chars": 3}, "abc", "abcd", "4 characters, and at most 3 are allowed"),
        ({"min_chars": 3}, "abc", "ab", "2 characters, and at least 3 are wanted"),
        ({"max_words": 2}, "a b", "a b c", "3 words, and at most 2 are allowed"),
        ({"min_words": 2}, "a b", "a", "1 words, and at least 2 are wanted"),
        ({"not_empty": True}, "a", " \n", "the answer is empty"),
        ({"cites": True}, "see [1]", "see there", "cites no source"),
        ({"cites": ["Handbook"]}, "the handbook", "none", "cites none of the sources it may"),
        ({"refusal": True}, "Sure, I can't wait to help.", "I'm sorry, but I can't help with that.", "refuses to answer"),
        ({"refusal": "expected"}, "As an AI, I cannot do this.", "Here you are.", "does not refuse"),
        ({"safety": True}, "ok", "jo@example.org", "an e-mail address at character 1"),
        ({"toxicity": {"words": ["darn"]}}, "ok", "darn", "an offensive word at character 1"),
        ({"leak": "secret-mark"}, "ok", "the Secret-Mark", "repeats a text that it must not"),
        ({"complete": True}, "ok", "```\nx", "the answer ends inside a code block"),
        ({"python": "len(answer) == 2"}, "ab", "abc", "'len(answer) == 2' is false"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else None,
)  # fmt: skip
def test_each_rule_passes_and_fails_with_its_reason(declared, good, bad, why):
    """One answer that holds to it, one that does not, and the whole reason."""
    held = score(declared, good)
    assert (held.value, held.passed, held.why_not) == (1.0, True, None)
    assert score(declared, bad) == Score(value=0.0, passed=False, explanation=why)


def test_what_is_not_known_is_unscored():
    """A latency nobody measured, a reference that is not there: never a zero."""
    assert score({"latency": 2.0}, "a", latency_s=1.5).passed
    assert score({"cost": 0.01}, "a", cost_usd=0.02).explanation == "$0.02, and at most $0.01 is allowed"
    for declared, why in (
        ({"latency": 2}, "the latency of the answer is not known"),
        ({"equals": {"from": "reference"}}, "the case has no reference to compare with"),
        ({"code_tests": True}, "the case has no tests; write them as its reference"),
    ):
        found = score(declared, "a")
        assert (found.value, found.passed, found.errored, found.why_not) == (None, None, False, why)
    assert score({"equals": {"from": "reference"}}, "a", reference="a").passed


def test_negated_turns_a_rule_round_and_a_threshold_makes_one_of_a_number():
    """What would pass fails; a number passes from its bar on."""
    turned = score({"json_valid": True, "negated": True}, "{}")
    assert (turned.passed, turned.explanation) == (False, "the opposite of 'json_valid' is asked for")
    assert score({"json_valid": True, "negated": True}, "no").passed
    assert score({"cosine": True, "threshold": 0.5}, "abcd", reference="abcd").passed
    assert score({"cosine": True, "threshold": 0.5}, "abcd", reference="wxyz").passed is False


def test_a_python_file_is_called_with_the_subject(tmp_path):
    """True or false, a number, a Score, nothing; what it raises is an error and not a failure."""
    (tmp_path / "mine.py").write_text(
        "from equipoise.scoring.evaluating import unscored\n"
        "def judge(subject):\n"
        "    return {'t': True, 'h': 0.5, 'n': None, 'u': unscored('not my thing')}.get(subject.answer) if"
        " subject.answer != 'boom' else 1 / 0\n"
    )
    declared = {"python": "mine.py:judge", "name": "mine"}
    assert score(declared, "t", folder=tmp_path).passed
    assert score(declared, "h", folder=tmp_path).value == 0.5
    assert score(declared, "n", folder=tmp_path).why_not == "mine.py:judge gave nothing"
    assert score(declared, "u", folder=tmp_path).why_not == "not my thing"
    boom = score(declared, "boom", folder=tmp_path)
    assert boom.errored
    assert boom.why_not.startswith("mine.py:judge raised ZeroDivisionError on line 3")
    with pytest.raises(DataError, match="has no function 'other'"):
        score({"python": "mine.py:other"}, folder=tmp_path)


@pytest.mark.parametrize(
    "declared, must_pass, sentence",
    [
        ([{"contans": "x"}], [], f"offline.evaluators[0]: there is no evaluator 'contans'; accepted: {', '.join(sorted(GRAMMAR))}; did you mean 'contains'?"),
        ([{"contains": ""}], [], "offline.evaluators[0].contains: 'contains' does not take ''; accepted: a text, or {from: reference}"),
        ([{"max_chars": -1}], [], "offline.evaluators[0].max_chars: 'max_chars' does not take -1; accepted: a whole number"),
        ([{"regex": "("}], [], "offline.evaluators[0].regex: 'regex' does not take '('; accepted: a regular expression of Python"),
        ([{"contains": "a", "equals": "b"}], [], "offline.evaluators[0]: an evaluator has one rule, and this has 2; accepted: {RULE: argument}, such as {contains: policy}"),
        ([{"contains": "a"}, {"contains": "b"}], [], "offline.evaluators[1]: a second evaluator is called 'contains'; name it: {contains: …, name: ANOTHER}"),
        ([{"contains": "a", "threshold": 0.5}], [], "offline.evaluators[0].threshold: 'contains' passes or fails and gives no number to hold to a threshold"),
        ([{"contains": "a", "revision": 0}], [], "offline.evaluators[0].revision: a revision is a whole number; accepted: 1, 2, …"),
    ],
)  # fmt: skip
def test_a_wrong_declaration_is_met_with_the_way_out(declared, must_pass, sentence):
    """The place, what is wrong, what would be accepted, the nearest name."""
    with pytest.raises(DefinitionError) as caught:
        read_evaluators(declared, must_pass=must_pass)
    assert str(caught.value) == sentence


def test_must_pass_names_evaluators_rules_and_what_need_not_be_declared():
    """A rule's name stands for all that use it; `safety` comes by itself."""
    evaluators, needed = read_evaluators(
        [{"contains": "a"}, {"contains": "b", "name": "says b"}, {"max_chars": 9}],
        must_pass=["contains", "safety"],
    )
    assert [each.name for each in evaluators] == ["contains", "says b", "max_chars", "safety"]
    assert needed == {"contains", "says b", "safety"}


def test_two_configurations_have_two_digests(tmp_path):
    """Argument, revision, negation and the content of a file tell; the name does not."""
    (tmp_path / "s.json").write_text("{}")
    digests = {
        build(Declared(name="a", rule="max_chars", **each), Tools()).digest
        for each in (
            {"argument": 1},
            {"argument": 2},
            {"argument": 1, "revision": 2},
            {"argument": 1, "negated": True},
        )
    }
    assert len(digests) == 4
    assert build(Declared(name="b", rule="max_chars", argument=1), Tools()).digest in digests
    schema = Declared(name="a", rule="json_schema", argument="s.json")
    before = build(schema, Tools(folder=tmp_path)).digest
    (tmp_path / "s.json").write_text('{"type": "object"}')
    assert build(schema, Tools(folder=tmp_path)).digest != before


def test_the_published_suite_of_json_schema():
    """1,242 instances of draft 2020-12: valid ones pass, others fail; what refers elsewhere is never fetched."""
    if not SCHEMAS.exists():
        pytest.skip("the folder ../shared is not there")
    checked = 0
    with gzip.open(SCHEMAS, "rt", encoding="utf-8") as lines:
        for line in lines:
            case = json.loads(line)
            if "localhost:1234" in json.dumps(case["schema"]):
                continue
            check, _ = schema_check(case["schema"], Path())
            found = check(Subject(answer=json.dumps(case["data"])))
            assert found.passed is case["valid"], (case["file"], case["group"], case["test"])
            checked += 1
    assert checked == 1242
    with pytest.raises(DataError, match="refers to nothing outside itself"):
        schema_check({"$ref": "http://127.0.0.1:9/x.json"}, Path())


CODE = "def add(a, b):\n    return a + b"


@pytest.mark.parametrize(
    "answer, tests, passed, said",
    [
        (f"Sure:\n```python\n{CODE}\n```", "assert add(1, 2) == 3", True, ""),
        (CODE, "def test_it():\n    assert add(1, 2) == 4", False, "AssertionError"),
        ("def add(a, b:", "add(1, 2)", False, "SyntaxError"),
        ("while True: pass", "", False, "ran longer than 1 s"),
        ("x = 'a' * 10**10", "", False, "more than 256 MB"),
        ("import socket\nsocket.create_connection(('127.0.0.1', 9))", "", False, "there is no network here"),
        ("import os\nopen('big', 'w').write('x' * 5_000_000)", "", False, "OSError"),
        ("import sys\nsys.exit(3)", "", False, ""),
    ],
)
def test_code_runs_in_a_process_of_its_own_with_limits(answer, tests, passed, said):
    """It passes, fails with its last line, or meets a limit; none of it reaches this process."""
    declared = {"code_tests": {"tests": tests or "pass", "timeout_s": 1, "memory_mb": 256}}
    found = score(declared, answer)
    assert found.passed is passed, found
    assert said in found.explanation


def test_rules_and_providers_do_not_load_the_numbers():
    """The light path: neither rules nor safety checks import numpy or a plotting library."""
    code = (
        "import sys; from equipoise.scoring.evaluators import read_evaluators; "
        "import equipoise.scoring.inline, equipoise.providers.openai_compatible; "
        "read_evaluators([{'contains': 'a'}], must_pass=['safety']); "
        "print({'numpy', 'scipy', 'duckdb', 'pyarrow', 'jinja2', 'pandas', 'aiohttp'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
