"""What arguments the mathematics accepts: one sentence of refusal for everything else."""

from __future__ import annotations

import math
import operator
from typing import SupportsFloat, SupportsIndex

from equipoise.errors import UsageError

__all__ = ["counted", "finite", "inside", "positive", "sided"]


def finite(name: str, value: SupportsFloat) -> float:
    """`value` as a float, refused unless it is an ordinary number.

    >>> finite("null", 2)
    2.0
    >>> finite("null", float("nan"))
    Traceback (most recent call last):
    equipoise.errors.UsageError: null must be a finite number, not nan
    """
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        number = math.nan
    if not math.isfinite(number):
        raise UsageError(f"{name} must be a finite number, not {value}")
    return number


def inside(name: str, value: SupportsFloat, low: float = 0.0, high: float = 1.0) -> float:
    """`value` as a float, refused unless it lies strictly between `low` and `high`.

    >>> inside("level", 0.95)
    0.95
    >>> inside("level", 95)
    Traceback (most recent call last):
    equipoise.errors.UsageError: level must lie strictly between 0 and 1, not 95
    """
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        number = math.nan
    if not low < number < high:
        raise UsageError(f"{name} must lie strictly between {low:g} and {high:g}, not {value}")
    return number


def positive(name: str, value: SupportsFloat) -> float:
    """`value` as a float, refused unless it is finite and greater than 0.

    >>> positive("ratio", 0)
    Traceback (most recent call last):
    equipoise.errors.UsageError: ratio must be a finite number greater than 0, not 0
    """
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        number = math.nan
    if not (math.isfinite(number) and number > 0):
        raise UsageError(f"{name} must be a finite number greater than 0, not {value}")
    return number


def counted(name: str, value: SupportsIndex, *, at_least: int = 0) -> int:
    """`value` as an int, refused unless it is a whole number and not below `at_least`.

    >>> counted("n", -1)
    Traceback (most recent call last):
    equipoise.errors.UsageError: n must be a whole number of at least 0, not -1
    """
    try:
        number = operator.index(value)
    except TypeError:
        number = at_least - 1
    if number < at_least:
        raise UsageError(f"{name} must be a whole number of at least {at_least}, not {value}")
    return number


def sided(sides: int) -> int:
    """`sides` itself, refused unless it is 1 or 2.

    >>> sided(3)
    Traceback (most recent call last):
    equipoise.errors.UsageError: sides must be 1 or 2, not 3
    """
    if sides not in (1, 2):
        raise UsageError(f"sides must be 1 or 2, not {sides}")
    return sides
