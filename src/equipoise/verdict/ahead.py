"""What is still ahead: how many units until the next look, and how many would settle a guardrail in doubt."""

from __future__ import annotations

import math

from equipoise.analysis.findings import Effect, Findings
from equipoise.stats.estimate import NotEstimable

__all__ = ["about", "until_next_look", "until_settled"]

_FAR = 100
"""Beyond so many times the {many} there are, a number would only feign that somebody could wait for it."""


def until_next_look(findings: Findings) -> str:
    """The next registered look, and about how many units it takes if each tells as much as so far.

    Units in the middle of the primary's window tell nothing yet, and are on their way to that look already.
    """
    look = findings.look
    if not look.sized:
        return "a last look, by --final once no more data will come; no size was planned, so that none comes due by itself"
    units, immature, (one, many) = _counted(findings)
    seen = look.fraction
    if not seen or seen <= 0.0 or not units:
        return "the next registered look"
    following = next((each.fraction for each in findings.planned if each.fraction > seen + 1e-9), None)
    if following is None:
        return "the next registered look"
    wanted = units * (following - seen) / seen - immature
    more = about(wanted, one, many) if wanted > 0.0 else f"no more {many}"
    ripe = f", once the {immature:,} that are in have been in for the whole of the window" if immature else ""
    return f"the next registered look, at {following:.0%} of the planned information: {more}{ripe}"


def _counted(findings: Findings) -> tuple[int, int, tuple[str, str]]:
    """How many units tell something, how many are still in their window, and what they are called: of lists, queries."""
    lists = findings.measurement.lists
    if lists is None:
        immature = findings.immature
        return sum(findings.measurement.units.values()) - immature, immature, ("unit", "units")
    # Every unit is in every arm of them, and the plan counts queries.
    unripe = max(lists.unripe.values(), default=0)
    return lists.shown - unripe, unripe, ("query", "queries")


def until_settled(guard: Effect, findings: Findings) -> str:
    """About how many more units would show a guardrail held, if its effect stayed as it is.

    Its standard error falls with the root of the units; the margin is excluded once the distance to it is
    `guard_boundary` standard errors. They are units of the whole experiment, of which the guardrail's two arms, its
    segment, and those with a value are a part that is taken to stay as it is.
    """
    units, immature, (one, many) = _counted(findings)
    units += immature
    estimate = guard.estimate
    if isinstance(estimate, NotEstimable) or guard.margin is None or not units:
        return f"{many if guard.by_labels is None else 'labels'} enough to settle {guard.name}"
    distance = (1 if guard.better == "higher" else -1) * estimate.value + guard.margin
    if distance <= 0.0:
        return f"a turn for the better of {guard.name}, which as it stands is worse by more than its margin"
    wanted = units * (findings.look.guard_boundary * estimate.standard_error / distance) ** 2
    if wanted > _FAR * units:
        return f"more than {_FAR} times the {many} there are, for {guard.name}"
    # A guardrail may be held back by its limit, which no number of units moves.
    if wanted <= units:
        return f"{many} enough to settle {guard.name}"
    return f"{about(wanted - units, one, many)} for {guard.name}, if it stays as it is"


def about(units: float, one: str = "unit", many: str = "units") -> str:
    """A number of units to two significant digits, upwards.

    >>> about(1234.5), about(7.2, "query", "queries")
    ('about 1,300 more units', 'about 8 more queries')
    """
    step = 10 ** max(0, math.floor(math.log10(max(units, 1.0))) - 1)
    number = math.ceil(units / step) * step
    return f"about {number:,} more {one if number == 1 else many}"
