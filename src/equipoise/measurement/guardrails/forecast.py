"""What a watch would do to windows that are drawn anew, with its own limit or any other."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from equipoise.design.false_alarms import breach_chances, soon, streaks_a_week
from equipoise.design.overlapping import OfBreached, of_breached, typical
from equipoise.experiment.amount import Bound
from equipoise.experiment.definition import Watch
from equipoise.experiment.metric import Metric
from equipoise.measurement.guardrails.past import Counts
from equipoise.stats.estimate import NotEstimable
from equipoise.stats.guardrails.streaks import Streaks
from equipoise.stats.guardrails.window_values import WindowValue

__all__ = ["Caught", "Forecast", "told"]


def told(value: float | NotEstimable) -> float | dict[str, str]:
    """A number, or why there is none, as JSON."""
    return {"not_estimable": value.reason} if isinstance(value, NotEstimable) else value


@dataclass(frozen=True, slots=True)
class Caught:
    """The chance that a watch acts as soon as it can where readings, or a rate, are `factor` times what they were."""

    factor: float
    chance: float | NotEstimable

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON."""
        return {"factor": self.factor, "chance": told(self.chance)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Forecast:
    """A watch of some arms over windows with the `counts` of every arm, control first.

    `own` makes a window of a watched arm, from its counts and a factor on its readings, and `control` one of control; None
    where the readings are too few. `alike` is the autocorrelation of windows that follow each other without overlap. Where
    they overlap, what follows a breached one is drawn, by `seed`: once for windows that are breached about as often (within
    an eighth of the chance or so), whatever the arm.
    """

    watch: Watch
    metric: Metric
    arms: tuple[str, ...]
    own: Callable[[Counts, float], WindowValue | None]
    control: Callable[[Counts, float], WindowValue | None]
    counts: Mapping[str, Sequence[Counts]]
    alike: float
    seed: int = 0
    _drawn: dict[tuple[float, int], OfBreached] = field(default_factory=dict, repr=False, compare=False)

    @property
    def above(self) -> bool:
        """Whether the limit is an upper one."""
        return self.watch.max is not None

    @property
    def known(self) -> bool:
        """Whether any window of a watched arm has readings enough."""
        return any(self.own(each, 1.0) is not None for arm in self.arms for each in self.counts[arm])

    def streaks(self, bound: Bound, arm: str) -> Streaks:
        """False alarms and actions a week in an arm, were this the limit."""
        chances = self._chances(bound, arm, 1.0)
        shares = self._shares(bound, arm, 1.0, chances)
        return streaks_a_week(chances, self.watch, autocorrelation=self.alike, shares=shares)

    def breached(self, bound: Bound) -> float:
        """The share of the watched arms' windows that are breached, of those that say something; 0 of none."""
        told = [each for arm in self.arms for each in self._chances(bound, arm, 1.0) if each is not None]
        return sum(told) / len(told) if told else 0.0

    def actions(self, bound: Bound) -> float:
        """False actions a week, all watched arms together."""
        return sum(self.streaks(bound, arm).actions for arm in self.arms)

    def noise(self, bound: Bound) -> float:
        """The same to look for a limit by: infinite where most windows are breached, of which few begin a streak."""
        return math.inf if self.breached(bound) > 0.5 else self.actions(bound)

    def caught(self, bound: Bound) -> tuple[Caught, ...]:
        """How soon the watch acts on what goes wrong in the last arm, a treatment, whatever else is watched."""
        factors = (1.3, 2.0, 5.0) if self.above else (0.7, 0.5)
        return tuple(Caught(factor, self._soon(bound, self.arms[-1], factor)) for factor in factors)

    def _soon(self, bound: Bound, arm: str, factor: float) -> float | NotEstimable:
        chances = self._chances(bound, arm, factor)
        shares = self._shares(bound, arm, factor, chances)
        return soon(chances, self.watch, autocorrelation=self.alike, shares=shares)

    def _shares(
        self, bound: Bound, arm: str, factor: float, chances: Sequence[float | None]
    ) -> OfBreached | None:
        """What follows a breached window, by one that stands for all; None where windows do not overlap."""
        if self.watch.every is None:
            return None
        place = typical(chances)
        if place is None:
            return OfBreached(0.0, 0.0, 0.0)
        chance = chances[place] or 0.0
        own = self.own(self.counts[arm][place], factor)
        control = self.control(self.counts[next(iter(self.counts))][place], 1.0)
        assert own is not None
        key = factor, round(4.0 * math.log(chance / (1.0 - chance))) if chance < 1.0 else 0
        if chance == 1.0 or key not in self._drawn:
            found = of_breached(
                bound, own, control, self.watch, breached=chance, baseline=self.metric.baseline, alike=self.alike,
                seed=self.seed,
            )  # fmt: skip
            if chance == 1.0:
                return found
            self._drawn[key] = found
        return self._drawn[key]

    def _chances(self, bound: Bound, arm: str, factor: float) -> list[float | None]:
        own = [self.own(each, factor) for each in self.counts[arm]]
        control = [self.control(each, 1.0) for each in self.counts[next(iter(self.counts))]]
        return breach_chances(bound, own, control, above=self.above, baseline=self.metric.baseline)
