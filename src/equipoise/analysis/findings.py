"""What the data show, before any rule decides."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from equipoise.analysis.bandit_findings import BanditFindings
from equipoise.analysis.looks import LookState, PastLook
from equipoise.experiment.metric import Kind, Priority
from equipoise.experiment.verdict_rule import USUAL, Branch
from equipoise.measurement.tally import Measurement
from equipoise.stats.estimate import Estimate, NotEstimable

__all__ = [
    "Adjustment",
    "ByLabels",
    "ByTurn",
    "CarryOver",
    "Check",
    "Effect",
    "Findings",
    "SoFar",
    "Stopping",
    "describe",
]

Status = Literal["ok", "note", "invalid"]
Held = Literal["held", "breached", "not shown"]


@dataclass(frozen=True, slots=True)
class Check:
    """One question of health: whether it is well, worth a note, or makes everything else worthless."""

    name: str
    status: Status
    says: str
    p_value: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Adjustment:
    """What the declared covariates did to an effect.

    `plain` is the effect without them. `gain` is the share of its variance that they took away: measured on
    these data, a little below 0 where they explain nothing, and no promise for others. Where they could not be
    used, `gain` is None, `because` says why, and the effect is the plain one.
    """

    covariates: tuple[str, ...]
    plain: Estimate | NotEstimable
    gain: float | None = None
    because: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ByLabels:
    """A judge's effect beside the one that people's labels make of it.

    `labels` and `judged` count turns by arm. Where a number of labels was `planned`, the effect is `corrected` from so many
    in each arm on, and there is none before; where none was (None), the judge's own decides, and this stands beside it.
    """

    planned: int | None
    labels: Mapping[str, int]
    judged: Mapping[str, int]
    judge: Estimate | NotEstimable
    corrected: Estimate | NotEstimable


@dataclass(frozen=True, slots=True, kw_only=True)
class Effect:
    """A metric's change in one arm against control.

    `control` and `treatment` are the arms' values and `difference` their difference, in the metric's unit
    (None where an arm has no value). `estimate` has an interval at the level that belongs to this look.
    `held` is the three-valued answer of a guardrail or critical segment against `margin`; None for others.
    `adjustment` is there where covariates are declared, and `estimate` is then the adjusted one. `immature`
    units have not been in for the whole of the metric's window and are not among `units`.
    `margin` and `mde`, in the metric's unit, are there for the primary where the verdict rule asks for them.
    `adjusted_p` is Holm's over the family named in `Findings.family`; None outside it. `in_words` says what the
    values are, where the kind does not. `by_labels` is there where people labelled what a judge scored, or are to.
    """

    metric: str
    variant: str
    priority: Priority
    kind: Kind
    better: Literal["higher", "lower"]
    control: float | None
    treatment: float | None
    units: Mapping[str, int]
    missing: Mapping[str, int]
    estimate: Estimate | NotEstimable
    relative: Estimate | NotEstimable
    segment: str | None = None
    margin: float | None = None
    held: Held | None = None
    because: str | None = None
    adjusted_p: float | None = None
    adjustment: Adjustment | None = None
    immature: Mapping[str, int] = field(default_factory=dict)
    in_words: str | None = None
    by_labels: ByLabels | None = None
    mde: float | None = None

    @property
    def name(self) -> str:
        """The metric, with its segment where there is one."""
        return f"{self.metric} in {self.segment}" if self.segment else self.metric


@dataclass(frozen=True, slots=True, kw_only=True)
class ByTurn:
    """A metric of turns in one arm, per unit (a `unit` is a conversation, a user …) and per turn.

    One of the two is the effect as declared, the other stands beside it. `turns` is how many readings a unit has by arm
    (None where no unit has any); `says` is a sentence where the two do not say the same.
    """

    metric: str
    variant: str
    unit: str
    per_unit: Effect
    per_turn: Effect
    turns: Mapping[str, float | None]
    says: str | None = None


@dataclass(frozen=True, slots=True)
class SoFar:
    """The primary's effect over everybody who had come in by the end of a day (1 is the first), in its own unit."""

    variant: str
    day: int
    value: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class CarryOver:
    """What a treatment's slot leaves behind in the slot after it, in the primary and its own unit."""

    variant: str
    estimate: Estimate | NotEstimable


@dataclass(frozen=True, slots=True)
class Stopping:
    """What a stopping rule would have said of the primary in one arm, at this look and with its `boundary` on |z|.

    `statistic` is the test's, as it stands; `because` says why a rule has no answer of its own here.
    """

    rule: str
    variant: str
    boundary: float
    statistic: float | None
    says: Literal["stop: better", "stop: worse", "go on"]
    because: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Findings:
    """Health, look, effects. Where health is invalid, or the look is not due, effects are withheld.

    `segments` are the primary's effects by segment. `otherwise` is the primary had units that were seen in two
    variants been handled the other way. `cautions` are checks of the effects themselves. `so_far` is the primary's
    effect by day, `stopping` what each stopping rule would have said, where there are several looks. All these inform
    and do not decide. `declared` says what was written down before launch, `immature` how many units have not been in for
    the whole of the primary's window. `by_turn` has metrics of turns per unit and per turn, `carry_over` what
    slots left behind where time slots are randomised, `bandit` a bandit's arms.
    """

    experiment: str
    hypothesis: str
    measurement: Measurement
    health: tuple[Check, ...]
    look: LookState
    effects: tuple[Effect, ...]
    treatments: tuple[str, ...]
    family: str | None = None
    past: tuple[PastLook, ...] = ()
    planned: tuple[PastLook, ...] = ()
    segments: tuple[Effect, ...] = ()
    otherwise: tuple[Effect, ...] = ()
    cautions: tuple[Check, ...] = ()
    so_far: tuple[SoFar, ...] = ()
    declared: Mapping[str, str] = field(default_factory=dict)
    stopping: tuple[Stopping, ...] = ()
    immature: int = 0
    by_turn: tuple[ByTurn, ...] = ()
    carry_over: tuple[CarryOver, ...] = ()
    rule: tuple[Branch, ...] = USUAL
    bandit: BanditFindings | None = None

    @property
    def healthy(self) -> bool:
        return all(check.status != "invalid" for check in self.health)

    @property
    def primary(self) -> tuple[Effect, ...]:
        """The primary's effect in each treatment."""
        return tuple(effect for effect in self.effects if effect.priority == "primary" and not effect.segment)

    @property
    def guards(self) -> tuple[Effect, ...]:
        """Guardrails and critical segments."""
        return tuple(effect for effect in self.effects if effect.held is not None)

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON; a result that does not exist is {"not_estimable": reason}."""
        measured = self.measurement
        return {
            "experiment": self.experiment,
            "hypothesis": self.hypothesis,
            "source": measured.source,
            "rows": measured.rows,
            "units": dict(measured.units),
            "healthy": self.healthy,
            "health": [asdict(check) for check in self.health],
            "look": asdict(self.look),
            "past_looks": [asdict(look) for look in self.past],
            "family": self.family,
            "effects": [_effect(effect) for effect in self.effects],
            "by_turn": [_by_turn(each) for each in self.by_turn],
            "segments": [_effect(effect) for effect in self.segments],
            "otherwise": [_effect(effect) for effect in self.otherwise],
            "cautions": [asdict(check) for check in self.cautions],
            "so_far": [asdict(each) for each in self.so_far],
            "declared": dict(self.declared),
            "stopping": [asdict(rule) for rule in self.stopping],
            "rule": [line.to_dict() for line in self.rule],
            "enrolment": asdict(measured.enrolment),
            "clocks": [asdict(clock) for clock in measured.aside.clocks],
            **({} if measured.lists is None else {"lists": asdict(measured.lists)}),
            "winsorised": {name: asdict(cap) for name, cap in measured.caps.items()},
            # Only of a switchback or a bandit: a look of any other experiment is still the same look.
            **({"switchback": self._switchback()} if self.carry_over else {}),
            **({} if self.bandit is None else {"bandit": self.bandit.to_dict()}),
        }

    def _switchback(self) -> dict[str, Any]:
        return {
            "carry_over": {each.variant: describe(each.estimate) for each in self.carry_over},
            "slots": [
                {"start": slot.start, "whose": slot.whose, "variant": slot.variant, "value": slot.value}
                for slot in self.measurement.slots
            ],
        }


def describe(result: Estimate | NotEstimable) -> dict[str, Any]:
    """A result as plain JSON: never a number where there is none.

    A bound that is infinite, which JSON has no number for, is the text "Infinity" or "-Infinity".

    >>> describe(NotEstimable("no units"))
    {'not_estimable': 'no units'}
    """
    if isinstance(result, NotEstimable):
        return {"not_estimable": result.reason}
    bounds = {"low": result.low, "high": result.high}
    return asdict(result) | {
        name: "Infinity" if bound > 0.0 else "-Infinity"
        for name, bound in bounds.items()
        if math.isinf(bound)
    }


def _effect(effect: Effect) -> dict[str, Any]:
    return {
        "metric": effect.metric,
        "segment": effect.segment,
        "variant": effect.variant,
        "priority": effect.priority,
        "kind": effect.kind,
        "better": effect.better,
        "control": effect.control,
        "treatment": effect.treatment,
        "units": dict(effect.units),
        "missing": dict(effect.missing),
        "difference": describe(effect.estimate),
        "relative": describe(effect.relative),
        "margin": effect.margin,
        "mde": effect.mde,
        "held": effect.held,
        "because": effect.because,
        "adjusted_p": effect.adjusted_p,
        "immature": dict(effect.immature),
        "adjustment": None if effect.adjustment is None else _adjustment(effect.adjustment),
        # Only where there is any: a look of before there were labels is still the same look.
        **({} if effect.by_labels is None else {"by_labels": _by_labels(effect.by_labels)}),
    }


def _by_labels(found: ByLabels) -> dict[str, Any]:
    return {
        "planned": found.planned,
        "labels": dict(found.labels),
        "judged": dict(found.judged),
        "judge": describe(found.judge),
        "corrected": describe(found.corrected),
    }


def _by_turn(each: ByTurn) -> dict[str, Any]:
    figures = {"per_unit": each.per_unit, "per_turn": each.per_turn}
    return {
        "metric": each.metric,
        "variant": each.variant,
        "unit": each.unit,
        "turns": dict(each.turns),
        **{
            name: {
                "control": effect.control,
                "treatment": effect.treatment,
                "difference": describe(effect.estimate),
            }
            for name, effect in figures.items()
        },
        "says": each.says,
    }


def _adjustment(adjustment: Adjustment) -> dict[str, Any]:
    return {
        "covariates": list(adjustment.covariates),
        "gain": adjustment.gain,
        "because": adjustment.because,
        "plain": describe(adjustment.plain),
    }
