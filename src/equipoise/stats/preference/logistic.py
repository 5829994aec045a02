"""Shares explained by covariates: fractional logistic regression, with a spread that does not trust the model."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

from equipoise.errors import UsageError
from equipoise.stats.cases.case_means import Clusters, cases_of, cluster_codes
from equipoise.stats.estimate import NotEstimable
from equipoise.stats.moments import Values

__all__ = ["Logistic", "climb", "columns_of", "dependent", "fit_logistic", "sandwich", "separated"]

Matrix = NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Logistic:
    """A fitted regression: coefficients in log-odds per unit of their covariate, and their covariance.

    `clusters` counts the independent groups behind the covariance (the cases, where none were named).
    """

    names: tuple[str, ...]
    coefficients: tuple[float, ...]
    covariance: tuple[tuple[float, ...], ...]
    cases: int
    clusters: int


def fit_logistic(
    scores: Values, covariates: Mapping[str, Values], *, clusters: Clusters | None = None
) -> Logistic | NotEstimable:
    """The coefficients β of E(score) = 1 / (1 + exp(−xβ)), by quasi-likelihood, with the sandwich covariance.

    A score is a share in [0, 1], one per case; a covariate is one number per case on its own scale. There
    is no constant unless one of the covariates is. The covariance (CR1: G/(G−1) · (N−1)/(N−p)) holds
    whatever the scores' variance, and for cases that are alike within `clusters`; with G clusters use a t
    of G − 1 degrees of freedom.

    Degenerate cases: not estimable with no covariate, with no more clusters than coefficients, where one
    covariate follows from the others, where the covariates tell wins from losses without a fault (the
    coefficients would be infinite), or where every score is fitted exactly. Errors: UsageError for a score
    outside [0, 1], values that are not finite, and columns of unequal length.
    Source: Papke & Wooldridge (1996), Journal of Applied Econometrics 11, 619; Albert &
    Anderson (1984), Biometrika 71, 1, for the existence of the estimate; Liang & Zeger (1986), Biometrika
    73, 13, for the covariance.

    >>> fit = fit_logistic([1, 1, 0, 1, 0, 0, 1, 0], {"constant": [1] * 8, "x": [3, 2, 1, 1, 0, -1, -1, -2]})
    >>> [round(b, 3) for b in fit.coefficients]
    [-0.319, 0.905]
    """
    y = cases_of("scores", scores)
    if not ((y >= 0.0) & (y <= 1.0)).all():
        raise UsageError("every score must lie between 0 (loss) and 1 (win)")
    names = tuple(covariates)
    if not names:
        return NotEstimable("there is no covariate to explain the scores by")
    x = columns_of(covariates, y.size)
    codes = cluster_codes(clusters, y.size)
    groups = int(codes.max()) + 1 if y.size else 0
    if groups <= len(names):
        return NotEstimable(
            f"{groups} independent {'cluster' if groups == 1 else 'clusters'} cannot give a spread to "
            f"{len(names)} coefficient{'' if len(names) == 1 else 's'}"
        )
    follower = dependent(x, names)
    if follower:
        return NotEstimable(
            f"{follower} follows from the other covariates, so their effects cannot be told apart"
        )
    fractional = (y > 0.0) & (y < 1.0)
    if separated(np.vstack([x[y == 1.0], -x[y == 0.0]]), x[fractional]):
        return NotEstimable("the covariates tell wins from losses without a fault, so no finite effect fits")

    def surface(beta: Matrix) -> tuple[float, Matrix, Matrix]:
        eta = x @ beta
        p = expit(eta)
        information = (x * (p * (1.0 - p))[:, None]).T @ x
        return float(y @ eta - np.logaddexp(0.0, eta).sum()), x.T @ (y - p), information

    beta = climb(surface, x.shape[1])
    p = expit(x @ beta)
    covariance = sandwich((x * (p * (1.0 - p))[:, None]).T @ x, x * (y - p)[:, None], codes)
    if covariance is None:
        return NotEstimable("the regression meets every score exactly, so there is no spread")
    return Logistic(
        names=names,
        coefficients=tuple(beta.tolist()),
        covariance=tuple(map(tuple, covariance.tolist())),
        cases=int(y.size),
        clusters=groups,
    )


def climb(surface: Callable[[Matrix], tuple[float, Matrix, Matrix]], size: int) -> Matrix:
    """Where a concave function is highest, by Newton's method from 0, a step halved while it leads downhill.

    `surface` gives value, gradient and information (minus the second derivatives) at a point; a maximum
    exists (see `separated`). Source: Nocedal & Wright (2006), Numerical Optimization, section 3.3.

    >>> climb(lambda b: (-float((b - 1) @ (b - 1)), -2 * (b - 1), 2 * np.eye(2)), 2).tolist()
    [1.0, 1.0]
    """
    beta = np.zeros(size)
    value, gradient, information = surface(beta)
    for _ in range(200):
        step = np.linalg.solve(information, gradient)
        largest = float(np.abs(step).max())
        if largest <= 1e-11 * (1.0 + float(np.abs(beta).max())):
            break
        step *= min(1.0, 4.0 / largest)
        for _ in range(40):
            nearby = surface(beta + step)
            if nearby[0] >= value - 1e-12 * abs(value):
                break
            step /= 2.0
        beta = beta + step
        value, gradient, information = nearby
    return beta


def columns_of(covariates: Mapping[str, Values], n: int) -> Matrix:
    """The covariates side by side, one row per case; UsageError unless each has n finite values.

    >>> columns_of({"length": [1, 2]}, 2).tolist()
    [[1.0], [2.0]]
    """
    arrays = [cases_of(name, values) for name, values in covariates.items()]
    for name, array in zip(covariates, arrays, strict=True):
        if array.size != n:
            raise UsageError(f"{name} must have one value per case, but has {array.size} for {n} cases")
    return np.column_stack(arrays) if arrays else np.zeros((n, 0))


def dependent(x: Matrix, names: tuple[str, ...]) -> str | None:
    """The first column that follows from those before it, or None. Columns are compared after scaling.

    >>> dependent(np.array([[1.0, 2.0], [2.0, 4.0]]), ("x", "y"))
    'y'
    """
    scaled = x / np.maximum(np.linalg.norm(x, axis=0), 1e-300)
    for k, name in enumerate(names):
        if np.linalg.matrix_rank(scaled[:, : k + 1], tol=1e-9) <= k:
            return name
    return None


def separated(ahead: Matrix, level: Matrix) -> bool:
    """Whether some direction d has a·d ≥ 0 for each row a of `ahead`, > 0 for one, and b·d = 0 in `level`.

    The likelihood of an exponential family then has no maximum: it keeps rising along d. Source: Albert &
    Anderson (1984), Biometrika 71, 1; Konis (2007), thesis, University of Oxford, for the linear
    programme.

    >>> nothing = np.zeros((0, 1))
    >>> separated(np.array([[1.0], [2.0]]), nothing), separated(np.array([[1.0], [-2.0]]), nothing)
    (True, False)
    """
    from scipy.optimize import linprog

    if not ahead.size:
        return False
    scale = np.maximum(np.abs(np.vstack([ahead, level])).max(axis=0), 1e-300)
    rows = np.unique(ahead / scale, axis=0)
    ties = np.unique(level / scale, axis=0) if level.size else None
    found = linprog(
        -rows.sum(axis=0),
        A_ub=-rows,
        b_ub=np.zeros(len(rows)),
        A_eq=ties,
        b_eq=None if ties is None else np.zeros(len(ties)),
        bounds=(-1.0, 1.0),
        method="highs",
    )
    return found.fun is None or found.fun < -1e-7


def sandwich(information: Matrix, pieces: Matrix, codes: NDArray[np.intp]) -> Matrix | None:
    """The covariance A⁻¹BA⁻¹ of p coefficients from N score pieces in G clusters, scaled by CR1.

    None where the pieces are nothing but rounding, or too few of them differ to give each coefficient a
    spread. Source: Liang & Zeger (1986), Biometrika 73, 13; Cameron & Miller (2015), Journal of
    Human Resources 50, 317, section II, for the factor.

    >>> sandwich(np.eye(1) * 4.0, np.array([[1.0], [-1.0]]), np.array([0, 1])).tolist()
    [[0.25]]
    """
    n, p = pieces.shape
    sums = np.zeros((int(codes.max()) + 1, p))
    np.add.at(sums, codes, pieces)
    groups = len(sums)
    factor = groups / (groups - 1.0) * (n - 1.0) / max(n - p, 1)
    inverse = np.linalg.inv(information)
    covariance: Matrix = inverse @ (sums.T @ sums) @ inverse * factor
    floor = 1e-18 * np.diag(inverse)
    if (np.diag(covariance) <= floor).any() or not math.isfinite(float(covariance.sum())):
        return None
    return (covariance + covariance.T) / 2.0
