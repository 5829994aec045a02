"""What the arena found: per variant, per case, and the decision; as a value and as JSON."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from types import MappingProxyType
from typing import Any, Literal

from equipoise.arena.gate import ArmDecision, GateResult
from equipoise.scoring.pairwise import Comparison
from equipoise.scoring.passing import CheckResult, Failed
from equipoise.scoring.rubric import AxisMean, Grade
from equipoise.stats.estimate import Estimate, NotEstimable

__all__ = ["Answered", "ArenaResult", "CaseResult", "CheckCount", "Evaluator", "VariantResult"]


def _none() -> Mapping[str, Any]:
    return MappingProxyType({})


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluator:
    """Who judged: a model asked live (`digest` is of its prompt), or a recording (`digest` is of the file)."""

    does: Literal["pairwise", "rubric"]
    kind: Literal["live", "recorded"]
    name: str
    digest: str


@dataclass(frozen=True, slots=True)
class Answered:
    """A variant's answer to a case: its text, or why there is none."""

    text: str | None
    why_not: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CaseResult:
    """One case: what was asked, what each variant answered, and what was made of it, all by variant."""

    id: str
    asked: str
    answers: Mapping[str, Answered] = field(default_factory=_none)
    checks: Mapping[str, Mapping[str, CheckResult]] = field(default_factory=_none)
    grades: Mapping[str, Grade] = field(default_factory=_none)
    comparisons: Mapping[str, Comparison] = field(default_factory=_none)


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckCount:
    """On how many cases a check passed, failed, or had no answer to read."""

    name: str
    must_pass: bool
    passed: int
    failed: int
    not_run: int


@dataclass(frozen=True, slots=True, kw_only=True)
class VariantResult:
    """What is known of one variant. What does not apply to it (control has no win rate) is None.

    `cases` counts all golden cases. A win is a score above one half, a tie exactly one half.
    `unscored` cases have no usable verdict, for whatever reason; `errored` cases have no answer;
    `disagreements` are those where the judge's winner changed with the order (None: both orders were not
    asked), and `first_preferred` those of them where it was whatever was shown first.
    `mean_chars` is over the answered cases.
    """

    name: str
    cases: int
    answered: int | None
    errored: int | None
    mean_chars: float | None
    checks: tuple[CheckCount, ...] = ()
    rubric: Mapping[str, AxisMean] = field(default_factory=_none)
    win_rate: Estimate | NotEstimable | None = None
    wins: int | None = None
    ties: int | None = None
    losses: int | None = None
    unscored: int | None = None
    disagreements: int | None = None
    first_preferred: int | None = None
    decision: ArmDecision | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ArenaResult:
    """One run of the arena, control first; it can be written as JSON and as a report.

    `asked` counts requests that went out in this run, `replayed` those answered by the journal. `margin`,
    `superior` and `level` are the gate's.
    """

    experiment: str
    digest: str
    cases_digest: str
    cases_origin: str
    answers_origin: str
    evaluators: tuple[Evaluator, ...]
    variants: tuple[VariantResult, ...]
    cases: tuple[CaseResult, ...]
    gate: GateResult
    margin: float
    superior: bool
    level: float
    seed: int
    asked: int = 0
    replayed: int = 0

    @property
    def control(self) -> VariantResult:
        return self.variants[0]

    @property
    def treatments(self) -> tuple[VariantResult, ...]:
        return self.variants[1:]

    def variant(self, name: str) -> VariantResult:
        """The result of that variant; KeyError where there is none."""
        for variant in self.variants:
            if variant.name == name:
                return variant
        raise KeyError(name)

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON, without the texts of questions and answers; what is not known is absent or has a reason."""
        return {
            "experiment": self.experiment,
            "digest": self.digest,
            "decision": self.gate.decision,
            "reason": self.gate.reason,
            "gate": {"margin": self.margin, "superior": self.superior, "level": self.level},
            "cases": {"number": len(self.cases), "digest": self.cases_digest, "file": self.cases_origin},
            "answers": self.answers_origin,
            "evaluators": [asdict(evaluator) for evaluator in self.evaluators],
            "variants": {variant.name: _variant(variant) for variant in self.variants},
            "by_case": [_case(case) for case in self.cases],
            "seed": self.seed,
            "asked": self.asked,
            "replayed": self.replayed,
        }


def _variant(variant: VariantResult) -> dict[str, Any]:
    plain: dict[str, Any] = {
        "cases": variant.cases,
        "answered": variant.answered,
        "errored": variant.errored,
        "mean_chars": variant.mean_chars,
        "checks": {check.name: _known(asdict(check), without="name") for check in variant.checks},
        "rubric": {axis: _known(asdict(mean)) for axis, mean in variant.rubric.items()},
    }
    if variant.win_rate is not None:
        plain |= {
            "win_rate": _estimate(variant.win_rate),
            "wins": variant.wins,
            "ties": variant.ties,
            "losses": variant.losses,
            "unscored": variant.unscored,
            "disagreements": variant.disagreements,
            "first_preferred": variant.first_preferred,
        }
    if variant.decision is not None:
        plain["decision"] = _known(asdict(variant.decision), without="variant")
    return _known(plain)


def _estimate(value: Estimate | NotEstimable) -> dict[str, Any]:
    return {"not_estimable": value.reason} if isinstance(value, NotEstimable) else _known(asdict(value))


def _case(case: CaseResult) -> dict[str, Any]:
    return {
        "id": case.id,
        "scores": {
            name: {"not_scored": each.why_not} if each.score is None else each.score
            for name, each in case.comparisons.items()
        },
        "grades": {name: _known(dict(grade.scores)) for name, grade in case.grades.items()},
        "errors": {name: answer.why_not for name, answer in case.answers.items() if answer.text is None},
        "failed_checks": {
            name: {check: result.reason for check, result in checks.items() if isinstance(result, Failed)}
            for name, checks in case.checks.items()
            if any(isinstance(result, Failed) for result in checks.values())
        },
    }


def _known(values: dict[str, Any], without: str | None = None) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None and name != without}
