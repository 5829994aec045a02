"""A mean over cases of which some belong together: several questions on one document, turns of one talk."""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence

import numpy as np
from numpy.typing import NDArray

from equipoise.errors import UsageError
from equipoise.stats.cases.binomial import clopper_pearson
from equipoise.stats.domain import finite, inside
from equipoise.stats.estimate import Estimate, NotEstimable
from equipoise.stats.moments import Values
from equipoise.stats.normal import critical
from equipoise.stats.student import t_estimate

__all__ = [
    "case_weights",
    "cases_of",
    "cluster_codes",
    "mean_over_cases",
    "share_over_cases",
    "spread_over_cases",
]

ENOUGH_CASES = 30
"""From this many cases on, if their clusters are enough too, a mean of shares is taken to be nearly normal."""

ENOUGH_CLUSTERS = 10.0
"""So many clusters of equal size, or what is worth as much, must stand behind a t interval of shares."""

Clusters = Sequence[Hashable] | NDArray[np.generic]


def cases_of(name: str, values: Values) -> NDArray[np.float64]:
    """`values` as one column of floats, one per case. Errors: UsageError where a value is not finite.

    >>> cases_of("scores", [1, 0, 0.5]).tolist()
    [1.0, 0.0, 0.5]
    """
    array = np.asarray(values, dtype=np.float64).ravel()
    if not np.isfinite(array).all():
        raise UsageError(f"{name} must all be finite numbers")
    return array


def cluster_codes(clusters: Clusters | None, n: int) -> NDArray[np.intp]:
    """One whole number from 0 per case, the same for cases of one cluster; None makes each case its own.

    Errors: UsageError unless there is one name per case, and none of them is missing (None or NaN).

    >>> cluster_codes(["doc 1", "doc 2", "doc 1"], 3).tolist()
    [0, 1, 0]
    """
    if clusters is None:
        return np.arange(n)
    names = clusters.tolist() if isinstance(clusters, np.ndarray) else list(clusters)
    if len(names) != n:
        raise UsageError(f"clusters must name one cluster per case, but {len(names)} are named for {n} cases")
    if any(name is None or name != name for name in names):  # noqa: PLR0124 (NaN alone differs from itself)
        raise UsageError("every case needs a cluster: give a case that stands alone a name of its own")
    seen: dict[Hashable, int] = {}
    return np.array([seen.setdefault(name, len(seen)) for name in names], dtype=np.intp)


def case_weights(weights: Values | None, n: int) -> NDArray[np.float64]:
    """One weight per case, 1 for each where none are given.

    Errors: UsageError unless there is one finite weight above 0 per case.

    >>> case_weights(None, 3).tolist()
    [1.0, 1.0, 1.0]
    """
    if weights is None:
        return np.ones(n)
    array = np.asarray(weights, dtype=np.float64).ravel()
    if array.size != n:
        raise UsageError(f"weights must give one number per case, but there are {array.size} for {n} cases")
    if not (np.isfinite(array).all() and (array > 0.0).all()):
        raise UsageError(
            "every weight must be a finite number above 0; leave out a case that is to count for nothing"
        )
    return array


def mean_over_cases(
    values: Values,
    clusters: Clusters | None = None,
    *,
    weights: Values | None = None,
    level: float = 0.95,
    null: float = 0.0,
) -> Estimate | NotEstimable:
    """The mean over cases with a standard error that knows which belong together.

    Scale: the values' own. `clusters` names each case's cluster; clusters are independent, cases within one
    need not be. With residual sums u(g) of m(g) cases, N in all, the variance is Σ w(g)·u(g)² / N², where
    w(g) = 1 / (1 − 2m(g)/N + Σm²/N²) makes each term unbiased if cases of a cluster move together (CR2);
    the t distribution has the Bell-McCaffrey degrees of freedom of the same working model. With clusters of
    equal size that is G/(G − 1) and G − 1; without clusters it is Student's t for one sample. One large
    cluster among small ones leaves few degrees of freedom, however many cases there are.

    `weights` say how much each case counts (None: all alike). The mean is then the ratio Σwx / Σw, linearised
    about itself: u(g) sums w·(x − mean), and m(g) and N are sums of weights. Only their proportions matter,
    and a case of weight 2 is not two cases.

    Degenerate cases: not estimable with fewer than two clusters, or where all clusters have the same mean,
    since an unknown spread is not 0. Errors: UsageError for values that are not finite, a level outside
    (0, 1), or clusters that do not match the cases.
    Source: Bell & McCaffrey (2002), Survey Methodology 28, 169; Pustejovsky & Tipton (2018), Journal of
    Business & Economic Statistics 36, 672.

    >>> e = mean_over_cases([1, 1, 0, 0, 1, 0], ["a", "a", "b", "b", "c", "c"])
    >>> round(e.value, 2), round(e.standard_error, 4), round(e.degrees_of_freedom, 6)
    (0.5, 0.2887, 2.0)
    """
    level, null = inside("level", level), finite("null", null)
    found = spread_over_cases(values, clusters, weights=weights)
    if isinstance(found, NotEstimable):
        return found
    mean, error, df = found
    if error == 0.0:
        return NotEstimable(
            f"every {'cluster has the same mean' if clusters is not None else 'case has the same value'}, "
            "so there is no spread"
        )
    method = "mean over cases, Student's t"
    if clusters is not None:
        method = "mean over cases, clustered by CR2, Bell-McCaffrey degrees of freedom"
    elif weights is not None:
        method = "weighted mean over cases, CR2, Bell-McCaffrey degrees of freedom"
    return t_estimate(mean, error, df, level=level, null=null, method=method)


def share_over_cases(
    shares: Values,
    clusters: Clusters | None = None,
    *,
    weights: Values | None = None,
    level: float = 0.95,
    null: float = 0.0,
) -> Estimate | NotEstimable:
    """The mean over cases of shares in [0, 1], such as pass@k or a preference, with an interval inside [0, 1].

    From 30 cases on, in clusters worth ten of equal size, it is `mean_over_cases` with its limits clipped.
    Below that, or where the cases show no spread, the limits are Clopper and Pearson's for an effective
    number of independent cases, (Σm)²/Σm² over the cluster sizes m (sums of weights where there are `weights`,
    as in `mean_over_cases`): that is conservative, because nothing within [0, 1] varies more than a coin and no
    cases are more alike than copies.

    Degenerate cases: fewer than two clusters are not estimable. Where there is no spread, `standard_error`
    is half the interval's width over z, and there is no test. Errors: UsageError for a share outside
    [0, 1], and those of `mean_over_cases`.
    Source: as `mean_over_cases`; Clopper & Pearson (1934), Biometrika 26, 404; Kish (1965), Survey
    Sampling, for the effective number.

    >>> e = share_over_cases([1.0] * 40, ["a"] * 20 + ["b"] * 20)
    >>> e.value, round(e.low, 3), e.high, e.p_value
    (1.0, 0.158, 1.0, None)
    """
    level, null = inside("level", level), finite("null", null)
    array = cases_of("shares", shares)
    if not ((array >= 0.0) & (array <= 1.0)).all():
        raise UsageError("every share must lie between 0 and 1")
    found = spread_over_cases(array, clusters, weights=weights)
    if isinstance(found, NotEstimable):
        return found
    mean, error, df = found
    sizes = np.bincount(cluster_codes(clusters, array.size), weights=case_weights(weights, array.size))
    effective = float(sizes.sum() ** 2 / (sizes @ sizes))
    kind = "clustered by CR2" if clusters is not None else "Student's t"
    by_t = None if error == 0.0 else t_estimate(mean, error, df, level=level, null=null, method="")
    if by_t is not None and array.size >= ENOUGH_CASES and effective >= ENOUGH_CLUSTERS:
        low, high, method = max(0.0, by_t.low), min(1.0, by_t.high), f"mean of shares, {kind}"
    else:
        low, high = clopper_pearson(mean * effective, effective, (1.0 - level) / 2.0)
        method = "mean of shares, Clopper-Pearson interval"
        if clusters is not None:
            method += " at the effective number of cases"
    return Estimate(
        value=mean,
        standard_error=error or (high - low) / 2.0 / critical((1.0 - level) / 2.0),
        low=low,
        high=high,
        level=level,
        method=method,
        null=null,
        statistic=by_t.statistic if by_t else None,
        p_value=by_t.p_value if by_t else None,
        degrees_of_freedom=by_t.degrees_of_freedom if by_t else None,
    )


def spread_over_cases(
    values: Values, clusters: Clusters | None = None, *, weights: Values | None = None
) -> tuple[float, float, float] | NotEstimable:
    """(mean, standard error, degrees of freedom) as `mean_over_cases` uses them; the error may be 0.

    An error that is rounding alone is given as 0: all clusters have the same mean. Not estimable with fewer
    than two clusters. Errors and source: `mean_over_cases`.

    >>> spread_over_cases([1.0, 1.0, 1.0])
    (1.0, 0.0, 2.0)
    """
    array = cases_of("values", values)
    codes, weight = cluster_codes(clusters, array.size), case_weights(weights, array.size)
    sizes = np.bincount(codes, weights=weight)
    if sizes.size < 2:
        noun = "cluster" if clusters is not None else "case"
        count = "is 1" if sizes.size == 1 else "are 0"
        return NotEstimable(f"there {count} {noun}{'' if sizes.size == 1 else 's'}, and a spread needs two")
    n = float(weight.sum())
    shift = float(array[0])
    mean = shift + float((array - shift) @ weight) / n
    sums = np.bincount(codes, weights=(array - mean) * weight)
    square, q = float(sizes @ sizes), sizes * sizes
    w = 1.0 / (1.0 - 2.0 * sizes / n + square / n**2)
    error = math.sqrt(float(w @ (sums * sums))) / n
    if error <= 2.0**-46 * max(abs(mean), float(np.abs(array).max())):
        error = 0.0
    # The covariance of the sums is −(m·q' + q·m')/N + S·m·m'/N² off the diagonal and q + the same on it; the
    # double sum of its weighted squares falls into products of single sums.
    off = -2.0 * sizes * q / n + square * q / n**2
    a, b, c = float(w @ q), float(w @ (q * q)), float(w @ (sizes * q))
    squares = (2.0 * a * b + 2.0 * c * c) / n**2 + (square * a) ** 2 / n**4 - 4.0 * square * a * c / n**3
    squares += float((w * w) @ ((q + off) ** 2 - off**2))
    return mean, error, float(w @ (q + off)) ** 2 / squares
