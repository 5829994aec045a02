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

_FENCED = re.compile(r"\A\s*```[A-Za-z]*[ \t]*\n(.*)\n[ \t]*```\s*\Z", re.DOTALL)


def is_json(answer: str) -> Score:
    """Passes where the whole answer is one JSON value.

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

    What a schema refers to elsewhere is never fetched: it must stand in the schema itself.
    """
    try:
        return jsonschema_rs.validator_for(
            schema if isinstance(schema, bool) else dict(schema), retriever=_refuse
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

    The answer is the JSON itself, or one code fence around it.

    >>> check, _ = schema_check({"type": "object", "required": ["ok"]}, Path())
    >>> check(Subject(answer='{"ok": 1}')).passed, check(Subject(answer="{}")).explanation
    (True, 'does not fit the schema: "ok" is a required property')
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
        for problem in compiled.iter_errors(value):
            where = "/".join(map(str, problem.instance_path))
            said = _said(problem)
            return fails(f"does not fit the schema{f' at /{where}' if where else ''}: {said}")
        return passes()

    return check, content


def _said(problem: Any) -> str:
    """What is wrong, without the value it is wrong of where that may be long or personal."""
    message = str(problem.message)
    kind = type(problem.kind).__name__ if getattr(problem, "kind", None) is not None else ""
    if "Required" in kind or len(message) <= 80:
        return message
    return f"{message[:77]}…"


def _told(error: orjson.JSONDecodeError) -> str:
    reason = error.msg.split(":")[0]
    return f"{reason}, at line {error.lineno} column {error.colno}"
