"""What the arena promises of judges: no false winner by a lean, fewer calls in steps, nothing out of garbage."""

from __future__ import annotations

import math

import numpy as np
import pytest

from equipoise.arena.preferring import prefer
from equipoise.arena.result import CaseResult
from equipoise.arena.stepping import Judging, interval_after, plan_judging, settled
from equipoise.experiment.amount import Amount
from equipoise.experiment.definition import Criterion
from equipoise.scoring.pairwise import Comparison, combine
from equipoise.stats.estimate import Estimate

SUPERIOR = Criterion(of="win_rate", show="superior")
MARGIN = Criterion(of="win_rate", margin=Amount(0.10))


def slack(rate, replications, alarm=1e-4):
    """How far a share of so many runs strays above its rate with the chance of one false alarm in ten thousand."""
    z = 3.72 if alarm == 1e-4 else math.nan
    return z * math.sqrt(rate * (1 - rate) / replications)


def leaning_judge(rng, lean, quality=0.0):
    """A judge's two readings of one pair: the better answer by chance, moved by what it sees first.

    It prefers the treatment with probability 0.5 + quality, plus the lean where that is shown first, minus it
    where it is second; its two askings share half of their noise, as a judge's do.
    """
    shared = rng.random()

    def says(first_is_treatment):
        chance = 0.5 + quality + (lean if first_is_treatment else -lean)
        draw = shared if rng.random() < 0.5 else rng.random()
        treatment = draw < chance
        return ("A" if treatment == first_is_treatment else "B"), ""

    return combine({"treatment first": says(True), "control first": says(False)})


def run(rng, cases, judge):
    return [
        CaseResult(id=str(number), asked="?", comparisons={"b": (judge(rng),)}) for number in range(cases)
    ]


def winners(lean, *, cases, replications, seed):
    """The share of runs of equal variants with a winner either way, the mean lean found, and its spread."""
    rng = np.random.default_rng(seed)
    false, leans = 0, []
    for _ in range(replications):
        found = prefer(
            run(rng, cases, lambda r: leaning_judge(r, lean)), control="a", treatment="b", level=0.95
        )
        assert isinstance(found.raw, Estimate)
        false += found.raw.low > 0.5 or found.raw.high < 0.5
        leans.append(found.lean.value)
    return false / replications, float(np.mean(leans))


@pytest.mark.parametrize("lean", [0.08, 0.16, 0.32])
@pytest.mark.parametrize("cases, replications", [(100, 120), pytest.param(200, 2000, marks=pytest.mark.long)])
def test_a_judge_that_leans_to_the_first_shown_makes_no_winner(lean, cases, replications):
    """Equal variants, both orders, disagreement a tie: at most 5.5 % false winners, and the lean is found."""
    false, found = winners(lean, cases=cases, replications=replications, seed=17)
    assert false <= 0.055 + slack(0.05, replications)
    assert found == pytest.approx(lean, abs=4 * 0.5 / math.sqrt(cases * replications))


def test_one_fixed_order_takes_the_lean_for_a_winner():
    """The contrast: the treatment always first, a lean of 16 points, 200 cases: nearly every run has a winner."""
    rng = np.random.default_rng(3)
    false = 0
    for _ in range(100):
        shown = [
            Comparison(score=1.0 if rng.random() < 0.66 else 0.0, treatment_first="treatment")
            for _ in range(200)
        ]
        cases = [CaseResult(id=str(n), asked="?", comparisons={"b": (each,)}) for n, each in enumerate(shown)]
        found = prefer(cases, control="a", treatment="b", level=0.95)
        false += found.raw.low > 0.5
    assert false >= 90


@pytest.mark.parametrize("cases, replications", [(200, 60), pytest.param(400, 1000, marks=pytest.mark.long)])
def test_garbage_at_random_is_counted_and_moves_nothing(cases, replications):
    """A tenth of the replies unreadable: they are unscored, and the win rate stays where it was."""
    rng = np.random.default_rng(5)
    values, counts = [], []

    def judge(r):
        won = r.random() < 0.6
        orders = {
            "treatment first": ("A" if won else "B", ""),
            "control first": ("B" if won else "A", ""),
        }
        return combine({order: None if r.random() < 0.1 else said for order, said in orders.items()})

    for _ in range(replications):
        found = prefer(run(rng, cases, judge), control="a", treatment="b", level=0.95)
        values.append(found.raw.value)
        counts.append(found.unscored)
    assert float(np.mean(values)) == pytest.approx(0.6, abs=4 * 0.55 / math.sqrt(cases * replications))
    assert float(np.mean(counts)) / cases == pytest.approx(0.19, abs=0.03)


def in_steps(p, ties, criterion, *, cases, replications, seed):
    """The shares of runs that end above, below and on the bar, and the share of judge calls that were spared."""
    rng = np.random.default_rng(seed)
    plan = plan_judging(cases, level=0.95)
    bar = 0.5 - (0.10 if criterion.show == "non_inferior" else 0.0)
    ends = {"above": 0, "below": 0, "open": 0}
    used = 0
    for _ in range(replications):
        scores = np.where(rng.random(cases) < ties, 0.5, (rng.random(cases) < p).astype(float))
        for step, size in enumerate(plan.sizes):
            judging = Judging(plan=plan, step=step)
            if settled(judging, list(scores[:size]), None, criterion):
                break
        used += size
        found = interval_after(judging, list(scores[:size]), None)
        assert isinstance(found, Estimate)
        ends["above" if found.low > bar else "below" if found.high < bar else "open"] += 1
    shares = {end: number / replications for end, number in ends.items()}
    return shares, 1.0 - used / replications / cases


SHORT_AND_LONG = [120, pytest.param(3000, marks=pytest.mark.long)]


@pytest.mark.parametrize("replications", SHORT_AND_LONG)
def test_a_difference_of_ten_points_takes_forty_per_cent_fewer_calls(replications):
    """500 cases, a fifth of them ties, a win rate of .60 or .40: judging stops early, and rightly."""
    for p, right in ((0.625, "above"), (0.375, "below")):
        ends, spared = in_steps(p, 0.2, SUPERIOR, cases=500, replications=replications, seed=23)
        assert spared >= 0.40
        assert ends[right] >= 0.95
    ends, spared = in_steps(0.625, 0.2, MARGIN, cases=500, replications=replications, seed=29)
    assert spared >= 0.40
    assert ends["above"] >= 0.95


@pytest.mark.parametrize("cases", [100, 200, 500])
@pytest.mark.parametrize("replications", SHORT_AND_LONG)
def test_looking_at_every_step_costs_no_error(cases, replications):
    """Equal variants have a winner in at most 5 %; an arm at the bar passes in at most 2.5 %."""
    ends, _ = in_steps(0.5, 0.2, SUPERIOR, cases=cases, replications=replications, seed=31)
    assert ends["above"] + ends["below"] <= 0.05 + slack(0.05, replications)
    ends, _ = in_steps(0.375, 0.2, MARGIN, cases=cases, replications=replications, seed=37)
    assert ends["above"] <= 0.025 + slack(0.025, replications)
    if replications > 1000:
        # Not for want of trying: the error that may be spent is spent, at least in part.
        assert ends["above"] + ends["below"] >= 0.02
