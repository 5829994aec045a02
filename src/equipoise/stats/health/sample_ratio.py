"""Whether the arms received the shares they were promised: the sample-ratio check.

Always of the *randomised* units. Where the promise changed on the way, each epoch has its own counts and
shares; where it changed from unit to unit (a bandit), see `logged_ratio`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import SupportsIndex

import numpy as np
from numpy.typing import NDArray
from scipy.special import chdtrc, gammaln

from equipoise.errors import UsageError
from equipoise.stats.domain import counted, positive
from equipoise.stats.estimate import NotEstimable

__all__ = [
    "AnytimeSampleRatio",
    "Epoch",
    "SampleRatio",
    "anytime_sample_ratio",
    "anytime_sample_ratio_by_epoch",
    "sample_ratio",
    "sample_ratio_by_epoch",
]

Shares = Mapping[str, Fraction | float]

# Below five expected units the chi-square approximation is not to be trusted (Cochran 1954).
FEWEST = 5

# Counts sum to the units, so their covariance has a direction of exactly 0, up to rounding.
_ROUNDING = 1e-10


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


@dataclass(frozen=True, slots=True)
class Epoch:
    """A stretch of time with one promise: the units first assigned in it, and the shares that then held.

    Errors: UsageError for negative counts, names that differ, or shares that are negative or do not sum
    to 1.

    >>> Epoch({"control": 950, "treatment": 50}, {"control": 0.95, "treatment": 0.05}).counts["treatment"]
    50
    """

    counts: Mapping[str, int]
    shares: Shares

    def __post_init__(self) -> None:
        _observed_and_expected(self.counts, self.shares)


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


def sample_ratio_by_epoch(epochs: Sequence[Epoch]) -> SampleRatio | NotEstimable:
    """Pearson's test that the units came about with the shares of their own epoch; for one look.

    The statistic is the sum over epochs, and so are the degrees of freedom: an excess in one epoch does not
    hide a lack in another, as it would in the totals. (Against the shares of the last epoch alone, or their
    average, a ramp from 5 % to 50 % would look like a broken allocation, and a broken one might look
    sound.) Epochs too small for a test of their own are tested together, as the sum of their deviations
    with the sum of their covariances. `expected` is in units of all epochs together.

    Degenerate cases: epochs without units are left out; units in a variant of share 0 give an infinite
    statistic and p = 0. Not estimable without epochs, where no epoch has two variants with a share, or
    where all epochs together expect fewer than five units in a variant that has a share. One epoch gives
    exactly `sample_ratio`. Errors: UsageError where the epochs do not name the same variants.
    Source: Pearson (1900); Fabijan et al. (2019), KDD, section 2; sums of independent chi-squares.

    >>> ramp = [Epoch({"a": 950, "b": 50}, {"a": 0.95, "b": 0.05}), Epoch({"a": 520, "b": 480}, {"a": 0.5, "b": 0.5})]
    >>> check = sample_ratio_by_epoch(ramp)
    >>> round(check.statistic, 2), check.degrees_of_freedom, round(check.p_value, 4)
    (1.6, 2, 0.4493)
    """
    if not epochs:
        return NotEstimable("there are no epochs")
    _same_variants(epochs)
    if len(epochs) == 1:
        return sample_ratio(epochs[0].counts, epochs[0].shares)
    names = list(epochs[0].counts)
    blocks, small = [_Block.of(epoch, names) for epoch in epochs], _Block.none(len(names))
    expected = {name: math.fsum(block.expected[i] for block in blocks) for i, name in enumerate(names)}
    if any(block.impossible for block in blocks):
        return SampleRatio(math.inf, sum(block.degrees_of_freedom for block in blocks), 0.0, expected)
    if not any(block.ratio for block in blocks):
        return NotEstimable("no epoch has units and two variants with a share, so there is no ratio to check")
    large = sorted((b for b in blocks if b.large), key=lambda block: block.expected.sum())
    for block in blocks:
        small = small + block if block.ratio and not block.large else small
    if not small.large and large and small.ratio:
        # What is too little even together joins the largest epoch, so that no unit goes unchecked.
        large[-1] = large[-1] + small
    elif small.ratio:
        large.append(small)
    for block in large:
        if not block.large:
            return NotEstimable(
                f"{min(e for e in block.expected if e > 0):.1f} units are expected in a variant "
                f"over all epochs, and the check needs at least {FEWEST} in each"
            )
    statistic = math.fsum(block.statistic for block in large)
    df = sum(block.degrees_of_freedom for block in large)
    return SampleRatio(statistic, df, float(chdtrc(df, statistic)), expected)


def anytime_sample_ratio_by_epoch(
    epochs: Sequence[Epoch], *, prior_units: float = 10_000.0
) -> AnytimeSampleRatio | NotEstimable:
    """The multinomial test of all epochs' counts that may be looked at after every unit, in any epoch.

    As `anytime_sample_ratio`, with one martingale that runs on: a new epoch starts from a Dirichlet around
    its *new* shares, tilted by what the epochs before have shown (a variant that has lost a tenth of its
    units is expected to go on losing it), and weighing `prior_units` plus the units seen. So changing the
    shares neither resets the evidence nor breaks its promise, and splitting an epoch in two changes nothing.

    Degenerate cases and errors: as in `anytime_sample_ratio`, and UsageError where the epochs do not name
    the same variants. An empty list is not estimable.
    Source: Lindon & Malek (2022), Anytime-valid inference for multinomial count data, NeurIPS; any
    prior that depends on the past alone keeps the martingale.

    >>> half = {"a": 0.5, "b": 0.5}
    >>> whole, parts = [Epoch({"a": 5300, "b": 4700}, half)], [Epoch({"a": 2650, "b": 2350}, half)] * 2
    >>> f"{anytime_sample_ratio_by_epoch(whole).p_value:.4e} {anytime_sample_ratio_by_epoch(parts).p_value:.4e}"
    '1.7422e-04 1.7422e-04'
    """
    weight = positive("prior_units", prior_units)
    if not epochs:
        return NotEstimable("there are no epochs")
    _same_variants(epochs)
    names = list(epochs[0].counts)
    expected = {
        name: math.fsum(float(e.shares[name]) * sum(e.counts.values()) for e in epochs) for name in names
    }
    if any(e.counts[name] > 0 and e.shares[name] == 0 for e in epochs for name in names):
        return AnytimeSampleRatio(math.inf, 0.0, expected)
    if all(sum(e.shares[name] > 0 for name in names) < 2 for e in epochs):
        return NotEstimable("only one variant has a share, so there is no ratio to check")
    if not any(sum(e.counts.values()) for e in epochs):
        return NotEstimable("there are no units yet")
    tilt, log_evidence = dict.fromkeys(names, 1.0), 0.0
    for epoch in epochs:
        shared = [name for name in names if epoch.shares[name] > 0]
        total = math.fsum(float(epoch.shares[name]) * tilt[name] for name in shared)
        seen = sum(epoch.counts.values())
        log_evidence += float(gammaln(weight) - gammaln(weight + seen))
        for name in shared:
            share, n = float(epoch.shares[name]), epoch.counts[name]
            prior = weight * share * tilt[name] / total
            log_evidence += float(gammaln(prior + n) - gammaln(prior)) - n * math.log(share)
            tilt[name] = (prior + n) / ((weight + seen) * share)
        weight += seen
    return AnytimeSampleRatio(math.exp(min(log_evidence, 700.0)), math.exp(-max(log_evidence, 0.0)), expected)


@dataclass(frozen=True, slots=True)
class _Block:
    """Observed and expected units by variant, and the covariance under the promise; they add up."""

    observed: NDArray[np.float64]
    expected: NDArray[np.float64]
    covariance: NDArray[np.float64]

    @classmethod
    def none(cls, variants: int) -> _Block:
        return cls(np.zeros(variants), np.zeros(variants), np.zeros((variants, variants)))

    @classmethod
    def of(cls, epoch: Epoch, names: Sequence[str]) -> _Block:
        observed = np.array([epoch.counts[name] for name in names], dtype=np.float64)
        shares = np.array([float(epoch.shares[name]) for name in names])
        n = observed.sum()
        return cls(observed, n * shares, n * (np.diag(shares) - np.outer(shares, shares)))

    def __add__(self, other: _Block) -> _Block:
        return _Block(
            self.observed + other.observed,
            self.expected + other.expected,
            self.covariance + other.covariance,
        )

    @property
    def impossible(self) -> bool:
        return bool((self.observed[self.expected == 0.0] > 0).any())

    @property
    def ratio(self) -> bool:
        """Whether there is anything to be uneven: units, and two variants that could have had them."""
        return int((self.expected > 0).sum()) > 1

    @property
    def large(self) -> bool:
        return self.ratio and float(self.expected[self.expected > 0].min()) >= FEWEST

    @property
    def degrees_of_freedom(self) -> int:
        least = float(self.covariance.max(initial=0.0)) * _ROUNDING
        return int(np.linalg.matrix_rank(self.covariance, tol=least, hermitian=True))

    @property
    def statistic(self) -> float:
        """Squared deviation over its covariance (of deficient rank), which for one epoch is Pearson's sum."""
        gap = self.observed - self.expected
        return float(gap @ np.linalg.pinv(self.covariance, rcond=_ROUNDING, hermitian=True) @ gap)


def _same_variants(epochs: Sequence[Epoch]) -> None:
    for epoch in epochs[1:]:
        if set(epoch.counts) != set(epochs[0].counts):
            raise UsageError(
                f"all epochs must name the same variants, not {sorted(epochs[0].counts)} and {sorted(epoch.counts)}"
            )


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
