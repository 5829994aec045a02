"""Tests of one difference per case that ask only for its sign, or for its being as likely up as down."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import SupportsIndex

import numpy as np
from numpy.typing import NDArray
from scipy.special import bdtrc

from equipoise.stats.cases.case_means import Clusters, cases_of, cluster_codes
from equipoise.stats.domain import counted
from equipoise.stats.estimate import NotEstimable
from equipoise.stats.moments import Values

__all__ = ["SignFlips", "SignTest", "sign_flip_test", "sign_test"]

ENUMERATED = 16
"""Up to this many clusters all sign patterns are gone through (65,536 of them), and no chance is needed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SignTest:
    """Wins against losses, ties set aside; `share` of the decided cases that are wins."""

    wins: int
    losses: int
    ties: int
    share: float
    p_value: float
    method: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SignFlips:
    """The mean difference, and how many of `patterns` sign patterns gave one as far from 0.

    `exact` says that the patterns are all there are. Otherwise they were drawn, and `seed` is the entropy of
    the generator's seed sequence (None where it has none): the same seed gives the same p-value.
    """

    mean: float
    p_value: float
    as_far: int
    patterns: int
    exact: bool
    seed: int | tuple[int, ...] | None
    clusters: int
    method: str


def sign_test(wins: SupportsIndex, losses: SupportsIndex, ties: SupportsIndex = 0) -> SignTest | NotEstimable:
    """Whether wins are as likely as losses: the exact two-sided sign test, ties set aside.

    Inputs are counts of independent cases. p is twice the binomial tail of the commoner outcome, at most 1.
    Ties say nothing for either side, but many of them say that the difference is small: they stand in the
    result and the test does not see them. Degenerate cases: without any decided case there is no test.
    Errors: UsageError for counts that are negative or not whole.
    Source: Dixon & Mood (1946), JASA 41, 557.

    >>> round(sign_test(8, 1, 3).p_value, 4)
    0.0391
    """
    w, l, t = counted("wins", wins), counted("losses", losses), counted("ties", ties)
    if w + l == 0:
        return NotEstimable("there is no decided case, only ties" if t else "there are no cases")
    p = min(1.0, 2.0 * float(bdtrc(max(w, l) - 1, w + l, 0.5)))
    return SignTest(wins=w, losses=l, ties=t, share=w / (w + l), p_value=p, method="exact sign test")


def sign_flip_test(
    differences: Values,
    generator: np.random.Generator,
    *,
    clusters: Clusters | None = None,
    patterns: int = 9_999,
) -> SignFlips | NotEstimable:
    """Whether differences are as likely up as down: the randomisation test of their mean.

    One difference per case (score of one variant minus the other's; win rate minus 0.5 for a preference), on
    any scale. The signs of all cases of a cluster are turned together. p is the share of sign patterns whose
    mean is at least as far from 0 as the one seen: over all of them up to 16 clusters that are not 0, else
    over `patterns` drawn from `generator`, as (1 + as far) / (1 + patterns), which is never 0 and keeps the
    level exactly.

    The null is that each cluster's differences are symmetric about 0, which holds wherever the two variants'
    labels could have been exchanged. It is more than a mean of 0: with skewed differences of mean 0 (many
    small losses, a few large wins) it rejects too often or too seldom, and a t interval is the one to take.

    Degenerate cases: without any case, or with all differences 0, there is nothing to flip. With k clusters
    that are not 0 no p can be below 2 / 2^k. Errors: UsageError for values that are not finite, clusters
    that do not match, or fewer than 99 patterns.
    Source: Fisher (1935), The Design of Experiments, section 21; Phipson & Smyth (2010), Statistical
    Applications in Genetics and Molecular Biology 9, 39.

    >>> sign_flip_test([3, 1, 2, 4, 2], np.random.default_rng(1)).p_value
    0.0625
    """
    values = cases_of("differences", differences)
    drawn = counted("patterns", patterns, at_least=99)
    sums = np.bincount(cluster_codes(clusters, values.size), weights=values).astype(np.float64)
    n = int(values.size)
    sums = sums[np.abs(sums) > 1e-12 * max(1e-300, float(np.abs(values).sum()))] if n else sums
    if sums.size == 0:
        return NotEstimable(
            "there are no cases" if n == 0 else "every difference adds up to 0 in its cluster"
        )
    total = float(sums.sum())
    limit = abs(total) - 1e-9 * float(np.abs(sums).sum())
    exact = sums.size <= ENUMERATED
    if exact:
        found = np.zeros(1)
        for piece in sums:
            found = np.concatenate([found + piece, found - piece])
        as_far, patterns = int((np.abs(found) >= limit).sum()), int(found.size)
        p = as_far / patterns
    else:
        as_far, patterns = _drawn(sums, generator, drawn, lambda s: np.abs(s) >= limit), drawn
        p = (1 + as_far) / (1 + patterns)
    return SignFlips(
        mean=total / n,
        p_value=p,
        as_far=as_far,
        patterns=patterns,
        exact=exact,
        seed=None if exact else _seed(generator),
        clusters=int(sums.size),
        method=f"sign-flip randomisation test, {'all' if exact else 'drawn'} patterns",
    )


def _drawn(
    sums: NDArray[np.float64],
    generator: np.random.Generator,
    patterns: int,
    as_far: Callable[[NDArray[np.float64]], NDArray[np.bool_]],
) -> int:
    count, batch = 0, max(1, 2_000_000 // sums.size)
    for start in range(0, patterns, batch):
        up = generator.integers(0, 2, (min(batch, patterns - start), sums.size), dtype=np.int8)
        count += int(as_far((2.0 * up - 1.0) @ sums).sum())
    return count


def _seed(generator: np.random.Generator) -> int | tuple[int, ...] | None:
    entropy = getattr(generator.bit_generator.seed_seq, "entropy", None)
    if isinstance(entropy, int) or entropy is None:
        return entropy
    return tuple(int(part) for part in entropy)
