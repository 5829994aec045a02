"""Samples of Inspect: id, input (a text or messages), target, choices, metadata."""

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

__all__ = ["is_inspect", "read_inspect"]


def is_inspect(columns: frozenset[str], spec: Cases) -> bool:
    """Whether the columns are those of Inspect's samples: an input, and a target that we have no word for."""
    return spec.input == "input" and {"input", "target"} <= columns and "reference" not in columns


def read_inspect(rows: Rows) -> Iterator[Case]:
    """Every sample as a case; one without an id is named by its number, as Inspect does.

    The first of several targets is the reference, all of them are the value `targets`; `choices` and metadata
    are values, too. Choices stand below the question, lettered, as Inspect's multiple choice shows them.
    """
    for number, row in enumerate(rows, 1):
        targets = _targets(rows, row)
        choices = _choices(rows, row)
        metadata = _metadata(row)
        yield Case(
            id=str(row.values["id"]) if row.values.get("id") not in (None, "") else str(number),
            input=_input(rows, row, choices),
            reference=targets[0] if targets else None,
            values=MappingProxyType(
                {name: freeze(value) for name, value in metadata.items()}
                | ({"targets": targets} if len(targets) > 1 else {})
                | ({"choices": choices} if choices else {})
            ),
        )


def _input(rows: Rows, row: Row, choices: tuple[str, ...]) -> str | tuple[Mapping[str, Any], ...]:
    value = row.values.get("input")
    if isinstance(value, str) and value.strip():
        letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
        return "\n".join(
            [value, *(f"{letter}) {choice}" for letter, choice in zip(letters, choices, strict=False))]
        )
    messages = messages_of(value)
    if messages is not None:
        return messages
    raise rows.wrong(row, "input", "a text, or a list of messages with role and content")


def _targets(rows: Rows, row: Row) -> tuple[str, ...]:
    value = row.values.get("target")
    if value in (None, ""):
        return ()
    if isinstance(value, str):
        return (value,)
    if isinstance(value, list) and all(isinstance(each, str) for each in value):
        return tuple(value)
    raise rows.wrong(row, "target", "a text, or a list of texts")


def _choices(rows: Rows, row: Row) -> tuple[str, ...]:
    value = row.values.get("choices")
    if value in (None, ""):
        return ()
    if isinstance(value, list) and all(isinstance(each, str) for each in value):
        return tuple(value)
    raise rows.wrong(row, "choices", "a list of texts")


def _metadata(row: Row) -> dict[str, Any]:
    given = row.values.get("metadata")
    if isinstance(given, str) and given.strip().startswith("{"):
        try:
            given = orjson.loads(given)
        except orjson.JSONDecodeError:
            given = {"metadata": given}
    inside = given if isinstance(given, dict) else {}
    apart = {"id", "input", "target", "choices", "metadata", "files", "setup", "sandbox"}
    return inside | {name: value for name, value in row.values.items() if name not in apart}
