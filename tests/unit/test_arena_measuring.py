"""Measures over cases, what makes a run invalid, and a whole conclusion, on cases written out by hand."""

from __future__ import annotations

import math

import pytest

from equipoise.arena.deciding import conclude_variants, failing_cases
from equipoise.arena.measuring import MeasureInfo, measure
from equipoise.arena.result import Answered, CaseResult, Preference
from equipoise.arena.validity import invalid_reasons
from equipoise.experiment.amount import Amount
from equipoise.experiment.offline import Criterion, Gate, Limits
from equipoise.scoring.evaluating import Score, errored, fails, passes, unscored
from equipoise.scoring.pairwise import Comparison
from equipoise.stats.comparison.paired import paired_difference_of_proportions
from equipoise.stats.estimate import Estimate, NotEstimable

RULE = MeasureInfo(does="rule", bar=True)
RUBRIC = MeasureInfo(does="rubric", top=5)


def case(number, a, b, name="ok", **more):
    """A case whose arms have these scores, one a sample: True, False, a number, or a Score."""

    def samples(given):
        listed = given if isinstance(given, list) else [given]
        return tuple({} if each is None else {name: score(each)} for each in listed)

    return CaseResult(id=str(number), asked="?", scores={"a": samples(a), "b": samples(b)}, **more)


def score(given):
    if isinstance(given, Score):
        return given
    if isinstance(given, bool):
        return passes() if given else fails("no")
    return Score(value=float(given))


def measured(cases, info=RULE, name="ok"):
    return measure(cases, variants=["a", "b"], names={name: info}, level=0.95)


def test_a_pass_or_fail_is_compared_by_the_score_method_on_the_same_cases():
    """7 lost, 1 gained, 12 neither: Tango's interval; a case scored in one arm only is left out."""
    cases = [case(n, True, False) for n in range(7)] + [case(7, False, True), case(8, True, True)]
    cases += [case(n, False, False) for n in range(9, 21)]
    found = measured([*cases, case(99, True, unscored("unreadable"))])["b"]["ok"]
    assert found.difference == paired_difference_of_proportions(1, 7, 1, 12)
    assert (found.scored, found.unscored, found.errored, found.passed, found.failed) == (21, 1, 0, 2, 19)
    assert measured(cases)["a"]["ok"].difference is None


def test_arms_that_are_equal_on_every_case_still_have_an_interval():
    """No discordant pair of 100: nothing to test, and ±3.7 points; means are read as shares of their scale."""
    rule = measured([case(n, True, True) for n in range(100)])["b"]["ok"]
    assert isinstance(rule.difference, Estimate)
    assert (rule.difference.value, rule.difference.p_value) == (0.0, None)
    assert rule.difference.high == pytest.approx(1.96**2 / (100 + 1.96**2), abs=1e-4)
    grades = measured([case(n, 4, 4) for n in range(100)], RUBRIC)["b"]["ok"]
    assert isinstance(grades.difference, Estimate)
    assert grades.difference.low == pytest.approx(-4 * 1.984 * math.sqrt(2 / 102 / 102), abs=1e-3)
    assert isinstance(grades.mean, Estimate)
    assert grades.mean.low < grades.mean.value == 4.0 < grades.mean.high
    unknown = measured([case(n, 4, 4) for n in range(100)], MeasureInfo(does="plugin"))["b"]["ok"]
    assert unknown.difference == NotEstimable("every case has the same value, so there is no spread")


def test_a_mean_is_compared_by_the_paired_t():
    """The sleep data: 1.58 with its textbook interval, and noise only with a second sample."""
    extra = [1.2, 2.4, 1.3, 1.3, 0.0, 1.0, 1.8, 0.8, 4.6, 1.4]
    found = measured([case(n, 1.0, 1.0 + x) for n, x in enumerate(extra)], MeasureInfo(does="plugin"))["b"][
        "ok"
    ]
    assert isinstance(found.difference, Estimate)
    assert (round(found.difference.value, 2), round(found.difference.p_value, 6)) == (1.58, 0.002833)
    assert found.noise is None
    twice = measured([case(n, [1.0, 3.0], [2.0, 2.0]) for n in range(3)], MeasureInfo(does="plugin"))
    assert twice["a"]["ok"].noise == pytest.approx(math.sqrt(2.0))
    assert twice["b"]["ok"].noise == 0.0


def test_clusters_and_weights_widen_what_they_should():
    """Cases of one document count together, a case of weight 9 outweighs, and equal weights change nothing."""
    cases = [case(n, n % 5 == 0, n % 3 == 0) for n in range(60)]
    plain = measured(cases)["b"]["ok"].difference
    same = measured([case(n, n % 5 == 0, n % 3 == 0, weight=2.0) for n in range(60)])["b"]["ok"].difference
    assert plain == same
    doubled = [*cases, *(case(n + 60, n % 5 == 0, n % 3 == 0) for n in range(60))]
    copies = [
        CaseResult(id=each.id, asked="?", scores=each.scores, cluster=str(int(each.id) % 60))
        for each in doubled
    ]
    together, apart = (measured(each)["b"]["ok"].difference for each in (copies, doubled))
    assert together.high - together.low == pytest.approx(plain.high - plain.low, rel=0.05)
    assert apart.high - apart.low < 0.8 * (plain.high - plain.low)
    heavy = measured([case(0, True, False, weight=9.0), *cases[1:]])["b"]["ok"].difference
    weights = [9.0] + [1.0] * 59
    change = [-1] + [int(n % 3 == 0) - int(n % 5 == 0) for n in range(1, 60)]
    assert heavy.value == pytest.approx(sum(w * d for w, d in zip(weights, change, strict=True)) / 68)


def test_tags_of_two_cases_or_more_have_their_own_difference():
    """A tag of one case says nothing."""
    cases = [
        case(n, True, n % 2 == 0, tags=("even",) if n % 2 == 0 else ("odd", "rare")[: 1 + (n == 1)])
        for n in range(20)
    ]
    found = measured(cases)["b"]["ok"].by_tag
    assert {tag: round(each.value, 2) for tag, each in found.items()} == {"even": 0.0, "odd": -1.0}


def test_the_pass_rate_counts_a_missing_answer_as_not_passed():
    """It is measured wherever anything can pass; unscored and errored answers have no say in it."""
    answered, missing = (Answered(text="x"),), (Answered(text=None, why_not="timeout"),)
    cases = [case(n, True, True, answers={"a": answered, "b": answered}) for n in range(8)]
    cases.append(case(8, True, None, answers={"a": answered, "b": missing}))
    cases.append(case(9, True, errored("down"), answers={"a": answered, "b": answered}))
    found = measured(cases)["b"]
    rate = found["pass_rate"]
    assert (rate.scored, rate.passed, rate.failed, rate.unscored, rate.errored) == (9, 8, 1, 0, 1)
    assert (found["ok"].scored, found["ok"].unscored, found["ok"].errored) == (8, 1, 1)
    assert "pass_rate" not in measured([case(n, 0.3, 0.4) for n in range(5)])["b"]


def test_what_one_case_brings_with_it_is_not_missing_on_the_others():
    """Assertions of a single case are counted on that case alone."""
    own = case(0, True, True, name="assertions")
    found = measure([own, case(1, True, False)], variants=["a", "b"], names={"assertions": RULE}, level=0.95)
    assert (found["b"]["assertions"].scored, found["b"]["assertions"].unscored) == (1, 0)


def test_cases_that_may_not_fail_are_listed_by_what_they_failed():
    """An evaluator on every case, a case under every check, and a severity beyond what it is allowed."""
    cases = [
        case(0, True, False, must_pass=True),
        case(1, True, False, severity="high"),
        case(2, True, [True, False], severity="high"),
        case(3, True, True, severity="high"),
    ]
    assert failing_cases(cases, "b", rule=Gate(at_most={"high": 1}), must_pass=frozenset({"ok"})) == {
        "ok": ("0", "1", "2"),
        "every check of a must-pass case": ("0",),
        "severity high (at most 1)": ("1", "2"),
    }
    assert failing_cases(cases, "b", rule=Gate(at_most={"high": 2}), must_pass=frozenset()) == {
        "every check of a must-pass case": ("0",)
    }


def test_a_whole_conclusion():
    """Without a judge the usual criterion is the pass rate, and a flaky case is named."""
    answers = {"a": (Answered(text="four", cost_usd=0.01),), "b": (Answered(text="sixsix", cost_usd=None),)}
    cases = [case(n, True, True, answers=answers) for n in range(200)]
    (a, b), gate = conclude_variants(
        cases,
        variants=["a", "b"],
        infos={"ok": RULE},
        preferences={},
        rule=Gate(),
        must_pass=frozenset({"ok"}),
    )
    assert (gate.decision, a.decision) == ("pass", None)
    assert gate.reason == (
        "b: the difference in pass rate is shown to be above -5.0 points (interval -1.9 to +1.9 points)"
    )
    assert (a.answered, a.errored, a.mean_chars, b.mean_chars, b.cost_usd) == (200, 0, 4.0, 6.0, None)
    assert a.cost_usd == pytest.approx(2.0)
    flaky = case(200, True, [True, False])
    (_, b), gate = conclude_variants(
        [*cases, flaky],
        variants=["a", "b"],
        infos={"ok": RULE},
        preferences={},
        rule=Gate(),
        must_pass=frozenset({"ok"}),
    )
    assert (b.flaky, b.failing, gate.decision) == (("200",), {"ok": ("200",)}, "fail")


def test_worst_cases_can_fail_an_arm_whose_mean_is_better():
    """Every case gains a little, and each fourteenth breaks."""
    cases = [case(n, 3 + n % 2, 1 if n % 14 == 0 else 4 + n % 2) for n in range(200)]
    mean = Criterion(of="ok", show="not_worse")
    worst = Criterion(of="ok", show="not_worse", worst=0.1)
    for criteria, decision in (((mean,), "pass"), ((mean, worst), "fail")):
        _, gate = conclude_variants(
            cases, variants=["a", "b"], infos={"ok": RUBRIC}, preferences={}, rule=Gate(criteria=criteria)
        )
        assert gate.decision == decision


def preference(**more):
    raw = Estimate(value=0.5, standard_error=0.03, low=0.45, high=0.55, level=0.95, method="win rate")
    given = {"raw": raw, "controlled": NotEstimable("x"), "wins": 50, "ties": 0, "losses": 50, "unscored": 0}
    return Preference(**{**given, **more})


def at(value):
    return Estimate(
        value=value, standard_error=0.1, low=value - 0.2, high=value + 0.2, level=0.95, method="x"
    )


def reasons(cases=(), criteria=(), preference=None, **limits):
    return invalid_reasons(
        cases,
        control="a",
        treatment="b",
        criteria=criteria,
        measures=measured(cases) if cases else {"a": {}, "b": {}},
        preference=preference,
        limits=Limits(**limits),
    )


def compared(*scores):
    return [
        CaseResult(
            id=str(n),
            asked="?",
            comparisons={"b": (Comparison(score=each, why_not=None if each is not None else "?"),)},
        )
        for n, each in enumerate(scores)
    ]


def test_too_much_missing_is_invalid_and_nothing_scored_too():
    """More than a fifth unscored: what is missing is rarely missing at random."""
    wins = (Criterion(of="win_rate"),)
    assert reasons(compared(*[1.0] * 80, *[None] * 20), wins) == ()
    assert reasons(compared(*[1.0] * 79, *[None] * 21), wins) == (
        "21 of 100 cases are unscored, more than 20%",
    )
    assert reasons(compared(None, None), wins) == ("no case was scored against control",)
    ok = (Criterion(of="ok"),)
    cases = [case(n, True, True if n < 70 else unscored("?")) for n in range(100)]
    assert reasons(cases, ok) == ("30 of 100 answers by b are unscored on 'ok', more than 20%",)
    assert reasons(cases, ok, unscored=0.3) == ()
    assert reasons(cases, (Criterion(of="nothing"),)) == ("nothing was measured of 'nothing'",)
    answers = [
        case(
            n, True, True, answers={"a": (Answered(text=None if n < 3 else "x"),), "b": (Answered(text="x"),)}
        )
        for n in range(10)
    ]
    assert reasons(answers) == ("3 of 10 answers by a are missing, more than 20%",)


def test_the_judge_is_held_to_its_limits_by_point_estimates():
    """Beyond a limit is invalid, whatever the interval; and so is a limit that cannot be told."""
    leaning = preference(lean=at(-0.12), kappa=at(0.3), shares_family="b", self_preference=at(0.2))
    assert reasons(preference=leaning, lean=0.2, kappa=0.2, self_preference=0.3) == ()
    assert reasons(preference=leaning) == ()
    assert reasons(preference=leaning, lean=0.1, kappa=0.4, self_preference=0.1) == (
        "the judge leans by 12.0% to what it sees last, more than 10.0%",
        "the judge's kappa with people is 0.30, below 0.4",
        "the judge is of the family of b alone and prefers it by 20.0%, more than 10.0%",
    )
    unknown = preference(kappa=NotEstimable("no case is labelled"), shares_family="a")
    assert reasons(preference=unknown, lean=0.1, kappa=0.4, self_preference=0.1) == (
        "the judge's lean to what it sees first may be 10.0% at most, and that is not known",
        "the judge's kappa with people must be 0.4 at least, and no case is labelled",
        "the judge is of the family of a alone and may prefer it by 10.0% at most, and that is not known",
    )
    assert reasons(preference=preference(), self_preference=0.1) == ()


def test_the_corrected_win_rate_decides_where_labels_are_declared():
    """Without enough labels the gate stays open, and says so."""
    rule = Gate(criteria=(Criterion(of="win_rate", margin=Amount(0.1)),))
    for given, decision, reason in (
        (preference(), "pass", "the win rate is shown to be above 40.0% (interval 45.0% to 55.0%)"),
        (
            preference(decides="corrected", labels=7),
            "inconclusive",
            "people's labels are to correct the win rate, and there are 7 of them",
        ),
        (preference(decides="corrected", corrected=NotEstimable("too few")), "inconclusive", "too few"),
        (
            preference(decides="corrected", corrected=at(0.1)),
            "fail",
            "the win rate is shown to be below 40.0% (interval -10.0% to 30.0%)",
        ),
    ):
        _, gate = conclude_variants(
            compared(*[1.0, 0.0] * 50), variants=["a", "b"], infos={}, preferences={"b": given}, rule=rule
        )
        assert (gate.decision, gate.arms[0].reason) == (decision, reason)
