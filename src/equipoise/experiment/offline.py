"""The offline gate as values: golden cases, answers and verdicts recorded or asked for, what scores them, what must hold."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Literal, get_args

from equipoise.experiment.amount import Amount

__all__ = [
    "Cases",
    "Criterion",
    "Gate",
    "Judge",
    "Labels",
    "Limits",
    "Offline",
    "Recording",
    "Rubric",
    "Show",
]

CaseFormat = Literal["own", "promptfoo", "inspect", "mlflow"]
Severity = Literal["low", "medium", "high", "critical"]
Show = Literal["superior", "non_inferior", "not_worse"]

CASE_FORMATS: tuple[CaseFormat, ...] = get_args(CaseFormat)
SEVERITIES: tuple[Severity, ...] = get_args(Severity)


@dataclass(frozen=True, slots=True, kw_only=True)
class Recording:
    """A file with answers or judgements made earlier, and the names of its columns.

    `names` maps a variant of the definition to what the file calls it. `first` is the column of verdicts that
    says which of the two was shown first, by the names the file uses; a case then has up to two rows.
    """

    file: str
    case: str
    variant: str
    value: str
    first: str | None = None
    names: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))


@dataclass(frozen=True, slots=True, kw_only=True)
class Cases:
    """The golden cases: a file, its form (None: told by its columns), and the columns of our own form.

    `reference` is the column of a right answer; where it is None, a column of that name is read if there is
    one, and so are `context`, `cluster`, `weight`, `tags`, `must_pass`, `severity` and `evaluators`. With
    `sha256` the digest of the cases is pinned: a run on other cases is invalid.
    """

    file: str
    format: CaseFormat | None = None
    id: str = "id"
    input: str = "input"
    reference: str | None = None
    sha256: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Judge:
    """Who judges: a language model asked live, several of them as a panel, or verdicts recorded earlier.

    `compares` is False where a judge that is asked live grades and does not compare. `both_orders` shows
    every pair in both orders. `samples` asks every verdict so many times, to tell the judge's noise from
    that of the answers. `params` are sent as they are; where they leave it open, a temperature of 0 and a
    seed are asked for. `sha256` pins the judge's digest: a run by another judge is invalid.
    """

    model: str | None = None
    base_url: str | None = None
    key_env: str = "OPENAI_API_KEY"
    params: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))
    requests_per_minute: float | None = None
    tokens_per_minute: float | None = None
    pairwise: Recording | None = None
    grades: Recording | None = None
    compares: bool = True
    both_orders: bool = True
    samples: int = 1
    panel: tuple[Judge, ...] = ()
    sha256: str | None = None

    @property
    def asked(self) -> tuple[Judge, ...]:
        """Every model that is asked: the panel, or the judge itself; none where all is recorded."""
        return self.panel or ((self,) if self.model is not None else ())


@dataclass(frozen=True, slots=True)
class Rubric:
    """What a judge grades: axes with a sentence each, all on one scale from 1 to `top`.

    A change of `revision` starts a new series of verdicts even where the words stay.
    """

    axes: Mapping[str, str]
    top: int = 5
    revision: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Labels:
    """What people said of the same pairs: 1 the treatment is better, 0.5 neither, 0 control is better.

    From `at_least` labelled cases on, the win rate corrected by them decides; before, it is inconclusive.
    """

    recording: Recording
    at_least: int = 50


@dataclass(frozen=True, slots=True, kw_only=True)
class Criterion:
    """One thing a treatment must show beside control, on the same cases.

    `of` is `win_rate` (the pairwise judge), `pass_rate` (cases on which every check holds) or the name of
    what an evaluator measures. `superior`: better is shown. `non_inferior`: worse by more than `margin` is
    ruled out. `not_worse`: fails where worse is shown, and passes otherwise. `worst` compares the mean of
    that share of the cases on which each arm is worst; None compares the mean of all. `at_least` is a floor
    that the treatment's own mean must be shown to reach.
    """

    of: str
    show: Show = "non_inferior"
    margin: Amount | None = None
    worst: float | None = None
    at_least: float | None = None

    @property
    def name(self) -> str:
        """What it is called in a table: `correct`, `correct, worst 5%`."""
        return self.of if self.worst is None else f"{self.of}, worst {self.worst:.0%}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What makes a run invalid: above `unscored`, `lean` or `self_preference`, below `kappa`; None: not asked."""

    unscored: float = 0.20
    lean: float | None = None
    kappa: float | None = None
    self_preference: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Gate:
    """What an arm must show offline: every criterion, and no failing case that may not fail.

    No criterion declared means the usual one: with a pairwise judge, the win rate is not below one half by
    more than 0.10; without one, the pass rate is not below control's by more than 5 points. `must_pass`
    names evaluators that hold on every case; `at_most` says how many cases of a severity may fail.
    `sequential` judges in steps and stops when the answer is clear.
    """

    criteria: tuple[Criterion, ...] = ()
    must_pass: tuple[str, ...] = ()
    at_most: Mapping[Severity, int] = field(default_factory=lambda: MappingProxyType({}))
    limits: Limits = Limits()
    level: float = 0.95
    sequential: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Offline:
    """The offline gate: cases, where answers come from, what scores them, what must hold.

    `answers` are recorded; or `application` names a Python function that gives them (`app.py:answer`); or
    the variants' models are asked. `samples` is how many answers each variant gives to each case.
    """

    cases: Cases
    samples: int = 1
    answers: Recording | None = None
    application: str | None = None
    evaluators: tuple[Mapping[str, Any], ...] = ()
    rubric: Rubric | None = None
    judge: Judge | None = None
    labels: Labels | None = None
    gate: Gate = Gate()
