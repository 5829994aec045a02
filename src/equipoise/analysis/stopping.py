"""What each stopping rule would have said at a look: beside the plan's own, which alone decides."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from scipy.special import ndtr

from equipoise.analysis.findings import Effect, Stopping
from equipoise.analysis.looks import LookState, PastLook
from equipoise.experiment.definition import Experiment
from equipoise.stats.anytime.normal_mixture import Mixture
from equipoise.stats.estimate import NotEstimable
from equipoise.stats.looks.sequential import next_boundary
from equipoise.stats.looks.spending import obrien_fleming, pocock
from equipoise.stats.normal import critical

__all__ = ["stopping_rules"]

Says = Literal["stop: better", "stop: worse", "go on"]


@dataclass(frozen=True, slots=True)
class _Rule:
    name: str
    boundary: float
    looks: bool = True
    """Whether the rule may stop here at all."""


def stopping_rules(
    experiment: Experiment, look: LookState, past: Sequence[PastLook], primary: Sequence[Effect]
) -> tuple[Stopping, ...]:
    """The boundary and the answer of each rule for the primary in each treatment; empty for a plan of one look.

    Every rule has the plan's alpha, shared by the treatments, and the information fractions of the looks really taken:
    a test at the end alone (fixed horizon); O'Brien and Fleming's and Pocock's spending (Lan & DeMets 1983); and the
    always valid normal mixture (Robbins 1970; Johari et al. 2022), narrowest at the planned information. It says what
    a rule would do here, not what its promise would be after the rules had been compared: whoever picks the one that
    stops has kept none of them.
    """
    if len(experiment.plan.looks) < 2 or look.fraction is None:
        return ()
    alpha = experiment.plan.alpha / len(experiment.treatments)
    rules = [
        _Rule("as registered", look.boundary),
        _Rule("fixed horizon", critical(alpha / 2.0), looks=look.final),
        _Rule("O'Brien-Fleming spending", _spent(obrien_fleming, look, past, alpha)),
        _Rule("Pocock spending", _spent(pocock, look, past, alpha)),
        _Rule("always valid (mixture)", Mixture.tuned(1.0, level=1.0 - alpha).boundary(look.fraction)),
    ]
    return tuple(_said(rule, effect) for effect in primary for rule in rules)


def _spent(
    spending: Callable[[float, float], float], look: LookState, past: Sequence[PastLook], alpha: float
) -> float:
    """The boundary here, had every look so far been judged by the same spending."""
    fractions: list[float] = []
    used: list[float] = []
    for before in past:
        used.append(next_boundary(fractions, used, before.fraction, alpha, spending))
        fractions.append(before.fraction)
    return next_boundary(fractions, used, look.at, alpha, spending, last=look.final)


def _said(rule: _Rule, effect: Effect) -> Stopping:
    estimate = effect.estimate
    if isinstance(estimate, NotEstimable) or estimate.p_value is None:
        because = estimate.reason if isinstance(estimate, NotEstimable) else "there is no test"
        return Stopping(rule.name, effect.variant, rule.boundary, None, "go on", because)
    says: Says = "go on"
    # The same comparison as the verdict's: the chance beyond the boundary against the test's p-value.
    if rule.looks and estimate.p_value <= 2.0 * float(ndtr(-rule.boundary)):
        better = (estimate.value > 0.0) == (effect.better == "higher")
        says = "stop: better" if better else "stop: worse"
    return Stopping(
        rule.name,
        effect.variant,
        rule.boundary,
        estimate.statistic,
        says,
        None if rule.looks else "it looks once, at the end",
    )
