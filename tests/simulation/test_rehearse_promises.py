"""What a rehearsal says of a design is true of it: its errors are those that were registered, its power that of the plan."""

from __future__ import annotations

from pathlib import Path

import pytest

from equipoise.conduct.rehearse import rehearse
from equipoise.design.plan import plan
from equipoise.experiment.reading import load_experiment
from equipoise.stats.cases.binomial import clopper_pearson_interval

DEFINITION = """
name: promised
hypothesis: A rehearsal does not flatter the design.
changes: [config]
unit: {type: user, from: header:x-user}
variants: {control: {config: {x: 1}}, b: {config: {x: 2}}}
metrics:
  ok: {priority: primary, kind: proportion, of: outcome.ok, better: higher, baseline: 0.4, mde: 10pp}
plan: {looks: [0.33, 0.67, 1.0]}
"""


def checked(folder: Path, runs: int) -> None:
    """Both promises, each with a chance of a false alarm of 1 in 10,000 on either side."""
    path = folder / "promised.yaml"
    path.write_text(DEFINITION, encoding="utf-8")
    experiment = load_experiment(path)
    total = plan(experiment).total
    assert total is not None
    # A check comes when a registered look is due, and a fiftieth of the units late: information varies by less.
    found = rehearse(experiment, runs=runs, seed=7, units_per_day=0.34 * total, only=["nothing", "planned"])
    nothing, planned = found.outcomes
    wide = clopper_pearson_interval(round(nothing.crossed.value * runs), runs, level=0.9998)
    # Registered is 5 %, of which discrete rates may use a little more or less.
    assert wide.low < 0.05 < wide.high + 0.005
    power = clopper_pearson_interval(round(planned.crossed.value * runs), runs, level=0.9998)
    # Those units too many are worth a hundredth of power.
    assert power.low < 0.82
    assert power.high > 0.79


def test_errors_and_power_are_those_of_the_plan(tmp_path):
    """A hundredth of the long run below."""
    checked(tmp_path, 200)


@pytest.mark.long
def test_errors_and_power_are_those_of_the_plan_in_the_long_run(tmp_path):
    """4,000 runs of each scenario."""
    checked(tmp_path, 4_000)
