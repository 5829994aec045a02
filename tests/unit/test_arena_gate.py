"""The gate's decision as a pure function: every outcome, its edges, and the order of precedence."""

from __future__ import annotations

import pytest

from equipoise.arena.gate import (
    ArmDecision,
    Decided,
    decide,
    decide_arm,
    decide_criterion,
    usual_criteria,
)
from equipoise.experiment.amount import Amount
from equipoise.experiment.offline import Criterion
from equipoise.stats.estimate import Estimate, NotEstimable
from equipoise.stats.preference.preference import cases_to_settle

WINS = Criterion(of="win_rate", margin=Amount(0.10))
PASSES = Criterion(of="pass_rate", margin=Amount(0.05))


def seen(low, high, value=None, error=None):
    value = (low + high) / 2 if value is None else value
    error = (high - low) / 3.92 if error is None else error
    return Estimate(value=value, standard_error=error, low=low, high=high, level=0.95, method="seen")


def decided(criterion, estimate, *, cases=100, **more):
    return decide_criterion(criterion, estimate=estimate, cases=cases, level=0.95, **more)


@pytest.mark.parametrize(
    "show, low, high, decision",
    [
        ("non_inferior", 0.41, 0.60, "pass"),
        ("non_inferior", 0.40, 0.60, "inconclusive"),
        ("non_inferior", 0.30, 0.39, "fail"),
        ("non_inferior", 0.30, 0.40, "inconclusive"),
        ("superior", 0.51, 0.60, "pass"),
        ("superior", 0.50, 0.60, "inconclusive"),
        ("superior", 0.30, 0.49, "fail"),
        ("superior", 0.42, 0.58, "inconclusive"),
        ("not_worse", 0.30, 0.49, "fail"),
        ("not_worse", 0.30, 0.50, "pass"),
        ("not_worse", 0.51, 0.60, "pass"),
    ],
)
def test_the_interval_against_the_bar_decides(show, low, high, decision):
    """Above the bar passes, below fails, what touches it decides nothing; a difference stands half lower."""
    assert (
        decided(Criterion(of="win_rate", show=show, margin=Amount(0.10)), seen(low, high)).decision
        == decision
    )
    difference = seen(round(low - 0.5, 2), round(high - 0.5, 2))
    for of in ("pass_rate", "correct"):
        criterion = Criterion(of=of, show=show, margin=Amount(0.10))
        assert decided(criterion, difference).decision == decision


@pytest.mark.parametrize(
    "criterion, estimate, reason",
    [
        (WINS, seen(0.41, 0.6), "the win rate is shown to be above 40.0% (interval 41.0% to 60.0%)"),
        (WINS, seen(0.2, 0.3), "the win rate is shown to be below 40.0% (interval 20.0% to 30.0%)"),
        (WINS, seen(0.3, 0.5), "the interval 30.0% to 50.0% includes 40.0%: 100 cases do not settle it"),
        (WINS, NotEstimable("there are 0 cases"), "there are 0 cases"),
        (
            PASSES, seen(-0.031, 0.02),
            "the difference in pass rate is shown to be above -5.0 points (interval -3.1 to +2.0 points)",
        ),
        (
            PASSES, seen(-0.06, 0.02),
            "the difference in pass rate: the interval -6.0 to +2.0 points includes -5.0 points: 100 cases do not settle it",
        ),
        (
            Criterion(of="tone", show="not_worse"), seen(-0.25, 0.5),
            "the difference in 'tone' is not shown to be below 0 (interval -0.25 to +0.5)",
        ),
        (
            Criterion(of="tone", show="superior", worst=0.05), NotEstimable("there is no spread"),
            "the difference in 'tone, worst 5%': there is no spread",
        ),
    ],
)  # fmt: skip
def test_the_reason_gives_bar_and_interval(criterion, estimate, reason):
    """What was seen, against what, in the measure's own terms."""
    assert decided(criterion, estimate).reason == reason


def test_a_relative_margin_is_of_controls_mean():
    """10 % of a mean of 4 is 0.4; where control's mean is not known, nothing is decided."""
    criterion = Criterion(of="tone", margin=Amount(0.10, "relative"))
    assert decided(criterion, seen(-0.39, 0.1), control=seen(3.9, 4.1)).decision == "pass"
    assert decided(criterion, seen(-0.41, 0.1), control=seen(3.9, 4.1)).decision == "inconclusive"
    found = decided(criterion, seen(-0.1, 0.1), control=NotEstimable("there is 1 case"))
    assert (found.decision, found.reason, found.bar) == (
        "inconclusive",
        "the difference in 'tone': the margin is 10% of control's mean, and there is 1 case",
        None,
    )


def test_a_floor_is_reached_by_the_whole_interval_beside_what_control_demands():
    """The worse of the two decisions stands, and the floor is told where both say the same."""
    floor = Criterion(of="pass_rate", show="not_worse", at_least=0.9)
    fine, worse = seen(-0.02, 0.02), seen(-0.06, -0.01)
    for own, decision, reason in (
        (seen(0.90, 0.95), "pass", "its own pass rate is shown to reach 90.0% (interval 90.0% to 95.0%)"),
        (
            seen(0.85, 0.95), "inconclusive",
            "its own pass rate: the interval 85.0% to 95.0% includes 90.0%: 100 cases do not settle it",
        ),
        (seen(0.70, 0.89), "fail", "its own pass rate is shown to be below 90.0% (interval 70.0% to 89.0%)"),
        (NotEstimable("there is 1 case"), "inconclusive", "its own pass rate: there is 1 case"),
    ):  # fmt: skip
        found = decided(floor, fine, own=own)
        assert (found.decision, found.reason, found.bar) == (decision, reason, 0.9)
    assert decided(floor, worse, own=seen(0.90, 0.95)).reason == (
        "the difference in pass rate is shown to be below 0 (interval -6.0 to -1.0 points)"
    )
    wins = Criterion(of="win_rate", show="not_worse", margin=Amount(0.1), at_least=0.55)
    assert decided(wins, seen(0.56, 0.7)).decision == "pass"
    assert decided(wins, seen(0.51, 0.7)).decision == "inconclusive"


def test_the_number_of_cases_that_would_settle_it():
    """The planned number, or, once that is behind us, the number for the distance that was seen."""
    assert decided(WINS, seen(0.39, 0.95), cases=5).cases_to_settle == 197
    assert decided(WINS, NotEstimable("one case"), cases=1).cases_to_settle == 197
    past = decided(WINS, seen(0.38, 0.46, 0.42), cases=600)
    variance = ((0.46 - 0.38) / 3.92) ** 2 * 600
    assert past.cases_to_settle == cases_to_settle(0.42 - 0.40, variance=variance) > 600
    assert decided(WINS, seen(0.36, 0.44, 0.40), cases=600).cases_to_settle is None
    assert decided(WINS, seen(0.41, 0.60)).cases_to_settle is None
    open_ = decided(PASSES, seen(-0.06, 0.02, 0.0), cases=100).cases_to_settle
    assert open_ is not None
    assert open_ > 100
    superior = Criterion(of="tone", show="superior")
    assert decided(superior, NotEstimable("one case"), cases=1).cases_to_settle is None
    assert decided(superior, seen(-0.01, 0.05, 0.02)).cases_to_settle == cases_to_settle(
        0.02, variance=(0.06 / 3.92) ** 2 * 100
    )


def one(decision, settle=None, reason="so"):
    return Decided(
        criterion=PASSES,
        estimate=seen(0, 1),
        bar=0.0,
        decision=decision,
        reason=reason,
        cases_to_settle=settle,
    )


def arm(*criteria, failing=None, **more):
    return decide_arm("b", criteria=criteria, cases=100, failing=failing or {}, **more)


def test_a_known_harm_is_not_excused():
    """What must pass and does not fails the arm, whatever else is known or missing."""
    failing = {"safety": ("3", "9"), "severity high (at most 1)": ("1", "3")}
    for more in ({}, {"invalid": ["x"]}, {"unchecked": 4}):
        found = arm(one("pass"), failing=failing, **more)
        assert (found.decision, found.reason) == (
            "fail",
            "must pass on every case, and does not: safety on 2 of 100 cases, severity high (at most 1) on 2 of 100 cases",
        )


def test_invalid_stands_before_any_criterion():
    """Numbers that cannot be trusted show no harm either."""
    found = arm(one("fail"), invalid=["the judge leans", "much is missing"])
    assert (found.decision, found.reason) == ("invalid", "the judge leans; much is missing")


def test_an_arm_passes_only_with_every_criterion():
    """A failed one fails it, an open one leaves it open, with the most cases any of them needs."""
    assert arm(one("pass"), one("inconclusive"), one("fail", reason="worse")).reason == "worse"
    assert arm(one("pass"), one("inconclusive", 300), one("inconclusive", 500)).cases_to_settle == 500
    assert arm(one("inconclusive", 300), one("inconclusive")).cases_to_settle is None
    found = arm(one("pass", reason="this"), one("pass", reason="that"))
    assert (found.decision, found.reason) == ("pass", "this; that")
    assert arm().decision == "inconclusive"


def test_a_check_that_could_not_run_lets_nothing_pass():
    """Unknown is not a pass; it is not a failure either."""
    found = arm(one("pass"), unchecked=1)
    assert (found.decision, found.reason) == (
        "inconclusive", "1 case has no answer on which the must-pass checks could run"
    )  # fmt: skip
    assert arm(one("fail"), unchecked=1).decision == "fail"


def test_the_usual_criteria():
    """The judge's win rate where there is one, else the pass rate, else nothing."""
    assert usual_criteria(compares=True, passes=True) == (WINS,)
    assert usual_criteria(compares=False, passes=True) == (PASSES,)
    assert usual_criteria(compares=False, passes=False) == ()


@pytest.mark.parametrize(
    "decisions, overall, code",
    [
        (["pass", "pass"], "pass", 0),
        (["pass", "inconclusive"], "inconclusive", 4),
        (["inconclusive", "invalid"], "invalid", 5),
        (["invalid", "fail", "pass"], "fail", 3),
    ],
)
def test_the_gate_passes_only_if_every_treatment_does(decisions, overall, code):
    """The worst that is known decides, and its arms are named."""
    arms = [
        ArmDecision(variant=f"v{n}", decision=each, reason="so", cases=9) for n, each in enumerate(decisions)
    ]
    found = decide(arms)
    assert (found.decision, found.exit_code) == (overall, code)
    named = [f"v{n}: so" for n, each in enumerate(decisions) if each == overall]
    assert found.reason == "; ".join(named)
