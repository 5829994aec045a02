"""Our own form of a case: id, input, reference, context, cluster, weight, tags, and more where wanted."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Any

import orjson

from equipoise.arena.case import Case
from equipoise.errors import DataError, nearest
from equipoise.experiment.evaluators import evaluator_faults
from equipoise.experiment.offline import SEVERITIES, Cases
from equipoise.experiment.variant import freeze
from equipoise.providers.rows import Row, Rows

__all__ = ["KNOWN", "messages_of", "read_own"]

KNOWN = (
    "context",
    "cluster",
    "weight",
    "tags",
    "must_pass",
    "severity",
    "evaluators",
    "description",
    "threshold",
)
"""Columns that mean something of themselves; any other is one of the case's values."""


def read_own(rows: Rows, spec: Cases) -> Iterator[Case]:
    """Every row as a case. Raises DataError with the line and the column."""
    reference = spec.reference or "reference"
    plural = "inputs" if spec.input == "input" else spec.input
    lines: dict[str, int] = {}
    for row in rows:
        column = spec.input if spec.input in row.values else plural
        for needed in (spec.id, column, *([spec.reference] if spec.reference else [])):
            if needed not in row.values:
                there = [str(name) for name in row.values]
                near = nearest(needed, there)
                raise DataError(
                    f"{rows.what} {rows.path}, line {row.line}: there is no column '{needed}'. It has: "
                    f"{', '.join(there) or 'nothing'}" + (f"; {near}" if near else "")
                )
        apart = {spec.id, column, reference, *KNOWN}
        name = rows.name(row, spec.id)
        if name in lines:
            raise DataError(
                f"{rows.what} {rows.path}, line {row.line}: the id '{name}' stands on line {lines[name]} already. "
                "Give every case an id of its own"
            )
        lines[name] = row.line
        yield Case(
            id=name,
            input=_input(rows, row, column),
            reference=_text(rows, row, reference, "a text, or nothing where there is no reference"),
            context=_context(rows, row),
            values=MappingProxyType(
                {name: freeze(value) for name, value in row.values.items() if name not in apart}
            ),
            cluster=_name(rows, row, "cluster"),
            weight=_weight(rows, row),
            tags=_tags(rows, row),
            must_pass=_flag(rows, row, "must_pass"),
            severity=_severity(rows, row),
            description=_text(rows, row, "description", "a text") or "",
            evaluators=_evaluators(rows, row),
            threshold=_share(rows, row, "threshold"),
        )


def messages_of(value: Any) -> tuple[Mapping[str, Any], ...] | None:
    """A list of messages, each with role and content, or None where it is something else."""
    if (
        isinstance(value, list)
        and value
        and all(
            isinstance(message, dict)
            and isinstance(message.get("role"), str)
            and isinstance(message.get("content"), str)
            for message in value
        )
    ):
        return tuple(freeze(message) for message in value)
    return None


def _input(rows: Rows, row: Row, column: str) -> str | tuple[Mapping[str, Any], ...]:
    value = row.values[column]
    if isinstance(value, str) and value.strip():
        return value
    messages = messages_of(value)
    if messages is not None:
        return messages
    raise rows.wrong(row, column, "a text, or a list of messages with role and content")


def _text(rows: Rows, row: Row, column: str, accepted: str) -> str | None:
    value = row.values.get(column)
    if value is None or value == "":
        return None
    if isinstance(value, str):
        return value
    raise rows.wrong(row, column, accepted)


def _name(rows: Rows, row: Row, column: str) -> str | None:
    return None if row.values.get(column) in (None, "") else rows.name(row, column)


def _context(rows: Rows, row: Row) -> tuple[str, ...]:
    value = row.values.get("context")
    if value in (None, ""):
        return ()
    if isinstance(value, str):
        return (value,)
    if isinstance(value, list) and all(isinstance(each, str) for each in value):
        return tuple(value)
    raise rows.wrong(row, "context", "a text, or a list of texts")


def _tags(rows: Rows, row: Row) -> tuple[str, ...]:
    value = row.values.get("tags")
    if value in (None, ""):
        return ()
    listed = value.split(",") if isinstance(value, str) else value
    if isinstance(listed, list) and all(isinstance(each, str) for each in listed):
        return tuple(dict.fromkeys(tag.strip() for tag in listed if tag.strip()))
    raise rows.wrong(row, "tags", "a list of texts, or texts with commas between them")


def _number(rows: Rows, row: Row, column: str, accepted: str) -> float | None:
    value = row.values.get(column)
    if value in (None, ""):
        return None
    try:
        number = float(value) if not isinstance(value, bool) else math.nan
    except (TypeError, ValueError):
        number = math.nan
    if not math.isfinite(number):
        raise rows.wrong(row, column, accepted)
    return number


def _weight(rows: Rows, row: Row) -> float:
    weight = _number(rows, row, "weight", "a number above 0")
    if weight is not None and weight <= 0:
        raise rows.wrong(row, "weight", "a number above 0")
    return 1.0 if weight is None else weight


def _share(rows: Rows, row: Row, column: str) -> float | None:
    share = _number(rows, row, column, "a number from 0 to 1")
    if share is not None and not 0 <= share <= 1:
        raise rows.wrong(row, column, "a number from 0 to 1")
    return share


def _flag(rows: Rows, row: Row, column: str) -> bool:
    value = row.values.get(column)
    if value in (None, ""):
        return False
    if isinstance(value, bool):
        return value
    if isinstance(value, str) and value.strip().lower() in ("true", "false"):
        return value.strip().lower() == "true"
    raise rows.wrong(row, column, "true or false")


def _severity(rows: Rows, row: Row) -> Any:
    value = row.values.get("severity")
    if value in (None, ""):
        return None
    if value in SEVERITIES:
        return value
    raise rows.wrong(row, "severity", ", ".join(SEVERITIES))


def _evaluators(rows: Rows, row: Row) -> tuple[Mapping[str, Any], ...]:
    value = row.values.get("evaluators")
    if value in (None, ""):
        return ()
    accepted = "a list of evaluators, such as [{contains: policy}]"
    if isinstance(value, str):
        try:
            value = orjson.loads(value)
        except orjson.JSONDecodeError:
            raise rows.wrong(row, "evaluators", accepted + ", as JSON") from None
    listed = (
        [{each: True} if isinstance(each, str) else each for each in value]
        if isinstance(value, list)
        else None
    )
    if listed is None or not all(isinstance(each, dict) for each in listed):
        raise rows.wrong(row, "evaluators", accepted)
    for fault in evaluator_faults(listed):
        raise DataError(
            f"{rows.what} {rows.path}, line {row.line}: {fault.problem}"
            + (f"; accepted: {fault.accepted}" if fault.accepted else "")
            + (f"; {fault.next}" if fault.next else "")
        )
    return tuple(freeze(each) for each in listed)
