"""Boundaries that follow from one constant: O'Brien & Fleming, Pocock, and Wang & Tsiatis between them.

They are exact for looks fixed beforehand. Where looks may move, come more often or stop early, spend the
error instead (`sequential.next_boundary`): these boundaries keep the error only at the times they were made
for.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from equipoise.stats.domain import inside
from equipoise.stats.looks.brownian import FARTHEST, rising_fractions
from equipoise.stats.looks.sequential import crossing_probabilities, tail_of
from equipoise.stats.normal import critical
from equipoise.stats.roots import brentq

__all__ = [
    "ClassicBoundaries",
    "obrien_fleming_boundaries",
    "pocock_boundaries",
    "wang_tsiatis_boundaries",
]


@dataclass(frozen=True, slots=True)
class ClassicBoundaries:
    """The constant, which is the boundary of the last look, and the z boundary of each look."""

    constant: float
    boundaries: tuple[float, ...]


def wang_tsiatis_boundaries(
    fractions: Sequence[float], alpha: float, delta: float, sides: int = 2
) -> ClassicBoundaries:
    """The z boundaries c · (t_k/t_K)^(delta − ½) whose whole error is `alpha`.

    `delta` is from −0.5 to 0.7: 0 is O'Brien & Fleming's exact boundary, ½ is Pocock's. `fractions` are
    information fractions, rising, above 0, not necessarily equal steps; only their ratios to the last
    matter. Two sides: reject where |z| ≥ boundary; one side: where z ≥ boundary, with `alpha` the error of
    that side.

    Degenerate cases: one look has the fixed test's critical value; no boundary is above `FARTHEST`, which
    early looks with a small delta reach. Errors: UsageError for a delta outside its domain and as for
    `boundaries`.
    Source: Wang & Tsiatis (1987), Biometrics 43, 193; Jennison & Turnbull (2000), section 2.7.1.

    >>> found = wang_tsiatis_boundaries([0.2, 0.4, 0.6, 0.8, 1.0], 0.05, 0.25)
    >>> round(found.constant, 3), round(found.boundaries[0], 3)
    (2.136, 3.194)
    """
    ts, tail = rising_fractions(fractions), tail_of(alpha, sides)
    power = inside("delta", delta, -0.5000001, 0.7000001) - 0.5
    shape = [(t / ts[-1]) ** power for t in ts]

    def excess(constant: float) -> float:
        bounds = [min(constant * factor, FARTHEST) for factor in shape]
        return math.fsum(crossing_probabilities(ts, bounds, 0.0, sides).upper) - tail

    # The last look alone would spend alpha at its critical value; K looks sharing it spend at most alpha.
    low = critical(tail)
    high = critical(tail / len(ts)) / min(shape) + 1e-9
    constant = low if len(ts) == 1 else float(brentq(excess, low - 1e-9, high, xtol=1e-10))
    return ClassicBoundaries(constant, tuple(min(constant * factor, FARTHEST) for factor in shape))


def obrien_fleming_boundaries(fractions: Sequence[float], alpha: float, sides: int = 2) -> ClassicBoundaries:
    """O'Brien & Fleming's exact boundaries c / √(t_k/t_K): hard to cross early, nearly the fixed test late.

    Not the spending function of the same name (`spending.obrien_fleming`), which comes near them without
    knowing the looks beforehand, nor its variant for both tails together. Domain, degenerate cases and
    errors as for `wang_tsiatis_boundaries`.
    Source: O'Brien & Fleming (1979), Biometrics 35, 549; Jennison & Turnbull (2000), table 2.3.

    >>> found = obrien_fleming_boundaries([0.2, 0.4, 0.6, 0.8, 1.0], 0.05)
    >>> [round(b, 4) for b in found.boundaries]
    [4.5617, 3.2256, 2.6337, 2.2809, 2.0401]
    """
    return wang_tsiatis_boundaries(fractions, alpha, 0.0, sides)


def pocock_boundaries(fractions: Sequence[float], alpha: float, sides: int = 2) -> ClassicBoundaries:
    """Pocock's exact boundaries: the same z at every look.

    Not the spending function of the same name (`spending.pocock`), whose boundaries are nearly equal only.
    Domain, degenerate cases and errors as for `wang_tsiatis_boundaries`.
    Source: Pocock (1977), Biometrika 64, 191; Jennison & Turnbull (2000), table 2.1.

    >>> round(pocock_boundaries([0.2, 0.4, 0.6, 0.8, 1.0], 0.05).constant, 4)
    2.4132
    """
    return wang_tsiatis_boundaries(fractions, alpha, 0.5, sides)
