"""The form of the file: what may be written where. Pydantic reads; nothing of it outlives the reading.

The published JSON Schema is made from these classes, so the editor and the reader cannot differ.
"""

from __future__ import annotations

from fractions import Fraction
from typing import Annotated, Any, Literal

from pydantic import AliasChoices, BeforeValidator, ConfigDict, Field, StringConstraints

from equipoise.experiment.audience import AttributeType
from equipoise.experiment.bandit_form import BanditForm
from equipoise.experiment.clusters_form import ClustersForm
from equipoise.experiment.definition import Action, Crossed, Grain, Method, Scope, Stage, UnitId, UnitType
from equipoise.experiment.fields import (
    AmountField,
    BoundField,
    ConditionsField,
    Digest,
    DurationField,
    GuardStateField,
    Name,
    Plain,
    Positive,
    QuantityField,
    Rate,
    Section,
    ShareField,
    SourceField,
    Words,
)
from equipoise.experiment.interleaving_form import InterleavingForm
from equipoise.experiment.metric import Better, Kind, PerUnit, Priority, Tier
from equipoise.experiment.offline import CaseFormat, Severity
from equipoise.experiment.switchback_form import SwitchbackForm
from equipoise.experiment.variant import PromptMode
from equipoise.experiment.verdict_rule import Arms, GuardsState, HealthState, LookState, PrimaryState, Word

__all__ = ["Form"]


def _unit(value: object) -> object:
    return {"type": value} if isinstance(value, str) else value


def _from(value: object) -> object:
    return {"from": value} if isinstance(value, str) else value


def _named(value: object) -> object:
    return {"name": value} if isinstance(value, str) else value


def _file_or_text(value: object) -> object:
    return {"text": value} if isinstance(value, str) else value


def _file(value: object) -> object:
    return {"file": value} if isinstance(value, str) else value


def _bare(value: object) -> object:
    return {value: True} if isinstance(value, str) else value


class UnitForm(Section):
    type: UnitType
    from_: Words | None = Field(None, alias="from")
    id: UnitId = "any"
    every: DurationField = 3600.0
    members: Name | None = None


class AttributeForm(Section):
    type: AttributeType = "text"
    from_: SourceField | None = Field(None, alias="from")


class LayerForm(Section):
    name: Name
    range: Annotated[list[ShareField], Field(min_length=2, max_length=2)] = [Fraction(0), Fraction(1)]


class PromptForm(Section):
    text: str | None = None
    file: Words | None = None


class SystemForm(PromptForm):
    mode: PromptMode = "replace"
    variables: list[Words] = []


class VariantForm(Section):
    model: Words | None = None
    system: (
        Annotated[SystemForm, BeforeValidator(_file_or_text, json_schema_input_type=str | SystemForm)] | None
    ) = None
    template: (
        Annotated[PromptForm, BeforeValidator(_file_or_text, json_schema_input_type=str | PromptForm)] | None
    ) = None
    params: Plain = {}
    retrieval: Plain = {}
    endpoint: Plain = {}
    serving: Plain = {}
    config: Plain = {}


class MetricForm(Section):
    priority: Priority = "secondary"
    tier: Tier | None = None
    kind: Kind | None = None
    of: QuantityField | None = None
    per: QuantityField | None = None
    per_unit: PerUnit | None = None
    q: Rate | None = None
    better: Better | None = None
    baseline: float | None = None
    spread: Positive | None = None
    mde: AmountField | None = None
    margin: AmountField | None = None
    limit: float | None = None
    window: DurationField | None = None
    winsorise: Rate | None = None
    covariates: list[Name] = []
    labels: Annotated[int, Field(ge=20)] | None = None
    above: Annotated[float, Field(allow_inf_nan=False)] | None = None
    absent: Annotated[float, Field(allow_inf_nan=False)] | None = None


class SpendingForm(Section):
    hwang_shih_decani: Annotated[float, Field(ge=-40, le=40)] | None = None
    kim_demets: Annotated[float, Field(gt=0, le=40)] | None = None


class PlanForm(Section):
    alpha: Rate = 0.05
    power: Rate = 0.8
    looks: Annotated[list[Annotated[float, Field(gt=0, le=1)]], Field(min_length=1, max_length=100)] = [1.0]
    spending: Literal["obrien_fleming", "pocock"] | SpendingForm | None = None
    boundaries: Annotated[list[Positive], Field(min_length=1, max_length=100)] | None = None
    burn_in: DurationField = 0.0
    cycle: DurationField = 604800.0
    units_per_day: Positive | None = None
    crossed: Crossed = "first_seen"
    whole_cycles: bool = False
    clusters: ClustersForm | None = None


class CriticalSegmentForm(Section):
    where: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_.-]+=.+$")]
    metric: Name
    margin: AmountField


class WatchForm(Section):
    metric: Name
    max: BoundField | None = None
    min: BoundField | None = None
    window: DurationField
    every: DurationField | None = None
    for_: Annotated[int, Field(ge=1, le=10_000)] = Field(1, alias="for")
    at_least: Annotated[int, Field(ge=1)] = 1
    then: Action = "alert"
    scope: Scope = "now"


class RecordingForm(Section):
    file: Words
    case: Words = "case"
    variant: Words = "variant"
    value: Words = "value"
    first: Words | None = None
    names: dict[str, str] = {}


class AnswersForm(RecordingForm):
    file: Words | None = None  # type: ignore[assignment]
    python: Annotated[str, StringConstraints(pattern=r"^[^:]+:[A-Za-z_][A-Za-z0-9_]*$")] | None = None


class LabelsForm(RecordingForm):
    at_least: Annotated[int, Field(ge=2)] = 50


class CasesForm(Section):
    file: Words
    format: CaseFormat | None = None
    id: Words = "id"
    input: Words = "input"
    reference: Words | None = None
    sha256: Digest | None = None


class PanelistForm(Section):
    model: Words
    base_url: Words | None = None
    key_env: Words = "OPENAI_API_KEY"
    params: Plain = {}
    requests_per_minute: Positive | None = None
    tokens_per_minute: Positive | None = None


class JudgeForm(Section):
    model: Words | None = None
    base_url: Words | None = None
    key_env: Words = "OPENAI_API_KEY"
    params: Plain = {}
    requests_per_minute: Positive | None = None
    tokens_per_minute: Positive | None = None
    pairwise: RecordingForm | bool = True
    grades: RecordingForm | None = None
    both_orders: bool = True
    samples: Annotated[int, Field(ge=1, le=100)] = 1
    panel: list[PanelistForm] = []
    sha256: Digest | None = None


class RubricForm(Section):
    axes: Annotated[dict[Name, str], Field(min_length=1)]
    top: Annotated[int, Field(ge=2, le=10)] = 5
    revision: Annotated[int, Field(ge=1)] = 1


class RubricFileForm(Section):
    file: Words | None = None
    axes: Annotated[dict[Name, str], Field(min_length=1)] | None = None
    top: Annotated[int, Field(ge=2, le=10)] = 5
    revision: Annotated[int, Field(ge=1)] = 1


class CriterionForm(Section):
    margin: AmountField | None = None
    superior: bool = False
    not_worse: bool = False
    worst: ShareField | None = None
    at_least: float | None = None


class LimitsForm(Section):
    unscored: ShareField = Fraction(1, 5)
    lean: ShareField | None = None
    kappa: Annotated[float, Field(ge=-1, le=1)] | None = None
    self_preference: ShareField | None = None


class GateForm(Section):
    win_rate: CriterionForm | None = None
    pass_rate: CriterionForm | None = None
    metrics: dict[Name, CriterionForm | Annotated[list[CriterionForm], Field(min_length=1)]] = {}
    must_pass: list[str] = []
    at_most: dict[Severity, Annotated[int, Field(ge=0)]] = {}
    limits: LimitsForm = LimitsForm()
    level: Rate = 0.95
    sequential: bool = False


class OfflineForm(Section):
    cases: Annotated[CasesForm, BeforeValidator(_file, json_schema_input_type=str | CasesForm)]
    samples: Annotated[int, Field(ge=1, le=1000)] = 1
    answers: AnswersForm | None = None
    rubric: (
        Annotated[RubricFileForm, BeforeValidator(_file, json_schema_input_type=str | RubricFileForm)] | None
    ) = None
    judge: JudgeForm | None = None
    labels: LabelsForm | None = None
    # `checks` is what version 0.1.0 called the list; it is read as ever.
    evaluators: Annotated[
        list[Annotated[Plain, BeforeValidator(_bare, json_schema_input_type=str | Plain)]],
        Field(validation_alias=AliasChoices("evaluators", "checks")),
    ] = []
    gate: GateForm = GateForm()


class PriceForm(Section):
    input: Annotated[float, Field(ge=0, allow_inf_nan=False)]
    output: Annotated[float, Field(ge=0, allow_inf_nan=False)]
    cached: Annotated[float, Field(ge=0, allow_inf_nan=False)] | None = None


InlineCheck = Literal["pii", "toxicity", "length", "empty"]


class InlineForm(Section):
    check: InlineCheck | None = None
    json_schema: Words | dict[str, Any] | None = None
    on: Literal["request", "response", "both"] = "response"
    buffer: bool = False
    fallback: str | None = None


class CaptureForm(Section):
    text: Literal["none", "sampled", "all"] = "none"
    redact: list[str] = []
    share: ShareField | None = None
    keep: DurationField = 2_592_000.0


class AuditForm(Section):
    labels_per_week: Annotated[int, Field(ge=1)] | None = None
    minimum_agreement: Annotated[float, Field(ge=0, le=1)] | None = None
    threshold: float | None = None


class OnlineJudgeForm(Section):
    sample: ShareField
    budget_usd_per_day: Positive | None = None
    audit: AuditForm = AuditForm()
    turns_per_minute: Positive | None = None
    backlog: Annotated[int, Field(ge=1)] = 10_000
    within: DurationField = 86_400.0
    by: Words | None = None
    shares: dict[str, ShareField] = {}


class ShadowForm(Section):
    share: ShareField | None = None
    budget_usd_per_day: Positive | None = None
    turns: Annotated[int, Field(ge=1)] | None = None


class CoverageForm(Section):
    coverage: ShareField


class CanaryForm(Section):
    coverage: ShareField | None = None
    counted: bool = False


class RolloutForm(Section):
    stages: list[Stage] = ["ab"]
    shadow: ShadowForm = ShadowForm()
    canary: CanaryForm = CanaryForm()
    ab: CoverageForm | None = None
    skip: dict[Stage, str] = {}


class SourceForm(Section):
    table: Words
    unit: Words
    variant: Words
    time: Words | None = None
    grain: Grain = "event"
    columns: dict[str, str] = {}
    connection: Words | None = None


class WhenForm(Section):
    """States that must all be met; any other key is a guardrail, or a critical segment, by its name."""

    model_config = ConfigDict(extra="allow")
    __pydantic_extra__: dict[str, GuardStateField]

    health: HealthState | None = None
    look: LookState | None = None
    primary: PrimaryState | None = None
    guardrails: GuardsState | None = None

    @property
    def conditions(self) -> dict[str, str]:
        """What was written, by subject."""
        return {subject: state for subject, state in self if state is not None}


class BranchForm(Section):
    when: WhenForm = WhenForm()
    arms: Arms | None = None
    then: Word
    because: Words | None = None


class Form(Section):
    """An Equipoise experiment."""

    name: Name
    hypothesis: Words
    method: Method = "ab"
    bandit: BanditForm | None = None
    interleaving: InterleavingForm | None = None
    switchback: SwitchbackForm | None = None
    changes: list[str] = []
    unit: Annotated[UnitForm, BeforeValidator(_unit, json_schema_input_type=UnitType | UnitForm)]
    cluster: Words | None = None
    attributes: dict[
        Name, Annotated[AttributeForm, BeforeValidator(_from, json_schema_input_type=str | AttributeForm)]
    ] = {}
    traffic: ConditionsField = ()
    target: ConditionsField = ()
    layer: Annotated[LayerForm, BeforeValidator(_named, json_schema_input_type=str | LayerForm)] | None = None
    holdouts: dict[Name, ShareField] = {}
    assignment_version: Annotated[int, Field(ge=1)] = 1
    variants: Annotated[dict[Name, VariantForm], Field(min_length=2)]
    allocation: dict[str, ShareField] | None = None
    metrics: Annotated[dict[Name, MetricForm], Field(min_length=1)]
    plan: PlanForm = PlanForm()
    segments: list[Words] = []
    critical_segments: list[CriticalSegmentForm] = []
    offline: OfflineForm | None = None
    inline: list[InlineCheck | InlineForm] = []
    watches: list[WatchForm] = []
    capture: CaptureForm = CaptureForm()
    online_judge: OnlineJudgeForm | None = None
    rollout: RolloutForm = RolloutForm()
    pins: Literal["none", "required"] = "none"
    prices: dict[Words, PriceForm] = {}
    source: SourceForm | None = None
    verdict: Annotated[list[BranchForm], Field(min_length=1, max_length=50)] | None = None
