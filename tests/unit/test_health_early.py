"""Values told before a unit's first exposure are counted, not silently dropped."""

from __future__ import annotations

from equipoise.analysis.health import check_health
from equipoise.events.facts import Exposure, Outcome
from equipoise.events.log import MemoryLog
from equipoise.experiment.reading import load_experiment
from equipoise.measurement.measuring import measure_log

DEFINITION = """
name: early
hypothesis: Nothing is lost without a word.
changes: [config]
unit: {type: user}
variants: {control: {config: {a: 1}}, treatment: {config: {a: 2}}}
metrics: {resolution_rate: {priority: primary}}
"""


def test_an_outcome_before_the_exposure_is_left_out_and_told(tmp_path):
    """One late clock in four outcomes: three count, and health says that one did not."""
    (tmp_path / "e.yaml").write_text(DEFINITION, encoding="utf-8")
    experiment = load_experiment(tmp_path / "e.yaml")
    log = MemoryLog()
    for number in range(4):
        arm = experiment.variants[number % 2].name
        unit = f"u{number}"
        log.append(
            [
                Exposure(
                    experiment="early", happened=10.0, digest=experiment.digest, unit=unit, unit_type="user",
                    variant=arm, probability=0.5, reason="split",
                ),
                Outcome(
                    experiment="early", happened=9.0 if number == 3 else 11.0, unit=unit, name="resolved", value=True
                ),
            ]
        )  # fmt: skip
    measured = measure_log(experiment, log)
    assert measured.aside.early == 1
    assert sum(tally.units for tally in measured.tallies["resolution_rate"].values()) == 3
    said = next(
        check for check in check_health(experiment, measured, repeated=True) if check.name == "early values"
    )
    assert said.status == "note"
    assert said.says == (
        "1 outcome or turn was told before the first exposure of their unit and left out; "
        "a source whose clock is behind loses outcomes this way"
    )
