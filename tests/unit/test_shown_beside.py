"""What stands beside an effect: segments, sensitivity, covariates, cautions; each in its own sentence."""

from __future__ import annotations

import random
from pathlib import Path

import polars as pl
import pytest

from equipoise import analyze
from equipoise.experiment.identity import canonical
from equipoise.experiment.reading import load_experiment, read_canonical
from equipoise.stats.health.novelty import DailyMoments
from equipoise.verdict.analysis import Analysis

DAY = 86_400.0


def definition(folder: Path, *, metric: str = "", plan: str = "{}", segments: str = "[device]") -> Path:
    path = folder / "beside.yaml"
    path.write_text(
        f"""
name: beside
hypothesis: An effect is not read alone.
changes: [config]
unit: {{type: user}}
variants: {{control: {{config: {{x: 1}}}}, b: {{config: {{x: 2}}}}}}
segments: {segments}
metrics:
  solved: {{priority: primary, kind: proportion, of: outcome.solved, better: higher, per_unit: any, baseline: 0.7, mde: 0.05{metric}}}
plan: {plan}
""",
        encoding="utf-8",
    )
    return path


def frame(cells: dict[tuple[str, str], tuple[int, int]], **more: object) -> pl.DataFrame:
    """Units by arm and device: so many solved of so many, one after another through three days."""
    rows = []
    for (arm, device), (solved, units) in cells.items():
        rows += [
            {
                "unit": f"{arm} {device} {n}",
                "variant": arm,
                "time": 3 * DAY * n / units,
                "device": device,
                "solved": n * 37 % units < solved,
            }
            | more
            for n in range(units)
        ]
    return pl.DataFrame(rows)


def cautions(analysis: Analysis) -> list[tuple[str, str, str]]:
    return [
        (check.name, check.status, check.says)
        for check in analysis.findings.cautions
        if check.name != "effect by day"
    ]


def health(analysis: Analysis, name: str) -> tuple[str, str]:
    return next((check.status, check.says) for check in analysis.findings.health if check.name == name)


REVERSED = {
    ("control", "mobile"): (640, 800),
    ("control", "desktop"): (130, 200),
    ("b", "mobile"): (170, 200),
    ("b", "desktop"): (560, 800),
}


def test_a_total_that_compares_different_mixes_is_said_to_do_so(tmp_path):
    """Simpson's reversal: worse in total, better on every device, because the arms hold different devices."""
    analysis = analyze(definition(tmp_path), frame(REVERSED), closing=True)
    assert cautions(analysis) == [
        (
            "direction by device",
            "note",
            (
                "solved in b is -0.04 in total and +0.05 within the values of device: "
                "the total compares different mixes of units; believe what lies within"
            ),
        )
    ]
    status, says = health(analysis, "mix of device")
    assert status == "note"
    assert says.startswith("the arms hold different shares of device (p = ")
    for shown in (analysis.summary(), analysis.to_html(), analysis.to_markdown()):
        assert "believe what lies within" in shown


def test_arms_of_one_mix_raise_no_caution(tmp_path):
    """The same devices in both arms and the same direction on each: both checks are well, in a sentence each."""
    even = {
        ("control", "mobile"): (300, 500),
        ("control", "desktop"): (300, 500),
        ("b", "mobile"): (340, 500),
        ("b", "desktop"): (340, 500),
    }
    analysis = analyze(definition(tmp_path), frame(even), closing=True)
    assert cautions(analysis) == [
        (
            "direction by device",
            "ok",
            "solved in b is +0.08 in total and +0.08 within the values of device",
        )
    ]
    assert health(analysis, "mix of device") == (
        "ok",
        "the arms hold the same shares of device, up to chance (p = 1)",
    )


def test_a_segment_that_is_harmed_is_named(tmp_path):
    """Better in total and shown to be worse on the desktop: the caution names it, with its adjusted p-value."""
    harmed = {
        ("control", "mobile"): (500, 1000),
        ("control", "desktop"): (240, 300),
        ("b", "mobile"): (700, 1000),
        ("b", "desktop"): (150, 300),
    }
    analysis = analyze(definition(tmp_path), frame(harmed), closing=True)
    ((_, status, says),) = cautions(analysis)
    assert status == "note"
    assert "; shown to go the other way: device=desktop -0.3 (adjusted p = " in says
    assert analysis.findings.family == "the primary within segments (2 tests, Holm)"
    by = {effect.segment: effect for effect in analysis.findings.segments}
    assert by["device=mobile"].estimate.p_value < by["device=mobile"].adjusted_p
    assert "device=desktop, b" in analysis.to_html()


def test_before_a_look_is_due_nothing_of_effects_is_shown(tmp_path):
    """A peek shows neither segments nor cautions nor sensitivity: all of them tell of the effect."""
    few = {key: (value[0] // 20, value[1] // 20) for key, value in REVERSED.items()}
    analysis = analyze(definition(tmp_path), frame(few), closing=False)
    findings = analysis.findings
    assert (findings.look.due, findings.effects, findings.segments, findings.cautions, findings.otherwise) == (
        False, (), (), (), (),
    )  # fmt: skip


@pytest.mark.parametrize(
    ("plan", "handled", "beside", "counted"),
    [
        ("{}", "they count for the variant seen first", "left out", 500),
        ("{crossed: exclude}", "as declared, they are left out", "counted for the variant seen first", 496),
    ],
)
def test_crossed_units_are_shown_both_ways(tmp_path, plan, handled, beside, counted):
    """As declared in the effect, the other way in a sentence beside it."""
    even = frame({("control", "mobile"): (300, 500), ("b", "mobile"): (340, 500)})
    crossing = pl.DataFrame(
        [
            {
                "unit": f"control mobile {n}",
                "variant": "b",
                "time": 3 * DAY,
                "device": "mobile",
                "solved": True,
            }
            for n in range(4)
        ]
    )
    analysis = analyze(definition(tmp_path, plan=plan), pl.concat([even, crossing]), closing=True)
    assert health(analysis, "units in two variants") == (
        "note",
        f"4 of 1000 units (0.40%) were seen in more than one variant; {handled}",
    )
    assert analysis.effect("solved").units == {"control": counted, "b": 500}
    (other,) = analysis.findings.otherwise
    assert other.units == {"control": 996 - counted, "b": 500}
    said = f"Sensitivity: with the 4 units seen in two variants {beside}, solved in b is "
    for shown in (analysis.summary(), analysis.to_html(), analysis.to_markdown()):
        assert said in shown


def test_covariates_that_treatment_moved_are_not_used(tmp_path):
    """A covariate that differs between the arms beyond belief adjusts nothing, and the sentence says why."""
    table = frame({("control", "mobile"): (300, 500), ("b", "mobile"): (340, 500)}).with_columns(
        visits=pl.when(pl.col("variant") == "b").then(2.0).otherwise(0.0) + pl.col("time") / DAY
    )
    analysis = analyze(definition(tmp_path, metric=", covariates: [visits]"), table, closing=True)
    effect = analysis.effect("solved")
    assert effect.adjustment.gain is None
    assert effect.estimate == effect.adjustment.plain
    assert "solved in b is not adjusted by visits: the covariates differ between the arms (p = " in str(
        analysis
    )


def test_a_burn_in_that_is_not_over_is_no_reason_to_call_the_data_invalid(tmp_path):
    """Where every unit is still in the burn-in, health says so and the verdict is to keep running."""
    table = frame({("control", "mobile"): (30, 50), ("b", "mobile"): (34, 50)})
    analysis = analyze(definition(tmp_path, plan="{burn_in: 5d}"), table, closing=False)
    assert analysis.verdict.word == "keep running"
    assert health(analysis, "arms") == (
        "note",
        "no unit counts yet; 100 are in the burn-in or in a cycle that is not over",
    )
    assert health(analysis, "enrolment") == (
        "ok",
        "100 units first exposed in the burn-in of 5 days do not count",
    )


@pytest.mark.parametrize(
    ("late", "status", "means"),
    [
        (0.3, "note", "it fades, as novelty does: what lasts may be less than the average"),
        (1.0, "ok", "no trend was found, which does not show that there is none"),
        (3.0, "note", "it grows, as habits do: what lasts may be more than the average"),
    ],
)
def test_an_effect_that_fades_is_told_from_one_that_lasts(tmp_path, late, status, means):
    """Clicks a day over four days of 400 units: the treatment's day effect goes from 1 to `late`, by day."""
    rng = random.Random(5)
    rows = [
        {
            "unit": f"u{n}",
            "variant": ("control", "b")[n % 2],
            "time": n * 10.0 + day * DAY + 60.0 * rng.random() * (day > 0),
            "device": "mobile",
            "clicks": rng.gauss(5.0, 1.0) + (n % 2) * (1.0 + (late - 1.0) * day / 3),
        }
        for n in range(400)
        for day in range(4)
    ] + [{"unit": "last", "variant": "b", "time": 4.1 * DAY, "device": "mobile", "clicks": 5.0}]
    path = definition(tmp_path)
    path.write_text(
        path.read_text(encoding="utf-8")
        .replace("kind: proportion, of: outcome.solved", "kind: count, of: outcome.clicks")
        .replace("per_unit: any, baseline: 0.7, mde: 0.05", "spread: 2.0, mde: 1.0"),
        encoding="utf-8",
    )
    analysis = analyze(path, pl.DataFrame(rows), closing=True)
    daily = analysis.findings.measurement.daily
    assert daily.days == 4
    # The last unit has had no day yet.
    assert {arm: moments.n for arm, moments in daily.moments.items()} == {"control": 200, "b": 200}
    for arm, odd in (("control", 0), ("b", 1)):
        by_unit = [[row["clicks"] for row in rows[4 * n : 4 * n + 4]] for n in range(400) if n % 2 == odd]
        twin = DailyMoments.of(by_unit)
        assert daily.moments[arm].means == pytest.approx(twin.means, rel=1e-9)
        assert [x for row in daily.moments[arm].products for x in row] == pytest.approx(
            [x for row in twin.products for x in row], rel=1e-9, abs=1e-9
        )
    found = next(check for check in analysis.findings.cautions if check.name == "effect by day")
    assert found.status == status
    assert found.says.startswith("solved in b moves by ")
    assert found.says.endswith(means)
    assert found.says in analysis.summary()


def test_one_row_for_each_unit_says_nothing_of_its_days(tmp_path):
    """Where everything is dated by the exposure there is no effect by day, rather than one that fades."""
    path = definition(tmp_path)
    path.write_text(
        path.read_text(encoding="utf-8")
        .replace("kind: proportion", "kind: count")
        .replace("per_unit: any, baseline: 0.7, mde: 0.05", "spread: 2.0, mde: 1.0"),
        encoding="utf-8",
    )
    table = frame({("control", "mobile"): (300, 500), ("b", "mobile"): (340, 500)})
    late = pl.DataFrame(
        [{"unit": "late", "variant": "b", "time": 9 * DAY, "device": "mobile", "solved": True}]
    )
    analysis = analyze(path, pl.concat([table, late]), closing=True)
    assert analysis.findings.measurement.daily is None
    assert "effect by day" not in {check.name for check in analysis.findings.cautions}


def test_what_counts_is_part_of_the_identity_and_reads_back(tmp_path):
    """Windows, caps, covariates and the handling of crossed units survive the canonical form, in any order."""
    metric = ", window: 36h, covariates: [visits, age]"
    experiment = load_experiment(
        definition(tmp_path, metric=metric, plan="{crossed: exclude, whole_cycles: true}")
    )
    assert (experiment.primary.window, experiment.primary.covariates) == (129_600.0, ("age", "visits"))
    assert (experiment.plan.crossed, experiment.plan.whole_cycles) == ("exclude", True)
    again = read_canonical(canonical(experiment))
    assert again == experiment
    assert again.digest == experiment.digest
    other = definition(
        tmp_path,
        metric=metric.replace("visits, age", "age, visits"),
        plan="{whole_cycles: true, crossed: exclude}",
    )
    assert load_experiment(other).digest == experiment.digest


def test_without_a_time_nothing_is_cut_and_that_is_said(tmp_path):
    """A table without a time column cannot be cut by a burn-in: a note, and every unit counts."""
    table = frame({("control", "mobile"): (30, 50), ("b", "mobile"): (34, 50)}).drop("time")
    analysis = analyze(definition(tmp_path, plan="{burn_in: 5d}"), table)
    assert health(analysis, "enrolment") == (
        "note",
        "without a time column neither burn-in nor cycles can be cut; every unit counts",
    )
    assert analysis.findings.measurement.units == {"control": 50, "b": 50}
