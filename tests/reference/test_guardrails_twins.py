"""The chances of windows against slow twins: every outcome enumerated, scipy's own distributions, readings drawn."""

from __future__ import annotations

import math
from collections import Counter

import numpy as np
import pytest
from scipy import stats

from equipoise.errors import UsageError
from equipoise.measurement.guardrails.buckets import middle, quantile
from equipoise.stats.estimate import NotEstimable
from equipoise.stats.guardrails.streaks import _both, expected_streaks
from equipoise.stats.guardrails.sums import Term, above_zero
from equipoise.stats.guardrails.window_series import describe, dispersion
from equipoise.stats.guardrails.window_values import Limit, QuantileOf, Quotient, RateOf


@pytest.mark.parametrize("intraclass", [0.0, 0.002])
@pytest.mark.parametrize(("n", "rate"), [(1, 0.3), (37, 0.1), (1_000, 0.001), (200, 0.98)])
def test_a_rate_is_beyond_a_limit_as_often_as_the_counts_say(n, rate, intraclass):
    """Every count against the limit in the arithmetic of windows, weighed by scipy's binomial or beta-binomial."""
    size = (1 - intraclass) / intraclass if intraclass else math.inf
    law = stats.betabinom(n, rate * size, (1 - rate) * size) if intraclass else stats.binom(n, rate)
    for limit in (-0.5, 0.0, 0.001, 0.1, 3 / 37, 7 / 200, 0.98, 1.0, 1.7):
        for above in (True, False):
            slow = math.fsum(law.pmf(k) for k in range(n + 1) if (k / n > limit if above else k / n < limit))
            found = RateOf(n, rate, intraclass).beyond(limit, above=above)
            assert found == pytest.approx(slow, rel=1e-9, abs=1e-12)


@pytest.mark.parametrize("above", [True, False])
@pytest.mark.parametrize("limit", [Limit(share=0.2), Limit(share=-0.5), Limit(added=0.01), Limit(share=4.0)])
def test_a_rate_beside_control_is_beyond_its_limit_as_often_as_both_counts_say(limit, above):
    """Every pair of counts of two small arms; where control has none, its limit is 0, and one is too many."""
    own, control = RateOf(40, 0.05), RateOf(60, 0.04)
    slow = 0.0
    for k in range(41):
        for j in range(61):
            bound = j / 60 + (limit.share * abs(j / 60) + limit.added)
            if k / 40 > bound if above else k / 40 < bound:
                slow += stats.binom.pmf(k, 40, 0.05) * stats.binom.pmf(j, 60, 0.04)
    assert own.beyond_control(control, limit, above=above) == pytest.approx(slow, rel=1e-9)


def test_a_quantile_is_beyond_a_limit_as_often_as_readings_that_are_drawn():
    """20,000 windows of 120 readings through the buckets' own quantile; six checks at |z| = 4.5."""
    rng = np.random.default_rng(20_261_121)
    buckets = Counter({1_900 + place: 1 + place % 7 for place in range(60)})
    values = np.array([middle(each) for each in buckets])
    weights = np.array([*buckets.values()], dtype=float) / buckets.total()
    own = QuantileOf(120, 0.95, values, weights)
    control = QuantileOf(90, 0.95, values, weights)
    drawn = [
        [quantile(Counter(rng.choice([*buckets], n, p=weights).tolist()), 0.95) for _ in range(20_000)]
        for n in (120, 90)
    ]
    seen, beside = (np.array(each) for each in drawn)
    for above in (True, False):
        for rank in (54, 57):
            limit = float(values[rank])
            share = float(np.mean(seen > limit if above else seen < limit))
            chance = own.beyond(limit, above=above)
            assert abs(share - chance) <= 4.5 * math.sqrt(chance * (1 - chance) / 20_000)
        factor = 1.03 if above else 0.97
        share = float(np.mean(seen > beside * factor if above else seen < beside * factor))
        chance = own.beyond_control(control, Limit(share=factor - 1.0), above=above)
        assert abs(share - chance) <= 4.5 * math.sqrt(chance * (1 - chance) / 20_000)


def test_a_sum_is_above_zero_as_often_as_its_distribution_says():
    """Sums of exponential readings follow the gamma distribution, out to one in ten thousand, within one per cent."""
    grid = (np.arange(50_000) + 0.5) / 50_000
    # Readings at the quantiles of an exponential, with its mean put right.
    values = -np.log1p(-grid)
    term = Term(values / values.mean(), np.full(50_000, 1 / 50_000), 50)
    for share in (0.4, 0.5, 0.1, 0.01, 1e-4):
        limit = float(stats.gamma(50).isf(share))
        assert above_zero([term], -limit) == pytest.approx(share, rel=0.01)
    # A number of readings by chance adds its own variance: Σx of Poisson(50) exponentials.
    rng = np.random.default_rng(7)
    drawn = rng.gamma(np.maximum(rng.poisson(50, 400_000), 1e-9))
    counted = Term(term.values, term.weights, 50, poisson=True)
    for limit in (40.0, 60.0, 80.0):
        chance = above_zero([counted], -limit)
        seen = float(np.mean(drawn > limit))
        assert abs(seen - chance) <= 4.0 * math.sqrt(chance / 400_000) + chance / 100


def test_a_ratio_and_a_mean_beside_control_are_beyond_as_often_as_readings_that_are_drawn():
    """Costs a success, and a grade beside control's: 40,000 windows each, within four standard errors and a fiftieth."""
    rng = np.random.default_rng(11)
    costs, grades = np.array([0.01, 0.03, 0.2]), np.array([1.0, 3.0, 4.0, 5.0])
    chances, weights = np.array([0.5, 0.4, 0.1]), np.array([0.1, 0.2, 0.3, 0.4])
    windows = 40_000
    cost = (rng.multinomial(300, chances, windows) @ costs) / rng.binomial(150, 0.6, windows)
    per = Quotient(Term(costs, chances, 300), Term(np.array([0.0, 1.0]), np.array([0.4, 0.6]), 150))
    own, beside = (rng.multinomial(n, weights, windows) @ grades / n for n in (80, 120))
    grade, control = (Quotient(Term(grades, weights, n), float(n)) for n in (80, 120))
    for share, chance in (
        (np.mean(cost > 0.14), per.beyond(0.14, above=True)),
        (np.mean(cost < 0.10), per.beyond(0.10, above=False)),
        (np.mean(own < beside * 0.9), grade.beyond_control(control, Limit(share=-0.1), above=False)),
        (np.mean(own > beside + 0.5), grade.beyond_control(control, Limit(added=0.5), above=True)),
    ):
        assert abs(share - chance) <= 4.0 * math.sqrt(chance / windows) + chance / 50


def test_two_windows_are_breached_together_as_two_normal_variables_are():
    """Against scipy's own bivariate normal distribution, for all signs and sizes of correlation."""
    for one, other, correlation in ((0.1, 0.1, 0.5), (0.001, 0.02, 0.9), (0.4, 0.7, -0.6), (0.05, 0.3, -0.1)):
        corner = [stats.norm.ppf(one), stats.norm.ppf(other)]
        slow = stats.multivariate_normal(cov=[[1, correlation], [correlation, 1]]).cdf(corner)
        assert _both(one, other, correlation) == pytest.approx(slow, rel=1e-4, abs=1e-7)


def test_streaks_of_normal_windows_that_are_alike_are_about_as_many_as_expected():
    """Two million windows of a first-order series, r = 0.5: actions of two and three in a row.

    The chain looks back one window, the series further; what that makes is under a tenth, and said.
    """
    rng = np.random.default_rng(3)
    noise = rng.normal(size=2_000_000)
    values = np.empty_like(noise)
    last = 0.0
    for place, each in enumerate((noise * math.sqrt(0.75)).tolist()):
        last = 0.5 * last + each
        values[place] = last
    breached = values > stats.norm.isf(0.05)
    breached[0] = breached[-1] = False
    starts = np.flatnonzero(np.diff(breached.astype(int)) == 1) + 1
    lengths = np.flatnonzero(np.diff(breached.astype(int)) == -1) + 1 - starts
    for persist in (2, 3):
        expected = expected_streaks([0.05] * 10_000, persist, autocorrelation=0.5).actions * 200
        assert int((lengths >= persist).sum()) == pytest.approx(expected, rel=0.1)


def test_a_series_says_what_it_cannot_tell():
    """No window, one window, all the same, too few for a quantile: a reason each, and never a number."""
    assert describe([None], 0.9) == NotEstimable("no window has a value")
    one = describe([2.0], 0.9)
    assert (one.windows, one.mean, one.spread) == (1, 2.0, NotEstimable("one window has no spread"))
    assert one.limit == NotEstimable("1 windows do not tell their 0.9 quantile; that takes 10")
    same = describe([2.0] * 20, 0.9)
    assert same.autocorrelation == NotEstimable("the windows are all the same") == same.effective
    assert same.alike == 0.0
    assert describe([float(each) for each in range(1, 101)], 0.99).limit == 99.0
    assert describe([float(each) for each in range(1, 101)], 0.01).limit == 2.0
    with pytest.raises(UsageError, match="quantile must lie strictly between 0 and 1"):
        describe([1.0], 1.0)


def test_windows_of_their_readings_alone_are_seldom_called_too_wide():
    """1,000 series of 50 windows: the excess is 0 in 990 ± 13 of them; where rates do differ it is found, in size."""
    rng = np.random.default_rng(5)
    clean, found = 0, []
    for _ in range(1_000):
        means = rng.binomial(400, 0.05, 50) / 400
        clean += dispersion(means.tolist(), [400.0] * 50, 0.05, 0.0475).excess == 0.0
        moved = rng.binomial(400, np.clip(rng.normal(0.05, 0.02, 50), 0, 1)) / 400
        found.append(dispersion(moved.tolist(), [400.0] * 50, 0.05, 0.0475).excess)
    assert abs(clean - 990) <= 13
    assert float(np.mean(found)) == pytest.approx(0.02**2, rel=0.1)
    assert dispersion([0.1, 0.2], [5.0, 5.0], 0.1, 0.1) == NotEstimable(
        "fewer than three windows do not tell how windows vary"
    )
