"""Rules about JSON: forms of an answer, faults without the data, schemas that cannot be used, hostile texts."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from equipoise.errors import DataError
from equipoise.scoring.evaluating import Score, Subject, fails, passes
from equipoise.scoring.structured import contains_json, is_json, schema_check

SCHEMA = {
    "type": "object",
    "required": ["email"],
    "properties": {
        "email": {"type": "string", "pattern": "^x"},
        "age": {"type": "integer", "maximum": 120},
        "kind": {"enum": ["a", "b"]},
        "tags": {"type": "array", "items": {"const": "t"}},
    },
    "additionalProperties": False,
}


def held(answer, schema=SCHEMA):
    return schema_check(schema, Path())[0](Subject(answer=answer))


@pytest.mark.parametrize(
    "answer",
    ['```json\n{"email": "x"}\n```', '\n```\n{"email": "x"}\n```\n', '```JSON\r\n{"email": "x"}\r\n```\r\n'],
)
def test_one_code_fence_around_the_json_is_let_pass_and_told(answer):
    """A schema looks inside one fence and says so; `json_valid` takes the JSON alone."""
    assert held('{"email": "x"}') == passes()
    assert held(answer) == Score(value=1.0, passed=True, explanation="the JSON stands in a code fence")
    assert not is_json(answer).passed
    assert contains_json(answer).passed


@pytest.mark.parametrize(
    "answer, said",
    [
        ("{}", 'does not fit the schema: "email" is a required property'),
        ('{"email": "jo@example.org"}', 'does not fit the schema at /email: the value does not match "^x"'),
        ('{"email": "x", "age": 123}', "does not fit the schema at /age: the value is greater than the maximum of 120"),
        ('{"email": "x", "age": "secret"}', 'does not fit the schema at /age: the value is not of type "integer"'),
        ('{"email": "x", "kind": "secret"}', 'does not fit the schema at /kind: the value is not one of "a" or "b"'),
        ('{"email": "x", "tags": ["t", "u"]}', 'does not fit the schema at /tags/1: "t" was expected'),
        ('{"email": "x", "a\\nb": 1}', "does not fit the schema: Additional properties are not allowed ('a b' was unexpected)"),
        ("Here: {}", "is not JSON: unexpected character, expected a JSON value, at line 1 column 1"),
        ('{"email": NaN}', "is not JSON: unexpected character, expected a JSON value, at line 1 column 11"),
        ('{"tags": ' + "[" * 500 + "]" * 500 + "}", "is nested too deeply to be held to the schema"),
        ("[" * 100_000, "is not JSON: depth limit exceeded, at line 1 column 1026"),
    ],
)  # fmt: skip
def test_a_fault_names_the_place_and_never_the_value(answer, said):
    """One line: where, and what the schema asks for."""
    assert held(answer) == fails(said)


def test_a_fault_with_a_long_name_stays_short():
    """The names in an answer are not ours."""
    found = held('{"email": "x", "' + "long" * 1000 + '": 1}')
    assert len(found.explanation) == 200
    assert found.explanation.endswith("…")


@pytest.mark.parametrize(
    "schema",
    [{"type": "strin"}, {"$ref": "https://example.org/s.json"}, {"$ref": "#/nowhere"}, {"pattern": "("}],
)
def test_a_schema_that_is_none_is_met_before_anything_is_asked(schema):
    """Also one that refers elsewhere: nothing is ever fetched."""
    with pytest.raises(DataError, match="the JSON Schema is not one that can be used: "):
        schema_check(schema, Path())


def test_a_reference_elsewhere_asks_nobody():
    """A server that stands where the schema points is not called."""
    import socket

    with socket.create_server(("127.0.0.1", 0)) as server:
        server.setblocking(False)
        url = f"http://127.0.0.1:{server.getsockname()[1]}/s.json"
        with pytest.raises(DataError):
            schema_check({"$ref": url}, Path())
        with pytest.raises(DataError):
            schema_check({"$schema": url}, Path())
        with pytest.raises(BlockingIOError):
            server.accept()


def test_a_schema_may_stand_in_a_file(tmp_path):
    """Read once; what cannot be read says so and how paths go."""
    (tmp_path / "s.json").write_text('{"type": "integer"}')
    check, content = schema_check("s.json", tmp_path)
    assert (check(Subject(answer="1")).passed, content) == (True, '{"type": "integer"}')
    with pytest.raises(DataError) as caught:
        schema_check("none.json", tmp_path)
    assert str(caught.value) == (
        f"the JSON Schema {tmp_path}/none.json cannot be read: No such file or directory. Check the path; relative "
        "paths start at the definition"
    )


@pytest.mark.parametrize(
    "unit", ["{", "[", '{"a":', '{"a":[', "```", "```\n", "\n```", "\n", " ", '"', "\\", '{"a":1},', "1"]
)
def test_no_answer_takes_long(unit):
    """200,000 characters of the worst kinds."""
    answer = "```json\n" + unit * (200_000 // len(unit)) + "x"
    started = time.perf_counter()
    for text in (answer, answer[8:]):
        is_json(text)
        contains_json(text)
        held(text)
    assert time.perf_counter() - started < 30
