"""What rankers earn with each unit, and the tallies it comes to."""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import orjson

from equipoise.events.facts import Impression
from equipoise.experiment.definition import Experiment
from equipoise.measurement.parts import MOST_VALUES
from equipoise.measurement.tally import SegmentTallies, Tally, Won
from equipoise.stats.interleaving.credit import credit, winning_chances
from equipoise.stats.moments import PairMoments

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["Earnings"]


class Earnings:
    """Sums per unit, metric by metric; `places` has where each unit that counts stands.

    Of a proportion a query is won (1), lost or tied, in pairs of a treatment and control; of all else credit is added up.
    """

    def __init__(self, experiment: Experiment, units: Mapping[str, Mapping[str, object]]) -> None:
        self._experiment = experiment
        self._arms = [variant.name for variant in experiment.variants]
        self._treatments = self._arms[1:]
        self._attributes = list(units.values())
        self.places = {unit: place for place, unit in enumerate(units)}
        self.units = len(units)
        self.unripe = [0] * len(experiment.metrics)
        nothing = bytes(8 * self.units)
        self._queries = [array("d", nothing) for _ in experiment.metrics]
        self._credit = [{arm: array("d", nothing) for arm in self._arms} for _ in experiment.metrics]
        self._more = [{arm: array("d", nothing) for arm in self._treatments} for _ in experiment.metrics]
        self._lead = {arm: array("d", nothing) for arm in self._treatments}
        self._won = dict.fromkeys(self._treatments, 0.0)
        self._lost = dict.fromkeys(self._treatments, 0.0)
        self._codes, self.clusters = self._clustered(list(units))

    def _clustered(self, units: Sequence[str]) -> tuple[list[int], int | None]:
        """The number of each unit's cluster, and how many there are; None where units are not clustered."""
        cluster = self._experiment.cluster
        if cluster is None:
            return list(range(self.units)), None
        codes: dict[str, int] = {}
        found = []
        for unit, attributes in zip(units, self._attributes, strict=True):
            word = _word(attributes.get(cluster))
            found.append(codes.setdefault(f"unit {unit}" if word is None else word, len(codes)))
        return found, len(codes)

    def count(self, index: int, shown: Impression, earned: Mapping[int, float] | None) -> None:
        """Take in a list and what was earned at its places, for the metric of that number; None for an unripe one."""
        if earned is None:
            self.unripe[index] += 1
            return
        unit = self.places[shown.unit]
        self._queries[index][unit] += 1.0
        if not earned:
            return
        wins = self._experiment.metrics[index].kind == "proportion"
        if index == 0 or wins:
            clicked = [place for place, value in earned.items() if value]
            for arm in self._treatments:
                won, lost = winning_chances(
                    arm, "control", shown.teams, clicked, shares=shown.shares, ranks=shown.ranks
                )
                if index == 0:
                    self._won[arm] += won
                    self._lost[arm] += lost
                    self._lead[arm][unit] += won - lost
                if wins:
                    self._credit[index][arm][unit] += won
                    self._more[index][arm][unit] += won - lost
                    self._credit[index]["control"][unit] += lost
        if not wins:
            of = credit(self._arms, shown.teams, earned, shares=shown.shares, ranks=shown.ranks)
            for arm, each in of.items():
                self._credit[index][arm][unit] += each
            for arm in self._treatments:
                self._more[index][arm][unit] += of[arm] - of["control"]

    def earned(self, metric: str) -> dict[str, NDArray[np.float64]]:
        """What each arm earned with each unit, in the order of the units; of a proportion how many queries it won."""
        import numpy as np

        index = self._index(metric)
        return {arm: np.array(self._credit[index][arm]) for arm in self._arms}

    def tallies(self, metric: str) -> dict[str, Tally]:
        """A metric by arm."""
        return self._tallies(self._index(metric), None)

    def within(self, metric: str, attribute: str, value: str) -> dict[str, Tally]:
        """A metric by arm, of the units with a value of an attribute."""
        return self._tallies(
            self._index(metric), [_word(each.get(attribute)) == value for each in self._attributes]
        )

    def segment(self, attribute: str) -> SegmentTallies:
        """The primary by the most frequent values of an attribute; units of which it is not known are in no part."""
        words = Counter(word for each in self._attributes if (word := _word(each.get(attribute))) is not None)
        ordered = sorted(words, key=lambda word: (-words[word], word))
        primary = self._experiment.primary.name
        shown = {value: self.within(primary, attribute, value) for value in ordered[:MOST_VALUES]}
        return SegmentTallies(attribute, shown, len(ordered) - len(shown))

    def won(self, treatment: str) -> Won:
        """The primary's queries that a treatment won and lost, and the units."""
        lead = self._lead[treatment]
        return Won(
            self._won[treatment],
            self._lost[treatment],
            sum(each > 0.0 for each in lead),
            sum(each < 0.0 for each in lead),
        )

    def _index(self, metric: str) -> int:
        return [each.name for each in self._experiment.metrics].index(metric)

    def _tallies(self, index: int, among: Sequence[bool] | None) -> dict[str, Tally]:
        import numpy as np

        queries = np.frombuffer(self._queries[index]) if self.units else np.zeros(0)
        kept = queries > 0.0
        here = np.ones(self.units, dtype=bool) if among is None else np.asarray(among, dtype=bool)
        chosen = np.flatnonzero(kept & here)
        codes = np.unique(np.asarray(self._codes, dtype=np.int64)[chosen], return_inverse=True)[1]

        def summed(column: array[float]) -> NDArray[np.float64]:
            return np.bincount(codes, weights=np.frombuffer(column)[chosen]).astype(np.float64)

        units, waiting = int(chosen.size), int((here & ~kept).sum())
        asked = summed(self._queries[index]) if units else np.zeros(0)
        found = {}
        for arm in self._arms:
            # Of several treatments control wins other queries against each.
            none = self._experiment.metrics[index].kind == "proportion" and len(self._arms) > 2
            earned = None if none and arm == "control" else self._credit[index][arm]
            more = self._more[index].get(arm)
            found[arm] = Tally(
                units=units,
                missing=0,
                immature=waiting,
                pairs=None if earned is None or not units else PairMoments.of(summed(earned), asked),
                contrast=None if more is None or not units else PairMoments.of(summed(more), asked),
            )
        return found


def _word(value: object) -> str | None:
    """An attribute as text, as the other read-outs have it; None where it was not known."""
    if value is None or isinstance(value, str):
        return value
    return orjson.dumps(value).decode()
