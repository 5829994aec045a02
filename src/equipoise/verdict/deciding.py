"""The rule, in one place: findings in, one of five words out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from equipoise.analysis.declared import p_said
from equipoise.analysis.findings import Effect, Findings
from equipoise.experiment.verdict_rule import Branch, Word
from equipoise.stats.estimate import NotEstimable
from equipoise.verdict.conditions import improvement, met
from equipoise.verdict.reasons import reason

__all__ = ["EXIT_CODES", "Verdict", "decide"]

EXIT_CODES: dict[Word, int] = {"ship": 0, "hold": 3, "roll back": 3, "keep running": 4, "invalid": 5}


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What to do, for which arm, why, and what would change it.

    `branch` is the line of the rule that decided, 1 the first.
    """

    word: Word
    because: str
    arm: str | None = None
    evidence: tuple[str, ...] = ()
    would_change: str | None = None
    branch: int

    @property
    def exit_code(self) -> int:
        return EXIT_CODES[self.word]

    def to_dict(self) -> dict[str, Any]:
        return {
            "verdict": self.word,
            "arm": self.arm,
            "because": self.because,
            "evidence": list(self.evidence),
            "would_change": self.would_change,
            "branch": self.branch,
        }


def decide(findings: Findings) -> Verdict:
    """The verdict of the findings, by the first line of their rule that applies.

    A line that ships names the treatment with the largest improvement among those that meet all its conditions. Of a
    rule without a last line that always applies, where none does, the answer is to keep running; the reader of
    definitions accepts no such rule.
    """
    for place, line in enumerate(findings.rule):
        arms = met(line, findings)
        if arms is not None:
            return _verdict(place + 1, line, arms, findings)
    return _verdict(len(findings.rule) + 1, Branch(then="keep running"), (), findings)


def _verdict(place: int, line: Branch, arms: tuple[str, ...], findings: Findings) -> Verdict:
    if line.then == "ship":
        arms = (max((e for e in findings.primary if e.variant in arms), key=improvement).variant,)
    why = reason(line, arms, findings)
    return Verdict(
        word=line.then,
        arm=arms[0] if line.then == "ship" else None,
        because=why.because if line.because is None else f"{line.because}: {why.because}",
        evidence=tuple(_sentence(effect, findings) for effect in (*findings.primary, *findings.guards))
        if why.evidence is None
        else why.evidence,
        would_change=why.would_change,
        branch=place,
    )


def _sentence(effect: Effect, findings: Findings) -> str:
    if effect.held is not None:
        return f"{effect.name} in {effect.variant}: {effect.held}; {effect.because}"
    estimate = effect.estimate
    if isinstance(estimate, NotEstimable):
        return f"{effect.name} in {effect.variant}: not estimable; {estimate.reason}"
    p = "" if estimate.p_value is None else f", {p_said(estimate.p_value)}"
    return (
        f"{effect.name} in {effect.variant}: {estimate.value:+.4g} "
        f"({estimate.low:+.4g} to {estimate.high:+.4g}){p}; "
        f"boundary |z| = {findings.look.boundary:.3f}"
    )
