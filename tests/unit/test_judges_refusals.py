"""Judges, preferences and tries: what cannot be estimated says why, and what cannot be used is refused."""

from __future__ import annotations

import math
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from equipoise.errors import UsageError
from equipoise.stats.cases.beta_binomial import beta_binomial_interval
from equipoise.stats.cases.binomial import clopper_pearson_interval, jeffreys_interval
from equipoise.stats.cases.case_means import mean_over_cases, share_over_cases
from equipoise.stats.cases.pass_at_k import Tries, pass_all_k, pass_at_k, pass_at_k_of_case
from equipoise.stats.estimate import Estimate, NotEstimable
from equipoise.stats.judges.agreement import agreement, cohens_kappa, krippendorffs_alpha, self_consistency
from equipoise.stats.judges.judge_error import JudgeErrors, corrected_rate, sensitivity, specificity
from equipoise.stats.judges.judge_lean import (
    length_lean,
    order_consistency,
    position_lean,
    position_lean_one_order,
)
from equipoise.stats.judges.prediction_powered import (
    JudgedArm,
    corrected_difference_of_means,
    corrected_difference_of_proportions,
    corrected_mean,
    corrected_proportion,
    power_tuned,
)
from equipoise.stats.moments import Moments, PairMoments
from equipoise.stats.preference.bradley_terry import BradleyTerry, bradley_terry
from equipoise.stats.preference.elo import elo, elo_over_orders
from equipoise.stats.preference.length_control import length_controlled_win_rate
from equipoise.stats.preference.logistic import fit_logistic
from equipoise.stats.preference.paired_signs import sign_flip_test, sign_test
from equipoise.stats.preference.preference import clustered_win_rate

RNG = np.random.default_rng(0)
FULL = JudgeErrors(good_passed=45, good_failed=5, bad_failed=40, bad_passed=10)
YES_NO = [1.0, 0.0] * 30


def judged(labels: list[float], on: list[float], off: list[float]) -> JudgedArm:
    return JudgedArm(PairMoments.of(labels, on), Moments.of(off))


FINE = judged(YES_NO, [1.0, 1.0, 0.0, 0.0] * 15, [1.0, 0.0] * 300)
FEW = judged([1.0, 0.0] * 6, [1.0, 0.0] * 6, [1.0, 0.0] * 100)


@pytest.mark.parametrize(
    ("result", "reason"),
    [
        (clopper_pearson_interval(0, 0), "there are no cases"),
        (jeffreys_interval(0, 0), "there are no cases"),
        (mean_over_cases([]), "there are 0 cases, and a spread needs two"),
        (mean_over_cases([1.0, 2.0], ["a", "a"]), "there is 1 cluster, and a spread needs two"),
        (mean_over_cases([0.1] * 9), "every case has the same value, so there is no spread"),
        (
            mean_over_cases([1, 3, 3, 1], ["a", "a", "b", "b"]),
            "every cluster has the same mean, so there is no spread",
        ),
        (clustered_win_rate([1.0, 0.0], ["a", "a"]), "there is 1 cluster, and a spread needs two"),
        (fit_logistic([1, 0], {}), "there is no covariate to explain the scores by"),
        (
            fit_logistic([1, 0, 1, 0], {"one": [1] * 4, "x": [1, 2, 3, 4]}, clusters=[1, 1, 2, 2]),
            "2 independent clusters cannot give a spread to 2 coefficients",
        ),
        (
            fit_logistic([1, 0, 1, 0], {"one": [1] * 4, "two": [2] * 4}),
            "two follows from the other covariates, so their effects cannot be told apart",
        ),
        (
            fit_logistic([0, 0, 1, 1], {"one": [1] * 4, "x": [1, 2, 3, 4]}),
            "the covariates tell wins from losses without a fault, so no finite effect fits",
        ),
        (
            fit_logistic([0.5] * 4, {"one": [1] * 4}),
            "the regression meets every score exactly, so there is no spread",
        ),
        (bradley_terry([], [], []), "there are no comparisons"),
        (
            bradley_terry(list("abcd"), list("badc"), [1, 1, 0.5, 1]),
            "these groups were never compared with each other: a, b; c, d",
        ),
        (
            bradley_terry(list("abac"), list("bcca"), [1, 1, 1, 0]),
            "a has never lost a point to the others, so no finite strength fits",
        ),
        (
            bradley_terry(list("abcdac"), list("badccb"), [1, 1, 1, 1, 1, 0]),
            "a, b have never lost a point to the others, so no finite strength fits",
        ),
        (
            bradley_terry(list("abab"), list("baba"), [1, 1, 0, 0], covariates={"x": [1, -1, 1, -1]}),
            "x follows from who was compared or from the other covariates",
        ),
        (
            bradley_terry(list("aaaa"), list("bbbb"), [1, 0, 1, 0], clusters=[1] * 4),
            "1 independent cluster cannot give a spread to 1 parameter",
        ),
        (
            bradley_terry(["a"] * 5, ["b"] * 5, [1, 1, 0.5, 0.5, 1], ties="davidson"),
            "the comparisons are told apart without a fault, so no finite strengths fit them",
        ),
        (
            bradley_terry(["a"] * 4, ["b"] * 4, [1, 1, 0, 0], covariates={"x": [1, 2, -1, -2]}),
            "the comparisons are told apart without a fault, so no finite strengths fit them",
        ),
        (
            bradley_terry(["a"] * 4, ["b"] * 4, [0.5] * 4),
            "every comparison is met exactly, so there is no spread",
        ),
        (
            length_controlled_win_rate([1, 0] * 30, [1] * 4 + [-1] * 56),
            (
                "only 4 of 60 answers are no shorter than those they are compared with, "
                "so equal length lies at the edge of the data"
            ),
        ),
        (
            length_controlled_win_rate([1, 0] * 30, [0] * 60),
            "all answers have the same length as those they are compared with",
        ),
        (sign_test(0, 0), "there are no cases"),
        (sign_test(0, 0, 4), "there is no decided case, only ties"),
        (sign_flip_test([], RNG), "there are no cases"),
        (sign_flip_test([0.0, 0.0], RNG), "every difference adds up to 0 in its cluster"),
        (agreement([], []), "there are no units"),
        (cohens_kappa(["a"], ["b"]), "there is 1 case, and a spread needs two"),
        (
            cohens_kappa(["a"] * 5, ["a"] * 5),
            "both raters give every case the same label, so chance alone explains it",
        ),
        (
            krippendorffs_alpha([["a", "b", None], ["a", None, "c"]]),
            "there is 1 case with two ratings or more, and a spread needs two",
        ),
        (
            krippendorffs_alpha([[1, 1, 1], [1, 1, 1]]),
            "all ratings are equal, so nothing says that the raters could tell cases apart",
        ),
        (
            krippendorffs_alpha([[1, 1, 2], [1, 1, 1]]),
            "but for one case all ratings are equal, so there is no spread",
        ),
        (self_consistency([["a"], ["b", "b"]]), "there is 1 case, and a spread needs two"),
        (
            sensitivity(JudgeErrors(good_passed=0, good_failed=0, bad_failed=3, bad_passed=1)),
            "no labelled case is good, so the judge's sensitivity is unknown",
        ),
        (
            specificity(JudgeErrors(good_passed=4, good_failed=0, bad_failed=0, bad_passed=0)),
            "no labelled case is bad, so the judge's specificity is unknown",
        ),
        (corrected_rate(0, 0, FULL), "there are no judged cases"),
        (
            corrected_rate(50, 100, JudgeErrors(good_passed=5, good_failed=5, bad_failed=4, bad_passed=6)),
            (
                "sensitivity 0.5 and specificity 0.4 add up to no more than 1: "
                "the judge tells nothing, or the reverse of what it says"
            ),
        ),
        (
            corrected_rate(50, 100, JudgeErrors(good_passed=7, good_failed=3, bad_failed=6, bad_passed=4)),
            (
                "sensitivity 0.7 and specificity 0.6 are not clearly better than guessing "
                "with 10 good and 10 bad labelled cases"
            ),
        ),
        (
            corrected_rate(
                5000, 5000, JudgeErrors(good_passed=160, good_failed=40, bad_failed=180, bad_passed=20)
            ),
            (
                "the judge passes 1 of the judged cases, which no share of good ones explains: "
                "it seems to err at other rates than on the labelled cases"
            ),
        ),
        (corrected_mean(FEW), "there are 12 labels, and a corrected estimate needs 20"),
        (corrected_proportion(FEW), "there are 12 labels, and a corrected estimate needs 20"),
        (
            corrected_mean(judged([1.0, 2.0] * 15, [1.0, 3.0] * 15, [1.0, 3.0] * 100)),
            "there are 30 labels, and a judge's weight tuned on them needs 50; one fixed beforehand needs 20",
        ),
        (
            corrected_mean(judged([1.0, 2.0] * 30, [1.0, 2.0] * 30, [1.0, 2.0] * 10**6), judge_weight=1.0),
            "no label differs from what the judge's score says, and 60 labels cannot show how often one would",
        ),
        (
            corrected_proportion(judged([1.0] * 30, [1.0, 0.0] * 15, [1.0, 0.0] * 100)),
            "all 30 labels are good, so what the judge adds to them is unknown",
        ),
        (
            corrected_proportion(judged(YES_NO, [1.0] * 50 + [0.0] * 10, [1.0, 0.0, 0.0] * 200)),
            (
                "the judge gives the labelled cases 0.833 and the others 0.333 on average: "
                "the labels are not a random sample"
            ),
        ),
        (
            corrected_proportion(judged(YES_NO, YES_NO, [1.0])),
            "fewer than two judged cases are without a label, so the judge adds nothing",
        ),
        (
            corrected_difference_of_proportions(FINE, FEW),
            "treatment: there are 12 labels, and a corrected estimate needs 20",
        ),
        (
            corrected_difference_of_means(FEW, FINE),
            "control: there are 12 labels, and a corrected estimate needs 20",
        ),
        (position_lean([1.0], [0.0]), "there is 1 case, and a spread needs two"),
        (
            position_lean_one_order([1, 0, 1], [True, True, False]),
            "fewer than two cases were shown second, and a lean needs two of each",
        ),
        (
            position_lean_one_order([1, 1, 0, 0], [True, True, False, False]),
            "the scores are constant in both orders",
        ),
        (length_lean([1, 0], [0, 0]), "there are 0 cases, and a spread needs two"),
        (
            pass_at_k([Tries(5, 1), Tries(2, 1)], 3),
            "1 of 2 cases was tried fewer than 3 times, and leaving it out would choose among the cases",
        ),
        (pass_all_k([Tries(5, 1)], 3), "there is 1 case, and a spread needs two"),
        (
            beta_binomial_interval([Tries(5, 1), Tries(0, 0)]),
            "there is 1 case with a try, and a spread between cases needs two",
        ),
    ],
)
def test_what_cannot_be_estimated_says_why(result: object, reason: str) -> None:
    """The whole sentence, and never a number."""
    assert result == NotEstimable(reason)


@pytest.mark.parametrize(
    ("call", "sentence"),
    [
        (
            lambda: clopper_pearson_interval(6, 5),
            "the successes cannot exceed the cases, but 6 is more than 5",
        ),
        (lambda: mean_over_cases([1.0, math.nan]), "values must all be finite numbers"),
        (lambda: share_over_cases([1.2, 0.0]), "every share must lie between 0 and 1"),
        (
            lambda: mean_over_cases([1.0, 2.0], ["a"]),
            "clusters must name one cluster per case, but 1 are named for 2 cases",
        ),
        (
            lambda: mean_over_cases([1.0, 2.0], ["a", None]),
            "every case needs a cluster: give a case that stands alone a name of its own",
        ),
        (lambda: fit_logistic([2.0], {"x": [1.0]}), "every score must lie between 0 (loss) and 1 (win)"),
        (
            lambda: fit_logistic([1.0, 0.0], {"x": [1.0]}),
            "x must have one value per case, but has 1 for 2 cases",
        ),
        (
            lambda: bradley_terry(["a"], ["b"], [1, 0]),
            "first, second and scores must have the same length, not 1, 1 and 2",
        ),
        (lambda: bradley_terry(["a"], ["a"], [1]), "a is compared with itself"),
        (
            lambda: bradley_terry(["a"], ["b"], [1.5]),
            "every score must lie between 0 (second preferred) and 1 (first preferred)",
        ),
        (lambda: bradley_terry(["a"], ["b"], [1], ties="rao"), "ties must be half or davidson, not rao"),
        (
            lambda: bradley_terry(["a"], ["b"], [0.3], ties="davidson"),
            "Davidson's ties need scores of 0, 0.5 or 1; count shares as half wins instead",
        ),
        (lambda: elo(["a"], ["b"], [1], k=0), "k must be a finite number greater than 0, not 0"),
        (lambda: elo(["a"], ["a"], [1]), "a is compared with itself"),
        (
            lambda: elo_over_orders(["a"], ["b"], [1], RNG, orders=0),
            "orders must be a whole number of at least 1, not 0",
        ),
        (
            lambda: length_controlled_win_rate([1], [1], overlap=0.7),
            "overlap must lie between 0 and 0.5, not 0.7",
        ),
        (lambda: sign_test(-1, 2), "wins must be a whole number of at least 0, not -1"),
        (
            lambda: sign_flip_test([1.0], RNG, patterns=10),
            "patterns must be a whole number of at least 99, not 10",
        ),
        (lambda: agreement(["a"], []), "both raters must label the same cases, not 1 and 0"),
        (
            lambda: cohens_kappa(["a", None], ["a", "b"]),
            "a label is missing: count such cases apart, or use Krippendorff's alpha",
        ),
        (
            lambda: cohens_kappa(["a", "b"], ["a", "b"], weights="linear"),
            "categories must give the labels in their order, or distances have no meaning",
        ),
        (
            lambda: cohens_kappa(["a", "z"], ["a", "b"], categories=["a", "b"]),
            "z is not among the categories a, b",
        ),
        (
            lambda: cohens_kappa(["a", "b"], ["a", "b"], weights="cubic", categories=["a", "b"]),
            "weights must be none, linear or quadratic, not cubic",
        ),
        (lambda: krippendorffs_alpha([[1, 2]]), "agreement needs at least two raters, not 1"),
        (
            lambda: krippendorffs_alpha([[1, 2], [1]]),
            "every rater needs one entry per case, None where there is no rating",
        ),
        (
            lambda: krippendorffs_alpha([[1], [1]], scale="ratio"),
            "scale must be nominal, ordinal or interval, not ratio",
        ),
        (
            lambda: krippendorffs_alpha([["a", "b"], ["a", "b"]], scale="interval"),
            "an interval scale needs ratings that are finite numbers",
        ),
        (
            lambda: krippendorffs_alpha([["a", "b"], ["a", "b"]], scale="ordinal"),
            "categories must give the labels in their order, or distances have no meaning",
        ),
        (
            lambda: JudgeErrors(good_passed=-1, good_failed=0, bad_failed=0, bad_passed=0),
            "good_passed must be a whole number of at least 0, not -1",
        ),
        (lambda: corrected_rate(6, 5, FULL), "the passed cannot exceed the judged, but 6 is more than 5"),
        (
            lambda: corrected_proportion(judged([0.5, 1.0] * 20, YES_NO[:40], YES_NO)),
            "labels must be 0 or 1; for labels between them take corrected_mean",
        ),
        (
            lambda: corrected_proportion(judged(YES_NO, [3.0, 1.0] * 30, [3.0, 1.0] * 30)),
            "judge's scores must lie between 0 and 1; for others take corrected_mean",
        ),
        (
            lambda: corrected_mean(FINE, judge_weight=math.nan),
            "judge_weight must be a finite number, not nan",
        ),
        (
            lambda: position_lean([1.0, 0.0], [1.0]),
            "both columns of scores must have the same length, not 2 and 1",
        ),
        (
            lambda: order_consistency([2.0], [1.0]),
            "every score must lie between 0 (the other preferred) and 1 (preferred)",
        ),
        (
            lambda: position_lean_one_order([1.0], [True, False]),
            "scores and shown_first must have the same length, not 1 and 2",
        ),
        (
            lambda: length_lean([1.0], [1.0, 2.0]),
            "scores and length_differences must have the same length, not 1 and 2",
        ),
        (lambda: Tries(3, 4), "passed cannot exceed n, but 4 is more than 3"),
        (lambda: pass_at_k_of_case(Tries(3, 1), 4), "k must not exceed the 3 tries of a case, but is 4"),
        (lambda: pass_at_k([Tries(3, 1)], 0), "k must be a whole number of at least 1, not 0"),
    ],
)
def test_what_cannot_be_used_is_refused_in_one_sentence(call: Callable[[], Any], sentence: str) -> None:
    """The whole sentence."""
    with pytest.raises(UsageError) as caught:
        call()
    assert str(caught.value) == sentence


def test_a_perfect_judge_is_not_taken_for_an_infallible_one() -> None:
    """200 labels without a fault: the interval is that of faults not yet seen, far wider than that of 5,000."""
    perfect = judged([1.0] * 120 + [0.0] * 80, [1.0] * 120 + [0.0] * 80, [1.0] * 2880 + [0.0] * 1920)
    found = corrected_proportion(perfect)
    assert isinstance(found, Estimate)
    assert found.value == pytest.approx(0.6)
    assert found.high - found.low > 1.1 * 2 * 1.96 * math.sqrt(0.24 / 5000)


def test_a_useless_judge_costs_nothing() -> None:
    """Scores unrelated to the labels: λ is near 0, and the interval that of the labels alone."""
    useless = judged([1.0] * 120 + [0.0] * 80, [1.0, 0.0] * 100, [1.0, 0.0] * 2400)
    tuned, alone = corrected_proportion(useless), corrected_proportion(useless, judge_weight=0.0)
    assert isinstance(tuned, Estimate)
    assert isinstance(alone, Estimate)
    assert power_tuned(useless) == pytest.approx(0.0, abs=1e-12)
    assert tuned.high - tuned.low == pytest.approx(alone.high - alone.low, rel=0.01)


def test_a_judge_who_says_the_reverse_is_as_good_as_one_who_says_it() -> None:
    """λ turns negative; the interval stays."""
    y = [1.0] * 120 + [0.0] * 80
    f = [1.0] * 100 + [0.0] * 30 + [1.0] * 10 + [0.0] * 60
    g = [1.0] * 2640 + [0.0] * 2160
    plain = corrected_proportion(judged(y, f, g))
    turned = corrected_proportion(judged(y, [1 - v for v in f], [1 - v for v in g]))
    assert isinstance(plain, Estimate)
    assert isinstance(turned, Estimate)
    assert (turned.low, turned.high) == pytest.approx((plain.low, plain.high))


def test_full_agreement_claims_no_certainty() -> None:
    """Eight cases on which two raters agree could hide a good share of disagreement."""
    labels = ["a", "b"] * 4
    for found in (cohens_kappa(labels, labels), krippendorffs_alpha([labels, labels])):
        assert isinstance(found, Estimate)
        assert found.value == found.high == 1.0
        assert found.low < 0.4


def test_kappa_falls_where_one_label_is_common() -> None:
    """Both pairs of raters agree on 90 %: kappa 0.8 where labels are even, below 0.5 where nine in ten are good."""
    even = cohens_kappa(["y"] * 50 + ["n"] * 50, ["y"] * 45 + ["n"] * 5 + ["y"] * 5 + ["n"] * 45)
    common = cohens_kappa(["y"] * 90 + ["n"] * 10, ["y"] * 85 + ["n"] * 5 + ["y"] * 5 + ["n"] * 5)
    assert isinstance(even, Estimate)
    assert isinstance(common, Estimate)
    assert even.value == pytest.approx(0.8)
    assert common.value < 0.5


def test_a_circle_makes_all_players_equal() -> None:
    """Each beats the next three times in four: a line of strengths cannot show it, and says so in words only."""
    games = [(a, b, s) for a, b in ("ab", "bc", "ca") for s in (1, 1, 1, 0) * 10]
    fit = bradley_terry(*map(list, zip(*games, strict=True)))
    assert isinstance(fit, BradleyTerry)
    assert [s.value for s in fit.strengths] == pytest.approx([0, 0, 0], abs=1e-9)


def test_elo_believes_the_last_games() -> None:
    """The same six wins and six losses in two orders; over shuffled orders the two are even."""
    early, late = [1] * 6 + [0] * 6, [0] * 6 + [1] * 6
    first = {r.player: r.rating for r in elo(["a"] * 12, ["b"] * 12, early)}
    second = {r.player: r.rating for r in elo(["a"] * 12, ["b"] * 12, late)}
    assert first["a"] < 1000 < second["a"]
    mixed = elo_over_orders(["a"] * 12, ["b"] * 12, early, np.random.default_rng(1))
    assert all(r.low < 1000 < r.high and abs(r.rating - 1000) < 10 for r in mixed)


def test_a_fitted_match_names_its_players() -> None:
    """Unknown names and a player against itself are refused."""
    fit = bradley_terry(list("abab"), list("baba"), [1, 1, 0, 1])
    assert isinstance(fit, BradleyTerry)
    for pair, sentence in (
        (("a", "z"), "z was not compared; compared were a, b"),
        (("a", "a"), "a difference needs two players, not a twice"),
    ):
        with pytest.raises(UsageError) as caught:
            fit.difference(*pair)
        assert str(caught.value) == sentence


def test_more_tries_are_not_more_cases() -> None:
    """Ten cases of a thousand tries each: the interval is that of ten cases."""
    wide = beta_binomial_interval([Tries(1000, 1000)] * 10)
    assert isinstance(wide, Estimate)
    assert wide.low < 0.8


def test_no_file_imports_scipy_stats() -> None:
    """Its import takes most of a second, which every start-up would pay."""
    names = "judges.agreement cases.beta_binomial cases.binomial preference.bradley_terry cases.case_means preference.elo judges.judge_error judges.judge_lean preference.length_control "
    names += "preference.logistic preference.paired_signs cases.pass_at_k judges.prediction_powered"
    code = "import sys;" + ";".join(f"import equipoise.stats.{n}" for n in names.split())
    code += ";sys.exit('scipy.stats' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
