"""Several tries at each case: does one of k succeed (pass@k), do all k succeed (pass^k)?"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import SupportsIndex

from equipoise.errors import UsageError
from equipoise.stats.cases.case_means import Clusters, cluster_codes, share_over_cases
from equipoise.stats.domain import counted
from equipoise.stats.estimate import Estimate, NotEstimable

__all__ = ["Tries", "pass_all_k", "pass_at_k", "pass_at_k_of_case", "pass_hat_k_of_case"]


@dataclass(frozen=True, slots=True)
class Tries:
    """One case tried n times, of which `passed` succeeded. Errors: UsageError for counts that do not fit.

    >>> Tries(10, 3).passed
    3
    """

    n: int
    passed: int

    def __post_init__(self) -> None:
        if counted("passed", self.passed) > counted("n", self.n):
            raise UsageError(f"passed cannot exceed n, but {self.passed} is more than {self.n}")


def pass_at_k_of_case(tries: Tries, k: SupportsIndex) -> float:
    """The unbiased estimate of the chance that at least one of k tries at a case succeeds, from n ≥ k tries.

    1 − C(n − c, k) / C(n, k), multiplied out as 1 − Π (1 − k/i) for i from n − c + 1 to n, so that no large
    number is ever formed. Scale: a probability. The plug-in 1 − (1 − c/n)^k is biased downwards. Errors:
    UsageError for k below 1 or above n. No degenerate cases.
    Source: Chen et al. (2021), Evaluating Large Language Models Trained on Code (arXiv 2107.03374), eq. (1)
    and figure 3.

    >>> round(pass_at_k_of_case(Tries(5, 2), 3), 12)
    0.9
    """
    size = _k(tries, k)
    if tries.n - tries.passed < size:
        return 1.0
    # −expm1 of a sum of log1p keeps the digits where the product is near 1.
    return -math.expm1(
        math.fsum(math.log1p(-size / i) for i in range(tries.n - tries.passed + 1, tries.n + 1))
    )


def pass_hat_k_of_case(tries: Tries, k: SupportsIndex) -> float:
    """The unbiased estimate of the chance that all of k tries at a case succeed (pass^k), from n ≥ k tries.

    C(c, k) / C(n, k), as a product of k fractions. Scale: a probability. Errors: UsageError for k below 1 or
    above n. No degenerate cases.
    Source: Yao, Shinn, Razavi & Narasimhan (2024), τ-bench (arXiv 2406.12045).

    >>> round(pass_hat_k_of_case(Tries(5, 4), 2), 12)
    0.6
    """
    return math.prod(max(0, tries.passed - i) / (tries.n - i) for i in range(_k(tries, k)))


def pass_at_k(
    cases: Sequence[Tries], k: SupportsIndex, *, clusters: Clusters | None = None, level: float = 0.95
) -> Estimate | NotEstimable:
    """pass@k over a sample of cases: the mean of the cases' unbiased estimates, each of the same weight.

    Scale: a probability. The interval speaks of the population that the cases were drawn from, so its spread
    is that between cases (clusters), with the tries' own chance in it; no bootstrap is needed. It is that of
    `share_over_cases`. More tries at the same few cases narrow it less than more cases do.

    Degenerate cases: not estimable where a case has fewer than k tries (their number is given) or with fewer
    than two cases (clusters). Errors: UsageError for k below 1, and those of `share_over_cases`.
    Source: Chen et al. (2021), arXiv 2107.03374, eq. (1); Miller (2024), Adding Error Bars to Evals (arXiv
    2411.00640), sections 2.1 and 2.2.

    >>> e = pass_at_k([Tries(5, 0), Tries(5, 1), Tries(5, 5), Tries(5, 3)] * 10, 2)
    >>> round(e.value, 4), round(e.low, 3), round(e.high, 3)
    (0.575, 0.445, 0.705)
    """
    return _over_cases(cases, k, pass_at_k_of_case, clusters, level, "pass@")


def pass_all_k(
    cases: Sequence[Tries], k: SupportsIndex, *, clusters: Clusters | None = None, level: float = 0.95
) -> Estimate | NotEstimable:
    """pass^k over a sample of cases: how often all of k tries succeed, for answers that must not fail once.

    Scale, interval, degenerate cases and errors are those of `pass_at_k`.
    Source: Yao et al. (2024), τ-bench (arXiv 2406.12045); Miller (2024), arXiv 2411.00640.

    >>> round(pass_all_k([Tries(5, 0), Tries(5, 1), Tries(5, 5), Tries(5, 3)] * 10, 2).value, 4)
    0.325
    """
    return _over_cases(cases, k, pass_hat_k_of_case, clusters, level, "pass^")


def _over_cases(
    cases: Sequence[Tries],
    k: SupportsIndex,
    of_case: Callable[[Tries, int], float],
    clusters: Clusters | None,
    level: float,
    name: str,
) -> Estimate | NotEstimable:
    size = counted("k", k, at_least=1)
    cluster_codes(clusters, len(cases))
    short = sum(case.n < size for case in cases)
    if short:
        return NotEstimable(
            f"{short} of {len(cases)} cases {'was' if short == 1 else 'were'} tried fewer than {size} times, "
            f"and leaving {'it' if short == 1 else 'them'} out would choose among the cases"
        )
    found = share_over_cases([of_case(case, size) for case in cases], clusters, level=level)
    if isinstance(found, NotEstimable):
        return found
    return replace(found, statistic=None, p_value=None, method=f"{name}{size}, {found.method}")


def _k(tries: Tries, k: SupportsIndex) -> int:
    size = counted("k", k, at_least=1)
    if size > tries.n:
        raise UsageError(f"k must not exceed the {tries.n} tries of a case, but is {size}")
    return size
