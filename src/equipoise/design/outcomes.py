"""What is measured, as far as a sample size needs to know: the question each kind of outcome puts to `stats`.

An outcome answers three things: the units that two plain arms need for an effect, the effect that given
units find, and the spread of one unit, from which clusters are sized.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from equipoise.errors import UsageError
from equipoise.stats.domain import counted, inside, positive
from equipoise.stats.estimate import NotEstimable
from equipoise.stats.sizes.power import (
    SampleSize,
    detectable_two_means,
    detectable_two_proportions,
    power_two_means,
    power_two_proportions,
    size_two_means,
    size_two_proportions,
)
from equipoise.stats.sizes.power_judged import judged_rates
from equipoise.stats.sizes.power_margins import (
    Better,
    excludable_margin_means,
    excludable_margin_proportions,
    power_noninferior_means,
    power_noninferior_proportions,
    size_noninferior_means,
    size_noninferior_proportions,
)
from equipoise.stats.sizes.power_pilot import quantile_spread, ratio_spread

__all__ = [
    "JudgedProportion",
    "Mean",
    "NoninferiorMean",
    "NoninferiorProportion",
    "Outcome",
    "Proportion",
    "quantile_outcome",
    "ratio_outcome",
]

Answer = Literal["mde", "margin"]


class Outcome(Protocol):
    """A kind of outcome: `answer` names its effect, `inputs` what its size follows from beside that."""

    @property
    def kind(self) -> str: ...

    @property
    def answer(self) -> Answer: ...

    @property
    def inputs(self) -> dict[str, Any]: ...

    def need(self, effect: float, alpha: float, power: float, ratio: float, sides: int) -> SampleSize: ...

    def detect(self, n_c: int, n_t: int, alpha: float, power: float, sides: int) -> float | NotEstimable: ...

    def power(self, n_c: int, n_t: int, effect: float, alpha: float, sides: int) -> float: ...

    def spread_at(self, effect: float, ratio: float) -> float: ...


@dataclass(frozen=True, slots=True)
class Proportion:
    """A yes-or-no outcome whose rate is to be found different from `baseline`."""

    baseline: float
    direction: Literal["rise", "fall"] = "rise"

    kind = "proportion"
    answer: Answer = "mde"

    @property
    def inputs(self) -> dict[str, Any]:
        return {"baseline": self.baseline}

    def need(self, effect: float, alpha: float, power: float, ratio: float, sides: int) -> SampleSize:
        return size_two_proportions(self.baseline, effect, alpha=alpha, power=power, ratio=ratio, sides=sides)

    def detect(self, n_c: int, n_t: int, alpha: float, power: float, sides: int) -> float | NotEstimable:
        found = detectable_two_proportions(
            n_c, n_t, self.baseline, alpha=alpha, power=power, sides=sides, direction=self.direction
        )
        return -found if isinstance(found, float) and self.direction == "fall" else found

    def power(self, n_c: int, n_t: int, effect: float, alpha: float, sides: int) -> float:
        return power_two_proportions(n_c, n_t, self.baseline, effect, alpha, sides=sides)

    def spread_at(self, effect: float, ratio: float) -> float:
        """Of one unit, such that spread²·(1 + 1/r) is the variance of both arms as they then are."""
        p = inside("baseline", self.baseline)
        changed = inside("baseline + mde", p + effect)
        return math.sqrt((p * (1.0 - p) + changed * (1.0 - changed) / ratio) / (1.0 + 1.0 / ratio))


@dataclass(frozen=True, slots=True)
class JudgedProportion:
    """A rate as a judge sees it, who passes `sensitivity` of the successes and fails `specificity` of the rest.

    Effects are of the *true* rates.
    """

    baseline: float
    sensitivity: float
    specificity: float
    direction: Literal["rise", "fall"] = "rise"

    kind = "judged_proportion"
    answer: Answer = "mde"

    @property
    def inputs(self) -> dict[str, Any]:
        return {"baseline": self.baseline, "sensitivity": self.sensitivity, "specificity": self.specificity}

    def need(self, effect: float, alpha: float, power: float, ratio: float, sides: int) -> SampleSize:
        inside("baseline + mde", self.baseline + effect)
        seen, _ = self._seen()
        return seen.need(effect * self._shrunk(), alpha, power, ratio, sides)

    def detect(self, n_c: int, n_t: int, alpha: float, power: float, sides: int) -> float | NotEstimable:
        seen, room = self._seen()
        found = seen.detect(n_c, n_t, alpha, power, sides)
        if isinstance(found, NotEstimable):
            return found
        true = found / self._shrunk()
        if abs(true) >= room:
            return NotEstimable(
                f"even the largest possible {self.direction} from {self.baseline:g} "
                f"would be found with less than {power:.0%} power"
            )
        return true

    def power(self, n_c: int, n_t: int, effect: float, alpha: float, sides: int) -> float:
        inside("baseline + mde", self.baseline + effect)
        return self._seen()[0].power(n_c, n_t, effect * self._shrunk(), alpha, sides)

    def spread_at(self, effect: float, ratio: float) -> float:
        """On the scale of the true rate: the judge's spread over what is left of an effect."""
        inside("baseline + mde", self.baseline + effect)
        shrunk = self._shrunk()
        return self._seen()[0].spread_at(effect * shrunk, ratio) / shrunk

    def _shrunk(self) -> float:
        return self.sensitivity + self.specificity - 1.0

    def _seen(self) -> tuple[Proportion, float]:
        """The outcome as the judge sees it, and the room that the true rate has."""
        rates = judged_rates(self.baseline, 1.0, self.sensitivity, self.specificity)
        if isinstance(rates, NotEstimable):
            raise UsageError(rates.reason)
        room = 1.0 - self.baseline if self.direction == "rise" else self.baseline
        return Proportion(rates[0], self.direction), room


@dataclass(frozen=True, slots=True)
class Mean:
    """An average over units that vary by `spread`; a ratio or quantile too, once its spread per unit is known.

    `described` holds what the spread itself was worked out from, for the reader of the result.
    """

    spread: float
    kind: str = "mean"
    described: tuple[tuple[str, float], ...] = ()

    answer: Answer = "mde"

    @property
    def inputs(self) -> dict[str, Any]:
        return {**dict(self.described), "spread": self.spread}

    def need(self, effect: float, alpha: float, power: float, ratio: float, sides: int) -> SampleSize:
        return size_two_means(self.spread, effect, alpha=alpha, power=power, ratio=ratio, sides=sides)

    def detect(self, n_c: int, n_t: int, alpha: float, power: float, sides: int) -> float | NotEstimable:
        return detectable_two_means(n_c, n_t, self.spread, alpha=alpha, power=power, sides=sides)

    def power(self, n_c: int, n_t: int, effect: float, alpha: float, sides: int) -> float:
        return power_two_means(n_c, n_t, self.spread, effect, alpha, sides=sides)

    def spread_at(self, effect: float, ratio: float) -> float:
        del effect, ratio
        return self.spread


@dataclass(frozen=True, slots=True)
class NoninferiorProportion:
    """A rate that is to be shown no worse than by a margin, where both arms have the rate `baseline`."""

    baseline: float
    better: Better = "higher"

    kind = "noninferior_proportion"
    answer: Answer = "margin"

    @property
    def inputs(self) -> dict[str, Any]:
        return {"baseline": self.baseline, "better": self.better}

    def need(self, effect: float, alpha: float, power: float, ratio: float, sides: int) -> SampleSize:
        del sides
        return size_noninferior_proportions(
            self.baseline, effect, alpha=alpha, power=power, ratio=ratio, better=self.better
        )

    def detect(self, n_c: int, n_t: int, alpha: float, power: float, sides: int) -> float | NotEstimable:
        del sides
        return excludable_margin_proportions(
            n_c, n_t, self.baseline, alpha=alpha, power=power, better=self.better
        )

    def power(self, n_c: int, n_t: int, effect: float, alpha: float, sides: int) -> float:
        del sides
        return power_noninferior_proportions(n_c, n_t, self.baseline, effect, alpha, better=self.better)

    def spread_at(self, effect: float, ratio: float) -> float:
        del effect, ratio
        p = inside("baseline", self.baseline)
        return math.sqrt(p * (1.0 - p))


@dataclass(frozen=True, slots=True)
class NoninferiorMean:
    """An average that is to be shown no worse than by a margin, over units that vary by `spread`."""

    spread: float

    kind = "noninferior_mean"
    answer: Answer = "margin"

    @property
    def inputs(self) -> dict[str, Any]:
        return {"spread": self.spread}

    def need(self, effect: float, alpha: float, power: float, ratio: float, sides: int) -> SampleSize:
        del sides
        return size_noninferior_means(self.spread, effect, alpha=alpha, power=power, ratio=ratio)

    def detect(self, n_c: int, n_t: int, alpha: float, power: float, sides: int) -> float | NotEstimable:
        del sides
        return excludable_margin_means(n_c, n_t, self.spread, alpha=alpha, power=power)

    def power(self, n_c: int, n_t: int, effect: float, alpha: float, sides: int) -> float:
        del sides
        return power_noninferior_means(n_c, n_t, self.spread, effect, alpha)

    def spread_at(self, effect: float, ratio: float) -> float:
        del effect, ratio
        return self.spread


def ratio_outcome(mean_x: float, mean_y: float, spread_x: float, spread_y: float, correlation: float) -> Mean:
    """A ratio of sums, from what is known of its two parts per unit: `stats.power_pilot.ratio_spread`.

    >>> round(ratio_outcome(6.0, 3.0, 4.0, 1.5, 0.6).spread, 4)
    1.0853
    """
    spread = ratio_spread(mean_x, mean_y, spread_x, spread_y, correlation)
    if isinstance(spread, NotEstimable):
        raise UsageError(spread.reason)
    parts = (
        ("mean_x", mean_x),
        ("mean_y", mean_y),
        ("spread_x", spread_x),
        ("spread_y", spread_y),
        ("correlation", correlation),
    )
    return Mean(spread, "ratio", parts)


def quantile_outcome(
    q: float,
    density: float | None = None,
    *,
    pilot_error: float | None = None,
    pilot_units: int | None = None,
) -> Mean:
    """A quantile, from the density at it or from a pilot's standard error and number of units.

    >>> round(quantile_outcome(0.95, 0.05).spread, 3)
    4.359
    >>> quantile_outcome(0.95, pilot_error=0.05, pilot_units=900).spread
    1.5
    """
    inside("q", q)
    if density is not None and pilot_error is None and pilot_units is None:
        return Mean(quantile_spread(q, density), "quantile", (("quantile", q), ("density", density)))
    if density is None and pilot_error is not None and pilot_units is not None:
        units = counted("pilot_units", pilot_units, at_least=2)
        spread = positive("pilot_error", pilot_error) * math.sqrt(units)
        described = (("quantile", q), ("pilot_error", pilot_error), ("pilot_units", pilot_units))
        return Mean(spread, "quantile", described)
    raise UsageError("a quantile needs either density, or pilot_error and pilot_units")
