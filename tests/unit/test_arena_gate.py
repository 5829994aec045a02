"""The gate's decision as a pure function: every outcome, its edges, and the order of precedence."""

from __future__ import annotations

import pytest

from equipoise.arena.gate import ArmDecision, decide, decide_arm
from equipoise.experiment.definition import Gate
from equipoise.stats.estimate import Estimate, NotEstimable
from equipoise.stats.preference.preference import cases_to_settle


def rate(low, high, value=None):
    value = (low + high) / 2 if value is None else value
    return Estimate(value=value, standard_error=0.1, low=low, high=high, level=0.95, method="win rate")


def arm(estimate, *, cases=100, scored=None, **more):
    gate = more.pop("gate", Gate(margin=0.10))
    return decide_arm(
        "b", gate=gate, win_rate=estimate, cases=cases, scored=cases if scored is None else scored, **more
    )


@pytest.mark.parametrize(
    "low, high, superior, decision",
    [
        (0.41, 0.60, False, "pass"),
        (0.40, 0.60, False, "inconclusive"),
        (0.30, 0.39, False, "fail"),
        (0.30, 0.40, False, "inconclusive"),
        (0.51, 0.60, True, "pass"),
        (0.50, 0.60, True, "inconclusive"),
        (0.30, 0.49, True, "fail"),
        (0.42, 0.58, True, "inconclusive"),
    ],
)
def test_the_interval_against_the_bar_decides(low, high, superior, decision):
    """Above the bar passes, below fails, and an interval that touches it decides nothing."""
    assert arm(rate(low, high), gate=Gate(margin=0.10, superior=superior)).decision == decision


def test_too_much_missing_is_invalid_and_nothing_scored_too():
    """More than a fifth unscored: what is missing is rarely missing at random."""
    assert arm(rate(0.45, 0.6), scored=80).decision == "pass"
    found = arm(rate(0.45, 0.6), scored=79)
    assert (found.decision, found.reason) == ("invalid", "21 of 100 cases are unscored, more than 20%")
    assert arm(NotEstimable("there are 0 cases"), scored=0).decision == "invalid"


def test_a_broken_must_pass_check_fails_whatever_the_judge_says():
    """A known harm is not excused by a high win rate, nor by missing scores."""
    for scored in (100, 0):
        found = arm(rate(0.8, 0.9), scored=scored, failing=[("safety", 2)])
        assert (found.decision, found.reason) == (
            "fail", "must pass on every case, and does not: safety on 2 of 100 cases"
        )  # fmt: skip


def test_a_check_that_could_not_run_lets_nothing_pass():
    """Unknown is not a pass; it is not a failure either."""
    assert arm(rate(0.45, 0.6), unchecked=1).decision == "inconclusive"
    assert arm(rate(0.2, 0.3), unchecked=1).decision == "fail"


def test_the_number_of_cases_that_would_settle_it():
    """The planned number, or, once that is behind us, the number for the distance that was seen."""
    assert arm(rate(0.39, 0.95), cases=5).cases_to_settle == 197
    assert arm(NotEstimable("one case"), cases=1).cases_to_settle == 197
    past = arm(rate(0.38, 0.46, 0.42), cases=600)
    assert past.cases_to_settle == cases_to_settle(0.42 - 0.40) > 600
    assert arm(rate(0.30, 0.50, 0.40), cases=600).cases_to_settle is None
    assert arm(rate(0.45, 0.65, 0.55), gate=Gate(margin=0.0)).cases_to_settle == cases_to_settle(0.05)
    assert arm(NotEstimable("one case"), cases=1, gate=Gate(margin=0.0)).cases_to_settle is None


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
