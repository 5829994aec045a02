"""A page of every block and chart in a real browser: it asks for nothing, complains of nothing, and fits."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import pytest
from markupsafe import Markup

from equipoise.figures.blocks import banner, figure, table
from equipoise.figures.charts import Curve, IntervalRow, curve_chart, interval_chart
from equipoise.figures.page import page, render

if TYPE_CHECKING:
    from playwright.sync_api import Browser

LONG = "A very long label about enterprise customers who came back after a hand-off "
ROWS = [
    IntervalRow("resolution_rate", 0.042, 0.011, 0.073, "good", "primary: above zero"),
    IntervalRow("safety_rate", -0.001, -0.0065, math.inf, "unsure", "not shown within 1 pp"),
    IntervalRow("error_rate <script>document.title = 'broken'</script>", 0.021, 0.012, 0.03, "bad", LONG * 3),
    IntervalRow("averyveryverylongunbrokenname" * 8, 0.005, -0.3, 0.4),
    IntervalRow("hallucination_rate", None, note="no labels yet"),
]
LOOKS = [
    Curve("boundary", ((0.25, 4.33), (0.5, 2.96), (0.75, 2.36), (1.0, 2.01))),
    Curve(LONG, ((0.25, -4.33), (0.5, -2.96), (0.75, -2.36), (1.0, -2.01))),
    Curve("observed", ((0.25, 1.2), (0.5, 2.1))),
]


def document() -> str:
    blocks: list[Markup] = [render("<h1>{{ title }}</h1><p>{{ 0.042|points }}</p>", title=LONG)]
    blocks += [banner(word, LONG) for word in ("ship", "hold", "roll back", "keep running", "invalid")]
    blocks += [banner(word, LONG, kind="gate") for word in ("pass", "fail", "inconclusive", "invalid")]
    effects = [
        interval_chart(ROWS, title=LONG, axis="treatment − control", points=True, narrow=narrow)
        for narrow in (False, True)
    ]
    looks = [
        curve_chart(LOOKS, title=LONG, x="information", y="z", percent_x=True, reference_y=0, narrow=narrow)
        for narrow in (False, True)
    ]
    blocks += [figure(effects[0], LONG, narrow=effects[1]), figure(looks[0], LONG, narrow=looks[1])]
    blocks += [figure(effects[0], "without a narrow twin"), figure(looks[0], "the same chart a second time")]
    blocks.append(table([f"column {n}" for n in range(12)], [[LONG, *range(11)], ["x" * 300, *[None] * 11]]))
    blocks.append(Markup("<pre>{}</pre><dl><dt>digest</dt><dd>{}</dd></dl>").format(LONG * 3, "4f1c" * 40))
    return page("All blocks", Markup("\n").join(blocks), foot="4f1c" * 60)


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> str:
    path: Path = tmp_path_factory.mktemp("page") / "page.html"
    path.write_text(document(), encoding="utf-8")
    return path.as_uri()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [360, 1200])
@pytest.mark.parametrize("script", [True, False], ids=["script", "no-script"])
def test_the_page_opens_quietly_and_fits(
    browser: Browser, address: str, width: int, scheme: Literal["light", "dark"], script: bool
) -> None:
    context = browser.new_context(
        viewport={"width": width, "height": 800}, color_scheme=scheme, java_script_enabled=script
    )
    try:
        tab = context.new_page()
        asked: list[str] = []
        said: list[str] = []
        tab.on("request", lambda request: asked.append(request.url))
        tab.on("console", lambda message: said.append(message.text))
        tab.on("pageerror", lambda error: said.append(str(error)))
        tab.goto(address)
        tab.wait_for_load_state("load")

        assert [url for url in asked if url != "data:,"] == [address]
        assert said == []
        assert tab.title() == "All blocks"
        extent = "[document.documentElement.scrollWidth, document.documentElement.clientWidth]"
        reached, room = tab.evaluate(extent)
        assert reached <= room == width

        seen = [figure.locator("svg:visible").count() for figure in tab.locator("figure").all()]
        assert seen == [1, 1, 1, 1]
        for chart in tab.locator("figure svg:visible").all():
            box = chart.bounding_box()
            assert box is not None
            assert box["width"] > 0.75 * min(width, 736)
            assert box["height"] > 100
            assert box["x"] >= 0
            assert box["x"] + box["width"] <= width
            card = chart.evaluate("svg => getComputedStyle(svg.parentElement).backgroundColor")
            assert card == "rgb(255, 255, 255)"
        assert tab.get_by_role("img", name=LONG.strip()).count() == 4
        assert tab.locator(".scroll").evaluate("box => box.scrollWidth > box.clientWidth")
        ground = tab.evaluate("getComputedStyle(document.body).backgroundColor")
        assert ground == ("rgb(251, 250, 248)" if scheme == "light" else "rgb(20, 24, 29)")
    finally:
        context.close()


def test_words_in_charts_stay_inside_them(browser: Browser, address: str) -> None:
    for width in (360, 1200):
        context = browser.new_context(viewport={"width": width, "height": 800})
        tab = context.new_page()
        tab.goto(address)
        beyond = tab.evaluate(
            """() => [...document.querySelectorAll('figure svg text')].filter(text => {
                const chart = text.ownerSVGElement.getBoundingClientRect(), box = text.getBoundingClientRect();
                return box.left < chart.left || box.right > chart.right + 1 || box.bottom > chart.bottom;
            }).map(text => text.textContent)"""
        )
        context.close()
        assert beyond == []


def test_nothing_on_the_page_runs_even_if_it_is_put_there(browser: Browser, tmp_path: Path) -> None:
    path = tmp_path / "page.html"
    intruder = Markup("<script>document.title = 'ran'</script><img src='x.png' onerror='document.title = 1'>")
    path.write_text(page("Quiet", intruder), encoding="utf-8")
    context = browser.new_context()
    tab = context.new_page()
    refused: list[str] = []
    tab.on("console", lambda message: refused.append(message.text))
    tab.goto(path.as_uri())
    assert tab.title() == "Quiet"
    assert any("Content Security Policy" in text for text in refused)
    context.close()


def test_the_page_can_be_printed(browser: Browser, address: str) -> None:
    context = browser.new_context(color_scheme="dark")
    tab = context.new_page()
    tab.goto(address)
    tab.emulate_media(media="print")
    assert tab.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert tab.evaluate("getComputedStyle(document.body).color") == "rgb(0, 0, 0)"
    assert tab.pdf(format="A4").startswith(b"%PDF")
    context.close()
