"""Units that come in clusters: differences whose error belongs to the cluster and holds with few of them.

Users of one team, or requests of one user, are alike; the cluster is what varies independently. From the
cluster's totals alone (the sum of the outcome and the count of units, in either arm) follow the corrections
for few or unequal clusters: no unit-level row is needed.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from equipoise.errors import UsageError
from equipoise.stats.domain import finite, inside
from equipoise.stats.estimate import Estimate, NotEstimable
from equipoise.stats.student import t_estimate

__all__ = ["clustered_difference"]

Totals = Sequence[float] | NDArray[np.floating] | NDArray[np.integer]
Floats = NDArray[np.float64]

LEAST_FREEDOM = 3.0
"""With fewer degrees of freedom the t approximation of a cluster-robust statistic is not to be trusted."""


def clustered_difference(
    sums_c: Totals,
    sizes_c: Totals,
    sums_t: Totals,
    sizes_t: Totals,
    *,
    correction: Literal["CR1", "CR2", "CR3"] = "CR2",
    level: float = 0.95,
    null: float = 0.0,
) -> Estimate | NotEstimable:
    """The difference of sum/size over all clusters, treatment minus control, robust to likeness in clusters.

    Scale: the outcome per unit of size: with sizes as counts of units a difference of means, with any other
    positive total (turns, successes) a difference of ratios. All four have one entry per cluster, in one order;
    a cluster without units in an arm has sum 0 and size 0 there, and one may have a sum without a size (what was spent
    without a success). So it serves clusters randomised as a whole as
    well as units randomised within clusters, where what a cluster's two halves share cancels.

    CR2 (the default) divides each cluster's residual total by sqrt(1 − its share of the arm's size), which makes
    the variance unbiased for independent units of equal spread, and takes Bell and McCaffrey's degrees of
    freedom under that working model: few when few clusters carry most of an arm. CR1 multiplies the plain
    sandwich by G/(G−1) and takes G−1 degrees of freedom, G being all clusters; it is what most programs print,
    and it claims too much when an arm has few clusters or one dominates it. CR3 is for clusters that were randomised as a
    whole: the jackknife of each arm over its clusters, which assumes nothing of how alike units are, with Bell and
    McCaffrey's degrees of freedom. It holds where clusters are few, unequal and alike within; with clusters of one size the
    error is that of Welch's test over their means.

    Degenerate cases: not estimable with fewer than two clusters of a size above 0 in an arm, where a size is below 0, where
    every cluster of an arm has the same ratio in both arms, or (CR2, CR3) with fewer than `LEAST_FREEDOM` degrees of
    freedom. Errors: UsageError for unequal lengths, totals that are not finite, another correction, CR3 where a cluster
    is in both arms, a level outside (0, 1) or a null that is not finite.
    Source: Bell & McCaffrey (2002), Survey Methodology 28, 169; Imbens & Kolesár (2016), Review of Economics and
    Statistics 98, 701, section III; Cameron & Miller (2015), Journal of Human Resources 50, 317, section VI; MacKinnon,
    Nielsen & Webb (2023), Journal of Econometrics 232, 272, for the jackknife.

    >>> sums, sizes, none = [12.0, 7.0, 15.0, 9.0, 11.0], [10, 8, 12, 8, 10], [0.0] * 5
    >>> e = clustered_difference(sums + none, sizes + [0] * 5, none + [15.0, 11.0, 17.0, 10.0, 14.0], [0] * 5 + sizes)
    >>> round(e.value, 4), round(e.standard_error, 4), round(e.degrees_of_freedom, 2)
    (0.2708, 0.0713, 7.78)
    """
    level, null = inside("level", level), finite("null", null)
    if correction not in ("CR1", "CR2", "CR3"):
        raise UsageError(f"correction must be 'CR1', 'CR2' or 'CR3', not {correction!r}")
    arms = {"control": _arm("control", sums_c, sizes_c), "treatment": _arm("treatment", sums_t, sizes_t)}
    (y_c, m_c), (y_t, m_t) = arms.values()
    if y_c.size != y_t.size:
        raise UsageError(f"both arms need one entry per cluster, not {y_c.size} and {y_t.size}")
    for arm, (sums, sizes) in arms.items():
        if (sizes < 0.0).any():
            return NotEstimable(
                f"a cluster of {arm} has a size below 0, and with few clusters each needs one of at least 0"
            )
        clusters = int((sizes > 0).sum())
        if clusters < 2 and (sums[sizes == 0.0] != 0.0).any():
            of = f"only 1 cluster of {arm} has" if clusters else f"no cluster of {arm} has"
            return NotEstimable(f"{of} a size above 0, and a ratio needs at least two")
        if clusters < 2:
            there = f"{clusters} cluster{'' if clusters == 1 else 's'}"
            return NotEstimable(f"{arm} has {there}, and a spread needs at least two")
    size_c, size_t = float(m_c.sum()), float(m_t.sum())
    ratio_c, ratio_t = float(y_c.sum()) / size_c, float(y_t.sum()) / size_t
    if correction == "CR3" and (_there(y_c, m_c) & _there(y_t, m_t)).any():
        raise UsageError(
            "CR3 is for clusters that are in one arm as a whole, and one of these is in both; use CR2"
        )
    left_c, left_t = _residual(y_c, m_c, ratio_c), _residual(y_t, m_t, ratio_t)
    seen = _there(y_c, m_c) | _there(y_t, m_t)
    clusters = int(seen.sum())
    if correction == "CR2":
        scale_c, scale_t = 1.0 / np.sqrt(1.0 - m_c / size_c), 1.0 / np.sqrt(1.0 - m_t / size_t)
        pieces = scale_t * left_t / size_t - scale_c * left_c / size_c
        variance, freedom = float(pieces @ pieces), _bell_mccaffrey(m_c, scale_c, m_t, scale_t)
    elif correction == "CR3":
        scale_c, scale_t = 1.0 / np.sqrt(1.0 - m_c / size_c), 1.0 / np.sqrt(1.0 - m_t / size_t)
        variance = _jackknife(left_c, m_c, _there(y_c, m_c)) + _jackknife(left_t, m_t, _there(y_t, m_t))
        freedom = _bell_mccaffrey(m_c, scale_c, m_t, scale_t)
    else:
        pieces = left_t / size_t - left_c / size_c
        variance, freedom = float(pieces @ pieces) * clusters / (clusters - 1), clusters - 1.0
    if variance == 0.0:
        return NotEstimable(
            "every cluster of an arm has the same ratio, so there is no spread between clusters"
        )
    if correction != "CR1" and freedom < LEAST_FREEDOM:
        return NotEstimable(
            f"so few clusters carry the arms that only {freedom:.1f} degrees of freedom are left, "
            f"and the method needs {LEAST_FREEDOM:g}"
        )
    return t_estimate(
        ratio_t - ratio_c,
        math.sqrt(variance),
        freedom,
        level=level,
        null=null,
        method=f"difference of cluster totals, {correction} and t",
    )


def _arm(arm: str, sums: Totals, sizes: Totals) -> tuple[Floats, Floats]:
    y, m = np.asarray(sums, dtype=np.float64).ravel(), np.asarray(sizes, dtype=np.float64).ravel()
    if y.size != m.size:
        raise UsageError(f"{arm} needs as many sums as sizes, not {y.size} and {m.size}")
    if not (np.isfinite(y).all() and np.isfinite(m).all()):
        raise UsageError(f"the sums and sizes of {arm} must all be finite numbers")
    return y, m


def _residual(sums: Floats, sizes: Floats, ratio: float) -> Floats:
    """Each cluster's sum beyond its share; what is no larger than rounding counts as 0."""
    left = sums - ratio * sizes
    return np.where(np.abs(left) > 2.0**-46 * (np.abs(sums) + abs(ratio) * sizes), left, 0.0)


def _there(sums: Floats, sizes: Floats) -> NDArray[np.bool_]:
    """Which clusters an arm has something of: a size, or a sum that has none (what was spent without a success)."""
    found: NDArray[np.bool_] = (sizes > 0.0) | (sums != 0.0)
    return found


def _jackknife(left: Floats, sizes: Floats, there: NDArray[np.bool_]) -> float:
    """The jackknife variance of one arm's ratio over the clusters that are there; `left` are residual totals."""
    left, sizes = left[there], sizes[there]
    clusters = left.size
    # Without a cluster the ratio moves by its residual total over what is left of the size.
    moves = left / (sizes.sum() - sizes)
    return float(moves @ moves) * (clusters - 1) / clusters


def _bell_mccaffrey(m_c: Floats, scale_c: Floats, m_t: Floats, scale_t: Floats) -> float:
    """tr(B)²/tr(B²) with B = D − v_c·v_c' − v_t·v_t', one row per cluster (Imbens & Kolesár, eq. (11))."""
    size_c, size_t = m_c.sum(), m_t.sum()
    d = (scale_c**2 * m_c) / size_c**2 + (scale_t**2 * m_t) / size_t**2
    v_c, v_t = scale_c * m_c / size_c**1.5, scale_t * m_t / size_t**1.5
    trace = d.sum() - v_c @ v_c - v_t @ v_t
    squares = d @ d - 2.0 * (d @ v_c**2 + d @ v_t**2)
    squares += (v_c @ v_c) ** 2 + (v_t @ v_t) ** 2 + 2.0 * (v_c @ v_t) ** 2
    return float(trace * trace / squares)
