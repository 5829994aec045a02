"""One contract for whatever scores an answer: a rule, a similarity, a judge, or somebody's plug-in.

The same evaluators run offline (in the arena), inline (rules only, before an answer ships) and online (on
sampled turns). Each is named, has a revision and a digest of its whole configuration, and says of an answer
a score or why there is none. What could not be scored is never a zero.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any, Protocol

from equipoise.experiment.evaluators import Declared, Kind

__all__ = [
    "Evaluator",
    "Score",
    "Subject",
    "errored",
    "fails",
    "graded",
    "passes",
    "unscored",
]


def _none() -> Mapping[str, Any]:
    return MappingProxyType({})


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """One answer, and all that is known of how it came about; what is not known is None or empty.

    `input` is what was asked: a text, or the messages of a chat. `context` holds the passages the answer was
    to rest on, `tool_calls` the tools that it calls (`name`, `arguments`). `values` are the case's own variables.
    `about` names case, variant and sample; it is not scored. `latency_s` is in seconds, `cost_usd` in US dollars,
    `finish_reason` as the endpoint gave it.
    """

    answer: str
    input: str | tuple[Mapping[str, Any], ...] = ""
    reference: str | None = None
    context: tuple[str, ...] = ()
    tool_calls: tuple[Mapping[str, str], ...] = ()
    values: Mapping[str, Any] = field(default_factory=_none)
    latency_s: float | None = None
    cost_usd: float | None = None
    finish_reason: str | None = None
    about: Mapping[str, str] = field(default_factory=_none, compare=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Score:
    """What an evaluator says of one answer: a `value` on its own scale, or `why_not`; never both.

    A rule's value is 1 where the answer holds to it and else 0, a similarity's lies in [0, 1], an axis of a
    rubric's from 1 to its top. `passed` is None where the evaluator has no bar. `errored` tells a failure
    (an endpoint, an exception) from a reply that could not be read or a question that does not arise.
    `explanation` never repeats personal data. `cost_usd` is None where it is not known, and 0 for what
    costs nothing.
    """

    value: float | None = None
    passed: bool | None = None
    label: str | None = None
    explanation: str = ""
    cost_usd: float | None = 0.0
    why_not: str | None = None
    errored: bool = False

    def __post_init__(self) -> None:
        if (self.value is None) == (self.why_not is None):
            raise ValueError("a score has a value, or says why not")


_PASSES = Score(value=1.0, passed=True)


def passes() -> Score:
    """The answer holds to a rule."""
    return _PASSES


def fails(explanation: str) -> Score:
    """The answer does not hold to a rule, and how.

    >>> fails("5 characters, and at most 3 are allowed").passed
    False
    """
    return Score(value=0.0, passed=False, explanation=explanation)


def unscored(why_not: str, *, cost_usd: float | None = 0.0) -> Score:
    """There is no score: a reply that could not be read, a case without a reference."""
    return Score(why_not=why_not, cost_usd=cost_usd)


def errored(why_not: str, *, cost_usd: float | None = 0.0) -> Score:
    """There is no score because something failed: an endpoint, a user's function."""
    return Score(why_not=why_not, errored=True, cost_usd=cost_usd)


def graded(score: Score, declared: Declared) -> Score:
    """A score held to its declaration: the bar from which it passes, and whether passing is turned round.

    >>> graded(Score(value=0.8), Declared(name="close", rule="cosine", threshold=0.7)).passed
    True
    >>> graded(passes(), Declared(name="no json", rule="json_valid", negated=True)).passed
    False
    """
    if score.value is None:
        return score
    passed = score.passed
    if declared.threshold is not None:
        passed = score.value >= declared.threshold
    if not declared.negated:
        return score if passed is score.passed else replace(score, passed=passed)
    passed = None if passed is None else not passed
    value = score.value if declared.threshold is not None or passed is None else float(passed)
    said = score.explanation or ("" if passed else f"the opposite of '{declared.rule}' is asked for")
    return replace(score, value=value, passed=passed, explanation=said)


class Evaluator(Protocol):
    """Something that scores answers.

    `measures` names what it measures, usually just its own name; a rubric measures one thing an axis. `digest`
    is the SHA-256 of its whole configuration (model, prompt, parameters, revision, code where it is a file),
    so that scores of two configurations are never averaged.
    """

    @property
    def name(self) -> str: ...

    @property
    def kind(self) -> Kind: ...

    @property
    def revision(self) -> int: ...

    @property
    def digest(self) -> str: ...

    @property
    def measures(self) -> tuple[str, ...]: ...

    async def score(self, subject: Subject) -> Mapping[str, Score]:
        """A score for each of `measures`. Raises only OutOfReachError and its kin, which stop a run."""
        ...
