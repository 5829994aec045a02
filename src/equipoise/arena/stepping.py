"""Judging in steps: a few cases at a time, until the win rate's answer is clear.

The cases are judged in a random order; after each step a repeated confidence interval is held against the bar.
It is so much wider than an ordinary one that looking at every step costs no error, and it may be read whenever
judging stops (Jennison & Turnbull 1989).
"""

from __future__ import annotations

import dataclasses
import random
from collections.abc import Sequence
from dataclasses import dataclass

from equipoise.arena.case import Case
from equipoise.arena.gate import decide_criterion
from equipoise.experiment.offline import Criterion
from equipoise.stats.estimate import Estimate, NotEstimable
from equipoise.stats.looks.sequential import boundaries
from equipoise.stats.looks.spending import hwang_shih_decani
from equipoise.stats.normal import two_sided
from equipoise.stats.preference.score_rate import score_win_rate

__all__ = [
    "Judging",
    "JudgingPlan",
    "interval_after",
    "order_of",
    "plan_judging",
    "repeated",
    "repeated_level",
    "settled",
]

MOST_STEPS = 10
LEAST_CASES = 30
"""A step has at least so many cases: with fewer, an interval is not near its promise."""
_GAMMA = 1.0
"""Of the Hwang-Shih-DeCani family; with 1, error is spent nearly as Pocock's function does: much of it early."""


@dataclass(frozen=True, slots=True, kw_only=True)
class JudgingPlan:
    """After how many cases in all there is a look, and the z boundary of each."""

    sizes: tuple[int, ...]
    boundaries: tuple[float, ...]
    level: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Judging:
    """How far judging has come: `step` counts from 0."""

    plan: JudgingPlan
    step: int

    @property
    def cases(self) -> int:
        """How many cases have been judged."""
        return self.plan.sizes[self.step]


def plan_judging(cases: int, *, level: float) -> JudgingPlan:
    """Up to ten steps of equal size, none of fewer than thirty cases.

    The two-sided error 1 − `level` is spent over the shares of the cases by the Hwang-Shih-DeCani function
    with γ = 1. Source: Hwang, Shih & DeCani (1990), Statistics in Medicine 9, 1439; Lan & DeMets (1983),
    Biometrika 70, 659.

    >>> plan_judging(500, level=0.95).sizes
    (50, 100, 150, 200, 250, 300, 350, 400, 450, 500)
    >>> plan_judging(40, level=0.95).sizes
    (40,)
    """
    steps = max(1, min(MOST_STEPS, cases // LEAST_CASES))
    sizes = tuple(round(cases * (step + 1) / steps) for step in range(steps))
    found = boundaries([size / cases for size in sizes], 1.0 - level, hwang_shih_decani(_GAMMA), sides=2)
    return JudgingPlan(sizes=sizes, boundaries=tuple(found), level=level)


def order_of(cases: Sequence[Case], seed: int) -> tuple[Case, ...]:
    """The cases in the order in which they are judged: by lot, clusters whole, the same for the same seed.

    >>> cases = [Case(id=str(n), input="?", cluster="ab"[n % 2]) for n in range(6)]
    >>> [case.cluster for case in order_of(cases, 1)] in (list("aaabbb"), list("bbbaaa"))
    True
    """
    groups: dict[tuple[str, str], list[Case]] = {}
    for case in cases:
        groups.setdefault(
            ("case", case.id) if case.cluster is None else ("cluster", case.cluster), []
        ).append(case)
    keys = sorted(groups)
    random.Random(f"{seed}:order of judging").shuffle(keys)  # noqa: S311 - nothing secret
    return tuple(case for key in keys for case in groups[key])


def repeated_level(judging: Judging) -> float:
    """The level of the ordinary interval that is the repeated one at this step: wider than the plan's.

    >>> round(repeated_level(Judging(plan=plan_judging(500, level=0.95), step=0)), 4)
    0.9925
    """
    return min(1.0 - two_sided(judging.plan.boundaries[judging.step]), 1.0 - 1e-12)


def repeated(judging: Judging, found: Estimate | NotEstimable) -> Estimate | NotEstimable:
    """An interval made at `repeated_level`, as what it is: a repeated one of the plan's level.

    Test and p-value are those of one look, and are left out.
    """
    if isinstance(found, NotEstimable):
        return found
    return dataclasses.replace(
        found,
        level=judging.plan.level,
        method=f"{found.method}, repeated over {len(judging.plan.sizes)} steps",
        statistic=None,
        p_value=None,
    )


def interval_after(
    judging: Judging,
    scores: Sequence[float],
    clusters: Sequence[str] | None,
    *,
    weights: Sequence[float] | None = None,
) -> Estimate | NotEstimable:
    """The win rate with its repeated confidence interval: it covers at every step at once with the plan's level.

    Each step's interval is a score interval with that step's own spread. Error is spent by the share of the cases, and not
    of 1/SE²: the cases are known before any is judged, so that boundaries cannot follow the scores, and with cases in
    random order the two differ by chance alone.
    Source: Jennison & Turnbull (1989), Repeated confidence intervals, JRSS B 51, 305, section 2.
    """
    found = score_win_rate(scores, clusters, weights=weights, level=repeated_level(judging))
    return repeated(judging, found)


def settled(
    judging: Judging, scores: Sequence[float], clusters: Sequence[str] | None, criterion: Criterion
) -> bool:
    """Whether the gate, reading what was judged so far, decides the criterion on the win rate, either way.

    `not_worse`, which passes as long as nothing is shown, is settled where better or worse is shown. `criterion`
    may have a floor: then both bars must be cleared, or one missed.
    """
    found = interval_after(judging, scores, clusters)
    if isinstance(found, NotEstimable):
        return False
    asked = dataclasses.replace(criterion, show="superior") if criterion.show == "not_worse" else criterion
    decided = decide_criterion(asked, estimate=found, cases=len(scores), level=judging.plan.level)
    return decided.decision != "inconclusive"
