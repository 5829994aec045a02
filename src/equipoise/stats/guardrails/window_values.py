"""What the value of a window can be: how often it is beyond a limit, be that a number or control's value beside it.

Readings are drawn anew, independently, from the same source; a rate and a quantile are then exact, a mean and a ratio as
good as their saddlepoint. How many readings a window has is given.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Protocol, Self, TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy.special import betainc, betaln, gammaln

from equipoise.stats.guardrails.sums import Term, above_zero

__all__ = ["Limit", "QuantileOf", "Quotient", "RateOf", "WindowValue"]

Numbers: TypeAlias = NDArray[np.float64]
_NOTHING = 1e-17


@dataclass(frozen=True, slots=True)
class Limit:
    """A limit relative to control's value c: c + `share`·|c| + `added`.

    >>> Limit(share=0.2).of(np.array([2.0, -2.0]))
    array([ 2.4, -1.6])
    """

    share: float = 0.0
    added: float = 0.0

    def of(self, control: Numbers) -> Numbers:
        """The limit on the metric's own scale."""
        return control + (self.share * np.abs(control) + self.added)


class WindowValue(Protocol):
    """The value of a metric in one window, before it is known."""

    def beyond(self, limit: float, *, above: bool) -> float:
        """The chance that it is more than the limit, or less than it; at the limit it is neither."""
        ...

    def beyond_control(self, control: Self, limit: Limit, *, above: bool) -> float:
        """The same of a limit taken from control's value in the same window."""
        ...


@dataclass(frozen=True, slots=True)
class RateOf:
    """The share of `n` readings that are true, each with the chance `rate`.

    Where windows differ by more than their readings do, each has a rate of its own from a beta distribution with this
    mean and the `intraclass` correlation, in [0, 1). n ≥ 1. Source: binomial and beta-binomial tails, exact.

    >>> round(RateOf(1_000, 0.001).beyond(0.001, above=True), 4)  # two of a thousand, or more
    0.2642
    >>> round(RateOf(1_000, 0.001, intraclass=0.001).beyond(0.001, above=True), 4)
    0.2501
    """

    n: int
    rate: float
    intraclass: float = 0.0

    def beyond(self, limit: float, *, above: bool) -> float:
        return float(self._beyond(np.array([limit]), above=above)[0])

    def beyond_control(self, control: RateOf, limit: Limit, *, above: bool) -> float:
        counts = _likely(control.n, control.rate, control.intraclass)
        chances = _chances(counts, control.n, control.rate, control.intraclass)
        seen = chances > _NOTHING
        return _averaged(chances[seen], self._beyond(limit.of(counts[seen] / control.n), above=above))

    def _beyond(self, limits: Numbers, *, above: bool) -> Numbers:
        if above:
            return _at_least(_next_above(limits, self.n), self.n, self.rate, self.intraclass)
        # As many fall short of a limit as do not reach it.
        short = self.n - _next_above(-limits, self.n, shift=self.n)
        return 1.0 - _at_least(short + 1.0, self.n, self.rate, self.intraclass)


def _next_above(limits: Numbers, n: int, *, shift: int = 0) -> Numbers:
    """The least whole count k, from 0 to n + 1, with (k − shift)/n > limit in the arithmetic of doubles."""
    k = np.clip(np.floor(np.clip(limits, -2.0, 2.0) * n) + shift, -1.0, n + 1.0)
    for _ in range(2):
        k = np.where((k - shift) / n <= limits, k + 1.0, k)
    k = np.where((k - 1.0 - shift) / n > limits, k - 1.0, k)
    least: Numbers = np.clip(k, 0.0, n + 1.0)
    return least


def _likely(n: int, rate: float, intraclass: float) -> Numbers:
    """The counts that are seen at all: where readings are independent, no more than forty deviations from the mean."""
    reach = 40.0 * math.sqrt(n * rate * (1.0 - rate)) + 40.0
    low, high = (
        (0.0, float(n)) if intraclass else (max(0.0, n * rate - reach), min(float(n), n * rate + reach))
    )
    return np.arange(math.floor(low), math.ceil(high) + 1.0)


def _chances(k: Numbers, n: int, rate: float, intraclass: float) -> Numbers:
    """The chance of each of some counts."""
    if rate <= 0.0 or rate >= 1.0:
        certain: Numbers = (k == (0.0 if rate <= 0.0 else n)).astype(float)
        return certain
    ways = gammaln(n + 1.0) - gammaln(k + 1.0) - gammaln(n - k + 1.0)
    if intraclass == 0.0:
        return np.asarray(np.exp(ways + k * math.log(rate) + (n - k) * math.log1p(-rate)))
    a, b = _beta(rate, intraclass)
    return np.asarray(np.exp(ways + betaln(k + a, n - k + b) - betaln(a, b)))


def _beta(rate: float, intraclass: float) -> tuple[float, float]:
    size = (1.0 - intraclass) / intraclass
    return rate * size, (1.0 - rate) * size


def _at_least(counts: Numbers, n: int, rate: Numbers | float, intraclass: float) -> Numbers:
    """P(count ≥ k) of n readings with a chance each, for each k."""
    if intraclass == 0.0:
        inner = np.clip(counts, 1.0, float(n))
        found = betainc(inner, n - inner + 1.0, rate)
        return np.where(counts <= 0.0, 1.0, np.where(counts > n, 0.0, found))
    if isinstance(rate, float):
        # From the far end, where the chances are small: little is lost when they are added.
        every = _chances(np.arange(n + 1.0), n, rate, intraclass)
        tails = np.append(np.cumsum(every[::-1])[::-1], 0.0)
        reached: Numbers = np.minimum(tails[np.clip(counts, 0, n + 1).astype(int)], 1.0)
        return reached
    rates = np.broadcast_to(rate, counts.shape)
    found = np.empty(counts.shape)
    for place, (k, each) in enumerate(zip(counts.tolist(), rates.tolist(), strict=True)):
        found[place] = float(_chances(np.arange(max(k, 0.0), n + 1.0), n, each, intraclass).sum())
    return np.minimum(found, 1.0)


def _averaged(chances: Numbers, values: Numbers) -> float:
    return float(chances @ values / chances.sum())


@dataclass(frozen=True, slots=True, eq=False)
class QuantileOf:
    """The reading of rank ⌈q·n⌉ among `n`, each one of `values` with the chance `weights` gives it.

    `values` ascend and differ. It is above a limit exactly where so many readings are, so its chances are those of a
    count (order statistics; David & Nagaraja 2003, Order Statistics, 2.1). `intraclass` is that of being above a limit,
    as in `RateOf`. n ≥ 1.

    >>> tenths = QuantileOf(100, 0.95, np.arange(1.0, 11.0), np.full(10, 0.1))
    >>> round(tenths.beyond(9.0, above=True), 4)  # the 95th of a hundred is a 10: six or more of them are
    0.9424
    """

    n: int
    q: float
    values: Numbers
    weights: Numbers
    intraclass: float = 0.0

    def beyond(self, limit: float, *, above: bool) -> float:
        return float(self._beyond(np.array([limit]), above=above)[0])

    def beyond_control(self, control: QuantileOf, limit: Limit, *, above: bool) -> float:
        # The chance to be at each value is the difference of the chances to be above it and its neighbour.
        over = control._beyond(control.values, above=True)
        chances = np.append(1.0, over[:-1]) - over
        seen = chances > _NOTHING
        return _averaged(chances[seen], self._beyond(limit.of(control.values[seen]), above=above))

    def _beyond(self, limits: Numbers, *, above: bool) -> Numbers:
        # Rounded before the ceiling: 0.07 × 100 in doubles is more than 7.
        rank = max(1, math.ceil(round(self.q * self.n, 9)))
        shares = np.append(np.cumsum(self.weights[::-1])[::-1], 0.0)
        over = np.clip(shares[np.searchsorted(self.values, limits, "right" if above else "left")], 0.0, 1.0)
        chance = _at_least(np.full(limits.shape, self.n - rank + 1.0), self.n, over, self.intraclass)
        return chance if above else 1.0 - chance


@dataclass(frozen=True, slots=True, eq=False)
class Quotient:
    """A sum of readings divided by another sum, or by a number: a ratio, a mean, or a count per turn.

    `by` is the other sum's term, or the number itself. Where windows differ by more than their readings do, the value
    has the standard deviation `between` besides. Against a number the chance is that of a sum (`sums`); against
    control both quotients are linear in their sums (the delta method), which is exact for means.

    >>> grades = Term(np.array([1.0, 2.0, 6.0]), np.array([0.2, 0.5, 0.3]), 200)
    >>> round(Quotient(grades, 200.0).beyond(3.3, above=True), 4)  # their mean is 3.0, its standard error 0.14
    0.0182
    """

    of: Term
    by: Term | float
    between: float = 0.0

    def beyond(self, limit: float, *, above: bool) -> float:
        spread = self.between * abs(self._divisor)
        if isinstance(self.by, Term):
            return _signed([self.of, _times(self.by, -limit)], 0.0, spread, above)
        return _signed([self.of], -limit * self.by, spread, above)

    def beyond_control(self, control: Quotient, limit: Limit, *, above: bool) -> float:
        slope = 1.0 + limit.share * math.copysign(1.0, control._value)
        own, start = self._linear(1.0)
        other, less = control._linear(-slope)
        spread = math.hypot(self.between, slope * control.between)
        return _signed([*own, *other], start + less - limit.added, spread, above)

    @property
    def _divisor(self) -> float:
        return _total(self.by) if isinstance(self.by, Term) else self.by

    @property
    def _value(self) -> float:
        return _total(self.of) / self._divisor

    def _linear(self, factor: float) -> tuple[list[Term], float]:
        """`factor` times the value as a sum of terms and a constant."""
        scale = factor / self._divisor
        if isinstance(self.by, Term):
            return [_times(self.of, scale), _times(self.by, -scale * self._value)], factor * self._value
        return [_times(self.of, scale)], 0.0


def _signed(terms: list[Term], constant: float, spread: float, above: bool) -> float:
    if above:
        return above_zero(terms, constant, spread=spread)
    return above_zero([_times(term, -1.0) for term in terms], -constant, spread=spread)


def _times(term: Term, factor: float) -> Term:
    return replace(term, factor=term.factor * factor)


def _total(term: Term) -> float:
    return term.factor * term.n * float(term.weights @ term.values)
