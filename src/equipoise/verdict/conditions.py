"""Whether a line of the rule applies: what health, look, primary and guardrails are found to be."""

from __future__ import annotations

from equipoise.analysis.findings import Effect, Findings
from equipoise.experiment.verdict_rule import STATES, Branch
from equipoise.stats.estimate import Estimate, NotEstimable

__all__ = ["improvement", "meets", "met", "primary_states"]


def met(line: Branch, findings: Findings) -> tuple[str, ...] | None:
    """The treatments that meet the line's conditions, or None where the line does not apply.

    Of a line without conditions on treatments that applies: none. Of an experiment that is not healthy no treatment
    meets anything, since nothing is shown.
    """
    if not all(_found(subject, findings) == state for subject, state in line.of_experiment):
        return None
    if not line.of_arm:
        return ()
    if not findings.healthy:
        return None
    arms = tuple(
        arm
        for arm in findings.treatments
        if all(meets(arm, subject, state, findings) for subject, state in line.of_arm)
    )
    return arms if arms and (line.arms == "any" or len(arms) == len(findings.treatments)) else None


def _found(subject: str, findings: Findings) -> str:
    """The state of what concerns all treatments alike."""
    if subject == "health":
        return "ok" if findings.healthy else "invalid"
    if not findings.look.due:
        return "peek"
    return "last" if findings.look.final else "interim"


def meets(arm: str, subject: str, state: str, findings: Findings) -> bool:
    """Whether a treatment meets a condition on the primary, on all guardrails, or on the one of that name."""
    if subject == "primary":
        return any(state in primary_states(e, findings) for e in findings.primary if e.variant == arm)
    guards = [
        guard.held
        for guard in findings.guards
        if guard.variant == arm and (subject in STATES or guard.name == subject)
    ]
    if state == "not_breached":
        return "breached" not in guards
    if state == "breached":
        return "breached" in guards
    wanted = state.replace("_", " ")
    # One guardrail of that name must be there; all of none are held.
    return all(held == wanted for held in guards) and (bool(guards) or subject in STATES)


def primary_states(effect: Effect, findings: Findings) -> frozenset[str]:
    """What may be said of the primary in one treatment, at the level of this look.

    Better or worse: its boundary is crossed. Non-inferior: the interval excludes a change for the worse by the margin.
    Futile: the interval excludes an improvement by the mde (the repeated confidence interval, Jennison & Turnbull 1989,
    section 3), which may be obeyed or not without making shipping by chance more frequent.
    """
    estimate = effect.estimate
    if isinstance(estimate, NotEstimable):
        return frozenset({"not_estimable"})
    side = _crossed(effect, findings)
    least, most = (
        (estimate.low, estimate.high) if effect.better == "higher" else (-estimate.high, -estimate.low)
    )
    found = {
        # Of several arms that beat control a bandit names the best, and no other.
        "better": side > 0 and (findings.bandit is None or findings.bandit.best == effect.variant),
        "worse": side < 0,
        "non_inferior": effect.margin is not None and (side > 0 or least > -effect.margin),
        "futile": effect.mde is not None and (side < 0 or most < effect.mde),
    }
    return frozenset(state for state, holds in found.items() if holds)


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
    return 1 if improvement(effect) > 0 else -1


def improvement(effect: Effect) -> float:
    """The estimate, larger where better."""
    assert isinstance(effect.estimate, Estimate)
    return effect.estimate.value if effect.better == "higher" else -effect.estimate.value
