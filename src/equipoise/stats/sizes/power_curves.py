"""Power against the size of the effect, as numbers: what a picture of a plan is drawn from."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import SupportsIndex

from equipoise.errors import UsageError
from equipoise.stats.domain import counted, finite

__all__ = ["PowerPoint", "power_curve"]


@dataclass(frozen=True, slots=True)
class PowerPoint:
    """One point of a curve: an effect on the metric's scale, and the probability of finding it."""

    effect: float
    power: float


def power_curve(
    power_at: Callable[[float], float], up_to: float, points: SupportsIndex = 40
) -> tuple[PowerPoint, ...]:
    """The power at `points` evenly spaced effects from just beside 0 to `up_to`, which is of either sign.

    `power_at` takes an effect and answers with a probability: any power function of this chapter with its
    other arguments filled in. Degenerate case: where an effect cannot be (a rate beyond 1) the curve ends
    before it. Errors: UsageError where `up_to` is 0 or not finite, for no points, or where not even the
    first effect is possible.
    Source: Cohen (1988), Statistical Power Analysis, chapter 1.

    >>> from equipoise.stats.sizes.power import power_two_proportions
    >>> curve = power_curve(lambda effect: power_two_proportions(1471, 1471, 0.60, effect), 0.10, points=4)
    >>> [(round(p.effect, 3), round(p.power, 3)) for p in curve]
    [(0.025, 0.285), (0.05, 0.8), (0.075, 0.989), (0.1, 1.0)]
    """
    end, count = finite("up_to", up_to), counted("points", points, at_least=1)
    if end == 0.0:
        raise UsageError("up_to must not be 0: a curve needs effects to run through")
    found: list[PowerPoint] = []
    for step in range(1, count + 1):
        effect = end * step / count
        try:
            found.append(PowerPoint(effect, power_at(effect)))
        except UsageError:
            if not found:
                raise
            break
    return tuple(found)
