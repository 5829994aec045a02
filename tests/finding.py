"""Findings written by hand, for whatever reads findings: looks, a primary, guardrails."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

from equipoise.analysis.findings import Check, Effect, Findings, Held
from equipoise.analysis.looks import LookState
from equipoise.experiment.verdict_rule import USUAL, Branch
from equipoise.measurement.tally import Measurement
from equipoise.stats.estimate import Estimate, NotEstimable

LOOK = LookState(
    due=True,
    final=False,
    number=1,
    of=2,
    fraction=0.5,
    at=0.5,
    boundary=2.0,
    guard_boundary=2.0,
    says="look 1 of at most 2 in the plan",
)
FINAL = replace(LOOK, final=True, number=2)
PEEK = replace(
    LOOK, due=False, says="a peek at 40% of the planned information; the next registered look is at 50%"
)
WELL = Check("arms", "ok", "units: control 100, b 100")


def primary(
    z: float,
    arm: str = "b",
    *,
    better: Literal["higher", "lower"] = "higher",
    because: str | None = None,
    margin: float | None = None,
    mde: float | None = None,
) -> Effect:
    """The primary with a statistic of z: a standard error of 0.01, an interval of two of them to each side."""
    estimate = Estimate(
        value=z / 100,
        standard_error=0.01,
        low=z / 100 - 0.02,
        high=z / 100 + 0.02,
        level=0.95,
        method="by hand",
        statistic=z,
        p_value=min(1.0, 0.0455 * (2.0 / max(abs(z), 0.1)) ** 6),
    )
    return Effect(
        metric="resolved",
        variant=arm,
        priority="primary",
        kind="proportion",
        better=better,
        control=0.6,
        treatment=0.6 + z / 100,
        units={},
        missing={},
        relative=NotEstimable("not asked"),
        estimate=NotEstimable(because) if because else estimate,
        margin=margin,
        mde=mde,
    )


def guard(held: Held, arm: str = "b", *, metric: str = "safety", segment: str | None = None) -> Effect:
    """A guardrail, or with `segment` a critical segment, that is found to be so."""
    because = {"held": "excluded", "breached": "it is worse", "not shown": "neither excluded nor shown"}[held]
    return replace(
        primary(0.0, arm),
        metric=metric,
        priority="primary" if segment else "guardrail",
        segment=segment,
        margin=0.01,
        held=held,
        because=because,
    )


def found(
    *effects: Effect,
    look: LookState = LOOK,
    health: tuple[Check, ...] = (WELL,),
    rule: tuple[Branch, ...] = USUAL,
) -> Findings:
    """Findings with these effects; the treatments are those they speak of."""
    return Findings(
        experiment="e@0",
        hypothesis="h",
        health=health,
        look=look,
        effects=effects,
        treatments=tuple(dict.fromkeys(effect.variant for effect in effects)) or ("b",),
        rule=rule,
        measurement=Measurement(
            source="by hand",
            rows=200,
            units={},
            crossed=0,
            kept=True,
            rows_without_unit=0,
            clusters=None,
            first=None,
            last=None,
            tallies={},
        ),
    )
