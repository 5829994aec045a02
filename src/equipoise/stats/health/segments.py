"""Segments against the whole: when the pooled difference says the opposite of its parts, and why.

A randomised arm has the same mix of segments as any other, up to chance. Where the mix differs, the pooled
difference compares phones with desktops as much as A with B (Simpson 1951).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import SupportsIndex

import numpy as np
from numpy.typing import NDArray
from scipy.special import chdtrc

from equipoise.errors import UsageError
from equipoise.stats.domain import counted
from equipoise.stats.estimate import NotEstimable
from equipoise.stats.normal import two_sided

__all__ = ["SegmentMix", "SegmentRates", "Simpson", "segment_mix", "simpson_check"]

# Below five expected units the chi-square approximation is not to be trusted (Cochran 1954).
_FEWEST = 5.0


@dataclass(frozen=True, slots=True)
class SegmentRates:
    """One segment's successes and units in both arms.

    Errors: UsageError for negative counts or more successes than units.

    >>> SegmentRates(130, 200, 560, 800).difference > 0
    True
    """

    successes_c: int
    n_c: int
    successes_t: int
    n_t: int

    def __post_init__(self) -> None:
        for arm, x, n in (("control", self.successes_c, self.n_c), ("treatment", self.successes_t, self.n_t)):
            counted(f"the successes of {arm}", x)
            if counted(f"the units of {arm}", n) < x:
                raise UsageError(f"the successes of {arm} cannot exceed its units, but {x} is more than {n}")

    @property
    def difference(self) -> float | None:
        """The difference of rates, treatment minus control; None where an arm has no unit.

        >>> SegmentRates(0, 0, 1, 2).difference is None
        True
        """
        return self.successes_t / self.n_t - self.successes_c / self.n_c if self.n_c and self.n_t else None


@dataclass(frozen=True, slots=True)
class SegmentMix:
    """The chi-square test that all arms have the same mix; `shares` are of an arm's units, by arm and segment."""

    statistic: float
    degrees_of_freedom: int
    p_value: float
    shares: Mapping[str, Mapping[str, float]]


@dataclass(frozen=True, slots=True)
class Simpson:
    """The pooled difference of rates beside the one within segments (Mantel and Haenszel's weights).

    `reversed` says that they have opposite signs; `mix` whether the arms' mix differs by more than chance,
    which is what can make them do so. `gap` = pooled − within is what the mix contributes, and `p_value`
    is of `within` against 0.
    """

    pooled: float
    within: float
    p_value: float | None
    gap: float
    by_segment: Mapping[str, float]
    reversed: bool
    mix: SegmentMix | NotEstimable


def segment_mix(units: Mapping[str, Mapping[str, SupportsIndex]]) -> SegmentMix | NotEstimable:
    """Pearson's chi-square test that the segments have the same shares in every arm.

    `units` counts randomised units by arm and segment; a segment that an arm does not name has none there.
    The segment must be fixed before assignment (device, country, plan): one that the treatment can change
    differs for good reason. Segments expected below five units in some arm are counted as one
    together, and with the smallest of the others if that is not enough.

    Degenerate cases: not estimable with fewer than two arms or two segments that have units, or where
    what remains is still expected below five units in some arm. Errors: UsageError for negative counts.
    Source: Pearson (1900), Philosophical Magazine 50, 157.

    >>> mix = segment_mix({"A": {"mobile": 200, "desktop": 800}, "B": {"mobile": 800, "desktop": 200}})
    >>> round(mix.statistic), mix.degrees_of_freedom, mix.p_value < 1e-100
    (720, 1, True)
    """
    names = list(dict.fromkeys(name for counts in units.values() for name in counts))
    table = np.array(
        [
            [counted(f"the units of {arm} in {name}", counts.get(name, 0)) for name in names]
            for arm, counts in units.items()
        ],
        dtype=np.float64,
    ).reshape(len(units), len(names))
    shares = {
        arm: {name: float(n / max(row.sum(), 1.0)) for name, n in zip(names, row, strict=True)}
        for arm, row in zip(units, table, strict=True)
    }
    table = table[table.sum(axis=1) > 0][:, table.sum(axis=0) > 0]
    if table.shape[0] < 2:
        return NotEstimable("fewer than two arms have units, so there are no mixes to compare")
    if table.shape[1] < 2:
        return NotEstimable("there is only one segment, so the mix cannot differ")
    fewest = float(_expected(table).min())
    table = table[:, np.argsort(-table.sum(axis=0), kind="stable")]
    rare = _expected(table).min(axis=0) < _FEWEST
    if rare.any():
        table = np.column_stack((table[:, ~rare], table[:, rare].sum(axis=1)))
        if table.shape[1] > 2 and float(_expected(table)[:, -1].min()) < _FEWEST:
            table = np.column_stack((table[:, :-2], table[:, -2:].sum(axis=1)))
    expected = _expected(table)
    if table.shape[1] < 2 or float(expected.min()) < _FEWEST:
        return NotEstimable(
            f"{fewest:.1f} units are expected in a segment of one arm, "
            f"and the check needs at least {_FEWEST:g}"
        )
    statistic = float(((table - expected) ** 2 / expected).sum())
    df = (table.shape[0] - 1) * (table.shape[1] - 1)
    return SegmentMix(statistic, df, float(chdtrc(df, statistic)), shares)


def simpson_check(segments: Mapping[str, SegmentRates]) -> Simpson | NotEstimable:
    """Whether the pooled difference of rates points against the difference within segments, and if so why.

    Everything is a difference of rates, treatment minus control. Within segments the weights are
    n_c·n_t/(n_c + n_t); the variance is the sum of the segments' unpooled ones. A reversal of two
    differences that are both noise means little: read it with `mix`, whose tiny p-value says that the
    pooled difference is not of the arms alone, reversed or not.

    Degenerate cases: not estimable without a segment that has units in both arms; segments of one arm
    only count for the pooled difference and the mix. `p_value` is None where the rates within segments
    have no spread. Errors: none beyond those of `SegmentRates`.
    Source: Simpson (1951), JRSS B 13, 238; Mantel & Haenszel (1959), JNCI 22, 719, for the weights.

    >>> found = simpson_check({
    ...     "mobile": SegmentRates(640, 800, 170, 200), "desktop": SegmentRates(130, 200, 560, 800)
    ... })
    >>> round(found.pooled, 2), round(found.within, 2), found.reversed, found.mix.p_value < 0.001
    (-0.04, 0.05, True, True)
    """
    both = {name: s for name, s in segments.items() if s.n_c and s.n_t}
    if not both:
        return NotEstimable("no segment has units in both arms")
    n_c, n_t = (sum(getattr(s, name) for s in segments.values()) for name in ("n_c", "n_t"))
    x_c, x_t = (sum(getattr(s, name) for s in segments.values()) for name in ("successes_c", "successes_t"))
    by_segment = {name: s.successes_t / s.n_t - s.successes_c / s.n_c for name, s in both.items()}
    weights = {name: s.n_c * s.n_t / (s.n_c + s.n_t) for name, s in both.items()}
    total = math.fsum(weights.values())
    within = math.fsum(weights[name] * by_segment[name] for name in both) / total
    variance = math.fsum(
        (weights[name] / total) ** 2
        * (
            s.successes_c * (s.n_c - s.successes_c) / s.n_c**3
            + s.successes_t * (s.n_t - s.successes_t) / s.n_t**3
        )
        for name, s in both.items()
    )
    pooled = x_t / n_t - x_c / n_c
    return Simpson(
        pooled=pooled,
        within=within,
        p_value=two_sided(within / math.sqrt(variance)) if variance > 0.0 else None,
        gap=pooled - within,
        by_segment=by_segment,
        reversed=pooled * within < 0.0,
        mix=segment_mix(
            {
                "control": {name: s.n_c for name, s in segments.items()},
                "treatment": {name: s.n_t for name, s in segments.items()},
            }
        ),
    )


def _expected(table: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(np.outer(table.sum(axis=1), table.sum(axis=0)) / table.sum())
