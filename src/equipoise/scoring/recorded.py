"""Judgements made earlier, read from a file: verdicts of a pairwise judge, grades by a rubric."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from equipoise.errors import DataError, nearest
from equipoise.experiment.definition import Recording
from equipoise.providers.rows import Row, Rows, read_rows

__all__ = ["RecordedGrades", "RecordedVerdicts", "read_grades", "read_verdicts"]


@dataclass(frozen=True, slots=True)
class RecordedVerdicts:
    """By case and variant, the probability that the variant beats control (None: no verdict was given)."""

    scores: Mapping[tuple[str, str], float | None]
    origin: str
    digest: str


@dataclass(frozen=True, slots=True)
class RecordedGrades:
    """By case and variant, the score on each axis of the rubric (None: not scored)."""

    grades: Mapping[tuple[str, str], Mapping[str, float | None]]
    origin: str
    digest: str


def read_verdicts(recording: Recording, folder: Path, *, variants: Sequence[str]) -> RecordedVerdicts:
    """Read a pairwise judge's verdicts on these treatments; other rows of the file are left alone.

    The column `recording.value` holds a number in [0, 1]: 1 a win over control, 0.5 a tie, 0 a loss; an
    empty cell or null is a verdict that was not given. Raises DataError.
    """
    what = "the recorded verdicts"
    rows = read_rows(
        folder / recording.file, columns=(recording.case, recording.variant, recording.value), what=what
    )
    scores: dict[tuple[str, str], float | None] = {}
    for row, case, variant in _wanted(rows, recording, variants, seen={}):
        scores[case, variant] = _number(rows, row, recording.value, 0.0, 1.0)
    _require(rows, recording, variants, {variant for _, variant in scores})
    return RecordedVerdicts(scores, Path(recording.file).name, rows.digest)


def read_grades(
    recording: Recording, folder: Path, *, variants: Sequence[str], axes: Iterable[str], top: int
) -> RecordedGrades:
    """Read grades of these variants: one column for each axis, from 1 to `top`; `recording.value` is not used."""
    axes = tuple(axes)
    rows = read_rows(
        folder / recording.file,
        columns=(recording.case, recording.variant, *axes),
        what="the recorded grades",
    )
    grades: dict[tuple[str, str], Mapping[str, float | None]] = {}
    for row, case, variant in _wanted(rows, recording, variants, seen={}):
        grades[case, variant] = {axis: _number(rows, row, axis, 1.0, float(top)) for axis in axes}
    _require(rows, recording, variants, {variant for _, variant in grades})
    return RecordedGrades(grades, Path(recording.file).name, rows.digest)


def _wanted(
    rows: Rows, recording: Recording, variants: Sequence[str], *, seen: dict[tuple[str, str], int]
) -> Iterable[tuple[Row, str, str]]:
    called: dict[str, list[str]] = {}
    for variant in variants:
        called.setdefault(recording.names.get(variant, variant), []).append(variant)
    for row in rows:
        case, theirs = rows.name(row, recording.case), rows.name(row, recording.variant)
        if theirs not in called:
            continue
        if (case, theirs) in seen:
            raise DataError(
                f"{rows.what} {rows.path}, line {row.line}: case '{case}' of '{theirs}' stands on line "
                f"{seen[case, theirs]} already. Keep one row for each case and variant"
            )
        seen[case, theirs] = row.line
        for variant in called[theirs]:
            yield row, case, variant


def _require(rows: Rows, recording: Recording, variants: Sequence[str], present: set[str]) -> None:
    for variant in variants:
        if variant not in present:
            theirs = recording.names.get(variant, variant)
            there = sorted({str(row.values[recording.variant]) for row in rows})
            advice = nearest(theirs, there)
            raise DataError(
                f"{rows.what} {rows.path} have no row of the variant '{theirs}'. The column "
                f"'{recording.variant}' holds: {', '.join(there[:20]) or 'nothing'}"
                + (f"; {advice}" if advice else ".")
                + " Map the variant under `names` to what the file calls it"
            )


def _number(rows: Rows, row: Row, column: str, low: float, high: float) -> float | None:
    value: Any = row.values[column]
    if value is None or (isinstance(value, str) and not value.strip()):
        return None
    accepted = f"a number from {low:g} to {high:g}, or nothing where there is none"
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise rows.wrong(row, column, accepted)
    try:
        number = float(value)
    except ValueError:
        raise rows.wrong(row, column, accepted) from None
    if not (math.isfinite(number) and low <= number <= high):
        raise rows.wrong(row, column, accepted)
    return number
