"""Searches that people made: the lists of a log and the clicks on them, drawn again person by person."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from equipoise.errors import DataError
from equipoise.events.log import EventLog
from equipoise.experiment.definition import Experiment
from equipoise.experiment.interleaving import Interleaving
from equipoise.experiment.metric import Metric
from equipoise.measurement.lists.earning import Earnings
from equipoise.measurement.lists.reading import (
    ListReading,
    came_in,
    clicks_on,
    dated,
    earned_in,
    impression_of,
)
from equipoise.measurement.rehearsed.population import Numbers, whole_clusters
from equipoise.measurement.rehearsed.shown import Shown

__all__ = ["PastSearches", "past_searches_of_log"]

_Number = TypeVar("_Number", bound=np.generic)
_FEW = 100
"""Past units fewer than these are said to be few."""


@dataclass(frozen=True)
class PastSearches:
    """Lists that were shown, with what both rankers earned; those of one unit stand together.

    A draw takes units with all their lists. Which ranker is the treatment is a coin for each unit, so that nobody is better
    where nothing is planted; an effect is planted in that so many of the lists which control won count for the treatment
    (or the other way round).
    """

    lists: Shown
    says: str
    left_out: Mapping[str, str] = field(default_factory=dict)
    drafted_otherwise: str | None = None

    @property
    def notes(self) -> Sequence[str]:
        found = []
        if self.drafted_otherwise is not None:
            found.append(self.drafted_otherwise)
        if (units := int(self.lists.units[-1]) + 1) < _FEW:
            found.append(f"{units} past units hardly show how units differ")
        return tuple(found)

    def mean(self, metric: Metric) -> float:  # noqa: ARG002 - of every metric it is what one ranker earns more
        return 0.0

    def possible(self, metric: Metric, effect: float) -> float:
        most = self._apart(metric.name)
        return min(max(effect, -most), most)

    def draw(self, size: int, effects: Mapping[str, float], rng: np.random.Generator) -> Shown:
        rows, units = whole_clusters(self.lists.units, size, rng)
        turned = (rng.random(int(units.max(initial=0)) + 1) < 0.5)[units]
        credit = {
            name: _planted(_turned(earned[rows], turned), effects.get(name, 0.0), self._apart(name), rng)
            for name, earned in self.lists.credit.items()
        }
        first = self.lists.first[rows]
        first = np.where(turned & (first >= 0), 1 - first, first)
        return Shown(units, credit, first, _turned(self.lists.items[rows], turned))

    def _apart(self, metric: str) -> float:
        """How far the rankers are apart in a list, whoever leads; on average."""
        credit = self.lists.credit[metric]
        return float(np.mean(np.abs(credit[:, 1] - credit[:, 0])))


def _turned(columns: NDArray[_Number], turned: NDArray[np.bool_]) -> NDArray[_Number]:
    return np.where(turned[:, None], columns[:, ::-1], columns)


def _planted(earned: Numbers, effect: float, apart: float, rng: np.random.Generator) -> Numbers:
    if not effect:
        return earned
    behind = np.sign(effect) * (earned[:, 1] - earned[:, 0]) < 0
    return _turned(earned, behind & (rng.random(behind.size) < abs(effect) / apart))


def past_searches_of_log(experiment: Experiment, log: EventLog, like: Experiment) -> PastSearches:
    """The lists that were shown in a log for the definition `like`, by the metrics of another one.

    Lists count that are older than every metric's window. DataError where fewer than two units have any, or where they were
    not of two rankers; RecordError for a damaged fact.
    """
    if len(like.variants) != 2:
        raise DataError(
            f"a rehearsal draws lists of two rankers, and those of {like.identity} have {len(like.variants)}"
        )
    counted = replace(experiment, name=like.name, digest=like.digest, variants=like.variants)
    reading = ListReading(counted, log, log.head())
    came, fence, last = came_in(reading)
    clicks, _, latest = clicks_on(reading, {metric.of.name for metric in experiment.metrics}, fence)
    ends = max(last, latest) if reading.received is None else min(max(last, latest), reading.received)
    codes = {unit: code for code, unit in enumerate(came)}
    most = reading.read["impression"]
    earnings = Earnings(counted, {str(number): {} for number in range(most)})
    arms = [variant.name for variant in like.variants]
    units: list[int] = []
    first, items = np.full(most, -1, dtype=np.int64), np.zeros((most, 2), dtype=np.int64)
    seen: set[tuple[str, str]] = set()
    for position, happened, received, body in reading.bodies("impression"):
        fact = impression_of(reading, position, happened, body)
        if fact is None or (fact.unit, fact.query) in seen:
            continue
        seen.add((fact.unit, fact.query))
        at, told = dated(happened, received, fence), clicks.pop((fact.unit, fact.query), ())
        places = {item: place for place, item in enumerate(fact.items, start=1)}
        earned = [earned_in(metric, at, ends, places, told) for metric in experiment.metrics]
        if None in earned:
            continue
        number = len(units)
        units.append(codes[fact.unit])
        for index, each in enumerate(earned):
            earnings.count(index, replace(fact, unit=str(number)), each)
        begins = next((team for team in fact.teams if team is not None), None)
        first[number] = -1 if begins is None else arms.index(begins)
        items[number] = [sum(team == arm for team in fact.teams) for arm in arms]
    whose = np.unique(np.array(units, dtype=np.int64), return_inverse=True)[1]
    if len(set(units)) < 2:
        raise DataError(
            f"the log has lists of {len(set(units))} units of {like.identity} that are older than every metric's window; a "
            "rehearsal draws from 2 or more"
        )
    order = np.argsort(whose, kind="stable")
    credit = {
        metric.name: np.column_stack([earnings.earned(metric.name)[arm][order] for arm in arms])
        for metric in experiment.metrics
    }
    left_out = {
        name: "no ranker earned more than the other in any past list"
        for name, earned in credit.items()
        if (earned[:, 0] == earned[:, 1]).all()
    }
    return PastSearches(
        Shown(
            whose[order],
            {name: of for name, of in credit.items() if name not in left_out},
            first[order],
            items[order],
        ),
        f"{len(units):,} past lists of {len(set(units)):,} units in the log, drawn again unit by unit",
        left_out,
        _otherwise(experiment, like),
    )


def _otherwise(experiment: Experiment, like: Experiment) -> str | None:
    mine, theirs = (replace(each.interleaving or Interleaving(), ties=None) for each in (experiment, like))
    if mine == theirs:
        return None
    return f"past lists were drafted as {like.identity} says (`{theirs.scheme}` of {theirs.length}), and not as here"
