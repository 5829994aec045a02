"""Rows of a file, with their line numbers: JSON lines or CSV, plain or gzipped."""

from __future__ import annotations

import csv
import gzip
import hashlib
import io
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from equipoise.errors import DataError, nearest

__all__ = ["ACCEPTED", "Row", "Rows", "kind_of", "read_bytes", "read_rows", "show"]

ACCEPTED = ".jsonl, .ndjson or .csv, each also with .gz"
_KINDS = {".jsonl": "jsonl", ".ndjson": "jsonl", ".csv": "csv"}


@dataclass(frozen=True, slots=True)
class Row:
    """One row: where it stands, and its values by column (all of them text in a CSV file)."""

    line: int
    values: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Rows:
    """All rows of a file, and the SHA-256 of the file as it lies on the disk; `what` names it in messages."""

    path: Path
    what: str
    digest: str
    rows: tuple[Row, ...]

    def __iter__(self) -> Iterator[Row]:
        return iter(self.rows)

    def name(self, row: Row, column: str) -> str:
        """A case's id or a variant's name as text; a whole number, as ids in JSON often are, becomes text too.

        Raises DataError for anything that is not a name: nothing, an empty text, a fraction, a list.
        """
        value = row.values.get(column)
        if isinstance(value, str) and value:
            return value
        if isinstance(value, int) and not isinstance(value, bool):
            return str(value)
        raise self.wrong(row, column, "a text or a whole number")

    def wrong(self, row: Row, column: str, accepted: str) -> DataError:
        """The error for a value that cannot be read, saying where it stands and what would do."""
        return DataError(
            f"{self.what} {self.path}, line {row.line}: the column '{column}' holds {show(row.values.get(column))}. "
            f"Accepted: {accepted}"
        )


def read_rows(path: Path, *, columns: Sequence[str] = (), what: str = "the file") -> Rows:
    """Read every row; each must have the given columns. `what` names the file in messages.

    Raises DataError, saying the file, the line, what is accepted and what to do, where the file is
    missing, truncated, not UTF-8, not of a known kind, or not what its name says.
    """
    kind = kind_of(path)
    if kind is None:
        raise DataError(f"{what} {path} is not a kind of file this reads. Accepted: {ACCEPTED}")
    raw, digest = read_bytes(path, what=what)
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw[: error.start].count(b"\n") + 1
        raise DataError(
            f"{what} {path} is not UTF-8 text: line {line} has the byte 0x{raw[error.start]:02x}. Save it as UTF-8"
        ) from None
    found = _jsonl(text, path, columns, what) if kind == "jsonl" else _csv(text, path, columns, what)
    return Rows(path, what, digest, tuple(found))


def kind_of(path: Path) -> str | None:
    """`jsonl` or `csv` by the file's name, or None.

    >>> kind_of(Path("a.jsonl.gz")), kind_of(Path("a.csv")), kind_of(Path("a.xlsx"))
    ('jsonl', 'csv', None)
    """
    suffix = Path(path.stem).suffix if path.suffix.lower() == ".gz" else path.suffix
    return _KINDS.get(suffix.lower())


def read_bytes(path: Path, *, what: str) -> tuple[bytes, str]:
    """The bytes of a file, gunzipped where its name ends in .gz, and the SHA-256 of the file as it is."""
    try:
        stored = path.read_bytes()
    except FileNotFoundError:
        raise DataError(
            f"{what} {path} does not exist. Check the path; relative paths start at the definition"
        ) from None
    except IsADirectoryError:
        raise DataError(f"{what} {path} is a folder. Name a file in it; accepted: {ACCEPTED}") from None
    except OSError as error:
        raise DataError(f"{what} {path} cannot be read: {error.strerror}. Check its permissions") from None
    digest = hashlib.sha256(stored).hexdigest()
    if path.suffix.lower() != ".gz":
        return stored, digest
    try:
        return gzip.decompress(stored), digest
    except EOFError:
        raise DataError(f"{what} {path} is a truncated gzip file. Copy or download it again") from None
    except (gzip.BadGzipFile, zlib.error) as error:
        raise DataError(
            f"{what} {path} is not a sound gzip file: {error}. Copy or download it again"
        ) from None


def _jsonl(text: str, path: Path, columns: Sequence[str], what: str) -> Iterator[Row]:
    # Only \n ends a line: U+2028 and its kin may stand inside a JSON text.
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        try:
            values = orjson.loads(line)
        except orjson.JSONDecodeError as error:
            raise DataError(
                f"{what} {path}, line {number} is not JSON: {error}. Accepted: one JSON object on each line; "
                "mend or remove that line"
            ) from None
        if not isinstance(values, dict):
            raise DataError(
                f"{what} {path}, line {number} holds {show(values)}. Accepted: one JSON object on each line"
            )
        _require(columns, values, number, path, what)
        yield Row(number, values)


def _csv(text: str, path: Path, columns: Sequence[str], what: str) -> Iterator[Row]:
    # The module's own limit of 128 KiB a field is less than a long answer.
    csv.field_size_limit(max(csv.field_size_limit(), 1 << 28))
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    try:
        head = next(reader, None)
        if head is None:
            raise DataError(f"{what} {path} is empty. Accepted: a line of column names, then one row a line")
        if len(set(head)) != len(head):
            twice = next(name for name in head if head.count(name) > 1)
            raise DataError(f"{what} {path}, line 1 names the column '{twice}' twice. Rename one of them")
        _require(columns, head, 1, path, what)
        for cells in reader:
            if not cells:
                continue
            if len(cells) != len(head):
                raise DataError(
                    f"{what} {path}, line {reader.line_num} has {len(cells)} cells where the head has {len(head)} "
                    "columns. Put text that holds commas or line breaks in double quotes"
                )
            yield Row(reader.line_num, dict(zip(head, cells, strict=True)))
    except csv.Error as error:
        raise DataError(
            f"{what} {path}, line {reader.line_num} is not CSV: {error}. Accepted: commas, and double quotes where needed"
        ) from None


def _require(columns: Sequence[str], present: Any, line: int, path: Path, what: str) -> None:
    for column in columns:
        if column not in present:
            there = [str(name) for name in present]
            advice = nearest(column, there)
            raise DataError(
                f"{what} {path}, line {line}: there is no column '{column}'. It has: {', '.join(there) or 'nothing'}"
                + (f"; {advice}" if advice else "")
            )


def show(value: Any) -> str:
    """A value as messages show it: short, and `nothing` where there is none."""
    if value is None or value == "":
        return "nothing"
    if isinstance(value, dict):
        return "an object"
    if isinstance(value, list):
        return "a list"
    text = repr(value)
    return text if len(text) <= 40 else text[:37] + "…'"
