"""Numbers laid along pixels, with round ticks."""

from __future__ import annotations

import math
from dataclasses import dataclass

from equipoise.figures.numerals import fixed, number

__all__ = ["Scale", "padded", "ticks"]


@dataclass(frozen=True, slots=True)
class Scale:
    """A stretch of numbers laid along pixels, with its ticks and the way its numbers are written."""

    low: float
    high: float
    start: float
    end: float
    count: int
    factor: float = 1.0
    suffix: str = ""
    signed: bool = False

    def __call__(self, value: float) -> float:
        """The pixel at which a number stands."""
        share = (value - self.low) / (self.high - self.low)
        return round(self.start + share * (self.end - self.start), 2)

    def ticks(self) -> list[float]:
        """Round places on the scale, in its own numbers."""
        return [place / self.factor for place in self._round()[0]]

    def says(self, value: float, extra: int = 0, *, unit: bool = True) -> str:
        """A number as this scale writes it, with `extra` decimals beyond those of its ticks."""
        scaled, decimals = value * self.factor, self._round()[1] + extra
        said = fixed(scaled, decimals, signed=self.signed) if decimals <= 8 else number(scaled)
        return said + (self.suffix if unit else "")

    def _round(self) -> tuple[tuple[float, ...], int]:
        return ticks(self.low * self.factor, self.high * self.factor, self.count)


def padded(low: float, high: float) -> tuple[float, float]:
    """A little room on both sides, also where there is only one place.

    >>> padded(0, 100), padded(2, 2)
    ((-6.0, 106.0), (1.88, 2.12))
    """
    span = high - low
    if span <= 1e-12 * max(abs(low), abs(high), 1e-290):
        span = abs(high) or 1.0
    return low - 0.06 * span, high + 0.06 * span


def ticks(low: float, high: float, count: int) -> tuple[tuple[float, ...], int]:
    """Round places between two bounds, about so many, and the decimals they need.

    >>> ticks(-0.02, 0.061, 5)
    ((-0.02, 0.0, 0.02, 0.04, 0.06), 2)
    >>> ticks(0, 4200, 4)
    ((0.0, 1000.0, 2000.0, 3000.0, 4000.0), 0)
    """
    rough = (high - low) / max(count - 1, 1)
    power = math.floor(math.log10(rough))
    options = [factor * 10.0**power for factor in (1, 2, 2.5, 5, 10)]
    step = min(options, key=lambda option: abs(math.log(option / rough)))
    decimals = max(0, -math.floor(math.log10(step) + 1e-9))
    if not math.isclose(step * 10**decimals, round(step * 10**decimals), rel_tol=1e-9):
        decimals += 1
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return tuple(round(n * step, decimals) + 0.0 for n in range(first, last + 1)), decimals
