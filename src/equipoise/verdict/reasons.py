"""Why a line of the rule decided, in a sentence, and what would change it."""

from __future__ import annotations

from dataclasses import dataclass

from equipoise.analysis.findings import Effect, Findings
from equipoise.experiment.verdict_rule import STATES, Branch
from equipoise.stats.estimate import NotEstimable
from equipoise.verdict.ahead import until_next_look, until_settled
from equipoise.verdict.best_arm import best_said, open_question
from equipoise.verdict.conditions import improvement, met, primary_states
from equipoise.verdict.wording import size

__all__ = ["Reason", "reason"]

_SMALLER = "a new experiment planned for a smaller effect, or a stronger change"
_GUARDED = {"held": "is held", "not_breached": "is not breached"}


@dataclass(frozen=True, slots=True)
class Reason:
    """The sentence, what would change it, and the evidence where it is another than that of the effects."""

    because: str
    would_change: str | None
    evidence: tuple[str, ...] | None = None


def reason(line: Branch, arms: tuple[str, ...], findings: Findings) -> Reason:
    """The reason that the findings give, once this line has decided for `arms`."""
    if not findings.healthy:
        return _broken(findings)
    if line.then == "ship":
        return _shipped(line, arms[0], findings)
    breached = [subject for subject, state in line.of_arm if state == "breached"]
    if breached:
        return _breached(breached, arms, findings, ends=line.then != "keep running")
    question = open_question(findings)
    if not findings.look.due and question is None:
        return Reason(findings.look.says, until_next_look(findings))
    if question is not None and ("primary", "worse") not in line.when:
        said, change = question
        if line.then == "keep running":
            return Reason(said, change)
        return Reason(
            f"no more data will come, and {said}", "a new experiment with more units, or fewer arms"
        )
    if (told := _of_primary(dict(line.when).get("primary"), arms, findings)) is not None:
        return told
    near = _near(findings)
    return _waiting(near, findings) if line.then == "keep running" else _not_shipped(near, findings)


def _broken(findings: Findings) -> Reason:
    broken = [check for check in findings.health if check.status == "invalid"]
    return Reason(
        f"{broken[0].name}: {broken[0].says}",
        "nothing that is decided on these data; mend the cause and start again",
        tuple(f"{check.name}: {check.says}" for check in broken[1:]),
    )


def _shipped(line: Branch, arm: str, findings: Findings) -> Reason:
    primary = next(effect for effect in findings.primary if effect.variant == arm)
    if ("primary", "better") in line.when and (best := best_said(findings)) is not None:
        said = best
    elif ("primary", "better") in line.when:
        said = f"{primary.metric} improved beyond its boundary in {arm}"
    else:
        said = f"{primary.metric} is not worse by more than {_margin(primary)} in {arm}"
    guarded = []
    for subject, state in line.of_arm:
        if subject == "guardrails" and findings.guards:
            guarded.append("every guardrail is held" if state == "held" else "no guardrail is breached")
        elif subject not in STATES:
            guarded.append(f"{subject} {_GUARDED[state]}")
    return Reason(", and ".join([said, *guarded]), None)


def _breached(names: list[str], arms: tuple[str, ...], findings: Findings, *, ends: bool) -> Reason:
    worst = next(
        guard
        for arm in arms
        for guard in findings.guards
        if guard.variant == arm
        and guard.held == "breached"
        and ("guardrails" in names or guard.name in names)
    )
    return Reason(
        f"{worst.name} is breached in {worst.variant}: {worst.because}",
        "a new revision that keeps within the margin" if ends else until_next_look(findings),
    )


def _of_primary(state: str | None, arms: tuple[str, ...], findings: Findings) -> Reason | None:
    """What a condition on the primary says by itself, where it ends the matter."""
    found = [effect for effect in findings.primary if effect.variant in arms]
    metric = findings.primary[0].metric if found else ""
    if state == "not_estimable":
        lacking = [e.estimate.reason for e in found if isinstance(e.estimate, NotEstimable)]
        return Reason(
            f"the primary, {metric}, cannot be estimated: {lacking[0]}",
            "outcomes that vary and reach the record"
            if all(effect.by_labels is None for effect in found)
            else "labels that vary, drawn at random",
        )
    named = ", ".join(effect.variant for effect in found)
    if state == "worse" and (best := best_said(findings)) is not None:
        return Reason(best, "a new experiment with other arms")
    if state == "worse":
        return Reason(f"{metric} got worse beyond its boundary in {named}", "a new revision")
    if state == "futile" and found[0].mde is not None:
        return Reason(
            f"that {metric} improves by {size(found[0], found[0].mde)}, the effect worth finding, is ruled out in {named}",
            _SMALLER,
        )
    return None


@dataclass(frozen=True, slots=True)
class _Near:
    """What came near to shipping at this look: the treatments whose primary would, and the guardrails in the way.

    `asked` are the states of the primary that ship, `doubtful` guardrails that would have to be held and are not shown
    to be, in treatments that breach none, `spoiled` those that are breached.
    """

    asked: frozenset[str]
    promising: tuple[Effect, ...]
    doubtful: tuple[Effect, ...]
    spoiled: tuple[Effect, ...]


def _near(findings: Findings) -> _Near:
    lines = [
        line
        for line in findings.rule
        if line.then == "ship" and met(Branch(when=line.of_experiment, then="ship"), findings) is not None
    ]
    asked = {line: state for line in lines for subject, state in line.when if subject == "primary"}
    states = {effect.variant: primary_states(effect, findings) for effect in findings.primary}
    promising = tuple(e for e in findings.primary if states[e.variant] & set(asked.values()))
    spoiled = tuple(
        guard
        for effect in promising
        for guard in findings.guards
        if guard.variant == effect.variant and guard.held == "breached"
    )
    doubtful = tuple(
        guard
        for effect in sorted(promising, key=improvement, reverse=True)
        if all(guard.variant != effect.variant for guard in spoiled)
        for guard in findings.guards
        if guard.variant == effect.variant
        and guard.held == "not shown"
        and any(
            state in states[effect.variant]
            and {("guardrails", "held"), (guard.name, "held")} & set(line.when)
            for line, state in asked.items()
        )
    )
    return _Near(frozenset(asked.values()), promising, doubtful, spoiled)


def _waiting(near: _Near, findings: Findings) -> Reason:
    primary = findings.primary[0]
    claim = _claim(near, findings, " beyond its boundary")
    if near.doubtful:
        return Reason(f"{claim}, and {_named(near)} is still in doubt", _settling(near, findings))
    if near.spoiled:
        return Reason(
            f"{claim} in {near.spoiled[0].variant}, but {near.spoiled[0].name} is breached there; no other arm has "
            "crossed yet",
            f"for the other arms, {until_next_look(findings)}",
        )
    if near.asked == {"non_inferior"}:
        said = f"it is not shown at this look that {primary.metric} keeps within its margin of {_margin(primary)}"
    else:
        said = f"{primary.metric} has not crossed its boundary at this look"
    return Reason(said, until_next_look(findings))


def _not_shipped(near: _Near, findings: Findings) -> Reason:
    primary = findings.primary[0]
    claim = _claim(near, findings, "")
    worse = [e.variant for e in findings.primary if "worse" in primary_states(e, findings)]
    if near.doubtful:
        return Reason(
            f"{claim}, but it is not shown that {_named(near)} stayed within the margin",
            f"{_settling(near, findings)}; or a margin that was declared wider before launch",
        )
    if near.spoiled:
        return Reason(
            f"{claim} in {near.spoiled[0].variant}, but {near.spoiled[0].name} is breached there",
            "a new revision that keeps within the margin",
        )
    if worse:
        return Reason(
            f"{primary.metric} got worse beyond its boundary in {', '.join(worse)}", "a new revision"
        )
    look = "the last look" if findings.look.final else "this look"
    if "non_inferior" in near.asked:
        return Reason(
            f"{look} did not show that {primary.metric} keeps within its margin of {_margin(primary)}; that is no proof "
            "that it does not",
            "a new experiment with more units, or one with a margin that was declared wider before launch",
        )
    return Reason(
        f"{look} did not show that {primary.metric} improved; that is no proof that it did not", _SMALLER
    )


def _claim(near: _Near, findings: Findings, how: str) -> str:
    """What the primary shows where it would ship."""
    metric = findings.primary[0].metric
    if any("better" in primary_states(effect, findings) for effect in near.promising) or not near.promising:
        return f"{metric} improved{how}"
    return f"{metric} is not worse by more than {_margin(near.promising[0])}"


def _named(near: _Near) -> str:
    return ", ".join(sorted({guard.name for guard in near.doubtful}))


def _settling(near: _Near, findings: Findings) -> str:
    return ", and ".join(dict.fromkeys(until_settled(guard, findings) for guard in near.doubtful))


def _margin(effect: Effect) -> str:
    # A relative margin is taken of control's value, and control may have none.
    return "an unknown size" if effect.margin is None else size(effect, effect.margin)
