"""How a switchback is drawn: what its slots are balanced over, what goes with a slot, how long it takes to settle."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from fractions import Fraction
from math import lcm
from typing import Literal, get_args

from equipoise.errors import UsageError

__all__ = ["BALANCES", "MOST_IN_BLOCK", "Balance", "Blocks", "Place", "Switchback", "block_size", "slot_of"]

Balance = Literal["hour", "weekday"]
BALANCES: tuple[Balance, ...] = get_args(Balance)

MOST_IN_BLOCK = 12
"""Blocks of more slots than this take too long to be whole: shares with a larger common denominator are refused."""

_DAY = 86_400
_WEEK = 7 * _DAY
_MONDAY = 4 * _DAY
"""The first Monday of the calendar of seconds: 5 January 1970."""
_NAME = re.compile(r"(-?[0-9]{1,12})(?:/(.+))?", re.DOTALL | re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class Switchback:
    """Who gets which arm when: every slot one arm, drawn within blocks.

    `balance` says what the slots of a block have in common, so that the arms share it as allocated: with `hour` and
    `weekday` the time of the week, in successive weeks; with `hour` the time of day, on successive days; with `weekday`
    the day; with nothing each slot is drawn by itself. `by` is an attribute of which each value has slots of its own.
    `begins` is a day, such as 2026-11-30, with which blocks begin; without it weeks of blocks count from 5 January 1970 and
    days from 1 January. Nothing counts that happened in the first `wash_out` seconds of a slot. `expected_correlation` is
    what two slots of a block are expected to have in common, as a correlation between 0 and 1: it enters the plan and
    nothing else.
    """

    balance: tuple[Balance, ...] = BALANCES
    by: str | None = None
    begins: str | None = None
    wash_out: float = 0.0
    expected_correlation: float = 0.0


def block_size(shares: Mapping[str, Fraction]) -> int:
    """The fewest slots that can be shared out exactly: the common denominator of the shares.

    >>> block_size({"control": Fraction(1, 2), "b": Fraction(1, 4), "c": Fraction(1, 4)})
    4
    """
    return lcm(*(share.denominator for share in shares.values()))


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


@dataclass(frozen=True, slots=True)
class Place:
    """Where a slot stands: in the block of this name, which others of the same `by` share, at which `position` in time."""

    block: str
    position: int


class Blocks:
    """Which slots are drawn together: the calendar of a switchback, for slots of `every` seconds.

    `size` is how many slots a block has, and `span` how many seconds pass until every block that began is whole. Names of
    blocks begin with a `letter`: `w` where their slots lie a week apart and `h` where a day, which is a `cycle` of seconds
    counted from `first`; `d` where they are those of a day; `s` of slots that are drawn by themselves. `named` says that
    slots have a name beside their start. Raises UsageError where the shares cannot be had of so many slots, or where no
    whole number of slots is a day.

    >>> halves = {"control": Fraction(1, 2), "treatment": Fraction(1, 2)}
    >>> blocks = Blocks(Switchback(balance=("hour",), by="region"), halves, every=3600.0)
    >>> blocks.place("90000/eu"), blocks.size, blocks.span
    (Place(block='h3600.0/eu', position=1), 2, 172800)
    """

    def __init__(self, switchback: Switchback, shares: Mapping[str, Fraction], *, every: float) -> None:
        self.every, balance = int(every), frozenset(switchback.balance)
        self.named = switchback.by is not None
        if self.every != every or self.every < 1 or (balance and _DAY % self.every):
            raise UsageError(
                f"slots of {every:g} s are no part of a day; accepted: whole seconds that divide a day, such as 1800"
            )
        self.first, self.cycle = _first(switchback), _DAY
        self.size, self.span = block_size(shares), self.every
        if not balance:
            self.letter, self.size = "s", 1
        elif balance == {"weekday"}:
            self.letter, self.size, self.span = "d", _DAY // self.every, _DAY
        else:
            self.letter, self.cycle = ("w", _WEEK) if "weekday" in balance else ("h", _DAY)
            self.span = self.size * self.cycle
        if balance and any((share * self.size).denominator != 1 for share in shares.values()):
            raise UsageError(
                f"{self.size} slots cannot be shared out as {', '.join(map(str, shares.values()))}"
            )

    def place(self, unit: str) -> Place:
        """Where the slot of this name stands. UsageError for what names no slot of these."""
        start, whose = slot_of(unit)
        if (whose is None) is self.named:
            raise UsageError(
                f"slots of this experiment have {'a' if self.named else 'no'} name beside their start, and this is {unit!r}"
            )
        if start % self.every:
            raise UsageError(f"no slot of {self.every} s begins {start} seconds after 1970")
        block, position = self._stands(start)
        return Place(block if whose is None else f"{block}/{whose}", position)

    def begins(self, time: float) -> int:
        """The first moment, not before this one, at which whole blocks begin, in seconds since 1970 UTC.

        >>> halves = {"control": Fraction(1, 2), "treatment": Fraction(1, 2)}
        >>> Blocks(Switchback(), halves, every=3600.0).begins(0.0) == 4 * 86_400            # a Monday
        True
        """
        return self.first - int((self.first - time) // self.span) * self.span

    def _stands(self, start: int) -> tuple[str, int]:
        if self.letter == "s":
            return f"s{start}", 0
        if self.letter == "d":
            day, left = divmod(start, _DAY)
            return f"d{day}", left // self.every
        turn, left = divmod(start - self.first, self.cycle)
        return f"{self.letter}{left}.{turn // self.size}", turn % self.size


def _first(switchback: Switchback) -> int:
    """A moment with which blocks begin, in seconds since 1970 UTC."""
    if switchback.begins is not None:
        return (date.fromisoformat(switchback.begins) - date(1970, 1, 1)).days * _DAY
    return _MONDAY if switchback.balance == BALANCES else 0
