"""What is still ahead: how many units until the next look, and how many would settle a guardrail in doubt."""

from __future__ import annotations

import math

from equipoise.analysis.findings import Effect, Findings
from equipoise.stats.estimate import NotEstimable

__all__ = ["about", "until_next_look", "until_settled"]

_FAR = 100
"""Beyond so many times the units there are, a number would only feign that somebody could wait for it."""


def until_next_look(findings: Findings) -> str:
    """The next registered look, and about how many units it takes if each tells as much as so far.

    Units in the middle of the primary's window tell nothing yet, and are on their way to that look already.
    """
    look, immature = findings.look, findings.immature
    units = sum(findings.measurement.units.values()) - immature
    seen = look.fraction
    if not seen or seen <= 0.0 or not units:
        return "the next registered look"
    following = next((each.fraction for each in findings.planned if each.fraction > seen + 1e-9), None)
    if following is None:
        return "the next registered look"
    wanted = units * (following - seen) / seen - immature
    more = about(wanted) if wanted > 0.0 else "no more units"
    ripe = f", once the {immature:,} that are in have been in for the whole of the window" if immature else ""
    return f"the next registered look, at {following:.0%} of the planned information: {more}{ripe}"


def until_settled(guard: Effect, findings: Findings) -> str:
    """About how many more units would show a guardrail held, if its effect stayed as it is.

    Its standard error falls with the root of the units; the margin is excluded once the distance to it is
    `guard_boundary` standard errors. They are units of the whole experiment, of which the guardrail's two arms, its
    segment, and those with a value are a part that is taken to stay as it is.
    """
    units = sum(findings.measurement.units.values())
    estimate = guard.estimate
    if isinstance(estimate, NotEstimable) or guard.margin is None or not units:
        return f"{'units' if guard.by_labels is None else 'labels'} enough to settle {guard.name}"
    distance = (1 if guard.better == "higher" else -1) * estimate.value + guard.margin
    if distance <= 0.0:
        return f"a turn for the better of {guard.name}, which as it stands is worse by more than its margin"
    wanted = units * (findings.look.guard_boundary * estimate.standard_error / distance) ** 2
    if wanted > _FAR * units:
        return f"more than {_FAR} times the units there are, for {guard.name}"
    # A guardrail may be held back by its limit, which no number of units moves.
    if wanted <= units:
        return f"units enough to settle {guard.name}"
    return f"{about(wanted - units)} for {guard.name}, if it stays as it is"


def about(units: float) -> str:
    """A number of units to two significant digits, upwards.

    >>> about(1234.5), about(7.2)
    ('about 1,300 more units', 'about 8 more units')
    """
    step = 10 ** max(0, math.floor(math.log10(max(units, 1.0))) - 1)
    number = math.ceil(units / step) * step
    return f"about {number:,} more unit{'' if number == 1 else 's'}"
