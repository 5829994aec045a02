"""Betting on an outcome with known limits: confidence sequences without any burn-in.

Someone who bets against a mean m, unit after unit and knowing only the units before, has no system: were m
the mean, their capital would be a non-negative martingale and reach 1/α with a chance of at most α. So every
m against which the capital has not reached 1/α stays in the interval, at every look, for any distribution
between the limits, however skewed, from the first unit on. Nothing is asymptotic.

The order of the units matters to the capital (it must be their order of arrival, or any order chosen without
looking at the outcomes) and so sums are not enough: these functions take values.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from equipoise.errors import UsageError
from equipoise.stats.domain import counted, finite, inside, positive
from equipoise.stats.estimate import Estimate, NotEstimable

__all__ = ["bounded_difference", "bounded_mean", "bounded_mean_bernstein"]

Values = Sequence[float] | NDArray[np.floating] | NDArray[np.integer] | NDArray[np.bool_]

# The share of the capital that may be lost on one unit; theorem 3 holds for any below 1.
_MOST = 0.5


def bounded_mean(
    values: Values,
    *,
    low: float = 0.0,
    high: float = 1.0,
    planned: float,
    level: float = 0.95,
    null: float | None = None,
) -> Estimate | NotEstimable:
    """One mean of an outcome between `low` and `high`, by hedged betting capital.

    Scale: the outcome's own. `values` are in order of arrival; `planned` is the number of units at which the
    interval should be narrowest, and earlier and later looks are as valid. Bets are λ = sqrt(2·ln(2/α) /
    (max(planned, t) · σ̂²)) with σ̂² the spread of the units before the t-th (predictable plug-in), at most
    half the capital;
    half of the capital bets that the mean is higher, half that it is lower. The interval holds all m against
    which neither half reached 2/α *at this look*; keep the least of the p-values and the common interval over
    looks by `normal_mixture.over_looks`.
    `standard_error` is the ordinary one, or half the interval's width over z where the values are all equal.
    `p_value` is the reciprocal of the capital against `null`, at most 1, and None where no null is given.

    Degenerate cases: no values are not estimable. Errors: UsageError for values outside the limits, limits
    that do not rise, a plan not above 0, a level outside (0, 1) or a null not strictly between the limits.
    Source: Waudby-Smith & Ramdas (2024), JRSS B 86, 1, theorem 3 (hedged capital).

    >>> e = bounded_mean([1, 0, 1, 1] * 50, planned=200)
    >>> e.value, round(e.low, 3), round(e.high, 3)
    (0.75, 0.657, 0.825)
    """
    level = inside("level", level)
    low, high = _limits(low, high)
    unit = _unit_interval(values, low, high)
    planned = positive("planned", planned)
    if null is not None:
        null = inside("null", null, low, high)
    if unit.size == 0:
        return NotEstimable("there are no values")
    return _hedged(unit, low, high, planned, level, null, "mean of a bounded outcome, hedged betting")


def bounded_difference(
    control: Values,
    treatment: Values,
    *,
    low: float = 0.0,
    high: float = 1.0,
    planned: float,
    block: tuple[int, int] = (1, 1),
    level: float = 0.95,
    null: float = 0.0,
) -> Estimate | NotEstimable:
    """The difference of two bounded means, treatment minus control, by hedged betting on blocks.

    Scale: the outcome's own, so the difference lies within ± (high − low). Each arm's values are in order of
    arrival and cut into blocks of `block` = (control, treatment) units; the next block of either arm form one
    observation, mean of treatment minus mean of control, which is bounded and has the difference as its mean.
    With (1, 1) and equal arms nothing is lost; with 1:9 allocation use (1, 9). What does not fill a block yet
    waits, uncounted. `planned` counts units in the control at which the interval should be narrowest.
    `value` and `standard_error` are those of the blocks used.
    It would lie where arms drift in opposite order (each block assumes its two parts share one difference), and
    where blocks were sorted by outcome. Rare outcomes cost width, never validity.

    Degenerate cases: not estimable before the first full block. Errors: as for `bounded_mean`, and UsageError
    for a block with fewer than one unit of either arm.
    Source: Waudby-Smith & Ramdas (2024), theorem 3; blocks as in Turner, Ly & Grünwald (2024), Journal of
    Statistical Planning and Inference 230, 106116.

    >>> e = bounded_difference([0, 1, 0, 0] * 100, [1, 1, 0, 1] * 100, planned=400)
    >>> e.value, round(e.low, 3), round(e.high, 3), e.p_value < 1e-6
    (0.5, 0.432, 0.568, True)
    """
    level = inside("level", level)
    low, high = _limits(low, high)
    planned = positive("planned", planned)
    size_c, size_t = (counted(f"block[{i}]", size, at_least=1) for i, size in enumerate(block))
    null = inside("null", null, low - high, high - low)
    c, t = _unit_interval(control, low, high), _unit_interval(treatment, low, high)
    blocks = min(c.size // size_c, t.size // size_t)
    if blocks == 0:
        return NotEstimable(f"there is no full block of {size_c} control and {size_t} treatment units yet")
    means_c = c[: blocks * size_c].reshape(blocks, size_c).mean(axis=1)
    means_t = t[: blocks * size_t].reshape(blocks, size_t).mean(axis=1)
    # Shifted and halved, a difference of means in [0, 1] lies in [0, 1] again.
    return _hedged(
        (means_t - means_c + 1.0) / 2.0,
        low - high,
        high - low,
        planned / size_c,
        level,
        null,
        "difference of bounded means, hedged betting on blocks",
    )


def bounded_mean_bernstein(
    values: Values, *, low: float = 0.0, high: float = 1.0, planned: float, level: float = 0.95
) -> Estimate | NotEstimable:
    """One mean of an outcome between `low` and `high`, by the predictable plug-in empirical Bernstein sequence.

    As `bounded_mean`, in closed form and therefore quicker, if wider: with the same bets λ,

        Σλx / Σλ  ±  (ln(2/α) + Σ 4(x − μ̂_before)² · (−ln(1 − λ) − λ)/4) / Σλ.

    `value` is the ordinary mean and may lie off the interval's centre. There is no p-value.
    Degenerate cases and errors: as for `bounded_mean`.
    Source: Waudby-Smith & Ramdas (2024), JRSS B 86, 1, theorem 2.

    >>> e = bounded_mean_bernstein([1, 0, 1, 1] * 50, planned=200)
    >>> round(e.low, 3), round(e.high, 3)
    (0.641, 0.853)
    """
    level = inside("level", level)
    low, high = _limits(low, high)
    unit = _unit_interval(values, low, high)
    planned = positive("planned", planned)
    if unit.size == 0:
        return NotEstimable("there are no values")
    mean_before, spread_before = _before(unit)
    need = math.log(2.0 / (1.0 - level))
    bets = np.minimum(_MOST, _bets(spread_before, planned, need))
    cost = (unit - mean_before) ** 2 * (-np.log1p(-bets) - bets)
    total = float(bets.sum())
    centre, half = float(bets @ unit) / total, (need + float(cost.sum())) / total
    limits = max(0.0, centre - half), min(1.0, centre + half)
    return _estimate(
        unit, limits, low, high, level, None, None, "mean of a bounded outcome, empirical Bernstein sequence"
    )


def _hedged(
    unit: NDArray[np.float64],
    low: float,
    high: float,
    planned: float,
    level: float,
    null: float | None,
    method: str,
) -> Estimate:
    """`unit` are the observations mapped to [0, 1] from [low, high], as the null and the answer are."""
    alpha = 1.0 - level
    _, spread_before = _before(unit)
    need = math.log(2.0 / alpha)
    bets = _bets(spread_before, planned, need)

    def against_lower(m: float, x: NDArray[np.float64]) -> float:
        """The log capital of one who bets that the mean is above m; it falls as m rises."""
        return float(np.log1p(np.minimum(bets, _MOST / m) * (x - m)).sum()) if m > 0.0 else math.inf

    lower = _turn(lambda m: against_lower(m, unit), need)
    upper = 1.0 - _turn(lambda m: against_lower(m, 1.0 - unit), need)
    p_value = None
    if null is not None:
        m = (null - low) / (high - low)
        # The greater of the two halves bounds the capital from below and matches the interval exactly.
        log_capital = max(against_lower(m, unit), against_lower(1.0 - m, 1.0 - unit)) - math.log(2.0)
        p_value = math.exp(-max(0.0, log_capital))
    return _estimate(unit, (lower, upper), low, high, level, null, p_value, method)


def _bets(spread_before: NDArray[np.float64], planned: float, need: float) -> NDArray[np.float64]:
    """The bet before each unit; past the plan it shrinks, so that later looks still narrow the interval."""
    horizon = np.maximum(planned, np.arange(1, spread_before.size + 1))
    return np.asarray(np.sqrt(2.0 * need / (horizon * spread_before)))


def _turn(log_capital: Callable[[float], float], need: float) -> float:
    """The greatest m in [0, 1] up to which the falling `log_capital` is still at `need` or above."""
    outside, kept = 0.0, 1.0
    if log_capital(2.0**-40) < need:
        return 0.0
    for _ in range(45):
        middle = (outside + kept) / 2.0
        if log_capital(middle) >= need:
            outside = middle
        else:
            kept = middle
    return outside


def _before(unit: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Mean and spread of all units before each, drawn towards 1/2 and 1/4 by one unit that never was."""
    counts = np.arange(1, unit.size + 1)
    means = (0.5 + np.cumsum(unit)) / (counts + 1)
    spreads = (0.25 + np.cumsum((unit - means) ** 2)) / (counts + 1)
    return np.concatenate(([0.5], means[:-1])), np.concatenate(([0.25], spreads[:-1]))


def _estimate(
    unit: NDArray[np.float64],
    limits: tuple[float, float],
    low: float,
    high: float,
    level: float,
    null: float | None,
    p_value: float | None,
    method: str,
) -> Estimate:
    width = high - low
    error = float(unit.std(ddof=1)) / math.sqrt(unit.size) if unit.size > 1 else 0.0
    return Estimate(
        value=low + width * float(unit.mean()),
        standard_error=width * (error or (limits[1] - limits[0]) / 4.0),
        low=low + width * limits[0],
        high=low + width * limits[1],
        level=level,
        method=method,
        null=0.0 if null is None else null,
        p_value=p_value,
    )


def _limits(low: float, high: float) -> tuple[float, float]:
    low, high = finite("low", low), finite("high", high)
    if not low < high:
        raise UsageError(f"low must be below high, not {low:g} and {high:g}")
    return low, high


def _unit_interval(values: Values, low: float, high: float) -> NDArray[np.float64]:
    array = np.asarray(values, dtype=np.float64).ravel()
    if not ((array >= low) & (array <= high)).all():
        raise UsageError(f"every value must lie between {low:g} and {high:g}")
    return (array - low) / (high - low)
