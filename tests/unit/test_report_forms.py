"""The report in every form: what was declared at its foot, the effect day by day, a card, a PNG, what came after."""

from __future__ import annotations

import json
import math
import unicodedata
from dataclasses import replace
from pathlib import Path

import polars as pl
import pytest

from equipoise import analyze
from equipoise.errors import UsageError
from equipoise.experiment.reading import load_experiment
from equipoise.figures.card import card
from equipoise.stats.estimate import Estimate
from equipoise.verdict.analysis import Analysis

DAY = 86_400.0
DEFINITION = """
name: forms
hypothesis: A result is read in many places.
changes: [config]
unit: {type: user}
variants: {control: {config: {x: 1}}, b: {config: {x: 2}}}
metrics:
  solved: {priority: primary, kind: proportion, of: outcome.solved, better: higher, per_unit: any, baseline: 0.7, mde: 0.05}
  spend: {priority: guardrail, kind: mean, of: outcome.spend, better: lower, per_unit: sum, margin: 10%, window: 1d, winsorise: 0.99, baseline: 3, spread: 3}
plan: {looks: [0.5, 1.0]}
"""


def analysis(folder: Path, *, days: int = 5, clustered: bool = False, window: str = "") -> Analysis:
    """400 units an arm, as many on each day; every 2nd of control and every 5 of 8 of b are solved."""
    path = folder / "forms.yaml"
    declared = DEFINITION.replace("mde: 0.05", f"mde: 0.05{window}")
    path.write_text(declared + ("cluster: team\n" if clustered else ""), encoding="utf-8")
    rows = [
        {
            "unit": f"{arm}{n}",
            "variant": arm,
            "time": DAY * (days * n // 400) + 60.0 * (arm == "b"),
            "team": f"{arm}{n % 40}",
            "solved": n % 8 < wins,
            "spend": 3.0 + n % 3,
        }
        for arm, wins in (("control", 4), ("b", 5))
        for n in range(400)
    ]
    return analyze(load_experiment(path), pl.DataFrame(rows), closing=True)


def test_what_was_declared_stands_at_the_foot_of_every_form(tmp_path):
    """The definitions a reader holds the result against, in the file's own words."""
    found = analysis(tmp_path)
    declared = found.to_dict()["declared"]
    assert declared == {
        "solved": "primary, proportion of outcome.solved, any of a unit's values, higher is better, to detect 0.05",
        "spend": "guardrail, mean of outcome.spend, sum of a unit's values, lower is better, may get worse by 10%, "
        "within 1 day of the first exposure, winsorised at the 0.99 quantile",
        "arms": "control 1/2, b 1/2, by user",
        "plan": "alpha 0.05, power 0.8, looks at 50%, 100% of the information, spending obrien fleming, "
        "units seen in two variants count for the first",
    }
    page = found.to_html()
    assert page.index("What was declared before launch") > page.index("The evidence, sentence by sentence")
    assert "may get worse by 10%" in page


def test_the_effect_is_drawn_over_all_who_had_come_in_by_each_day(tmp_path):
    """Every day has the same units here, so the effect is the same on each and its interval narrows by the root."""
    found = analysis(tmp_path)
    so_far = found.findings.so_far
    assert [each.day for each in so_far] == [1, 2, 3, 4, 5]
    assert [each.value for each in so_far] == pytest.approx([0.125] * 5)
    widths = [each.high - each.low for each in so_far]
    assert widths[0] / widths[-1] == pytest.approx(5**0.5, rel=0.03)
    last = found.effect("solved").estimate
    assert (so_far[-1].low, so_far[-1].high) == pytest.approx((last.low, last.high))
    assert "solved day by day" in found.to_html()


def test_a_day_of_units_within_the_window_has_no_point(tmp_path):
    """Who came in on the last two of five days has no value yet; two days with one draw no line."""
    found = analysis(tmp_path, window=", window: 2d")
    assert [each.day for each in found.findings.so_far] == [1, 2, 3]
    assert found.findings.immature == 320
    assert analysis(tmp_path, window=", window: 3d").findings.so_far == ()


@pytest.mark.parametrize("more", [{"days": 2}, {"clustered": True}])
def test_too_few_days_and_clusters_draw_no_days(tmp_path, more):
    found = analysis(tmp_path, **more)
    assert found.findings.so_far == ()
    assert "day by day" not in found.to_html()


def test_a_report_takes_the_form_of_its_name(tmp_path):
    """HTML, Markdown, JSON, SVG and PNG; another ending is refused before anything is written."""
    found = analysis(tmp_path)
    starts = {"html": b"<!DOCTYPE html>", "md": b"## ", "json": b"{", "svg": b"<svg", "png": b"\x89PNG\r\n"}
    for ending, start in starts.items():
        assert found.save(tmp_path / f"r.{ending}").read_bytes().startswith(start)
    assert json.loads((tmp_path / "r.json").read_text(encoding="utf-8")) == found.to_dict()
    with pytest.raises(UsageError) as refused:
        found.save(tmp_path / "r.docx")
    assert (
        str(refused.value)
        == "a report is written as .html, .md, .json, .svg, .png, and r.docx is none of them"
    )
    assert not (tmp_path / "r.docx").exists()


def test_a_form_that_does_not_exist_is_refused_before_a_look_is_taken(tmp_path):
    """A look is spent when it is taken: a wrong name of the report is found before."""
    from typer.testing import CliRunner

    from equipoise.cli.main import app

    told = CliRunner().invoke(
        app, ["analyze", "nobody", "--report", str(tmp_path / "r.pdf"), "--log", str(tmp_path / "no.db")]
    )
    assert isinstance(told.exception, UsageError)
    assert (
        str(told.exception)
        == "a report is written as .html, .md, .json, .svg, .png, and r.pdf is none of them"
    )


def test_the_card_says_the_verdict_and_why(tmp_path):
    """The same findings give the same bytes, nothing in it asks for anything, and a hostile name stays a name."""
    found = analysis(tmp_path)
    drawn = found.to_svg()
    assert drawn == analysis(tmp_path).to_svg()
    assert found.verdict.word.capitalize() in drawn
    assert "solved: difference from control" in drawn
    assert "Guardrails: how much of the margin is used" in drawn
    assert "http" not in drawn.replace("http://www.w3.org/2000/svg", "")
    hostile = card(title="<script>&", word="hold", sentence='"]]><svg onload=x>')
    assert "<script" not in hostile
    assert "<svg onload" not in hostile


def test_a_card_says_one_of_five_words_and_holds_charts():
    with pytest.raises(
        ValueError, match="a card says one of ship, roll back, hold, keep running, invalid, not 'win'"
    ):
        card(title="t", word="win", sentence="s")
    with pytest.raises(ValueError, match="a card holds charts drawn as SVG"):
        card(title="t", word="ship", sentence="s", charts=["<p>"])


@pytest.mark.parametrize("treatments", [6, 8])
def test_many_arms_are_told_apart_day_by_day(tmp_path, treatments):
    """Each line of the chart has a symbol, colour or filling of its own, however many there are."""
    arms = ["control", *(f"arm_{n}" for n in range(treatments))]
    path = tmp_path / "many.yaml"
    path.write_text(
        f"""
name: many
hypothesis: Many arms are one too many for a pencil.
changes: [config]
unit: {{type: user}}
variants: {{{", ".join(f"{arm}: {{config: {{x: {n}}}}}" for n, arm in enumerate(arms))}}}
allocation: {{{", ".join(f"{arm}: 1/{len(arms)}" for arm in arms)}}}
metrics:
  solved: {{priority: primary, kind: proportion, of: outcome.solved, better: higher, per_unit: any, baseline: 0.7, mde: 0.05}}
""",
        encoding="utf-8",
    )
    rows = [
        {"unit": f"{arm}{n}", "variant": arm, "time": DAY * (n % 4), "solved": n % 3 < 2}
        for arm in arms
        for n in range(40)
    ]
    found = analyze(load_experiment(path), pl.DataFrame(rows), closing=True)
    assert len({each.variant for each in found.findings.so_far}) == treatments
    assert all(f"{arm} so far" in found.to_html() for arm in arms[1:])


def test_a_bound_that_is_infinite_is_a_text_in_json(tmp_path):
    """A relative change of what is near 0 has no end, and JSON has no number for that."""
    found = analysis(tmp_path)
    effects = tuple(
        replace(effect, relative=Estimate(value=0.1, standard_error=1.0, low=-math.inf, high=math.inf, level=0.95, method="m"))
        for effect in found.findings.effects
    )  # fmt: skip
    told = json.loads(
        replace(found, findings=replace(found.findings, effects=effects)).to_json(),
        parse_constant=pytest.fail,
    )
    assert (told["effects"][0]["relative"]["low"], told["effects"][0]["relative"]["high"]) == ("-Infinity", "Infinity")  # fmt: skip


def test_a_segment_cannot_steer_a_terminal_or_break_a_table(tmp_path):
    """Who sends a request chooses the value: neither escapes, nor turned text, nor lines of their own come through."""
    path = tmp_path / "hostile.yaml"
    path.write_text(DEFINITION.replace("name: forms", "name: hostile\nsegments: [device]"), encoding="utf-8")
    values = ("\x1b[2J\x1b]0;owned\x07", "\u202egnp.exe", "a|b\n| c |", "\x00\x9b31m")
    rows = [
        {"unit": f"{arm}{n}", "variant": arm, "time": 60.0 * n, "device": values[n % 4], "solved": n % 3 < 2, "spend": 3.0 + n % 3}
        for arm in ("control", "b")
        for n in range(400)
    ]  # fmt: skip
    found = analyze(load_experiment(path), pl.DataFrame(rows), closing=True)
    assert len(found.findings.segments) == 4
    for told in (found.summary(), found.to_markdown(), found.to_html()):
        assert not {char for char in told if unicodedata.category(char) in ("Cc", "Cf")} - {"\n"}
    assert sum(line.startswith("solved in device=") for line in found.summary().splitlines()) == 4
