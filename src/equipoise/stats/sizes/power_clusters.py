"""Sizes where whole clusters (teams, documents, conversations) are randomised, and units within are alike."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import SupportsIndex

from equipoise.errors import UsageError
from equipoise.stats.domain import counted, finite, positive
from equipoise.stats.sizes.power import SampleSize, detectable_two_means, power_two_means, size_two_means

__all__ = [
    "ClusterSize",
    "cluster_mean_spread",
    "cluster_spread",
    "design_effect",
    "detectable_clusters",
    "power_clusters",
    "size_clusters",
]


@dataclass(frozen=True, slots=True)
class ClusterSize:
    """How many clusters each arm needs, and the units they hold on average.

    >>> ClusterSize(SampleSize(14, 14), SampleSize(280, 280), 1.95).clusters.total
    28
    """

    clusters: SampleSize
    units: SampleSize
    design_effect: float


def design_effect(icc: float, cluster_size: float, cluster_cv: float = 0.0) -> float:
    """By how much clusters inflate the variance over as many independent units: a factor of at least 1 − icc.

    1 + ((1 + cv²)·m − 1)·icc. `icc`, in [0, 1], is the share of the variance that lies between clusters;
    `cluster_size` m the mean number of units in a cluster, at least 1; `cluster_cv` the standard deviation
    of that number over its mean, at least 0. It belongs to estimates that weigh every unit alike (a ratio
    of sums); weighing every cluster alike would need less where clusters are large and differ much.

    Degenerate cases: icc 0, or clusters of exactly one unit, give 1. Errors: UsageError outside the domain.
    Source: Kish (1965), Survey Sampling, chapter 5; Eldridge, Ashby & Kerry (2006), International Journal
    of Epidemiology 35, 1292, eq. (2).

    >>> round(design_effect(0.05, 20), 4), round(design_effect(0.05, 20, 0.65), 4)
    (1.95, 2.3725)
    """
    rho, m, cv = finite("icc", icc), finite("cluster_size", cluster_size), finite("cluster_cv", cluster_cv)
    if not 0.0 <= rho <= 1.0:
        raise UsageError(f"icc must lie between 0 and 1, not {rho:g}")
    if m < 1.0:
        raise UsageError(f"cluster_size must be at least 1, not {m:g}")
    if cv < 0.0:
        raise UsageError(f"cluster_cv must be at least 0, not {cv:g}")
    return 1.0 + ((1.0 + cv * cv) * m - 1.0) * rho


def cluster_spread(spread: float, icc: float, cluster_size: float, cluster_cv: float = 0.0) -> float:
    """The spread per *cluster* of a mean over units: spread·sqrt(design effect / m), in the outcome's unit.

    The mean of k clusters has the standard error cluster_spread/√k. Domain and errors: `design_effect`, and
    UsageError for a spread not above 0. Source: Eldridge, Ashby & Kerry (2006).

    >>> round(cluster_spread(1.0, 0.05, 20), 4)
    0.3122
    """
    effect = design_effect(icc, cluster_size, cluster_cv)
    return positive("spread", spread) * math.sqrt(effect / cluster_size)


def cluster_mean_spread(spread: float, icc: float, cluster_size: float, cluster_cv: float = 0.0) -> float:
    """The spread of clusters' own means, which weigh alike however many units each has, in the outcome's unit.

    spread·sqrt(icc + (1 − icc)·(1 + cv²)/m): what clusters differ by, and what a mean of few units is off by. (1 + cv²)/m
    stands for the average of 1/size, which it is of sizes that are lognormal, and is no more than 1, a unit being the least
    that a cluster with a mean has. Clusters of one size have the same spread as by `cluster_spread`; where sizes differ,
    large ones have less say here than there, and the spread is smaller the more alike their units are.

    Domain and errors: those of `cluster_spread`. Degenerate cases: icc 1, and clusters of one unit, give `spread`.
    Source: Kerry & Bland (2001), Statistics in Medicine 20, 377, for clusters of equal weight.

    >>> round(cluster_mean_spread(1.0, 0.05, 20), 4), round(cluster_mean_spread(1.0, 0.05, 40, 0.6), 4)
    (0.3122, 0.2869)
    >>> round(cluster_spread(1.0, 0.05, 40, 0.6), 4)
    0.3029
    """
    design_effect(icc, cluster_size, cluster_cv)
    own = min(1.0, (1.0 + cluster_cv**2) / cluster_size)
    return positive("spread", spread) * math.sqrt(icc + (1.0 - icc) * own)


def size_clusters(
    spread: float,
    mde: float,
    icc: float,
    cluster_size: float,
    cluster_cv: float = 0.0,
    *,
    alpha: float = 0.05,
    power: float = 0.8,
    ratio: float = 1.0,
    sides: int = 2,
) -> ClusterSize:
    """Clusters with which a t test over clusters finds a difference `mde` with probability `power`.

    Scale: `spread` is the standard deviation between *units* (for a rate p, sqrt(p(1 − p))) and `mde` the
    difference, in the outcome's unit; `ratio` = treatment clusters per control cluster. It is
    `size_two_means` of `cluster_spread`, so few clusters pay for their few degrees of freedom (clusters of
    both arms less 2), which multiplying a number of units by the design effect would forget.

    Degenerate cases: with clusters of one unit it is the size of a mean. Errors: UsageError as in
    `size_two_means` and `design_effect`.
    Source: Donner & Klar (2000), Design and Analysis of Cluster Randomization Trials, chapter 5;
    Eldridge, Ashby & Kerry (2006) for sizes that vary.

    >>> found = size_clusters(1.0, 0.25, 0.05, 20)
    >>> found.clusters.control, found.units.control, round(found.design_effect, 2)
    (26, 520, 1.95)
    """
    per_cluster = cluster_spread(spread, icc, cluster_size, cluster_cv)
    clusters = size_two_means(per_cluster, mde, alpha=alpha, power=power, ratio=ratio, sides=sides)
    units = SampleSize(
        math.ceil(clusters.control * cluster_size - 1e-9), math.ceil(clusters.treatment * cluster_size - 1e-9)
    )
    return ClusterSize(clusters, units, design_effect(icc, cluster_size, cluster_cv))


def power_clusters(
    clusters_c: SupportsIndex,
    clusters_t: SupportsIndex,
    spread: float,
    mde: float,
    icc: float,
    cluster_size: float,
    cluster_cv: float = 0.0,
    *,
    alpha: float = 0.05,
    sides: int = 2,
) -> float:
    """The probability that a t test over clusters finds a true difference `mde`, in its direction.

    It inverts `size_clusters`, whose scale, errors and source it shares; arms need at least two clusters.

    >>> round(power_clusters(26, 26, 1.0, 0.25, 0.05, 20), 3)
    0.808
    """
    per_cluster = cluster_spread(spread, icc, cluster_size, cluster_cv)
    return power_two_means(clusters_c, clusters_t, per_cluster, mde, alpha, sides=sides)


def detectable_clusters(
    clusters_c: SupportsIndex,
    clusters_t: SupportsIndex,
    spread: float,
    icc: float,
    cluster_size: float,
    cluster_cv: float = 0.0,
    *,
    alpha: float = 0.05,
    power: float = 0.8,
    sides: int = 2,
) -> float:
    """The smallest difference that so many clusters find with probability `power`, in the outcome's unit.

    It solves `power_clusters` = power; errors and source as there.

    >>> round(detectable_clusters(26, 26, 1.0, 0.05, 20), 4)
    0.2474
    """
    nc, nt = (
        counted(name, n, at_least=2) for name, n in (("clusters_c", clusters_c), ("clusters_t", clusters_t))
    )
    per_cluster = cluster_spread(spread, icc, cluster_size, cluster_cv)
    return detectable_two_means(nc, nt, per_cluster, alpha=alpha, power=power, sides=sides)
