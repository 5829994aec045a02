"""The corrected win rate over clusters and the score interval, against slow twins and older formulas."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.stats import t as student

from equipoise.errors import UsageError
from equipoise.stats.comparison.proportions import wilson_interval
from equipoise.stats.estimate import NotEstimable
from equipoise.stats.judges.corrected_cases import corrected_mean_over_cases
from equipoise.stats.judges.prediction_powered import JudgedArm, corrected_mean
from equipoise.stats.moments import Moments, PairMoments
from equipoise.stats.normal import two_sided
from equipoise.stats.preference.score_rate import score_win_rate


def made(groups, size, share, seed):
    rng = np.random.default_rng(seed)
    truth = rng.choice([0.0, 0.5, 1.0], groups * size, p=[0.3, 0.2, 0.5])
    judge = np.where(rng.random(groups * size) < 0.8, truth, 1.0)
    asked = rng.random(groups * size) < share
    said = [float(value) if ask else None for value, ask in zip(truth, asked, strict=True)]
    return said, judge, rng.uniform(0.5, 2.0, groups * size)


@pytest.mark.parametrize("groups, size, share", [(150, 3, 0.4), (30, 2, 0.6)])
def test_the_corrected_mean_over_clusters_is_what_a_loop_over_them_gives(groups, size, share):
    """Tuned with 150 clusters and plain with 30: estimate, error and limits to twelve digits."""
    said, judge, weight = made(groups, size, share, seed=3)
    clusters = [f"document {case // size}" for case in range(groups * size)]
    found = corrected_mean_over_cases(said, judge, clusters=clusters, weights=weight, level=0.9, null=0.5)
    on = [case for case, label in enumerate(said) if label is not None]
    off = [case for case, label in enumerate(said) if label is None]
    w_on, w_off = sum(weight[c] for c in on), sum(weight[c] for c in off)
    label = sum(weight[c] * said[c] for c in on) / w_on
    here = sum(weight[c] * judge[c] for c in on) / w_on
    there = sum(weight[c] * judge[c] for c in off) / w_off
    a, b, sums = dict.fromkeys(clusters, 0.0), dict.fromkeys(clusters, 0.0), dict.fromkeys(clusters, 0.0)
    for c in on:
        a[clusters[c]] += weight[c] * (said[c] - label) / w_on
        b[clusters[c]] -= weight[c] * (judge[c] - here) / w_on
        sums[clusters[c]] += weight[c]
    for c in off:
        b[clusters[c]] += weight[c] * (judge[c] - there) / w_off
    worth = sum(sums.values()) ** 2 / sum(each**2 for each in sums.values())
    tuned = bool(worth >= 50)
    factor = -sum(a[g] * b[g] for g in a) / sum(b[g] ** 2 for g in a) if tuned else 1.0
    df = worth - 1 - tuned
    error = math.sqrt(sum((a[g] + factor * b[g]) ** 2 for g in a) * worth / df)
    value = label + factor * (there - here)
    assert tuned is (groups == 150)
    assert found.value == pytest.approx(value, rel=1e-12)
    assert found.standard_error == pytest.approx(error, rel=1e-10)
    assert found.high == pytest.approx(value + student.ppf(0.95, df) * error, rel=1e-10)


def test_with_every_case_its_own_it_is_nearly_the_estimate_from_moments():
    """The two tune the judge's weight on slightly different sums: a thousandth apart, the errors within a tenth."""
    said, judge, _ = made(600, 1, 0.4, seed=5)
    labelled = [(s, j) for s, j in zip(said, judge, strict=True) if s is not None]
    rest = [j for s, j in zip(said, judge, strict=True) if s is None]
    ours = corrected_mean_over_cases(said, judge)
    arm = JudgedArm(PairMoments.of(*map(list, zip(*labelled, strict=True))), Moments.of(rest))
    theirs = corrected_mean(arm)
    assert ours.value == pytest.approx(theirs.value, abs=0.002)
    assert ours.standard_error == pytest.approx(theirs.standard_error, rel=0.1)


def test_what_cannot_be_corrected_says_why():
    """Too few clusters, labels that are no random sample, a judge without a fault, and columns that do not match."""
    few = corrected_mean_over_cases([1.0, 0.0] * 10, [1.0, 0.0] * 10, clusters=[n // 2 for n in range(20)])
    assert few == NotEstimable(
        "the labels lie in clusters worth 10 of equal size, and a corrected estimate needs 20"
    )
    none = corrected_mean_over_cases([None] * 5, [1.0] * 5)
    assert none == NotEstimable(
        "the labels lie in clusters worth 0 of equal size, and a corrected estimate needs 20"
    )
    chosen = corrected_mean_over_cases([1.0, 0.0] * 50 + [None] * 100, [1.0] * 99 + [0.0] * 100 + [1.0])
    assert chosen == NotEstimable(
        "the judge gives the labelled cases 0.99 and the others 0.01 on average: the labels are not a random sample"
    )
    same = corrected_mean_over_cases([1.0] * 60 + [None] * 60, [1.0] * 120)
    assert same == NotEstimable(
        "no label differs from what the judge's score says, and 60 labels cannot show how often one would"
    )
    with pytest.raises(UsageError, match=r"one cluster per case, but 1 are named for 2 cases"):
        corrected_mean_over_cases([1.0, None], [1.0, 0.0], clusters=["a"])


def test_without_ties_and_clusters_the_score_interval_is_wilsons():
    """To a thousandth at 2,000 cases, where Student's t is the normal; the variance has n − 1 instead of n."""
    scores = [1.0] * 1300 + [0.0] * 700
    ours, theirs = score_win_rate(scores, level=0.99), wilson_interval(1300, 2000, 0.99)
    assert (ours.low, ours.high) == pytest.approx((theirs.low, theirs.high), abs=1e-4)


def test_the_score_interval_excludes_a_bar_where_the_score_test_does():
    """Its limits solve |m − p| = t · s · sqrt(p(1 − p) / (m(1 − m))): the error that the bar itself would give."""
    rng = np.random.default_rng(8)
    for level in (0.95, 1.0 - two_sided(2.7)):
        scores = rng.choice([0.0, 0.5, 1.0], 120, p=[0.2, 0.2, 0.6])
        found = score_win_rate(scores, [case // 3 for case in range(120)], level=level)
        t, m = student.ppf((1.0 + level) / 2.0, found.degrees_of_freedom), found.value
        for bar in (found.low, found.high):
            scale = math.sqrt(bar * (1.0 - bar) / (m * (1.0 - m)))
            assert abs(m - bar) == pytest.approx(t * found.standard_error * scale, rel=1e-9)


def test_few_cases_or_no_spread_keep_the_exact_limits():
    """Below 30 cases, or with one score only, it is the interval of shares."""
    for scores in ([1.0, 0.0] * 10, [1.0] * 50):
        assert score_win_rate(scores).method.startswith("mean of shares, Clopper-Pearson interval")
    assert score_win_rate([1.0]) == NotEstimable("there is 1 case, and a spread needs two")
