"""Amounts as people write them: shares, margins, durations and bounds.

`%` is relative (or, where only a share makes sense, a share); `pp` is percentage points, absolute.
A share is kept as an exact fraction, so that cut points and digests do not depend on rounding.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from typing import Literal

__all__ = ["Amount", "Bound", "parse_amount", "parse_bound", "parse_duration", "parse_share"]

# Lengths are bounded because numbers are kept exactly: "1e999999999" as a fraction would fill the memory.
_NUMBER = r"[-+]?(?:[0-9]{1,400}(?:\.[0-9]{0,400})?|\.[0-9]{1,400})(?:[eE][-+]?[0-9]{1,3})?"
_AMOUNT = re.compile(rf"^\s*({_NUMBER})\s*(%|pp)?\s*$")
_BOUND = re.compile(rf"^\s*(control|baseline)\s*([-+])\s*({_NUMBER})\s*(%|pp)?\s*$")
_DURATION = re.compile(r"^\s*([0-9]{1,400}(?:\.[0-9]{1,400})?)\s*(ms|s|m|h|d|w)\s*$")
_FRACTION = re.compile(r"^\s*([0-9]{1,2000})\s*/\s*([0-9]{1,2000})\s*$")
_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0, "w": 604800.0}


@dataclass(frozen=True, slots=True)
class Amount:
    """A size on a metric's own scale (`absolute`) or as a share of a reference (`relative`)."""

    value: float
    scale: Literal["absolute", "relative"] = "absolute"

    def of(self, reference: float) -> float:
        """The absolute size, in the metric's unit, given the reference the share is taken of.

        >>> parse_amount("10%").of(0.5), parse_amount("1pp").of(0.5)
        (0.05, 0.01)
        """
        return self.value * abs(reference) if self.scale == "relative" else self.value

    def __str__(self) -> str:
        """The amount as text that `parse_amount` reads back as the same value.

        >>> str(parse_amount("2.5%")), str(parse_amount("1pp")), str(parse_amount(30))
        ('2.5%', '0.01', '30')
        """
        shifted = Decimal(repr(self.value)) * (100 if self.scale == "relative" else 1)
        text = format(shifted.normalize(), "f")
        return f"{text}%" if self.scale == "relative" else text


@dataclass(frozen=True, slots=True)
class Bound:
    """A limit for a watch: a number, or an amount above or below a reference arm or period."""

    reference: Literal["none", "control", "baseline"]
    amount: Amount

    def __str__(self) -> str:
        if self.reference == "none":
            return str(self.amount)
        sign = "-" if self.amount.value < 0 else "+"
        return f"{self.reference}{sign}{Amount(abs(self.amount.value), self.amount.scale)}"


def _number(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError
    if not math.isfinite(value):
        raise ValueError
    return float(value)


def parse_amount(value: object) -> Amount:
    """Read `0.05`, `"5%"` (relative) or `"5pp"` (0.05 absolute); ValueError for anything else.

    >>> parse_amount("10%"), parse_amount("1pp"), parse_amount(0.5)
    (Amount(value=0.1, scale='relative'), Amount(value=0.01, scale='absolute'), Amount(value=0.5, scale='absolute'))
    """
    if isinstance(value, str):
        match = _AMOUNT.match(value)
        if not match:
            raise ValueError
        # Through Fraction, so that "10%" is the double nearest to 0.1 and nothing else.
        exact = Fraction(match[1]) / (1 if match[2] is None else 100)
        try:
            share = _number(float(exact))
        except OverflowError:
            raise ValueError from None
        if match[2] is None:
            return Amount(share)
        return Amount(share, "relative" if match[2] == "%" else "absolute")
    return Amount(_number(value))


def parse_bound(value: object) -> Bound:
    """Read a watch's limit: a number, `control+20%`, `control+1pp` or `baseline-5%`.

    >>> str(parse_bound("control + 20%")), str(parse_bound(3.0)), str(parse_bound("baseline-1pp"))
    ('control+20%', '3', 'baseline-0.01')
    """
    if isinstance(value, str):
        match = _BOUND.match(value)
        if match:
            amount = parse_amount(match[3] + (match[4] or ""))
            sign = -1.0 if match[2] == "-" else 1.0
            return Bound(
                "control" if match[1] == "control" else "baseline",
                Amount(sign * amount.value, amount.scale),
            )
    amount = parse_amount(value)
    if amount.scale == "relative":
        # "20%" of what? A share needs the arm or the period it is taken of.
        raise ValueError
    return Bound("none", amount)


def parse_share(value: object) -> Fraction:
    """Read a share of a whole as an exact fraction in [0, 1]: `1/3`, `0.05`, `"5%"`.

    >>> parse_share("1/3"), parse_share(0.05), parse_share("5%")
    (Fraction(1, 3), Fraction(1, 20), Fraction(1, 20))
    """
    if isinstance(value, str):
        if match := _FRACTION.match(value):
            if int(match[2]) == 0:
                raise ValueError
            share = Fraction(int(match[1]), int(match[2]))
        elif (match := _AMOUNT.match(value)) and match[2] in (None, "%"):
            share = Fraction(match[1]) / (100 if match[2] else 1)
        else:
            raise ValueError
    else:
        # repr is the shortest text that reads back as this double: 0.05 becomes 1/20 exactly.
        share = Fraction(repr(_number(value)))
    if not 0 <= share <= 1:
        raise ValueError
    return share


def parse_duration(value: object) -> float:
    """Read `"500ms"`, `"30s"`, `"5m"`, `"2h"`, `"1d"` or `"2w"` as seconds.

    >>> parse_duration("5m"), parse_duration("1d")
    (300.0, 86400.0)
    """
    if isinstance(value, str) and (match := _DURATION.match(value)):
        return _number(float(match[1]) * _SECONDS[match[2]])
    raise ValueError
