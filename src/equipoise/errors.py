"""One family of errors. Each says what was wrong, where, what would be accepted, what to do next.

EquipoiseError                 exit code 1
├── UsageError                 2   an argument or a call that cannot be carried out
│   └── MissingExtraError      2   the command needs an optional extra that is not installed
├── DefinitionError            2   the experiment file; carries every fault found, not the first
├── DataError                  2   a table, cases or recorded file that cannot be read as declared
├── RecordError                2   the event log: missing, not a log, or changed under an operator
├── GateError                  3   a transition that its entry conditions do not allow
├── UpstreamError              6   a model or judge endpoint that did not answer usefully
├── OutOfReachError            6   so many requests failed that a run was stopped; what was paid for is kept
└── BudgetError                4   a run that reached what it may cost; what was paid for is kept
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from difflib import get_close_matches
from typing import Any, ClassVar

__all__ = [
    "BudgetError",
    "DataError",
    "DefinitionError",
    "EquipoiseError",
    "Fault",
    "GateError",
    "MissingExtraError",
    "OutOfReachError",
    "RecordError",
    "UpstreamError",
    "UsageError",
    "dotted",
    "missing_extra",
    "nearest",
    "words_of",
]


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing wrong in a file, with the place and the way out.

    >>> print(Fault("'propotion' is not a kind of metric", file="e.yaml", line=12,
    ...             field="metrics.resolved.kind", accepted="proportion or mean",
    ...             next="did you mean 'proportion'?"))
    e.yaml:12: metrics.resolved.kind: 'propotion' is not a kind of metric; accepted: proportion or mean; did you mean 'proportion'?
    """

    problem: str
    file: str | None = None
    line: int | None = None
    field: str | None = None
    accepted: str | None = None
    next: str | None = None

    def __str__(self) -> str:
        place = self.file or ""
        if self.line is not None:
            place = f"{place}:{self.line}" if place else f"line {self.line}"
        head = ": ".join(part for part in (place, self.field) if part)
        said = "; ".join(
            part
            for part in (
                self.problem,
                f"accepted: {self.accepted}" if self.accepted else None,
                self.next,
            )
            if part
        )
        return f"{head}: {said}" if head else said


class EquipoiseError(Exception):
    """The root of the family; catch it to catch everything Equipoise raises on purpose."""

    exit_code: ClassVar[int] = 1

    def to_dict(self) -> dict[str, Any]:
        """The one JSON shape of an error: {"error": kind, "message": text, "faults": [...]}."""
        return {"error": type(self).__name__, "message": str(self), "faults": []}


class UsageError(EquipoiseError):
    """An argument or a call that cannot be carried out."""

    exit_code = 2


class MissingExtraError(UsageError, ImportError):
    """Something needs an optional extra; the message holds the line that installs it."""

    def __init__(self, what: str, extra: str = "analysis") -> None:
        super().__init__(f"{what} needs the '{extra}' extra. Install it: pip install 'equipoise[{extra}]'")
        self._said = (what, extra)

    def __reduce__(self) -> tuple[Any, ...]:
        # A pool of processes pickles an error and makes it anew from what it was made of.
        return type(self), self._said


class DefinitionError(EquipoiseError):
    """The experiment file is wrong; `faults` holds everything found in one reading."""

    exit_code = 2

    def __init__(self, faults: Iterable[Fault]) -> None:
        self.faults = tuple(faults)
        count = len(self.faults)
        head = "" if count == 1 else f"{count} faults in the definition:\n"
        super().__init__(head + "\n".join(str(fault) for fault in self.faults))

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.faults,)

    def to_dict(self) -> dict[str, Any]:
        return super().to_dict() | {"faults": [asdict(fault) for fault in self.faults]}


class DataError(EquipoiseError):
    """A table, a set of cases or a recorded file that cannot be read as declared."""

    exit_code = 2


class RecordError(EquipoiseError):
    """The event log is missing, is not one, or moved on under an operator."""

    exit_code = 2


class GateError(EquipoiseError):
    """A transition that its entry conditions do not allow."""

    exit_code = 3


class UpstreamError(EquipoiseError):
    """A model or judge endpoint did not answer usefully."""

    exit_code = 6


class OutOfReachError(EquipoiseError):
    """So many requests failed in a row that a run was stopped; what was answered is in its journal.

    Not an UpstreamError, which concerns one request and leaves a case unscored: this one ends the run.
    """

    exit_code = 6


class BudgetError(EquipoiseError):
    """A run stopped before it would cost more than it may; what was paid for is in its journal."""

    exit_code = 4


def dotted(path: tuple[str | int, ...]) -> str:
    """A path as people write it.

    >>> dotted(("watches", 0, "max"))
    'watches[0].max'
    """
    text = ""
    for step in path:
        if isinstance(step, int):
            text += f"[{step}]"
        else:
            text += f".{step}" if text else step
    return text


def missing_extra(what: str, error: ModuleNotFoundError) -> MissingExtraError | None:
    """The error to raise instead, where a module is missing that an extra brings; None for any other.

    >>> print(missing_extra("plan", ModuleNotFoundError(name="scipy.special")))
    plan needs the 'analysis' extra. Install it: pip install 'equipoise[analysis]'
    """
    brought = ("duckdb", "jinja2", "markupsafe", "numpy", "pyarrow", "scipy")
    return MissingExtraError(what) if (error.name or "").split(".")[0] in brought else None


def words_of(error: Exception) -> str:
    """What an exception says, whoever raised it, and never its `repr`: that of a text that cannot be encoded is all of it,
    and it may be a secret.

    >>> words_of(UsageError("there is no such day")), words_of(KeyError("day"))
    ('there is no such day', "KeyError: 'day'")
    """
    return str(error) if isinstance(error, EquipoiseError) else f"{type(error).__name__}: {error}"


def nearest(word: str, accepted: Iterable[str]) -> str | None:
    """A sentence offering the accepted name nearest to `word`, or None where none is near.

    >>> nearest("allocatoin", ["allocation", "analysis"])
    "did you mean 'allocation'?"
    >>> nearest("Gave", ["gave", "GIVEN"])
    "did you mean 'gave'?"
    >>> nearest("zebra", ["allocation"]) is None
    True
    """
    # Regardless of case, which is the commonest slip; of several that differ only by it, the last stands.
    folded = {name.casefold(): name for name in accepted}
    near = get_close_matches(word.casefold(), folded, n=1, cutoff=0.6)
    return f"did you mean '{folded[near[0]]}'?" if near else None
