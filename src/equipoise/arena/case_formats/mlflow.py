"""Evaluation data of MLflow: inputs, expectations, and tags."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Any

import orjson

from equipoise.arena.case import Case
from equipoise.arena.case_formats.own import messages_of
from equipoise.experiment.offline import Cases
from equipoise.experiment.variant import freeze
from equipoise.providers.rows import Row, Rows

__all__ = ["is_mlflow", "read_mlflow"]


def is_mlflow(columns: frozenset[str], spec: Cases, rows: Rows) -> bool:
    """Whether the columns are MLflow's: `inputs` that are mappings, with or without `expectations`."""
    if spec.input != "input" or "inputs" not in columns or "input" in columns:
        return False
    return "expectations" in columns or any(
        isinstance(_plain(row.values.get("inputs")), dict) for row in rows
    )


def read_mlflow(rows: Rows, spec: Cases) -> Iterator[Case]:
    """Every record as a case. `inputs` are the case's values; the input is the one named by `spec.input`, the
    only one, a question, query or messages where one is so called, or else all of them as JSON.

    `expected_response` is the reference; each of `expected_facts` and each guideline becomes an evaluator
    `meets`, asked of the judge.
    """
    for number, row in enumerate(rows, 1):
        inputs = _mapping(rows, row, "inputs")
        expected = _mapping(rows, row, "expectations") if row.values.get("expectations") else {}
        response = expected.get("expected_response")
        named = row.values.get(spec.id, row.values.get("dataset_record_id"))
        tags = _plain(row.values.get("tags"))
        yield Case(
            id=str(named) if named not in (None, "") else str(number),
            input=_input(inputs, spec),
            reference=response if isinstance(response, str) else None,
            values=MappingProxyType({name: freeze(value) for name, value in inputs.items()}),
            tags=tuple(f"{key}={value}" for key, value in tags.items()) if isinstance(tags, dict) else (),
            evaluators=tuple(freeze(each) for each in _meets(expected)),
        )


def _input(inputs: Mapping[str, Any], spec: Cases) -> str | tuple[Mapping[str, Any], ...]:
    wanted = [
        spec.input,
        "messages",
        "question",
        "query",
        "input",
        "prompt",
        *([*inputs] if len(inputs) == 1 else []),
    ]
    for name in wanted:
        value = inputs.get(name)
        if isinstance(value, str) and value.strip():
            return value
        messages = messages_of(value)
        if messages is not None:
            return messages
    return orjson.dumps(dict(inputs), option=orjson.OPT_INDENT_2).decode()


def _meets(expected: Mapping[str, Any]) -> Iterator[dict[str, str]]:
    facts = expected.get("expected_facts")
    for number, fact in enumerate(facts if isinstance(facts, list) else [], 1):
        yield {"meets": f"The answer states this fact: {fact}", "name": f"fact {number}"}
    guidelines = expected.get("guidelines")
    listed = [guidelines] if isinstance(guidelines, str) else guidelines
    for number, guideline in enumerate(listed if isinstance(listed, list) else [], 1):
        yield {"meets": str(guideline), "name": f"guideline {number}"}


def _plain(value: Any) -> Any:
    """A cell of a CSV file may hold JSON."""
    if isinstance(value, str) and value.strip().startswith("{"):
        try:
            return orjson.loads(value)
        except orjson.JSONDecodeError:
            return value
    return value


def _mapping(rows: Rows, row: Row, column: str) -> dict[str, Any]:
    value = _plain(row.values.get(column))
    if isinstance(value, dict):
        return value
    raise rows.wrong(row, column, "a mapping of names to values")
