"""Each fast number beside a slow and obvious one, or beside another library's."""

from __future__ import annotations

import math
from fractions import Fraction
from itertools import product

import numpy as np
import pytest
from scipy import stats
from scipy.integrate import quad
from scipy.optimize import brentq, minimize_scalar
from scipy.special import ndtr
from statsmodels.stats.multitest import multipletests  # type: ignore[import-untyped]
from statsmodels.stats.power import TTestIndPower  # type: ignore[import-untyped]
from statsmodels.stats.proportion import proportion_confint, proportions_ztest  # type: ignore[import-untyped]
from statsmodels.stats.weightstats import CompareMeans, DescrStatsW  # type: ignore[import-untyped]

from equipoise.stats.comparison.means import difference_of_means
from equipoise.stats.comparison.proportions import (
    difference_of_proportions,
    restricted_rates,
    wilson_interval,
)
from equipoise.stats.comparison.ratios import difference_of_ratios
from equipoise.stats.comparison.relative import relative_difference_of_means
from equipoise.stats.estimate import Estimate
from equipoise.stats.families.multiplicity import benjamini_hochberg, bonferroni, holm
from equipoise.stats.health.sample_ratio import SampleRatio, anytime_sample_ratio, sample_ratio
from equipoise.stats.looks.sequential import crossing_probabilities
from equipoise.stats.moments import Moments, PairMoments
from equipoise.stats.preference.preference import win_rate
from equipoise.stats.sizes.power import power_two_means

TABLES = [(3, 20, 9, 25), (0, 40, 4, 31), (40, 40, 29, 31), (298, 16687, 736, 33396), (2, 100000, 9, 90000)]


def found(result: object) -> Estimate:
    assert isinstance(result, Estimate)
    return result


@pytest.mark.parametrize("table", TABLES)
@pytest.mark.parametrize("difference", [-0.3, -0.01, -1e-5, 1e-5, 0.02, 0.4])
def test_restricted_rates_maximise_the_likelihood(
    table: tuple[int, int, int, int], difference: float
) -> None:
    """Farrington & Manning's cubic and a direct search give the same likelihood."""
    xc, nc, xt, nt = table

    def loss(control: float) -> float:
        terms = ((xc, control), (nc - xc, 1 - control), (xt, control + difference))
        rest = (nt - xt, 1 - control - difference)
        return -sum(x * math.log(max(p, 1e-300)) for x, p in (*terms, rest) if x)

    low, high = max(0.0, -difference), min(1.0, 1.0 - difference)
    searched = minimize_scalar(loss, bounds=(low, high), method="bounded", options={"xatol": 1e-12})
    control, treatment = restricted_rates(xc / nc, nc, xt / nt, nt, difference)
    assert treatment - control == pytest.approx(difference, abs=1e-12)
    assert loss(control) <= searched.fun + 1e-7 * abs(searched.fun)


@pytest.mark.parametrize("table", [t for t in TABLES if 0 < t[0] < t[1]])
@pytest.mark.parametrize("null", [-0.05, 0.01])
def test_score_statistic_uses_the_root_of_the_score_equation(
    table: tuple[int, int, int, int], null: float
) -> None:
    """The rates solve d log-likelihood = 0, found by bisection.

    statsmodels 0.15 is no oracle for margins: where the null is not 0, one coefficient of its cubic takes the
    control's successes for its units.
    """
    xc, nc, xt, nt = table

    def slope(p: float) -> float:
        q = p + null
        return xc / p - (nc - xc) / (1 - p) + xt / q - (nt - xt) / (1 - q)

    p = brentq(slope, max(0.0, -null) + 1e-12, min(1.0, 1.0 - null) - 1e-12, xtol=1e-15)
    error = math.sqrt(p * (1 - p) / nc + (p + null) * (1 - p - null) / nt)
    ours = found(difference_of_proportions(xc, nc, xt, nt, null=null))
    assert ours.statistic == pytest.approx((xt / nt - xc / nc - null) / error, rel=1e-9)


@pytest.mark.parametrize("table", TABLES)
def test_score_test_of_no_difference_is_that_of_statsmodels(table: tuple[int, int, int, int]) -> None:
    """At null 0 it is the pooled z test."""
    xc, nc, xt, nt = table
    z, p = proportions_ztest([xt, xc], [nt, nc])
    ours = found(difference_of_proportions(xc, nc, xt, nt))
    assert (ours.statistic, ours.p_value) == pytest.approx((z, p), rel=1e-9)


@pytest.mark.parametrize(("x", "n"), [(0, 7), (3, 7), (7, 7), (736, 33396)])
def test_wilson_interval_is_that_of_statsmodels(x: int, n: int) -> None:
    """Limits agree to rounding."""
    ours = found(wilson_interval(x, n, 0.9))
    assert (ours.low, ours.high) == pytest.approx(proportion_confint(x, n, 0.1, "wilson"), abs=1e-12)


def test_welch_is_that_of_statsmodels() -> None:
    """Statistic, p-value, degrees of freedom and limits agree."""
    rng = np.random.default_rng(1)
    c, t = rng.normal(3, 1, 17), rng.normal(4, 5, 40)
    ours = found(difference_of_means(Moments.of(c), Moments.of(t)))
    other = CompareMeans(DescrStatsW(t), DescrStatsW(c))
    assert (ours.statistic, ours.p_value, ours.degrees_of_freedom) == pytest.approx(
        other.ttest_ind(usevar="unequal")
    )
    assert (ours.low, ours.high) == pytest.approx(other.tconfint_diff(usevar="unequal"))


def test_ratio_error_is_that_of_its_linear_form() -> None:
    """The delta method is Welch's test of (x − R·y)/mean(y), shifted by each arm's R."""
    rng = np.random.default_rng(2)
    arms = []
    for n in (60, 45):
        y = rng.poisson(3, n) + 1.0
        arms.append((y * rng.normal(2, 0.3, n), y))
    ours = found(difference_of_ratios(*(PairMoments.of(x, y) for x, y in arms)))
    linear = [Moments.of((x - x.sum() / y.sum() * y) / y.mean() + x.sum() / y.sum()) for x, y in arms]
    other = found(difference_of_means(*linear))
    for name in ("value", "standard_error", "p_value", "degrees_of_freedom", "low", "high"):
        assert getattr(ours, name) == pytest.approx(getattr(other, name), rel=1e-9)


def test_fieller_limits_are_where_the_test_turns() -> None:
    """Testing at either limit gives exactly 1 − level."""
    control, treatment = Moments.of([3.0, 4, 5, 6, 7, 8]), Moments.of([5.0, 7, 9, 9, 12])
    ours = found(relative_difference_of_means(control, treatment))
    for limit in (ours.low, ours.high):
        again = found(relative_difference_of_means(control, treatment, null=limit))
        assert again.p_value == pytest.approx(0.05, rel=1e-9)


def test_sample_ratio_is_that_of_scipy() -> None:
    """Pearson's statistic and p-value agree, for three unequal shares."""
    shares = {"a": Fraction(1, 2), "b": Fraction(1, 3), "c": Fraction(1, 6)}
    ours = sample_ratio({"a": 520, "b": 310, "c": 170}, shares)
    assert isinstance(ours, SampleRatio)
    other = stats.chisquare([520, 310, 170], [500, 1000 / 3, 500 / 3])
    assert (ours.statistic, ours.p_value) == pytest.approx((other.statistic, other.pvalue))


def test_anytime_evidence_is_the_product_of_its_predictions() -> None:
    """Unit by unit, evidence multiplies by (predicted chance of the arm seen) / (its share)."""
    seen, evidence, counts = "aabacaabca", 1.0, {"a": 0, "b": 0, "c": 0}
    shares = {"a": 0.5, "b": 0.25, "c": 0.25}
    for i, arm in enumerate(seen):
        evidence *= (8.0 * shares[arm] + counts[arm]) / (8.0 + i) / shares[arm]
        counts[arm] += 1
    ours = anytime_sample_ratio(counts, shares, prior_units=8.0)
    assert ours.evidence == pytest.approx(evidence)  # type: ignore[union-attr]


def test_adjusted_p_values_are_those_of_statsmodels() -> None:
    """Bonferroni, Holm and Benjamini-Hochberg agree on random families with ties."""
    rng = np.random.default_rng(3)
    for _ in range(20):
        ps = list(np.round(rng.uniform(0, 0.3, rng.integers(1, 9)), 2))
        for ours, name in ((bonferroni, "bonferroni"), (holm, "holm"), (benjamini_hochberg, "fdr_bh")):
            assert ours(ps) == pytest.approx(multipletests(ps, method=name)[1])


@pytest.mark.parametrize(("n_c", "n_t", "effect"), [(5, 9, 1.5), (64, 64, 0.5), (2000, 900, 0.1)])
def test_power_of_the_t_test_is_that_of_statsmodels(n_c: int, n_t: int, effect: float) -> None:
    """One tail of the noncentral t, at half of alpha."""
    other = TTestIndPower().power(effect, n_c, 0.025, n_t / n_c, alternative="larger")
    assert power_two_means(n_c, n_t, 1.0, effect) == pytest.approx(other, rel=1e-6)


def test_crossing_probabilities_agree_with_the_bivariate_normal() -> None:
    """With two looks the probability of staying inside is a rectangle of a bivariate normal."""
    for first, bounds, drift in product((0.1, 0.5, 0.97), ((2.5, 2.0), (1.0, 3.0)), (0.0, 2.8)):
        b1, b2 = bounds
        rest = 1.0 - first

        def stays(
            z: float, first: float = first, drift: float = drift, b2: float = b2, rest: float = rest
        ) -> float:
            mean = z * first**0.5 + drift * rest
            within = ndtr((b2 - mean) / rest**0.5) - ndtr((-b2 - mean) / rest**0.5)
            return math.exp(-0.5 * (z - drift * first**0.5) ** 2) / math.sqrt(2 * math.pi) * float(within)

        inside = quad(stays, -b1, b1, epsabs=1e-12, limit=500)[0]
        assert crossing_probabilities([first, 1.0], bounds, drift).total == pytest.approx(
            1 - inside, abs=1e-7
        )


def test_win_rate_interval_holds_for_wins_losses_and_ties_together() -> None:
    """Coverage is never below the level, by enumeration of up to 20 cases, whatever the share of ties."""
    for level in (0.8, 0.95):
        limits = {}
        for n in range(2, 21):
            pairs = []
            for total in range(2 * n + 1):
                scores = [1.0] * (total // 2) + [0.5] * (total % 2)
                e = found(win_rate([*scores, *[0.0] * (n - len(scores))], level=level))
                pairs.append((e.low, e.high))
            limits[n] = np.array(pairs).T
        for ties, share in product(np.linspace(0, 1, 11), np.linspace(0, 1, 61)):
            wins = (1 - ties) * share
            mean, one_case = wins + ties / 2, [max(0.0, 1 - ties - wins), ties, wins]
            chances = np.array(one_case)
            for n, (low, high) in limits.items():
                chances = np.convolve(chances, one_case)
                covered = chances[(low <= mean + 1e-12) & (mean <= high + 1e-12)].sum()
                assert covered >= level - 1e-9, (level, n, ties, wins)


def test_sign_test_is_that_of_scipy() -> None:
    """Exact and two-sided, ties set aside."""
    for wins, losses in ((4, 0), (7, 3), (5, 5), (1, 9)):
        ours = found(win_rate([1.0] * wins + [0.0] * losses + [0.5] * 3))
        assert ours.p_value == pytest.approx(stats.binomtest(wins, wins + losses).pvalue)
