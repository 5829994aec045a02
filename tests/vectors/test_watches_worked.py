"""Two windows worked by hand: three watches of `for: 2`, all three breached twice."""

from __future__ import annotations

import pytest
from watched import START, recorded, watched, worked

from equipoise.measurement.guardrails.watching import Standing, Watching


def test_window_one_alerts_three_times_and_window_two_pauses_rolls_back_and_reviews():
    """p95 3,300 then 3,400 ms against 3,000; errors .002 then .003 against .001; cost .09 then .091 against .08."""
    experiment = watched()
    facts = worked(experiment, 0) + worked(experiment, 1)
    folded = Watching(experiment).fold(Standing(), {}, recorded(facts), {}, now=START + 610.5)
    said = [
        (each.breach.ends - START, each.arm, experiment.watches[each.watch].metric, each.breach.action, each.breach.sustained)
        for each in folded.decided
    ]  # fmt: skip
    assert said == [
        (300, "treatment", "latency_p95", "alert", False),
        (300, "treatment", "error_rate", "alert", False),
        (300, "treatment", "cost_per_success", "alert", False),
        (600, "treatment", "latency_p95", "pause", True),
        (600, "treatment", "error_rate", "rollback", True),
        (600, "treatment", "cost_per_success", "review", True),
    ]
    values = [each.breach.value for each in folded.decided]
    # Quantiles within one per cent, everything else to the last digit but one.
    assert values[0::3] == pytest.approx([3.3, 3.4], rel=0.01)
    assert values[1::3] == pytest.approx([0.002, 0.003], rel=1e-15)
    assert values[2::3] == pytest.approx([0.09, 0.091], rel=1e-14)
    assert [each.breach.limit for each in folded.decided] == [3.0, 0.001, 0.08] * 2
    assert {arm: streak.last.reason for (watch, arm), streak in folded.standing.streaks.items() if arm == "control" and watch == 0} == {
        "control": "there are no readings of turn.latency_s in the window"
    }  # fmt: skip
