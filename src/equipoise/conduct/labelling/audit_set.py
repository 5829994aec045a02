"""The audit set of each week: so many of the turns that a judge was to read, drawn at random, for people to label.

A week is an ISO week (Monday to Sunday, UTC), a turn belongs to the day on which the log received it, and a day's part
of the week's ration is drawn when the day is over: what is left of the ration over the days that are left. What is
drawn follows from the log and the definition alone, whoever draws it, and with which probability is known.
"""

from __future__ import annotations

import heapq
import math
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date

from equipoise.conduct.judging.sampled import drawn
from equipoise.conduct.labelling.items import fraction_of
from equipoise.events.facts import Turn
from equipoise.experiment.definition import Experiment

__all__ = ["AuditSet", "Audited", "left_after", "part_of_day", "week_name", "week_of"]

_DAY_S = 86_400
_FIRST_MONDAY = -3
"""1970-01-01, day 0, was a Thursday."""
_SETTLES_S = 300.0
"""So long after midnight a day is taken for over: what was received before it is there by then, by any clock near it."""


def week_of(at: float) -> int:
    """The number of the ISO week, counted from the one of 1970-01-01, of a time in seconds since 1970 UTC.

    >>> week_of(0.0), week_of(4 * 86_400.0 - 1), week_of(4 * 86_400.0)
    (0, 0, 1)
    """
    return (math.floor(at / _DAY_S) - _FIRST_MONDAY) // 7


def week_name(week: int) -> str:
    """A week as ISO 8601 calls it.

    >>> week_name(0), week_name(2969)
    ('1970-W01', '2026-W48')
    """
    year, number, _ = date.fromordinal(date(1970, 1, 1).toordinal() + 7 * week + _FIRST_MONDAY).isocalendar()
    return f"{year}-W{number:02d}"


def part_of_day(left: int, days_left: int, turns: int, chance: float) -> int:
    """How many of a day's `turns` are drawn.

    `left` of the week's ration over `days_left` (this day is one of them) is due, rounded up or down by `chance`, a number
    in [0, 1) that knows nothing of the turns. A day with fewer turns gives them all, and leaves the rest to the days that
    follow.

    >>> part_of_day(50, 7, 100, 0.5), part_of_day(8, 1, 5, 0.5)
    (7, 5)
    >>> part_of_day(1, 2, 50, 0.4), part_of_day(1, 2, 50, 0.6)
    (1, 0)
    """
    due = left / days_left
    return min(turns, math.floor(due) + (chance < due - math.floor(due)))


def left_after(left: Mapping[int, float], days_left: int, turns: int) -> tuple[float, dict[int, float]]:
    """With which probability a day gives a turn or more, and what is left of the ration then, each with its probability.

    `left` is the same before the day: what `part_of_day` may have left, over all chances. Of a ration below seven a
    week's first days may take all there is, so that a turn of the last ones is drawn with a lower probability than what
    was left on its day tells.

    >>> left_after({1: 1.0}, 2, 50)
    (0.5, {1: 0.5, 0: 0.5})
    >>> left_after({1: 0.5, 0: 0.5}, 1, 50)
    (0.5, {0: 1.0})
    """
    none, leaves = 0.0, defaultdict[int, float](float)
    for number, probability in left.items():
        due = number / days_left
        up = due - math.floor(due)
        for part, share in ((math.floor(due), 1.0 - up), (math.floor(due) + 1, up)):
            if share:
                none += probability * share * (part == 0)
                leaves[number - min(turns, part)] += probability * share
    return 1.0 - none, dict(leaves)


@dataclass(frozen=True, slots=True)
class Audited:
    """A turn that was drawn for its week's set; `probability` is that of having been, among all turns there are."""

    turn: Turn
    week: int
    probability: float


@dataclass(slots=True)
class _Day:
    """How many turns a day had, and those of them that come first in a random order, last of these on top."""

    turns: int
    first: list[tuple[float, str, Turn, float]]


class AuditSet:
    """Hears turns in the order of the log, and draws each day's part of the week's ration once the day is over.

    Turns are those that the online judge drew to read, without such as failed or were left: nobody reads those.
    It holds as many turns of a day as the ration has, and no more.
    A purge takes a unit's turns from the log, and the next in the random order take their places; whoever is in a
    set stays there.
    """

    def __init__(self, experiment: Experiment, ration: int) -> None:
        self._experiment, self._ration = experiment, ration
        self._arms = {variant.name for variant in experiment.variants}
        self._salt = f"{experiment.digest}:audit"
        self._days: dict[int, _Day] = {}
        self._left: defaultdict[int, int] = defaultdict(lambda: ration)
        self._by_chance: defaultdict[int, dict[int, float]] = defaultdict(lambda: {ration: 1.0})
        self._over = -math.inf

    def hear(self, turn: Turn, received: float) -> bool:
        """A turn, and when the log received it (seconds since 1970 UTC); whether it may be drawn."""
        probability = drawn(turn, self._experiment)
        if probability is None or turn.trace is None or turn.variant not in self._arms:
            return False
        number = math.floor(received / _DAY_S)
        # The log's clock was put back by more than a day is allowed to settle: the set is not drawn anew.
        if turn.error or turn.cancelled or number <= self._over:
            return False
        day = self._days.setdefault(number, _Day(0, []))
        day.turns += 1
        place = -fraction_of(self._salt, turn.event_id)
        entry = (place, turn.event_id, turn, probability)
        if len(day.first) < self._ration:
            heapq.heappush(day.first, entry)
        else:
            heapq.heappushpop(day.first, entry)
        return True

    def is_drawn(self, received: float) -> bool:
        """Whether the part of the day of a time was drawn."""
        return math.floor(received / _DAY_S) <= self._over

    def close(self, now: float) -> Iterator[Audited]:
        """Draw the parts of the days that are over by now, the earliest first."""
        over = math.floor((now - _SETTLES_S) / _DAY_S) - 1
        for number in sorted(each for each in self._days if each <= over):
            day = self._days.pop(number)
            week, weekday = divmod(number - _FIRST_MONDAY, 7)
            chance = fraction_of(self._salt, "rounded", str(number))
            part = part_of_day(self._left[week], 7 - weekday, day.turns, chance)
            self._left[week] -= part
            some, self._by_chance[week] = left_after(self._by_chance[week], 7 - weekday, day.turns)
            for _, _, turn, judged in sorted(day.first, reverse=True)[:part]:
                # That the day gives any is part of the chance, and how many it gives is not: those stand for all of it.
                yield Audited(turn, week, judged * (some * part / day.turns))
        self._over = max(self._over, over)
