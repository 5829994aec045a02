"""The gate's decision: pass, fail, inconclusive or invalid; a pure function of the numbers.

Rule: the win rate of each treatment against control, with its interval, against 0.5 − margin (or, where
`superior` is asked, against 0.5). Every treatment must pass for the gate to pass, so no correction for
their number is needed (intersection-union).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from equipoise.experiment.definition import Gate
from equipoise.stats.estimate import Estimate, NotEstimable
from equipoise.stats.preference.preference import cases_to_settle

__all__ = ["MOST_UNSCORED", "ArmDecision", "Decision", "GateResult", "decide", "decide_arm"]

Decision = Literal["pass", "fail", "inconclusive", "invalid"]

MOST_UNSCORED = 0.20
"""Above this share of unscored cases nothing is concluded: what is missing is rarely missing at random."""

_EXIT: dict[Decision, int] = {"pass": 0, "fail": 3, "inconclusive": 4, "invalid": 5}


@dataclass(frozen=True, slots=True, kw_only=True)
class ArmDecision:
    """What the gate says of one treatment, why, and how many cases would settle it (None: cases do not)."""

    variant: str
    decision: Decision
    reason: str
    cases: int
    cases_to_settle: int | None = None


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


def decide_arm(
    variant: str,
    *,
    gate: Gate,
    win_rate: Estimate | NotEstimable,
    cases: int,
    scored: int,
    failing: Sequence[tuple[str, int]] = (),
    unchecked: int = 0,
) -> ArmDecision:
    """Decide on one treatment.

    `failing` lists the must-pass checks that failed and on how many cases: a known harm, which no missing
    score can excuse. `unchecked` is the number of cases whose answer a must-pass check could not read;
    with any of these the gate cannot pass.

    >>> five = Estimate(value=0.9, standard_error=0.1, low=0.398, high=0.999, level=0.95, method="win rate")
    >>> decide_arm("b", gate=Gate(margin=0.10), win_rate=five, cases=5, scored=5).cases_to_settle
    197
    """

    def say(decision: Decision, reason: str, settle: int | None = None) -> ArmDecision:
        return ArmDecision(
            variant=variant, decision=decision, reason=reason, cases=cases, cases_to_settle=settle
        )

    if failing:
        listed = ", ".join(f"{name} on {count} of {cases} cases" for name, count in failing)
        return say("fail", f"must pass on every case, and does not: {listed}")
    if scored == 0:
        return say("invalid", "no case was scored against control")
    if cases - scored > MOST_UNSCORED * cases:
        return say(
            "invalid", f"{cases - scored} of {cases} cases are unscored, more than {MOST_UNSCORED:.0%}"
        )
    if isinstance(win_rate, NotEstimable):
        return say("inconclusive", win_rate.reason, _settle(gate, None, scored))
    bar = 0.5 if gate.superior else 0.5 - gate.margin
    shown = f"{win_rate.low:.1%} to {win_rate.high:.1%}"
    if win_rate.high < bar:
        return say("fail", f"the win rate is shown to be below {bar:.1%} (interval {shown})")
    if win_rate.low > bar:
        if unchecked:
            return say(
                "inconclusive", f"{unchecked} cases have no answer on which the must-pass checks could run"
            )
        return say("pass", f"the win rate is shown to be above {bar:.1%} (interval {shown})")
    return say(
        "inconclusive",
        f"the interval {shown} includes {bar:.1%}: "
        + ("1 case does not settle it" if scored == 1 else f"{scored} cases do not settle it"),
        _settle(gate, win_rate, scored),
    )


def decide(arms: Sequence[ArmDecision]) -> GateResult:
    """One decision out of those on the treatments: fail if any fails, else invalid, inconclusive, pass.

    >>> decide([ArmDecision(variant="b", decision="pass", reason="", cases=9)]).exit_code
    0
    """
    for decision in ("fail", "invalid", "inconclusive"):
        named = [arm for arm in arms if arm.decision == decision]
        if named:
            reason = "; ".join(f"{arm.variant}: {arm.reason}" for arm in named)
            return GateResult(decision=decision, reason=reason, arms=tuple(arms))
    reason = "; ".join(f"{arm.variant}: {arm.reason}" for arm in arms)
    return GateResult(decision="pass", reason=reason, arms=tuple(arms))


def _settle(gate: Gate, seen: Estimate | None, scored: int) -> int | None:
    """Cases for an arm that is truly equal to control (or, if `superior`, better by the margin).

    Where so many were seen already and the matter is still open, the arm lies nearer to the bar than
    that: then the number for the distance that was seen.
    """
    planned = cases_to_settle(gate.margin, level=gate.level) if gate.margin > 0 else None
    if planned is not None and planned > scored:
        return planned
    bar = 0.5 if gate.superior else 0.5 - gate.margin
    distance = abs(seen.value - bar) if seen is not None else 0.0
    # Nearer than a ten-thousandth, no realistic number of cases tells the arm from the bar.
    return cases_to_settle(distance, level=gate.level) if distance >= 1e-4 else None
