"""How far two raters, or many, say the same: agreement, Cohen's kappa, Krippendorff's alpha, correlation.

The two coefficients of agreement are 1 − (disagreement seen) / (disagreement expected by chance). Their intervals, and
the correlation's, are made on Fisher's scale, artanh, since the coefficient's own scale ends at 1 and is skewed near it.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from equipoise.errors import UsageError
from equipoise.stats.cases.binomial import clopper_pearson
from equipoise.stats.cases.case_means import (
    Clusters,
    case_weights,
    cases_of,
    cluster_codes,
    mean_over_cases,
    share_over_cases,
)
from equipoise.stats.comparison.proportions import wilson_interval
from equipoise.stats.domain import inside
from equipoise.stats.estimate import Estimate, NotEstimable
from equipoise.stats.moments import Values
from equipoise.stats.normal import critical
from equipoise.stats.student import t_estimate

__all__ = ["agreement", "cohens_kappa", "correlation", "krippendorffs_alpha", "self_consistency"]

Labels = Sequence[Hashable]
Weights = Literal["none", "linear", "quadratic"]
Scale = Literal["nominal", "ordinal", "interval"]
Matrix = NDArray[np.float64]


def agreement(
    first: Labels,
    second: Labels,
    *,
    clusters: Clusters | None = None,
    case_weights: Values | None = None,
    level: float = 0.95,
) -> Estimate | NotEstimable:
    """The share of cases that two raters label alike. Labels are compared as they are; a tie is a label.

    Scale: a share of cases, from 0 to 1. The interval is Wilson's; with `clusters` or `case_weights` (such as one
    over the probability of being drawn) it is that of `share_over_cases`. Chance alone makes raters agree: where
    nine in ten answers are good, two raters who never look agree on 82 per cent. Read it beside `cohens_kappa`.
    Degenerate cases: no cases is not estimable. Errors: UsageError for unequal lengths or a missing label
    (None or NaN).
    Source: Wilson (1927), JASA 22, 209.

    >>> human, judge = "A B A tie B A B B".split(), "A B B tie B A A B".split()
    >>> e = agreement(human, judge)
    >>> f"{e.value:.1%}", round(e.low, 3), round(e.high, 3)
    ('75.0%', 0.409, 0.929)
    """
    same = [a == b for a, b in _pairs(first, second)]
    if clusters is not None or case_weights is not None:
        return share_over_cases(np.array(same, dtype=np.float64), clusters, weights=case_weights, level=level)
    return wilson_interval(sum(same), len(same), level)


def cohens_kappa(
    first: Labels,
    second: Labels,
    *,
    weights: Weights = "none",
    categories: Labels | None = None,
    clusters: Clusters | None = None,
    case_weights: Values | None = None,
    level: float = 0.95,
) -> Estimate | NotEstimable:
    """Cohen's kappa of two raters: agreement beyond what their own habits would give by chance.

    Scale: 1 is full agreement, 0 that of chance, below 0 less than chance. κ = 1 − D/E, where D is the mean
    disagreement seen and E that of all pairs of first and second labels. A disagreement counts 1 (none), the
    distance of the two categories (linear) or its square (quadratic), divided by the largest.
    `categories` gives all labels in their order, which the weighted kinds need; equal steps are assumed.
    `case_weights` say how much each case counts, such as one over the probability of being drawn.

    The variance is that of the influence of each case, the large-sample variance of Fleiss, Cohen and Everitt
    with n − 1 for n; the interval is t on the artanh scale. It holds from some fifty cases with five of each
    label; with thirty cases and a label of one in eight it covers 90 per cent. Kappa falls where one label is
    common, however good the raters: compare kappas only between samples with the same shares of labels.

    Degenerate cases: not estimable with fewer than two cases (or clusters) or where both raters use one and
    the same label only, since chance agreement is then complete. Where all cases agree there is no spread to
    estimate: the lower limit then takes as the share of disagreeing cases the upper Clopper-Pearson limit of
    none, and `standard_error` is half the width over z.
    Errors: UsageError for unequal lengths, a missing label, a label outside `categories`, or weights without
    categories.
    Source: Cohen (1960), Educational and Psychological Measurement 20, 37, eq. (1); Cohen (1968),
    Psychological Bulletin 70, 213; Fleiss, Cohen & Everitt (1969), Psychological Bulletin 72, 323.

    >>> human, judge = "A B A tie B A B B".split(), "A B B tie B A A B".split()
    >>> e = cohens_kappa(human, judge)
    >>> round(e.value, 3), round(e.low, 2), round(e.high, 2)
    (0.579, -0.36, 0.94)
    """
    level = inside("level", level)
    pairs = _pairs(first, second)
    order = _categories([*first, *second], categories, needed=weights != "none")
    n, k = len(pairs), len(order)
    if n < 2:
        return NotEstimable(f"there {'is 1 case' if n == 1 else 'are 0 cases'}, and a spread needs two")
    a = np.array([order[x] for x, _ in pairs])
    b = np.array([order[y] for _, y in pairs])
    steps = np.abs(np.subtract.outer(np.arange(k), np.arange(k))) / max(k - 1.0, 1.0)
    if weights not in ("none", "linear", "quadratic"):
        raise UsageError(f"weights must be none, linear or quadratic, not {weights}")
    apart = {"none": (steps > 0).astype(np.float64), "linear": steps, "quadratic": steps**2}[weights]
    each = _shares(case_weights, n)
    p, q = np.bincount(a, weights=each, minlength=k), np.bincount(b, weights=each, minlength=k)
    expected = float(p @ apart @ q)
    if expected <= 0.0:
        return NotEstimable("both raters give every case the same label, so chance alone explains it")
    seen = apart[a, b]
    mean = float(each @ seen)
    ratio = mean / expected
    by_chance = (apart @ q)[a] + (p @ apart)[b] - 2.0 * expected
    influence = (seen - mean) / expected - ratio * by_chance / expected
    name = {"none": "", "linear": ", linear weights", "quadratic": ", quadratic weights"}[weights]
    spread = mean_over_cases(influence, clusters, weights=case_weights, level=level)
    if isinstance(spread, NotEstimable) and "spread needs two" in spread.reason:
        return spread
    codes = cluster_codes(clusters, n)
    return _coefficient(
        1.0 - ratio,
        spread if isinstance(spread, Estimate) else None,
        # One case that disagrees by the most, in each cluster that the limit allows.
        worst=1.0 / expected * float(apart.max()),
        cases=int(codes.max()) + 1,
        level=level,
        method=f"Cohen's kappa{name}",
    )


def correlation(
    first: Values,
    second: Values,
    *,
    clusters: Clusters | None = None,
    case_weights: Values | None = None,
    level: float = 0.95,
) -> Estimate | NotEstimable:
    """Pearson's correlation of two raters' grades: whether they move together, whatever scale each uses.

    Scale: from −1 to 1. A judge who is always one grade too kind correlates fully; read it beside weighted kappa,
    which minds. The variance is that of the influence of each case, ρ(xy − ρ(x² + y²)/2) with x and y in their own
    standard deviations, which needs no normal grades; the interval is t on the artanh scale. `clusters` and
    `case_weights` are those of `mean_over_cases`. With 50 pairs of five grades it covers 94 per cent, with 20 it covers 93.

    Degenerate cases: not estimable with fewer than four cases, where a rater gives all cases the same grade, or where
    all pairs lie on one line. Errors: UsageError for unequal lengths, grades that are not finite, and those of
    `mean_over_cases`.
    Source: Devlin, Gnanadesikan & Kettenring (1975), Biometrika 62, 531, section 2.1; Fisher (1921), Metron 1, 3.

    >>> e = correlation([1, 2, 3, 4, 5, 3, 2, 4], [1, 3, 3, 5, 5, 2, 2, 4])
    >>> round(e.value, 3), round(e.low, 2), round(e.high, 2)
    (0.898, 0.56, 0.98)
    """
    level = inside("level", level)
    x, y = cases_of("grades", first), cases_of("grades", second)
    if x.size != y.size:
        raise UsageError(f"both raters must grade the same cases, not {x.size} and {y.size}")
    if x.size < 4:
        count = "is 1 case" if x.size == 1 else f"are {x.size} cases"
        return NotEstimable(f"there {count}, and a correlation needs four")
    if np.ptp(x) == 0.0 or np.ptp(y) == 0.0:
        return NotEstimable(
            "a rater gives every case the same grade, and what is constant moves with nothing"
        )
    each = _shares(case_weights, x.size)
    u, v = x - each @ x, y - each @ y
    u, v = u / math.sqrt(float(each @ u**2)), v / math.sqrt(float(each @ v**2))
    value = float(each @ (u * v))
    spread = mean_over_cases(u * v - value * (u**2 + v**2) / 2.0, clusters, weights=case_weights, level=level)
    if isinstance(spread, NotEstimable):
        return spread if "spread needs two" in spread.reason else NotEstimable("all pairs lie on one line")
    if abs(value) >= 1.0 - 1e-12:
        return NotEstimable("all pairs lie on one line")
    return _coefficient(value, spread, worst=0.0, cases=x.size, level=level, method="Pearson's correlation")


def krippendorffs_alpha(
    ratings: Sequence[Sequence[Hashable]],
    *,
    scale: Scale = "nominal",
    categories: Labels | None = None,
    clusters: Clusters | None = None,
    level: float = 0.95,
) -> Estimate | NotEstimable:
    """Krippendorff's alpha of any number of raters, who need not all have rated every case.

    One row per rater, one entry per case; None is a missing rating. Scale: 1 is full agreement, 0 that of
    chance. α = 1 − D/E, with D the mean disagreement of two ratings of one case and E that of any two
    ratings. Disagreement: nominal 1 for different labels; ordinal the square of the ratings between and
    half of those at the two ranks; interval (v − v′)². Ordinal takes the order from `categories`, or from
    the values where they are numbers; interval needs numbers. A case with one rating tells nothing.

    The interval is t on the artanh scale with the delete-one jackknife over cases (over `clusters` where
    they are named); raters are taken as given. It needs no random numbers, unlike the usual bootstrap.

    Degenerate cases: not estimable with fewer than two cases of two ratings, or where all paired ratings are
    equal, since nothing then says that raters could tell cases apart. Full agreement on varied cases: as in
    `cohens_kappa`. Errors: UsageError for rows of unequal length, fewer than two raters, an unknown scale, a
    label outside `categories`, or labels without an order where one is needed.
    Source: Krippendorff (2011), Computing Krippendorff's Alpha-Reliability, University of Pennsylvania,
    sections C and D; Efron & Stein (1981), Annals of Statistics 9, 586, for the jackknife.

    >>> a = [None, None, None, None, None, 3, 4, 1, 2, 1, 1, 3, 3, None, 3]
    >>> b = [1, None, 2, 1, 3, 3, 4, 3, None, None, None, None, None, None, None]
    >>> c = [None, None, 2, 1, 3, 4, 4, None, 2, 1, 1, 3, 3, None, 4]
    >>> [round(krippendorffs_alpha([a, b, c], scale=s).value, 3) for s in ("nominal", "interval")]
    [0.691, 0.811]
    """
    level = inside("level", level)
    if scale not in ("nominal", "ordinal", "interval"):
        raise UsageError(f"scale must be nominal, ordinal or interval, not {scale}")
    rows = [list(row) for row in ratings]
    if len(rows) < 2:
        raise UsageError(f"agreement needs at least two raters, not {len(rows)}")
    if len({len(row) for row in rows}) > 1:
        raise UsageError("every rater needs one entry per case, None where there is no rating")
    codes = cluster_codes(clusters, len(rows[0]))
    cases = [[row[u] for row in rows if not _missing(row[u])] for u in range(len(rows[0]))]
    kept = [u for u, case in enumerate(cases) if len(case) > 1]
    groups = list(dict.fromkeys(codes[kept].tolist()))
    if len(groups) < 2:
        noun = "case" if clusters is None else "cluster"
        count = f"is 1 {noun}" if len(groups) == 1 else f"are 0 {noun}s"
        return NotEstimable(f"there {count} with two ratings or more, and a spread needs two")
    used = [label for u in kept for label in cases[u]]
    numbers = all(isinstance(v, (int, float)) and math.isfinite(v) for v in used)
    if scale == "interval" and not numbers:
        raise UsageError("an interval scale needs ratings that are finite numbers")
    if categories is None and numbers:
        categories = sorted(set(used), key=float)  # type: ignore[arg-type]
    order = _categories(used, categories, needed=scale == "ordinal")
    values = np.array([float(v) for v in order]) if scale == "interval" else np.arange(float(len(order)))  # type: ignore[arg-type]
    index = {group: g for g, group in enumerate(groups)}
    counts, within = np.zeros((len(groups), len(order))), np.zeros((len(groups), len(order), len(order)))
    for u in kept:
        n_u = np.bincount([order[label] for label in cases[u]], minlength=len(order)).astype(np.float64)
        counts[index[int(codes[u])]] += n_u
        within[index[int(codes[u])]] += (np.outer(n_u, n_u) - np.diag(n_u)) / (n_u.sum() - 1.0)
    total, pairs = counts.sum(axis=0), within.sum(axis=0)
    whole = _alpha(total, pairs, scale, values)
    if whole is None:
        return NotEstimable("all ratings are equal, so nothing says that the raters could tell cases apart")
    size = len(groups)
    parts = [_alpha(total - counts[g], pairs - within[g], scale, values) for g in range(size)]
    left = np.array([part for part in parts if part is not None])
    spread: Estimate | None = None
    if left.size < size:
        return NotEstimable("but for one case all ratings are equal, so there is no spread")
    error = math.sqrt((size - 1.0) / size * float(((left - left.mean()) ** 2).sum()))
    if error > 1e-12 and whole < 1.0:
        spread = t_estimate(whole, error, size - 1.0, level=level, null=0.0, method="")
    return _coefficient(
        whole,
        spread,
        worst=_worst(total, scale, values),
        cases=size,
        level=level,
        method=f"Krippendorff's alpha, {scale}",
    )


def self_consistency(
    repeats: Sequence[Labels], *, clusters: Clusters | None = None, level: float = 0.95
) -> Estimate | NotEstimable:
    """How often a judge, asked twice the same, says the same: mean over cases of the share of equal pairs.

    One row per case, with the labels of all its askings (None is left out). Scale: a share from 0 to 1. Each
    case weighs the same, whatever the number of its askings. Consistency is not truth: a judge that always
    says A is wholly consistent. The interval is that of `share_over_cases`.
    Degenerate cases: cases asked once tell nothing and are left out; fewer than two others are not
    estimable. Errors: those of `share_over_cases`.
    Source: the observed agreement of Fleiss (1971), Psychological Bulletin 76, 378, per case.

    >>> round(self_consistency([["A", "A", "B"], ["B", "B", "B"], ["A", "A", "A"]]).value, 4)
    0.7778
    """
    shares, kept = [], []
    for u, row in enumerate(repeats):
        labels = [label for label in row if not _missing(label)]
        m = len(labels)
        if m > 1:
            equal = sum(labels.count(label) - 1 for label in labels)
            shares.append(equal / (m * (m - 1)))
            kept.append(u)
    codes = cluster_codes(clusters, len(repeats))
    return share_over_cases(shares, None if clusters is None else codes[kept], level=level)


def _shares(weights: Values | None, n: int) -> Matrix:
    """Each case's share of all weight."""
    each = case_weights(weights, n)
    return np.asarray(each / each.sum())


def _missing(label: Hashable) -> bool:
    return label is None or label != label  # noqa: PLR0124 (NaN alone differs from itself)


def _pairs(first: Labels, second: Labels) -> list[tuple[Hashable, Hashable]]:
    if len(first) != len(second):
        raise UsageError(f"both raters must label the same cases, not {len(first)} and {len(second)}")
    pairs = list(zip(first, second, strict=True))
    if any(_missing(a) or _missing(b) for a, b in pairs):
        raise UsageError("a label is missing: count such cases apart, or use Krippendorff's alpha")
    return pairs


def _categories(used: Labels, categories: Labels | None, *, needed: bool) -> dict[Hashable, int]:
    if categories is None:
        if needed:
            raise UsageError("categories must give the labels in their order, or distances have no meaning")
        return {label: i for i, label in enumerate(dict.fromkeys(used))}
    order = {label: i for i, label in enumerate(dict.fromkeys(categories))}
    unknown = [label for label in used if label not in order]
    if unknown:
        raise UsageError(f"{unknown[0]} is not among the categories {', '.join(map(str, order))}")
    return order


def _apart(total: Matrix, scale: Scale, values: Matrix) -> Matrix:
    """The squared difference of each two categories, which on an ordinal scale depends on how often they occur."""
    if scale == "nominal":
        return 1.0 - np.eye(total.size)
    if scale == "interval":
        return np.asarray(np.subtract.outer(values, values) ** 2)
    middle = np.cumsum(total) - total / 2.0
    return np.asarray(np.subtract.outer(middle, middle) ** 2)


def _alpha(total: Matrix, pairs: Matrix, scale: Scale, values: Matrix) -> float | None:
    apart, n = _apart(total, scale, values), float(total.sum())
    expected = float(total @ apart @ total)
    if n < 2.0 or expected <= 0.0:
        return None
    return 1.0 - (n - 1.0) * float((pairs * apart).sum()) / expected


def _worst(total: Matrix, scale: Scale, values: Matrix) -> float:
    """By how much alpha falls for each share of cases that would disagree by the most."""
    apart, n = _apart(total, scale, values), float(total.sum())
    return float(apart[np.ix_(total > 0, total > 0)].max()) * n * (n - 1.0) / float(total @ apart @ total)


def _coefficient(
    value: float, spread: Estimate | None, *, worst: float, cases: int, level: float, method: str
) -> Estimate:
    """`value` with its limits: t on the artanh scale, or for full agreement the most that none could hide."""
    if spread is None or value >= 1.0 or value <= -1.0:
        unseen = clopper_pearson(0.0, cases, (1.0 - level) / 2.0)[1]
        low, high = (
            max(-1.0, value - worst * unseen),
            1.0 if value >= 1.0 else min(1.0, value + worst * unseen),
        )
        error = (high - low) / 2.0 / critical((1.0 - level) / 2.0)
        method += ", limits from the share of disagreement that none seen leaves possible"
        return Estimate(value=value, standard_error=error, low=low, high=high, level=level, method=method)
    half = (spread.high - spread.value) / (1.0 - value * value)
    z = math.atanh(value)
    return Estimate(
        value=value,
        standard_error=spread.standard_error,
        low=math.tanh(z - half),
        high=math.tanh(z + half),
        level=level,
        method=f"{method}, t interval on the artanh scale",
        degrees_of_freedom=spread.degrees_of_freedom,
    )
