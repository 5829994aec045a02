"""Student's t: the test and interval of a value whose standard error was itself estimated."""

from __future__ import annotations

from scipy.special import stdtr, stdtrit

from equipoise.stats.domain import inside
from equipoise.stats.estimate import Estimate

__all__ = ["satterthwaite", "t_estimate"]


def satterthwaite(*parts: tuple[float, float]) -> float:
    """The degrees of freedom of a sum of independent variances, each given as (variance of a mean, its n).

    Every n is at least 2 and some variance is greater than 0. The answer lies between the smallest n − 1
    and the sum of all n − 1. Source: Welch (1947), Biometrika 34, 28; Satterthwaite (1946), Biometrics
    Bulletin 2, 110.

    >>> round(satterthwaite((1.0, 10), (1.0, 10)), 6)
    18.0
    """
    total = sum(variance for variance, _ in parts)
    # Shares, not variances, are squared: the square of a very small variance would vanish.
    return 1.0 / sum((variance / total) ** 2 / (n - 1) for variance, n in parts)


def t_estimate(
    value: float, error: float, degrees_of_freedom: float, *, level: float, null: float, method: str
) -> Estimate:
    """`value` with its t interval at `level` and the two-sided t test against `null`, all on one scale.

    `error` and `degrees_of_freedom` are greater than 0. Errors: UsageError for a level outside (0, 1).
    Source: Student (1908), Biometrika 6, 1.

    >>> e = t_estimate(2.0, 1.0, 10.0, level=0.95, null=0.0, method="mean, t")
    >>> round(e.low, 4), round(e.high, 4), round(e.p_value, 4)
    (-0.2281, 4.2281, 0.0734)
    """
    level = inside("level", level)
    half = -float(stdtrit(degrees_of_freedom, (1.0 - level) / 2.0)) * error
    statistic = (value - null) / error
    return Estimate(
        value=value,
        standard_error=error,
        low=value - half,
        high=value + half,
        level=level,
        method=method,
        null=null,
        statistic=statistic,
        p_value=2.0 * float(stdtr(degrees_of_freedom, -abs(statistic))),
        degrees_of_freedom=degrees_of_freedom,
    )
