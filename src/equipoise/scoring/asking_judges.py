"""What evaluators that ask a judge have in common: each judge and sample is asked, and a panel's mean counts."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from equipoise.experiment.evaluators import Declared, Kind
from equipoise.experiment.variant import thaw
from equipoise.scoring.evaluating import Score, Subject, graded, unscored
from equipoise.scoring.evaluators import AskedJudge
from equipoise.scoring.judging import Asked, ask_json, identity
from equipoise.scoring.panel import members, together

__all__ = ["JudgeEvaluator"]


@dataclass(frozen=True, slots=True, kw_only=True)
class JudgeEvaluator:
    """An evaluator that asks each judge one question about an answer and reads its reply.

    `parts` makes the question out of a subject, or says why it does not arise; `read` makes a score of what
    was replied.
    """

    declared: Declared
    judges: tuple[AskedJudge, ...] = field(compare=False)
    prompt: str
    schema: Mapping[str, Any] = field(compare=False)
    parts: Callable[[Subject], Mapping[str, Any] | str] = field(compare=False)
    read: Callable[[Asked], Score] = field(compare=False)
    wishes: Mapping[str, Any] = field(default_factory=dict, compare=False)
    top: float | None = None

    @property
    def name(self) -> str:
        return self.declared.name

    @property
    def kind(self) -> Kind:
        return "judge"

    @property
    def revision(self) -> int:
        return self.declared.revision

    @property
    def models(self) -> tuple[str, ...]:
        """Who is asked."""
        return tuple(judge.model for judge in self.judges)

    @property
    def configuration(self) -> Mapping[str, Any]:
        """All that makes this judge: prompt, models, parameters, what is declared."""
        return {
            "prompt": self.prompt,
            "judges": [{"model": judge.model, "params": judge.params} for judge in self.judges],
            "rule": self.declared.rule,
            "argument": thaw(self.declared.argument),
            "revision": self.declared.revision,
            "threshold": self.declared.threshold,
            "negated": self.declared.negated,
        }

    @property
    def digest(self) -> str:
        """SHA-256 of the configuration."""
        return identity(self.configuration)

    @property
    def measures(self) -> tuple[str, ...]:
        return (self.declared.name,)

    async def score(self, subject: Subject) -> Mapping[str, Score]:
        parts = self.parts(subject)
        if isinstance(parts, str):
            return {self.name: unscored(parts)}
        asked = await asyncio.gather(
            *(
                ask_json(
                    judge,
                    system=self.prompt,
                    parts=parts,
                    schema=self.schema,
                    about={**subject.about, "ask": self.name},
                    revision=self.revision,
                    wishes=self.wishes,
                )
                for judge in self.judges
            )
        )
        scores = [_read(self.read, each) for each in asked]
        if self.declared.threshold is not None:  # the bar is for the panel's mean
            score = together(dict(zip(members(self.models), scores, strict=True)))
            return {self.name: graded(score, self.declared)}
        # Each is turned round by itself, so that a panel that is split passes neither a check nor its opposite.
        votes = [graded(score, self.declared) for score in scores]
        return {self.name: together(dict(zip(members(self.models), votes, strict=True)))}


def _read(read: Callable[[Asked], Score], asked: Asked) -> Score:
    if asked.value is None:
        return Score(why_not=asked.why_not, errored=asked.errored, cost_usd=asked.cost_usd)
    return read(asked)
