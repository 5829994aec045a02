"""Missing outcomes are bounded, not excused: absence as failure, and what it could be at most."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from equipoise import analyze
from equipoise.experiment.reading import load_experiment
from equipoise.verdict.analysis import Analysis

METRIC = "{{priority: primary, kind: proportion, of: outcome.solved, better: {better}, per_unit: any, baseline: 0.5, mde: 0.05}}"


def analysis(
    folder: Path, control: tuple[int, int, int], treated: tuple[int, int, int], *, better="higher"
) -> Analysis:
    """Two arms, each with so many ones, zeros and units without a value."""
    path = folder / "absent.yaml"
    path.write_text(
        f"""
name: absent
hypothesis: Who says nothing may have given up.
changes: [config]
unit: {{type: user}}
variants: {{control: {{config: {{x: 1}}}}, b: {{config: {{x: 2}}}}}}
metrics:
  solved: {METRIC.format(better=better)}
""",
        encoding="utf-8",
    )
    rows = [
        {"unit": f"{arm}{n}", "variant": arm, "solved": None if n >= ones + zeros else n < ones}
        for arm, (ones, zeros, absent) in {"control": control, "b": treated}.items()
        for n in range(ones + zeros + absent)
    ]
    return analyze(load_experiment(path), pl.DataFrame(rows))


def said(found: Analysis) -> list[tuple[str, str, str]]:
    return [(each.name, each.status, each.says) for each in found.findings.cautions]


def test_absence_as_failure_is_an_effect_of_its_own_and_bounded(tmp_path):
    """500 of 800 against 550 of 700, 200 and 300 absent: the gain is 16 points as seen and 5 if absence failed."""
    found = analysis(tmp_path, (500, 300, 200), (550, 150, 300))
    effect = found.effect("solved").estimate
    assert effect.value == pytest.approx(550 / 700 - 500 / 800)
    ((name, status, says),) = said(found)
    assert (name, status) == ("missing solved", "ok")
    assert says == (
        "were all 500 missing outcome.solved failures, solved in b would differ by "
        "+5.000 pp (+0.623 pp to +9.358 pp); whatever they were, by −15.000 pp to +35.000 pp"
    )


def test_an_effect_that_absence_as_failure_takes_away_is_noted(tmp_path):
    """Who gave up is missing in the treatment alone: what looks better is worse."""
    ((_, status, says),) = said(analysis(tmp_path, (500, 500, 0), (450, 350, 200)))
    assert status == "note"
    assert says.startswith(
        "were all 200 missing outcome.solved failures, solved in b would differ by −5.000 pp ("
    )


def test_where_lower_is_better_a_failure_is_a_one(tmp_path):
    """The same counts the other way round: a missing unit is counted as one that failed, not as one that did not."""
    ((_, _, says),) = said(analysis(tmp_path, (300, 500, 200), (150, 550, 300), better="lower"))
    assert (
        "would differ by −5.000 pp (−9.358 pp to −0.623 pp); whatever they were, by −35.000 pp to +15.000 pp"
        in says
    )


def test_where_nothing_is_missing_nothing_is_said(tmp_path):
    assert said(analysis(tmp_path, (500, 500, 0), (450, 550, 0))) == []
