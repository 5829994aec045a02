"""What a judge leans to besides quality: the answer shown first, and the longer one."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from equipoise.errors import UsageError
from equipoise.stats.cases.case_means import Clusters, cases_of, mean_over_cases, share_over_cases
from equipoise.stats.comparison.means import difference_of_means
from equipoise.stats.domain import inside
from equipoise.stats.estimate import Estimate, NotEstimable
from equipoise.stats.moments import Moments, Values

__all__ = ["length_lean", "order_consistency", "position_lean", "position_lean_one_order"]

Flags = Sequence[bool] | NDArray[np.bool_]


def position_lean(
    scores_as_shown: Values,
    scores_reversed: Values,
    *,
    clusters: Clusters | None = None,
    level: float = 0.95,
) -> Estimate | NotEstimable:
    """By how much a judge that saw every pair in both orders prefers what it saw first.

    One pair per case; both scores are of the *same* answer, which `scores_as_shown` saw first and
    `scores_reversed` second: 1 where it was preferred, 0 where the other was, 0.5 for a tie, or a probability.
    The lean is the mean of (score first − score second) / 2, so quality cancels pair by pair. Scale: points of
    share from −0.5 to 0.5; 0.05 means that the first shown wins 55 per cent of what would otherwise be even.
    Interval: that of `share_over_cases` for 0.5 + lean.

    A lean of 0 is not consistency: a judge that tosses a coin has none. See `order_consistency`.
    Degenerate cases: fewer than two pairs (clusters) are not estimable. Errors: UsageError for scores outside
    [0, 1] or columns of unequal length.
    Source: Zheng et al. (2023), Judging LLM-as-a-Judge with MT-Bench and Chatbot Arena (arXiv 2306.05685),
    section 3.3; Shi et al. (2024), Judging the Judges (arXiv 2406.07791).

    >>> e = position_lean([1, 1, 1, 0, 1], [1, 0, 0, 0, 1])
    >>> round(e.value, 4), round(e.low, 3), round(e.high, 3)
    (0.2, -0.291, 0.477)
    """
    shown, turned = _scores(scores_as_shown, scores_reversed)
    found = share_over_cases(0.5 + (shown - turned) / 2.0, clusters, level=level, null=0.5)
    return _about_half(found, "position lean, both orders")


def position_lean_one_order(
    scores: Values, shown_first: Flags, *, level: float = 0.95
) -> Estimate | NotEstimable:
    """The position lean of a judge that saw each pair once, in an order drawn by lot.

    `scores` are of one and the same variant against another; `shown_first` says where it was shown first. The
    lean is (mean where first − mean where second) / 2, by Welch's t. Scale: points of share, as in
    `position_lean`. It holds only if the order was random: where the order follows from the case, hard cases
    pass for a lean. One order per pair is far less sharp than both.
    Degenerate cases: not estimable with fewer than two cases in an order, or where scores are constant in
    both. Errors: UsageError for scores outside [0, 1] or columns of unequal length.
    Source: Welch (1947), Biometrika 34, 28.

    >>> e = position_lean_one_order([1, 1, 0, 1, 0, 0, 1, 0], [True] * 4 + [False] * 4)
    >>> e.value, round(e.standard_error, 4)
    (0.25, 0.1768)
    """
    y, first = cases_of("scores", scores), np.asarray(shown_first, dtype=bool).ravel()
    if y.size != first.size:
        raise UsageError(f"scores and shown_first must have the same length, not {y.size} and {first.size}")
    _inside_unit(y)
    for name, where in (("first", first), ("second", ~first)):
        if int(where.sum()) < 2:
            return NotEstimable(f"fewer than two cases were shown {name}, and a lean needs two of each")
    found = difference_of_means(Moments.of(y[~first]), Moments.of(y[first]), level=level)
    if isinstance(found, NotEstimable):
        return NotEstimable("the scores are constant in both orders")
    return dataclasses.replace(
        found,
        value=found.value / 2.0,
        standard_error=found.standard_error / 2.0,
        low=max(-0.5, found.low / 2.0),
        high=min(0.5, found.high / 2.0),
        method="position lean, one order per pair, Welch's t",
    )


def order_consistency(
    scores_as_shown: Values,
    scores_reversed: Values,
    *,
    clusters: Clusters | None = None,
    level: float = 0.95,
) -> Estimate | NotEstimable:
    """The share of pairs whose verdict survives the change of order.

    Scores as in `position_lean`; a verdict is for the answer above 0.5, against it below, a tie at 0.5. Scale:
    a share from 0 to 1. What does not survive should count as a tie. Interval, degenerate cases and errors:
    those of `share_over_cases`. Source: Zheng et al. (2023), arXiv 2306.05685, table 2.

    >>> round(order_consistency([1, 1, 1, 0, 1], [1, 0, 0, 0, 1]).value, 2)
    0.6
    """
    shown, turned = _scores(scores_as_shown, scores_reversed)
    same = np.sign(shown - 0.5) == np.sign(turned - 0.5)
    return share_over_cases(same.astype(np.float64), clusters, level=level)


def length_lean(
    judge_scores: Values,
    length_differences: Values,
    human_scores: Values | None = None,
    *,
    clusters: Clusters | None = None,
    level: float = 0.95,
) -> Estimate | NotEstimable:
    """By how much a judge prefers the longer answer: more than humans do, where their scores are given.

    One pair per case. Scores are of the first answer of the pair (1, 0.5, 0 or a probability), length
    differences are the first's length minus the second's, in any unit; only their sign counts, and pairs of
    equal length are left out. With human scores the lean is the mean of (judge's − human's score of the longer
    answer): quality cancels, as far as the humans see it. Without, it is the judge's mean score of the longer
    answer − 0.5, which holds whatever quality goes with length and proves no bias. Scale: points of share.

    Interval: t over pairs, clipped; without human scores that of `share_over_cases`. Humans lean to length
    too: what both share is not seen. Degenerate cases: fewer than two pairs of unequal length are not
    estimable, nor is a lean that is the same in every pair where humans are asked. Errors: UsageError for
    scores outside [0, 1] or columns of unequal length.
    Source: Dubois et al. (2024), arXiv 2404.04475, for the lean; Zheng et al. (2023), arXiv
    2306.05685, section 3.3.

    >>> round(length_lean([1, 1, 0, 0], [30, -10, -20, -5], [1, 0, 0, 1]).value, 2)
    0.0
    """
    level = inside("level", level)
    y, d = _scores(judge_scores, None), cases_of("length_differences", length_differences)
    if y[0].size != d.size:
        raise UsageError(
            f"scores and length_differences must have the same length, not {y[0].size} and {d.size}"
        )
    unequal = d != 0.0
    groups = None
    if clusters is not None:
        groups = [name for name, keep in zip(list(clusters), unequal, strict=True) if keep]
    judge = np.where(d > 0.0, y[0], 1.0 - y[0])[unequal]
    if human_scores is None:
        found = share_over_cases(judge, groups, level=level, null=0.5)
        return _about_half(found, "length lean, quality not removed")
    h = _scores(judge_scores, human_scores)[1]
    human = np.where(d > 0.0, h, 1.0 - h)[unequal]
    lean = mean_over_cases(judge - human, groups, level=level)
    if isinstance(lean, NotEstimable):
        return lean
    return dataclasses.replace(
        lean,
        low=max(-1.0, lean.low),
        high=min(1.0, lean.high),
        method=f"length lean against humans, {lean.method}",
    )


def _scores(one: Values, other: Values | None) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    first = cases_of("scores", one)
    second = first if other is None else cases_of("scores", other)
    if first.size != second.size:
        raise UsageError(
            f"both columns of scores must have the same length, not {first.size} and {second.size}"
        )
    _inside_unit(first)
    _inside_unit(second)
    return first, second


def _inside_unit(scores: NDArray[np.float64]) -> None:
    if not ((scores >= 0.0) & (scores <= 1.0)).all():
        raise UsageError("every score must lie between 0 (the other preferred) and 1 (preferred)")


def _about_half(found: Estimate | NotEstimable, name: str) -> Estimate | NotEstimable:
    """A share as its distance from one half."""
    if isinstance(found, NotEstimable):
        return found
    return dataclasses.replace(
        found,
        value=found.value - 0.5,
        low=found.low - 0.5,
        high=found.high - 0.5,
        null=0.0,
        method=f"{name}, {found.method}",
    )
