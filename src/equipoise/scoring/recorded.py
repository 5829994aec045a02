"""Judgements made earlier, read from a file: verdicts of a pairwise judge, grades by a rubric, people's labels."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any

from equipoise.errors import DataError, nearest
from equipoise.experiment.evaluators import Kind
from equipoise.experiment.offline import Labels, Recording, Rubric
from equipoise.providers.rows import Row, Rows, read_rows
from equipoise.scoring.evaluating import Evaluator, Score, Subject, unscored
from equipoise.scoring.pairwise import Comparator, Comparison, Winner

__all__ = [
    "RecordedComparator",
    "RecordedGrades",
    "read_labels",
    "recorded_comparator",
    "recorded_grades",
]

_WHAT = "the recorded verdicts"
Key = tuple[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordedComparator:
    """Verdicts by case and treatment: the treatment's score in [0, 1], in one row or in one for each order."""

    verdicts: Mapping[Key, Comparison] = field(repr=False)
    origin: str
    digest: str
    both_orders: bool

    @property
    def recorded(self) -> bool:
        return True

    @property
    def models(self) -> tuple[str, ...]:
        """Who judged is not known."""
        return ()

    @property
    def cases(self) -> frozenset[str]:
        """The cases there are verdicts about."""
        return frozenset(case for case, _ in self.verdicts)

    async def compare(self, treatment: Subject, control: Subject) -> Comparison:  # noqa: ARG002 - as any comparator
        """The verdict that was recorded, or why there is none."""
        known = self.verdicts.get((treatment.about["case"], treatment.about["variant"]))
        return known or Comparison(score=None, why_not=f"{self.origin} has no verdict")


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordedGrades:
    """Grades by case and variant, on each axis of a rubric."""

    grades: Mapping[Key, Mapping[str, float | None]] = field(repr=False)
    rubric: Rubric
    origin: str
    digest: str
    name: str = "rubric"

    @property
    def kind(self) -> Kind:
        return "judge"

    @property
    def revision(self) -> int:
        return self.rubric.revision

    @property
    def recorded(self) -> bool:
        return True

    @property
    def top(self) -> float:
        return float(self.rubric.top)

    @property
    def measures(self) -> tuple[str, ...]:
        return tuple(self.rubric.axes)

    @property
    def cases(self) -> frozenset[str]:
        """The cases there are grades of."""
        return frozenset(case for case, _ in self.grades)

    async def score(self, subject: Subject) -> Mapping[str, Score]:
        """The grades that were recorded, or why there are none."""
        known = self.grades.get((subject.about["case"], subject.about["variant"]))
        if known is None:
            return dict.fromkeys(self.measures, unscored(f"{self.origin} has no grade"))
        return {
            axis: unscored(f"no score is recorded for {axis}") if value is None else Score(value=value)
            for axis, value in known.items()
        }


def recorded_comparator(recording: Recording, folder: Path, *, variants: Sequence[str]) -> Comparator:
    """Read a pairwise judge's verdicts on these treatments; other rows of the file are left alone.

    The column `recording.value` holds a number in [0, 1]: 1 a win of the treatment over control, 0.5 a tie, 0
    a loss; an empty cell or null is a verdict that was not given. With `recording.first` there are up to
    two rows a case, one for each order: that column names what was shown first, by the file's name of the
    variant or as `variant` or `control`. Of two orders that disagree on the winner comes a tie. Raises
    DataError.
    """
    columns = (recording.case, recording.variant, recording.value)
    if recording.first is None:
        rows = read_rows(folder / recording.file, columns=columns, what=_WHAT)
        single: dict[Key, Comparison] = {}
        for row, case, variant, _ in _wanted(rows, recording, variants):
            score = _number(rows, row, recording.value, 0.0, 1.0)
            why = None if score is not None else f"{Path(recording.file).name} has no verdict"
            single[case, variant] = Comparison(score=score, why_not=why)
        return _comparator(recording, rows, single, variants, both_orders=False)
    rows = read_rows(folder / recording.file, columns=(*columns, recording.first), what=_WHAT)
    orders: dict[Key, dict[str, float | None]] = {}

    def order_of(row: Row, variant: str) -> str:
        return _order(rows, row, recording, variant)

    for row, case, variant, order in _wanted(rows, recording, variants, order=order_of):
        orders.setdefault((case, variant), {})[order] = _number(rows, row, recording.value, 0.0, 1.0)
    paired = {key: _of_orders(found, Path(recording.file).name) for key, found in orders.items()}
    return _comparator(recording, rows, paired, variants, both_orders=True)


def _comparator(
    recording: Recording,
    rows: Rows,
    verdicts: Mapping[Key, Comparison],
    variants: Sequence[str],
    *,
    both_orders: bool,
) -> RecordedComparator:
    _require(rows, recording, variants, {variant for _, variant in verdicts})
    return RecordedComparator(
        verdicts=MappingProxyType(dict(verdicts)),
        origin=Path(recording.file).name,
        digest=rows.digest,
        both_orders=both_orders,
    )


def _order(rows: Rows, row: Row, recording: Recording, variant: str) -> str:
    shown = str(row.values[recording.first or ""])
    theirs = {recording.names.get(variant, variant), variant, "variant"}
    control = {recording.names.get("control", "control"), "control"}
    if shown in theirs:
        return "treatment first"
    if shown in control:
        return "control first"
    raise rows.wrong(row, recording.first or "", f"{' or '.join(sorted(theirs | control))}")


def _of_orders(found: Mapping[str, float | None], origin: str) -> Comparison:
    """One comparison out of what was recorded in each order."""
    winners = {order: _winner(score) for order, score in found.items()}
    first, second = winners.get("treatment first"), winners.get("control first")
    scores = [score for score in found.values() if score is not None]
    lacking = [order for order in ("treatment first", "control first") if found.get(order) is None]
    if len(lacking) == 2 or (lacking and lacking[0] in found):
        return Comparison(
            score=None,
            why_not=f"{origin} has no verdict with {' and with '.join(lacking)}",
            treatment_first=first,
            control_first=second,
        )
    if first is not None and second is not None and first != second:
        return Comparison(score=0.5, treatment_first=first, control_first=second)
    return Comparison(score=math.fsum(scores) / len(scores), treatment_first=first, control_first=second)


def _winner(score: float | None) -> Winner | None:
    if score is None:
        return None
    return "treatment" if score > 0.5 else "control" if score < 0.5 else "tie"


def recorded_grades(
    recording: Recording, folder: Path, *, variants: Sequence[str], rubric: Rubric
) -> Evaluator:
    """Read grades of these variants: one column for each axis, from 1 to its top; `recording.value` is not used."""
    axes = tuple(rubric.axes)
    rows = read_rows(
        folder / recording.file,
        columns=(recording.case, recording.variant, *axes),
        what="the recorded grades",
    )
    grades: dict[Key, Mapping[str, float | None]] = {}
    for row, case, variant, _ in _wanted(rows, recording, variants):
        grades[case, variant] = {axis: _number(rows, row, axis, 1.0, float(rubric.top)) for axis in axes}
    _require(rows, recording, variants, {variant for _, variant in grades})
    return RecordedGrades(
        grades=MappingProxyType(grades), rubric=rubric, origin=Path(recording.file).name, digest=rows.digest
    )


def read_labels(labels: Labels, folder: Path, *, variants: Sequence[str]) -> dict[Key, float]:
    """What people said, by case and treatment: 1 the treatment is better, 0.5 neither, 0 control is.

    An empty cell is a label that was not given. A treatment may be without labels, but not all of them. Raises
    DataError.
    """
    recording = labels.recording
    rows = read_rows(
        folder / recording.file,
        columns=(recording.case, recording.variant, recording.value),
        what="the labels",
    )
    found: dict[Key, float] = {}
    about: set[str] = set()
    for row, case, variant, _ in _wanted(rows, recording, variants):
        about.add(variant)
        value = _number(rows, row, recording.value, 0.0, 1.0)
        if value is not None:
            found[case, variant] = value
    if not about:
        _require(rows, recording, variants, about)
    return found


def _wanted(
    rows: Rows,
    recording: Recording,
    variants: Sequence[str],
    *,
    order: Callable[[Row, str], str] | None = None,
) -> Iterable[tuple[Row, str, str, str]]:
    """The rows about these variants with case, variant and order ("" without one); one row for each of them."""
    called: dict[str, list[str]] = {}
    for variant in variants:
        called.setdefault(recording.names.get(variant, variant), []).append(variant)
    seen: dict[tuple[str, str, str], int] = {}
    for row in rows:
        case, theirs = rows.name(row, recording.case), rows.name(row, recording.variant)
        for variant in called.get(theirs, ()):
            shown = order(row, variant) if order else ""
            first = seen.setdefault((case, variant, shown), row.line)
            if first != row.line:
                raise DataError(
                    f"{rows.what} {rows.path}, line {row.line}: case '{case}' of '{theirs}'"
                    f"{f' with {shown}' if shown else ''} stands on line {first} already. "
                    f"Keep one row for each case and variant{' and order' if shown else ''}"
                )
            yield row, case, variant, shown


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
