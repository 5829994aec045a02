"""One rehearsal run of a bandit: shares follow the rewards of whoever came before, until its read-out ends it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from equipoise.analysis.analysing import analyse
from equipoise.conduct.rehearsal.run import DAY, Ending, Pace, Scenario, alone, changed, crossing
from equipoise.conduct.weigh import next_shares
from equipoise.experiment.definition import Experiment
from equipoise.experiment.metric import Metric
from equipoise.measurement.rehearsed.drawn import Drawn
from equipoise.measurement.rehearsed.population import Crowd, Numbers, Population
from equipoise.measurement.rewards import ArmRewards
from equipoise.measurement.tally import EpochTallies, Measurement, Tally
from equipoise.rollout.stages import FINAL
from equipoise.stats.bandits.posteriors import Rewards
from equipoise.stats.moments import Moments, PairMoments
from equipoise.verdict.deciding import decide

__all__ = ["run_bandit"]


def run_bandit(
    experiment: Experiment,
    population: Population,
    scenario: Scenario,
    pace: Pace,
    *,
    planned: float,
    rng: np.random.Generator,
) -> Ending:
    """One run from the first unit to a final verdict: epochs as often as the bandit says, looks as often as somebody looks.

    `planned` is the number of units that the plan registers. A bandit whose time is up goes on with its last shares.
    """
    bandit = experiment.bandit
    assert bandit is not None
    play = _Play.begun(experiment, population, scenario, pace, rng)
    looked = crossed = False
    looks, seconds = 0, 0.0
    moments = sorted(
        {
            number * step
            for step in (bandit.every, pace.every)
            for number in range(1, math.ceil(pace.longest / step) + 1)
        }
    )
    for seconds in moments:
        play.come(seconds)
        if _is_multiple(seconds, pace.every):
            measured = play.measured(seconds)
            if measured is not None:
                findings = analyse(experiment, measured, maximum=planned)
                verdict = decide(findings)
                looked = findings.look.due
                looks += looked
                crossed = crossed or (looked and crossing(findings, scenario))
                if verdict.word in FINAL and (looked or verdict.word != "ship"):
                    after = alone(experiment, verdict.arm)
                    return Ending(
                        verdict.word,
                        verdict.arm,
                        seconds,
                        play.come_so_far,
                        play.served,
                        looks,
                        crossed,
                        after,
                    )
        if _is_multiple(seconds, bandit.every):
            play.weigh(seconds)
    names = [variant.name for variant in experiment.variants]
    after = tuple(play.shares.get(name, 0.0) for name in names)
    return Ending("keep running", None, seconds, play.come_so_far, play.served, looks, crossed, after)


def _is_multiple(seconds: float, step: float) -> bool:
    return abs(seconds / step - round(seconds / step)) < 1e-9


@dataclass
class _Play:
    """A bandit under way: who has come, in which arm and epoch, and what each would have been in the arm that differs."""

    experiment: Experiment
    pace: Pace
    plain: Crowd
    other: Crowd
    place: int
    rng: np.random.Generator
    shares: dict[str, float]
    arms: NDArray[np.int64]
    epochs: NDArray[np.int64]
    come_so_far: int = 0
    announced: list[tuple[float, dict[str, float]]] = field(default_factory=list)

    @classmethod
    def begun(
        cls,
        experiment: Experiment,
        population: Population,
        scenario: Scenario,
        pace: Pace,
        rng: np.random.Generator,
    ) -> _Play:
        most = pace.units(pace.longest)
        plain = other = population.draw(most, rng)
        for metric in experiment.metrics:
            if effect := scenario.effects.get(metric.name, 0.0):
                other = changed(
                    other, metric, np.ones(most, dtype=bool), effect, population.mean(metric), rng
                )
        shares = {name: float(share) for name, share in experiment.allocation.items()}
        names = [variant.name for variant in experiment.variants]
        nobody = np.full(most, -1, dtype=np.int64)
        play = cls(
            experiment, pace, plain, other, names.index(scenario.arm), rng, shares, nobody, nobody.copy()
        )
        play.announced.append((0.0, shares))
        return play

    @property
    def served(self) -> tuple[int, ...]:
        """How many units each arm has so far."""
        found = np.bincount(self.arms[: self.come_so_far], minlength=len(self.experiment.variants))
        return tuple(int(n) for n in found)

    def come(self, seconds: float) -> None:
        """Whoever has come by now is served by the shares of the epoch."""
        until = min(self.pace.units(seconds), self.arms.size)
        chances = np.array([self.shares.get(variant.name, 0.0) for variant in self.experiment.variants])
        came = slice(self.come_so_far, until)
        self.arms[came] = self.rng.choice(
            chances.size, size=until - self.come_so_far, p=chances / chances.sum()
        )
        self.epochs[came] = len(self.announced) - 1
        self.come_so_far = until

    def weigh(self, seconds: float) -> None:
        """A new epoch, with the shares that the rewards so far say, where they say others."""
        bandit = self.experiment.bandit
        assert bandit is not None
        metric = self.experiment.metric(bandit.reward)
        mature = min(self.pace.units(seconds - (metric.window or 0.0)), self.come_so_far)
        values, arms = self._values(metric.name, mature), self.arms[:mature]
        weights = np.ones(mature)
        if bandit.half_life is not None:
            entered = np.arange(mature) / self.pace.per_day * DAY
            weights = 0.5 ** ((seconds - entered) / bandit.half_life)
        served, known, found = self.served, ~np.isnan(values), {}
        for place, variant in enumerate(self.experiment.variants):
            if variant.name not in self.shares:
                continue
            of_arm = arms == place
            own, ripe = of_arm & known, int(of_arm.sum())
            matured = int(own.sum())
            found[variant.name] = ArmRewards(
                matured=matured,
                missing=ripe - matured,
                pending=served[place] - ripe,
                rewards=_rewards(values[own], weights[own]),
            )
        if not any(each.matured for each in found.values()):
            return
        told, _, _ = next_shares(self.experiment, found)
        shares = {name: float(share) for name, share in told.items()}
        if shares != self.shares:
            self.shares = shares
            self.announced.append((seconds, shares))

    def measured(self, seconds: float) -> Measurement | None:
        """What measuring the record would give now; None where an arm has nobody yet."""
        if min(self.served) < 2:
            return None
        so_far = self.come_so_far
        crowd = self._crowd(so_far)
        mature = {
            metric.name: min(self.pace.units(seconds - (metric.window or 0.0)), so_far)
            for metric in self.experiment.metrics
        }
        whole = Drawn(self.experiment, crowd, self.arms[:so_far]).at(so_far, mature, seconds)
        return replace(whole, epochs=self._epochs(crowd, mature))

    def _epochs(self, crowd: Crowd, mature: Mapping[str, int]) -> tuple[EpochTallies, ...]:
        names = [variant.name for variant in self.experiment.variants]
        cells = len(self.announced) * len(names)
        where = self.epochs[: self.come_so_far] * len(names) + self.arms[: self.come_so_far]
        units = np.bincount(where, minlength=cells)
        tallies = {
            metric.name: _tallies(metric, crowd, where, cells, mature[metric.name])
            for metric in self.experiment.metrics
        }
        found = []
        for number, (starts, shares) in enumerate(self.announced):
            first = number * len(names)
            counts = {name: int(units[first + place]) for place, name in enumerate(names)}
            found.append(
                EpochTallies(
                    number=number,
                    starts=starts,
                    shares={name: shares.get(name, 0.0) for name in names},
                    units=counts,
                    logged={name: (shares[name], shares[name]) for name in names if counts[name]},
                    tallies={
                        metric: {name: of[first + place] for place, name in enumerate(names)}
                        for metric, of in tallies.items()
                    },
                )
            )
        return tuple(found)

    def _crowd(self, size: int) -> Crowd:
        """The first who came, as they are in the arm that they were given."""
        return Crowd(
            size,
            {name: self._values(name, size) for name in self.plain.values},
            {name: values[:size] for name, values in self.plain.per.items()},
            {},
            None if self.plain.clusters is None else self.plain.clusters[:size],
        )

    def _values(self, metric: str, size: int) -> Numbers:
        plain, other = self.plain.values[metric], self.other.values[metric]
        if plain is other:
            return plain[:size]
        return np.where(self.arms[:size] == self.place, other[:size], plain[:size])


def _rewards(values: Numbers, weights: Numbers) -> Rewards:
    total = float(weights.sum())
    if not total:
        return Rewards()
    mean = float(weights @ values) / total
    off = values - mean
    return Rewards(total, mean, float(weights @ (off * off)))


def _tallies(
    metric: Metric, crowd: Crowd, where: NDArray[np.int64], cells: int, mature: int
) -> Sequence[Tally]:
    """A metric's tally in each cell of epoch and arm."""
    everyone = np.bincount(where, minlength=cells)
    ripe = np.bincount(where[:mature], minlength=cells)
    x = crowd.values[metric.name][:mature]
    per = crowd.per.get(metric.name)
    y = None if per is None else per[:mature]
    known = ~np.isnan(x) if y is None else ~(np.isnan(x) | np.isnan(y))
    place = where[:mature][known]
    n = np.bincount(place, minlength=cells)
    least = np.maximum(n, 1)

    def about(values: Numbers) -> tuple[Numbers, Numbers]:
        """Means of the cells, and what each value is off."""
        means: Numbers = np.bincount(place, weights=values, minlength=cells) / least
        return means, values - means[place]

    mean_x, off_x = about(x[known])
    xx = np.bincount(place, weights=off_x * off_x, minlength=cells)
    if y is None:
        made = [Moments(int(n[i]), float(mean_x[i]), float(xx[i])) for i in range(cells)]
        return [
            Tally(
                units=each.n, missing=int(ripe[i]) - each.n, immature=int(everyone[i] - ripe[i]), moments=each
            )
            for i, each in enumerate(made)
        ]
    mean_y, off_y = about(y[known])
    yy, xy = (np.bincount(place, weights=off_y * off, minlength=cells) for off in (off_y, off_x))
    pairs = [
        PairMoments(int(n[i]), float(mean_x[i]), float(mean_y[i]), float(xx[i]), float(yy[i]), float(xy[i]))
        for i in range(cells)
    ]
    return [
        Tally(units=each.n, missing=int(ripe[i]) - each.n, immature=int(everyone[i] - ripe[i]), pairs=each)
        for i, each in enumerate(pairs)
    ]
