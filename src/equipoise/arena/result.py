"""What the arena found: per case, per variant, and the decision; values only."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Literal

from equipoise.arena.gate import ArmDecision, GateResult
from equipoise.experiment.offline import Gate, Severity
from equipoise.providers.messages import Usage
from equipoise.scoring.evaluating import Score
from equipoise.scoring.pairwise import Comparison
from equipoise.stats.estimate import Estimate, NotEstimable

__all__ = [
    "Answered",
    "ArenaResult",
    "CaseResult",
    "Measured",
    "Preference",
    "Settings",
    "Spent",
    "Used",
    "VariantResult",
]


def _none() -> Mapping[str, Any]:
    return MappingProxyType({})


@dataclass(frozen=True, slots=True, kw_only=True)
class Used:
    """An evaluator or judge as it was used: `digest` is of its whole configuration, or of the recording."""

    name: str
    does: Literal["rule", "similarity", "judge", "plugin", "pairwise", "rubric", "labels"]
    how: Literal["computed", "asked", "recorded"]
    digest: str
    revision: int = 1
    model: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Answered:
    """A variant's answer to a case: its text, or why there is none.

    `context` holds the passages the application retrieved for it. `model` and `fingerprint` are what the
    endpoint said of itself; `granted` is False where it refused the seed it was asked for. `latency_s` in
    seconds, `cost_usd` in US dollars; None where not known.
    """

    text: str | None
    why_not: str | None = None
    context: tuple[str, ...] = ()
    latency_s: float | None = None
    cost_usd: float | None = None
    usage: Usage | None = None
    finish_reason: str | None = None
    model: str | None = None
    fingerprint: str | None = None
    granted: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class CaseResult:
    """One case: what was asked, what each variant answered, and what was made of it.

    `answers[variant]`, `scores[variant]` and `comparisons[treatment]` hold one entry a sample; `scores` has
    a Score for each measure. `label` is what people said of a treatment against control: 1, 0.5 or 0.
    """

    id: str
    asked: str
    reference: str | None = None
    description: str = ""
    cluster: str | None = None
    weight: float = 1.0
    tags: tuple[str, ...] = ()
    severity: Severity | None = None
    must_pass: bool = False
    answers: Mapping[str, tuple[Answered, ...]] = field(default_factory=_none)
    scores: Mapping[str, tuple[Mapping[str, Score], ...]] = field(default_factory=_none)
    comparisons: Mapping[str, tuple[Comparison, ...]] = field(default_factory=_none)
    labels: Mapping[str, float] = field(default_factory=_none)

    def passed(self, variant: str) -> float | None:
        """The share of the variant's samples on which every check held; None where no check had a say.

        A sample without an answer did not pass. One on which a check could not be scored counts as not
        passed only where another check failed; otherwise it has no say.
        """
        said = [each for each in map(_held, self.scores.get(variant, ())) if each is not None]
        unanswered = sum(answer.text is None for answer in self.answers.get(variant, ()))
        total = len(said) + unanswered
        return sum(said) / total if total and said else (0.0 if unanswered and not said else None)

    def value(self, variant: str, measure: str) -> float | None:
        """The mean over samples of what one evaluator measured; None where no sample was scored."""
        values = [
            score.value
            for scores in self.scores.get(variant, ())
            if (score := scores.get(measure)) is not None and score.value is not None
        ]
        return sum(values) / len(values) if values else None

    def preference(self, treatment: str) -> float | None:
        """The mean score of the treatment against control over samples; None where none is usable."""
        values = [each.score for each in self.comparisons.get(treatment, ()) if each.score is not None]
        return sum(values) / len(values) if values else None


def _held(scores: Mapping[str, Score]) -> bool | None:
    passed = [score.passed for score in scores.values() if score.passed is not None]
    if False in passed:
        return False
    barred = [score for score in scores.values() if score.value is None and score.why_not is not None]
    return True if passed and not barred else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """One measure of one variant over the cases.

    `scored`, `unscored` and `errored` count answers (cases × samples). `mean` is over cases, `difference` is
    the treatment's minus control's on the same cases (None for control); both with intervals that know
    which cases belong together. `by_tag` holds the same difference within each tag. `noise` is the spread
    between repeated samples of one case, apart from that between cases (None with one sample).
    """

    name: str
    does: str
    top: float | None = None
    bar: bool = False
    must_pass: bool = False
    scored: int = 0
    unscored: int = 0
    errored: int = 0
    passed: int = 0
    failed: int = 0
    mean: Estimate | NotEstimable
    difference: Estimate | NotEstimable | None = None
    by_tag: Mapping[str, Estimate | NotEstimable] = field(default_factory=_none)
    noise: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Preference:
    """A treatment against control, as the pairwise judge sees it, and the judge beside people.

    All rates are shares in [0, 1]; a win is a score above one half, a tie exactly one half. `controlled` is
    the win rate at equal length of the answers, `corrected` the one corrected by people's labels; `decides`
    says which of them the gate reads. `lean` is by how much the judge prefers what it sees first and
    `consistency` how often its winner survives the change of order (None: both orders were not asked).
    `length_lean` is by how much it prefers the longer answer. `kappa` and `agreement` are with people's labels.
    `shares_family` names an arm that alone is of the judge's model family, `self_preference` by how much
    the judge prefers that arm beyond people or the rest of a panel. `judge_noise` is how often the judge,
    asked the same twice, says the same. `saved` counts the cases that judging in steps did without.
    """

    raw: Estimate | NotEstimable
    controlled: Estimate | NotEstimable
    corrected: Estimate | NotEstimable | None = None
    decides: Literal["raw", "corrected"] = "raw"
    wins: int
    ties: int
    losses: int
    unscored: int
    errored: int = 0
    disagreements: int | None = None
    first_preferred: int | None = None
    lean: Estimate | NotEstimable | None = None
    consistency: Estimate | NotEstimable | None = None
    length_lean: Estimate | NotEstimable | None = None
    labels: int = 0
    agreement: Estimate | NotEstimable | None = None
    kappa: Estimate | NotEstimable | None = None
    panel_alpha: Estimate | NotEstimable | None = None
    judge_noise: Estimate | NotEstimable | None = None
    shares_family: str | None = None
    self_preference: Estimate | NotEstimable | None = None
    by_tag: Mapping[str, Estimate | NotEstimable] = field(default_factory=_none)
    judged: int = 0
    saved: int = 0
    steps: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """How a variant's answers were made: what was asked for, and what the endpoint said of itself.

    More than one of `models` or `fingerprints` means that the endpoint changed under the run.
    """

    asked: Mapping[str, Any] = field(default_factory=_none)
    models: tuple[str, ...] = ()
    fingerprints: tuple[str, ...] = ()
    seed_granted: bool | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class VariantResult:
    """What is known of one variant. What does not apply to it (control has no preference) is None.

    `answered` and `errored` count answers, None where no answers are part of the run. `mean_chars` is over
    answers. `measures` go by name, `pass_rate` among them where anything can pass. `flaky` lists the cases
    that passed on some samples and failed on others; `failing` those that may not fail and did, by reason.
    """

    name: str
    cases: int
    answered: int | None
    errored: int | None
    mean_chars: float | None
    cost_usd: float | None = None
    measures: Mapping[str, Measured] = field(default_factory=_none)
    preference: Preference | None = None
    flaky: tuple[str, ...] = ()
    failing: Mapping[str, tuple[str, ...]] = field(default_factory=_none)
    settings: Settings = field(default_factory=Settings)
    decision: ArmDecision | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Spent:
    """What the whole run took, whether in one go or in several: a resumed run has the same numbers.

    `unpriced` names the models whose price is not known; `cost_usd` is then of the others alone.
    """

    requests: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    cost_usd: float | None = None
    unpriced: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ArenaResult:
    """One run of the arena, control first.

    `sent` and `replayed` count requests that went out in this run and those the journal answered; they
    are no part of what is reported, which is the same for a run that was resumed.
    """

    experiment: str
    digest: str
    cases_digest: str
    cases_origin: str
    answers_origin: str
    samples: int
    evaluators: tuple[Used, ...]
    variants: tuple[VariantResult, ...]
    cases: tuple[CaseResult, ...]
    gate: GateResult
    rule: Gate
    seed: int
    spent: Spent = Spent()
    remarks: tuple[str, ...] = ()
    sent: int = field(default=0, compare=False)
    replayed: int = field(default=0, compare=False)

    @property
    def control(self) -> VariantResult:
        return self.variants[0]

    @property
    def treatments(self) -> tuple[VariantResult, ...]:
        return self.variants[1:]

    def variant(self, name: str) -> VariantResult:
        """The result of that variant; KeyError where there is none."""
        for variant in self.variants:
            if variant.name == name:
                return variant
        raise KeyError(name)
