"""Rules about JSON: an answer that is JSON, holds JSON, or fits a JSON Schema."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import jsonschema_rs
import orjson

from equipoise.errors import DataError
from equipoise.scoring.evaluating import Score, Subject, fails, passes
from equipoise.scoring.judging import last_json

__all__ = ["contains_json", "is_json", "schema_check", "validator"]

_LONGEST = 200
_FENCED_PASSES = Score(value=1.0, passed=True, explanation="the JSON stands in a code fence")

_FENCED = re.compile(r"\A\s*```[A-Za-z]*[ \t\r]*\n(.*)\n[ \t]*```\s*\Z", re.DOTALL)


def is_json(answer: str) -> Score:
    """Passes where the whole answer is one JSON value, with nothing around it, not even a code fence.

    >>> is_json('{"a": 1}').passed, is_json("a: 1").explanation
    (True, 'is not JSON: unexpected character, expected a JSON value, at line 1 column 1')
    """
    try:
        orjson.loads(answer)
    except orjson.JSONDecodeError as error:
        return fails(f"is not JSON: {_told(error)}")
    return passes()


def contains_json(answer: str) -> Score:
    """Passes where the answer is JSON, or holds a JSON object somewhere.

    >>> contains_json('Here: {"a": 1}, as asked.').passed
    True
    """
    if is_json(answer).passed or last_json(answer) is not None:
        return passes()
    return fails("holds no JSON object")


def validator(schema: Mapping[str, Any] | bool) -> Any:
    """A compiled schema, draft 2020-12 unless it says otherwise. Raises DataError where it is none.

    What a schema refers to elsewhere is never fetched: it must stand in the schema itself. What the
    validator says of an instance names no value of it.
    """
    try:
        return jsonschema_rs.validator_for(
            schema if isinstance(schema, bool) else dict(schema), retriever=_refuse, mask="the value"
        )
    except (jsonschema_rs.ValidationError, jsonschema_rs.ReferencingError, ValueError, TypeError) as error:
        raise DataError(
            f"the JSON Schema is not one that can be used: {str(error).splitlines()[0]}. Accepted: a JSON Schema that "
            "refers to nothing outside itself"
        ) from None


def _refuse(uri: str) -> Any:
    raise ValueError(f"{uri} is not part of the schema, and nothing is fetched")


def schema_check(argument: Any, folder: Path) -> tuple[Callable[[Subject], Score], str]:
    """The check for a schema, or for the file that holds it; and what the file holds, for the digest.

    The answer is the JSON itself, or one code fence around it (the score's explanation then says so). The
    check names the first fault and where it is, and never the value that is wrong.

    >>> check, _ = schema_check({"type": "object", "required": ["ok"]}, Path())
    >>> check(Subject(answer='{"ok": 1}')).passed, check(Subject(answer="{}")).explanation
    (True, 'does not fit the schema: "ok" is a required property')
    >>> check, _ = schema_check({"properties": {"age": {"type": "integer"}}}, Path())
    >>> check(Subject(answer='{"age": "old"}')).explanation
    'does not fit the schema at /age: the value is not of type "integer"'
    """
    content = ""
    schema = argument
    if isinstance(argument, str):
        path = folder / argument
        try:
            content = path.read_text("utf-8")
            schema = orjson.loads(content)
        except OSError as error:
            raise DataError(
                f"the JSON Schema {path} cannot be read: {error.strerror}. Check the path; relative paths start at "
                "the definition"
            ) from None
        except (UnicodeDecodeError, orjson.JSONDecodeError) as error:
            raise DataError(f"the JSON Schema {path} is not JSON: {error}. Mend the file") from None
    compiled = validator(schema)

    def check(subject: Subject) -> Score:
        fenced = _FENCED.match(subject.answer)
        try:
            value = orjson.loads(fenced[1] if fenced else subject.answer)
        except orjson.JSONDecodeError as error:
            return fails(f"is not JSON: {_told(error)}")
        try:
            problem = next(iter(compiled.iter_errors(value)), None)
        except ValueError:
            return fails("is nested too deeply to be held to the schema")
        if problem is not None:
            where = "".join(f"/{step}" for step in problem.instance_path)
            return fails(_line(f"does not fit the schema{where and f' at {where}'}: {problem.message}"))
        return _FENCED_PASSES if fenced else passes()

    return check, content


def _line(said: str) -> str:
    """One short line: the names in a path are the answer's own."""
    line = " ".join(said.split())
    return line if len(line) <= _LONGEST else f"{line[: _LONGEST - 1]}…"


def _told(error: orjson.JSONDecodeError) -> str:
    reason = error.msg.split(":")[0]
    return f"{reason}, at line {error.lineno} column {error.colno}"
