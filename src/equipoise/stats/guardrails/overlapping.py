"""Windows that overlap: how often they are breached in a row, each having most of its readings from the one before.

How often one window is breached is known without drawing any; what is drawn is what is the case around a breached one:
whether the window before was clear, and whether those after it are breached as well. Blocks of readings come from readings
that are reweighted so that a breach is nothing rare, and each draw counts for what it is worth (importance sampling by
exponential tilting: Siegmund 1976, Annals of Statistics 4, 673).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import SupportsFloat, SupportsIndex, TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri

from equipoise.errors import UsageError
from equipoise.stats.domain import counted, finite
from equipoise.stats.guardrails.sums import Term
from equipoise.stats.guardrails.window_values import Limit, QuantileOf, Quotient, RateOf, WindowValue

__all__ = ["Drawable", "Runs", "drawn_runs", "normal_runs", "runs_of"]

Numbers = NDArray[np.float64]
DRAWS = 4_000
_BINS = 64


Drawable: TypeAlias = RateOf | Quotient


@dataclass(frozen=True, slots=True)
class Runs:
    """Chances at one window: that so many in a row are breached from it on (`lasts`), and that the one before is clear,
    besides (`begins`).
    """

    begins: float
    lasts: float


def runs_of(
    own: WindowValue,
    control: WindowValue | None,
    limit: Limit | float,
    *,
    breached: float,
    above: bool,
    blocks: int,
    run: int,
    alike: float = 0.0,
    rng: np.random.Generator,
) -> Runs:
    """Runs of windows with such a value that are `breached` with this chance, by the way that is there for it.

    Rates, sums and quotients, and a quantile against a number, are drawn reading by reading (`drawn_runs`). A quantile
    beside control's, and windows that vary more than their readings or are `alike`, are taken as normal (`normal_runs`).
    """
    if isinstance(own, QuantileOf) and not isinstance(limit, Limit):
        own, limit, above = _ranked(own, limit, above=above)
    beside = control if isinstance(limit, Limit) else None
    if _wider(own) or _wider(beside) or alike > 0.0 or isinstance(own, QuantileOf):
        return normal_runs(breached, blocks=blocks, run=run, alike=alike, rng=rng)
    assert isinstance(own, Drawable)
    assert beside is None or isinstance(beside, Drawable)
    return drawn_runs(own, beside, limit, above=above, blocks=blocks, run=run, rng=rng)


def drawn_runs(
    own: Drawable,
    control: Drawable | None,
    limit: Limit | float,
    *,
    above: bool,
    blocks: SupportsIndex,
    run: SupportsIndex,
    rng: np.random.Generator,
    draws: SupportsIndex = DRAWS,
) -> Runs:
    """Runs of windows of `blocks` equal blocks, each window a block after the one before, of independent readings.

    `own` and `control` are the values of one window; against a number (`limit` a float) control is None. Readings of a
    sum are drawn from 64 groups of like ones. A standard error is about 3 % where `run` is 1, and more for long runs.
    Degenerate cases: a limit that cannot be passed has no runs; with one block windows do not overlap.
    Errors: UsageError for fewer than one block, run or draw, and for a window that varies more than its readings.

    >>> window, rng = RateOf(1_000, 0.01), np.random.default_rng(1)
    >>> found = drawn_runs(window, None, 0.018, above=True, blocks=5, run=2, rng=rng)
    >>> print(f"{found.lasts:.1e} {found.begins:.1e}")  # a window alone: 6.8e-03
    2.5e-03 1.5e-03
    """
    width, length = counted("blocks", blocks, at_least=1), counted("run", run, at_least=1)
    number = counted("draws", draws, at_least=1)
    for value in (own, control):
        if _wider(value):
            raise UsageError("windows that vary more than their readings are not drawn reading by reading")
    window = _Window(own, control, limit, above)
    tilt = window.tilt()
    if tilt is None:
        return Runs(0.0, 0.0)
    segments = _segments(width, length)
    # What each part was worth before it was reweighted, drawn by drawn.
    logs = np.zeros(number)
    held: list[list[Numbers]] = []
    for place, (start, stop) in enumerate(segments):
        theta = 0.0 if place == 0 else tilt
        row = []
        for part in window.parts:
            found, log = part.draw(rng, number, start, stop, width, theta)
            logs += log
            row.append(found)
        held.append(row)
    together = width if length > width else length + 1
    breached = []
    for first in range(length + 1):
        within = held[first : first + together]
        bins = [np.sum([row[part] for row in within], axis=0) for part in range(len(window.parts))]
        breached.append(window.breached(bins))
    lasts = np.exp(logs) * np.logical_and.reduce(breached[1:])
    return Runs(begins=float((lasts * ~breached[0]).mean()), lasts=float(lasts.mean()))


def _wider(value: WindowValue | None) -> bool:
    if isinstance(value, Quotient):
        return value.between > 0.0
    return isinstance(value, RateOf | QuantileOf) and value.intraclass > 0.0


def _segments(width: int, run: int) -> list[tuple[int, int]]:
    """Blocks from the first of the window before to the last of the last one; those that all have are one segment."""
    if run > width:
        return [(block, block + 1) for block in range(width + run)]
    return [
        *((block, block + 1) for block in range(run)),
        (run, width),
        *((block, block + 1) for block in range(width, width + run)),
    ]


@dataclass(frozen=True, slots=True, eq=False)
class _Part:
    """Readings of a window: `n` of them, or by chance so many (`poisson`), each in a bin with a chance and a score."""

    n: float
    weights: Numbers
    score: Numbers
    poisson: bool = False

    def mean(self, theta: float) -> Numbers:
        """The mean number in each bin where the chances are reweighted by exp(θ·score)."""
        grown = self.weights * np.exp(theta * self.score)
        return np.asarray(self.n * (grown if self.poisson else grown / grown.sum()))

    def draw(
        self, rng: np.random.Generator, draws: int, start: int, stop: int, width: int, theta: float
    ) -> tuple[Numbers, Numbers]:
        """The numbers in each bin of the blocks from `start` to before `stop`, and the logarithm of each draw's worth."""
        grown = self.weights * np.exp(theta * self.score)
        total = float(grown.sum())
        if self.poisson:
            size = self.n * (stop - start) / width
            found = rng.poisson(size * grown, size=(draws, len(grown))).astype(float)
            log = size * (total - 1.0)
        else:
            # Whole numbers of readings, so that each window of so many blocks has the same.
            each = [
                int(self.n) // width + (block % width < int(self.n) % width) for block in range(start, stop)
            ]
            found = rng.multinomial(sum(each), grown / total, size=draws).astype(float)
            log = sum(each) * math.log(total)
        return found, log - theta * (found @ self.score)


class _Window:
    """What a window is made of, and whether it is breached: the readings of the arm, then those of control."""

    def __init__(self, own: Drawable, control: Drawable | None, limit: Limit | float, above: bool) -> None:
        self._own, self._control = _thinned(own), None if control is None else _thinned(control)
        self._limit, self._above = limit, above
        sign = 1.0 if above else -1.0
        # What each reading adds to the value, where that is: at the limit, and beside control's both where they are usually.
        self.parts = _parts(self._own, sign, _centre(self._own) if isinstance(limit, Limit) else limit)
        self._mine = len(self.parts)
        if isinstance(limit, Limit) and self._control is not None:
            usual = _centre(self._control)
            share = 1.0 + limit.share * math.copysign(1.0, usual)
            self.parts = [*self.parts, *_parts(self._control, -sign * share, usual)]

    def breached(self, bins: Sequence[Numbers]) -> NDArray[np.bool_]:
        value = _told(self._own, bins[: self._mine])
        if isinstance(self._limit, Limit) and self._control is not None:
            limit = self._limit.of(_told(self._control, bins[self._mine :]))
        else:
            limit = np.full(value.shape, self._limit)
        return value > limit if self._above else value < limit

    def tilt(self) -> float | None:
        """The θ at which the mean window is breached, just so: 0 where it is anyway; None where none is."""

        def reached(theta: float) -> bool:
            with np.errstate(over="ignore", invalid="ignore"):
                bins = [part.mean(theta)[np.newaxis, :] for part in self.parts]
                return all(np.isfinite(each).all() for each in bins) and bool(self.breached(bins)[0])

        if reached(0.0):
            return 0.0
        scale = max(float(np.abs(part.score).max()) for part in self.parts)
        low, high = 0.0, 1e-3 / scale
        while not reached(high):
            low, high = high, 2.0 * high
            if high * scale > 700.0:
                return None
        for _ in range(40):
            middle = (low + high) / 2.0
            low, high = (low, middle) if reached(middle) else (middle, high)
        return high


def _ranked(own: QuantileOf, limit: float, *, above: bool) -> tuple[RateOf, float, bool]:
    """A quantile against a number is a count: of readings beyond it so many as its rank asks for."""
    rank = max(1, math.ceil(round(own.q * own.n, 9)))
    beyond = own.values > limit if above else own.values < limit
    needed = own.n - rank + 1 if above else rank
    return RateOf(own.n, float(own.weights[beyond].sum())), (needed - 0.5) / own.n, True


def _thinned(value: Drawable) -> Drawable:
    """Of sums, like readings taken together: their mean is kept, and nearly all of their spread."""
    if isinstance(value, RateOf):
        return value
    by = _grouped(value.by) if isinstance(value.by, Term) else value.by
    return replace(value, of=_grouped(value.of), by=by)


def _grouped(term: Term) -> Term:
    if len(term.values) <= _BINS:
        return term
    order = np.argsort(term.values)
    values, weights = term.values[order], term.weights[order]
    size = np.arcsinh(values / (np.median(np.abs(values)) or 1.0))
    groups = np.minimum(((size - size[0]) / (size[-1] - size[0]) * _BINS).astype(int), _BINS - 1)
    held = np.bincount(groups, weights, _BINS).astype(float)
    kept = held > 0.0
    means = np.bincount(groups, weights * values, _BINS)[kept] / held[kept]
    return replace(term, values=means, weights=held[kept])


def _parts(value: Drawable, factor: float, at: float) -> list[_Part]:
    """The readings of a value, scored by `factor` times what each adds to it; `at` is where a quotient is."""
    if isinstance(value, RateOf):
        rate = min(max(value.rate, 0.0), 1.0)
        return [_Part(value.n, np.array([1.0 - rate, rate]), factor * np.array([0.0, 1.0 / value.n]))]
    of, by = value.of, value.by
    divisor = by.factor * by.n * float(by.weights @ by.values) if isinstance(by, Term) else by
    parts = [_Part(of.n, of.weights, factor * of.factor * of.values / divisor, of.poisson)]
    if isinstance(by, Term):
        parts.append(_Part(by.n, by.weights, -factor * at * by.factor * by.values / divisor, by.poisson))
    return parts


def _told(value: Drawable, bins: Sequence[Numbers]) -> Numbers:
    """The value of each window, by the numbers in its bins: a window a row."""
    if isinstance(value, RateOf):
        return np.asarray(bins[0][:, 1] / value.n)
    total = bins[0] @ value.of.values * value.of.factor
    if not isinstance(value.by, Term):
        return np.asarray(total / value.by)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(total / (bins[1] @ value.by.values * value.by.factor))


def _centre(value: Drawable) -> float:
    if isinstance(value, RateOf):
        return value.rate
    by = value.by
    size = by.factor * by.n * float(by.weights @ by.values) if isinstance(by, Term) else by
    return float(value.of.factor * value.of.n * float(value.of.weights @ value.of.values) / size)


def normal_runs(
    breached: SupportsFloat,
    *,
    blocks: SupportsIndex,
    run: SupportsIndex,
    alike: SupportsFloat = 0.0,
    rng: np.random.Generator,
    draws: SupportsIndex = 5 * DRAWS,
) -> Runs:
    """The same of windows whose values are normal: breached with this chance, and alike by what they share.

    `alike`, in [0, 1), is the correlation of windows that follow each other without overlap; of windows a share x of their
    length apart it is 1 − x·(1 − alike), and alike^x beyond one length, which is convex and so a correlation (Pólya).
    Degenerate cases: a chance of 0 has no runs, and of 1 nothing but one that never began.
    Errors: UsageError for a chance outside [0, 1], `alike` outside [0, 1), fewer than one block, run or draw.

    >>> found = normal_runs(0.01, blocks=5, run=2, rng=np.random.default_rng(1))
    >>> print(f"{found.lasts:.1e} {found.begins:.1e}")
    3.7e-03 2.2e-03
    """
    width, length = counted("blocks", blocks, at_least=1), counted("run", run, at_least=1)
    chance, near = finite("the chance of a breach", breached), finite("alike", alike)
    if not 0.0 <= chance <= 1.0:
        raise UsageError(f"the chance of a breach must be in [0, 1], not {chance:g}")
    if not 0.0 <= near < 1.0:
        raise UsageError(f"alike must be in [0, 1), not {near:g}")
    if chance in (0.0, 1.0):
        return Runs(0.0, chance)
    places = np.arange(length + 1)
    apart = np.abs(places[:, np.newaxis] - places) / width
    beyond = near ** np.maximum(apart, 1.0) if near else np.zeros(apart.shape)
    correlation = np.where(apart <= 1.0, 1.0 - apart * (1.0 - near), beyond) + 1e-9 * np.eye(length + 1)
    limit = -float(ndtri(chance))
    # Where all of the run are just at the limit, if that is rare; the mean of all given that.
    shift = correlation[:, 1:] @ np.linalg.solve(correlation[1:, 1:], np.full(length, max(limit, 0.0)))
    drawn = (
        shift
        + rng.standard_normal((counted("draws", draws, at_least=1), length + 1))
        @ np.linalg.cholesky(correlation).T
    )
    back = np.linalg.solve(correlation, shift)
    lasts = np.exp(shift @ back / 2.0 - drawn @ back) * (drawn[:, 1:] > limit).all(axis=1)
    return Runs(begins=float((lasts * (drawn[:, 0] <= limit)).mean()), lasts=float(lasts.mean()))
