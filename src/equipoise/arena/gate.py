"""The gate's decision: pass, fail, inconclusive or invalid; a pure function of the numbers.

Each criterion is decided by one interval against one bar. An arm fails that is known to do harm, is invalid
where its numbers cannot be trusted, and passes only with every criterion. Every treatment must pass for the
gate to pass, so no correction for their number is needed (intersection-union).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from equipoise.experiment.definition import Criterion
from equipoise.stats.estimate import Estimate, NotEstimable

__all__ = ["ArmDecision", "Decided", "Decision", "GateResult"]

Decision = Literal["pass", "fail", "inconclusive", "invalid"]

_EXIT: dict[Decision, int] = {"pass": 0, "fail": 3, "inconclusive": 4, "invalid": 5}


@dataclass(frozen=True, slots=True, kw_only=True)
class Decided:
    """One criterion, what was seen, and what follows.

    `estimate` is the win rate, or the treatment's mean minus control's; `bar` is what it is held against, on
    the same scale. `cases_to_settle` is how many cases would decide it (None: it is decided, or no number
    of cases would).
    """

    criterion: Criterion
    estimate: Estimate | NotEstimable
    bar: float | None
    decision: Literal["pass", "fail", "inconclusive"]
    reason: str
    cases_to_settle: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ArmDecision:
    """What the gate says of one treatment, why, and how many cases would settle it (None: cases do not)."""

    variant: str
    decision: Decision
    reason: str
    cases: int
    cases_to_settle: int | None = None
    criteria: tuple[Decided, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class GateResult:
    """The offline decision, with the decision on each treatment it is made of."""

    decision: Decision
    reason: str
    arms: tuple[ArmDecision, ...]

    @property
    def exit_code(self) -> int:
        """0 pass, 3 fail, 4 inconclusive, 5 invalid."""
        return _EXIT[self.decision]
