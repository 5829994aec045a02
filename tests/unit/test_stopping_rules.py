"""What other stopping rules would have said: their published boundaries, shown and never deciding."""

from __future__ import annotations

import json

import polars as pl
import pytest

from equipoise import analyze
from equipoise.analysis.looks import LookState, PastLook
from equipoise.analysis.stopping import stopping_rules
from equipoise.stats.families.dunnett import dunnett_adjusted
from equipoise.stats.looks.sequential import boundaries
from equipoise.stats.looks.spending import obrien_fleming, pocock


def definition(folder, looks="[0.5, 1.0]", more=""):
    path = folder / "stopping.yaml"
    path.write_text(
        f"""
name: stopping
hypothesis: The registered rule decides.
changes: [config]
unit: {{type: user}}
variants: {{control: {{config: {{x: 1}}}}, b: {{config: {{x: 2}}}}{more}}}
metrics:
  solved: {{priority: primary, kind: proportion, of: outcome.solved, better: higher, baseline: 0.5, mde: 0.1}}
plan: {{looks: {looks}, spending: obrien_fleming}}
""",
        encoding="utf-8",
    )
    return path


def frame(arms):
    return pl.DataFrame(
        [
            {"unit": f"{arm}{number}", "variant": arm, "solved": number < solved}
            for arm, (solved, units) in arms.items()
            for number in range(units)
        ]
    )


def test_each_rule_has_its_boundary_and_the_registered_one_decides(tmp_path):
    """Half-way, between Pocock's boundary and O'Brien and Fleming's: Pocock would stop, the experiment goes on."""
    analysis = analyze(definition(tmp_path), frame({"control": (100, 200), "b": (125, 200)}), closing=False)
    found = analysis.findings
    assert found.look.due
    rules = {rule.rule: rule for rule in found.stopping}
    at = found.look.fraction
    assert rules["as registered"].boundary == found.look.boundary
    for name, spend in (("O'Brien-Fleming spending", obrien_fleming), ("Pocock spending", pocock)):
        assert rules[name].boundary == pytest.approx(boundaries([at, 1.0], 0.05, spend)[0], abs=1e-9)
    assert rules["fixed horizon"].boundary == pytest.approx(1.959964, abs=1e-6)
    assert {name: (rule.says, rule.because) for name, rule in rules.items()} == {
        "as registered": ("go on", None),
        "fixed horizon": ("go on", "it looks once, at the end"),
        "O'Brien-Fleming spending": ("go on", None),
        "Pocock spending": ("stop: better", None),
        "always valid (mixture)": ("go on", None),
    }
    assert analysis.verdict.word == "keep running"
    said = "What each stopping rule would have said at this look; the registered one decides"
    assert said in analysis.summary()
    assert said in analysis.to_markdown()
    assert said in analysis.to_html()
    assert "| Pocock spending | b |" in analysis.to_markdown()
    assert [rule["says"] for rule in json.loads(json.dumps(found.to_dict()))["stopping"]].count(
        "stop: better"
    ) == 1


def test_a_plan_of_one_look_and_a_peek_have_no_rules_to_compare(tmp_path):
    """Where nobody may stop, or everything is settled at the end, nothing is said of other rules."""
    table = frame({"control": (100, 200), "b": (125, 200)})
    assert analyze(definition(tmp_path, "[1.0]"), table, closing=True).findings.stopping == ()
    peek = analyze(definition(tmp_path, "[0.9, 1.0]"), table, closing=False).findings
    assert not peek.look.due
    assert peek.stopping == ()


def test_treatments_share_the_alpha_of_every_rule(tmp_path):
    """With two treatments every rule has half of the alpha for each, so that no arm ships for being one of many."""
    path = definition(tmp_path, more=", c: {config: {x: 3}}")
    table = frame({"control": (100, 200), "b": (128, 200), "c": (70, 200)})
    rules = analyze(path, table, closing=True).findings.stopping
    assert {rule.variant for rule in rules} == {"b", "c"}
    fixed = {rule.variant: rule for rule in rules if rule.rule == "fixed horizon"}
    assert fixed["b"].boundary == pytest.approx(2.241403, abs=1e-6)
    assert (fixed["b"].says, fixed["c"].says) == ("stop: better", "stop: worse")


@pytest.mark.parametrize("treatments", [2, 3, 5])
def test_several_arms_err_no_more_often_than_one(tmp_path, treatments):
    """Were no treatment different, the chance that any of several crosses is at most alpha, by Dunnett's joint law."""
    path = definition(
        tmp_path, "[1.0]", "".join(f", c{n}: {{config: {{x: {n + 3}}}}}" for n in range(treatments - 1))
    )
    arms = ["control", "b", *(f"c{n}" for n in range(treatments - 1))]
    boundary = analyze(path, frame(dict.fromkeys(arms, (100, 200))), closing=True).findings.look.boundary
    any_of_them = dunnett_adjusted([boundary, *[0.0] * (treatments - 1)], 200, [200] * treatments)[0]
    assert 0.8 * 0.05 < any_of_them <= 0.05


def test_earlier_looks_have_spent_of_the_rule(tmp_path):
    """A second look has the boundary of that rule after a first, whatever rule the first was judged by."""
    from equipoise import load_experiment

    experiment = load_experiment(definition(tmp_path))
    look = LookState(
        due=True, final=True, number=2, of=2, fraction=1.0, at=1.0, boundary=1.9686, guard_boundary=1.9686, says=""
    )  # fmt: skip
    effect = analyze(experiment, frame({"control": (100, 200), "b": (125, 200)}), closing=True).effect(
        "solved"
    )
    rules = {
        rule.rule: rule.boundary for rule in stopping_rules(experiment, look, [PastLook(0.5, 9.0)], [effect])
    }
    assert rules["Pocock spending"] == pytest.approx(boundaries([0.5, 1.0], 0.05, pocock)[1], abs=1e-6)
    assert rules["O'Brien-Fleming spending"] == pytest.approx(
        boundaries([0.5, 1.0], 0.05, obrien_fleming)[1], abs=1e-6
    )
