"""A golden case as a value, and a set of them."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

import rfc8785

from equipoise.errors import DataError
from equipoise.experiment.offline import CaseFormat, Severity
from equipoise.experiment.variant import thaw
from equipoise.scoring.evaluating import Score

__all__ = ["Case", "CaseSet", "digest_of"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One golden example: what is asked (a text, or the messages of a conversation) and, if known, a right answer.

    `context` holds the passages an answer is to rest on, `values` the case's own variables, by name. Cases of
    one `cluster` belong together; `weight` (above 0) is how much the case counts. A `must_pass` case may not
    fail; `severity` says how bad it is if it does. `evaluators` are those of this case alone, with their
    `weights`; `threshold` is the share of them that must hold (None: all).
    """

    id: str
    input: str | tuple[Mapping[str, Any], ...]
    reference: str | None = None
    context: tuple[str, ...] = ()
    values: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))
    cluster: str | None = None
    weight: float = 1.0
    tags: tuple[str, ...] = ()
    must_pass: bool = False
    severity: Severity | None = None
    description: str = ""
    evaluators: tuple[Mapping[str, Any], ...] = ()
    weights: tuple[float, ...] = ()
    threshold: float | None = None

    @property
    def messages(self) -> tuple[Mapping[str, Any], ...]:
        """The input as messages of a chat.

        >>> Case(id="1", input="Where is my parcel?").messages
        ({'role': 'user', 'content': 'Where is my parcel?'},)
        """
        return ({"role": "user", "content": self.input},) if isinstance(self.input, str) else self.input

    @property
    def text(self) -> str:
        """The input as text to show: the conversation's turns one below the other."""
        if isinstance(self.input, str):
            return self.input
        return "\n".join(f"{message['role']}: {message['content']}" for message in self.input)

    def held(self, scores: Sequence[Score]) -> Score:
        """What the case's own evaluators come to: their weighted mean, passed where all hold or enough do.

        One that could not be scored leaves the whole unscored, unless another has failed already.

        >>> case = Case(id="1", input="?", threshold=0.5)
        >>> case.held([Score(value=1.0, passed=True), Score(value=0.0, passed=False)]).passed
        True
        """
        weights = self.weights if len(self.weights) == len(scores) else (1.0,) * len(scores)
        known = [
            (score, weight) for score, weight in zip(scores, weights, strict=True) if score.value is not None
        ]
        missing = [score for score in scores if score.value is None]
        failed = [score for score, _ in known if score.passed is False]
        if missing and (not failed or self.threshold is not None):
            return missing[0]
        total = math.fsum(weight for _, weight in known)
        value = math.fsum((score.value or 0.0) * weight for score, weight in known) / total if total else 1.0
        passed = not failed if self.threshold is None else value >= self.threshold
        return Score(
            value=value,
            passed=passed,
            explanation="" if passed else "; ".join(score.explanation or "does not hold" for score in failed),
            cost_usd=None
            if any(score.cost_usd is None for score in scores)
            else math.fsum(score.cost_usd or 0.0 for score in scores),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class CaseSet:
    """All cases, in the order of the file. The digest is of their content and does not depend on the order.

    `remarks` say what of the file was not carried over. `pinned` is the digest that the definition demands.
    """

    cases: tuple[Case, ...]
    digest: str
    origin: str
    format: CaseFormat = "own"
    remarks: tuple[str, ...] = ()
    pinned: str | None = None

    def __iter__(self) -> Iterator[Case]:
        return iter(self.cases)

    def __len__(self) -> int:
        return len(self.cases)


def digest_of(cases: Sequence[Case]) -> str:
    """SHA-256 of everything the cases hold, in canonical JSON. Raises DataError for what JSON cannot say."""
    listed = [_plain(case) for case in sorted(cases, key=lambda case: case.id)]
    try:
        return hashlib.sha256(rfc8785.dumps(listed)).hexdigest()
    except (rfc8785.CanonicalizationError, ValueError) as error:
        raise DataError(
            f"the golden cases hold something that JSON cannot say exactly: {error}. Write it as text"
        ) from None


def _plain(case: Case) -> dict[str, Any]:
    """A case as JSON. What is as usual is left out, but id, input and reference, which were always there."""
    usual = Case(id="", input="")
    always = ("id", "input", "reference")
    plain = {name: thaw(getattr(case, name)) for name in Case.__dataclass_fields__}
    return {
        name: [*value] if isinstance(value, tuple) else value
        for name, value in plain.items()
        if name in always or value != thaw(getattr(usual, name))
    }
