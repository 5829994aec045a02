"""A bandit in words: which arm is best or why none is named yet, its arms as rows."""

from __future__ import annotations

from equipoise.analysis.bandit_findings import BanditArm, BanditFindings, Pair
from equipoise.analysis.findings import Effect, Findings
from equipoise.stats.estimate import Estimate, NotEstimable
from equipoise.verdict.ahead import about
from equipoise.verdict.wording import NONE, interval, value

__all__ = ["ARMS", "ARM_HEADERS", "arm_rows", "bandit_sentences", "best_said", "open_question"]

ARMS = "The arms, by what was played for"
ARM_HEADERS = (
    "arm",
    "share now",
    "units",
    "mean (95% interval)",
    "plain mean, biased",
    "believed best",
)
_FAR = 10.0
"""More standard errors than this, in multiples of the lead, would only feign that somebody could wait for them."""
_BIAS = (
    "Plain means are biased: an arm that had bad luck was given fewer units to make up for it, so that they are too {} on "
    "average, most in arms that were seldom played. The means beside them are weighted by the logged probabilities."
)
_WITHIN = "A difference is taken within epochs, so that a good afternoon is no part of it: it need not be that of the means."


def arm_rows(bandit: BanditFindings) -> list[list[str]]:
    """Each arm as a row under ARM_HEADERS; the interval of its mean is for one reading."""
    return [
        [
            arm.variant,
            f"{arm.share:.1%}" if arm.in_play else "removed",
            f"{arm.units:,} and {arm.pending:,} pending" if arm.pending else f"{arm.units:,}",
            _mean(bandit, arm),
            NONE if isinstance(arm.naive, NotEstimable) else _value(bandit, arm.naive),
            NONE if arm.best is None else f"{arm.best:.1%}",
        ]
        for arm in bandit.arms
    ]


def bandit_sentences(bandit: BanditFindings) -> list[str]:
    """What belongs beside the arms: the bias of the plain means, what was missed, which arms are no part of the question."""
    said = [_BIAS.format("low" if bandit.better == "higher" else "high"), _WITHIN]
    said += [f"{pair.arm} against {pair.other}: {_between(bandit, pair)}." for pair in bandit.against]
    if isinstance(bandit.regret, float):
        units = sum(arm.units for arm in bandit.arms)
        much = f"{bandit.regret:,.4g} of {bandit.reward} in {units:,} units"
        said.append(
            f"Regret so far is about {much}: by so much they would have been better off, had {bandit.leader} served all."
        )
    if bandit.removed:
        gone = ", ".join(bandit.removed)
        said.append(
            f"{gone} got no more units; that an arm that was removed is not the best is the word of whoever removed "
            "it (the drop rule, or an operator), and the error says nothing of it."
        )
    return said


def best_said(findings: Findings) -> str | None:
    """What is shown of the best arm; None where it is no bandit's, or none is named."""
    bandit = findings.bandit
    if bandit is None or bandit.best is None:
        return None
    others = " and ".join(pair.other for pair in bandit.against)
    return (
        f"the best arm is {bandit.best}: its {bandit.reward} is better than that of {others}, which is said wrongly in at "
        f"most {100.0 * bandit.error:.3g}% of such experiments, however often somebody looks"
    )


def open_question(findings: Findings) -> tuple[str, str] | None:
    """Why a bandit names no arm, and what would change it; None where it is none, or names one."""
    bandit = findings.bandit
    if bandit is None or bandit.best is not None:
        return None
    if not findings.look.due or bandit.leader is None:
        return findings.look.says, "units with a reward in every arm that is in"
    if not bandit.against:
        return (
            f"{bandit.leader} is the only arm that is still in",
            "nothing; there is no other arm to compare it with",
        )
    rivals = " and ".join(pair.other for pair in bandit.rivals)
    nearest = min(bandit.rivals, key=_lead)
    wanted = _wanted(nearest, findings)
    more = "more units" if wanted is None else f"{about(wanted)}, if it stays as it is"
    asked = f"its {bandit.reward} is better than that of {rivals}"
    return (
        f"the leading arm is {bandit.leader}, and it is not shown yet that {asked}",
        f"{more}: {bandit.leader} against {nearest.other} is {_between(bandit, nearest)}",
    )


def _wanted(pair: Pair, findings: Findings) -> float | None:
    """About how many more units would show the leader to be better, at the shares so far; None where that is far off.

    Its distance in standard errors grows with the root of the units, and must grow to the boundary.
    """
    units, lead = sum(findings.measurement.units.values()), _lead(pair)
    if lead <= 0.0 or findings.look.boundary / lead > _FAR:
        return None
    return max(1.0, units * ((findings.look.boundary / lead) ** 2 - 1.0))


def _lead(pair: Pair) -> float:
    """How many standard errors the leader is ahead; those that cannot be compared first."""
    found = pair.estimate
    return (
        abs(found.value) / found.standard_error
        if isinstance(found, Estimate) and found.standard_error
        else -1.0
    )


def _between(bandit: BanditFindings, pair: Pair) -> str:
    return interval(_as_effect(bandit, pair.arm, pair.estimate))


def _mean(bandit: BanditFindings, arm: BanditArm) -> str:
    if isinstance(arm.mean, NotEstimable):
        return f"not estimable: {arm.mean.reason}"
    found = arm.mean
    return f"{_value(bandit, found.value)} ({_value(bandit, found.low)} to {_value(bandit, found.high)})"


def _value(bandit: BanditFindings, number: float) -> str:
    return value(_as_effect(bandit, "", NotEstimable("")), number)


def _as_effect(bandit: BanditFindings, variant: str, estimate: Estimate | NotEstimable) -> Effect:
    """The reward as an effect, for the words of its kind."""
    return Effect(
        metric=bandit.reward,
        variant=variant,
        priority="primary",
        kind=bandit.kind,
        better=bandit.better,
        control=None,
        treatment=None,
        units={},
        missing={},
        estimate=estimate,
        relative=NotEstimable("not asked"),
    )
