"""The sample-ratio check where every unit had its own probabilities, as under a bandit.

Assignments are then no longer independent draws of one multinomial: today's probabilities depend on what
came before. But each unit's deviation from its *own* logged probabilities has the mean 0 given the past, so
the deviations are a martingale, and their covariances add up.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import chdtrc

from equipoise.errors import UsageError
from equipoise.stats.domain import positive
from equipoise.stats.estimate import NotEstimable
from equipoise.stats.health.sample_ratio import AnytimeSampleRatio, SampleRatio

__all__ = ["LoggedAllocation", "anytime_logged_ratio", "logged_ratio"]

# A variance of five is what five rare units bring with them: the least that a chi-square needs (Cochran 1954).
_LEAST_VARIANCE = 5.0


@dataclass(frozen=True, slots=True)
class LoggedAllocation:
    """What became of units with logged probabilities, summed up: sufficient for `logged_ratio`, and additive.

    In the order of `variants`: `observed` units, `expected` units Σp, and `covariance` Σ(diag(p) − p·pᵀ) as
    rows; `impossible` counts units in a variant whose probability was 0. Merge with `+`. Errors: UsageError
    for parts that do not have one entry for each variant, or merging other variants.

    >>> rows = LoggedAllocation.of(("a", "b"), [0, 1, 1], [[0.5, 0.5], [0.5, 0.5], [0.2, 0.8]])
    >>> rows.observed, rows.expected
    ((1.0, 2.0), (1.2, 1.8))
    """

    variants: tuple[str, ...]
    observed: tuple[float, ...]
    expected: tuple[float, ...]
    covariance: tuple[tuple[float, ...], ...]
    impossible: int = 0

    def __post_init__(self) -> None:
        k = len(self.variants)
        if not all(
            len(part) == k for part in (self.observed, self.expected, self.covariance, *self.covariance)
        ):
            raise UsageError("observed, expected and covariance must have one entry for each variant")

    @classmethod
    def of(
        cls,
        variants: tuple[str, ...],
        chosen: NDArray[np.integer] | list[int],
        probabilities: NDArray[np.floating] | list[list[float]],
    ) -> LoggedAllocation:
        """The sums over raw units: the number of the variant each got, and a row of probabilities for each.

        Errors: UsageError for rows that are not probabilities of the variants, or chosen numbers that name
        none.

        >>> LoggedAllocation.of(("a", "b"), [1], [[1.0, 0.0]]).impossible
        1
        """
        picked, ps = _units(len(variants), chosen, probabilities)
        covariance = np.diag(ps.sum(axis=0)) - ps.T @ ps
        return cls(
            variants,
            tuple(float(n) for n in np.bincount(picked, minlength=len(variants))),
            tuple(float(e) for e in ps.sum(axis=0)),
            tuple(tuple(float(c) for c in row) for row in covariance),
            int((ps[np.arange(len(picked)), picked] == 0.0).sum()),
        )

    def __add__(self, other: LoggedAllocation) -> LoggedAllocation:
        if not isinstance(other, LoggedAllocation):
            return NotImplemented
        if self.variants != other.variants:
            raise UsageError(
                f"only allocations of the same variants add up, not {self.variants} and {other.variants}"
            )
        return LoggedAllocation(
            self.variants,
            tuple(a + b for a, b in zip(self.observed, other.observed, strict=True)),
            tuple(a + b for a, b in zip(self.expected, other.expected, strict=True)),
            tuple(
                tuple(a + b for a, b in zip(mine, theirs, strict=True))
                for mine, theirs in zip(self.covariance, other.covariance, strict=True)
            ),
            self.impossible + other.impossible,
        )


def logged_ratio(logged: LoggedAllocation) -> SampleRatio | NotEstimable:
    """Whether units went where their logged probabilities say; for one look at one time.

    The statistic is dᵀV⁻d with d = observed − expected and V the summed covariance, compared with
    chi-square on the rank of V. With the same probabilities for every unit it is Pearson's `sample_ratio`.
    `expected` is in units, per variant. It looks at totals: a router that errs one way early and the other
    way late passes, and so does a log of probabilities that are not those the router used but happen to
    have the same sums.

    Degenerate cases: a unit in a variant of probability 0 gives an infinite statistic and p = 0. Not
    estimable where a variant's deviation has a variance below five, as when a bandit has long settled:
    the normal approximation of the martingale would be wrong. Variants that never had a chance are left
    out. No errors.
    Source: Hall & Heyde (1980), Martingale Limit Theory, theorem 3.2 (normality, given that V grows
    without bound and steadily); Pearson (1900).

    >>> rows = [[0.5, 0.5]] * 60 + [[0.9, 0.1]] * 100
    >>> check = logged_ratio(LoggedAllocation.of(("a", "b"), [0, 1] * 30 + [0] * 80 + [1] * 20, rows))
    >>> round(check.statistic, 2), check.degrees_of_freedom, round(check.p_value, 4)
    (4.17, 1, 0.0412)
    """
    expected = dict(zip(logged.variants, logged.expected, strict=True))
    covariance = np.array(logged.covariance, dtype=np.float64).reshape(len(expected), len(expected))
    if logged.impossible:
        return SampleRatio(math.inf, max(sum(e > 0 for e in logged.expected) - 1, 0), 0.0, expected)
    if sum(e > 0 for e in logged.expected) < 2:
        return NotEstimable("fewer than two variants ever had a chance, so there is no ratio to check")
    variances = {
        name: float(covariance[i, i]) for i, name in enumerate(logged.variants) if logged.expected[i] > 0
    }
    # Two variants always share one variance; the rarer of them is the one to name.
    least = min(variances, key=lambda name: (round(variances[name], 9), expected[name]))
    if variances[least] < _LEAST_VARIANCE:
        return NotEstimable(
            f"the units of {least} were too nearly decided to be checked: their number has a variance of "
            f"{variances[least]:.1f}, and the check needs at least {_LEAST_VARIANCE:g}"
        )
    gap = np.array(logged.observed) - np.array(logged.expected)
    statistic = float(gap @ np.linalg.pinv(covariance, rcond=1e-10, hermitian=True) @ gap)
    df = int(np.linalg.matrix_rank(covariance, tol=float(covariance.max()) * 1e-10, hermitian=True))
    return SampleRatio(statistic, df, float(chdtrc(df, statistic)), expected)


def anytime_logged_ratio(
    variants: tuple[str, ...],
    chosen: NDArray[np.integer] | list[int],
    probabilities: NDArray[np.floating] | list[list[float]],
    *,
    prior_units: float = 10_000.0,
) -> AnytimeSampleRatio | NotEstimable:
    """The same question, answered by evidence that may be looked at after every unit.

    `chosen` and `probabilities` hold the units in the order of their assignment. Each unit multiplies the
    evidence by q/p of the variant it got, where q tilts its logged p by what the units before it have
    shown: q ∝ p·(w·b + observed)/(w·b + expected), with w = `prior_units` and b the variant's first
    probability. Under the logged probabilities that is a martingale from 1, whatever chose them and
    however they changed, so the chance that it ever reaches 1/α is at most α; no normal approximation and
    no least number of units. With constant probabilities it is `anytime_sample_ratio`.

    Degenerate cases: a unit in a variant of probability 0 gives infinite evidence and p = 0; no units, or
    one variant only, is not estimable. Errors: UsageError for rows that are not probabilities of the
    variants, chosen numbers that name none, or a prior not above 0.
    Source: Ville (1939); Lindon & Malek (2022), NeurIPS, for constant probabilities.

    >>> rows = [[0.5, 0.5]] * 300
    >>> check = anytime_logged_ratio(("a", "b"), [0] * 200 + [1] * 100, rows, prior_units=100)
    >>> check.p_value < 0.001
    True
    """
    weight = positive("prior_units", prior_units)
    picked, ps = _units(len(variants), chosen, probabilities)
    expected = dict(zip(variants, (float(e) for e in ps.sum(axis=0)), strict=True))
    if len(variants) < 2 or (len(picked) and int((ps.sum(axis=0) > 0).sum()) < 2):
        return NotEstimable("fewer than two variants ever had a chance, so there is no ratio to check")
    if len(picked) == 0:
        return NotEstimable("there are no units yet")
    units = np.arange(len(picked))
    if (ps[units, picked] == 0.0).any():
        return AnytimeSampleRatio(math.inf, 0.0, expected)
    first = ps[(ps > 0).argmax(axis=0), np.arange(len(variants))]
    prior = weight * np.where(first > 0, first, 1.0)
    got = np.zeros_like(ps)
    got[units, picked] = 1.0
    # What is known before each unit: sums over the units above it.
    tilt = (prior + np.cumsum(got, axis=0) - got) / (prior + np.cumsum(ps, axis=0) - ps)
    log_evidence = float((np.log(tilt[units, picked]) - np.log((ps * tilt).sum(axis=1))).sum())
    return AnytimeSampleRatio(math.exp(min(log_evidence, 700.0)), math.exp(-max(log_evidence, 0.0)), expected)


def _units(
    variants: int,
    chosen: NDArray[np.integer] | list[int],
    probabilities: NDArray[np.floating] | list[list[float]],
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    picked = np.asarray(chosen, dtype=np.int64).ravel()
    ps = np.asarray(probabilities, dtype=np.float64).reshape(-1, variants) if variants else np.zeros((0, 0))
    if len(ps) != len(picked):
        raise UsageError(f"each unit needs one row of probabilities, but {len(picked)} came with {len(ps)}")
    if ((picked < 0) | (picked >= variants)).any():
        raise UsageError(f"a chosen variant must be a number from 0 to {variants - 1}")
    # Written so that a NaN is refused too.
    if not ((ps >= 0.0).all() and (np.abs(ps.sum(axis=1) - 1.0) <= 1e-6).all()):
        raise UsageError("the probabilities of each unit must be at least 0 and sum to 1")
    return picked, ps
