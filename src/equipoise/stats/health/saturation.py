"""Whether control differs with how many beside it are treated: interference within clusters, told by the draw itself."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from equipoise.errors import UsageError
from equipoise.stats.comparison.clusters import LEAST_FREEDOM
from equipoise.stats.domain import counted, finite, inside
from equipoise.stats.estimate import Estimate, NotEstimable
from equipoise.stats.moments import PairMoments
from equipoise.stats.student import t_estimate

__all__ = ["LEAST_CLUSTERS", "LEAST_SPREAD", "Saturated", "control_by_saturation"]

LEAST_CLUSTERS = 20
"""With fewer clusters the slope hangs on two or three of them."""
LEAST_SPREAD = 0.02
"""Where shares have a smaller standard deviation than this, from none to all is fifty of them away."""
_ALONE = 1e-9


@dataclass(frozen=True, slots=True)
class Saturated:
    """Clusters with so many units, so many of them treated: `totals` has one pair a cluster, of its control alone.

    A pair is the sum of control's outcomes and their number (of a ratio: what they are divided by), of clusters in which
    that is above 0.
    """

    units: int
    treated: int
    totals: PairMoments

    def __post_init__(self) -> None:
        counted("units", self.units, at_least=2)
        counted("treated", self.treated)
        if self.treated >= self.units:
            raise UsageError(
                f"{self.treated} of {self.units} units are treated, and none is left for control"
            )
        if self.totals.n and not self.totals.mean_y > 0.0:
            raise UsageError("the sizes of clusters whose control counts are above 0")

    @property
    def share(self) -> float:
        """The share of treatment among the others, as a unit of control sees it: 0 to 1, the unit itself left out."""
        return self.treated / (self.units - 1)


def control_by_saturation(
    cells: Sequence[Saturated], *, level: float = 0.95, null: float = 0.0
) -> Estimate | NotEstimable:
    """How much control's outcome differs between none of the others in its cluster treated and all of them.

    Scale: the outcome's unit, from a share of 0 to one of 1. Least squares of control's units on the share of treatment
    among the other units of their cluster, as a straight line; the error is that between clusters (CR2), with Student's t on
    Bell and McCaffrey's degrees of freedom. Given that a unit is in control, which of the others are treated is drawn:
    without interference the slope is 0 on average, however alike units of a cluster are and whatever goes with its size. Had
    the unit itself a part in the share, control of small clusters would have lower shares than that of large ones. Where
    saturations were drawn for whole clusters the same holds, and shares differ by more. It does not hold where treatment
    changes how many units a cluster has, nor where shares were drawn differently over time.

    Degenerate cases: not estimable with fewer than `LEAST_CLUSTERS` clusters of two units that have control, where shares
    have a standard deviation below `LEAST_SPREAD` over control's units, with fewer than three degrees of freedom, where a
    cluster alone has its share, or where control never varies. Clusters that have the same number of units and of treated
    ones take their leverage from their mean size. Errors: UsageError for a level outside (0, 1), a null that is not finite.
    Source: Hudgens & Halloran (2008), Journal of the American Statistical Association 103, 832, for the indirect effect;
    Baird, Bohren, McIntosh & Özler (2018), Review of Economics and Statistics 100, 844, for its slope over saturations;
    Imbens & Kolesár (2016), Review of Economics and Statistics 98, 701, for the error.

    >>> def teams(treated):  # five teams of five; control has 1 on average, and .1 more for each of its four others treated
    ...     left, level = 5 - treated, 1.0 + 0.1 * treated
    ...     return PairMoments.of([left * (level + off) for off in (-.06, -.02, 0, .02, .06)], [left] * 5)
    >>> e = control_by_saturation([Saturated(5, treated, teams(treated)) for treated in range(5)])
    >>> round(e.value, 3), round(e.low, 3), round(e.degrees_of_freedom, 1)
    (0.4, 0.343, 15.3)
    """
    level, null = inside("level", level), finite("null", null)
    held = [each for each in cells if each.totals.n]
    clusters = sum(each.totals.n for each in held)
    if clusters < LEAST_CLUSTERS:
        return NotEstimable(
            f"{clusters} clusters have control beside other units, and it takes at least {LEAST_CLUSTERS}"
        )
    n = np.array([each.totals.n for each in held], dtype=np.float64)
    share = np.array([each.share for each in held])
    x, y = (np.array([getattr(each.totals, name) for each in held]) for name in ("mean_x", "mean_y"))
    size = float(n @ y)
    away = share - float((n * y) @ share) / size
    reach = float((n * y) @ away**2)
    if reach < size * LEAST_SPREAD**2:
        return NotEstimable(
            f"the treatment's share hardly differs between clusters (a standard deviation of {(reach / size) ** 0.5:.2g})"
        )
    mean, slope = float(n @ x) / size, float((n * away) @ x) / reach
    own = 1.0 - y * (1.0 / size + away**2 / reach)
    if (own < _ALONE).any():
        return NotEstimable("a cluster stands alone with its share, and nothing says how it would vary")
    line = mean + slope * away
    error = float(np.sqrt((_left_over(held, line) * (away / reach) ** 2 / own).sum()))
    if error * reach**0.5 <= 2.0**-40 * size**0.5 * float(np.abs(x / y).max()):
        return NotEstimable("control does not vary beyond the treatment's share")
    freedom = _bell_mccaffrey(n, y, away, size, reach, own)
    if freedom < LEAST_FREEDOM:
        return NotEstimable(
            f"shares differ in so few clusters that only {freedom:.1f} degrees of freedom are left"
        )
    return t_estimate(
        slope,
        error,
        freedom,
        level=level,
        null=null,
        method="control by its cluster's share of treatment, CR2 and t",
    )


def _left_over(cells: Sequence[Saturated], line: np.ndarray) -> np.ndarray:
    """In each cell the squares of what its clusters' sums are beyond the line, added up."""
    found = []
    for cell, rate in zip(cells, line.tolist(), strict=True):
        of = cell.totals
        within = of.m2_x - 2.0 * rate * of.c_xy + rate * rate * of.m2_y
        found.append(of.n * (of.mean_x - rate * of.mean_y) ** 2 + max(within, 0.0))
    return np.array(found)


def _bell_mccaffrey(
    n: np.ndarray, y: np.ndarray, away: np.ndarray, size: float, reach: float, own: np.ndarray
) -> float:
    """tr(B)²/tr(B²) of Imbens & Kolesár, eq. (11), for a slope, in sums over clusters: no matrix between them."""
    pull = y * away**2 / reach**2 / own
    trace = float((n * pull * own).sum())
    # Σ p²p'²H² with H = √y·√y'·(1/size + away·away'/reach), by powers of `away`.
    zero, one, two = (float((n * pull * y * away**k).sum()) for k in range(3))
    both = (zero / size) ** 2 + 2.0 * one**2 / (size * reach) + (two / reach) ** 2
    squares = float((n * pull**2 * (2.0 * own - 1.0)).sum()) + both
    return trace * trace / squares
