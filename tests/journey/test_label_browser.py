"""Labelling in a real browser: by keys, mouse and finger, reloaded, taken back, by two people, with the server killed."""

from __future__ import annotations

import json
import signal
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import forked
import pytest
from labelling import LONG, SAYS, a_run, experiment, kept, page, serve_turns, written
from processes import QUIET

from equipoise.conduct.labelling.audit_set import week_of
from equipoise.conduct.register import register
from equipoise.events.labels import standing
from equipoise.events.opening import open_log, open_texts
from equipoise.experiment.definition import Experiment

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page


class Rater:
    """A person before a browser of their own, who notices whatever the page says on the quiet."""

    def __init__(self, browser: Browser, url: str, name: str | None, **more) -> None:
        self.context = browser.new_context(**{"viewport": {"width": 1200, "height": 800}} | more)
        self.said: list[str] = []
        self.asked: set[str] = set()
        self.at = urlsplit(url).netloc
        self.tab = self.open(url)
        if name is not None:
            self.tab.get_by_label("Your name").fill(name)
            self.tab.get_by_role("button", name="Begin").click()
            self.tab.locator("#answer").wait_for()

    def open(self, url: str) -> Page:
        tab = self.context.new_page()
        tab.on("console", lambda message: self.said.append(message.text))
        tab.on("pageerror", lambda error: self.said.append(str(error)))
        tab.on("dialog", lambda dialog: self.said.append(dialog.message))
        tab.on("request", lambda request: self.asked.add(urlsplit(request.url).netloc))
        tab.goto(url)
        return tab

    def press(self, key: str, then: str, tab: Page | None = None, *, stays: bool = False) -> None:
        """A key, and what the next page says (or this one, where it `stays`)."""
        tab = tab or self.tab
        # Keys are heard once the script has run.
        tab.locator("html[data-keys]").wait_for()
        tab.evaluate("() => { document.documentElement.dataset.old = 'yes'; }")
        tab.keyboard.press(key)
        if not stays:
            tab.locator("html:not([data-old])").wait_for()
        tab.get_by_text(then, exact=False).first.wait_for()

    def quiet(self) -> None:
        """Nothing was said on the console, and nobody else was asked for anything."""
        assert self.said == []
        assert self.asked - {""} == {self.at}


def words(tab: Page) -> list[str]:
    """What the two answers say, in the order shown."""
    return tab.locator(".answer .text").all_inner_texts()


def test_a_rater_labels_by_keys_and_nothing_is_lost_on_a_reload(browser, tmp_path):
    """First, second, neither, skip, back, change, take back: each is in the log before the next item is seen."""
    with page(tmp_path, *written(tmp_path)) as (_, url):
        jo = Rater(browser, url, "Jo")
        tab = jo.tab
        assert "0 answered, 12 left" in tab.locator("#progress").inner_text()
        before = words(tab)
        tab.reload()
        assert words(tab) == before
        jo.press("1", "1 answered, 11 left")
        (one,) = kept(tmp_path / "l.db")
        assert before[0].startswith(SAYS[one.first])
        assert one.value == float(one.first == one.variant)
        assert 0.0 < one.seconds < 600.0
        jo.press("2", "2 answered, 10 left")
        jo.press("0", "3 answered, 9 left")
        jo.press("s", "4 answered, 8 left")
        assert [label.value for label in kept(tmp_path / "l.db")[2:]] == [0.5, None]
        # Back to the third, which was a tie: it says so, and takes another answer in its place.
        jo.press("k", "You skipped this one.")
        jo.press("k", "You have answered this one; an answer now takes its place.")
        assert tab.locator('[aria-pressed="true"]').inner_text().startswith("Neither")
        jo.press("1", "4 answered, 8 left")
        assert kept(tmp_path / "l.db")[-1].replaces == kept(tmp_path / "l.db")[2].event_id
        jo.press("u", "Taken back. Answer it again, or go on.")
        assert "3 answered, 9 left" in tab.locator("#progress").inner_text()
        jo.press("j", "3 answered, 9 left")
        assert tab.get_by_text("Help").is_visible()
        assert not tab.get_by_text("show or hide this").is_visible()
        jo.press("?", "show or hide this", stays=True)
        assert tab.get_by_text("show or hide this").is_visible()
        while tab.locator("#answer").count():
            left = int(tab.locator("#progress").inner_text().split(", ")[1].split()[0])
            jo.press("2", f", {left - 1} left" if left > 1 else "Nothing is left for you")
        assert "Jo, you have answered 12 of 12 items." in tab.locator("main").inner_text()
        assert "11 are labelled in full; others answer the rest." in tab.locator("main").inner_text()
        assert len(standing(kept(tmp_path / "l.db"))) == 12
        jo.press("u", "Taken back.")
        jo.quiet()
        jo.context.close()


def test_two_windows_of_one_rater_cannot_answer_twice(browser, tmp_path):
    """The window that knew less is told, shows the answer that stands, and can change it."""
    with page(tmp_path, *written(tmp_path)) as (_, url):
        jo = Rater(browser, url, "Jo")
        other = jo.open(url)
        assert words(jo.tab) == words(other)
        jo.press("1", "1 answered, 11 left")
        jo.press("2", "You answered this in another window meanwhile, and that answer stands.", other)
        assert len(kept(tmp_path / "l.db")) == 1
        assert other.locator('[aria-pressed="true"]').inner_text().startswith("First is better")
        jo.press("2", "1 answered, 11 left", other)
        one, two = kept(tmp_path / "l.db")
        assert two.replaces == one.event_id
        jo.quiet()
        jo.context.close()


def test_two_people_see_the_overlap_in_orders_of_their_own(browser, tmp_path):
    """Each answers every item; some stand the other way round for one of them; agreement is read out."""
    named = written(tmp_path, 8)
    with page(tmp_path, *named, "--overlap", "1") as (_, url):
        for name, key in (("Jo", "1"), ("Kim", "1")):
            rater = Rater(browser, url, name)
            for left in range(15, 0, -1):
                rater.press(key, f", {left} left")
            rater.press(key, "Nothing is left for you")
            rater.quiet()
            rater.context.close()
    said = kept(tmp_path / "l.db")
    assert len(said) == 32
    first = {(label.rater, label.item, label.variant): label.first for label in said}
    turned = sum(first["Jo", item, variant] != first["Kim", item, variant] for _, item, variant in first) // 2
    assert 2 <= turned <= 14
    done = forked.run([sys.executable, "-c", "from equipoise.cli.main import run; run()", "label", *named, "--results", "--json", "--log", "l.db"], cwd=tmp_path, env=QUIET)  # fmt: skip
    found = json.loads(done.stdout)
    assert (found["items"], found["overlapping"]) == (16, 16)
    assert [(each["rater"], each["answered"]) for each in found["raters"]] == [("Jo", 16), ("Kim", 16)]
    # Whoever always takes the first leans as far as one can.
    assert (
        found["lean"]["not_estimable"] == "the scores are constant in both orders"
        or found["lean"]["value"] == 0.5
    )
    assert found["agreement"][0]["kappa"][0]["raters"] == ["Jo", "Kim"]


def test_a_server_that_was_killed_in_the_middle_costs_nothing(browser, tmp_path):
    """The page says that nothing was kept; the server comes back; the rater answers again and goes on."""
    named = written(tmp_path)
    with page(tmp_path, *named) as (process, url):
        jo = Rater(browser, url, "Jo")
        jo.press("1", "1 answered, 11 left")
        shown = words(jo.tab)
        process.send_signal(signal.SIGKILL)
        process.wait()
    jo.press("2", "Nothing was kept: the server does not answer. Answer again once it is back.", stays=True)
    assert len(kept(tmp_path / "l.db")) == 1
    with page(tmp_path, *named, port=urlsplit(url).port):
        jo.press(
            "2",
            "The server was started anew since this page was shown, and nothing was kept. Answer once more.",
        )
        assert words(jo.tab) == shown
        assert len(kept(tmp_path / "l.db")) == 1
        jo.press("2", "2 answered, 10 left")
        assert len(kept(tmp_path / "l.db")) == 2
        jo.context.close()


def test_grades_are_given_by_keys(browser, tmp_path):
    """A digit for each axis in turn, one changed, Enter to save; all axes are kept together."""
    with page(tmp_path, *written(tmp_path), "--ask", "grades", "--rater", "Jo") as (_, url):
        jo = Rater(browser, url, None)
        jo.tab.locator("html[data-keys]").wait_for()
        jo.tab.keyboard.press("Enter")
        assert "0 answered, 18 left" in jo.tab.locator("#progress").inner_text()
        jo.tab.keyboard.press("4")
        jo.tab.keyboard.press("9")
        jo.tab.keyboard.press("2")
        jo.press("Enter", "1 answered, 17 left")
        clarity, policy = kept(tmp_path / "l.db")
        assert [(clarity.name, clarity.value), (policy.name, policy.value)] == [
            ("clarity", 4.0),
            ("policy", 2.0),
        ]
        jo.press("k", "You have answered this one")
        assert jo.tab.locator("input:checked").evaluate_all("all => all.map(each => each.value)") == [
            "4",
            "2",
        ]
        jo.tab.get_by_label("5").last.check(force=True)
        jo.press("Enter", "1 answered, 17 left")
        assert [label.value for label in standing(kept(tmp_path / "l.db"))] == [4.0, 5.0]
        jo.quiet()
        jo.context.close()


def test_it_works_without_a_script_and_by_finger_on_a_phone(browser, tmp_path):
    """Plain forms: named, answered, skipped, taken back; nothing sticks out at 360 px."""
    with page(tmp_path, *written(tmp_path)) as (_, url):
        jo = Rater(browser, url, "Jo", java_script_enabled=False, viewport={"width": 360, "height": 740}, has_touch=True, is_mobile=True)  # fmt: skip
        jo.tab.get_by_role("button", name="Second is better").tap()
        jo.tab.get_by_text("1 answered, 11 left").wait_for()
        jo.tab.get_by_role("button", name="Skip").tap()
        jo.tab.get_by_text("2 answered, 10 left").wait_for()
        jo.tab.get_by_role("button", name="Take back").tap()
        jo.tab.get_by_text("Taken back. Answer it again, or go on.").wait_for()
        one, skipped, back = kept(tmp_path / "l.db")
        assert (one.seconds, skipped.value, back.replaces) == (None, None, skipped.event_id)
        jo.quiet()
        jo.context.close()


@pytest.mark.parametrize("ask", ["preference", "grades", "thumbs"])
@pytest.mark.parametrize(("scheme", "width"), [("light", 360), ("dark", 1200)])
def test_hostile_texts_stay_within_the_page(browser, tmp_path, ask, scheme, width):
    """Markup is read and not run, unbroken and right-to-left texts stay in their box, and what is chosen stays in sight."""
    named = written(tmp_path)
    evil = (
        "<script>document.title='ran'</script><img src=x onerror=alert(1)>\n"
        + "unbroken" * 300
        + "\n\u200fשלום\u202e"
        + "\nline" * 80
    )
    a_run(tmp_path, 3, answers={"control": evil, "brief": evil + "!", LONG: ""})
    with page(tmp_path, *named, "--ask", ask, "--rater", "Jo") as (_, url):
        jo = Rater(browser, url, None, color_scheme=scheme, viewport={"width": width, "height": 740})
        for _ in range(4):
            assert "ran" not in jo.tab.title()
            assert jo.tab.locator("img").count() == 0
            reached, room = jo.tab.evaluate(
                "[document.documentElement.scrollWidth, document.documentElement.clientWidth]"
            )
            assert reached <= room == width
            if ask != "grades":
                # However long the answers are, the buttons are there.
                assert jo.tab.locator(".choices button").first.evaluate(
                    "each => each.getBoundingClientRect().bottom <= innerHeight"
                )
            left = int(jo.tab.locator("#progress").inner_text().split(", ")[1].split()[0])
            jo.press("s", f", {left - 1} left")
        jo.quiet()
        jo.context.close()


def served(folder: Path, **more) -> tuple[str, Experiment]:
    """A registered experiment without any traffic yet."""
    log = open_log(folder / "l.db")
    found = experiment(**more)
    register(log, found, by="test", reason="a test")
    open_texts(folder / "l.db").close()
    log.close()
    return str(folder / "l.db"), found


@pytest.mark.parametrize(("scheme", "width"), [("light", 360), ("dark", 1200)])
def test_how_far_the_audit_set_of_a_week_is_stands_in_the_bar(browser, tmp_path, scheme, width):
    """Of days of two weeks ago: what is left of them, by all raters together; nothing sticks out."""
    place, found = served(
        tmp_path,
        online_judge={"sample": 0.5, "audit": {"labels_per_week": 14}},
        capture={"text": "sampled"},
    )
    monday = (week_of(time.time()) - 2) * 7 * 86_400.0 - 3 * 86_400.0
    for day in (0, 1):
        serve_turns(place, found, range(day * 10, day * 10 + 10), monday + day * 86_400.0)
    with page(tmp_path, "support-bot", "--ask", "thumbs", "--rater", "Jo", log=place) as (_, url):
        jo = Rater(browser, url, None, color_scheme=scheme, viewport={"width": width, "height": 740})
        told = "0 of 14 this week, 0 drawn so far; {} left of earlier weeks"
        assert jo.tab.locator("#week").inner_text() == told.format(4)
        reached, room = jo.tab.evaluate(
            "[document.documentElement.scrollWidth, document.documentElement.clientWidth]"
        )
        assert reached <= room == width
        jo.press("1", told.format(3))
        jo.press("0", told.format(2))
        jo.press("s", "3 answered, 1 left")
        # Whoever skips leaves it to others.
        assert jo.tab.locator("#week").inner_text() == told.format(2)
        jo.press("1", "Nothing is left for you")
        assert jo.tab.locator("#week").inner_text() == told.format(1)
        jo.quiet()
        jo.context.close()
    assert {label.probability for label in kept(place)} == {0.1}


def test_what_is_served_while_the_page_is_open_joins_at_its_next_item(browser, tmp_path):
    """It waits with nothing to label; turns come, and more while one is shown, which stays as it was."""
    place, found = served(tmp_path)
    with page(tmp_path, "support-bot", "--ask", "thumbs", "--rater", "Jo", log=place) as (_, url):
        jo = Rater(browser, url, None)
        assert jo.tab.get_by_role("heading", name="Nothing to label yet").is_visible()
        serve_turns(place, found, range(2), time.time())
        jo.press("j", "0 answered, 2 left")
        before = words(jo.tab)
        serve_turns(place, found, range(2, 6), time.time())
        assert words(jo.tab) == before
        jo.press("1", "1 answered, 5 left")
        jo.press("k", "You have answered this one")
        assert words(jo.tab) == before
        jo.quiet()
        jo.context.close()
