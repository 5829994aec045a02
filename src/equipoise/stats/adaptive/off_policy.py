"""What another policy would have earned, from a log of what was played, with which probability, and what it earned.

A row's weight is w = π(a|x) / p: the probability with which the policy that is evaluated plays what was played, over that
with which it was played. Everything here needs sums alone, of w, w·y and of the doubly robust score

    s = Σ_a π(a|x)·q(x, a) + w·(y − q(x, a)),

where q is a prediction of the reward that was not made from the row itself.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

from equipoise.errors import UsageError
from equipoise.stats.comparison.ratios import STEADY, linear_variance
from equipoise.stats.domain import counted, finite, inside
from equipoise.stats.estimate import Estimate, NotEstimable
from equipoise.stats.moments import Moments, PairMoments
from equipoise.stats.student import t_estimate

__all__ = ["Method", "OffPolicy", "Overlap", "direct", "few", "off_policy", "overlap", "policy_value"]

Method = Literal["inverse_propensity", "self_normalised", "direct", "doubly_robust"]
_NAMES: dict[Method, str] = {
    "inverse_propensity": "inverse propensities",
    "self_normalised": "self-normalised inverse propensities",
    "direct": "direct method",
    "doubly_robust": "doubly robust",
}
_LEAST_EFFECTIVE = 30.0


@dataclass(frozen=True, slots=True)
class Overlap:
    """How much of the log speaks of the policy.

    `effective` is Kish's number of rows, (Σw)²/Σw²: so many unweighted rows would say as much. `largest` is the largest
    weight. `mean` is the mean weight, which is 1 but for chance where the logged probabilities are right and the log could
    play all that the policy plays.
    """

    rows: int
    effective: float
    largest: float
    mean: Estimate | NotEstimable

    @property
    def enough(self) -> bool:
        """Whether there is anything to lean on: thirty effective rows."""
        return self.effective >= _LEAST_EFFECTIVE

    @property
    def off(self) -> bool:
        """Whether the mean weight is not 1, by more than chance; of weights that are all the same, by more than 1 %."""
        if isinstance(self.mean, Estimate):
            return not self.mean.low <= 1.0 <= self.mean.high
        same = self.rows > 0 and math.isclose(self.effective, self.rows, rel_tol=1e-9)
        return same and not math.isclose(self.largest, 1.0, rel_tol=0.01)


def overlap(
    weights: Moments, largest: float, *, clusters: PairMoments | None = None, level: float = 0.999
) -> Overlap:
    """The overlap of a log and a policy by the moments of the rows' weights and the largest of them.

    `clusters` has the sums of weights and the rows of each cluster, where rows of one belong together; `level` is that of
    the mean weight's interval. Degenerate cases: no rows have no effective ones; weights that are all the same have no
    interval. Errors: UsageError for a largest weight that is not finite. Source: Kish (1965), Survey Sampling, 11.2.

    >>> found = overlap(Moments.of([1.0] * 60 + [3.0] * 40), 3.0)
    >>> round(found.effective, 1), found.off
    (77.1, True)
    """
    finite("largest", largest)
    square = weights.mean * weights.mean + (weights.m2 / weights.n if weights.n else 0.0)
    effective = weights.n * weights.mean * weights.mean / square if square else 0.0
    sums = clusters or PairMoments(weights.n, weights.mean, 1.0, weights.m2, 0.0, 0.0)
    mean = (
        NotEstimable("all weights are the same")
        if weights.constant
        else _ratio(sums, "mean weight", level, 1.0)
    )
    return Overlap(weights.n, effective, largest, mean)


def policy_value(
    sums: PairMoments, *, method: Method, level: float = 0.95, null: float = 0.0
) -> Estimate | NotEstimable:
    """The mean reward of a policy from sums by row, or by cluster where rows of one belong together.

    Scale: the reward's own. For `inverse_propensity` x is the sum of w·y and y the number of rows; for `self_normalised`
    the sums of w·y and of w; for `doubly_robust` the sum of the scores s and the rows. Of rows that are independent each
    is a group of its own. The interval is Student's around a ratio of sums, by the delta method.

    Degenerate cases: not estimable with fewer than two groups, where the denominator is near 0 (the policy plays nothing
    of what was played), or where nothing varies. Errors: UsageError for an unknown method or a level outside (0, 1).
    Source: Horvitz & Thompson (1952); Swaminathan & Joachims (2015), The self-normalized estimator, NeurIPS; Dudík,
    Langford & Li (2011), Doubly robust policy evaluation and learning, ICML.

    >>> weights, rewards = [0.5, 2.0, 0.5, 1.0] * 20, [1.0, 1.0, 0.0, 0.0] * 20
    >>> sums = PairMoments.of([w * y for w, y in zip(weights, rewards)], weights)
    >>> policy_value(sums, method="self_normalised").value
    0.625
    """
    if method not in _NAMES:
        raise UsageError(f"method must be one of {', '.join(get_args(Method))}, not {method}")
    return _ratio(sums, _NAMES[method], inside("level", level), null)


def direct(predicted: float, doubly_robust: Estimate | NotEstimable) -> Estimate | NotEstimable:
    """The direct method: the mean of what is predicted for the policy, with the doubly robust estimate's error.

    That is its error where the model is right (then the two have one influence function); what the model gets wrong, such
    as cells with few rows that are drawn to the mean, is no part of the interval. It has no test.
    Degenerate case: not estimable where the doubly robust estimate is not. Errors: UsageError for a prediction that is not
    finite. Source: Dudík, Langford & Li (2011).

    >>> robust = Estimate(value=0.3, standard_error=0.1, low=0.1, high=0.5, level=0.95, method="doubly robust")
    >>> found = direct(0.25, robust)
    >>> round(found.low, 2), round(found.high, 2)
    (0.05, 0.45)
    """
    value = finite("predicted", predicted)
    if isinstance(doubly_robust, NotEstimable):
        return doubly_robust
    return Estimate(
        value=value,
        standard_error=doubly_robust.standard_error,
        low=value - (doubly_robust.value - doubly_robust.low),
        high=value + (doubly_robust.high - doubly_robust.value),
        level=doubly_robust.level,
        method=f"{_NAMES['direct']}, as if the model were right",
        degrees_of_freedom=doubly_robust.degrees_of_freedom,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class OffPolicy:
    """A policy's mean reward by each method, and how much of the log speaks of it."""

    inverse_propensity: Estimate | NotEstimable
    self_normalised: Estimate | NotEstimable
    direct: Estimate | NotEstimable
    doubly_robust: Estimate | NotEstimable
    overlap: Overlap


def off_policy(
    rewards: ArrayLike,
    logged: ArrayLike,
    target: ArrayLike,
    *,
    predicted: ArrayLike | None = None,
    expected: ArrayLike | None = None,
    clusters: ArrayLike | None = None,
    level: float = 0.95,
) -> OffPolicy:
    """All methods at once, from one number a row.

    `logged` is the probability with which the row's action was played, `target` that with which the policy would have.
    `predicted` is a prediction of the row's reward, `expected` the mean of such predictions over what the policy would
    have played; both made without the row (cross-fitting). `clusters` names what a row belongs to, such as its user.

    Degenerate cases: without predictions the direct and the doubly robust estimate are not estimable; no method is where
    fewer than thirty effective rows are left. Errors: UsageError for lengths that differ, a logged probability outside
    (0, 1], a target outside [0, 1] or values that are not finite.
    Source: as `policy_value`.

    >>> found = off_policy([1, 0, 0, 1] * 20, [0.5] * 80, [0.75, 0.75, 0.25, 0.25] * 20)
    >>> found.inverse_propensity.value, found.overlap.effective
    (0.5, 64.0)
    """
    y, p, pi = (
        _column(name, of) for name, of in (("rewards", rewards), ("logged", logged), ("target", target))
    )
    if not len(y) == len(p) == len(pi):
        raise UsageError(
            f"rewards, logged and target must have the same length, not {len(y)}, {len(p)} and {len(pi)}"
        )
    if ((p <= 0.0) | (p > 1.0)).any():
        raise UsageError("every logged probability must be above 0 and at most 1: it was played")
    if ((pi < 0.0) | (pi > 1.0)).any():
        raise UsageError("every target probability must lie between 0 and 1")
    w = pi / p
    groups = np.arange(len(y)) if clusters is None else _numbered(clusters, len(y))

    def summed(values: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.bincount(groups, weights=values).astype(np.float64)

    rows, weights, weighted = summed(np.ones(len(y))), summed(w), summed(w * y)
    by_cluster = None if clusters is None else PairMoments.of(weights, rows)
    seen = overlap(Moments.of(w), float(w.max(initial=0.0)), clusters=by_cluster)
    if not seen.enough:
        none = few(seen)
        return OffPolicy(
            inverse_propensity=none, self_normalised=none, direct=none, doubly_robust=none, overlap=seen
        )
    robust: Estimate | NotEstimable = NotEstimable("no predictions of rewards are given")
    modelled = robust
    if predicted is not None and expected is not None:
        q, e = _column("predicted", predicted), _column("expected", expected)
        if not len(q) == len(e) == len(y):
            raise UsageError(
                f"predicted and expected must have one value for each of the {len(y)} rows, not {len(q)} and {len(e)}"
            )
        robust = policy_value(
            PairMoments.of(summed(e + w * (y - q)), rows), method="doubly_robust", level=level
        )
        modelled = direct(float(e.mean()), robust)
    return OffPolicy(
        inverse_propensity=policy_value(
            PairMoments.of(weighted, rows), method="inverse_propensity", level=level
        ),
        self_normalised=policy_value(
            PairMoments.of(weighted, weights), method="self_normalised", level=level
        ),
        direct=modelled,
        doubly_robust=robust,
        overlap=seen,
    )


def few(seen: Overlap) -> NotEstimable:
    """Why no method has an answer where log and policy hardly overlap.

    >>> few(Overlap(1000, 3.2, 300.0, NotEstimable(""))).reason
    'the log says as much of this policy as 3 rows would, and 30 are the least'
    """
    return NotEstimable(
        f"the log says as much of this policy as {seen.effective:.0f} rows would, and {_LEAST_EFFECTIVE:.0f} are the least"
    )


def _ratio(sums: PairMoments, method: str, level: float, null: float) -> Estimate | NotEstimable:
    if counted("groups", sums.n) < 2:
        return NotEstimable("there are fewer than two independent rows")
    error = math.sqrt(sums.m2_y / (sums.n - 1) / sums.n)
    if sums.mean_y <= STEADY * error:
        return NotEstimable("the policy plays nearly nothing of what was played")
    variance = linear_variance(sums)
    if variance <= 0.0:
        return NotEstimable("the weighted reward is the same in every row")
    value = sums.mean_x / sums.mean_y
    return t_estimate(value, math.sqrt(variance), sums.n - 1, level=level, null=null, method=method)


def _column(name: str, values: ArrayLike) -> NDArray[np.float64]:
    array = np.asarray(values, dtype=np.float64).ravel()
    if not np.isfinite(array).all():
        raise UsageError(f"{name} must all be finite numbers")
    return array


def _numbered(clusters: ArrayLike, rows: int) -> NDArray[np.int64]:
    names = np.asarray(clusters).ravel()
    if len(names) != rows:
        raise UsageError(f"clusters must name one for each of the {rows} rows, not {len(names)}")
    _, numbers = np.unique(names, return_inverse=True)
    return np.asarray(numbers, dtype=np.int64)
