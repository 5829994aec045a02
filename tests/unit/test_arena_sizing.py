"""How many cases a criterion needs and what the cases at hand can show: numbers by hand, and what has none."""

from __future__ import annotations

import math

import pytest

from equipoise.arena.sizing import MOST_DISCORDANT, Pilot, detectable, needed_cases
from equipoise.errors import UsageError
from equipoise.experiment.amount import Amount
from equipoise.experiment.offline import Criterion
from equipoise.stats.estimate import NotEstimable

WINS = Criterion(of="win_rate", margin=Amount(0.10))
PASSES = Criterion(of="pass_rate", margin=Amount(0.05))
GRADES = Criterion(of="tone", margin=Amount(0.2))


def test_what_is_needed_follows_margin_spread_samples_and_clusters():
    """(1.96 + 0.84)²·variance/margin²: four times the cases for half the margin, a third with three samples."""
    assert needed_cases(WINS, level=0.95) == 197
    assert needed_cases(Criterion(of="win_rate", margin=Amount(0.05)), level=0.95) == 785
    assert needed_cases(WINS, level=0.95, samples=3) == 66
    assert needed_cases(WINS, level=0.95, cluster_size=5) == math.ceil(1.4 * 196.22)
    assert needed_cases(GRADES, level=0.95, pilot=Pilot(variance=0.16)) == 34
    assert needed_cases(GRADES, level=0.95, pilot=Pilot(variance=0.16, samples=2), samples=4) == 18
    relative = Criterion(of="tone", margin=Amount(0.05, "relative"))
    assert needed_cases(relative, level=0.95, pilot=Pilot(variance=0.16, control=4.0)) == 34
    assert needed_cases(GRADES, level=0.95, pilot=Pilot(variance=0.16), effect=0.2) == 10
    assert (
        needed_cases(
            Criterion(of="tone", show="superior"), level=0.95, pilot=Pilot(variance=0.16), effect=0.2
        )
        == 34
    )


def test_a_pass_rate_is_planned_from_discordant_pairs():
    """With half of them discordant 1,572 cases; with next to none, those that rule out five points at all."""
    assert needed_cases(PASSES, level=0.95) == 1572
    assert needed_cases(PASSES, level=0.95) == needed_cases(
        PASSES, level=0.95, pilot=Pilot(variance=MOST_DISCORDANT)
    )
    few = needed_cases(PASSES, level=0.95, pilot=Pilot(variance=1e-6))
    assert few == pytest.approx(1.96**2 * (1 - 0.05) / 0.05, abs=5)


@pytest.mark.parametrize(
    "criterion, more, reason",
    [
        (GRADES, {}, "the spread of 'tone' is not known before a run; a pilot tells it"),
        (
            Criterion(of="pass_rate", margin=Amount(0.05), worst=0.05), {},
            "the spread of 'pass_rate, worst 5%' is not known before a run; a pilot tells it",
        ),
        (GRADES, {"pilot": Pilot(variance=0.0)}, "the pilot shows no spread"),
        (
            Criterion(of="pass_rate", margin=Amount(0.05, "relative")), {},
            "the margin 5% is of control's mean, which is not known before a run",
        ),
        (
            Criterion(of="pass_rate", show="not_worse"), {},
            "it passes unless worse is shown, so it needs no number of cases",
        ),
        (
            Criterion(of="pass_rate", show="superior"), {},
            "superiority needs a difference to plan for; an arm equal to control never shows it",
        ),
        (Criterion(of="win_rate", margin=Amount(0.0001)), {}, "more than 1,000,000 cases would be needed"),
    ],
)  # fmt: skip
def test_where_no_number_can_be_named_the_reason_is(criterion, more, reason):
    """Never 0, and never infinity."""
    assert needed_cases(criterion, level=0.95, **more) == NotEstimable(reason)


def test_what_the_cases_can_show():
    """(1.96 + 0.84)·sqrt(variance/n); a pass rate allows for the pairs that the difference itself turns over."""
    assert detectable(WINS, 200, level=0.95) == pytest.approx(2.8016 * math.sqrt(0.25 / 200), abs=1e-4)
    found = detectable(PASSES, 500, level=0.95, pilot=Pilot(variance=0.2))
    assert found == pytest.approx(2.8016 * math.sqrt((0.2 + found - found**2) / 500), abs=1e-4)
    assert detectable(PASSES, 1, level=0.95) == NotEstimable("there is 1 case, and a spread needs two")
    assert detectable(WINS, 5, level=0.95) == NotEstimable(
        "5 cases are too few to show any difference with this probability"
    )
    assert detectable(GRADES, 5, level=0.95) == NotEstimable(
        "the spread of 'tone' is not known before a run; a pilot tells it"
    )


def test_what_cannot_be_meant_is_refused():
    """A level of 1, no sample at all, a cluster of less than a case."""
    for more in ({"level": 1.0}, {"level": 0.95, "samples": 0}, {"level": 0.95, "cluster_size": 0.5}):
        with pytest.raises(UsageError):
            needed_cases(WINS, **more)
