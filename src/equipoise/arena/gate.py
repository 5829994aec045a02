"""The gate's decision: pass, fail, inconclusive or invalid; a pure function of the numbers.

Each criterion is decided by one interval against one bar. An arm fails that is known to do harm, is invalid
where its numbers cannot be trusted, and passes only with every criterion. Every treatment must pass for the
gate to pass, so no correction for their number is needed (intersection-union).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from equipoise.arena.sizing import MOST_DISCORDANT, WIN_VARIANCE, Pilot, needed_cases
from equipoise.experiment.amount import Amount
from equipoise.experiment.offline import Criterion
from equipoise.figures.numerals import p_value
from equipoise.stats.estimate import Estimate, NotEstimable
from equipoise.stats.preference.preference import cases_to_settle

__all__ = [
    "ArmDecision",
    "Decided",
    "Decision",
    "GateResult",
    "decide",
    "decide_arm",
    "decide_criterion",
    "usual_criteria",
]

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


def usual_criteria(*, compares: bool, passes: bool) -> tuple[Criterion, ...]:
    """What is asked where a definition asks for nothing; no criteria where nothing compares and nothing passes.

    `compares` says whether a judge compares answers, `passes` whether any evaluator has a bar.

    >>> usual_criteria(compares=False, passes=True)[0].of
    'pass_rate'
    """
    if compares:
        return (Criterion(of="win_rate", margin=Amount(0.10)),)
    return (Criterion(of="pass_rate", margin=Amount(0.05)),) if passes else ()


def decide_criterion(
    criterion: Criterion,
    *,
    estimate: Estimate | NotEstimable,
    cases: int,
    level: float,
    own: Estimate | NotEstimable | None = None,
    control: Estimate | NotEstimable | None = None,
    samples: int = 1,
) -> Decided:
    """Decide one criterion by one interval against one bar.

    `estimate` is the win rate, or the treatment's mean minus control's on the `cases` that both were scored on;
    `own` and `control` are the arms' own means, for a floor and for a margin relative to control's mean
    (which is taken as known). Higher is better.

    `superior` passes where the interval lies above 0 (a win rate: one half) and fails where it lies below.
    `non_inferior` does the same at minus the margin. `not_worse` fails where the interval lies below 0, and else
    passes; without an interval it decides nothing. Both of them fail, too, where a one-sided test of the same
    level shows the arm to be worse than control: a harm asks for less proof than a launch. A floor passes
    where the whole interval of the treatment's own mean reaches it, and fails where none of it does; with a
    floor, both must pass, and what decides worse is told. An arm as good as the bar passes with a chance of at
    most (1 − level)/2; one as good as control fails `superior` or `not_worse` with at most 1 − level, and one
    as good as the bar any other with (1 − level)/2.

    Degenerate cases: what is not estimable is inconclusive, and its reason is given.

    >>> seen = Estimate(value=-0.01, standard_error=0.01, low=-0.03, high=0.01, level=0.95, method="paired")
    >>> margin = Criterion(of="pass_rate", margin=Amount(0.05))
    >>> decide_criterion(margin, estimate=seen, cases=400, level=0.95).decision
    'pass'
    """
    margin = _margin(criterion, control)
    if isinstance(margin, NotEstimable):
        compared = Decided(
            criterion=criterion, estimate=estimate, bar=None, decision="inconclusive", reason=margin.reason
        )
    else:
        bar = (0.5 if criterion.of == "win_rate" else 0.0) - margin
        compared = _against_control(criterion, estimate, bar)
        if compared.decision == "inconclusive":
            compared = _unsettled(compared, cases, level, samples, control)
    if criterion.at_least is None:
        return compared
    floor = _against_floor(criterion, estimate if criterion.of == "win_rate" else own, criterion.at_least)
    if floor.decision == "inconclusive":
        floor = _unsettled(floor, cases, level, samples, None)
    return min((floor, compared), key=lambda each: _WORST_FIRST.index(each.decision))


def decide_arm(
    variant: str,
    *,
    criteria: Sequence[Decided],
    cases: int,
    failing: Mapping[str, tuple[str, ...]],
    invalid: Sequence[str] = (),
    unchecked: int = 0,
) -> ArmDecision:
    """Decide on one treatment.

    `failing` lists the cases that may not fail and did, by what they failed: a known harm, which no missing
    score can excuse. `invalid` says why the numbers cannot be trusted. `unchecked` is the number of cases on
    which something that must pass could not be checked; with any of these the treatment cannot pass.

    >>> decide_arm("b", criteria=[], cases=100, failing={"safety": ("7", "9")}).reason
    'must pass on every case, and does not: safety on 2 of 100 cases'
    """

    def say(decision: Decision, reason: str, settle: int | None = None) -> ArmDecision:
        return ArmDecision(
            variant=variant,
            decision=decision,
            reason=reason,
            cases=cases,
            cases_to_settle=settle,
            criteria=tuple(criteria),
        )

    if failing:
        listed = ", ".join(f"{name} on {len(ids)} of {cases} cases" for name, ids in failing.items())
        return say("fail", f"must pass on every case, and does not: {listed}")
    if invalid:
        return say("invalid", "; ".join(invalid))
    by_decision = {
        decision: [each for each in criteria if each.decision == decision] for decision in _WORST_FIRST
    }
    if failed := by_decision["fail"]:
        return say("fail", _reasons(failed))
    if open_ := by_decision["inconclusive"]:
        needed = [each.cases_to_settle for each in open_]
        known = [number for number in needed if number is not None]
        # Where no number of cases settles one of them, none settles the arm.
        return say("inconclusive", _reasons(open_), max(known) if len(known) == len(needed) else None)
    if unchecked:
        return say(
            "inconclusive",
            f"{unchecked} {'case has' if unchecked == 1 else 'cases have'} no answer on which the must-pass "
            "checks could run",
        )
    if not criteria:
        return say("inconclusive", "nothing is asked of it: no judge compares, and no evaluator has a bar")
    return say("pass", _reasons(criteria))


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


_WORST_FIRST: tuple[Literal["pass", "fail", "inconclusive"], ...] = ("fail", "inconclusive", "pass")

_HARM = 0.8
"""The share of 1 − level that a one-sided test for harm may use: at a few hundred cases a test by scores or by t may
pass its level by a tenth, and an arm equal to control is to fail in no more than 1 − level of runs."""

_ENOUGH = 30
"""With fewer cases than these the spread seen is no guide, and planning assumes the most there can be."""

_NEAREST = 1e-4
"""Nearer to the bar than this, no realistic number of cases tells an arm from it."""


def _reasons(criteria: Sequence[Decided]) -> str:
    return "; ".join(each.reason for each in criteria)


def _margin(criterion: Criterion, control: Estimate | NotEstimable | None) -> float | NotEstimable:
    """How much worse than control the bar lies."""
    if criterion.show != "non_inferior":
        return 0.0
    if criterion.margin is None:
        return 0.10 if criterion.of == "win_rate" else 0.0
    if criterion.margin.scale == "absolute":
        return criterion.margin.value
    if control is None or isinstance(control, NotEstimable):
        why = "that is not known" if control is None else control.reason
        return NotEstimable(
            f"{_subject(criterion)}: the margin is {criterion.margin} of control's mean, and {why}"
        )
    return criterion.margin.of(control.value)


def _against_control(criterion: Criterion, estimate: Estimate | NotEstimable, bar: float) -> Decided:
    decision: Literal["pass", "fail", "inconclusive"] = "inconclusive"
    subject = _subject(criterion)
    if isinstance(estimate, NotEstimable):
        reason = estimate.reason if criterion.of == "win_rate" else f"{subject}: {estimate.reason}"
        return Decided(criterion=criterion, estimate=estimate, bar=bar, decision=decision, reason=reason)
    points = criterion.of != "win_rate"
    span, at = _span(criterion, estimate, points=points), _told(criterion, bar, points=points)
    if estimate.high < bar:
        decision, reason = "fail", f"{subject} is shown to be below {at} (interval {span})"
    elif criterion.show != "non_inferior" and _worse(estimate, bar):
        tested = f"one-sided {p_value((estimate.p_value or 0.0) / 2)}"
        decision, reason = "fail", f"{subject} is shown to be below {at} ({tested}; interval {span})"
    elif criterion.show == "not_worse":
        decision, reason = "pass", f"{subject} is not shown to be below {at} (interval {span})"
    elif estimate.low > bar:
        decision, reason = "pass", f"{subject} is shown to be above {at} (interval {span})"
    else:
        reason = f"the interval {span} includes {at}"
        reason = f"{subject}: {reason}" if points else reason
    return Decided(criterion=criterion, estimate=estimate, bar=bar, decision=decision, reason=reason)


def _worse(estimate: Estimate, bar: float) -> bool:
    """Whether the estimate's own test, one-sided, puts it below the bar."""
    tested = estimate.p_value is not None and estimate.null == bar and estimate.value < bar
    return tested and (estimate.p_value or 0.0) / 2.0 < _HARM * (1.0 - estimate.level)


def _against_floor(criterion: Criterion, own: Estimate | NotEstimable | None, floor: float) -> Decided:
    decision: Literal["pass", "fail", "inconclusive"] = "inconclusive"
    subject = "the win rate" if criterion.of == "win_rate" else f"its own {_measure(criterion)}"
    estimate = NotEstimable("it is not known") if own is None else own
    if isinstance(estimate, NotEstimable):
        reason = f"{subject}: {estimate.reason}"
        return Decided(criterion=criterion, estimate=estimate, bar=floor, decision=decision, reason=reason)
    span, at = _span(criterion, estimate, points=False), _told(criterion, floor, points=False)
    if estimate.high < floor:
        decision, reason = "fail", f"{subject} is shown to be below {at} (interval {span})"
    elif estimate.low >= floor:
        decision, reason = "pass", f"{subject} is shown to reach {at} (interval {span})"
    else:
        reason = f"{subject}: the interval {span} includes {at}"
    return Decided(criterion=criterion, estimate=estimate, bar=floor, decision=decision, reason=reason)


def _unsettled(
    decided: Decided,
    cases: int,
    level: float,
    samples: int,
    control: Estimate | NotEstimable | None,
) -> Decided:
    """How many cases would decide what is open.

    First the number with which an arm equal to control would pass. Where so many were seen already, the arm lies
    nearer to the bar than that: then the number for the distance that was seen.
    """
    criterion, seen = decided.criterion, decided.estimate
    reason = decided.reason
    if isinstance(seen, Estimate):
        reason += f": {'1 case does not settle it' if cases == 1 else f'{cases} cases do not settle it'}"
    pilot = None
    if isinstance(seen, Estimate):
        most = {"win_rate": WIN_VARIANCE, "pass_rate": MOST_DISCORDANT}.get(criterion.of, 0.0)
        variance = seen.standard_error**2 * cases
        pilot = Pilot(
            variance=variance if cases >= _ENOUGH else max(variance, most),
            control=control.value if isinstance(control, Estimate) else None,
            samples=samples,
        )
    settle: int | None = None
    if decided.bar != criterion.at_least:
        planned = needed_cases(criterion, level=level, pilot=pilot, samples=samples)
        settle = planned if isinstance(planned, int) and planned > cases else None
    if settle is None and pilot is not None and isinstance(seen, Estimate) and decided.bar is not None:
        distance = abs(seen.value - decided.bar)
        if distance >= _NEAREST and pilot.variance > 0.0:
            settle = max(cases + 1, cases_to_settle(distance, level=level, variance=pilot.variance))
    return replace(decided, reason=reason, cases_to_settle=settle)


def _measure(criterion: Criterion) -> str:
    if criterion.of == "pass_rate":
        return criterion.name.replace("pass_rate", "pass rate")
    return f"'{criterion.name}'"


def _subject(criterion: Criterion) -> str:
    return "the win rate" if criterion.of == "win_rate" else f"the difference in {_measure(criterion)}"


def _told(criterion: Criterion, value: float, *, points: bool) -> str:
    """A win rate or an arm's own mean as it is; a difference (`points`) with its sign."""
    if points and value == 0.0:
        return "0"
    if criterion.of in ("win_rate", "pass_rate"):
        return f"{100.0 * value:+.1f} points" if points else f"{value:.1%}"
    return f"{value:+.3g}" if points else f"{value:.3g}"


def _span(criterion: Criterion, estimate: Estimate, *, points: bool) -> str:
    low, high = (_told(criterion, limit, points=points) for limit in (estimate.low, estimate.high))
    return f"{low.removesuffix(' points')} to {high}" if high.endswith(" points") else f"{low} to {high}"
