"""The rule, in one place: findings in, one of five words out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from equipoise.analysis.findings import Effect, Findings
from equipoise.stats.estimate import Estimate, NotEstimable
from equipoise.verdict.ahead import until_next_look, until_settled

__all__ = ["EXIT_CODES", "Verdict", "decide"]

Word = Literal["ship", "hold", "roll back", "keep running", "invalid"]

EXIT_CODES: dict[Word, int] = {"ship": 0, "hold": 3, "roll back": 3, "keep running": 4, "invalid": 5}


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What to do, for which arm, why, and what would change it."""

    word: Word
    because: str
    arm: str | None = None
    evidence: tuple[str, ...] = ()
    would_change: str | None = None

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
        }


def decide(findings: Findings) -> Verdict:
    """The verdict of the findings, by the first line that applies:

    1. not healthy → invalid
    2. a guardrail or critical segment breached in every treatment → roll back
    3. a peek, not a look → keep running
    4. the primary cannot be estimated → invalid
    5. the primary's boundary crossed for the better in an arm all of whose guards held → ship that arm
       (the one with the largest improvement, if there are several)
    6. the boundary crossed for the worse in every treatment, or the last look → hold
    7. else keep running
    """
    evidence = tuple(_sentence(effect, findings) for effect in (*findings.primary, *findings.guards))
    if not findings.healthy:
        broken = [check for check in findings.health if check.status == "invalid"]
        return Verdict(
            word="invalid",
            because=f"{broken[0].name}: {broken[0].says}",
            evidence=tuple(f"{check.name}: {check.says}" for check in broken[1:]),
            would_change="nothing that is decided on these data; mend the cause and start again",
        )
    breached = {
        arm: [g for g in findings.guards if g.variant == arm and g.held == "breached"]
        for arm in findings.treatments
    }
    if all(breached.values()):
        worst = next(iter(breached.values()))[0]
        return Verdict(
            word="roll back",
            because=f"{worst.name} is breached in {worst.variant}: {worst.because}",
            evidence=evidence,
            would_change="a new revision that keeps within the margin",
        )
    if not findings.look.due:
        return Verdict(
            word="keep running",
            because=findings.look.says,
            evidence=evidence,
            would_change=until_next_look(findings),
        )
    lacking = [e.estimate for e in findings.primary if isinstance(e.estimate, NotEstimable)]
    if lacking:
        return Verdict(
            word="invalid",
            because=f"the primary, {findings.primary[0].metric}, cannot be estimated: {lacking[0].reason}",
            evidence=evidence,
            would_change="outcomes that vary and reach the record"
            if findings.primary[0].by_labels is None
            else "labels of people, drawn at random",
        )
    return _judge(findings, breached, evidence)


def _judge(findings: Findings, breached: dict[str, list[Effect]], evidence: tuple[str, ...]) -> Verdict:
    crossed = {effect.variant: _crossed(effect, findings) for effect in findings.primary}
    better = sorted(
        (
            effect
            for effect in findings.primary
            if crossed[effect.variant] > 0 and not breached[effect.variant]
        ),
        key=_improvement,
        reverse=True,
    )
    doubtful: list[Effect] = []
    for effect in better:
        open_guards = [g for g in findings.guards if g.variant == effect.variant and g.held != "held"]
        if not open_guards:
            return Verdict(
                word="ship",
                arm=effect.variant,
                because=f"{effect.metric} improved beyond its boundary in {effect.variant}"
                + (", and every guardrail is held" if findings.guards else ""),
                evidence=evidence,
                would_change=None,
            )
        doubtful += open_guards
    metric = findings.primary[0].metric
    worse = [arm for arm, side in crossed.items() if side < 0]
    # Arms that would have been shipped, had they not broken a guardrail.
    spoiled = [guard for arm, side in crossed.items() if side > 0 for guard in breached[arm]]
    in_doubt = ", ".join(sorted({guard.name for guard in doubtful}))
    settling = ", and ".join(dict.fromkeys(until_settled(guard, findings) for guard in doubtful))
    if findings.look.final:
        if doubtful:
            because = f"{metric} improved, but it is not shown that {in_doubt} stayed within the margin"
            change = f"{settling}; or a margin that was declared wider before launch"
        elif spoiled:
            because = f"{metric} improved in {spoiled[0].variant}, but {spoiled[0].name} is breached there"
            change = "a new revision that keeps within the margin"
        elif worse:
            because = f"{metric} got worse beyond its boundary in {', '.join(worse)}"
            change = "a new revision"
        else:
            because = f"the last look did not show that {metric} improved; that is no proof that it did not"
            change = "a new experiment planned for a smaller effect, or a stronger change"
        return Verdict(word="hold", because=because, evidence=evidence, would_change=change)
    if len(worse) == len(crossed):
        return Verdict(
            word="hold",
            because=f"{metric} got worse beyond its boundary in {', '.join(worse)}",
            evidence=evidence,
            would_change="a new revision",
        )
    if doubtful:
        because = f"{metric} improved beyond its boundary, and {in_doubt} is still in doubt"
        change = settling
    elif spoiled:
        because = (
            f"{metric} improved beyond its boundary in {spoiled[0].variant}, but {spoiled[0].name} is breached "
            "there; no other arm has crossed yet"
        )
        change = f"for the other arms, {until_next_look(findings)}"
    else:
        because = f"{metric} has not crossed its boundary at this look"
        change = until_next_look(findings)
    return Verdict(word="keep running", because=because, evidence=evidence, would_change=change)


def _crossed(effect: Effect, findings: Findings) -> int:
    """+1 where the primary's boundary is crossed for the better, −1 for the worse, else 0."""
    estimate = effect.estimate
    # The level belongs to the boundary, so a p-value at most 1 − level is a statistic at or beyond it.
    if (
        isinstance(estimate, NotEstimable)
        or estimate.p_value is None
        or estimate.p_value > 1.0 - findings.look.level
    ):
        return 0
    return 1 if _improvement(effect) > 0 else -1


def _improvement(effect: Effect) -> float:
    assert isinstance(effect.estimate, Estimate)
    return effect.estimate.value if effect.better == "higher" else -effect.estimate.value


def _sentence(effect: Effect, findings: Findings) -> str:
    if effect.held is not None:
        return f"{effect.name} in {effect.variant}: {effect.held}; {effect.because}"
    estimate = effect.estimate
    if isinstance(estimate, NotEstimable):
        return f"{effect.name} in {effect.variant}: not estimable; {estimate.reason}"
    p = "" if estimate.p_value is None else f", p = {estimate.p_value:.2g}"
    return (
        f"{effect.name} in {effect.variant}: {estimate.value:+.4g} "
        f"({estimate.low:+.4g} to {estimate.high:+.4g}){p}; "
        f"boundary |z| = {findings.look.boundary:.3f}"
    )
