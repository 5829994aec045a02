"""How much of the permitted error may be used up by the time a given share of the information is in.

A spending function takes the information fraction and the error of *one* tail. A two-sided test of level
0.05 is two tails of 0.025, each spent by the same function: this is how the tables of Lan and DeMets are
computed.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

from scipy.special import ndtr, ndtri

from equipoise.errors import UsageError
from equipoise.stats.domain import inside

__all__ = ["SPENDING", "Spending", "obrien_fleming", "pocock"]

Spending = Callable[[float, float], float]


def obrien_fleming(fraction: float, alpha: float) -> float:
    """The error spent at `fraction`, almost none early: 2 − 2Φ(z_{alpha/2} / sqrt(fraction)).

    `fraction` is above 0 and counts as 1 from there on; `alpha` is the error of the tail that is spent.
    Errors: UsageError outside the domain. Source: Lan & DeMets (1983), Biometrika 70, 659, α₁*.

    >>> f"{obrien_fleming(0.2, 0.025):.3e} {obrien_fleming(1, 0.025):.3f}"
    '5.389e-07 0.025'
    """
    t, alpha = _domain(fraction, alpha)
    return alpha if t == 1.0 else 2.0 * float(ndtr(ndtri(alpha / 2.0) / math.sqrt(t)))


def pocock(fraction: float, alpha: float) -> float:
    """The error spent at `fraction`, nearly evenly: alpha · ln(1 + (e − 1)·fraction).

    `fraction` is above 0 and counts as 1 from there on; `alpha` is the error of the tail that is spent.
    Errors: UsageError outside the domain. Source: Lan & DeMets (1983), Biometrika 70, 659, α₂*.

    >>> round(pocock(0.5, 0.025), 5)
    0.0155
    """
    t, alpha = _domain(fraction, alpha)
    return alpha if t == 1.0 else alpha * math.log1p(math.expm1(1.0) * t)


SPENDING: Mapping[str, Spending] = {"obrien_fleming": obrien_fleming, "pocock": pocock}


def _domain(fraction: float, alpha: float) -> tuple[float, float]:
    if not fraction > 0:
        raise UsageError(f"an information fraction must be above 0, not {fraction}")
    return min(1.0, float(fraction)), inside("alpha", alpha)
