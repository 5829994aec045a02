"""Health checks beside slow and obvious ways, and beside other libraries."""

from __future__ import annotations

import math

import numpy as np
import pytest
import statsmodels.api as sm  # type: ignore[import-untyped]
from scipy import stats

from equipoise.stats.comparison.means import difference_of_means
from equipoise.stats.estimate import Estimate, NotEstimable
from equipoise.stats.health.carry_over import SlotCells, carry_over
from equipoise.stats.health.logged_ratio import LoggedAllocation, anytime_logged_ratio, logged_ratio
from equipoise.stats.health.novelty import DailyMoments, Novelty, effect_trend
from equipoise.stats.health.sample_ratio import (
    AnytimeSampleRatio,
    Epoch,
    SampleRatio,
    anytime_sample_ratio,
    anytime_sample_ratio_by_epoch,
    sample_ratio,
    sample_ratio_by_epoch,
)
from equipoise.stats.health.segments import SegmentMix, SegmentRates, Simpson, segment_mix, simpson_check
from equipoise.stats.moments import Moments

HALF, RAMP = {"a": 0.5, "b": 0.5}, {"a": 0.95, "b": 0.05}


def test_epochs_are_a_sum_of_scipys_chi_squares() -> None:
    """Two epochs of their own shares; the degrees of freedom add up."""
    found = sample_ratio_by_epoch([Epoch({"a": 930, "b": 70}, RAMP), Epoch({"a": 520, "b": 480}, HALF)])
    assert isinstance(found, SampleRatio)
    parts = [stats.chisquare([930, 70], [950, 50]).statistic, stats.chisquare([520, 480]).statistic]
    assert found.statistic == pytest.approx(sum(parts))
    assert found.p_value == pytest.approx(stats.chi2.sf(sum(parts), 2))
    assert found.degrees_of_freedom == 2
    assert found.expected == pytest.approx({"a": 1450, "b": 550})


def test_small_epochs_are_tested_together() -> None:
    """Forty ramp days of 20 units each: none alone, but together one more degree of freedom."""
    days = [Epoch({"a": 20 - i % 3, "b": i % 3}, RAMP) for i in range(40)]
    found = sample_ratio_by_epoch([Epoch({"a": 505, "b": 495}, HALF), *days])
    assert isinstance(found, SampleRatio)
    b = sum(i % 3 for i in range(40))
    gap = (b - 40) ** 2 / (800 * 0.95 * 0.05)
    assert found.statistic == pytest.approx(gap + stats.chisquare([505, 495]).statistic)
    assert found.degrees_of_freedom == 2


def test_what_is_too_little_joins_the_largest_epoch() -> None:
    """Ten units of a ramp cannot be tested alone, and are not left out either."""
    found = sample_ratio_by_epoch([Epoch({"a": 505, "b": 495}, HALF), Epoch({"a": 3, "b": 7}, RAMP)])
    assert isinstance(found, SampleRatio)
    gap = (502 - 500.5) ** 2 / (1000 * 0.25 + 10 * 0.95 * 0.05)
    assert (found.statistic, found.degrees_of_freedom) == pytest.approx((gap, 1))


def test_epochs_catch_what_the_totals_hide() -> None:
    """An excess and an equal lack cancel in the totals, and a ramp read with its last shares is a false alarm."""
    epochs = [Epoch({"a": 5200, "b": 4800}, HALF), Epoch({"a": 9300, "b": 700}, RAMP)]
    found = sample_ratio_by_epoch(epochs)
    assert isinstance(found, SampleRatio)
    assert found.p_value < 1e-15
    totals = sample_ratio({"a": 14_500, "b": 5500}, {"a": 0.725, "b": 0.275})
    assert isinstance(totals, SampleRatio)
    assert totals.statistic == pytest.approx(0.0, abs=1e-9)
    sound = [Epoch({"a": 9500, "b": 500}, RAMP), Epoch({"a": 500, "b": 500}, HALF)]
    assert isinstance(read := sample_ratio_by_epoch(sound), SampleRatio)
    assert read.p_value == pytest.approx(1.0)
    assert isinstance(naive := sample_ratio({"a": 10_000, "b": 1000}, HALF), SampleRatio)
    assert naive.p_value < 1e-15


def test_evidence_over_epochs_is_the_product_of_its_predictions() -> None:
    """Unit by unit through a change of shares, where the prediction keeps its tilt."""
    seen = [("aabab", HALF), ("aaba", RAMP), ("bb", HALF)]
    weight, tilt, evidence = 8.0, {"a": 1.0, "b": 1.0}, 1.0
    epochs = []
    for arms, shares in seen:
        total = sum(shares[k] * tilt[k] for k in "ab")
        belief = {k: weight * shares[k] * tilt[k] / total for k in "ab"}
        for arm in arms:
            evidence *= belief[arm] / sum(belief.values()) / shares[arm]
            belief[arm] += 1.0
        weight += len(arms)
        tilt = {k: belief[k] / weight / shares[k] for k in "ab"}
        epochs.append(Epoch({k: arms.count(k) for k in "ab"}, shares))
    found = anytime_sample_ratio_by_epoch(epochs, prior_units=8.0)
    assert isinstance(found, AnytimeSampleRatio)
    assert found.evidence == pytest.approx(evidence)


def test_logged_probabilities_that_never_change_give_pearsons_test() -> None:
    """Three arms, 1,000 units; both the fixed and the sequential check."""
    rng = np.random.default_rng(31)
    p = np.array([0.5, 0.3, 0.2])
    chosen = rng.choice(3, 1000, p=p)
    counts = {k: int((chosen == i).sum()) for i, k in enumerate("abc")}
    shares = dict(zip("abc", p, strict=True))
    rows = np.tile(p, (1000, 1))
    ours = logged_ratio(LoggedAllocation.of(("a", "b", "c"), chosen, rows))
    pearson = sample_ratio(counts, shares)
    assert isinstance(ours, SampleRatio)
    assert isinstance(pearson, SampleRatio)
    assert (ours.statistic, ours.p_value) == pytest.approx((pearson.statistic, pearson.p_value))
    anytime = anytime_logged_ratio(("a", "b", "c"), chosen, rows, prior_units=50)
    closed = anytime_sample_ratio(counts, shares, prior_units=50)
    assert isinstance(anytime, AnytimeSampleRatio)
    assert isinstance(closed, AnytimeSampleRatio)
    assert anytime.evidence == pytest.approx(closed.evidence)


def test_logged_evidence_is_the_product_of_its_predictions() -> None:
    """Changing probabilities, one unit after the other."""
    rng = np.random.default_rng(32)
    ps = rng.dirichlet([3, 2, 1], 40)
    chosen = rng.integers(0, 3, 40)
    evidence, got, expected = 1.0, np.zeros(3), np.zeros(3)
    for p, arm in zip(ps, chosen, strict=True):
        tilt = (20 * ps[0] + got) / (20 * ps[0] + expected)
        evidence *= tilt[arm] / (p * tilt).sum()
        got[arm] += 1
        expected += p
    found = anytime_logged_ratio(("a", "b", "c"), chosen, ps, prior_units=20)
    assert isinstance(found, AnytimeSampleRatio)
    assert found.evidence == pytest.approx(evidence)


def test_the_mix_test_is_that_of_scipy() -> None:
    """A table of three arms and four segments."""
    table = np.array([[50, 60, 70, 80], [55, 40, 90, 75], [30, 62, 71, 99]])
    found = segment_mix(
        {f"arm{i}": dict(zip("wxyz", map(int, row), strict=True)) for i, row in enumerate(table)}
    )
    assert isinstance(found, SegmentMix)
    other = stats.chi2_contingency(table, correction=False)
    assert (found.statistic, found.degrees_of_freedom, found.p_value) == pytest.approx(
        (other.statistic, other.dof, other.pvalue)
    )


def test_the_published_reversal_and_the_mix_that_explains_it() -> None:
    """A 170/200 mobile and 560/800 desktop; B 640/800 and 130/200: A wins both, B wins pooled 77 to 73."""
    found = simpson_check(
        {"mobile": SegmentRates(170, 200, 640, 800), "desktop": SegmentRates(560, 800, 130, 200)}
    )
    assert isinstance(found, Simpson)
    assert found.by_segment == pytest.approx({"mobile": -0.05, "desktop": -0.05})
    assert (found.pooled, found.within, found.gap) == pytest.approx((0.04, -0.05, 0.09))
    assert found.reversed
    assert isinstance(found.mix, SegmentMix)
    assert found.mix.statistic == pytest.approx(720.0)
    assert found.mix.shares["control"] == pytest.approx({"mobile": 0.2, "desktop": 0.8})


def test_without_a_shift_of_the_mix_nothing_reverses() -> None:
    """The same rates in balanced arms: pooled and within agree, and the mix is sound."""
    found = simpson_check(
        {"mobile": SegmentRates(425, 500, 400, 500), "desktop": SegmentRates(350, 500, 325, 500)}
    )
    assert isinstance(found, Simpson)
    assert found.pooled == pytest.approx(found.within) == pytest.approx(-0.05)
    assert not found.reversed
    assert isinstance(found.mix, SegmentMix)
    assert found.mix.p_value == pytest.approx(1.0)


def test_the_trend_is_welch_on_each_units_own_slope() -> None:
    """Unevenly spaced days and correlated values: by fitting every unit's line."""
    rng = np.random.default_rng(33)
    days = [1.0, 2.0, 4.0, 7.0]
    arms = [np.cumsum(rng.normal(0.3, 1.0, (n, 4)), axis=1) + rng.normal(0, 2, (n, 1)) for n in (30, 45)]
    found = effect_trend(days, *(DailyMoments.of(rows) for rows in arms))
    assert isinstance(found, Novelty)
    slopes = [np.polyfit(days, rows.T, 1)[0] for rows in arms]
    slow = difference_of_means(*(Moments.of(s) for s in slopes))
    assert isinstance(slow, Estimate)
    for name in ("value", "standard_error", "low", "high", "degrees_of_freedom", "p_value"):
        assert getattr(found.trend, name) == pytest.approx(getattr(slow, name), rel=1e-9)
    assert [e.value for e in found.by_day if isinstance(e, Estimate)] == pytest.approx(
        list(arms[1].mean(axis=0) - arms[0].mean(axis=0))
    )


def test_carry_over_is_a_contrast_of_the_saturated_regression() -> None:
    """OLS on slot, slot before and their product, with the robust error of unequal spreads (HC2 is Welch's)."""
    rng = np.random.default_rng(34)
    on = rng.integers(0, 2, 200)
    y = 3 + on + 0.5 * np.r_[0, on[:-1]] + rng.normal(0, 1 + on, 200)
    now, before, out = on[1:], on[:-1], y[1:]
    cells = SlotCells(
        control_control=Moments.of(out[(before == 0) & (now == 0)]),
        treatment_control=Moments.of(out[(before == 1) & (now == 0)]),
        control_treatment=Moments.of(out[(before == 0) & (now == 1)]),
        treatment_treatment=Moments.of(out[(before == 1) & (now == 1)]),
    )
    ours = carry_over(cells)
    fit = sm.OLS(out, np.column_stack((np.ones(199), now, before, now * before))).fit(cov_type="HC2")
    contrast = np.array([0, 0, 1, 0.5])
    assert isinstance(ours, Estimate)
    assert ours.value == pytest.approx(float(contrast @ fit.params))
    assert ours.standard_error == pytest.approx(math.sqrt(contrast @ fit.cov_params() @ contrast))


def test_strict_alternation_cannot_tell_carry_over_from_effect() -> None:
    """A variant never follows itself, and the reason says so."""
    cells = SlotCells(treatment_control=Moments.of([1.0, 2.0]), control_treatment=Moments.of([2.0, 3.0]))
    assert carry_over(cells) == NotEstimable(
        "control after control was seen in 0 slots, and a spread needs at least two"
    )


@pytest.mark.parametrize("share", [0.5, 0.1, 0.01, 0.001, 1 / 3, 0.07])
def test_one_epoch_in_two_halves_is_two_pearson_tests(share: float) -> None:
    """Rounding in the covariance never passes for a further degree of freedom."""
    shares = {"a": 1 - share, "b": share}
    part = {"a": 9000, "b": 1000}
    found = sample_ratio_by_epoch([Epoch(part, shares)] * 2)
    once = sample_ratio(part, shares)
    assert isinstance(found, SampleRatio)
    assert isinstance(once, SampleRatio)
    assert (found.statistic, found.degrees_of_freedom) == pytest.approx((2 * once.statistic, 2))
