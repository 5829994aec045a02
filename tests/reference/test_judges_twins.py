"""Judges, preferences and tries: each number beside a slow and obvious one, or beside statsmodels'."""

from __future__ import annotations

import math
from fractions import Fraction
from itertools import combinations, product

import numpy as np
import pytest
import statsmodels.api as sm  # type: ignore[import-untyped]
from scipy.optimize import brentq, minimize
from scipy.special import betaln, comb, expit
from statsmodels.stats.inter_rater import cohens_kappa as other_kappa  # type: ignore[import-untyped]

from equipoise.stats.cases.beta_binomial import beta_binomial_interval
from equipoise.stats.cases.binomial import clopper_pearson_interval, jeffreys_interval
from equipoise.stats.cases.case_means import mean_over_cases
from equipoise.stats.cases.pass_at_k import Tries, pass_at_k_of_case, pass_hat_k_of_case
from equipoise.stats.comparison.proportions import wilson_interval
from equipoise.stats.estimate import Estimate
from equipoise.stats.judges.agreement import cohens_kappa, krippendorffs_alpha, self_consistency
from equipoise.stats.judges.judge_error import JudgeErrors, corrected_rate
from equipoise.stats.judges.judge_lean import position_lean
from equipoise.stats.judges.prediction_powered import (
    JudgedArm,
    corrected_difference_of_means,
    corrected_mean,
    corrected_proportion,
    power_tuned,
)
from equipoise.stats.moments import Moments, PairMoments
from equipoise.stats.preference.bradley_terry import BradleyTerry, bradley_terry
from equipoise.stats.preference.elo import elo
from equipoise.stats.preference.logistic import Logistic, fit_logistic
from equipoise.stats.preference.paired_signs import SignFlips, sign_flip_test


def found(result: object) -> Estimate:
    assert isinstance(result, Estimate)
    return result


@pytest.mark.parametrize(("n", "c"), [(1, 0), (1, 1), (5, 2), (7, 7), (7, 0), (6, 4)])
def test_tries_are_counted_by_going_through_every_choice(n: int, c: int) -> None:
    """Chen et al., eq. (1): of all choices of k tries, how many hold a success, and how many nothing else."""
    for k in range(1, n + 1):
        choices = list(combinations([1] * c + [0] * (n - c), k))
        some, whole = sum(map(any, choices)), sum(map(all, choices))
        assert pass_at_k_of_case(Tries(n, c), k) == pytest.approx(some / len(choices), abs=1e-15)
        assert pass_hat_k_of_case(Tries(n, c), k) == pytest.approx(whole / len(choices), abs=1e-15)


def test_pass_at_k_keeps_its_digits_where_binomials_overflow() -> None:
    """One success in a million tries, ten drawn: exact fractions give 1e-5; and 10,000 tries at k = 5,000."""
    assert pass_at_k_of_case(Tries(10**6, 1), 10) == pytest.approx(1e-5, rel=1e-12)
    none = Fraction(math.comb(9990, 5000), math.comb(10000, 5000))
    assert pass_at_k_of_case(Tries(10**4, 10), 5000) == pytest.approx(float(1 - none), rel=1e-12)


@pytest.mark.parametrize("weights", ["none", "linear", "quadratic"])
def test_kappa_and_its_variance_are_those_of_statsmodels(weights: str) -> None:
    """Fleiss, Cohen and Everitt's variance, with n − 1 for n."""
    rng = np.random.default_rng(21)
    a = rng.integers(0, 4, 300)
    b = np.clip(a + rng.choice([-1, 0, 0, 0, 1, 2], 300), 0, 3)
    table = np.zeros((4, 4))
    np.add.at(table, (a, b), 1)
    kinds = {"none": None, "linear": "linear", "quadratic": "quadratic"}
    other = other_kappa(table, wt=kinds[weights])
    ours = found(cohens_kappa(a.tolist(), b.tolist(), weights=weights, categories=[0, 1, 2, 3]))
    assert ours.value == pytest.approx(other.kappa)
    assert ours.standard_error == pytest.approx(other.std_kappa * math.sqrt(300 / 299), rel=1e-9)


@pytest.mark.parametrize("scale", ["nominal", "ordinal", "interval"])
def test_alpha_is_one_minus_disagreement_of_pairs(scale: str) -> None:
    """Krippendorff's definition, pair by pair: within cases over all values in them, without their cases."""
    rng = np.random.default_rng(22)
    truth = rng.integers(1, 5, 25)
    ratings = [
        [int(np.clip(t + e, 1, 5)) for t, e in zip(truth, rng.integers(-1, 2, 25), strict=True)]
        for _ in range(4)
    ]
    for row in ratings:
        for u in rng.choice(25, 6, replace=False):
            row[u] = None
    cases = [[row[u] for row in ratings if row[u] is not None] for u in range(25)]
    values = [v for case in cases if len(case) > 1 for v in case]

    def apart(a: int, b: int) -> float:
        if scale == "nominal":
            return float(a != b)
        if scale == "interval":
            return float((a - b) ** 2)
        low, high = min(a, b), max(a, b)
        between = sum(low <= v <= high for v in values)
        return (between - (values.count(a) + values.count(b)) / 2) ** 2

    seen = sum(apart(a, b) / (len(case) - 1) for case in cases for a, b in permuted(case)) / len(values)
    expected = sum(apart(a, b) for a, b in permuted(values)) / (len(values) * (len(values) - 1))
    ours = found(krippendorffs_alpha(ratings, scale=scale))
    assert ours.value == pytest.approx(1 - seen / expected)


def permuted(values: list) -> list:
    return [(a, b) for i, a in enumerate(values) for j, b in enumerate(values) if i != j]


def test_alpha_jackknife_leaves_out_one_case_at_a_time() -> None:
    """The standard error from as many whole alphas as there are cases."""
    rng = np.random.default_rng(23)
    a = rng.integers(0, 3, 20).tolist()
    b = [x if rng.random() < 0.7 else int(rng.integers(0, 3)) for x in a]
    left = [
        found(krippendorffs_alpha([a[:u] + a[u + 1 :], b[:u] + b[u + 1 :]], scale="ordinal")).value
        for u in range(20)
    ]
    ours = found(krippendorffs_alpha([a, b], scale="ordinal"))
    assert ours.standard_error == pytest.approx(
        math.sqrt(19 / 20 * ((np.array(left) - np.mean(left)) ** 2).sum())
    )


def test_self_consistency_counts_pairs() -> None:
    """Equal ordered pairs over all, per case."""
    rows = [["A", "A", "B", None], ["tie", "tie"], ["A", "B", "tie"], ["A"]]
    shares = [
        sum(x == y for x, y in permuted([v for v in row if v])) / len(permuted([v for v in row if v]))
        for row in rows[:3]
    ]
    assert found(self_consistency(rows)).value == pytest.approx(np.mean(shares))


def test_fractional_logistic_is_that_of_statsmodels() -> None:
    """Coefficients of a binomial GLM, and its cluster-robust covariance."""
    rng = np.random.default_rng(24)
    x = np.column_stack([np.ones(120), rng.normal(size=(120, 2))])
    y = np.clip(expit(x @ [0.3, 1.0, -0.5]) + rng.normal(0, 0.3, 120), 0, 1)
    groups = np.arange(120) // 4
    glm = sm.GLM(y, x, family=sm.families.Binomial())
    other = glm.fit(cov_type="cluster", cov_kwds={"groups": groups}, tol=1e-12)
    ours = fit_logistic(y, {"one": x[:, 0], "a": x[:, 1], "b": x[:, 2]}, clusters=groups)
    assert isinstance(ours, Logistic)
    assert ours.coefficients == pytest.approx(other.params, rel=1e-6)
    assert np.array(ours.covariance) == pytest.approx(other.cov_params(), rel=1e-5)
    by_hand = robust(x, y, other.params, groups) * (30 / 29 * 119 / 117)
    assert np.array(ours.covariance) == pytest.approx(by_hand, rel=1e-5)


def robust(x: np.ndarray, y: np.ndarray, beta: np.ndarray, groups: np.ndarray) -> np.ndarray:
    p = expit(x @ beta)
    bread = np.linalg.inv((x.T * (p * (1 - p))) @ x)
    sums = np.array([(x[groups == g] * (y - p)[groups == g, None]).sum(axis=0) for g in np.unique(groups)])
    return bread @ sums.T @ sums @ bread


def games(rng: np.random.Generator, ties: bool) -> tuple[list[str], list[str], np.ndarray, np.ndarray]:
    names, strength = ["p", "q", "r", "s"], np.array([0.8, 0.1, -0.2, -0.7])
    i = rng.integers(0, 4, 200)
    j = (i + rng.integers(1, 4, 200)) % 4
    order = rng.choice([-1.0, 1.0], 200)
    eta = strength[i] - strength[j] + 0.4 * order
    weights = np.column_stack([np.exp(eta / 2), np.full(200, 0.8 if ties else 0.0), np.exp(-eta / 2)])
    draw = rng.random(200) * weights.sum(axis=1)
    y = np.where(draw < weights[:, 0], 1.0, np.where(draw < weights[:, :2].sum(axis=1), 0.5, 0.0))
    return [names[k] for k in i], [names[k] for k in j], y, order


@pytest.mark.parametrize("ties", ["half", "davidson"])
def test_bradley_terry_maximises_its_likelihood(ties: str) -> None:
    """A general-purpose search over strengths, order effect (and ν) ends in the same place."""
    first, second, y, order = games(np.random.default_rng(25), ties=True)
    place = {"p": 0, "q": 1, "r": 2, "s": 3}
    i, j = np.array([place[a] for a in first]), np.array([place[b] for b in second])

    def loss(v: np.ndarray) -> float:
        s = np.append(v[:3], -v[:3].sum())
        eta = s[i] - s[j] + v[3] * order
        if ties == "half":
            return -float((y * eta - np.logaddexp(0, eta)).sum())
        total = np.log(np.exp(eta / 2) + np.exp(v[4]) + np.exp(-eta / 2))
        return -float(((y - 0.5) * eta + (y == 0.5) * v[4] - total).sum())

    searched = minimize(loss, np.zeros(5 if ties == "davidson" else 4), method="BFGS", options={"gtol": 1e-7})
    fit = bradley_terry(first, second, y, covariates={"order": order}, ties=ties)
    assert isinstance(fit, BradleyTerry)
    ours = [s.value for s in fit.strengths[:3]] + [fit.effects[0].value]
    if fit.tie is not None:
        ours.append(fit.tie.value)
    assert ours == pytest.approx(searched.x, abs=1e-5)
    assert sum(s.value for s in fit.strengths) == pytest.approx(0, abs=1e-12)


def test_davidson_sandwich_is_that_of_numerical_derivatives() -> None:
    """A⁻¹BA⁻¹ with A and the scores by differences."""
    first, second, y, _ = games(np.random.default_rng(26), ties=True)
    fit = bradley_terry(first, second, y, ties="davidson")
    assert isinstance(fit, BradleyTerry)
    place = {name: k for k, name in enumerate(fit.players)}

    def pieces(v: np.ndarray) -> np.ndarray:
        s = np.append(v[:3], 0.0)
        eta = np.array([s[place[a]] - s[place[b]] for a, b in zip(first, second, strict=True)])
        total = np.log(np.exp(eta / 2) + np.exp(v[3]) + np.exp(-eta / 2))
        return np.asarray((y - 0.5) * eta + (y == 0.5) * v[3] - total)

    at = np.array([s.value - fit.strengths[3].value for s in fit.strengths[:3]] + [fit.tie.value])
    steps = np.eye(4) * 1e-4
    scores = np.column_stack([(pieces(at + h) - pieces(at - h)) / 2e-4 for h in steps])
    second_order = [
        [
            (pieces(at + g + h) - pieces(at + g - h) - pieces(at - g + h) + pieces(at - g - h)).sum() / 4e-8
            for h in steps
        ]
        for g in steps
    ]
    bread = np.linalg.inv(-np.array(second_order))
    other = bread @ scores.T @ scores @ bread * (200 / 199 * 199 / 196)
    assert fit.difference("p", "s").standard_error == pytest.approx(math.sqrt(other[0, 0]), rel=1e-4)
    assert fit.tie.standard_error == pytest.approx(math.sqrt(other[3, 3]), rel=1e-4)


def test_two_players_are_a_proportion() -> None:
    """The strength is the log odds of the wins, its error that of the logit."""
    fit = bradley_terry(["a"] * 50, ["b"] * 50, [1] * 30 + [0] * 20)
    assert isinstance(fit, BradleyTerry)
    lead = fit.difference("a", "b")
    assert lead.value == pytest.approx(math.log(1.5))
    assert lead.standard_error == pytest.approx(math.sqrt(1 / 30 + 1 / 20) * math.sqrt(50 / 49))
    assert fit.win_rate("a", "b").value == pytest.approx(0.6)


def test_davidsons_win_rate_is_the_share_of_points() -> None:
    """Two players, 5 wins, 3 ties, 2 losses: three outcomes, two parameters, so the rate is (5 + 1.5)/10."""
    fit = bradley_terry(["a"] * 10, ["b"] * 10, [1] * 5 + [0.5] * 3 + [0] * 2, ties="davidson")
    assert isinstance(fit, BradleyTerry)
    assert fit.win_rate("a", "b").value == pytest.approx(0.65)
    assert math.exp(fit.tie.value) == pytest.approx(3 / math.sqrt(10))


def test_elo_step_by_step() -> None:
    """Three games written out."""
    a = b = 1000.0
    for score in (1.0, 0.5, 0.0):
        change = 32 * (score - 1 / (1 + 10 ** ((b - a) / 400)))
        a, b = a + change, b - change
    ours = {r.player: r.rating for r in elo(["a"] * 3, ["b"] * 3, [1, 0.5, 0])}
    assert ours == pytest.approx({"a": a, "b": b})


def test_clustered_mean_with_singletons_is_students() -> None:
    """And with equal clusters it is Student's on the cluster means."""
    y = np.random.default_rng(27).normal(size=24)
    plain, single = found(mean_over_cases(y)), found(mean_over_cases(y, list(range(24))))
    assert (plain.low, plain.high, plain.degrees_of_freedom) == pytest.approx(
        (single.low, single.high, single.degrees_of_freedom)
    )
    grouped = found(mean_over_cases(y, np.arange(24) // 4))
    means = found(mean_over_cases(y.reshape(6, 4).mean(axis=1)))
    assert (grouped.low, grouped.high, grouped.p_value) == pytest.approx(
        (means.low, means.high, means.p_value)
    )


def test_clustered_degrees_of_freedom_are_the_traces() -> None:
    """Bell and McCaffrey: tr(W·S)² / tr(W·S·W·S), with the matrices written out."""
    m = np.array([1.0, 7, 2, 3, 9])
    n = m.sum()
    y, codes = np.random.default_rng(28).normal(size=int(n)), np.repeat(np.arange(5), m.astype(int))
    centre = np.eye(5) - np.outer(m, np.ones(5)) / n
    s = centre @ np.diag(m * m) @ centre.T
    w = np.diag(m * m / np.diag(s))
    ours = found(mean_over_cases(y, codes))
    assert ours.degrees_of_freedom == pytest.approx(np.trace(w @ s) ** 2 / np.trace(w @ s @ w @ s))
    sums = np.bincount(codes, y - y.mean())
    assert ours.standard_error == pytest.approx(math.sqrt(sums @ w @ sums) / n)


def test_sign_flips_go_through_all_patterns() -> None:
    """2^6 patterns by product, and by clusters of two."""
    d = [0.3, -0.1, 0.8, 0.2, -0.4, 0.6]
    sums = [abs(sum(s * x for s, x in zip(signs, d, strict=True))) for signs in product((1, -1), repeat=6)]
    ours = sign_flip_test(d, np.random.default_rng(0))
    assert isinstance(ours, SignFlips)
    assert ours.p_value == sum(s >= abs(sum(d)) - 1e-9 for s in sums) / 64
    pairs = sign_flip_test(d, np.random.default_rng(0), clusters=[0, 0, 1, 1, 2, 2])
    assert isinstance(pairs, SignFlips)
    assert pairs.patterns == 8


def test_drawn_sign_flips_come_near_all_of_them() -> None:
    """Seventeen clusters are drawn from, and 2^17 patterns are gone through here: within 4 binomial errors."""
    d = np.random.default_rng(29).normal(0.35, 1, 17)
    every = np.zeros(1)
    for x in d:
        every = np.concatenate([every + x, every - x])
    exact = float((np.abs(every) >= abs(d.sum()) - 1e-9).mean())
    ours = sign_flip_test(d, np.random.default_rng(30), patterns=20_000)
    assert isinstance(ours, SignFlips)
    assert not ours.exact
    assert ours.seed == 30
    assert ours.p_value == pytest.approx(exact, abs=4 * math.sqrt(exact * (1 - exact) / 20_000))


def test_corrected_rate_is_the_solution_of_the_judges_equation() -> None:
    """Fieller's limits are where the test statistic is z, with one success and one failure added to each rate."""
    errors = JudgeErrors(good_passed=85, good_failed=15, bad_failed=48, bad_passed=12)
    ours = found(corrected_rate(1300, 2000, errors))
    assert 0.85 * ours.value + 0.2 * (1 - ours.value) == pytest.approx(0.65)
    rates = [(1301, 2002), (86, 102), (49, 62)]
    (r, vr), (se, vse), (sp, vsp) = [(x / n, x / n * (1 - x / n) / n) for x, n in rates]

    def z(share: float) -> float:
        gap = r - share * se - (1 - share) * (1 - sp)
        return gap / math.sqrt(vr + share**2 * vse + (1 - share) ** 2 * vsp)

    assert ours.low == pytest.approx(brentq(lambda s: z(s) - 1.959963985, 0.0, ours.value), abs=1e-9)
    assert ours.high == pytest.approx(brentq(lambda s: z(s) + 1.959963985, ours.value, 1.0), abs=1e-9)


def arm(rng: np.random.Generator, n: int, rest: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, JudgedArm]:
    truth = rng.normal(3, 1, n + rest)
    judge = 0.5 + 0.8 * truth + rng.normal(0, 0.5, n + rest)
    labels, on, off = truth[:n], judge[:n], judge[n:]
    return labels, on, off, JudgedArm(PairMoments.of(labels, on), Moments.of(off))


def test_corrected_mean_is_the_mean_of_rectified_labels() -> None:
    """Row by row: label + λ·(judge's mean elsewhere − judge), and the judge's own variance beside it."""
    y, f, g, both = arm(np.random.default_rng(31), 60, 500)
    pooled = np.concatenate([f, g])
    weight = np.mean((y - y.mean()) * (f - f.mean())) / (1 + 60 / 500) / pooled.var()
    assert power_tuned(both) == pytest.approx(weight)
    tuned, plain, alone = (found(corrected_mean(both, judge_weight=w)) for w in (None, 1.0, 0.0))
    for ours, w, lost in ((tuned, weight, 2), (plain, 1.0, 1), (alone, 0.0, 1)):
        rectified = y - w * f
        assert ours.value == pytest.approx(rectified.mean() + w * g.mean())
        variance = rectified.var() / (60 - lost) + w * w * g.var(ddof=1) / 500
        assert ours.standard_error == pytest.approx(math.sqrt(variance))
    assert alone.degrees_of_freedom == pytest.approx(59)
    assert tuned.standard_error < alone.standard_error


def test_power_tuning_finds_the_least_variance() -> None:
    """No λ on a fine grid has a smaller estimated variance, as the number of cases grows."""
    _, _, _, both = arm(np.random.default_rng(32), 4000, 40_000)
    tuned = found(corrected_mean(both)).standard_error
    grid = [found(corrected_mean(both, judge_weight=w)).standard_error for w in np.linspace(-0.5, 2, 51)]
    assert tuned <= min(grid) * 1.001


def test_difference_of_corrected_means_adds_variances() -> None:
    """Each arm with its own λ; with λ = 0 it is Welch's test of the labels."""
    rng = np.random.default_rng(33)
    y1, _, _, c = arm(rng, 60, 300)
    y2, _, _, t = arm(rng, 70, 200)
    one, two, both = (
        found(corrected_mean(c)),
        found(corrected_mean(t)),
        found(corrected_difference_of_means(c, t)),
    )
    assert both.value == pytest.approx(two.value - one.value)
    assert both.standard_error == pytest.approx(math.hypot(one.standard_error, two.standard_error))
    alone = found(corrected_difference_of_means(c, t, judge_weight=0.0))
    variances = [y.var(ddof=1) / y.size for y in (y1, y2)]
    df = sum(variances) ** 2 / (variances[0] ** 2 / 59 + variances[1] ** 2 / 69)
    assert alone.degrees_of_freedom == pytest.approx(df)


def test_corrected_proportion_without_a_judge_is_wilsons() -> None:
    """λ = 0: Wilson's limits with Student's t for z; and the softened variance is that of the added half cases."""
    y = np.repeat([1.0, 0.0], [130, 70])
    f = np.concatenate([np.repeat([1.0, 0.0], [110, 20]), np.repeat([1.0, 0.0], [15, 55])])
    g = np.repeat([1.0, 0.0], [3000, 1800])
    both = JudgedArm(PairMoments.of(y, f), Moments.of(g))
    alone = found(corrected_proportion(both, judge_weight=0.0))
    wide = found(wilson_interval(130, 200))
    assert alone.value == wide.value
    assert (alone.low, alone.high) == pytest.approx((wide.low, wide.high), abs=5e-4)  # t for z
    yy, ff = np.append(y, [0, 0, 1, 1]), np.append(f, [0, 1, 0, 1])
    w8 = np.append(np.ones(200), [0.5] * 4)
    lam = power_tuned(both)

    def variance(v: np.ndarray) -> float:
        mean = np.average(v, weights=w8)
        return float(np.average((v - mean) ** 2, weights=w8))

    all_judged = np.concatenate([f, g])
    ratio = (variance(yy - lam * ff) * 199 / 198 + lam**2 * all_judged.var() * 200 / 4800) / variance(yy)
    ours = found(corrected_proportion(both))
    assert ours.standard_error == pytest.approx(math.sqrt(ratio * 0.65 * 0.35 / 200))


@pytest.mark.parametrize(("x", "n"), [(0, 8), (3, 8), (8, 8), (45, 50)])
def test_exact_limits_are_where_the_binomial_tail_is_half_of_alpha(x: int, n: int) -> None:
    """Clopper and Pearson by summing the binomial, Jeffreys by integrating the beta density."""

    def below(p: float, k: int) -> float:
        return sum(comb(n, i, exact=True) * p**i * (1 - p) ** (n - i) for i in range(k + 1))

    ours = found(clopper_pearson_interval(x, n))
    if x > 0:
        assert 1 - below(ours.low, x - 1) == pytest.approx(0.025, abs=1e-9)
    if x < n:
        assert below(ours.high, x) == pytest.approx(0.025, abs=1e-9)
    theirs = found(jeffreys_interval(x, n))
    grid = (
        np.sin(np.linspace(0, np.pi / 2, 200_001)) ** 2
    )  # even in the angle, in which the density of p is smooth
    angle = np.linspace(0, np.pi / 2, 200_001)
    density = np.sin(angle) ** (2 * x) * np.cos(angle) ** (2 * (n - x))
    share = np.cumsum(density) / density.sum()
    for limit, tail in ((theirs.low, 0.025), (theirs.high, 0.975)):
        if 0 < limit < 1:
            assert np.interp(limit, grid, share) == pytest.approx(tail, abs=1e-4)


def test_beta_binomial_limits_are_where_the_profile_has_fallen() -> None:
    """The likelihood on a fine grid of means and correlations."""
    cases = [(6, 6)] * 6 + [(6, 5), (6, 2), (4, 4), (6, 0), (5, 4)]
    n, c = (np.array(v, dtype=float) for v in zip(*cases, strict=True))
    ours = found(beta_binomial_interval([Tries(*case) for case in cases]))

    def profile(mean: float) -> float:
        size = np.exp(-np.linspace(-8, 8, 4001))[:, None]
        a, b = mean * size, (1 - mean) * size
        return float((betaln(c + a, n - c + b) - betaln(a, b)).sum(axis=1).max())

    best = max(profile(m) for m in np.linspace(0.5, 0.95, 91))
    t2 = 2.228138852**2
    for limit in (ours.low, ours.high):
        assert 2 * (best - profile(limit)) == pytest.approx(t2, abs=2e-3)


def test_position_lean_counts_verdicts_for_the_first_shown() -> None:
    """Over both orders, the share of verdicts for what stood first, less one half."""
    rng = np.random.default_rng(34)
    shown, turned = rng.choice([0.0, 0.5, 1.0], 50), rng.choice([0.0, 0.5, 1.0], 50)
    first = np.concatenate([shown, 1 - turned])
    assert found(position_lean(shown, turned)).value == pytest.approx(first.mean() - 0.5)
