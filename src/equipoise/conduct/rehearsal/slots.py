"""Time slots that did not happen yet: how they vary, and what each arm does in them and after them.

A slot's value of a metric is normal about its mean. What slots of a block have in common is a part of the variance, as large
as their expected correlation; slots that follow each other are alike by an autocorrelation of first order, in what blocks
have in common and in what they have not. An arm adds its effect in its own slot and, while it is carried over, at the
beginning of the next.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from fractions import Fraction
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy.signal import lfilter

from equipoise.analysis.declared import span
from equipoise.assignment.hashing import salt
from equipoise.assignment.switchback import Schedule
from equipoise.conduct.past.slots import PastSlots
from equipoise.conduct.rehearsal.run import DAY, Scenario
from equipoise.errors import UsageError
from equipoise.experiment.definition import Experiment
from equipoise.experiment.metric import Metric
from equipoise.experiment.switchback import Blocks, Switchback
from equipoise.measurement.rehearsed.drawn_slots import DrawnSlots
from equipoise.measurement.rehearsed.population import Crowd, Numbers
from equipoise.stats.estimate import NotEstimable

__all__ = ["SlotNoise", "TimeSlots", "assumed_slots", "slots_like", "whose_of"]


@dataclass(frozen=True, slots=True)
class SlotNoise:
    """How a metric varies from slot to slot: its mean and standard deviation, and two correlations.

    `in_block` is that of slots which are drawn together, `next` that of slots which follow each other.
    """

    mean: float
    spread: float
    in_block: float = 0.0
    next: float = 0.0


@dataclass(frozen=True)
class TimeSlots:
    """Slots of a switchback, of which each metric varies by its noise.

    A slot has so many `turns`, alike by `icc` (the intraclass correlation of a slot's turns; None where nobody knows, and
    nothing is said of turns then). An arm is at work for `carry_over` seconds after its slot.
    """

    experiment: Experiment
    noise: Mapping[str, SlotNoise]
    says: str
    turns: int = 1
    icc: float | None = None
    carry_over: float = 0.0
    left_out: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.turns < 1:
            raise UsageError(f"a slot has 1 turn or more, and this is {self.turns}")
        if self.icc is not None and not 0 <= self.icc < 1:
            raise UsageError(f"an intraclass correlation lies from 0 to below 1, and this is {self.icc:g}")
        for name, noise in self.noise.items():
            if not 0 <= noise.next < 1:
                raise UsageError(
                    f"slots that follow each other are alike from 0 to below 1, and in {name} this is {noise.next:g}"
                )
        if not 0 <= self.carry_over < self.experiment.unit.every:
            raise UsageError(
                f"an arm is carried over into the next slot, for less than its {self.experiment.unit.every:g} s, and this "
                f"is {self.carry_over:g} s"
            )

    def mean(self, metric: Metric) -> float:
        """What the metric comes to in a slot on average."""
        return self.noise[metric.name].mean

    def possible(self, metric: Metric, effect: float) -> float:  # noqa: ARG002 - slots have no bounds
        """Any effect: what slots come to has no bounds."""
        return effect

    @property
    def carried(self) -> float:
        """The share of what counts of a slot in which the arm of the slot before is still at work."""
        drawn = self.experiment.switchback
        washed = 0.0 if drawn is None else drawn.wash_out
        return max(0.0, self.carry_over - washed) / (self.experiment.unit.every - washed)

    def draw(self, size: int, per_day: float, scenario: Scenario, rng: np.random.Generator) -> DrawnSlots:
        """So many slots from a moment on when whole blocks begin, `per_day` of them a day, by a schedule drawn anew."""
        experiment, drawn = self.experiment, self.experiment.switchback
        assert drawn is not None
        whose = whose_of(experiment, per_day)
        shares = tuple(experiment.allocation.items())
        names, blocks = _calendar(drawn, shares, experiment.unit.every, size, whose)
        again = f"{salt(experiment.name, experiment.assignment_version)}/{rng.integers(2**63)}"
        schedule = Schedule(again, dict(shares), drawn, every=experiment.unit.every)
        arms = np.array([schedule.place(name.encode()) for name in names], dtype=np.int64)
        own = (arms == schedule.arms.index(scenario.arm)).astype(np.float64)
        before = np.concatenate((np.zeros(whose), own[:-whose]))[:size]
        acting = (1.0 - self.carried) * own + self.carried * before
        values = {
            name: noise.mean
            + noise.spread * _varied(noise, blocks, size, whose, rng)
            + scenario.effects.get(name, 0.0) * acting
            for name, noise in self.noise.items()
        }
        # Each value of `by` has blocks of its own.
        clusters = np.repeat(blocks, whose)[:size] * whose + np.arange(size) % whose
        known = tuple(metric for metric in experiment.metrics if metric.name in values)
        crowd = Crowd(size, values, clusters=clusters)
        return DrawnSlots(replace(experiment, metrics=known), names, crowd, arms)


def whose_of(experiment: Experiment, per_day: float) -> int:
    """How many slots there are at one time. UsageError where so many slots a day are no whole number of them."""
    of_one = DAY / experiment.unit.every
    by = None if experiment.switchback is None else experiment.switchback.by
    whose = round(per_day / of_one)
    if abs(per_day / of_one - whose) > 1e-6 or whose < 1 or (by is None and whose > 1):
        said = "the number of slots a day" if by is None else f"{of_one:g} a day for each value of {by}"
        raise UsageError(f"slots come {of_one:g} a day; --units-per-day is {said}, and this is {per_day:g}")
    return whose


@lru_cache(maxsize=4)
def _calendar(
    drawn: Switchback, shares: tuple[tuple[str, Fraction], ...], every: float, size: int, whose: int
) -> tuple[tuple[str, ...], NDArray[np.int64]]:
    """The names of slots in the order of time, and for each moment the number of its block, in the order of their first."""
    blocks = Blocks(drawn, dict(shares), every=every)
    since = blocks.begins(0.0)
    codes: dict[str, int] = {}
    names, found = [], []
    for moment in range(math.ceil(size / whose)):
        start = since + moment * blocks.every
        of_one = [str(start)] if drawn.by is None else [f"{start}/{number}" for number in range(whose)]
        names += of_one
        found.append(codes.setdefault(blocks.place(of_one[0]).block, len(codes)))
    return tuple(names[:size]), np.array(found, dtype=np.int64)


def _varied(
    noise: SlotNoise, blocks: NDArray[np.int64], size: int, whose: int, rng: np.random.Generator
) -> Numbers:
    """Deviations of slots, in units of their spread."""
    together = noise.in_block
    # Where neighbours share a block they are alike by that already.
    shared = float(np.mean(np.diff(blocks) == 0)) if blocks.size > 1 else 0.0
    own = noise.next if shared < 0.5 else max(0.0, noise.next - together) / (1.0 - together)
    common = _alike(int(blocks.max(initial=0)) + 1, whose, noise.next if shared < 0.5 else 0.0, rng)[blocks]
    alone = _alike(blocks.size, whose, own, rng)
    return (math.sqrt(together) * common + math.sqrt(1.0 - together) * alone).reshape(-1)[:size]


def _alike(size: int, whose: int, correlation: float, rng: np.random.Generator) -> Numbers:
    """Series side by side, of variance 1: autoregressions of order one, in which neighbours have this correlation."""
    steps = rng.normal(size=(size, whose))
    if not correlation:
        return steps
    steps[1:] *= math.sqrt(1.0 - correlation**2)
    found: Numbers = lfilter([1.0], [1.0, -correlation], steps, axis=0)
    return found


def assumed_slots(
    experiment: Experiment,
    *,
    autocorrelation: float = 0.0,
    turns: int = 1,
    icc: float | None = None,
    carry_over: float = 0.0,
) -> TimeSlots:
    """Slots by the definition's own numbers: `baseline`, `spread` and `expected_correlation` in a block."""
    drawn = experiment.switchback
    together = 0.0 if drawn is None or not drawn.balance else drawn.expected_correlation
    left_out = {metric.name: why for metric in experiment.metrics if (why := _lacks(metric)) is not None}
    noise = {
        metric.name: SlotNoise(metric.baseline or 0.0, metric.spread or 0.0, together, autocorrelation)
        for metric in experiment.metrics
        if metric.name not in left_out
    }
    alike = f", alike by {autocorrelation:g} from one to the next" if autocorrelation else ""
    says = f"slots drawn from the definition's own spreads{alike}{_lasting(carry_over)}"
    return TimeSlots(experiment, noise, says, turns, icc, carry_over, left_out)


def slots_like(
    experiment: Experiment, past: Mapping[str, PastSlots], *, carry_over: float = 0.0
) -> TimeSlots:
    """Slots that vary as past ones did: as much, as alike in a block and one after the other, with as many turns.

    UsageError where no metric is known of past slots.
    """
    if not past:
        raise UsageError(
            f"{experiment.identity} has no metric that is a `mean` over turns, and past slots tell nothing of others"
        )
    left_out: dict[str, str] = {}
    noise: dict[str, SlotNoise] = {}
    for metric in experiment.metrics:
        if (of := past.get(metric.name)) is None:
            left_out[metric.name] = (
                f"what a {metric.kind.replace('_', ' ')} of past slots was is not told by windows"
            )
        elif isinstance(of.mean, NotEstimable) or isinstance(of.spread, NotEstimable):
            left_out[metric.name] = next(
                each.reason for each in (of.mean, of.spread) if isinstance(each, NotEstimable)
            )
        else:
            noise[metric.name] = SlotNoise(of.mean, of.spread, _share(of.in_block), _share(of.next))
    of = past.get(experiment.primary.name) or next(iter(past.values()))
    notes = [
        f"past slots do not tell how alike slots are {where}, and they are drawn as if they were not: {each.reason}"
        for where, each in (("of a block", of.in_block), ("that follow each other", of.next))
        if isinstance(each, NotEstimable)
    ]
    return TimeSlots(
        experiment,
        noise,
        f"slots that vary as {of.slots:,} past slots of {of.arm} in the log did{_lasting(carry_over)}",
        max(1, round(of.turns)),
        None if isinstance(of.icc, NotEstimable) else of.icc,
        carry_over,
        left_out,
        tuple(notes),
    )


def _lasting(carry_over: float) -> str:
    return f", an arm at work for {span(carry_over)} after its slot" if carry_over else ""


def _share(correlation: float | NotEstimable) -> float:
    """A correlation that can be drawn: none where it is not known or below 0."""
    return 0.0 if isinstance(correlation, NotEstimable) else min(max(correlation, 0.0), 0.999)


def _lacks(metric: Metric) -> str | None:
    if metric.kind not in ("mean", "count"):
        return f"how a {metric.kind.replace('_', ' ')} of slots varies is not drawn"
    return "it has no `spread`" if metric.spread is None else None
