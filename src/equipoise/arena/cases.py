"""The golden cases: read in whatever form they come, checked, and named by a digest."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from equipoise.arena.case import Case, CaseSet, digest_of
from equipoise.arena.case_formats.inspect import is_inspect, read_inspect
from equipoise.arena.case_formats.mlflow import is_mlflow, read_mlflow
from equipoise.arena.case_formats.own import read_own
from equipoise.arena.case_formats.promptfoo import is_promptfoo, read_promptfoo
from equipoise.arena.case_formats.reading_rows import WHAT, read_case_rows
from equipoise.errors import DataError
from equipoise.experiment.offline import CaseFormat, Cases

__all__ = ["Case", "CaseSet", "read_cases"]


def read_cases(spec: Cases, folder: Path) -> CaseSet:
    """Read the cases that a definition names: YAML, JSON, JSON lines, CSV (all also gzipped) or Parquet.

    Where `spec.format` is not given, it is told by the columns. Every case needs an id of its own and an
    input; there must be at least one case. Raises DataError.
    """
    path = folder / spec.file
    name = Path(spec.file).name
    found: CaseFormat = spec.format or "own"
    remarks: tuple[str, ...] = ()
    if spec.format in (None, "promptfoo") and is_promptfoo(path, spec):
        found = "promptfoo"
        listed, remarks = read_promptfoo(path, spec)
    elif spec.format == "promptfoo":
        raise DataError(
            f"{WHAT} {path} hold no `tests` of promptfoo. Accepted: a config, a list of tests, or a CSV of them"
        )
    else:
        rows = read_case_rows(path)
        columns = frozenset(key for row in rows for key in row.values)
        if spec.format == "inspect" or (spec.format is None and is_inspect(columns, spec)):
            found = "inspect"
            listed = list(read_inspect(rows))
        elif spec.format == "mlflow" or (spec.format is None and is_mlflow(columns, spec, rows)):
            found = "mlflow"
            listed = list(read_mlflow(rows, spec))
        else:
            listed = list(read_own(rows, spec))
    if not listed:
        raise DataError(
            f"{WHAT} {path} hold no case. Write at least one, with '{spec.id}' and '{spec.input}'"
        )
    _require_own_ids(path, listed)
    if spec.format is None and found != "own":
        remarks = (f"the cases in {name} were read as {_NAMES[found]}", *remarks)
    cases = CaseSet(cases=tuple(listed), digest=digest_of(listed), origin=name, format=found, remarks=remarks)
    return replace(cases, pinned=spec.sha256)


_NAMES: dict[CaseFormat, str] = {
    "own": "ours",
    "promptfoo": "tests of promptfoo",
    "inspect": "samples of Inspect",
    "mlflow": "evaluation data of MLflow",
}


def _require_own_ids(path: Path, cases: Iterable[Case]) -> None:
    seen: dict[str, int] = {}
    for number, case in enumerate(cases, 1):
        if case.id in seen:
            raise DataError(
                f"{WHAT} {path}: the id '{case.id}' of case {number} is that of case {seen[case.id]} already. "
                "Give every case an id of its own"
            )
        seen[case.id] = number
