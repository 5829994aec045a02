"""The schedule of a switchback: which arm a time slot gets, told by the slot's name alone.

A slot is named by its start, in whole seconds since 1970 UTC, and where the experiment says `by:`, by the value that has
slots of its own: `1767225600/eu`. Slots are drawn in blocks. A block holds every arm as often as allocated, in an order
that a hash decides: each order is as likely as any other, so each slot has its share as its probability, and blocks are
independent of one another. Nothing is stored, and every process agrees.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from hashlib import sha256
from itertools import accumulate

from equipoise.assignment.hashing import prefix, salt
from equipoise.assignment.splitting import Splitter, threshold
from equipoise.errors import UsageError
from equipoise.experiment.audience import slot_name, unit_name
from equipoise.experiment.definition import Experiment
from equipoise.experiment.switchback import Switchback, block_size

__all__ = ["Place", "Schedule", "schedule_of", "slot_now", "slot_of"]

_DAY = 86_400
_WEEK = 7 * _DAY
_MONDAY = 4 * _DAY
"""The first Monday of the calendar of seconds: 5 January 1970."""
_NAME = re.compile(r"(-?[0-9]{1,12})(?:/(.+))?", re.DOTALL | re.ASCII)
_REMEMBERED = 512


def slot_of(unit: str) -> tuple[int, str | None]:
    """A slot's start, in seconds since 1970 UTC, and whose it is. UsageError for what names no slot.

    >>> slot_of("1767225600/eu"), slot_of("7200")
    ((1767225600, 'eu'), (7200, None))
    """
    found = _NAME.fullmatch(unit)
    if found is None:
        raise UsageError(
            f"a slot is named by the second it begins, such as 1767225600 or 1767225600/eu, and this is {unit!r}"
        )
    return int(found[1]), found[2]


def slot_now(experiment: Experiment, attributes: Mapping[str, object], now: float) -> str | None:
    """The slot of a moment; None where the experiment has slots `by:` an attribute and nobody says its value."""
    start = slot_name(now, experiment.unit.every)
    by = None if experiment.switchback is None else experiment.switchback.by
    if by is None:
        return start
    whose = unit_name(attributes.get(by))
    return None if whose is None else unit_name(f"{start}/{whose}")


@dataclass(frozen=True, slots=True)
class Place:
    """Where a slot stands: in the block of this name (whose it is left out), the how manieth, of how many."""

    block: str
    position: int
    size: int


class Schedule:
    """Which arm every slot gets, for one salt, one allocation and one coverage.

    Arms stand with control first and the others by name, as in a `Splitter`, whose questions it answers. A block is
    covered or not as a whole, by a label of its own: raising the coverage takes in more blocks and moves none.

    >>> schedule = Schedule("demo/1", {"control": Fraction(1, 2), "treatment": Fraction(1, 2)}, Switchback(), every=3600)
    >>> week = 7 * 24 * 3600                                    # 5 January 1970, 10 o'clock, and a week later
    >>> [schedule.arm(str(4 * 24 * 3600 + 10 * 3600 + n * week)) for n in range(4)]
    ['control', 'treatment', 'control', 'treatment']
    """

    def __init__(
        self,
        salt: str,
        shares: Mapping[str, Fraction],
        switchback: Switchback,
        *,
        every: float,
        coverage: Fraction = Fraction(1),
    ) -> None:
        splitter = Splitter(salt, shares, coverage)
        self.arms = splitter.arms
        self._every, self._balance = int(every), frozenset(switchback.balance)
        self._by = switchback.by is not None
        in_block = _DAY // self._every if self._balance == {"weekday"} else block_size(shares.values())
        counts = [shares[arm] * in_block for arm in self.arms]
        if any(count.denominator != 1 for count in counts):
            raise UsageError(
                f"{in_block} slots cannot be shared out as {', '.join(str(shares[arm]) for arm in self.arms)}"
            )
        self._size = in_block
        # The arm of the slot that comes so manieth in the order of its block.
        self._ends = tuple(accumulate(int(count) for count in counts))
        self._before, self._before_coverage = prefix("slot", salt), splitter.before_coverage
        self._covered = threshold(coverage)
        self._splitter = splitter
        self._orders: dict[str, tuple[int, ...]] = {}

    def stands(self, start: int) -> Place:
        """Where the slot that begins then stands in its block.

        >>> halves = {"control": Fraction(1, 2), "treatment": Fraction(1, 2)}
        >>> Schedule("demo/1", halves, Switchback(balance=("hour",)), every=3600).stands(90_000)
        Place(block='h3600.0', position=1, size=2)
        """
        if start % self._every:
            raise UsageError(f"no slot of {self._every} s begins {start} seconds after 1970")
        if self._balance == {"weekday"}:
            day, left = divmod(start, _DAY)
            return Place(f"d{day}", left // self._every, self._size)
        if not self._balance:
            return Place(f"s{start}", 0, 1)
        letter, span, since = (
            ("w", _WEEK, start - _MONDAY) if "weekday" in self._balance else ("h", _DAY, start)
        )
        turn, left = divmod(since, span)
        return Place(f"{letter}{left}.{turn // self._size}", turn % self._size, self._size)

    def block(self, unit: str) -> str:
        """The name of a slot's block: two slots of one name were drawn together, and share out the arms."""
        start, whose = slot_of(unit)
        place = self.stands(start)
        return place.block if whose is None else f"{place.block}/{whose}"

    def place(self, name: bytes) -> int:
        """Where among `arms` a slot falls, its name in UTF-8; -1 where its block is not covered."""
        start, whose = slot_of(name.decode())
        if (whose is None) is self._by:
            raise UsageError(
                f"slots of this experiment have {'a' if self._by else 'no'} name beside their start, "
                f"and this is {name.decode()!r}"
            )
        stands = self.stands(start)
        key = stands.block if whose is None else f"{stands.block}/{whose}"
        if (
            self._covered is not None
            and sha256(self._before_coverage + key.encode()).digest() >= self._covered
        ):
            return -1
        if not self._balance:
            return bisect_right(self._splitter.cuts, sha256(self._splitter.before + name).digest())
        return bisect_right(self._ends, self._order(key)[stands.position])

    def arm(self, unit: str) -> str | None:
        """The arm of a slot; None where its block is not covered. UsageError for what names no slot."""
        place = self.place(unit.encode())
        return None if place < 0 else self.arms[place]

    def _order(self, key: str) -> tuple[int, ...]:
        """The rank of each slot of a block: its slots in the order of their hashes."""
        order = self._orders.get(key)
        if order is None:
            hashed = [sha256(self._before + f"{at}\0{key}".encode()).digest() for at in range(self._size)]
            ranks = {digest: rank for rank, digest in enumerate(sorted(hashed))}
            order = tuple(ranks[digest] for digest in hashed)
            if len(self._orders) >= _REMEMBERED:
                self._orders.clear()
            self._orders[key] = order
        return order


def schedule_of(
    experiment: Experiment,
    *,
    shares: Mapping[str, Fraction] | None = None,
    coverage: Fraction = Fraction(1),
) -> Schedule:
    """The schedule of an experiment, of its own allocation where no `shares` are given. UsageError for another method."""
    if experiment.switchback is None:
        raise UsageError(f"{experiment.identity} is no switchback, and has no schedule")
    return Schedule(
        salt(experiment.name, experiment.assignment_version),
        experiment.allocation if shares is None else shares,
        experiment.switchback,
        every=experiment.unit.every,
        coverage=coverage,
    )
