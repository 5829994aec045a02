"""Lists that were shown in a rehearsal, measured as of any moment: what measuring a record of them would have given then."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from equipoise.experiment.definition import Experiment
from equipoise.measurement.rehearsed.drawn import RunningSums
from equipoise.measurement.rehearsed.population import Numbers
from equipoise.measurement.tally import Lists, Measurement, Tally, Won
from equipoise.stats.moments import PairMoments

__all__ = ["DrawnLists", "Shown"]


@dataclass(frozen=True)
class Shown:
    """Lists of two rankers in the order in which they were shown: a row each, a column of control and one of the treatment.

    `units` numbers whose each is, from 0. `credit` is by metric what each ranker earned, of a proportion the chance that it
    won; `first` is the ranker of the first item that counts (0, 1, or −1 for nobody), `items` how many items each gave.
    """

    units: NDArray[np.int64]
    credit: Mapping[str, Numbers]
    first: NDArray[np.int64]
    items: NDArray[np.int64]

    @property
    def size(self) -> int:
        return int(self.units.size)


@dataclass
class DrawnLists:
    """Lists that were shown, of an experiment with two rankers; a query is one of them."""

    experiment: Experiment
    shown: Shown
    _items: NDArray[np.int64] = field(init=False)
    _apart: bool = field(init=False)
    _sums: dict[tuple[str, int], RunningSums] = field(init=False, default_factory=dict)

    def __post_init__(self) -> None:
        self._items = np.vstack([np.zeros((1, 2), dtype=np.int64), np.cumsum(self.shown.items, axis=0)])
        # Where nobody asks twice a unit is a query, and sums can run.
        self._apart = bool((np.diff(self.shown.units) > 0).all())
        if self._apart:
            for name, credit in self.shown.credit.items():
                for place, values in enumerate((credit[:, 0], credit[:, 1], credit[:, 1] - credit[:, 0])):
                    self._sums[name, place] = RunningSums.of(values, None)

    def served(self, units: int) -> tuple[int, ...]:
        """How many items each ranker has in the first so many lists."""
        return tuple(int(n) for n in self._items[min(units, self.shown.size)])

    def at(self, exposed: int, mature: Mapping[str, int], time: float) -> Measurement:
        """The measurement when the first `exposed` lists count, and of a metric those before `mature`.

        `time` is in seconds since the first of them was shown.
        """
        exposed = min(exposed, self.shown.size)
        control, treatment = (variant.name for variant in self.experiment.variants)
        ripe = {metric.name: min(exposed, mature[metric.name]) for metric in self.experiment.metrics}
        seen = self._units(exposed)
        first = np.bincount(self.shown.first[:exposed] + 1, minlength=3)
        primary = self.experiment.primary.name
        return Measurement(
            source="a rehearsal",
            rows=exposed,
            units={control: seen, treatment: seen},
            crossed=0,
            kept=True,
            rows_without_unit=0,
            clusters=None,
            first=0.0,
            last=time,
            tallies={name: self._tallies(name, n, seen) for name, n in ripe.items()},
            lists=Lists(
                shown=exposed,
                units=seen,
                first={control: int(first[1]), treatment: int(first[2])},
                short={control: 0, treatment: 0},
                again=0,
                strange=0,
                whole=0,
                unripe={
                    metric.name: exposed - ripe[metric.name]
                    for metric in self.experiment.metrics
                    if metric.window is not None
                },
                won={treatment: self._won(primary, ripe[primary])},
            ),
        )

    def _units(self, queries: int) -> int:
        return queries if self._apart else int(np.unique(self.shown.units[:queries]).size)

    def _tallies(self, metric: str, queries: int, seen: int) -> dict[str, Tally]:
        control, treatment = (variant.name for variant in self.experiment.variants)
        if self._apart:
            earned = [_of_single(self._sums[metric, place], queries) for place in range(3)]
        else:
            credit, units = self.shown.credit[metric][:queries], self.shown.units[:queries]
            asked = np.bincount(units)
            kept = asked > 0
            columns = (credit[:, 0], credit[:, 1], credit[:, 1] - credit[:, 0])
            earned = [PairMoments.of(np.bincount(units, each)[kept], asked[kept]) for each in columns]
        ripe = earned[2].n
        told = [each if ripe else None for each in earned]
        waiting = seen - ripe
        return {
            control: Tally(units=ripe, missing=0, immature=waiting, pairs=told[0]),
            treatment: Tally(units=ripe, missing=0, immature=waiting, pairs=told[1], contrast=told[2]),
        }

    def _won(self, metric: str, queries: int) -> Won:
        credit, units = self.shown.credit[metric][:queries], self.shown.units[:queries]
        more = credit[:, 1] - credit[:, 0]
        if self.experiment.metric(metric).kind == "proportion":
            wins, losses = float(credit[:, 1].sum()), float(credit[:, 0].sum())
        else:
            wins, losses = float((more > 0).sum()), float((more < 0).sum())
        lead = more if self._apart else np.bincount(units, more)
        return Won(wins, losses, int((lead > 0).sum()), int((lead < 0).sum()))


def _of_single(sums: RunningSums, queries: int) -> PairMoments:
    """The pairs of units with one query each."""
    moments = sums.moments(queries)
    return (
        PairMoments(moments.n, moments.mean, 1.0, moments.m2, 0.0, 0.0) if moments.n else PairMoments.zero()
    )
