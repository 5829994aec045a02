"""Whether control changes as treatment spreads: interference, seen over a ramp."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from equipoise.errors import UsageError
from equipoise.stats.comparison.clusters import LEAST_FREEDOM
from equipoise.stats.domain import counted, finite, inside
from equipoise.stats.estimate import Estimate, NotEstimable
from equipoise.stats.student import t_estimate

__all__ = ["LEAST_DAYS", "ControlDay", "control_by_share"]

LEAST_DAYS = 14
"""In fewer days a trend, the weekdays and the share of the treatment cannot be told apart."""
_WEEK = 7
_ALONE = 1e-9


@dataclass(frozen=True, slots=True)
class ControlDay:
    """Control's units of one day that came in while the treatment had one share of all traffic.

    `day` counts whole days, so that those seven apart are of one weekday; `mean` is the outcome's over `units` of them.
    A day in which the share changed has several of these.
    """

    day: int
    share: float
    units: int
    mean: float

    def __post_init__(self) -> None:
        if not 0.0 <= finite("share", self.share) <= 1.0:
            raise UsageError(f"a share lies between 0 and 1, and this is {self.share:g}")
        counted("units", self.units, at_least=1)
        finite("mean", self.mean)


def control_by_share(
    days: Sequence[ControlDay], *, level: float = 0.95, null: float = 0.0
) -> Estimate | NotEstimable:
    """How much control's mean would move if the treatment went from nobody to everybody, by how it moved over a ramp.

    Scale: the outcome's unit, per whole share (a ramp from 10 % to 50 % moves it by 0.4 of it). Least squares of the daily
    means, weighted by units, on the day's mean share, a trend over the days and the weekday; the error is robust to days
    that vary unequally (HC2), with Bell and McCaffrey's degrees of freedom. Without interference the slope is 0. It is 0,
    too, where treated units feel each other and control feels nothing; and a jump on the day of a ramp that something else
    made is taken for interference. So it is a reason to ask, and no estimate to correct by.

    Degenerate cases: not estimable with fewer than `LEAST_DAYS` days, where the share never changed, where it cannot be told
    from the trend and the weekdays, with fewer than three degrees of freedom, or where control never varies.
    Errors: UsageError for a level outside (0, 1) or a null that is not finite.
    Source: Hudgens & Halloran (2008), Journal of the American Statistical Association 103, 832, for the indirect effect;
    Imbens & Kolesár (2016), Review of Economics and Statistics 98, 701, for the error.

    >>> means = [5.0, 5.2, 5.1, 4.9, 5.0, 5.3, 5.1, 5.1, 5.2, 5.0, 4.8, 5.1, 5.2, 5.3,
    ...          5.9, 6.1, 6.0, 5.9, 5.9, 6.2, 6.1, 6.0, 6.2, 5.9, 5.8, 6.1, 6.2, 6.2]
    >>> days = [ControlDay(n, 0.1 if n < 14 else 0.5, 400, mean) for n, mean in enumerate(means)]
    >>> e = control_by_share(days)
    >>> round(e.value, 2), round(e.degrees_of_freedom, 1), e.p_value < 0.001
    (2.21, 13.5, True)
    """
    level, null = inside("level", level), finite("null", null)
    if len({each.share for each in days}) < 2:
        return NotEstimable("the treatment's share never changed")
    seen = sorted({each.day for each in days})
    if len(seen) < LEAST_DAYS:
        return NotEstimable(
            f"control was seen on {len(seen)} days, and to tell a share from a trend and the weekdays takes {LEAST_DAYS}"
        )
    place = [seen.index(each.day) for each in days]
    units = np.bincount(place, weights=[each.units for each in days])
    share = np.bincount(place, weights=[each.units * each.share for each in days]) / units
    means = np.bincount(place, weights=[each.units * each.mean for each in days]) / units
    day = np.array(seen) - seen[0]
    weekdays = [day % _WEEK == each for each in sorted(set((day % _WEEK).tolist()))[1:]]
    root = np.sqrt(units / units.sum())
    x = np.column_stack([share, day / _WEEK, np.ones(day.size), *weekdays]) * root[:, None]
    y = (means - np.average(means, weights=units)) * root
    if np.linalg.matrix_rank(x) < x.shape[1]:
        return NotEstimable("the share cannot be told from the trend and the weekdays")
    solved = np.linalg.pinv(x)
    hat = x @ solved
    left, own = y - hat @ y, 1.0 - np.diag(hat)
    if (own < _ALONE).any():
        return NotEstimable("a day stands alone with its share, and nothing says how it would vary")
    pull = solved[0] / np.sqrt(own)
    error = float(np.sqrt(((pull * left) ** 2).sum()))
    if error <= 2.0**-40 * float(np.abs(means).max()):
        return NotEstimable("control does not vary beyond share, trend and weekday")
    spread = (np.eye(day.size) - hat) * pull
    inner = spread.T @ spread
    freedom = float(np.trace(inner) ** 2 / (inner**2).sum())
    if freedom < LEAST_FREEDOM:
        return NotEstimable(
            f"the share moved on so few days that only {freedom:.1f} degrees of freedom are left"
        )
    return t_estimate(
        float(solved[0] @ y),
        error,
        freedom,
        level=level,
        null=null,
        method="control by the treatment's share, HC2 over days and t",
    )
