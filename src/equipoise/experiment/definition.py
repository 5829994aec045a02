"""The experiment as a value: immutable, complete, named by its digest."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from types import MappingProxyType
from typing import Any, Literal, get_args

from equipoise.experiment.amount import Amount, Bound
from equipoise.experiment.metric import Metric
from equipoise.experiment.variant import Difference, Prompt, Variant, differences

__all__ = [
    "Capture",
    "Cases",
    "CriticalSegment",
    "Experiment",
    "Gate",
    "Judge",
    "Offline",
    "OnlineJudge",
    "PlanSettings",
    "Recording",
    "Rollout",
    "Rubric",
    "TableSource",
    "Unit",
    "Watch",
]

Method = Literal["ab", "bandit", "interleaving", "switchback"]
UnitType = Literal["request", "session", "conversation", "user", "cluster", "slot"]
Spending = Literal["obrien_fleming", "pocock", "hwang_shih_decani", "kim_demets"]
Stage = Literal["shadow", "canary", "ab"]
Action = Literal["alert", "review", "pause", "rollback"]

METHODS: tuple[Method, ...] = get_args(Method)
UNIT_TYPES: tuple[UnitType, ...] = get_args(UnitType)
SPENDINGS: tuple[Spending, ...] = get_args(Spending)
STAGES: tuple[Stage, ...] = get_args(Stage)
ACTIONS: tuple[Action, ...] = get_args(Action)


@dataclass(frozen=True, slots=True)
class Unit:
    """What is randomised, and where its identity comes from (`header:x-conversation-id`)."""

    type: UnitType
    source: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanSettings:
    """How the experiment will be read: error rates, registered looks, waiting times (seconds).

    `spending` says how alpha is spent over the looks; `hwang_shih_decani` and `kim_demets` need their
    `spending_parameter`. `boundaries`, one a look on the z scale, take its place where somebody has
    written them down.
    """

    alpha: float = 0.05
    power: float = 0.8
    looks: tuple[float, ...] = (1.0,)
    spending: Spending = "obrien_fleming"
    spending_parameter: float | None = None
    boundaries: tuple[float, ...] | None = None
    burn_in: float = 0.0
    cycle: float = 604800.0
    units_per_day: float | None = None


@dataclass(frozen=True, slots=True)
class CriticalSegment:
    """A segment (`attribute` = `value`) in which a metric must not degrade beyond `margin`."""

    attribute: str
    value: str
    metric: str
    margin: Amount


@dataclass(frozen=True, slots=True, kw_only=True)
class Watch:
    """A windowed limit with a persistence rule and an action."""

    metric: str
    max: Bound | None = None
    min: Bound | None = None
    window: float
    persist: int = 1
    at_least: int = 1
    then: Action = "alert"


@dataclass(frozen=True, slots=True, kw_only=True)
class Recording:
    """A file with answers or judgements made earlier, and the names of its columns.

    `names` maps a variant of the definition to what the file calls it.
    """

    file: str
    case: str
    variant: str
    value: str
    names: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))


@dataclass(frozen=True, slots=True)
class Cases:
    """The golden cases: a file, and the columns holding id, input, reference and cluster."""

    file: str
    id: str = "id"
    input: str = "input"
    reference: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Judge:
    """Who judges: a language model asked live, or its verdicts recorded earlier."""

    model: str | None = None
    base_url: str | None = None
    key_env: str = "OPENAI_API_KEY"
    pairwise: Recording | None = None
    grades: Recording | None = None


@dataclass(frozen=True, slots=True)
class Rubric:
    """What a judge grades: axes with a sentence each, all on one scale from 1 to `top`."""

    axes: Mapping[str, str]
    top: int = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Gate:
    """What an arm must show offline.

    `margin`: its win rate against control must not be shown below one half minus this;
    with `superior`, it must be shown above one half. `must_pass` names rules every case must pass.
    """

    margin: float = 0.10
    superior: bool = False
    must_pass: tuple[str, ...] = ()
    level: float = 0.95


@dataclass(frozen=True, slots=True, kw_only=True)
class Offline:
    """The offline gate: cases, where answers come from, what judges them, what must hold."""

    cases: Cases
    answers: Recording | None = None
    rubric: Rubric | None = None
    judge: Judge | None = None
    checks: tuple[Mapping[str, Any], ...] = ()
    gate: Gate = Gate()


@dataclass(frozen=True, slots=True)
class Capture:
    """Whether prompt and answer text is kept, and what is redacted from it."""

    text: Literal["none", "sampled", "all"] = "none"
    redact: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class OnlineJudge:
    """Which share of live turns a judge reads, at what price, audited how."""

    sample: Fraction
    budget_usd_per_day: float | None = None
    labels_per_week: int | None = None
    minimum_agreement: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Rollout:
    """The stages an experiment goes through, and how much of the traffic each may see."""

    stages: tuple[Stage, ...] = ("ab",)
    shadow_share: Fraction = Fraction(0)
    shadow_budget_usd_per_day: float | None = None
    canary_coverage: Fraction = Fraction(1, 20)
    ab_coverage: Fraction = Fraction(1)
    skip: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))


@dataclass(frozen=True, slots=True, kw_only=True)
class TableSource:
    """A table with assignments and outcomes made elsewhere.

    `columns` maps a quantity (`outcome.gave`) or a segment (`device`) to a column; `time` may be
    None, and then nothing can be said about what came first.
    """

    table: str
    unit: str
    variant: str
    time: str | None = None
    columns: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))


@dataclass(frozen=True, slots=True, kw_only=True)
class Experiment:
    """An immutable definition, named `name@digest`; a change is a new revision, never an edit.

    Variants stand with control first and the others by name; metrics by priority and then by name:
    nothing that is read out depends on the order of keys in the file. `folder` is where relative
    paths start from; neither it nor a prompt's file name is part of the identity.
    """

    name: str
    hypothesis: str
    method: Method = "ab"
    changes: tuple[str, ...] = ()
    unit: Unit
    cluster: str | None = None
    layer: str | None = None
    assignment_version: int = 1
    variants: tuple[Variant, ...]
    allocation: Mapping[str, Fraction]
    metrics: tuple[Metric, ...]
    plan: PlanSettings = PlanSettings()
    segments: tuple[str, ...] = ()
    critical_segments: tuple[CriticalSegment, ...] = ()
    offline: Offline | None = None
    inline: tuple[Any, ...] = ()
    watches: tuple[Watch, ...] = ()
    capture: Capture = Capture()
    online_judge: OnlineJudge | None = None
    rollout: Rollout = Rollout()
    pins: Literal["none", "required"] = "none"
    source: TableSource | None = None
    digest: str
    folder: str = field(default=".", compare=False)

    @property
    def identity(self) -> str:
        """`name@` and the first twelve hexadecimal digits of the digest."""
        return f"{self.name}@{self.digest[:12]}"

    @property
    def control(self) -> Variant:
        return self.variants[0]

    @property
    def treatments(self) -> tuple[Variant, ...]:
        return self.variants[1:]

    @property
    def primary(self) -> Metric:
        return self.metrics[0]

    @property
    def guardrails(self) -> tuple[Metric, ...]:
        return tuple(metric for metric in self.metrics if metric.priority == "guardrail")

    def variant(self, name: str) -> Variant:
        """The variant of that name; KeyError where there is none."""
        for variant in self.variants:
            if variant.name == name:
                return variant
        raise KeyError(name)

    def metric(self, name: str) -> Metric:
        """The metric of that name; KeyError where there is none."""
        for metric in self.metrics:
            if metric.name == name:
                return metric
        raise KeyError(name)

    @property
    def differences(self) -> tuple[Difference, ...]:
        """Every setting in which a treatment differs from control."""
        return tuple(
            difference for treatment in self.treatments for difference in differences(self.control, treatment)
        )


__all__ += ["Prompt"]
