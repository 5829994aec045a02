"""Searches that nobody made: lists drafted by the real scheme out of two rankings, and clicked by a model stated here.

A search is for one item. One ranker, the better one of this search, has it at a place, the other one further down; both
places are drawn at random among those of the list and the one below it, and all other items stand in the same order in both.
Somebody looks from the top: clicks what is wanted with a chance of 0.95 and leaves then with 0.9, clicks anything else with
0.05 and leaves then with 0.2. Those are the highest and the lowest grade of the "navigational" cascade of Hofmann, Schuth,
Whiteson & de Rijke (2013), Reusing Historical Interaction Data for Faster Online Learning to Rank for IR, WSDM.

In how many searches somebody clicks at all, and how often the treatment is the better ranker, follows from what the plan
assumes: its share of ties (or its spread), and the effect. So a rehearsal and a plan speak of the same world.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from random import Random

import numpy as np
from numpy.typing import NDArray

from equipoise.assignment.interleaving import alone, interleave
from equipoise.errors import UsageError
from equipoise.events.facts import Impression
from equipoise.experiment.definition import Experiment
from equipoise.experiment.interleaving import Interleaving
from equipoise.experiment.metric import Metric
from equipoise.measurement.lists.earning import Earnings
from equipoise.measurement.rehearsed.population import Numbers
from equipoise.measurement.rehearsed.shown import Shown

__all__ = ["AssumedSearches", "Drafted", "OwnLists"]

_LISTS = 10_000
"""So many lists are drafted and clicked; searches are drawn from them."""
_WANTED, _ELSE = (0.95, 0.9), (0.05, 0.2)
"""The chances of a click, and of leaving after it."""
_ITEM = "wanted"


@dataclass(frozen=True, slots=True)
class OwnLists:
    """What the same people do with a ranker's own list: a column of the worse ranker, and one of the better.

    `found` says whether what is wanted was clicked, `in_shared` the same of the list that both share. `clicks` are counted,
    `reciprocal` is one over the place of the first, 0 without one.
    """

    found: Numbers
    in_shared: Numbers
    clicks: Numbers
    reciprocal: Numbers


@dataclass(frozen=True, slots=True)
class Drafted:
    """Lists of both rankers: a row each, a column of the worse and one of the better ranker of the search."""

    credit: Mapping[str, Numbers]
    first: NDArray[np.int64]
    items: NDArray[np.int64]
    own: OwnLists

    def of(self, rows: NDArray[np.int64]) -> Drafted:
        """Some of them."""
        own = self.own
        return Drafted(
            {name: credit[rows] for name, credit in self.credit.items()},
            self.first[rows],
            self.items[rows],
            OwnLists(own.found[rows], own.in_shared[rows], own.clicks[rows], own.reciprocal[rows]),
        )


@dataclass(frozen=True, slots=True)
class _World:
    """How a metric comes about: the share of searches in which anybody earns, what a click earns, how far the better leads.

    `lead` is what the better ranker of a search earns more per query, `square` the mean square of that, and `decided` what a
    plan has in its place (of a proportion the share of searches with a winner), all of all searches.
    """

    share: float
    worth: float
    lead: float
    square: float
    decided: float


@dataclass(frozen=True)
class AssumedSearches:
    """Searches by the click model of this module, for an experiment with two rankers.

    Each unit makes `per_unit` of them, one after the other; with `icc` (the intraclass correlation, from 0 to below 1) those
    are alike in which ranker is better; in other metrics than the primary as far as that goes. Metrics are independent of
    one another. `drafted` are the lists that searches are drawn from (None: ten thousand, by the `seed`). UsageError for
    more rankers than two, or searches that are more alike than this model has it.
    """

    experiment: Experiment
    icc: float = 0.0
    per_unit: int = 1
    seed: int = 0
    drafted: Drafted | None = None

    def __post_init__(self) -> None:
        if len(self.experiment.variants) > 2:
            raise UsageError(
                f"a rehearsal drafts lists of two rankers, and {self.experiment.identity} has "
                f"{len(self.experiment.variants)}; `equipoise plan` sizes them, and a file with two of them can be rehearsed"
            )
        if not 0 <= self.icc < 1:
            raise UsageError(f"an intraclass correlation lies from 0 to below 1, and this is {self.icc:g}")
        if self.per_unit < 1:
            raise UsageError(f"a unit makes 1 search or more, and this is {self.per_unit}")
        primary = self.experiment.primary
        if not self.icc or primary.name in self.left_out or self.drafted is not None:
            return
        world = self._worlds[primary.name]
        if self.icc >= (most := world.lead**2 / world.square):
            raise UsageError(
                f"by this click model searches of one {self.experiment.unit.type} are alike by less than {most:.2g} in "
                f"{primary.name}, however much people differ, and this is {self.icc:g}"
            )

    @property
    def says(self) -> str:
        each = f", {self.per_unit} of each {self.experiment.unit.type}" if self.per_unit > 1 else ""
        alike = f" (icc {self.icc:g})" if self.icc else ""
        return f"searches for one item each, clicked from the top as a cascade has it{each}{alike}"

    @property
    def left_out(self) -> Mapping[str, str]:
        return {
            metric.name: why for metric in self.experiment.metrics if (why := self._lacks(metric)) is not None
        }

    @property
    def notes(self) -> Sequence[str]:
        found = []
        for metric in self._known:
            wanted, there = self._planned_square(metric), self._worlds[metric.name].decided
            if there < 0.99 * wanted:
                found.append(
                    f"by this click model {1 - there:.0%} of the searches have no winner even where everybody clicks, and "
                    f"the plan says {1 - wanted:.0%}"
                )
        if self.per_unit > 1 and not self.icc:
            found.append("searches of one person are drawn as if they were not alike; say --icc")
        return tuple(found)

    def mean(self, metric: Metric) -> float:  # noqa: ARG002 - of every metric it is what one ranker earns more
        return 0.0

    def possible(self, metric: Metric, effect: float) -> float:
        most = self._worlds[metric.name].lead
        return min(max(effect, -most), most)

    def parts(self, number: int) -> Iterator[AssumedSearches]:
        """The same without one of so many parts of its lists at a time: what comes out differs by the luck of the lists."""
        rows = np.arange(self._drafted.first.size)
        for part in range(number):
            yield replace(self, drafted=self._drafted.of(rows[rows % number != part]))

    @property
    def clicking(self) -> float:
        """The share of all searches in which somebody clicks, by the primary."""
        return self._worlds[self.experiment.primary.name].share

    @property
    def own(self) -> OwnLists:
        """What people do with lists of one ranker, in searches in which somebody clicks."""
        return self._drafted.own

    def better(self, effect: float) -> float:
        """In which share of the searches the treatment is the better ranker, where the primary's effect is this."""
        return 0.5 + 0.5 * effect / self._worlds[self.experiment.primary.name].lead

    def draw(self, size: int, effects: Mapping[str, float], rng: np.random.Generator) -> Shown:
        units = np.arange(size) // self.per_unit
        credit, first, items = {}, None, None
        for metric in self._known:
            world = self._worlds[metric.name]
            chance = self._chances(
                world, effects.get(metric.name, 0.0), int(units[-1]) + 1 if size else 0, rng
            )
            better = rng.random(size) < chance[units]
            rows = rng.integers(0, self._drafted.first.size, size)
            clicked = (rng.random(size) < world.share) * world.worth
            earned = self._drafted.credit[metric.name][rows] * clicked[:, None]
            credit[metric.name] = np.where(better[:, None], earned, earned[:, ::-1])
            if first is None:
                # Rankers of a list change places where the treatment is the worse one.
                of = self._drafted.first[rows]
                first = np.where(better | (of < 0), of, 1 - of)
                items = np.where(
                    better[:, None], self._drafted.items[rows], self._drafted.items[rows][:, ::-1]
                )
        assert first is not None
        assert items is not None
        return Shown(units, credit, first, items)

    def _chances(self, world: _World, effect: float, units: int, rng: np.random.Generator) -> Numbers:
        """For each unit how often the treatment is the better ranker in its searches."""
        middle = 0.5 + 0.5 * effect / world.lead
        if not self.icc or not 0 < middle < 1:
            return np.full(units, middle)
        # The differences of one unit's searches correlate by the icc where these chances vary by so much.
        variance = self.icc * (world.square - effect**2) / (4.0 * world.lead**2)
        spare = 1.0 / min(variance / (middle * (1.0 - middle)), 0.999) - 1.0
        return rng.beta(middle * spare, (1.0 - middle) * spare, size=units)

    @property
    def _known(self) -> list[Metric]:
        return [metric for metric in self.experiment.metrics if self._lacks(metric) is None]

    def _lacks(self, metric: Metric) -> str | None:
        if metric.kind == "proportion":
            known = self.experiment.interleaving is not None and self.experiment.interleaving.ties is not None
            return (
                None if known else "nobody said how many queries have no winner (`interleaving: {ties: …}`)"
            )
        return "it has no `spread`" if metric.spread is None else None

    def _planned_square(self, metric: Metric) -> float:
        """The mean square of what one ranker earns more in a query, as the plan has it where nothing differs."""
        design = self.experiment.interleaving
        if metric.kind != "proportion":
            return (metric.spread or 0.0) ** 2
        return 1.0 - (0.0 if design is None or design.ties is None else design.ties)

    @cached_property
    def _worlds(self) -> Mapping[str, _World]:
        return {metric.name: self._world(metric) for metric in self._known}

    def _world(self, metric: Metric) -> _World:
        worse, better = self._drafted.credit[metric.name].T
        lead, square = float(np.mean(better - worse)), float(np.mean((better - worse) ** 2))
        # Of a probabilistic list a query is partly won: ties are what is left.
        decided = float(np.mean(better + worse)) if metric.kind == "proportion" else square
        share = min(1.0, self._planned_square(metric) / decided)
        worth = 1.0
        if metric.kind != "proportion":
            worth = math.sqrt(self._planned_square(metric) / (share * square))
        return _World(
            share, worth, share * worth * lead, share * worth**2 * square, share * worth**2 * decided
        )

    @cached_property
    def _drafted(self) -> Drafted:
        return self.drafted or _drafted(self.experiment, Random(self.seed))  # noqa: S311 - nothing secret


def _drafted(experiment: Experiment, chance: Random) -> Drafted:
    design = experiment.interleaving or Interleaving()
    arms = [variant.name for variant in experiment.variants]
    earnings = Earnings(experiment, {str(number): {} for number in range(_LISTS)})
    first, items = np.full(_LISTS, -1, dtype=np.int64), np.zeros((_LISTS, 2), dtype=np.int64)
    found, clicks, reciprocal = (np.zeros((_LISTS, 2)) for _ in range(3))
    in_shared = np.zeros(_LISTS)
    for number in range(_LISTS):
        places = sorted(chance.sample(range(design.length + 1), 2), reverse=True)
        rankings = {arm: _ranking(design.length, place) for arm, place in zip(arms, places, strict=True)}
        made = interleave(rankings, chance, design)
        shown = Impression(
            experiment=experiment.name, happened=0.0, digest=experiment.digest, unit=str(number),
            unit_type=experiment.unit.type, query="search", scheme=design.scheme, items=made.items, teams=made.teams,
            short=made.short, shares=made.shares, ranks=made.ranks, event_id=str(number),
        )  # fmt: skip
        clicked = _clicked(made.items, chance)
        for index in range(len(experiment.metrics)):
            earnings.count(index, shown, dict.fromkeys(clicked, 1.0))
        begins = next((team for team in made.teams if team is not None), None)
        first[number] = -1 if begins is None else arms.index(begins)
        items[number] = [made.teams.count(arm) for arm in arms]
        in_shared[number] = any(made.items[place - 1] == _ITEM for place in clicked)
        for column, arm in enumerate(arms):
            own = alone(arm, rankings[arm], design.length).items
            clicked = _clicked(own, chance)
            found[number, column] = any(own[place - 1] == _ITEM for place in clicked)
            clicks[number, column] = len(clicked)
            reciprocal[number, column] = 1.0 / clicked[0] if clicked else 0.0
    credit = {
        metric.name: np.column_stack([earnings.earned(metric.name)[arm] for arm in arms])
        for metric in experiment.metrics
    }
    return Drafted(credit, first, items, OwnLists(found, in_shared, clicks, reciprocal))


def _ranking(length: int, place: int) -> list[str]:
    """So many other items in their order, and what is wanted among them."""
    others = [f"item-{number}" for number in range(1, length + 1)]
    return [*others[:place], _ITEM, *others[place:]]


def _clicked(items: Sequence[str], chance: Random) -> list[int]:
    """The places, from 1, that somebody clicks who looks from the top."""
    found = []
    for place, item in enumerate(items, start=1):
        clicks, leaves = _WANTED if item == _ITEM else _ELSE
        if chance.random() < clicks:
            found.append(place)
            if chance.random() < leaves:
                break
    return found
