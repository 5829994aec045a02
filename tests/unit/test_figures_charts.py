"""Charts: the same input gives the same bytes, and no label can become more than words."""

from __future__ import annotations

import math
import os
import subprocess
import sys
import xml.etree.ElementTree as ET

import pytest

from equipoise.figures.charts import Curve, IntervalRow, curve_chart, interval_chart

SVG = "{http://www.w3.org/2000/svg}"
HOSTILE = [
    "<script>alert(1)</script>",
    "\"quotes\" & 'apostrophes' &amp; <b>",
    "]]><![CDATA[ <image href='x'/>",
    "</text></svg><iframe onload=alert(1)>",
    "datum.x + event('click')",
    "nul \x00, escape \x1b, surrogate \ud800, turned \u202eright",
    "two\nlines\tand a tab",
    "a label that goes on and on " * 40,
    "w" * 3000,
    "顧客満足度 · naïve · نتيجة · 🙂",
    "",
]


def rows(labels: list[str]) -> list[IntervalRow]:
    return [IntervalRow(label, 0.01, -0.02, 0.04, note=label) for label in labels]


def curves(labels: list[str]) -> list[Curve]:
    return [Curve(label, ((1, 0.2), (2, 0.4 + n / 40))) for n, label in enumerate(labels)]


def both(label: str, *, narrow: bool) -> list[str]:
    return [
        interval_chart(rows([label]), title=label, axis=label, narrow=narrow),
        curve_chart(curves([label]), title=label, x=label, y=label, narrow=narrow),
    ]


@pytest.mark.parametrize("narrow", [False, True])
@pytest.mark.parametrize("label", HOSTILE)
def test_a_hostile_label_stays_words(label: str, narrow: bool) -> None:
    allowed = {"svg", "title", "desc", "g", "path", "line", "text", "rect", "tspan"}
    for svg in both(label, narrow=narrow):
        picture = ET.fromstring(svg)
        assert {element.tag.removeprefix(SVG) for element in picture.iter()} <= allowed
        for element in picture.iter():
            assert not any(name.startswith(("on", "id", "href", "class")) for name in element.attrib)
        assert "<script" not in svg
        assert svg.encode("utf-8")


def test_a_label_is_read_back_as_it_was_given() -> None:
    label = "<b> & \"c\" 'd'"
    picture = ET.fromstring(interval_chart(rows([label]), title=label, axis="x"))
    assert label in [text.text for text in picture.iter(f"{SVG}text")]
    assert picture.attrib["aria-label"] == label
    assert picture.attrib["role"] == "img"
    title, description = picture.find(f"{SVG}title"), picture.find(f"{SVG}desc")
    assert title is not None
    assert title.text == label
    assert description is not None
    assert label in (description.text or "")


def test_a_long_label_is_cut_in_the_picture_and_whole_in_the_description() -> None:
    label = "returning enterprise customers " * 8
    picture = ET.fromstring(interval_chart(rows([label]), title="t", axis="x"))
    texts = [text.text or "" for text in picture.iter(f"{SVG}text")]
    assert any(text.endswith("…") for text in texts)
    assert max(map(len, texts)) < 60
    description = picture.find(f"{SVG}desc")
    assert description is not None
    assert label.strip() in (description.text or "")


def test_the_same_input_gives_the_same_bytes_here_and_in_another_process() -> None:
    code = (
        "import sys\n"
        "from equipoise.figures.charts import *\n"
        "rows = [IntervalRow('a', 1, 0, 2, 'good'), IntervalRow('b', 2, float('-inf'), 9, 'unsure')]\n"
        "curves = [Curve('c', ((0, 1), (1, 2))), Curve('d', ((0, 2), (1, 2.5)))]\n"
        "out = interval_chart(rows, title='t', axis='x') + curve_chart(curves, title='t', x='x', y='y')\n"
    )
    here: dict[str, str] = {}
    exec(code, here)
    first = here["out"]
    exec(code, here)
    assert here["out"] == first
    command = [sys.executable, "-c", code + "sys.stdout.buffer.write(out.encode())"]
    for seed in ("1", "2"):
        ran = subprocess.run(
            command, capture_output=True, check=True, env=os.environ | {"PYTHONHASHSEED": seed}
        )
        assert ran.stdout.decode() == first


def test_charts_scale_with_their_box_and_may_stand_side_by_side() -> None:
    for svg in both("label", narrow=False) + both("label", narrow=True):
        root = svg[: svg.index(">")]
        assert 'viewBox="0 0 ' in root
        assert 'width="100%"' in root
        assert "height" not in root
        assert " id=" not in svg
        assert "url(#" not in svg
        assert svg.count("http") == 1
        assert 'xmlns="http://www.w3.org/2000/svg"' in root


def test_every_tone_has_a_shape_of_its_own() -> None:
    shapes = set()
    for tone in ("good", "bad", "unsure", "plain"):
        svg = interval_chart([IntervalRow("a", 1.0, 0.0, 2.0, tone)], title="t", axis="x")
        paths = list(ET.fromstring(svg).iter(f"{SVG}path"))
        hollow = {path.attrib["fill"] == "#ffffff" for path in paths}
        shapes.add((paths[0].attrib["d"], *hollow))
    assert len(shapes) == 4


def test_the_value_and_its_interval_stand_beside_the_row() -> None:
    row = IntervalRow("resolution", 0.042, 0.011, math.inf)
    for narrow in (False, True):
        said = interval_chart([row], title="t", axis="x", points=True, narrow=narrow)
        assert "+4.2 pp" in said
        assert "[+1.1 to +∞]" in said
    assert "+4.2%" in interval_chart([row], title="t", axis="x", percent=True)
    unsigned = interval_chart([IntervalRow("wins", 0.62, 0.55, 0.69)], title="t", axis="x", reference=0.5)
    assert ">0.620<" in unsigned
    assert "[0.550 to 0.690]" in unsigned


def test_an_interval_that_goes_on_ends_in_an_arrow() -> None:
    closed = interval_chart([IntervalRow("a", 1.0, 0.0, 2.0)], title="t", axis="x")
    one_sided = interval_chart([IntervalRow("a", 1.0, 0.0, math.inf)], title="t", axis="x")
    neither = interval_chart([IntervalRow("a", 1.0)], title="t", axis="x")
    assert [svg.count("<path") for svg in (closed, one_sided, neither)] == [1, 2, 3]


def test_one_enormous_interval_does_not_flatten_the_others() -> None:
    calm = [IntervalRow(f"s{n}", 0.01 * n, 0.01 * n - 0.02, 0.01 * n + 0.02) for n in range(4)]
    svg = interval_chart([*calm, IntervalRow("tiny", 0.0, -50.0, 50.0)], title="t", axis="x")
    assert svg.count("<path") == 5 + 2
    assert "[−50.000 to +50.000]" in svg


@pytest.mark.parametrize(
    "numbers",
    [[], [0.0], [5.0], [-1e-9, 1e-9], [1e12, 3e12], [-3.0, -2.0], [1e-300, 0.0]],
    ids=str,
)
def test_any_finite_numbers_can_be_drawn(numbers: list[float]) -> None:
    for narrow in (False, True):
        for svg in (
            interval_chart([IntervalRow("a", n, n, n) for n in numbers], title="t", axis="x", narrow=narrow),
            curve_chart([Curve("a", tuple((n, n) for n in numbers))], title="t", x="x", y="y", narrow=narrow),
            curve_chart([], title="t", x="x", y="y", percent_x=True, percent_y=True, reference_y=0.8),
        ):
            ET.fromstring(svg)
            assert "NaN" not in svg
            assert "Infinity" not in svg
            assert "nan" not in svg


def test_a_row_without_an_estimate_says_so() -> None:
    row = IntervalRow("judge", None, note="no labels yet")
    svg = interval_chart([row, IntervalRow("other", 1.0, 0.5, 1.5)], title="t", axis="x")
    assert ">–<" in svg
    assert "no labels yet" in svg
    assert "judge: no estimate (no labels yet)" in svg


def test_a_place_that_is_asked_for_is_on_the_axis() -> None:
    """Of a margin nobody can estimate the picture still has both the margin and no change."""
    bare = [IntervalRow("reports", None, note="there is no spread")]
    ticks = {"title": "Guardrails", "axis": "in margins", "reference": -1.0}
    asked, not_asked = interval_chart(bare, within=0.0, **ticks), interval_chart(bare, **ticks)
    assert ">0.00<" in asked
    assert ">−1.00<" in asked
    assert ">0.00<" not in not_asked


def test_infinite_points_of_a_boundary_are_left_out_of_the_line() -> None:
    boundary = Curve("boundary", ((0.25, math.inf), (0.5, 3.0), (1.0, 2.0)))
    svg = curve_chart([boundary], title="t", x="information", y="z", percent_x=True)
    assert "Infinity" not in svg
    assert "∞ at 25%" in svg


def test_what_cannot_be_drawn_is_refused() -> None:
    with pytest.raises(ValueError, match="tone is one of"):
        IntervalRow("a", 1.0, tone="green")  # type: ignore[arg-type]
    for value, low, high in (
        (math.nan, 0.0, 1.0),
        (math.inf, 0.0, 1.0),
        (1.0, math.nan, 2.0),
        (1.0, 2.0, 0.0),
    ):
        with pytest.raises(ValueError, match="finite value"):
            IntervalRow("a", value, low, high)
    with pytest.raises(ValueError, match="not a number"):
        Curve("a", ((0.0, math.nan),))
