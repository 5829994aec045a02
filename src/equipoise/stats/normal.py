"""The standard normal distribution: tails, quantiles and critical values."""

from __future__ import annotations

from scipy.special import ndtr, ndtri

from equipoise.stats.domain import inside

__all__ = ["critical", "tail", "two_sided"]


def tail(z: float) -> float:
    """The upper tail 1 − Φ(z), exact far out where 1 − cdf would be 0. Any real z; no degenerate case.

    Source: Abramowitz & Stegun (1964), 26.2.

    >>> f"{tail(10):.3e}"
    '7.620e-24'
    """
    return float(ndtr(-z))


def critical(probability: float) -> float:
    """The z which a standard normal exceeds with `probability`, strictly between 0 and 1.

    Errors: UsageError outside the domain. Source: Abramowitz & Stegun (1964), 26.2.

    >>> round(critical(0.025), 4)
    1.96
    """
    return float(-ndtri(inside("probability", probability)))


def two_sided(z: float) -> float:
    """The two-sided p-value of a z statistic: 2(1 − Φ(|z|)), in [0, 1].

    Source: Abramowitz & Stegun (1964), 26.2.

    >>> round(two_sided(-3.1), 4)
    0.0019
    """
    return 2.0 * tail(abs(z))
