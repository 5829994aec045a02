"""The experiment as a value: immutable, complete, named by its digest."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from types import MappingProxyType
from typing import Any, Literal, get_args

from equipoise.errors import UsageError
from equipoise.experiment.amount import Amount, Bound
from equipoise.experiment.audience import Attribute, Condition, Layer, unit_name
from equipoise.experiment.bandit import Bandit
from equipoise.experiment.interleaving import Interleaving
from equipoise.experiment.metric import Metric
from equipoise.experiment.offline import Offline
from equipoise.experiment.prices import Price
from equipoise.experiment.switchback import Blocks, Switchback
from equipoise.experiment.variant import Difference, Prompt, Variant, differences
from equipoise.experiment.verdict_rule import USUAL, Branch

__all__ = [
    "Capture",
    "Clusters",
    "CriticalSegment",
    "Experiment",
    "OnlineJudge",
    "PlanSettings",
    "Price",
    "Rollout",
    "TableSource",
    "Unit",
    "Watch",
]

Method = Literal["ab", "bandit", "interleaving", "switchback"]
UnitType = Literal["request", "session", "conversation", "user", "cluster", "slot"]
UnitId = Literal["any", "uuid7", "token"]
Spending = Literal["obrien_fleming", "pocock", "hwang_shih_decani", "kim_demets"]
Crossed = Literal["first_seen", "exclude"]
Grain = Literal["event", "unit"]
Stage = Literal["shadow", "canary", "ab"]
Action = Literal["alert", "review", "pause", "rollback"]
Scope = Literal["now", "new_conversations"]

LABELS = 50
"""Labelled turns in each arm from which on a judge's metric is decided by labels, where an audit says no other number."""

METHODS: tuple[Method, ...] = get_args(Method)
UNIT_TYPES: tuple[UnitType, ...] = get_args(UnitType)
CROSSINGS: tuple[Crossed, ...] = get_args(Crossed)
SPENDINGS: tuple[Spending, ...] = get_args(Spending)
STAGES: tuple[Stage, ...] = get_args(Stage)
ACTIONS: tuple[Action, ...] = get_args(Action)


@dataclass(frozen=True, slots=True)
class Unit:
    """What is randomised, and where its identity comes from (`header:x-conversation-id`).

    `id` says how it is known when a unit began, which re-weighting needs: `uuid7` (the id is a UUIDv7 and
    carries its time), `token` (a signed token travels with the unit), or `any` (not at all). A time slot is
    `every` seconds long. `members` is the attribute that names who of a cluster a request is from.
    """

    type: UnitType
    source: str | None = None
    id: UnitId = "any"
    every: float = 3600.0
    members: str | None = None


@dataclass(frozen=True, slots=True)
class Clusters:
    """What is expected of clusters that are randomised: how alike their readings are, how many they have.

    `icc` is the intraclass correlation, `size` the mean number of readings of a cluster, `size_cv` their standard deviation
    over that. With it `spread` (and the `baseline` of a rate) is that of single readings.
    """

    icc: float
    size: float
    size_cv: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanSettings:
    """How the experiment will be read: error rates, registered looks, waiting times (seconds).

    `spending` says how alpha is spent over the looks; `hwang_shih_decani` and `kim_demets` need their
    `spending_parameter`. `boundaries`, one a look on the z scale, take its place where somebody has
    written them down.

    Units first exposed within `burn_in` of the first exposure of all do not count. With `whole_cycles` only
    those count that entered in a cycle which is over, cycles being counted from the end of the burn-in.
    `crossed` units, seen in several variants, count for the one seen first or not at all.
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
    crossed: Crossed = "first_seen"
    whole_cycles: bool = False
    clusters: Clusters | None = None


@dataclass(frozen=True, slots=True)
class CriticalSegment:
    """A segment (`attribute` = `value`) in which a metric must not degrade beyond `margin`."""

    attribute: str
    value: str
    metric: str
    margin: Amount


@dataclass(frozen=True, slots=True, kw_only=True)
class Watch:
    """A windowed limit with a persistence rule and an action.

    `window` and `every` are in seconds: a window of that length is judged so often. With `every` None each window begins
    where the one before ended; otherwise windows overlap. `scope` is whom a rollback serves control: everyone `now`, or
    `new_conversations` only, where who is in keeps the variant to the end.
    """

    metric: str
    max: Bound | None = None
    min: Bound | None = None
    window: float
    every: float | None = None
    persist: int = 1
    at_least: int = 1
    then: Action = "alert"
    scope: Scope = "now"

    @property
    def bound(self) -> Bound | None:
        """Its one limit; None where it has none, which no definition that was read has."""
        return self.min if self.max is None else self.max

    @property
    def step(self) -> float:
        """Seconds from the end of a window to that of the next one."""
        return self.window if self.every is None else self.every


@dataclass(frozen=True, slots=True)
class Capture:
    """Whether prompt and answer text is kept, of which share of turns, what is redacted from it, and for how long.

    `redact` holds names of `REDACTED`; without any, all personal data is; `nothing` keeps text as it was. `keep` is in
    seconds. `share` is None where the definition leaves it open.
    """

    text: Literal["none", "sampled", "all"] = "none"
    redact: tuple[str, ...] = ()
    share: Fraction | None = None
    keep: float = 2_592_000.0


@dataclass(frozen=True, slots=True)
class OnlineJudge:
    """Which share of live turns a judge reads, at what price, audited how.

    A judge that agrees with people on less than `minimum_agreement` of the labelled turns is to be recalibrated. Where
    `threshold` is given, a score or a label of at least so much is good. Of turns that were drawn, `backlog` wait at
    most, and none longer than `within` seconds: what falls out stays unscored. `by` names a segment, and `shares` the
    shares of its values that are not `sample`.
    """

    sample: Fraction
    budget_usd_per_day: float | None = None
    labels_per_week: int | None = None
    minimum_agreement: float | None = None
    threshold: float | None = None
    turns_per_minute: float | None = None
    backlog: int = 10_000
    within: float = 86_400.0
    by: str | None = None
    shares: Mapping[str, Fraction] = field(default_factory=lambda: MappingProxyType({}))

    @property
    def audited(self) -> bool:
        """Whether people are to label some of what it reads."""
        return self.labels_per_week is not None or self.minimum_agreement is not None


@dataclass(frozen=True, slots=True, kw_only=True)
class Rollout:
    """The stages an experiment goes through, and how much of the traffic each may see.

    `shadow_turns` is how many turns of each treatment the stage after shadow asks for.
    """

    stages: tuple[Stage, ...] = ("ab",)
    shadow_share: Fraction = Fraction(0)
    shadow_budget_usd_per_day: float | None = None
    shadow_turns: int = 100
    canary_coverage: Fraction = Fraction(1, 20)
    canary_counted: bool = False
    """Whether who came in during the canary is part of the A/B estimate."""
    ab_coverage: Fraction = Fraction(1)
    skip: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))


@dataclass(frozen=True, slots=True, kw_only=True)
class TableSource:
    """A table with assignments and outcomes made elsewhere.

    `columns` maps a quantity (`outcome.gave`) or a segment (`device`) to a column; `time` may be
    None, and then nothing can be said about what came first. `grain` is what a row is: an event, of which a
    unit may have many, or the unit itself, of which nothing needs to be put together. `connection` is the
    address of the warehouse that has the table, or `env:NAME` for the environment variable that holds it; None
    means a file.
    """

    table: str
    unit: str
    variant: str
    time: str | None = None
    grain: Grain = "event"
    columns: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    connection: str | None = None


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
    bandit: Bandit | None = None
    interleaving: Interleaving | None = None
    switchback: Switchback | None = None
    changes: tuple[str, ...] = ()
    unit: Unit
    cluster: str | None = None
    attributes: Mapping[str, Attribute] = field(default_factory=lambda: MappingProxyType({}))
    traffic: tuple[Condition, ...] = ()
    target: tuple[Condition, ...] = ()
    layer: Layer | None = None
    holdouts: Mapping[str, Fraction] = field(default_factory=lambda: MappingProxyType({}))
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
    prices: Mapping[str, Price] = field(default_factory=lambda: MappingProxyType({}))
    source: TableSource | None = None
    verdict: tuple[Branch, ...] = USUAL
    digest: str
    folder: str = field(default=".", compare=False)

    @property
    def identity(self) -> str:
        """`name@` and the first twelve hexadecimal digits of the digest."""
        return f"{self.name}@{self.digest[:12]}"

    def labels_planned(self, metric: Metric) -> int | None:
        """How many labelled turns in each arm a judge's metric waits for; None where the judge alone decides.

        Where an audit is declared and a mean over a unit's turns says nothing, `LABELS`.
        """
        if metric.labels is not None or self.source is not None:
            return metric.labels
        if not metric.correctable or metric.per_unit != "mean":
            return None
        return LABELS if self.online_judge is not None and self.online_judge.audited else None

    @property
    def counted(self) -> str:
        """What sizes are in, for a sentence: queries of rankers, slots, clusters, or else units."""
        if self.method == "interleaving":
            return "queries"
        return {"slot": "slots", "cluster": "clusters"}.get(self.unit.type, "units")

    @property
    def remembers(self) -> bool:
        """Whether it can be told when a unit entered; without, the experiment can ramp and nothing else."""
        return self.unit.id != "any" or self.pins == "required"

    @property
    def text_share(self) -> Fraction:
        """The probability with which a turn's text is kept: 1 for `all`, 0 for `none`.

        A sample whose share is not said is as large as the online judge's, or a twentieth.
        """
        if self.capture.text != "sampled":
            return Fraction(int(self.capture.text == "all"))
        if self.capture.share is not None:
            return self.capture.share
        return Fraction(1, 20) if self.online_judge is None else self.online_judge.sample

    def is_share(self, metric: Metric) -> bool:
        """Whether a metric is the share of a randomised cluster's readings that are yes; clusters then weigh alike.

        Any other proportion is one yes or no of each unit.
        """
        whole = self.unit.type == "cluster" and metric.above is None
        return whole and metric.kind == "proportion" and metric.per_unit == "mean"

    def member_of(self, attributes: Mapping[str, Any]) -> str | None:
        """Who of its cluster a request is from; None where nobody asks or the request does not say."""
        members = self.unit.members
        return None if members is None else unit_name(attributes.get(members))

    @property
    def blocks(self) -> Blocks:
        """Which slots of a switchback are drawn together. UsageError for another method."""
        if self.switchback is None:
            raise UsageError(f"{self.identity} is no switchback, and has no slots in blocks")
        return Blocks(self.switchback, self.allocation, every=self.unit.every)

    @property
    def control(self) -> Variant:
        return self.variants[0]

    @property
    def treatments(self) -> tuple[Variant, ...]:
        return self.variants[1:]

    @property
    def primary(self) -> Metric:
        return self.metrics[0]

    def watched_arms(self, bound: Bound | None) -> tuple[str, ...]:
        """The arms that a watch with such a limit looks at: relative to control the treatments, otherwise all."""
        beside = bound is not None and bound.reference == "control"
        return tuple(variant.name for variant in (self.treatments if beside else self.variants))

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
