"""Roots of functions of one number, by Brent's method."""

from __future__ import annotations

from collections.abc import Callable

__all__ = ["brentq"]


def brentq(
    function: Callable[[float], float], low: float, high: float, *, xtol: float = 2e-12, rtol: float = 1e-15
) -> float:
    """Where `function`, continuous and of opposite signs at `low` and `high`, is 0.

    scipy's own, imported when first needed: `scipy.optimize` takes longer to import than everything else
    that the mathematics uses, and most callers never look for a root. Errors: ValueError for equal signs.
    Source: Brent (1973), Algorithms for Minimization Without Derivatives, chapter 4.

    >>> round(brentq(lambda x: x * x - 2.0, 0.0, 2.0), 9)
    1.414213562
    """
    from scipy.optimize import brentq as brents_method

    return float(brents_method(function, low, high, xtol=xtol, rtol=rtol))
