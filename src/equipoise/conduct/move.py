"""Move: the verbs of an operator on a registered experiment, each a few facts, appended all or none.

To enter the next stage is a verb of its own (`enter`): it looks at evidence first.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace
from fractions import Fraction
from typing import Any

from equipoise.clock import Clock
from equipoise.conduct.moving import (
    Moved,
    Moving,
    add_evidence,
    moving,
    reasoned,
    said,
    taking_out,
)
from equipoise.conduct.redirecting import met
from equipoise.errors import GateError, UsageError
from equipoise.events.log import EventLog
from equipoise.experiment.definition import Scope
from equipoise.rollout.stages import ENROLLING, STAGES, WATCHED, rolled_back_to

__all__ = ["Moved", "kill", "pause", "ramp", "remove", "resume", "reweight", "roll_back", "share_out", "ship"]


def _running(at: Moving, verb: str) -> None:
    if at.state.stage not in ENROLLING:
        raise GateError(
            f"{at.experiment.identity} is in the stage {at.state.stage}, where there is nothing to "
            f"{verb}; accepted in: {', '.join(ENROLLING)}"
        )


def _remembering(at: Moving) -> None:
    if at.experiment.method == "interleaving":
        raise GateError(
            f"{at.experiment.identity} interleaves, and in an interleaved list every ranker has the same chance; "
            "`roll-back` ends the experiment, and another set of rankers is another revision"
        )
    if not at.experiment.remembers:
        raise GateError(
            f"other shares would move exposed units of {at.experiment.identity}: it cannot be told when they "
            "entered. `unit: {id: uuid7}`, `unit: {id: token}` or `pins: required` make that possible"
        )


def ramp(
    log: EventLog,
    name: str,
    coverage: Fraction,
    *,
    by: str,
    reason: str | None = None,
    clock: Clock | None = None,
) -> Moved:
    """Enrol another share of the units, in a new epoch. Raising it moves nobody.

    Lowering it takes units out that are exposed, unless it can be told when they entered: GateError then.
    """
    at = moving(log, name, by, reason, clock)
    _running(at, "ramp")
    if not 0 <= coverage <= 1:
        raise UsageError(f"coverage is a share from 0 to 1, and this is {coverage}")
    taking_out(at, coverage)
    return at.append(at.allocation(at.shares, coverage))


def reweight(
    log: EventLog,
    name: str,
    shares: Mapping[str, Fraction],
    *,
    by: str,
    reason: str | None = None,
    clock: Clock | None = None,
) -> Moved:
    """Give who enters from now on other shares, in a new epoch; an arm left out is removed.

    Units of a removed arm are served control and stay in their arm; they are counted, as by `remove`. Raises GateError
    where it cannot be told when a unit entered, for then other shares would move units that are exposed.
    """
    at = moving(log, name, by, reason, clock)
    _running(at, "re-weight")
    _remembering(at)
    known = [variant.name for variant in at.experiment.variants]
    if unknown := sorted(set(shares) - set(known)):
        raise UsageError(f"there is no variant {', '.join(unknown)}; accepted: {', '.join(known)}")
    if "control" not in shares or sum(shares.values()) != 1 or any(each <= 0 for each in shares.values()):
        raise UsageError(
            "shares are positive, add up to exactly 1 and include control, such as control=1/3 …"
        )
    return share_out(at, shares)


def share_out(
    at: Moving, shares: Mapping[str, Fraction], *, evidence: Mapping[str, Any] | None = None
) -> Moved:
    """Open an epoch with these shares, and the `evidence` they rest on; where an arm is left out, count whom that meets.

    StaleHeadError where somebody else moved the experiment meanwhile.
    """
    told = {arm: str(share) for arm, share in shares.items()}
    epoch = replace(at.allocation(told, at.coverage), evidence=evidence)
    gone = sorted(set(at.shares) - set(shares))
    if not gone:
        return at.append(epoch)
    return _counted(at, at.append(at.transition(evidence={"removed": gone}), epoch), gone)


def remove(
    log: EventLog,
    name: str,
    variant: str,
    *,
    by: str,
    reason: str | None,
    clock: Clock | None = None,
) -> Moved:
    """Take a treatment out of the experiment: from a new epoch on the arms that are left share its units alike.

    Units that are exposed to it are served control and stay in their arm, as in a rollback; how many those are is the
    evidence. Raises GateError where it cannot be told when a unit entered, or where only control would be left.
    """
    reasoned(reason, f"remove {variant}")
    at = moving(log, name, by, reason, clock)
    _running(at, "remove")
    known = [each.name for each in at.experiment.treatments]
    if variant not in known:
        raise UsageError(f"there is no treatment '{variant}' to remove; accepted: {', '.join(known)}")
    shares = {arm: Fraction(share) for arm, share in at.shares.items()}
    if variant not in shares:
        raise GateError(f"{variant} is no part of {at.experiment.identity} any more; nothing was changed")
    rest = {arm: share / (1 - shares[variant]) for arm, share in shares.items() if arm != variant}
    if len(rest) == 1:
        raise GateError(
            f"{variant} is the only treatment of {at.experiment.identity}, and nothing would be left to compare; "
            "`roll-back` ends the experiment"
        )
    _remembering(at)
    return share_out(at, rest)


def pause(
    log: EventLog, name: str, *, by: str, reason: str | None = None, clock: Clock | None = None
) -> Moved:
    """Let nobody new in; exposed units keep their variant, and shadow traffic stops."""
    at = moving(log, name, by, reason, clock)
    if at.state.stage not in STAGES:
        raise GateError(f"{at.experiment.identity} is {at.state.stage}; there is nothing to pause")
    if at.state.service == "redirected":
        raise GateError(
            f"{at.experiment.identity} serves control to everyone, and a pause would serve the variants again; "
            "`resume` opens it"
        )
    return at.append(at.transition(service="paused"))


def resume(
    log: EventLog, name: str, *, by: str, reason: str | None = None, clock: Clock | None = None
) -> Moved:
    """Let units in again, after a pause or a kill; what watches said until now then blocks no stage any more.

    UsageError where a watch closed it and no reason is given.
    """
    at = moving(log, name, by, reason, clock, WATCHED)
    if at.state.stage not in STAGES:
        raise GateError(f"{at.experiment.identity} is {at.state.stage}; there is nothing to resume")
    watched = [each for each in at.state.alerts if each.sustained and each.action in ("pause", "rollback")]
    if watched and at.state.service != "open":
        last = watched[-1]
        reasoned(reason, f"resume what the watch on {last.metric} of {last.variant} closed")
    return at.append(at.transition(service="open", evidence={"alerts": len(at.state.alerts)}))


def kill(
    log: EventLog,
    name: str,
    *,
    by: str,
    reason: str | None = None,
    clock: Clock | None = None,
    count: bool = True,
) -> Moved:
    """Serve control to everyone, at once. Units stay in the arm they belong to, marked as redirected.

    `count` as in `roll_back`.
    """
    at = moving(log, name, by, reason, clock)
    done = at.append(at.transition(service="redirected"))
    return _counted(at, done) if count else done


def roll_back(
    log: EventLog,
    name: str,
    *,
    by: str,
    reason: str | None,
    scope: Scope = "now",
    clock: Clock | None = None,
    count: bool = True,
) -> Moved:
    """End the experiment in favour of control: for everyone `now`, or for `new_conversations` only.

    First it is done, and is heard of everywhere; then the exposed units and those in the middle of something are counted,
    which on a large log takes seconds, and kept as evidence of their own. Without `count` that is left out.
    """
    reasoned(reason, "roll back")
    at = moving(log, name, by, reason, clock)
    service = rolled_back_to(scope, at.state.service)
    done = at.append(at.transition(stage="rolled back", service=service, evidence={"scope": scope}))
    return _counted(at, done) if count else done


def _counted(at: Moving, done: Moved, arms: Collection[str] | None = None) -> Moved:
    """What a verb did to those who were exposed, kept beside it."""
    found = met(at.log, at.experiment, service=done.service, now=at.now, arms=arms)
    evidence: dict[str, Any] = {**done.evidence, **found}
    add_evidence(at, evidence)
    return replace(done, evidence=evidence)


def ship(
    log: EventLog,
    name: str,
    variant: str,
    *,
    by: str,
    reason: str | None = None,
    clock: Clock | None = None,
) -> Moved:
    """Make a variant the default of everyone outside the holdouts.

    It rests on the verdict that says so, which is kept as evidence; without one it needs a reason. Raises GateError for a
    treatment of an experiment that was killed and not resumed, and where it was rolled back.
    """
    at = moving(log, name, by, reason, clock)
    identity = at.experiment.identity
    known = [each.name for each in at.experiment.variants]
    if variant not in known:
        raise UsageError(f"there is no variant '{variant}'; accepted: {', '.join(known)}")
    if at.state.stage == "rolled back":
        raise GateError(f"{identity} is rolled back; register a new revision to try again")
    if at.state.stage in STAGES and at.state.service == "redirected" and variant != "control":
        raise GateError(
            f"{identity} serves control to everyone, and {variant} would become everyone's default; `resume` opens it first"
        )
    decision = at.state.decision
    verdict = None if decision is None else decision.verdict
    evidence: dict[str, Any] = {"verdict": verdict}
    if decision is not None:
        evidence |= {"arm": decision.arm, "decision": decision.event_id, "look": decision.look}
    rests = decision is not None and verdict == "ship" and decision.arm == variant
    if not rests and not said(reason):
        of = f" {decision.arm}" if decision is not None and decision.arm else ""
        known_so_far = "there is no verdict yet" if verdict is None else f"the last verdict is {verdict}{of}"
        raise UsageError(
            f'{known_so_far}, and not ship {variant}: say why you ship it: --reason "…". It is kept with the experiment'
        )
    return at.append(at.transition(stage="shipped", service="open", variant=variant, evidence=evidence))
