"""Facts folded into cells: what was counted of one quantity in one arm in one minute. Cells add.

Whole numbers throughout, so that no order and no grouping of the facts changes anything, not even the last digit.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, MutableMapping
from dataclasses import dataclass, field

import orjson

from equipoise.events.facts import Exposure, Fact, Outcome, Score, Turn
from equipoise.events.log import Recorded
from equipoise.events.windows import CellKey, Member
from equipoise.experiment.definition import Experiment
from equipoise.measurement.counted import enrolled, number, turn_number
from equipoise.measurement.guardrails.buckets import bucket

__all__ = ["AHEAD_S", "GRACE_S", "KINDS", "MINUTE_S", "ONE", "TURNS", "Cell", "Counting", "unit_of"]

MINUTE_S = 60
GRACE_S = 10.0
"""So many seconds after its end a minute is closed: a fact that arrives later is late."""
KINDS = ("exposure", "turn", "outcome", "score")
"""The kinds of fact that are folded."""
TURNS = "turn"
"""The quantity of every turn that counts: how many there were, whatever was measured of them."""
AHEAD_S = 300.0
"""A fact that is said to have happened so many seconds after it arrived, or more, did not happen then."""
_SCALE = 60
ONE = 1 << _SCALE
"""What 1 is in a cell's total."""


@dataclass(frozen=True, slots=True)
class Cell:
    """What was counted: `n` numbers, their `total` in units of 2^-60, how many of them were `late`, their buckets.

    The total is exact for numbers from 0.004 on; below, each is rounded to 2^-60 (8.7e-19). Only the quantities of
    quantiles have `buckets`.

    >>> Cell.of([0.25, 0.5]) + Cell.of([1.0], late=1)
    Cell(n=3, total=2017612633061982208, late=1, buckets=Counter())
    >>> (Cell.of([0.25, 0.5]) + Cell.of([1.0])).sum
    1.75
    """

    n: int = 0
    total: int = 0
    late: int = 0
    buckets: Mapping[int, int] = field(default_factory=dict)

    @classmethod
    def of(cls, values: Iterable[float], *, late: int = 0, bucketed: bool = False) -> Cell:
        """The cell of some finite numbers, `late` of them late."""
        some = list(values)
        total = sum(_scaled(value) for value in some)
        return cls(len(some), total, late, Counter(map(bucket, some)) if bucketed else {})

    @classmethod
    def together(cls, cells: Iterable[Cell]) -> Cell:
        """The cell of all that was counted in some cells; of none the empty one."""
        n = total = late = 0
        buckets: Counter[int] = Counter()
        for cell in cells:
            n, total, late = n + cell.n, total + cell.total, late + cell.late
            buckets.update(cell.buckets)
        return cls(n, total, late, buckets)

    def __add__(self, other: Cell) -> Cell:
        return Cell.together((self, other))

    @property
    def sum(self) -> float:
        """The total as a number, infinite where no double holds it."""
        try:
            return self.total / ONE
        except OverflowError:
            return math.copysign(math.inf, self.total)

    def encode(self) -> str:
        """The cell as text: JSON, its total in hexadecimal, its buckets in order, each as the step from the one before.

        >>> Cell.decode(Cell.of([0.25, 3.0], bucketed=True).encode()) == Cell.of([0.25, 3.0], bucketed=True)
        True
        """
        flat, before = [], 0
        for key, count in sorted(self.buckets.items()):
            flat += [key - before, count]
            before = key
        return orjson.dumps([self.n, f"{self.total:x}", self.late, flat]).decode()

    @classmethod
    def decode(cls, text: str) -> Cell:
        """The cell that was encoded."""
        n, total, late, flat = orjson.loads(text)
        buckets, key = {}, 0
        for step, count in zip(flat[::2], flat[1::2], strict=True):
            key += step
            buckets[key] = count
        return cls(n, int(total, 16), late, buckets)


def _scaled(value: float) -> int:
    # From 2^53 on every double is whole, and one of 2^970 could not be scaled as a double.
    return round(math.ldexp(value, _SCALE)) if abs(value) < 2.0**53 else int(value) << _SCALE


def unit_of(fact: Fact) -> str | None:
    """Whose fact it is; None for one of nobody."""
    return fact.unit if isinstance(fact, Exposure | Turn | Outcome | Score) else None


class Counting:
    """How the facts of an experiment become cells: who counts is as in the read-out (`record`).

    A unit's arm is that of its first exposure in the log's order, and what happened from that exposure on counts
    (intention to treat). Set aside, by reason, are turns outside the experiment (`unenrolled`), values of nobody
    exposed (`orphans`) and of before (`early`), exposures to an arm that is not declared (`strangers`), and what is
    said to have happened more than five minutes after it arrived (`ahead`): no wrong clock opens a minute to come.
    Attribution windows, burn-in and cycles are a read-out's: here counts what happened in a minute, whosever.
    Quantities of quantiles are kept in buckets, all of them where `bucketed` asks for that.
    """

    def __init__(self, experiment: Experiment, *, bucketed: bool = False) -> None:
        self._digest = experiment.digest
        self._arms = frozenset(variant.name for variant in experiment.variants)
        wanted = dict.fromkeys(quantity for metric in experiment.metrics for quantity in metric.quantities)
        self._bucketed = {
            str(each)
            for metric in experiment.metrics
            for each in metric.quantities
            if bucketed or metric.kind == "quantile"
        }
        self._turn: list[tuple[str, Callable[[Turn], float | None]]] = [
            (str(each), turn_number(each.name)) for each in wanted if each.stream == "turn"
        ]
        self._valued: dict[tuple[str, str], str] = {
            (each.stream, each.name): str(each) for each in wanted if each.stream != "turn"
        }

    def fold(
        self, records: Iterable[Recorded], members: MutableMapping[str, Member], *, since: int | None = None
    ) -> tuple[dict[CellKey, Cell], dict[str, int]]:
        """The cells of some facts, and what was set aside.

        `members` holds whoever of their units was exposed before; who is exposed among them is put in. Facts of before
        the minute `since` are `forgotten`: the cells of then are gone, and one with the latecomers alone would mislead.
        """
        groups: dict[tuple[int, str, bool], defaultdict[str, list[float]]] = {}
        aside: Counter[str] = Counter()
        for record in records:
            fact = record.fact
            if isinstance(fact, Exposure):
                self._enter(fact, members, aside)
                continue
            if isinstance(fact, Turn) and not enrolled(fact):
                aside["unenrolled"] += 1
                continue
            unit = unit_of(fact)
            if unit is None or not self._asked(fact):
                continue
            member = members.get(unit)
            if member is None or fact.happened < member.since:
                aside["orphans" if member is None else "early"] += 1
                continue
            if fact.happened > record.received + AHEAD_S:
                aside["ahead"] += 1
                continue
            minute = int(fact.happened // MINUTE_S)
            if since is not None and minute < since:
                aside["forgotten"] += 1
                continue
            late = record.received >= (minute + 1) * MINUTE_S + GRACE_S
            group = groups.get((minute, member.arm, late))
            if group is None:
                group = groups[minute, member.arm, late] = defaultdict(list)
            self._read(fact, group)
        cells: dict[CellKey, Cell] = {}
        for (minute, arm, late), values in groups.items():
            for name, some in values.items():
                cell = Cell.of(some, late=len(some) if late else 0, bucketed=name in self._bucketed)
                key = CellKey(minute, arm, name)
                cells[key] = cells[key] + cell if key in cells else cell
        return cells, dict(aside)

    def _enter(self, fact: Exposure, members: MutableMapping[str, Member], aside: Counter[str]) -> None:
        if fact.digest != self._digest:
            return
        if fact.variant not in self._arms:
            aside["strangers"] += 1
            return
        member = members.get(fact.unit)
        if member is None:
            members[fact.unit] = Member(fact.variant, fact.happened)
        elif fact.happened < member.since:
            members[fact.unit] = member._replace(since=fact.happened)

    def _asked(self, fact: Fact) -> bool:
        """Whether a metric, or a count of turns, asks for such a fact."""
        return isinstance(fact, Turn) or (
            isinstance(fact, Outcome | Score)
            and (fact.kind, fact.name) in self._valued
            and number(fact.value) is not None
        )

    def _read(self, fact: Fact, values: defaultdict[str, list[float]]) -> None:
        """The numbers that a fact has of the quantities."""
        if isinstance(fact, Turn):
            values[TURNS].append(1.0)
            for name, read in self._turn:
                if (value := read(fact)) is not None:
                    values[name].append(value)
        elif isinstance(fact, Outcome | Score) and (value := number(fact.value)) is not None:
            values[self._valued[fact.kind, fact.name]].append(value)
