"""The page: whole, self-contained, and closed to whatever a value may hold."""

from __future__ import annotations

import math
import re

import jinja2
import pytest
from markupsafe import Markup

from equipoise.figures.blocks import banner, figure, table
from equipoise.figures.charts import Curve, IntervalRow, curve_chart, interval_chart
from equipoise.figures.page import page, render

HOSTILE = "<script>alert(1)</script> & \"'><img src=x onerror=alert(1)>"
VERDICTS = ["ship", "hold", "roll back", "keep running", "invalid"]
GATES = ["pass", "fail", "inconclusive", "invalid"]


def full_page() -> str:
    chart = interval_chart([IntervalRow(HOSTILE, 0.1, 0.0, 0.2, "good")], title=HOSTILE, axis=HOSTILE)
    curve = curve_chart([Curve(HOSTILE, ((1, 2), (2, 3)))], title=HOSTILE, x=HOSTILE, y=HOSTILE)
    body = Markup("").join(
        [
            render("<h1>{{ title }}</h1>", title=HOSTILE),
            banner("ship", HOSTILE),
            table([HOSTILE, "n"], [[HOSTILE, 1], [None, 2.5]], caption=HOSTILE),
            figure(chart, HOSTILE, narrow=chart),
            figure(curve, HOSTILE),
        ]
    )
    return page(HOSTILE, body, foot=HOSTILE)


def test_the_page_reaches_for_nothing() -> None:
    document = full_page()
    policy = re.search(r'http-equiv="Content-Security-Policy" content="([^"]*)"', document)
    assert policy is not None
    assert set(policy[1].split("; ")) == {
        "default-src 'none'",
        "style-src 'unsafe-inline'",
        "img-src data:",
        "base-uri 'none'",
        "form-action 'none'",
    }
    assert document.index(policy[0]) < document.index("<style>")
    assert '<meta name="referrer" content="no-referrer">' in document
    bare = document.replace('xmlns="http://www.w3.org/2000/svg"', "")
    assert "http://" not in bare
    assert "https://" not in bare
    assert "@import" not in bare
    assert "url(" not in bare
    assert "@font-face" not in bare


def test_hostile_words_stay_words() -> None:
    document = full_page()
    assert "<script" not in document
    assert "<img" not in document
    assert document.count("<title>&lt;script&gt;") == 1 + 3  # the page's own, and one for each chart
    assert document.count("</style>") == 1
    assert document.endswith("</html>\n")
    assert full_page() == document


def test_a_body_that_is_not_markup_is_escaped() -> None:
    document = page("t", "<b>bold</b>")  # type: ignore[arg-type]
    assert "&lt;b&gt;bold" in document
    assert "<footer>" not in document


def test_braces_in_a_body_are_left_alone() -> None:
    assert "{title} {0}" in page("t", Markup("<p>{title} {0}</p>"))


@pytest.mark.parametrize("kind,words", [("verdict", VERDICTS), ("gate", GATES)])
def test_each_word_has_a_banner_with_a_mark(kind: str, words: list[str]) -> None:
    style = page("t", Markup(""))
    marks = set()
    for word in words:
        block = banner(word, "Because.", kind=kind)  # type: ignore[arg-type]
        name = word.replace(" ", "-")
        assert f'class="{kind} {name}"' in block
        assert f".{kind}.{name}" in style
        assert f'<p class="word">{word.capitalize()}</p>' in block
        marks.add(re.findall(r' d="([^"]+)"', block)[0])
    assert len(marks) == len(words)


def test_a_word_that_is_no_verdict_is_refused() -> None:
    for word, kind in (("promote", None), ("ship", "gate"), ("pass", "verdict"), ("", None)):
        with pytest.raises(ValueError, match="accepted: verdict: ship, hold"):
            banner(word, "Because.", kind=kind)  # type: ignore[arg-type]
    assert 'class="verdict invalid"' in banner("invalid", "Because.")


def test_a_template_knows_numbers_and_blocks() -> None:
    template = (
        "{{ a|percent }} {{ a|percent(0) }} {{ b|points }} {{ c|number }} {{ p|p_value }}"
        "{{ banner('hold', s) }}{{ table(['x'], [[s]]) }}"
    )
    said = render(template, a=0.1234, b=-0.004, c=12345, p=0.0019, s="<i>")
    assert said.startswith("12.3% 12% −0.40 pp 12,345 p = 0.0019<section")
    assert "<i>" not in said
    assert said.count("&lt;i&gt;") == 2


def test_what_is_absent_is_a_dash_and_what_is_misspelt_an_error() -> None:
    for name in ("percent", "points", "number", "p_value"):
        for template in ("{{ x|%s }}", "{{ o.y|%s }}"):
            assert render(template % name, o={}, **({} if ".y" in template else {"x": None})) == "–"
        assert render(f"{{{{ x|{name} }}}}") == "–"
        assert render(f"{{{{ x|{name} }}}}", x=math.nan) == "–"
        with pytest.raises((ValueError, TypeError)):
            render(f"{{{{ x|{name} }}}}", x="many")
    assert render("{{ x }}", x=None) == "–"
    with pytest.raises(jinja2.UndefinedError, match="'y' is undefined"):
        render("{{ y }}")
    with pytest.raises(ValueError, match="between 0 and 1"):
        render("{{ 1.5|p_value }}")


def test_columns_of_numbers_are_set_to_the_right() -> None:
    rows: list[list[object]] = [
        ["a", 1, "+0.42 pp", "1.1 to 7.3", "p < 0.0001", "1.2 × 10⁻⁷", "held", "3 arms", None, True],
        ["b", None, "–", "[−0.65, ∞]", "p = 0.19", "0.3", "–", "2 arms", None, False],
    ]
    html = table([f"h{n}" for n in range(10)], rows)
    heads = re.findall(r'<th scope="col"( class="num")?>(h\d)', html)
    assert [name for numeric, name in heads if numeric] == ["h1", "h2", "h3", "h4", "h5"]
    assert html.startswith('<div class="scroll" tabindex="0" role="region"')
    assert "<td>yes</td>" in html
    assert html.count('<th scope="row">') == 2


def test_a_table_with_a_ragged_row_is_refused() -> None:
    with pytest.raises(ValueError, match="needs 2 cells"):
        table(["a", "b"], [["only one"]])
    assert "<tbody>" in table(["a", "b"], [])


def test_a_figure_shows_only_a_chart() -> None:
    for svg, narrow in (("<p>no</p>", ""), ("<svg></svg>", "<p>no</p>")):
        with pytest.raises(ValueError, match="chart drawn as SVG"):
            figure(svg, "caption", narrow=narrow)
    assert figure("<svg></svg>", "a < b").count("a &lt; b") == 1
