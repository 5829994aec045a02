"""The dashboard in a real browser: quiet, readable on a phone and without colour, by keys, and as its policy allows."""

from __future__ import annotations

from collections.abc import Iterator
from urllib.parse import urlsplit

import pytest
from boarding import board, filled


@pytest.fixture(scope="module")
def url(tmp_path_factory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("board")
    filled(folder / "log.db").close()
    with board(folder) as (_, found):
        yield found


@pytest.mark.parametrize(("scheme", "width"), [("light", 360), ("dark", 1200)])
def test_the_way_from_the_list_to_the_report_and_back_is_quiet_and_fits(browser, url, scheme, width):
    """By its links; nothing on the console, nobody else asked, nothing sticks out, and what was an attack is text."""
    context = browser.new_context(viewport={"width": width, "height": 740}, color_scheme=scheme)
    tab = context.new_page()
    said: list[str] = []
    asked: set[str] = set()
    tab.on("console", lambda message: said.append(message.text))
    tab.on("pageerror", lambda error: said.append(str(error)))
    tab.on("request", lambda request: asked.add(urlsplit(request.url).netloc))

    def fits() -> None:
        reached, room = tab.evaluate(
            "[document.documentElement.scrollWidth, document.documentElement.clientWidth]"
        )
        assert reached <= room == width
        assert "ran" not in tab.title()
        assert tab.locator("img").count() == tab.locator("script").count() == 0

    tab.goto(url)
    fits()
    hold = tab.locator("dd.hold")
    # In a word and by a mark of its own, and not by its colour alone.
    assert (hold.inner_text(), hold.locator("svg").count()) == ("hold", 1)
    tab.get_by_role("link", name="looked", exact=True).click()
    tab.get_by_role("heading", name="looked").wait_for()
    fits()
    assert tab.get_by_text("<img src=x onerror=alert(1)>", exact=False).first.is_visible()
    tab.get_by_role("link", name="Its report").click()
    tab.get_by_role("heading", name="What it shows").wait_for()
    fits()
    # The report looks as its style sheet says, which its policy lets through by its digest and by nothing else.
    assert tab.evaluate("getComputedStyle(document.querySelector('.verdict')).borderLeftWidth") == "8px"
    tab.go_back()
    tab.get_by_role("link", name="All experiments").click()
    tab.get_by_role("link", name="between-looks").press("Enter")
    tab.get_by_role("heading", name="Watches").wait_for()
    fits()
    assert said == []
    assert asked - {""} == {urlsplit(url).netloc}
    context.close()


def test_without_a_script_or_colours_of_its_own_it_says_the_same(browser, url):
    """Forced colours, no script: stage, verdict and health are words."""
    context = browser.new_context(java_script_enabled=False, forced_colors="active")
    tab = context.new_page()
    tab.goto(url + "experiment/looked")
    text = " ".join(tab.locator("main").inner_text().split())
    for part in ("Hold The last look did not show", "✔ well", "control 500, brief 500"):
        assert part in text
    context.close()
