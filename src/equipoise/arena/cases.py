"""The golden cases: read, checked and named by a digest."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import rfc8785

from equipoise.errors import DataError, DefinitionError
from equipoise.experiment.definition import Cases
from equipoise.experiment.document import read_document
from equipoise.providers.rows import ACCEPTED, Row, Rows, kind_of, read_bytes, read_rows

__all__ = ["Case", "CaseSet", "read_cases"]

_WHAT = "the golden cases"


@dataclass(frozen=True, slots=True)
class Case:
    """One golden example: what is asked (a text, or the messages of a conversation) and, if known, a right answer."""

    id: str
    input: str | tuple[Mapping[str, Any], ...]
    reference: str | None = None

    @property
    def messages(self) -> tuple[Mapping[str, Any], ...]:
        """The input as messages of a chat.

        >>> Case("1", "Where is my parcel?").messages
        ({'role': 'user', 'content': 'Where is my parcel?'},)
        """
        return ({"role": "user", "content": self.input},) if isinstance(self.input, str) else self.input

    @property
    def text(self) -> str:
        """The input as text to show: the conversation's turns one below the other."""
        if isinstance(self.input, str):
            return self.input
        return "\n".join(f"{message['role']}: {message['content']}" for message in self.input)


@dataclass(frozen=True, slots=True)
class CaseSet:
    """All cases, in the order of the file. The digest is of their content and does not depend on the order."""

    cases: tuple[Case, ...]
    digest: str
    origin: str

    def __iter__(self) -> Iterator[Case]:
        return iter(self.cases)

    def __len__(self) -> int:
        return len(self.cases)


def read_cases(spec: Cases, folder: Path) -> CaseSet:
    """Read JSON lines, CSV (both also gzipped) or a YAML list. Raises DataError.

    Every case needs an id of its own and an input; there must be at least one case.
    """
    path = folder / spec.file
    columns = [spec.id, spec.input] + ([spec.reference] if spec.reference else [])
    if path.suffix.lower() in {".yaml", ".yml"}:
        rows = _yaml(path, columns)
    elif kind_of(path) is None:
        raise DataError(f"{_WHAT} {path} are not of a kind this reads. Accepted: {ACCEPTED}, or .yaml")
    else:
        rows = read_rows(path, columns=columns, what=_WHAT)
    cases: list[Case] = []
    lines: dict[str, int] = {}
    for row in rows:
        case = rows.name(row, spec.id)
        if case in lines:
            raise DataError(
                f"{_WHAT} {path}, line {row.line}: the id '{case}' stands on line {lines[case]} already. "
                "Give every case an id of its own"
            )
        lines[case] = row.line
        cases.append(Case(case, _input(rows, row, spec.input), _reference(rows, row, spec.reference)))
    if not cases:
        raise DataError(
            f"{_WHAT} {path} hold no case. Write at least one, with '{spec.id}' and '{spec.input}'"
        )
    return CaseSet(tuple(cases), _digest(cases), Path(spec.file).name)


def _input(rows: Rows, row: Row, column: str) -> str | tuple[Mapping[str, Any], ...]:
    value = row.values[column]
    if isinstance(value, str) and value.strip():
        return value
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
        return tuple(value)
    raise rows.wrong(row, column, "a text, or a list of messages with role and content")


def _reference(rows: Rows, row: Row, column: str | None) -> str | None:
    value = row.values[column] if column else None
    if value is None or value == "":
        return None
    if isinstance(value, str):
        return value
    raise rows.wrong(row, column or "", "a text, or nothing where there is no reference")


def _digest(cases: list[Case]) -> str:
    listed = [
        {"id": case.id, "input": case.input, "reference": case.reference}
        for case in sorted(cases, key=lambda case: case.id)
    ]
    try:
        return hashlib.sha256(rfc8785.dumps(listed)).hexdigest()
    except (rfc8785.CanonicalizationError, ValueError) as error:
        raise DataError(
            f"{_WHAT} hold something that JSON cannot say exactly: {error}. Write it as text"
        ) from None


def _yaml(path: Path, columns: list[str]) -> Rows:
    raw, digest = read_bytes(path, what=_WHAT)
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw[: error.start].count(b"\n") + 1
        raise DataError(
            f"{_WHAT} {path} are not UTF-8 text, see line {line}. Save the file as UTF-8"
        ) from None
    try:
        document = read_document(text, str(path))
        if document.faults:
            raise DefinitionError(document.faults)
    except DefinitionError as error:
        raise DataError(f"{_WHAT}: {error}") from None
    listed = document.data
    if not isinstance(listed, list):
        raise DataError(
            f"{_WHAT} {path} are not a list. Accepted: one item `- {{{columns[0]}: …}}` for each case"
        )
    rows = []
    for index, values in enumerate(listed):
        line = document.line((index, *list(values)[:1]) if isinstance(values, dict) else (index,)) or 1
        if not isinstance(values, dict):
            raise DataError(
                f"{_WHAT} {path}, line {line}: a case is a mapping. Accepted: {', '.join(columns)}"
            )
        for column in columns:
            if column not in values:
                raise DataError(
                    f"{_WHAT} {path}, line {line}: there is no '{column}'. It has: {', '.join(values)}"
                )
        rows.append(Row(line, values))
    return Rows(path, _WHAT, digest, tuple(rows))
