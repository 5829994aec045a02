"""Whether the arms received the shares they were promised: the sample-ratio check."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import SupportsIndex

from scipy.special import chdtrc, gammaln

from equipoise.errors import UsageError
from equipoise.stats.domain import counted, positive
from equipoise.stats.estimate import NotEstimable

__all__ = ["AnytimeSampleRatio", "SampleRatio", "anytime_sample_ratio", "sample_ratio"]

Shares = Mapping[str, Fraction | float]

# Below five expected units the chi-square approximation is not to be trusted (Cochran 1954).
FEWEST = 5


@dataclass(frozen=True, slots=True)
class SampleRatio:
    """The chi-square test of observed counts against promised shares; `expected` is in units, per variant."""

    statistic: float
    degrees_of_freedom: int
    p_value: float
    expected: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class AnytimeSampleRatio:
    """The evidence against the promised shares so far: `p_value` = min(1, 1 / `evidence`)."""

    evidence: float
    p_value: float
    expected: Mapping[str, float]


def sample_ratio(counts: Mapping[str, SupportsIndex], shares: Shares) -> SampleRatio | NotEstimable:
    """Pearson's chi-square test that `counts` of units came about with `shares`; for one look at one time.

    Counts are of the *randomised* units, by variant; shares have the same names and sum to 1 (to 1e-9). The
    p-value is the chi-square upper tail with one degree of freedom less than there are variants of non-zero
    share.

    Degenerate cases: units in a variant whose share is 0 are impossible under the promise, so the statistic
    is infinite and p is 0: a fact, not an approximation. Variants with neither share nor units are left
    out. Not estimable with fewer than two variants of non-zero share, or fewer than five units expected in
    any of them.
    Errors: UsageError for negative counts, names that differ, or shares that are negative or do not sum to
    1.
    Source: Pearson (1900), Philosophical Magazine 50, 157; Fabijan et al. (2019), KDD, section 2, for its
    use here.

    >>> check = sample_ratio({"control": 5100, "treatment": 4900}, {"control": 0.5, "treatment": 0.5})
    >>> round(check.statistic, 2), check.degrees_of_freedom, round(check.p_value, 4)
    (4.0, 1, 0.0455)
    """
    observed, expected = _observed_and_expected(counts, shares)
    if any(n > 0 and expected[name] == 0.0 for name, n in observed.items()):
        promised = sum(value > 0 for value in expected.values())
        return SampleRatio(math.inf, max(promised - 1, 0), 0.0, expected)
    shared = {name: value for name, value in expected.items() if float(shares[name]) > 0}
    if len(shared) < 2:
        return NotEstimable("only one variant has a share, so there is no ratio to check")
    fewest = min(shared, key=lambda name: shared[name])
    if shared[fewest] < FEWEST:
        return NotEstimable(
            f"{shared[fewest]:.1f} units are expected in {fewest}, "
            f"and the check needs at least {FEWEST} in each variant"
        )
    statistic = sum((observed[name] - value) ** 2 / value for name, value in shared.items())
    return SampleRatio(statistic, len(shared) - 1, float(chdtrc(len(shared) - 1, statistic)), expected)


def anytime_sample_ratio(
    counts: Mapping[str, SupportsIndex], shares: Shares, *, prior_units: float = 10_000.0
) -> AnytimeSampleRatio | NotEstimable:
    """The multinomial test of `counts` against `shares` that may be looked at after every unit.

    Evidence is the ratio of two probabilities of the counts: under shares drawn from a Dirichlet around the
    promise that weighs as much as `prior_units` units, and under the promise itself. Under the promise it
    is a martingale from 1, so the chance that it *ever* reaches 1/α is at most α, however often one looks.
    A larger `prior_units` (greater than 0) looks for smaller imbalances. To keep the best evidence of
    several looks, take the least p-value.

    Degenerate cases: no units is not estimable, nor is a single variant with a share; units in a variant of
    share 0 give infinite evidence and p = 0, as in `sample_ratio`. Errors: UsageError as there, or for a
    prior not above 0.
    Source: Lindon & Malek (2022), Anytime-valid inference for multinomial count data, NeurIPS.

    >>> check = anytime_sample_ratio({"control": 5300, "treatment": 4700}, {"control": 0.5, "treatment": 0.5})
    >>> f"{check.p_value:.1e}"
    '1.7e-04'
    """
    weight = positive("prior_units", prior_units)
    observed, expected = _observed_and_expected(counts, shares)
    if any(n > 0 and float(shares[name]) == 0.0 for name, n in observed.items()):
        return AnytimeSampleRatio(math.inf, 0.0, expected)
    shared = [name for name in observed if float(shares[name]) > 0]
    total = sum(observed.values())
    if len(shared) < 2:
        return NotEstimable("only one variant has a share, so there is no ratio to check")
    if total == 0:
        return NotEstimable("there are no units yet")
    log_evidence = float(gammaln(weight) - gammaln(weight + total))
    for name in shared:
        share, n = float(shares[name]), observed[name]
        log_evidence += float(gammaln(weight * share + n) - gammaln(weight * share)) - n * math.log(share)
    return AnytimeSampleRatio(math.exp(min(log_evidence, 700.0)), math.exp(-max(log_evidence, 0.0)), expected)


def _observed_and_expected(
    counts: Mapping[str, SupportsIndex], shares: Shares
) -> tuple[dict[str, int], dict[str, float]]:
    if set(counts) != set(shares):
        raise UsageError(
            f"counts and shares must name the same variants, not {sorted(counts)} and {sorted(shares)}"
        )
    observed = {name: counted(f"the count of {name}", n) for name, n in counts.items()}
    wrong = [name for name, share in shares.items() if not 0 <= share <= 1]
    if wrong:
        raise UsageError(f"the share of {wrong[0]} must lie between 0 and 1, not {shares[wrong[0]]}")
    if abs(math.fsum(shares.values()) - 1.0) > 1e-9:
        raise UsageError(f"shares must sum to 1, not {math.fsum(shares.values()):g}")
    total = sum(observed.values())
    return observed, {name: float(total * shares[name]) for name in observed}
