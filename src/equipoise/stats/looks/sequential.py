"""Looking more than once: boundaries that keep the promised error however often, and whenever, one looks.

A spending function (`spending`) says how much of the error may be used by the information seen; the walk
of the statistic over the looks (`brownian`) says where the boundary must lie for that. Boundaries fixed by a
constant are in `classic_boundaries`, those somebody wrote down in `registered_boundaries`, ending early
without an effect in `futility`, and what to report after stopping in `after_stopping`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from equipoise.errors import UsageError
from equipoise.stats.domain import finite, inside, positive, sided
from equipoise.stats.looks.brownian import FARTHEST, Walk, rising_fractions
from equipoise.stats.looks.spending import Spending
from equipoise.stats.normal import critical
from equipoise.stats.roots import brentq

__all__ = [
    "FARTHEST",
    "Crossings",
    "Inflation",
    "boundaries",
    "crossing_probabilities",
    "inflation",
    "inflation_of",
    "information_for",
    "next_boundary",
    "power",
    "regions",
    "tail_of",
]

_LEAST_ALPHA = 1e-9


@dataclass(frozen=True, slots=True)
class Crossings:
    """The probability of crossing for the first time at each look, above and below."""

    upper: tuple[float, ...]
    lower: tuple[float, ...]

    @property
    def total(self) -> float:
        """The probability of crossing at all.

        >>> Crossings((0.01, 0.02), (0.01, 0.02)).total
        0.06
        """
        return math.fsum(self.upper + self.lower)


@dataclass(frozen=True, slots=True)
class Inflation:
    """What looking costs and saves, beside a test with one look of the same error and power.

    `factor` is the maximum information over the fixed test's; `drift` the expected z at the maximum under
    the design effect; `expected` the average information at stopping, as a fraction of the *maximum*, under
    that effect. Multiply `expected` by `factor` to compare it with the fixed test.
    """

    factor: float
    drift: float
    expected: float
    boundaries: tuple[float, ...]


def boundaries(
    fractions: Sequence[float], alpha: float, spending: Spending, sides: int = 2
) -> tuple[float, ...]:
    """The z boundary of each look, for a test of level `alpha` that spends as `spending` says.

    `fractions` are information fractions, rising, above 0; they need not be equally spaced nor end in 1,
    and what lies beyond 1 counts as 1. `alpha` is the error of the whole test and each tail spends
    alpha/sides by itself. Two sides: reject where |z| ≥ boundary; one side: where z ≥ boundary. No boundary
    is above `FARTHEST`.

    Degenerate cases: one look at 1 gives the fixed test's critical value. Errors: UsageError for no
    fractions, ones that do not rise by at least 1e-4 of themselves, alpha below 1e-9 or not below 1, or
    other sides.
    Source: Lan & DeMets (1983), Biometrika 70, 659; Armitage, McPherson & Rowe (1969), JRSS A 132,
    235.

    >>> from equipoise.stats.looks.spending import obrien_fleming
    >>> [round(b, 4) for b in boundaries([0.2, 0.4, 0.6, 0.8, 1.0], 0.05, obrien_fleming)]
    [4.8769, 3.357, 2.6803, 2.2898, 2.031]
    """
    ts, tail = rising_fractions(fractions), tail_of(alpha, sides)
    walk, found, spent = Walk(ts, 0.0), [], 0.0
    for t in ts:
        boundary = walk.boundary_above(spending(t, tail) - spent)
        spent += walk.above(boundary)
        walk.carry_on((-boundary if sides == 2 else -math.inf, boundary))
        found.append(boundary)
    return tuple(found)


def next_boundary(
    previous_fractions: Sequence[float],
    previous_boundaries: Sequence[float],
    fraction: float,
    alpha: float,
    spending: Spending,
    *,
    last: bool = False,
    sides: int = 2,
    binding: Sequence[float] | None = None,
) -> float:
    """The boundary of the look at hand, at the information seen, after looks already made.

    What those looks spent is worked out from their own boundaries at their own fractions, not from the
    plan; this look may spend up to spending(fraction), or all that is left if it is the `last`. So the
    error is kept when looks come early, late, or more often than planned, as long as the choice does not
    depend on the effect seen. `binding` are the futility boundaries of the previous looks, of a plan that
    promised to obey them (see `futility_design`); leave it out where they may be overruled.

    A guardrail looked at beside the primary spends an error of its own: the same function with the
    guardrail's alpha, one side, the guardrail's own information, and the boundaries it was itself judged by.
    Neither test needs to know of the other; their alphas are never added up or shared by accident.

    Degenerate cases: where nothing is left to spend the answer is `FARTHEST`. Errors: as for `boundaries`,
    and UsageError where fractions and boundaries differ in number or a boundary is not above 0.
    Source: Lan & DeMets (1983), section 2; Jennison & Turnbull (2000), chapter 7.

    >>> from equipoise.stats.looks.spending import obrien_fleming, pocock
    >>> round(next_boundary([0.5], [2.9626], 0.9, 0.05, obrien_fleming, last=True), 4)
    1.9667

    The guardrail at the same look, at .88 of its own information, with 1 % of error spent evenly so that
    harm is seen early:

    >>> round(next_boundary([0.47], [2.56], 0.88, 0.01, pocock, sides=1), 4)
    2.552
    """
    ts, tail = rising_fractions([*previous_fractions, fraction]), tail_of(alpha, sides)
    used = _boundaries(previous_boundaries, len(ts) - 1)
    walk, spent = Walk(ts, 0.0), 0.0
    for boundary, region in zip(used, regions(used, binding, sides), strict=True):
        spent += walk.above(boundary)
        walk.carry_on(*region)
    return walk.boundary_above((tail if last else spending(ts[-1], tail)) - spent)


def crossing_probabilities(
    fractions: Sequence[float], boundaries: Sequence[float], drift: float = 0.0, sides: int = 2
) -> Crossings:
    """The probability of crossing first at each look, when the expected z at full information is `drift`.

    Boundaries are on the z scale, above 0, one for each fraction; with one side only crossings above stop
    the test and `lower` is all 0. Errors: UsageError for unusable fractions or boundaries, or a drift that
    is not finite.
    Source: Armitage, McPherson & Rowe (1969); Jennison & Turnbull (2000), chapter 19.

    >>> pocock_five = crossing_probabilities([0.2, 0.4, 0.6, 0.8, 1.0], [2.413] * 5)
    >>> round(pocock_five.total, 4)
    0.05
    """
    ts = rising_fractions(fractions)
    used = _boundaries(boundaries, len(ts))
    walk, upper, lower = Walk(ts, finite("drift", drift)), [], []
    for boundary, region in zip(used, regions(used, None, sides), strict=True):
        upper.append(walk.above(boundary))
        lower.append(walk.below(-boundary) if sides == 2 else 0.0)
        walk.carry_on(*region)
    return Crossings(tuple(upper), tuple(lower))


def power(fractions: Sequence[float], boundaries: Sequence[float], drift: float, sides: int = 2) -> float:
    """The probability of crossing, at any look, on the side to which `drift` points (above, if it is 0).

    Domain and errors as for `crossing_probabilities`; a negative drift has no power in a one-sided test,
    only error.
    Source: Jennison & Turnbull (2000), chapter 19.

    >>> round(power([1.0], [1.959964], 2.801585), 4)
    0.8
    """
    crossed = crossing_probabilities(fractions, boundaries, drift, sides)
    return math.fsum(crossed.lower if drift < 0.0 and sides == 2 else crossed.upper)


def inflation(
    fractions: Sequence[float], alpha: float, power: float, spending: Spending, sides: int = 2
) -> Inflation:
    """The maximum information a design with looks needs, over that of one look with the same error and power.

    `fractions` are of the maximum and end in 1. Errors: UsageError as for `boundaries`, where they do not
    end in 1, and for a power outside (alpha/sides, 1). Degenerate case: one look at 1 has factor 1 and
    expected fraction 1.
    Source: Jennison & Turnbull (2000), chapter 2 (where the factor is R), and
    chapter 7 for spending functions.

    >>> from equipoise.stats.looks.spending import obrien_fleming
    >>> cost = inflation([0.25, 0.5, 0.75, 1.0], 0.05, 0.8, obrien_fleming)
    >>> round(cost.factor, 4), round(cost.expected, 4)
    (1.0196, 0.8226)
    """
    found = inflation_of(fractions, boundaries(fractions, alpha, spending, sides), alpha, power, sides)
    # One look is the fixed test itself, to the last digit.
    return found if len(found.boundaries) > 1 else replace(found, factor=1.0, expected=1.0)


def inflation_of(
    fractions: Sequence[float], boundaries: Sequence[float], alpha: float, power: float, sides: int = 2
) -> Inflation:
    """What looking costs with boundaries however they were made, beside one look of level `alpha`.

    As `inflation`, for boundaries from a constant or from somebody's table; their own error need not be
    `alpha`, which only sets what they are compared with. Errors: UsageError as for `inflation` and
    `crossing_probabilities`, and where even an expected z of 40 would not give the power.
    Source: Jennison & Turnbull (2000), chapter 2, tables 2.2 and 2.4.

    >>> round(inflation_of([0.2, 0.4, 0.6, 0.8, 1.0], [2.4132] * 5, 0.05, 0.8).factor, 3)
    1.229
    """
    ts, tail = rising_fractions(fractions), tail_of(alpha, sides)
    if abs(ts[-1] - 1.0) > 1e-9:
        raise UsageError(f"the last information fraction must be 1, not {ts[-1]:g}")
    wanted, bounds = inside("power", power, tail, 1.0), _boundaries(boundaries, len(ts))
    fixed = critical(tail) - critical(wanted)

    def lacking(drift: float) -> float:
        return math.fsum(crossing_probabilities(ts, bounds, drift, sides).upper) - wanted

    high = fixed * 1.2 + 0.1
    while lacking(high) < 0.0:
        high *= 1.5
        if high > 40.0:
            raise UsageError(f"no effect of a plausible size crosses these boundaries with power {wanted:g}")
    drift = float(brentq(lacking, 0.0, high, xtol=1e-8)) if lacking(0.0) < 0.0 else 0.0
    crossed = crossing_probabilities(ts, bounds, drift, sides)
    early = [up + down for up, down in zip(crossed.upper[:-1], crossed.lower[:-1], strict=True)]
    expected = math.fsum(t * p for t, p in zip(ts, early, strict=False)) + ts[-1] * (1.0 - math.fsum(early))
    return Inflation((drift / fixed) ** 2, drift, expected, bounds)


def information_for(mde: float, alpha: float, power: float, sides: int = 2) -> float:
    """The information, 1 / standard error², at which one look finds an effect of `mde` with that power.

    ((z_{alpha/sides} + z_power) / mde)²; `mde` is on the estimate's scale, of either sign, and information
    on one over its square. Multiply by `inflation(...).factor` for a design with looks. Errors: UsageError
    for no effect, or alpha or power outside (0, 1), or a power not above alpha/sides. Source: Jennison &
    Turnbull (2000), chapter 3.

    >>> round(information_for(0.05, 0.05, 0.8), 1)
    3139.6
    """
    effect, tail = finite("mde", mde), inside("alpha", alpha) / sided(sides)
    if effect == 0.0:
        raise UsageError("mde must not be 0: no amount of information finds an effect that is not there")
    return ((critical(tail) - critical(inside("power", power, tail, 1.0))) / effect) ** 2


def regions(
    boundaries: Sequence[float], futility: Sequence[float] | None, sides: int
) -> list[tuple[tuple[float, float], ...]]:
    """The intervals of z in which the experiment goes on, look by look.

    Inside the boundaries and, where there are any, above the futility boundary (one side) or outside the
    wedge of that half-width (two sides). Errors: UsageError for a boundary not above 0, a futility boundary
    above its outer one or (two sides) below 0, or for different numbers of them.

    >>> regions([2.5], [0.3], 1), regions([2.5], [0.3], 2)
    ([((0.3, 2.5),)], [((-2.5, -0.3), (0.3, 2.5))])
    """
    outer = _boundaries(boundaries, len(boundaries))
    if futility is None:
        return [((-b if sided(sides) == 2 else -math.inf, b),) for b in outer]
    if len(futility) != len(outer):
        raise UsageError(
            f"each look needs one futility boundary, but {len(outer)} looks came with {len(futility)}"
        )
    inner = [finite("a futility boundary", a) for a in futility]
    for a, b in zip(inner, outer, strict=True):
        if a > b:
            raise UsageError(f"a futility boundary may not lie beyond its outer boundary, but {a:g} > {b:g}")
        if a < 0.0 and sides == 2:
            raise UsageError(f"the half-width of an inner wedge must be at least 0, not {a:g}")
    if sided(sides) == 1:
        return [((a, b),) for a, b in zip(inner, outer, strict=True)]
    return [((-b, -a), (a, b)) for a, b in zip(inner, outer, strict=True)]


def tail_of(alpha: float, sides: int) -> float:
    """The error of one tail of a test of level `alpha`: alpha/sides, below one half.

    Errors: UsageError for alpha below 1e-9 or not below 1 (two sides) or one half (one side), or for other
    sides.

    >>> tail_of(0.05, 2)
    0.025
    """
    return inside("alpha", alpha, _LEAST_ALPHA, 0.5 * sided(sides)) / sides


def _boundaries(boundaries: Sequence[float], wanted: int) -> tuple[float, ...]:
    found = tuple(positive("a boundary", b) for b in boundaries)
    if len(found) != wanted:
        raise UsageError(f"each look needs one boundary, but {wanted} looks came with {len(found)}")
    return found
