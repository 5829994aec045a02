"""What holds for every set of verdicts, labels and tries."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from equipoise.stats.cases.beta_binomial import beta_binomial_interval
from equipoise.stats.cases.binomial import clopper_pearson_interval, jeffreys_interval
from equipoise.stats.cases.case_means import mean_over_cases, share_over_cases
from equipoise.stats.cases.pass_at_k import (
    Tries,
    pass_all_k,
    pass_at_k,
    pass_at_k_of_case,
    pass_hat_k_of_case,
)
from equipoise.stats.estimate import Estimate, NotEstimable
from equipoise.stats.judges.agreement import agreement, cohens_kappa, krippendorffs_alpha
from equipoise.stats.judges.judge_error import JudgeErrors, corrected_rate
from equipoise.stats.judges.judge_lean import length_lean, order_consistency, position_lean
from equipoise.stats.judges.prediction_powered import (
    JudgedArm,
    corrected_difference_of_proportions,
    corrected_mean,
    corrected_proportion,
)
from equipoise.stats.moments import Moments, PairMoments
from equipoise.stats.preference.bradley_terry import BradleyTerry, bradley_terry
from equipoise.stats.preference.elo import elo, elo_over_orders
from equipoise.stats.preference.paired_signs import SignFlips, sign_flip_test
from equipoise.stats.preference.preference import clustered_win_rate, win_rate

scores = st.lists(st.sampled_from([0.0, 0.5, 1.0, 0.3]), min_size=2, max_size=60)
labels = st.lists(st.tuples(st.sampled_from("ABC"), st.sampled_from("ABC")), min_size=2, max_size=40)


@st.composite
def tries(draw: Any) -> Tries:
    n = draw(st.integers(1, 60))
    return Tries(n, draw(st.integers(0, n)))


@given(scores, st.integers(0, 2**32 - 1))
def test_a_share_lies_within_its_limits_and_forgets_the_order_of_cases(
    values: list[float], seed: int
) -> None:
    """For any clusters; and exchanging win and loss turns the interval round."""
    rng = np.random.default_rng(seed)
    clusters = rng.integers(0, 5, len(values))
    found = share_over_cases(values, clusters)
    if isinstance(found, NotEstimable):
        assert len(set(clusters.tolist())) < 2
        return
    assert 0 <= found.low <= found.value <= found.high <= 1
    assert found.standard_error > 0
    order = rng.permutation(len(values))
    again = share_over_cases(np.array(values)[order], clusters[order])
    turned = share_over_cases(1 - np.array(values), clusters)
    assert isinstance(again, Estimate)
    assert isinstance(turned, Estimate)
    assert (again.low, again.high) == pytest.approx((found.low, found.high), abs=1e-9)
    assert (1 - turned.high, 1 - turned.low) == pytest.approx((found.low, found.high), abs=1e-9)


@given(scores)
def test_clusters_of_one_are_no_clusters(values: list[float]) -> None:
    """The clustered win rate is then the plain one, interval and all."""
    plain, single = win_rate(values), clustered_win_rate(values, list(range(len(values))))
    assert isinstance(plain, Estimate)
    assert isinstance(single, Estimate)
    assert single.standard_error == pytest.approx(plain.standard_error)
    if len(values) < 30 or len(set(values)) > 1:
        assert (single.low, single.high) == pytest.approx((plain.low, plain.high), abs=1e-9)


@given(st.lists(st.floats(-100, 100), min_size=3, max_size=20), st.integers(2, 5))
def test_copying_every_case_within_its_cluster_changes_nothing(values: list[float], copies: int) -> None:
    """What a plain standard error would take for more evidence."""
    assume(np.ptp(values) > 1e-3)
    once = mean_over_cases(values)
    copied = mean_over_cases(np.repeat(values, copies), np.repeat(np.arange(len(values)), copies))
    assert isinstance(once, Estimate)
    assert isinstance(copied, Estimate)
    assert (once.low, once.high) == pytest.approx((copied.low, copied.high), rel=1e-6, abs=1e-6)


@given(tries(), st.integers(1, 60))
def test_more_tries_help_one_and_hurt_all(case: Tries, k: int) -> None:
    """pass@k rises with k from the share, pass^k falls from it, and exchanging success and failure links them."""
    assume(k < case.n)
    assert pass_at_k_of_case(case, k) <= pass_at_k_of_case(case, k + 1) + 1e-12
    assert pass_hat_k_of_case(case, k) >= pass_hat_k_of_case(case, k + 1) - 1e-12
    turned = Tries(case.n, case.n - case.passed)
    assert pass_at_k_of_case(case, k) == pytest.approx(1 - pass_hat_k_of_case(turned, k), abs=1e-12)
    assert pass_at_k_of_case(case, 1) == pytest.approx(case.passed / case.n)


@given(st.lists(tries(), min_size=2, max_size=40))
def test_one_try_is_the_same_either_way(cases: list[Tries]) -> None:
    """pass@1 and pass^1 are one number with one interval."""
    a, b = pass_at_k(cases, 1), pass_all_k(cases, 1)
    assert isinstance(a, Estimate)
    assert isinstance(b, Estimate)
    assert (a.value, a.low, a.high) == pytest.approx((b.value, b.low, b.high))


@given(st.lists(tries(), min_size=2, max_size=12))
@settings(max_examples=25, deadline=None)
def test_beta_binomial_limits_hold_the_estimate_and_turn_round(cases: list[Tries]) -> None:
    """Exchanging success and failure mirrors the interval."""
    found = beta_binomial_interval(cases)
    turned = beta_binomial_interval([Tries(case.n, case.n - case.passed) for case in cases])
    assert isinstance(found, Estimate)
    assert isinstance(turned, Estimate)
    assert 0 <= found.low <= found.value <= found.high <= 1
    assert (1 - turned.high, 1 - turned.low) == pytest.approx((found.low, found.high), abs=2e-4)


@given(st.integers(0, 300), st.integers(1, 300), st.floats(0.5, 0.999))
def test_jeffreys_lies_within_clopper_and_pearson(x: int, n: int, level: float) -> None:
    """Half a case instead of a whole one at either end."""
    assume(x <= n)
    wide, narrow = clopper_pearson_interval(x, n, level=level), jeffreys_interval(x, n, level=level)
    assert isinstance(wide, Estimate)
    assert isinstance(narrow, Estimate)
    assert wide.low <= narrow.low <= narrow.high <= wide.high


@given(labels)
def test_agreement_does_not_care_who_is_first_nor_what_labels_are_called(
    pairs: list[tuple[str, str]],
) -> None:
    """Agreement, kappa and alpha are symmetric and survive renaming."""
    a, b = map(list, zip(*pairs, strict=True))
    names = {"A": 3, "B": 1, "C": 2}
    for one, two, three in (
        (agreement(a, b), agreement(b, a), agreement([names[x] for x in a], [names[x] for x in b])),
        (cohens_kappa(a, b), cohens_kappa(b, a), cohens_kappa([names[x] for x in a], [names[x] for x in b])),
        (
            krippendorffs_alpha([a, b]),
            krippendorffs_alpha([b, a]),
            krippendorffs_alpha([[names[x] for x in a], [names[x] for x in b]]),
        ),
    ):
        if isinstance(one, NotEstimable):
            assert one == two == three
            continue
        assert isinstance(two, Estimate)
        assert isinstance(three, Estimate)
        assert (one.value, one.low, one.high) == pytest.approx((two.value, two.low, two.high))
        assert (one.value, one.low, one.high) == pytest.approx((three.value, three.low, three.high))
        assert -1 <= one.low <= one.value <= one.high <= 1
        assert one.high - one.low > 0


@given(labels)
def test_two_labels_need_no_weights(pairs: list[tuple[str, str]]) -> None:
    """With two categories plain, linear and quadratic kappa are one, as nominal and ordinal alpha are."""
    a, b = ([x.replace("C", "A") for x in row] for row in zip(*pairs, strict=True))
    plain = cohens_kappa(a, b)
    for weights in ("linear", "quadratic"):
        other = cohens_kappa(a, b, weights=weights, categories=["A", "B"])
        assert isinstance(plain, Estimate) == isinstance(other, Estimate)
        if isinstance(plain, Estimate) and isinstance(other, Estimate):
            assert (plain.value, plain.low) == pytest.approx((other.value, other.low))
    nominal = krippendorffs_alpha([a, b])
    ordinal = krippendorffs_alpha([a, b], scale="ordinal", categories=["A", "B"])
    if isinstance(nominal, Estimate) and isinstance(ordinal, Estimate):
        assert nominal.value == pytest.approx(ordinal.value)


@given(st.integers(0, 2**32 - 1))
@settings(max_examples=30, deadline=None)
def test_strengths_do_not_depend_on_who_is_written_first(seed: int) -> None:
    """Turning any comparison round, covariate included, leaves the fit alone; order of rows does too."""
    rng = np.random.default_rng(seed)
    i = rng.integers(0, 3, 60)
    j = (i + rng.integers(1, 3, 60)) % 3
    y, x = rng.choice([0.0, 0.5, 1.0], 60), rng.normal(size=60)
    turn = rng.random(60) < 0.5
    names = np.array(["p", "q", "r"])
    for ties in ("half", "davidson"):
        fit = bradley_terry(list(names[i]), list(names[j]), y, covariates={"x": x}, ties=ties)
        other = bradley_terry(
            list(names[np.where(turn, j, i)]),
            list(names[np.where(turn, i, j)]),
            np.where(turn, 1 - y, y),
            covariates={"x": np.where(turn, -x, x)},
            ties=ties,
        )
        if isinstance(fit, NotEstimable):
            assert fit == other
            continue
        assert isinstance(other, BradleyTerry)
        for a, b in zip((*fit.strengths, *fit.effects), (*other.strengths, *other.effects), strict=True):
            assert (a.value, a.low, a.high) == pytest.approx((b.value, b.low, b.high), abs=1e-6)
        forth, back = fit.win_rate("p", "q"), fit.win_rate("q", "p")
        assert (forth.value, forth.low) == pytest.approx((1 - back.value, 1 - back.high))


@given(
    st.lists(
        st.tuples(st.sampled_from("abc"), st.sampled_from("def"), st.sampled_from([0, 0.5, 1])), max_size=30
    )
)
def test_elo_gives_and_takes_the_same(games: list[tuple[str, str, float]]) -> None:
    """Ratings keep their sum, and the mean over orders lies between least and greatest."""
    columns = list(map(list, zip(*games, strict=True))) or [[], [], []]
    ratings = elo(*columns)
    assert sum(r.rating for r in ratings) == pytest.approx(1000 * len(ratings))
    for r in elo_over_orders(*columns, np.random.default_rng(1), orders=5):
        assert r.low - 1e-9 <= r.rating <= r.high + 1e-9


@given(st.lists(st.floats(-10, 10), min_size=1, max_size=14), st.floats(0.1, 10))
def test_sign_flips_see_neither_scale_nor_direction(values: list[float], scale: float) -> None:
    """p stays when all differences are multiplied or turned round, and is at least 2 / 2^k."""
    assume(all(abs(v) > 1e-3 for v in values))
    first = sign_flip_test(values, np.random.default_rng(0))
    turned = sign_flip_test([-scale * v for v in values], np.random.default_rng(0))
    assert isinstance(first, SignFlips)
    assert isinstance(turned, SignFlips)
    assert first.p_value == pytest.approx(turned.p_value)
    assert 2.0 / 2 ** len(values) <= first.p_value + 1e-12 <= 1.0 + 1e-9


@given(st.integers(0, 40), st.integers(0, 40), st.integers(0, 40), st.integers(0, 40), st.integers(0, 500))
def test_a_corrected_rate_is_a_share_within_its_limits_or_a_reason(
    a: int, b: int, c: int, d: int, passed: int
) -> None:
    """And exchanging good and bad, pass and fail turns it round."""
    found = corrected_rate(passed, 500, JudgeErrors(good_passed=a, good_failed=b, bad_failed=c, bad_passed=d))
    turned = corrected_rate(
        500 - passed, 500, JudgeErrors(good_passed=c, good_failed=d, bad_failed=a, bad_passed=b)
    )
    if isinstance(found, NotEstimable):
        assert isinstance(turned, NotEstimable)
        return
    assert isinstance(turned, Estimate)
    assert 0 <= found.low <= found.value <= found.high <= 1
    assert (found.low, found.high) == pytest.approx((1 - turned.high, 1 - turned.low), abs=1e-9)


@st.composite
def arms(draw: Any) -> JudgedArm:
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    n, rest, rate = draw(st.integers(20, 80)), draw(st.integers(2, 400)), draw(st.floats(0.05, 0.95))
    truth = rng.random(n + rest) < rate
    judge = np.where(rng.random(n + rest) < draw(st.floats(0.3, 1.0)), truth, rng.random(n + rest) < 0.5)
    return JudgedArm(PairMoments.of(truth[:n], judge[:n]), Moments.of(judge[n:]))


@given(arms(), arms())
def test_corrected_proportions_are_shares_and_their_difference_turns_round(
    c: JudgedArm, t: JudgedArm
) -> None:
    """Limits inside [0, 1] around the value; exchanging the arms changes the sign."""
    one = corrected_proportion(c)
    if isinstance(one, Estimate):
        assert 0 <= one.low <= one.value <= one.high <= 1
        assert one.standard_error > 0
    there, back = corrected_difference_of_proportions(c, t), corrected_difference_of_proportions(t, c)
    if isinstance(there, Estimate) and isinstance(back, Estimate):
        assert (there.low, there.value, there.high) == pytest.approx((-back.high, -back.value, -back.low))
        assert -1 <= there.low <= there.high <= 1


@given(st.integers(0, 2**32 - 1), st.floats(0.1, 10), st.floats(-5, 5))
@settings(max_examples=40)
def test_the_judges_own_scale_does_not_matter(seed: int, scale: float, shift: float) -> None:
    """A tuned correction is the same for a judge of five stars as for one of a hundred points."""
    rng = np.random.default_rng(seed)
    truth = rng.normal(size=300)
    judge = truth + rng.normal(size=300)
    plain = JudgedArm(PairMoments.of(truth[:60], judge[:60]), Moments.of(judge[60:]))
    moved = scale * judge + shift
    other = JudgedArm(PairMoments.of(truth[:60], moved[:60]), Moments.of(moved[60:]))
    a, b = corrected_mean(plain), corrected_mean(other)
    assert isinstance(a, Estimate)
    assert isinstance(b, Estimate)
    assert (a.value, a.low, a.high) == pytest.approx((b.value, b.low, b.high), rel=1e-6, abs=1e-9)


@given(scores, st.integers(0, 2**32 - 1))
def test_leans_turn_round_with_the_answers(values: list[float], seed: int) -> None:
    """Looking from the other answer changes nothing: the first shown and the longer one stay what they are."""
    rng = np.random.default_rng(seed)
    shown, turned = np.array(values), rng.permutation(values)
    assert order_consistency(shown, turned) == order_consistency(1 - shown, 1 - turned)
    one, other = position_lean(shown, turned), position_lean(1 - turned, 1 - shown)
    assert isinstance(one, Estimate)
    assert isinstance(other, Estimate)
    assert (one.value, one.low, one.high) == pytest.approx((other.value, other.low, other.high), abs=1e-9)
    d = rng.normal(size=len(values))
    here, there = length_lean(shown, d, turned), length_lean(1 - shown, -d, 1 - turned)
    assert isinstance(here, Estimate) == isinstance(there, Estimate)
    if isinstance(here, Estimate) and isinstance(there, Estimate):
        assert math.isclose(here.value, there.value, abs_tol=1e-9)
