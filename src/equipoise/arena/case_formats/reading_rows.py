"""Rows of a file of cases, whatever its kind: YAML, JSON, JSON lines, CSV or Parquet."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import orjson
import yaml

from equipoise.errors import DataError, DefinitionError, MissingExtraError
from equipoise.experiment.document import read_document
from equipoise.providers.rows import Row, Rows, kind_of, read_bytes, read_rows

__all__ = ["ACCEPTED", "WHAT", "read_case_rows", "read_plain", "read_theirs"]

WHAT = "the golden cases"
ACCEPTED = ".jsonl, .csv, .json, .yaml (each also with .gz) or .parquet"


def read_case_rows(path: Path) -> Rows:
    """Every row with its line; in a Parquet file, its number. Raises DataError."""
    kind = _suffix(path)
    if kind in (".yaml", ".yml", ".json"):
        return _listed(path)
    if kind == ".parquet":
        return _parquet(path)
    if kind_of(path) is None:
        raise DataError(f"{WHAT} {path} are not of a kind this reads. Accepted: {ACCEPTED}")
    return read_rows(path, what=WHAT)


def read_plain(path: Path) -> tuple[Any, Any, str]:
    """A YAML or JSON file as plain data, with a function from a path in it to its line, and its SHA-256."""
    raw, digest = read_bytes(path, what=WHAT)
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw[: error.start].count(b"\n") + 1
        raise DataError(
            f"{WHAT} {path} are not UTF-8 text, see line {line}. Save the file as UTF-8"
        ) from None
    if _suffix(path) == ".json":
        try:
            return orjson.loads(text), lambda _: None, digest
        except orjson.JSONDecodeError as error:
            raise DataError(f"{WHAT} {path} are not JSON: {error}. Mend the file") from None
    try:
        document = read_document(text, str(path))
        if document.faults:
            raise DefinitionError(document.faults)
    except DefinitionError as error:
        raise DataError(f"{WHAT}: {error}") from None
    return document.data, document.line, digest


class _Core(yaml.SafeLoader):
    """YAML as JavaScript's readers take it: only true and false are booleans, and a date stays text."""


_Core.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if not tag.endswith((":bool", ":timestamp"))]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_Core.add_implicit_resolver(
    "tag:yaml.org,2002:bool", re.compile(r"^(?:true|True|TRUE|false|False|FALSE)$"), list("tTfF")
)


def read_theirs(path: Path) -> Any:
    """A YAML or JSON file that another tool reads, as that tool reads it. Raises DataError."""
    raw, _ = read_bytes(path, what=WHAT)
    try:
        return yaml.load(raw.decode("utf-8-sig"), Loader=_Core)  # noqa: S506 - a SafeLoader
    except UnicodeDecodeError as error:
        line = raw[: error.start].count(b"\n") + 1
        raise DataError(
            f"{WHAT} {path} are not UTF-8 text, see line {line}. Save the file as UTF-8"
        ) from None
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f", line {mark.line + 1}" if mark is not None else ""
        said = getattr(error, "problem", None) or "it cannot be read"
        raise DataError(f"{WHAT} {path}{where} are not YAML: {said}. Mend the file") from None
    except RecursionError:
        raise DataError(f"{WHAT} {path} are nested too deeply to be read") from None


def _suffix(path: Path) -> str:
    return (Path(path.stem).suffix if path.suffix.lower() == ".gz" else path.suffix).lower()


def _listed(path: Path) -> Rows:
    data, line_of, digest = read_plain(path)
    if not isinstance(data, list):
        raise DataError(
            f"{WHAT} {path} are not a list. Accepted: one item `- {{id: …, input: …}}` for each case"
        )
    rows = []
    for index, values in enumerate(data):
        line = line_of((index, *list(values)[:1]) if isinstance(values, dict) else (index,)) or index + 1
        if not isinstance(values, dict):
            raise DataError(f"{WHAT} {path}, line {line}: a case is a mapping. Accepted: {{id: …, input: …}}")
        rows.append(Row(line, values))
    return Rows(path, WHAT, digest, tuple(rows))


def _parquet(path: Path) -> Rows:
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ModuleNotFoundError as error:
        raise MissingExtraError("cases in Parquet") from error
    _, digest = read_bytes(path, what=WHAT)
    try:
        table = pq.read_table(path)
    except (pa.ArrowException, OSError) as error:
        raise DataError(f"{WHAT} {path} are not a sound Parquet file: {error}. Write it again") from None
    rows = [Row(number, values) for number, values in enumerate(table.to_pylist(), 1)]
    return Rows(path, WHAT, digest, tuple(rows))
