"""What a method returns: an estimate, or the reason why there is none."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Estimate", "NotEstimable"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """A point estimate with its uncertainty, all on the scale that `method` names.

    `low` and `high` bound the confidence interval at `level`; they may be infinite for a one-sided
    interval. `statistic` and `p_value` belong to the test against `null` and are None where the
    method is an interval without a test.
    `standard_error` is on the scale of `value`.
    """

    value: float
    standard_error: float
    low: float
    high: float
    level: float
    method: str
    null: float = 0.0
    statistic: float | None = None
    p_value: float | None = None
    degrees_of_freedom: float | None = None


@dataclass(frozen=True, slots=True)
class NotEstimable:
    """There is no estimate, and why. Never an effect of 0, a p-value of 1 or a NaN.

    >>> NotEstimable("the outcome is constant in both arms").reason
    'the outcome is constant in both arms'
    """

    reason: str
