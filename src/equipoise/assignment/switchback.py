"""The schedule of a switchback: which arm a time slot gets, told by the slot's name alone.

A slot is named by its start, in whole seconds since 1970 UTC, and where the experiment says `by:`, by the value that has
slots of its own: `1767225600/eu`. Slots are drawn in blocks. A block holds every arm as often as allocated, in an order
that a hash decides: each order is as likely as any other, so each slot has its share as its probability, and blocks are
independent of one another. Nothing is stored, and every process agrees.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping
from fractions import Fraction
from hashlib import sha256
from itertools import accumulate

from equipoise.assignment.hashing import prefix, salt
from equipoise.assignment.splitting import Splitter, threshold
from equipoise.errors import UsageError
from equipoise.experiment.audience import slot_name, unit_name
from equipoise.experiment.definition import Experiment
from equipoise.experiment.switchback import Blocks, Switchback

__all__ = ["Schedule", "schedule_of", "slot_now"]

_REMEMBERED = 512


def slot_now(experiment: Experiment, attributes: Mapping[str, object], now: float) -> str | None:
    """The slot of a moment; None where the experiment has slots `by:` an attribute and nobody says its value."""
    start = slot_name(now, experiment.unit.every)
    by = None if experiment.switchback is None else experiment.switchback.by
    if by is None:
        return start
    whose = unit_name(attributes.get(by))
    return None if whose is None else unit_name(f"{start}/{whose}")


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
        self.blocks = Blocks(switchback, shares, every=every)
        # The arm of the slot that comes so manieth in the order of its block.
        self._ends = tuple(accumulate(int(shares[arm] * self.blocks.size) for arm in self.arms))
        self._before, self._before_coverage = prefix("slot", salt), splitter.before_coverage
        self._covered = threshold(coverage)
        self._alone = None if switchback.balance else splitter
        self._orders: dict[str, tuple[int, ...]] = {}

    def place(self, name: bytes) -> int:
        """Where among `arms` a slot falls, its name in UTF-8; -1 where its block is not covered."""
        stands = self.blocks.place(name.decode())
        key = stands.block.encode()
        if self._covered is not None and sha256(self._before_coverage + key).digest() >= self._covered:
            return -1
        if self._alone is not None:
            return bisect_right(self._alone.cuts, sha256(self._alone.before + name).digest())
        return bisect_right(self._ends, self._order(stands.block)[stands.position])

    def arm(self, unit: str) -> str | None:
        """The arm of a slot; None where its block is not covered. UsageError for what names no slot."""
        place = self.place(unit.encode())
        return None if place < 0 else self.arms[place]

    def _order(self, key: str) -> tuple[int, ...]:
        """The rank of each slot of a block: its slots in the order of their hashes."""
        order = self._orders.get(key)
        if order is None:
            hashed = [
                sha256(self._before + f"{at}\0{key}".encode()).digest() for at in range(self.blocks.size)
            ]
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
