"""How a switchback is drawn: what its slots are balanced over, what goes with a slot, how long it takes to settle."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from math import lcm
from typing import TYPE_CHECKING, Literal, get_args

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["BALANCES", "MOST_IN_BLOCK", "Balance", "Switchback", "block_size"]

Balance = Literal["hour", "weekday"]
BALANCES: tuple[Balance, ...] = get_args(Balance)

MOST_IN_BLOCK = 12
"""Blocks of more slots than this take too long to be whole: shares with a larger common denominator are refused."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Switchback:
    """Who gets which arm when: every slot one arm, drawn within blocks.

    `balance` says what the slots of a block have in common, so that the arms share it as allocated: with `hour` and
    `weekday` the time of the week, in successive weeks; with `hour` the time of day, on successive days; with `weekday`
    the day; with nothing each slot is drawn by itself. `by` is an attribute of which each value has slots of its own.
    Nothing counts that happened in the first `wash_out` seconds of a slot. `expected_correlation` is what two slots of a
    block are expected to have in common, as a correlation between 0 and 1: it enters the plan and nothing else.
    """

    balance: tuple[Balance, ...] = BALANCES
    by: str | None = None
    wash_out: float = 0.0
    expected_correlation: float = 0.0


def block_size(shares: Iterable[Fraction]) -> int:
    """The fewest slots that can be shared out exactly: the common denominator of the shares.

    >>> block_size([Fraction(1, 2), Fraction(1, 2)]), block_size([Fraction(1, 2), Fraction(1, 4), Fraction(1, 4)])
    (2, 4)
    """
    return lcm(*(share.denominator for share in shares))
