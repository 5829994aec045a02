"""Ending early because an effect is no longer to be expected: futility boundaries that spend the type II error.

One-sided: end where z falls to the futility boundary or below, which an effect in the harmful direction soon
does. Two-sided: end where |z| is inside an inner wedge that opens around 0 and meets the outer boundaries at
the last look. The share of 1 − power used up by each look follows a spending function, as alpha does.

Non-binding boundaries may be overruled: the outer ones are computed as if nobody ever stopped for futility, so
alpha is kept either way and obeying makes the test a little conservative. Binding ones buy a little
information with the promise to obey; who breaks it has more error than alpha.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from equipoise.errors import UsageError
from equipoise.stats.domain import finite, inside, positive
from equipoise.stats.looks.brownian import Walk, rising_fractions
from equipoise.stats.looks.sequential import regions, tail_of
from equipoise.stats.looks.spending import Spending
from equipoise.stats.normal import critical
from equipoise.stats.roots import brentq

__all__ = ["FutilityDesign", "Stops", "futility_design", "next_futility", "stopping_probabilities"]

_LEAST = 1e-6


@dataclass(frozen=True, slots=True)
class Stops:
    """The probability of stopping at each look: above, below (two sides) and for futility."""

    upper: tuple[float, ...]
    lower: tuple[float, ...]
    futility: tuple[float, ...]

    def at(self, look: int) -> float:
        """The probability of stopping at the look of this number, counted from 1, for whatever reason.

        >>> Stops((0.1, 0.2), (0.0, 0.0), (0.3, 0.4)).at(1)
        0.4
        """
        return math.fsum(part[look - 1] for part in (self.upper, self.lower, self.futility))


@dataclass(frozen=True, slots=True, kw_only=True)
class FutilityDesign:
    """A plan with futility boundaries, and what it costs and saves if they are obeyed.

    `factor` is the maximum information over that of one look with the same error and power; `drift` the
    expected z at the maximum under the design effect. `expected_null` and `expected_design` are average
    information at stopping as fractions of the *maximum*; `average_null` and `average_design` compare it
    with the fixed test. `type_one_error` is that of the whole test if futility is obeyed: alpha where it
    binds, a little less where it does not.
    """

    factor: float
    drift: float
    boundaries: tuple[float, ...]
    futility: tuple[float, ...]
    expected_null: float
    expected_design: float
    type_one_error: float

    @property
    def average_null(self) -> float:
        """Average information without an effect, over that of one look with the same error and power."""
        return self.factor * self.expected_null

    @property
    def average_design(self) -> float:
        """Average information under the design effect, over that of one look with the same error and power."""
        return self.factor * self.expected_design


def futility_design(
    fractions: Sequence[float],
    alpha: float,
    power: float,
    spending: Spending,
    beta_spending: Spending,
    *,
    sides: int = 1,
    binding: bool = False,
) -> FutilityDesign:
    """Boundaries and futility boundaries with which the test, futility obeyed, has error `alpha` and `power`.

    `fractions` are information fractions of the maximum, rising, ending in 1; `spending` spends alpha/sides
    on each outer boundary, `beta_spending` spends 1 − power at the design effect. On the z scale; at the
    last look both meet. With one side a futility boundary may lie below 0 and is −`FARTHEST` where nothing
    may be spent; with two sides it is the half-width of the wedge, 0 where there is none. Power counts
    crossings on the side of the effect only.

    Obeyed non-binding boundaries make the promise in the safe direction only: `type_one_error` says how
    much of alpha is then left unused. A wedge counts small effects in the wrong direction as futile too.

    Degenerate cases: one look is the fixed test. Errors: UsageError as for `boundaries`, for fractions that
    do not end in 1, and for a power outside (alpha/sides, 1).
    Source: Pampallona, Tsiatis & Kim (2001), Drug Information Journal 35, 1113; Jennison & Turnbull (2000),
    sections 4.4 (one side), 5.2 (wedge) and 7.3 (error spending).

    >>> from equipoise.stats.looks.spending import obrien_fleming
    >>> looks = [0.2, 0.4, 0.6, 0.8, 1.0]
    >>> plan = futility_design(looks, 0.025, 0.8, obrien_fleming, obrien_fleming)
    >>> [round(z, 3) for z in plan.futility]
    [-1.292, 0.17, 0.963, 1.526, 2.031]
    >>> round(plan.factor, 3), round(plan.average_null, 3)
    (1.155, 0.584)
    """
    ts, tail = rising_fractions(fractions), tail_of(alpha, sides)
    if abs(ts[-1] - 1.0) > 1e-9:
        raise UsageError(f"the last information fraction must be 1, not {ts[-1]:g}")
    wanted = inside("power", power, tail, 1.0)
    fixed = critical(tail) - critical(wanted)

    def drawn(drift: float) -> tuple[tuple[float, ...], tuple[float, ...]]:
        return _draw(ts, tail, 1.0 - wanted, spending, beta_spending, drift, sides, binding=binding)

    def lacking(drift: float) -> float:
        return math.fsum(stopping_probabilities(ts, *drawn(drift), drift, sides).upper) - wanted

    low, high = fixed * 0.9, fixed * 1.2 + 0.1
    while lacking(high) < 0.0:
        low, high = high, high * 1.3
        if high > 40.0:
            raise UsageError(
                "no plausible amount of information gives this power with these futility boundaries"
            )
    drift = float(brentq(lacking, low, high, xtol=1e-8)) if len(ts) > 1 else fixed
    upper, futility = drawn(drift)
    null = stopping_probabilities(ts, upper, futility, 0.0, sides)
    effect = stopping_probabilities(ts, upper, futility, drift, sides)
    return FutilityDesign(
        factor=(drift / fixed) ** 2,
        drift=drift,
        boundaries=upper,
        futility=futility,
        expected_null=_expected(ts, null),
        expected_design=_expected(ts, effect),
        type_one_error=math.fsum(null.upper + null.lower),
    )


def stopping_probabilities(
    fractions: Sequence[float],
    boundaries: Sequence[float],
    futility: Sequence[float],
    drift: float = 0.0,
    sides: int = 1,
) -> Stops:
    """The probability of stopping at each look, and why, when both kinds of boundary are obeyed.

    Boundaries are on the z scale, one of each kind for each fraction; `drift` is the expected z at full
    information. Where a futility boundary reaches the outer one, everything stops there. Errors: UsageError
    for unusable fractions or boundaries, a futility boundary above its outer one or (two sides) below 0.
    Source: Armitage, McPherson & Rowe (1969); Jennison & Turnbull (2000), chapter 19.

    >>> stops = stopping_probabilities([0.5, 1.0], [2.5, 2.0], [0.0, 2.0])
    >>> round(stops.futility[0], 4), round(stops.at(1) + stops.at(2), 6)
    (0.5, 1.0)
    """
    ts = rising_fractions(fractions)
    walk = Walk(ts, finite("drift", drift))
    upper, lower, futile = [], [], []
    if len(boundaries) != len(ts):
        raise UsageError(f"each look needs one boundary, but {len(ts)} looks came with {len(boundaries)}")
    for boundary, inner, region in zip(
        boundaries, futility, regions(boundaries, futility, sides), strict=True
    ):
        upper.append(walk.above(boundary))
        lower.append(walk.below(-boundary) if sides == 2 else 0.0)
        futile.append(walk.within(inner) if sides == 2 else walk.below(inner))
        walk.carry_on(*region)
    return Stops(tuple(upper), tuple(lower), tuple(futile))


def next_futility(
    previous_fractions: Sequence[float],
    previous_boundaries: Sequence[float],
    previous_futility: Sequence[float],
    fraction: float,
    boundary: float,
    beta: float,
    beta_spending: Spending,
    drift: float,
    *,
    last: bool = False,
    sides: int = 1,
) -> float:
    """The futility boundary of the look at hand, at the information seen, after looks already made.

    `boundary` is this look's outer one (`next_boundary`), `beta` is 1 − power and `drift` the design's
    expected z at the registered maximum. What earlier looks spent is worked out from their own boundaries, as
    obeyed. At the `last` look it is `boundary` itself: whatever has not crossed has not shown the effect,
    and the power is what it then is.

    Degenerate cases: where nothing is left to spend, −`FARTHEST` (one side) or 0 (two). Errors: UsageError
    for unusable fractions or boundaries, a drift not above 0 or a beta outside (0, 1).
    Source: Jennison & Turnbull (2000), section 7.3, at unpredictable information.

    >>> from equipoise.stats.looks.spending import obrien_fleming
    >>> round(next_futility([0.4], [3.3568], [-0.4], 0.65, 2.55, 0.2, obrien_fleming, 3.0), 4)
    1.1967
    """
    ts = rising_fractions([*previous_fractions, fraction])
    outer, share = positive("a boundary", boundary), inside("beta", beta)
    expected = positive("drift", drift)
    if last:
        return outer
    before = regions(previous_boundaries, previous_futility, sides)
    if len(before) != len(ts) - 1:
        raise UsageError(f"each look needs one boundary, but {len(ts) - 1} looks came with {len(before)}")
    walk, spent = Walk(ts, expected), 0.0
    for inner, region in zip(previous_futility, before, strict=True):
        spent += walk.within(inner) if sides == 2 else walk.below(inner)
        walk.carry_on(*region)
    return _futility_here(walk, beta_spending(ts[-1], share) - spent, outer, sides)


def _draw(
    ts: tuple[float, ...],
    tail: float,
    beta: float,
    spending: Spending,
    beta_spending: Spending,
    drift: float,
    sides: int,
    *,
    binding: bool,
) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Both kinds of boundary for a given drift, meeting at the last look whether or not beta suffices."""
    null, effect = Walk(ts, 0.0), Walk(ts, drift)
    upper: list[float] = []
    futility: list[float] = []
    spent = missed = 0.0
    for k, t in enumerate(ts):
        error = spending(t, tail) - spent
        # A drift tried that is far too large lets futility take nearly all; a true design never gets here.
        boundary = null.boundary_above(error) if null.above(_LEAST) > error else _LEAST
        spent += null.above(boundary)
        inner = boundary
        if k < len(ts) - 1:
            inner = _futility_here(effect, beta_spending(t, beta) - missed, boundary, sides)
        missed += effect.within(inner) if sides == 2 else effect.below(inner)
        (region,) = regions([boundary], [inner], sides)
        effect.carry_on(*region)
        null.carry_on(*(region if binding else regions([boundary], None, sides)[0]))
        upper.append(boundary)
        futility.append(inner)
    return tuple(upper), tuple(futility)


def _futility_here(walk: Walk, error: float, boundary: float, sides: int) -> float:
    return walk.boundary_within(error, boundary) if sides == 2 else walk.boundary_below(error, boundary)


def _expected(ts: Sequence[float], stops: Stops) -> float:
    early = [stops.at(look) for look in range(1, len(ts))]
    return math.fsum(t * p for t, p in zip(ts, early, strict=False)) + ts[-1] * (1.0 - math.fsum(early))
