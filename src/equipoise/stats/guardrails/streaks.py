"""How often windows are breached so many times in a row: alarms and actions that nobody meant.

The rule is that of watches: the first breached window alarms, the `persist`-th in a row acts, and neither happens again
before a window was clear. So the actions are the runs of at least `persist` breached windows, each counted once.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import SupportsFloat, SupportsIndex

import numpy as np
from scipy.special import ndtri

from equipoise.errors import UsageError
from equipoise.stats.domain import counted, finite

__all__ = ["Streaks", "expected_streaks", "first_run_chance"]

_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(32)


@dataclass(frozen=True, slots=True)
class Streaks:
    """How many are expected: `alarms` are streaks that begin, `actions` those that last as long as is asked for."""

    alarms: float
    actions: float


def expected_streaks(
    breached: Sequence[float | None], persist: SupportsIndex, *, autocorrelation: SupportsFloat = 0.0
) -> Streaks:
    """Streaks expected in windows of which each is breached with its own chance, as if the same had gone before.

    `breached` are chances in [0, 1] in the order of the windows; a window of None is unknown, and neither lengthens a
    streak nor ends it. `autocorrelation`, in (−1, 1), is that of the values of windows that follow each other: the
    chance that both are breached is that of two normal variables with this correlation (over unknown windows, too),
    and what was before the last window adds nothing. At 0 the windows are independent, and of n alike actions are
    n·(1 − p)·p^persist.
    Degenerate cases: without known windows nothing is expected; windows that are all breached for sure make one streak
    that began before them, so nothing is expected either.
    Errors: UsageError for a chance that is none, a `persist` below 1, or a correlation outside (−1, 1).
    Source: Fu & Koutras (1994), Distribution theory of runs: a Markov chain approach, JASA 89, 1050: runs of at least k
    (their G), in independent, not identical, and Markov dependent trials.

    >>> found = expected_streaks([0.1] * 1_000, 2)
    >>> round(found.alarms, 6), round(found.actions, 6)
    (90.0, 9.0)
    >>> round(expected_streaks([0.1] * 1_000, 2, autocorrelation=0.5).actions, 1)
    21.9
    """
    length = counted("persist", persist, at_least=1)
    correlation = _correlated(autocorrelation)
    known = [_chance(each) for each in breached if each is not None]
    if all(each == 1.0 for each in known):
        return Streaks(0.0, 0.0)
    # Whether the streak is 0, 1, … persist − 1 long, or has acted.
    stands = [1.0] + [0.0] * length
    before = known[-1]
    alarms = actions = 0.0
    # The first time round only says how things stand when the windows begin.
    for counts in (False, True):
        for chance in known:
            again, anew = _after(before, chance, correlation)
            if counts:
                alarms += stands[0] * anew
                actions += stands[length - 1] * (anew if length == 1 else again)
            clear = stands[0] * (1.0 - anew) + sum(stands[1:]) * (1.0 - again)
            longer = [stands[0] * anew, *(each * again for each in stands[1:])]
            stands = [clear, *longer[:length]]
            stands[length] += longer[length]
            before = chance
    return Streaks(alarms, actions)


def _after(before: float, chance: float, correlation: float) -> tuple[float, float]:
    """The chance of a breach after one, and after a window that was none, whose own chance of a breach was `before`."""
    if correlation == 0.0:
        # Said, and not worked out: of what is nearly sure, one less it keeps no digits.
        return chance, chance
    both = _both(before, chance, correlation)
    again = both / before if before > 0.0 else 0.0
    anew = (chance - both) / (1.0 - before) if before < 1.0 else 0.0
    return min(again, 1.0), min(max(anew, 0.0), 1.0)


def first_run_chance(
    breached: SupportsFloat, persist: SupportsIndex, *, autocorrelation: SupportsFloat = 0.0
) -> float:
    """The chance that the first `persist` windows are all breached, so that the last of them acts.

    Scale and errors as in `expected_streaks`. Source: the same.

    >>> round(first_run_chance(0.99, 2), 4), round(first_run_chance(0.99, 2, autocorrelation=0.5), 4)
    (0.9801, 0.9813)
    """
    length = counted("persist", persist, at_least=1)
    chance, correlation = _chance(breached), _correlated(autocorrelation)
    if chance == 0.0:
        return 0.0
    again: float = _both(chance, chance, correlation) / chance
    return float(chance * again ** (length - 1))


def _chance(value: SupportsFloat) -> float:
    chance = finite("the chance of a breach", value)
    if not 0.0 <= chance <= 1.0:
        raise UsageError(f"the chance of a breach must be in [0, 1], not {chance:g}")
    return chance


def _correlated(value: SupportsFloat) -> float:
    correlation = finite("the autocorrelation", value)
    if not -1.0 < correlation < 1.0:
        raise UsageError(f"the autocorrelation must be strictly between -1 and 1, not {correlation:g}")
    return correlation


@lru_cache(maxsize=4096)
def _both(one: float, other: float, correlation: float) -> float:
    """P(X > a, Y > b) of two normal variables, given P(X > a) and P(Y > b).

    The derivative in the correlation is the density at (a, b) (Plackett 1954, Biometrika 41, 351).
    """
    if correlation == 0.0 or not (0.0 < one < 1.0 and 0.0 < other < 1.0):
        return one * other
    a, b = -float(ndtri(one)), -float(ndtri(other))
    at = correlation * (_NODES + 1.0) / 2.0
    left = 1.0 - at * at
    density = np.exp(-(a * a - 2.0 * at * a * b + b * b) / (2.0 * left)) / (2.0 * math.pi * np.sqrt(left))
    both = one * other + correlation / 2.0 * float(_WEIGHTS @ density)
    return min(max(both, one + other - 1.0, 0.0), one, other)
