"""Past windows of an experiment, and what another window like them could be: readings drawn again, so many as there were."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from equipoise.errors import DataError
from equipoise.events.windows import CellKey
from equipoise.experiment.metric import Metric
from equipoise.measurement.guardrails.buckets import middle, quantile, scaled
from equipoise.measurement.guardrails.cells import MINUTE_S, ONE, TURNS, Cell
from equipoise.measurement.guardrails.windows import Window, spans, window_of
from equipoise.stats.estimate import NotEstimable
from equipoise.stats.guardrails.sums import Term
from equipoise.stats.guardrails.window_values import QuantileOf, Quotient, RateOf, WindowValue

__all__ = ["Counts", "Past", "Readings"]

Counts: TypeAlias = tuple[int, int]
"""How many readings of a metric's quantity a window has, and how many of what it is divided by (0 where of nothing)."""
_Numbers: TypeAlias = NDArray[np.float64]
_EXACT = 60
_STEP = 0.05
_LONGEST_DAYS = 400


@dataclass(frozen=True)
class Past:
    """The minutes of a period from `since` to before `until` (whole seconds since 1970 UTC), every quantity in buckets."""

    cells: Mapping[CellKey, Cell]
    since: int
    until: int
    _windows: dict[tuple[str, str, float, int, float | None], list[Window]] = field(
        default_factory=dict, repr=False, compare=False
    )
    _counts: dict[tuple[str, str, float, float | None], list[Counts]] = field(
        default_factory=dict, repr=False, compare=False
    )

    @classmethod
    def of(cls, cells: Mapping[CellKey, Cell], since: float | None, until: float | None) -> Past:
        """The minutes within a period, or of all there is. DataError where there are none.

        A minute that begins before `since`, or ends after `until`, is no part of it. DataError, too, for what cannot be a
        period: more than four hundred days.
        """
        first = -math.inf if since is None else math.ceil(since / MINUTE_S)
        last = math.inf if until is None else math.floor(until / MINUTE_S)
        kept = {key: cell for key, cell in cells.items() if first <= key.minute < last}
        if not kept:
            raise DataError(
                "nothing was recorded in this period, so there is no window to learn from. Widen --since and --until, or "
                "leave them out"
            )
        minutes = [key.minute for key in kept]
        past = cls(kept, min(minutes) * MINUTE_S, (max(minutes) + 1) * MINUTE_S)
        if past.days > _LONGEST_DAYS:
            raise DataError(
                f"what was recorded is said to have happened within {past.days:,.0f} days, and some clock was wrong. Say "
                f"--since and --until, {_LONGEST_DAYS} days apart at most"
            )
        return past

    @property
    def days(self) -> float:
        """How long the period is."""
        return (self.until - self.since) / 86_400.0

    @cached_property
    def turns(self) -> int:
        """The turns of all arms."""
        return sum(cell.n for key, cell in self.cells.items() if key.quantity == TURNS)

    def spans(self, length: float, *, every: float | None = None) -> list[tuple[int, int]]:
        """The whole windows of the period, tumbling or one `every` so many seconds."""
        return list(spans(length, self.since + int(length) - 1, self.until, every=every))

    def windows(
        self, metric: Metric, arm: str, length: float, *, at_least: int = 1, every: float | None = None
    ) -> list[Window]:
        """A metric of an arm in each window, in order; without a value where the window has too few readings."""
        asked = (metric.name, arm, length, at_least, every)
        if asked not in self._windows:
            self._windows[asked] = [
                window_of(self.cells, metric, arm, starts, ends, at_least=at_least)
                for starts, ends in self.spans(length, every=every)
            ]
        return self._windows[asked]

    def counts(self, metric: Metric, arm: str, length: float, *, every: float | None = None) -> list[Counts]:
        """How many readings each window of an arm has."""
        asked = (metric.name, arm, length, every)
        if asked not in self._counts:
            self._counts[asked] = self._counted(metric, arm, length, every)
        return self._counts[asked]

    def _counted(self, metric: Metric, arm: str, length: float, every: float | None) -> list[Counts]:
        by = _by(metric)
        found: list[Counts] = []
        for starts, ends in self.spans(length, every=every):
            minutes = range(starts // MINUTE_S, ends // MINUTE_S)
            each = [
                sum(
                    cell.n
                    for minute in minutes
                    if (cell := self.cells.get(CellKey(minute, arm, name))) is not None
                )
                for name in (str(metric.of), by)
                if name is not None
            ]
            found.append((each[0], each[1] if by is not None else 0))
        return found

    def readings(self, metric: Metric, arm: str) -> Readings | NotEstimable:
        """What an arm's readings of a metric are like, whenever they came."""
        named: dict[str, list[Cell]] = {}
        for key, cell in self.cells.items():
            if key.arm == arm:
                named.setdefault(key.quantity, []).append(cell)
        of, by = Cell.together(named.get(str(metric.of), ())), _by(metric)
        if of.n == 0:
            return NotEstimable(f"there are no readings of {metric.of} in {arm}")
        divisor = None if by is None else Cell.together(named.get(by, ()))
        if divisor is not None and (divisor.n == 0 or (metric.kind == "ratio" and divisor.total == 0)):
            return NotEstimable(f"{by} adds up to 0 in {arm}, and nothing can be divided by it")
        return Readings(metric, of, divisor)


def _by(metric: Metric) -> str | None:
    if metric.kind == "count":
        return TURNS
    return None if metric.per is None else str(metric.per)


@dataclass(frozen=True)
class Readings:
    """The readings of a metric, `of` its quantity and `by` what that is divided by, as drawing them again needs them.

    >>> from equipoise.experiment.metric import Quantity
    >>> metric = Metric(name="error_rate", priority="guardrail", tier="code", kind="proportion", better="lower",
    ...                 of=Quantity("turn", "error"), per_unit="any")
    >>> errors = Readings(metric, Cell.of([0.0] * 99 + [1.0], bucketed=True), None)
    >>> errors.binary, errors.value, errors.window((500, 0))
    (True, 0.01, RateOf(n=500, rate=0.01, intraclass=0.0))
    """

    metric: Metric
    of: Cell
    by: Cell | None

    @cached_property
    def binary(self) -> bool:
        """Whether each reading is 0 or 1 and the value their share."""
        ones = sum(count for number, count in self.of.buckets.items() if number != 0)
        return (
            self.metric.kind not in ("quantile", "ratio", "count")
            and self.of.total == ones * ONE
            and all(abs(middle(number) - 1.0) < 0.02 for number in self.of.buckets if number != 0)
        )

    @cached_property
    def value(self) -> float:
        """The metric over all readings at once."""
        if self.metric.kind == "quantile":
            found = quantile(self.of.buckets, self._q)
            return 0.0 if found is None else found
        if self.by is None:
            return self.of.total / (self.of.n * ONE)
        return self.of.total / (self.by.n * ONE if self.metric.kind == "count" else self.by.total)

    @property
    def _q(self) -> float:
        return 0.5 if self.metric.q is None else self.metric.q

    @cached_property
    def _of(self) -> tuple[_Numbers, _Numbers]:
        return _drawn(self.of)

    @cached_property
    def _by(self) -> tuple[_Numbers, _Numbers]:
        return _drawn(Cell() if self.by is None else self.by)

    def variance(self, counts: Counts) -> float:
        """The variance that a window's value has from its readings alone; of a quantile, that of the share beyond it."""
        n, by = counts
        if self.metric.kind == "quantile":
            return self._share * (1.0 - self._share) / n
        mean, square = _moments(*self._of)
        if self.metric.kind == "count" and self.by is not None:
            return self.of.n / self.by.n * square / by
        own = n * (square - mean * mean)
        if self.by is None:
            return own / (n * n)
        level, wide = _moments(*self._by)
        return (own + self.value**2 * by * (wide - level * level)) / (by * level) ** 2

    @cached_property
    def _share(self) -> float:
        return sum(count for number, count in self.of.buckets.items() if self._beyond(number)) / self.of.n

    def _beyond(self, number: int) -> bool:
        return middle(number) > self.value

    def levels(self, past: Past, arm: str, length: float) -> list[tuple[float, float] | None]:
        """Each window of an arm as a level and the variance that its readings alone give it; None where it has no value.

        The level is the value, of a quantile the share of readings beyond that of all of them.
        """
        found: list[tuple[float, float] | None] = []
        for span, counts, window in zip(
            past.spans(length),
            past.counts(self.metric, arm, length),
            past.windows(self.metric, arm, length),
            strict=True,
        ):
            if isinstance(window.value, NotEstimable) or (variance := self.variance(counts)) <= 0.0:
                found.append(None)
            elif self.metric.kind == "quantile":
                found.append((self._share_of(past, arm, *span), variance))
            else:
                found.append((window.value, variance))
        return found

    @property
    def level(self) -> float:
        """The level of all readings at once."""
        return self._share if self.metric.kind == "quantile" else self.value

    def _share_of(self, past: Past, arm: str, starts: int, ends: int) -> float:
        found = (
            past.cells.get(CellKey(minute, arm, str(self.metric.of)))
            for minute in range(starts // MINUTE_S, ends // MINUTE_S)
        )
        within = Cell.together(cell for cell in found if cell is not None)
        return sum(count for number, count in within.buckets.items() if self._beyond(number)) / within.n

    def window(self, counts: Counts, *, factor: float = 1.0, excess: float = 0.0) -> WindowValue:
        """The value of a window with so many readings, each `factor` times what it was.

        `excess` is the variance between windows beyond that of their readings (`Dispersion.excess`).
        """
        n, by = counts
        if self.metric.kind == "quantile":
            values, weights = _arrays(scaled(self.of.buckets, factor))
            spread = self._share * (1.0 - self._share)
            return QuantileOf(n, self._q, values, weights, _intraclass(excess, spread))
        if self.binary:
            rate = min(self.value * factor, 1.0)
            return RateOf(n, rate, _intraclass(excess, self.value * (1.0 - self.value)))
        between = math.sqrt(excess) * factor
        if self.metric.kind == "count" and self.by is not None:
            events = by * self.of.n / self.by.n
            return Quotient(Term(*self._of, events, factor, poisson=True), float(by), between)
        own = Term(*self._of, n, factor)
        return Quotient(own, float(n) if self.by is None else Term(*self._by, by), between)

    def windows(
        self, *, at_least: int, excess: float = 0.0, exact: bool = True
    ) -> Callable[[Counts, float], WindowValue | None]:
        """How windows are made of counts and a factor: each kind once, None where the watch would ask for more readings.

        Unless they are to be `exact`, counts beyond sixty that differ by less than five per cent are taken as one. That is
        quick for many windows, where it comes out even; of few it would move the whole numbers that a rate can have.
        """
        made: dict[tuple[Counts, float], WindowValue] = {}

        def window(counts: Counts, factor: float) -> WindowValue | None:
            sample = counts[1] if self.metric.kind == "count" else counts[0]
            if sample < max(1, at_least) or (self.by is not None and counts[1] == 0):
                return None
            key = (counts if exact else (_about(counts[0]), _about(counts[1])), factor)
            if key not in made:
                made[key] = self.window(key[0], factor=factor, excess=excess)
            return made[key]

        return window


def _about(count: int) -> int:
    if count <= _EXACT:
        return count
    return round(math.exp(round(math.log(count) / _STEP) * _STEP))


def _intraclass(excess: float, spread: float) -> float:
    return 0.0 if spread <= 0.0 else min(excess / spread, 0.99)


def _arrays(buckets: Mapping[int, float]) -> tuple[_Numbers, _Numbers]:
    ordered = sorted(buckets.items())
    counts = np.array([count for _, count in ordered], dtype=float)
    return np.array([middle(number) for number, _ in ordered]), counts / counts.sum()


def _drawn(cell: Cell) -> tuple[_Numbers, _Numbers]:
    """What one reading can be, and how often: the buckets, with the mean that was really counted."""
    values, weights = _arrays(cell.buckets)
    told = float(values @ weights)
    return values * (cell.sum / cell.n / told if told else 1.0), weights


def _moments(values: _Numbers, weights: _Numbers) -> tuple[float, float]:
    return float(weights @ values), float(weights @ (values * values))
