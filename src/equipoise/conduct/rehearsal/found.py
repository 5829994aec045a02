"""What a rehearsal found: how often each verdict ended it, how many units and days it took, what was lost on the way."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from equipoise.conduct.rehearsal.run import Scenario
from equipoise.conduct.rehearsal.split_instead import Split
from equipoise.conduct.rehearsal.switchback_run import CARRIED, TURNS
from equipoise.design.plan import Plan
from equipoise.experiment.verdict_rule import Word
from equipoise.stats.estimate import Estimate, NotEstimable

__all__ = ["WORDS", "Outcome", "Rehearsal", "Spread"]

WORDS: tuple[Word, ...] = ("ship", "hold", "roll back", "invalid", "keep running")


@dataclass(frozen=True, slots=True)
class Spread:
    """A number that differs from run to run: its mean, median, and what nine runs of ten stay within."""

    mean: float
    median: float
    ninety: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        return cls(float(np.mean(values)), float(np.median(values)), float(np.quantile(values, 0.9)))

    def to_dict(self) -> dict[str, float]:
        return {"mean": self.mean, "median": self.median, "ninety": self.ninety}


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What became of one scenario's runs.

    `words` is how often each verdict ended them, `ships` and `crossed` the shares that shipped the scenario's arm and
    that crossed the primary's boundary, with exact (Clopper–Pearson) intervals. `units` served until the end, `exposed`
    of them by the arm that differs, `days` they took. `ended` has the share of the runs that had ended by each day
    (number of units, where no traffic is known). `beside` is how often other tests find something in the same data, by their
    names. `regret` is by policy what was lost in the horizon against serving
    the better arm from the first unit on, in units of the primary (resolved conversations, say), and its own standard
    error; by `as designed` and each alternative.
    """

    scenario: Scenario
    runs: int
    words: Mapping[Word, int]
    ships: Estimate
    crossed: Estimate
    units: Spread
    exposed: Spread
    looks: float
    days: Spread | NotEstimable
    ended: tuple[tuple[float, float], ...]
    beside: Mapping[str, Estimate]
    regret: Mapping[str, tuple[float, float]] | NotEstimable

    @property
    def length(self) -> tuple[str, ...]:
        """How long it took, in words: its name, units, days and units of the arm that differs."""
        days = (
            "–" if isinstance(self.days, NotEstimable) else f"{self.days.mean:.1f} ({self.days.ninety:.1f})"
        )
        units, exposed = (f"{each.mean:,.0f} ({each.ninety:,.0f})" for each in (self.units, self.exposed))
        return self.scenario.name, units, days, exposed

    def to_dict(self) -> dict[str, Any]:
        def share(of: Estimate) -> dict[str, float]:
            return {"value": of.value, "low": of.low, "high": of.high}

        return {
            "scenario": self.scenario.name,
            "says": self.scenario.says,
            "arm": self.scenario.arm,
            "effects": dict(self.scenario.effects),
            "runs": self.runs,
            "words": dict(self.words),
            "ships": share(self.ships),
            "crossed": share(self.crossed),
            "units": self.units.to_dict(),
            "exposed": self.exposed.to_dict(),
            "looks": self.looks,
            "days": {"not_estimable": self.days.reason}
            if isinstance(self.days, NotEstimable)
            else self.days.to_dict(),
            "beside": {name: share(of) for name, of in self.beside.items()},
            "ended": [list(point) for point in self.ended],
            "regret": {"not_estimable": self.regret.reason}
            if isinstance(self.regret, NotEstimable)
            else {name: {"value": value, "error": error} for name, (value, error) in self.regret.items()},
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Rehearsal:
    """A design, carried out `runs` times for each scenario; `seed` gives the same runs again.

    `population` says what the units were, `left_out` which metrics they do not have, and why: what is left out was no
    part of the verdicts. Of rankers that share lists a unit is a query, and `split` is the A/B test that would find the
    planned effect by the same clicks. `error` is what the method registers, of an A/B test alpha. `every` is how many
    seconds lie between two looks (None: `per_look` units). `counted` is what units are called; `horizon` is in them.
    """

    experiment: str
    primary: str
    population: str
    runs: int
    seed: int
    per_day: float | None
    per_look: int
    every: float | None
    horizon: int
    plan: Plan
    method: str
    counted: str
    error: float
    outcomes: tuple[Outcome, ...]
    split: Split | NotEstimable | None = None
    left_out: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    @property
    def length(self) -> tuple[str, ...]:
        """What `Outcome.length` is a line of."""
        served = "items of that ranker" if self.method == "interleaving" else f"{self.counted} of that arm"
        return "what is true", *(f"{of} (9 of 10 within)" for of in (self.counted, "days", served))

    @property
    def lost_in(self) -> str:
        """What is lost, in words."""
        if self.method == "interleaving":
            return "in searches that would have found what they were for"
        return f"in {self.primary} added up over {self.counted}"

    def promises(self) -> tuple[str, ...]:
        """What the design promises beside what it did, a sentence each."""
        return (
            *(said for each in self.outcomes for said in (self._promise(each), *_beside(each))),
            *self._instead(),
        )

    def _instead(self) -> tuple[str, ...]:
        if self.split is None:
            return ()
        if isinstance(self.split, NotEstimable):
            return (f"An A/B instead: not known, since {self.split.reason}.",)
        said = f"An A/B instead: on the same clicks, by its better metric ({self.split.metric}), it takes "
        said += f"{self.split.queries:,} queries ({self.split.low:,} to {self.split.high:,}) for a power of "
        said += f"{self.split.power:.0%}"
        return (f"{said}; this design is planned with {self.plan.total:,}.",)

    def _promise(self, outcome: Outcome) -> str:
        crossed, ships, says = outcome.crossed, outcome.ships, outcome.scenario.says
        match outcome.scenario.name:
            case "nothing":
                said = self._false_positives(crossed)
                if all(each.scenario.name != "at the margin" for each in self.outcomes):
                    return said
                return (
                    f"{said} {_between(ships)} of the runs shipped that arm, since not being worse is enough."
                )
            case "planned":
                said = f"Power: where the effect is as planned, {_between(ships)} of the runs shipped"
                if self.method == "bandit":
                    return f"{said}; a bandit plays for the reward on the way, and not for a verdict."
                said += f" and {_between(crossed)} crossed the boundary; "
                said += f"{self.plan.power:.0%} is what the binding question was planned with"
                if crossed.high < self.plan.power:
                    said += f". That is less: {self.counted} that are drawn tell less of it"
                    return f"{said} than the plan takes for granted."
                if ships.high < self.plan.power:
                    return f"{said}. To ship, every guardrail must be shown to hold as well."
                return said + "."
            case "opposite":
                return f"A bad arm: {says}; {_between(ships)} of the runs shipped it."
            case "at the margin":
                said = f"A bad arm: {says}; {_between(ships)} of the runs shipped it, and {self.plan.alpha / 2:.1%} are"
                more = "." if ships.low <= self.plan.alpha / 2 else ". That is more."
                return f"{said} registered{more}"
            case _:
                return f"A broken guardrail: {says}; {_between(ships)} of the runs shipped it."

    def _false_positives(self, crossed: Estimate) -> str:
        if self.method == "bandit":
            said = (
                f"False positives: where nothing differs, a treatment was told from control in {_between(crossed)} of the "
                f"runs; {self.error:.1%} is registered, whenever somebody looks"
            )
        else:
            said = (
                f"False positives: where nothing differs, the primary's boundary was crossed in {_between(crossed)} of the "
                f"runs; {self.error:.1%} are registered, both directions together"
            )
        if crossed.low > self.error:
            return f"{said}. That is more: what is drawn here is not what the test takes it for."
        return said + "."

    @property
    def lost(self) -> list[list[str]]:
        """What each policy loses, in words: a header, and a line for each scenario of which that can be said."""
        known = {
            each.scenario.name: each.regret
            for each in self.outcomes
            if not isinstance(each.regret, NotEstimable)
        }
        if not known:
            return []
        most = max(abs(lost) for regret in known.values() for lost, _ in regret.values())
        digits = _digits(most)
        lines = [
            [
                name,
                *(
                    f"{lost:,.{digits}f}" + (f" ± {error:,.{digits}f}" if error else "")
                    for lost, error in regret.values()
                ),
            ]
            for name, regret in known.items()
        ]
        return [["what is true", *next(iter(known.values()))], *lines]

    def to_dict(self) -> dict[str, Any]:
        """The JSON shape of `equipoise simulate --json`."""
        return {
            "experiment": self.experiment,
            "method": self.method,
            "primary": self.primary,
            "population": self.population,
            "runs": self.runs,
            "seed": self.seed,
            "units_per_day": self.per_day,
            "units_per_look": self.per_look,
            "horizon_units": self.horizon,
            "planned": {
                "units": self.plan.total,
                "alpha": self.plan.alpha,
                "error": self.error,
                "power": self.plan.power,
            },
            "split": {"not_estimable": self.split.reason}
            if isinstance(self.split, NotEstimable)
            else self.split and self.split.to_dict(),
            "left_out": dict(self.left_out),
            "notes": list(self.notes),
            "promises": list(self.promises()),
            "scenarios": [each.to_dict() for each in self.outcomes],
        }


def _beside(outcome: Outcome) -> Iterator[str]:
    """What other tests find in the same data, where that says something of the design."""
    turns, carried = outcome.beside.get(TURNS), outcome.beside.get(CARRIED)
    if turns is not None and outcome.scenario.name == "nothing":
        yield (
            f"Turns one by one: a test that takes a slot's turns for independent would have found a difference in "
            f"{_between(turns)} of those runs."
        )
    if carried is not None and outcome.scenario.name == "planned":
        yield (
            f"Carry-over: the slot before is shown to be felt in {_between(carried)} of the runs with the planned effect; "
            "where nothing is carried over that is 5.0%."
        )


def _between(share: Estimate) -> str:
    return f"{share.value:.1%} ({share.low:.1%} to {share.high:.1%})"


def _digits(most: float) -> int:
    """The decimals that numbers of up to so much are told apart by: three figures of the largest, and one decimal at least.

    >>> _digits(1305.5), _digits(1.5), _digits(0.0004), _digits(0.0)
    (1, 2, 6, 1)
    """
    return max(1, 2 - math.floor(math.log10(most))) if most else 1
