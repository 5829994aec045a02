"""The report in a real browser: it asks for nothing, complains of nothing, fits a telephone, and says its verdict."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from equipoise import load_experiment
from equipoise.arena.report import html_report
from equipoise.clock import ManualClock
from equipoise.conduct.look import look
from equipoise.conduct.register import register
from equipoise.events.facts import Exposure, Outcome, Turn
from equipoise.events.log import MemoryLog
from equipoise.files import write_whole

EVIL = "<img src=x onerror=alert(1)> & <script>document.title='ran'</script> ümlaut 漢字"
TEXT = f"""
name: the-report-with-a-name-that-goes-on-and-on-and-on-until-it-hardly-fits-anywhere
hypothesis: '{EVIL.replace("'", "''")}'
unit: {{type: user}}
variants: {{control: {{}}, b: {{}}, another-treatment-with-a-long-name: {{}}}}
allocation: {{control: 1/3, b: 1/3, another-treatment-with-a-long-name: 1/3}}
segments: [tier]
critical_segments: [{{where: 'tier=<b>gold</b> "é"', metric: won, margin: 3pp}}]
metrics:
  won: {{priority: primary, kind: proportion, of: outcome.won, better: higher, baseline: 0.5, mde: 0.1}}
  stars: {{priority: secondary, kind: mean, of: outcome.stars, better: higher}}
  unseen: {{priority: exploratory, kind: mean, of: outcome.unseen, better: higher}}
  slow: {{priority: guardrail, kind: quantile, q: 0.9, of: turn.latency_s, better: lower, margin: 0.5}}
  cost: {{priority: guardrail, kind: ratio, of: turn.cost_usd, per: outcome.won, better: lower, margin: 10%}}
plan: {{looks: [0.25, 0.5, 1.0]}}
"""


def pages(folder: Path) -> dict[str, str]:
    """A report for each kind of verdict, all from one log as it fills."""
    path = folder / "e.yaml"
    path.write_text(TEXT, encoding="utf-8")
    experiment = load_experiment(path)
    arms = [variant.name for variant in experiment.variants]

    def filled(units: int, *, lift: float = 0.0, slow: float = 0.0, among: list[str] = arms) -> MemoryLog:
        rng = random.Random(2)
        log = MemoryLog(ManualClock(0.0))
        register(log, experiment, by="test", clock=ManualClock(0.0))
        facts = []
        for number in range(units):
            arm = among[number % len(among)]
            treated = arm != "control"
            common = {"experiment": experiment.name, "happened": float(number), "unit": f"u{number}"}
            facts += [
                Exposure(
                    **common,
                    digest=experiment.digest,
                    unit_type="user",
                    variant=arm,
                    probability=1 / 3,
                    reason="split",
                    attributes={"tier": rng.choice(['<b>gold</b> "é"', "plain"])},
                ),
                Turn(
                    **common,
                    latency_s=rng.lognormvariate(0, 0.3) + slow * treated,
                    cost_usd=rng.random() / 100,
                ),
                Outcome(**common, name="won", value=rng.random() < 0.5 + lift * treated),
                Outcome(**common, name="stars", value=rng.randrange(1, 6)),
            ]
        log.append(facts)
        return log

    made = {
        "keep running": look(filled(90), experiment.name),
        "ship": look(filled(6000, lift=0.2), experiment.name),
        "hold": look(filled(6000), experiment.name),
        "roll back": look(filled(6000, lift=0.2, slow=3.0), experiment.name),
        "invalid": look(filled(600, among=arms[:2]), experiment.name),
    }
    assert {word: analysis.verdict.word for word, analysis in made.items()} == {word: word for word in made}
    addresses = {}
    for word, analysis in made.items():
        addresses[word] = analysis.save(folder / f"{word}.html").as_uri()
    return addresses


@pytest.fixture(scope="module")
def addresses(tmp_path_factory) -> dict[str, str]:
    return pages(tmp_path_factory.mktemp("reports"))


@pytest.mark.parametrize("script", [True, False], ids=["script", "no-script"])
@pytest.mark.parametrize("word", ["ship", "hold", "roll back", "keep running", "invalid"])
def test_the_report_opens_quietly_says_its_verdict_and_fits(browser, addresses, word, script):
    """No request leaves the page, the console is silent, the word is there to see, and nothing sticks out at 360 px."""
    context = browser.new_context(viewport={"width": 360, "height": 740}, java_script_enabled=script)
    try:
        tab = context.new_page()
        asked: list[str] = []
        said: list[str] = []
        tab.on("request", lambda request: asked.append(request.url))
        tab.on("console", lambda message: said.append(message.text))
        tab.on("pageerror", lambda error: said.append(str(error)))
        tab.on("dialog", lambda dialog: said.append(dialog.message))
        tab.goto(addresses[word])
        tab.wait_for_load_state("load")
        assert [url for url in asked if not url.startswith("data:")] == [addresses[word]]
        assert said == []
        assert tab.title().endswith(f": {word}")
        assert tab.get_by_text(word, exact=False).first.is_visible()
        reached, room = tab.evaluate(
            "[document.documentElement.scrollWidth, document.documentElement.clientWidth]"
        )
        assert reached <= room == 360
        # What was meant as an attack is there to be read, as text.
        assert tab.get_by_text("<img src=x onerror=alert(1)>", exact=False).first.is_visible()
        assert tab.locator("img").count() == tab.locator("script").count() == 0
        charts = tab.locator("figure svg:visible").count()
        assert charts == {"ship": 5, "hold": 5, "roll back": 5, "keep running": 1, "invalid": 0}[word]
    finally:
        context.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [360, 1200])
def test_the_arena_opens_quietly_says_its_decision_and_fits(browser, hard_result, tmp_path, width, scheme):
    """Hostile, right-to-left and unbroken texts stay within the page, whole and folded open; nothing is asked for."""
    address = write_whole(tmp_path / "arena.html", html_report(hard_result)).as_uri()
    context = browser.new_context(viewport={"width": width, "height": 740}, color_scheme=scheme)
    try:
        tab = context.new_page()
        asked: list[str] = []
        said: list[str] = []
        tab.on("request", lambda request: asked.append(request.url))
        tab.on("console", lambda message: said.append(message.text))
        tab.on("pageerror", lambda error: said.append(str(error)))
        tab.on("dialog", lambda dialog: said.append(dialog.message))
        tab.goto(address)
        tab.wait_for_load_state("load")
        assert [url for url in asked if not url.startswith("data:")] == [address]
        assert said == []
        assert tab.title() == "Prompt Arena: support-bot"
        assert tab.locator(".gate .word").inner_text() == "Fail"
        assert tab.locator("img, script, iframe, a").count() == 0
        assert tab.locator("figure svg:visible").count() == 2
        folded = tab.locator("details:not([open]) > summary")
        for _ in range(folded.count()):
            folded.first.click()
        assert tab.locator("details:not([open])").count() == 0
        assert tab.locator("pre:visible").count() == 2 * tab.locator("details").count()
        reached, room = tab.evaluate(
            "[document.documentElement.scrollWidth, document.documentElement.clientWidth]"
        )
        assert reached <= room == width
        inner, outer = tab.evaluate(
            "[Math.max(...[...document.querySelectorAll('pre, summary, li, .why')].map(e => e.scrollWidth - e.clientWidth)),"
            " 1]"
        )
        assert inner <= outer
    finally:
        context.close()
