"""Numbers as a reader wants them: a rate as a percentage, a change with its sign and its unit."""

from __future__ import annotations

from dataclasses import replace

from equipoise.analysis.declared import p_said
from equipoise.analysis.findings import Adjustment, ByLabels, Effect
from equipoise.stats.estimate import Estimate, NotEstimable

__all__ = ["adjusted", "change", "interval", "is_rate", "labelled", "size", "tested", "unit", "value"]

NONE = "–"


def is_rate(effect: Effect) -> bool:
    """Whether the metric is a share of units, to be shown in percent and percentage points."""
    return effect.kind == "proportion"


def value(effect: Effect, number: float | None) -> str:
    """An arm's value."""
    if number is None:
        return NONE
    if effect.kind == "time_to_event":
        return _seconds(number)
    return f"{number:.3%}" if is_rate(effect) else f"{number:,.4g}"


def unit(effect: Effect) -> str:
    """What a difference of the metric is in, in words."""
    if is_rate(effect):
        return "percentage points"
    return "seconds" if effect.kind == "time_to_event" else "its own unit"


def _seconds(number: float) -> str:
    return f"{number:,.0f} s" if number >= 9_999.5 else f"{number:,.4g} s"


def change(effect: Effect, number: float) -> str:
    """A difference between arms, with its sign.

    Rates are in percentage points, times to an event in seconds, everything else in the metric's unit.
    """
    if number in (float("inf"), float("-inf")):
        return "∞" if number > 0 else "−∞"
    return f"{'−' if number < 0 else '+'}{size(effect, abs(number))}"


def size(effect: Effect, number: float) -> str:
    """How large a difference is, without its sign, such as a margin."""
    return f"{number * 100:.3f} pp" if is_rate(effect) else value(effect, number)


def interval(effect: Effect) -> str:
    """The difference with its interval, or why there is none."""
    estimate = effect.estimate
    if isinstance(estimate, NotEstimable):
        return f"not estimable: {estimate.reason}"
    return f"{change(effect, estimate.value)} ({change(effect, estimate.low)} to {change(effect, estimate.high)})"


def adjusted(effect: Effect, adjustment: Adjustment) -> str:
    """What covariates did to an effect, in a sentence: the measured gain, never a promised one."""
    by = ", ".join(adjustment.covariates)
    if adjustment.gain is None:
        return f"{effect.name} in {effect.variant} is not adjusted by {by}: {adjustment.because}."
    plain = interval(replace(effect, estimate=adjustment.plain))
    took = (
        f"which took {adjustment.gain:.1%} of the variance away"
        if adjustment.gain >= 0.0005
        else f"which took nothing of the variance away ({adjustment.gain:.2%})"
    )
    return f"{effect.name} in {effect.variant} is adjusted by {by}, {took}; unadjusted it is {plain}."


def labelled(effect: Effect, found: ByLabels) -> str:
    """A judge's effect beside the one that labels make of it, and which of the two decides."""
    count = " and ".join(
        f"{labels:,} of {found.judged[arm]:,} turns of {arm}" for arm, labels in found.labels.items()
    )
    judge, people = (
        interval(replace(effect, estimate=estimate)) for estimate in (found.judge, found.corrected)
    )
    said = f"{effect.name} in {effect.variant} is {judge} by the judge alone"
    if found.planned is None:
        return f"{said}, which decides; corrected by labels ({count}) it is {people}."
    if isinstance(found.corrected, NotEstimable):
        return f"{said}, which decides nothing: {found.corrected.reason}."
    return f"{said}, and corrected by labels ({count}), which decides, {people}."


def tested(result: Estimate | NotEstimable, adjusted: float | None) -> str:
    """The statistic and its p-value, to two significant digits and never 0."""
    if isinstance(result, NotEstimable) or result.p_value is None:
        return NONE
    p = result.p_value if adjusted is None else adjusted
    small = p_said(p) if adjusted is None else f"adjusted {p_said(p)}"
    if result.statistic is None:
        return small
    return f"{'z' if result.degrees_of_freedom is None else 't'} = {result.statistic:.2f}, {small}"
