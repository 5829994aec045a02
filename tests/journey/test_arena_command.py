"""`equipoise arena` as a person and as CI uses it: the real program, a real (simulated) endpoint, real golden cases."""

from __future__ import annotations

import csv
import json
import os
import sys
import xml.etree.ElementTree as ET
from pathlib import Path

import forked
import pytest

from equipoise.providers.simulated import SimulatedAnswer, SimulatedEndpoint

ROOT = Path(__file__).parents[2]
GOLDEN = ROOT.parent / "shared" / "data" / "support_retail"


def command(folder, *arguments, url="http://127.0.0.1:9/v1"):
    return forked.run(
        [sys.executable, "-c", "from equipoise.cli.main import run; run()", *arguments],
        cwd=folder,
        env=os.environ | {"EQUIPOISE_BASE_URL": url, "OPENAI_API_KEY": "none", "COLUMNS": "200"},
        timeout=120,
    )


def shop(body):
    """A simulated bot and judge: the one with the policy asks who the customer is, and the judge likes that."""
    material = body["messages"][-1]["content"]
    if body["model"] == "your-judge-model":
        asked = json.loads(material)
        if "answer" in asked:
            good = "confirm" in asked["answer"]
            grade = {"reason": "identity", "score": 5 if good else 2}
            return SimulatedAnswer(text=json.dumps(dict.fromkeys(asked["axes"], grade)))
        a, b = ("confirm" in asked[f"answer_{letter}"] for letter in "AB")
        winner = "tie" if a == b else "A" if a else "B"
        return SimulatedAnswer(text=json.dumps({"reason": "asks for identity", "winner": winner}))
    asks = "policy" in body["messages"][0]["content"] and len(material) % 9 != 0
    opening = "Please confirm your e-mail address first." if asks else "Sure, I do that right away."
    return SimulatedAnswer(text=f"{opening} You wrote of {len(material)} letters.")


@pytest.mark.skipif(not GOLDEN.exists(), reason="the folder ../shared is not there")
def test_the_golden_set_of_a_support_bot_from_dry_run_to_report(tmp_path):
    """Counted, run, kept, run again for nothing, and written for people, CI and spreadsheets."""
    file = str(ROOT / "examples" / "real" / "support_retail.yaml")
    planned = json.loads(command(tmp_path, "arena", file, "--dry-run", "--json").stdout)
    endpoint = SimulatedEndpoint(shop)
    with endpoint as url:
        outputs = ("--junit", "out/j.xml", "--csv", "out/s.csv", "--report", "out/r.html")
        run = command(tmp_path, "arena", file, "--no-record", "--concurrency", "16", *outputs, url=url)
        assert run.returncode == 0, run.stderr + run.stdout
        asked = endpoint.served
        again = command(tmp_path, "arena", file, "--no-record", "--markdown", url=url)
        assert endpoint.served == asked
    # The rehearsal cannot know which answers will be identical; it counts at least what is asked.
    assert planned["requests"] >= asked > 0.9 * planned["requests"]
    assert planned["cost_usd"] > 0
    assert "✔ GATE PASS" in run.stdout
    assert f"{asked} requests sent, 0 taken from" in run.stderr
    assert "\n0 requests sent, " in again.stderr
    assert again.stdout.startswith("# Prompt Arena: support-retail-policy")
    suite = ET.parse(tmp_path / "out" / "j.xml").getroot()[0]
    assert (suite.attrib["failures"], suite.attrib["errors"]) == ("0", "0")
    assert [test.attrib["name"] for test in suite] == ["win_rate", "policy_kept", "polite", "gate"]
    rows = list(csv.DictReader((tmp_path / "out" / "s.csv").read_text().splitlines()))
    assert {row["measure"] for row in rows} >= {"policy_kept", "win_rate", "polite", "complete"}
    assert "<script" not in (tmp_path / "out" / "r.html").read_text()
    kept = json.loads((tmp_path / "equipoise-out" / "support-retail-policy.arena.json").read_text())
    assert (kept["decision"], kept["cases"]["number"]) == ("pass", 114)
    compared = command(
        tmp_path,
        "arena",
        "--compare",
        *["equipoise-out/support-retail-policy.arena.json"] * 2,
        "--json",
    )
    first = json.loads(compared.stdout)["compared"][0]
    assert first["arm"] == "policy against control"


DEFINITION = """
name: garbage
hypothesis: A judge that returns garbage is noticed.
unit: request
changes: [system]
variants:
  control: {model: bot, system: a}
  b: {model: bot, system: b}
metrics:
  resolution_rate: {priority: primary, baseline: 0.6, mde: 0.05}
offline:
  cases: cases.jsonl
  judge: {model: judge}
"""


@pytest.mark.parametrize("share, codes", [(10, (0, 3, 4)), (1, (5,))])
def test_a_judge_that_returns_garbage(tmp_path, share, codes):
    """A tenth of it is counted and reported; nothing but it is invalid, with exit code 5."""
    (tmp_path / "e.yaml").write_text(DEFINITION)
    (tmp_path / "cases.jsonl").write_text(
        "".join(json.dumps({"id": n, "input": f"Question {n}?"}) + "\n" for n in range(60))
    )
    count = {"judged": 0}

    def answer(body):
        if body["model"] == "bot":
            return SimulatedAnswer(text=body["messages"][0]["content"] + body["messages"][1]["content"])
        count["judged"] += 1
        if count["judged"] % share == 0:
            return SimulatedAnswer(text="Answer A gets 7 of 10, answer B 3.")
        asked = json.loads(body["messages"][1]["content"])
        return SimulatedAnswer(
            text=json.dumps({"winner": "A" if asked["answer_A"] > asked["answer_B"] else "B"})
        )

    with SimulatedEndpoint(answer) as url:
        run = command(tmp_path, "arena", "e.yaml", "--no-record", "--json", "--concurrency", "1", url=url)
    assert run.returncode in codes, run.stderr
    found = json.loads(run.stdout)["variants"]["b"]["preference"]
    assert found["unscored"] == (12 if share == 10 else 60)
    assert found["wins"] + found["ties"] + found["losses"] == 60 - found["unscored"]


def test_a_limit_needs_prices_and_stops_with_a_code_of_its_own(tmp_path):
    """Exit code 2 without a price; 4 at the limit, with everything paid for kept."""
    (tmp_path / "cases.jsonl").write_text("".join(f'{{"id": {n}, "input": "Q{n}?"}}\n' for n in range(40)))
    (tmp_path / "e.yaml").write_text(DEFINITION)
    with SimulatedEndpoint(lambda body: SimulatedAnswer(text=f"{body['messages']}")) as url:
        run = command(tmp_path, "arena", "e.yaml", "--no-record", "--max-cost", "1", url=url)
        assert (run.returncode, "prices:" in run.stderr) == (2, True)
        prices = "prices: {bot: {input: 1000, output: 1000}, judge: {input: 1000, output: 1000}}\n"
        (tmp_path / "e.yaml").write_text(DEFINITION + prices)
        run = command(tmp_path, "arena", "e.yaml", "--no-record", "--max-cost", "1", url=url)
    assert run.returncode == 4
    assert "stopped before the limit of $1" in run.stderr
    kept = (tmp_path / "equipoise-out" / "garbage.journal.jsonl").read_text().splitlines()
    assert 0 < len(kept) < 160


def test_compare_and_a_file_are_one_or_the_other(tmp_path):
    """Neither and both are refused with the way out."""
    for arguments in (("arena",), ("arena", "e.yaml", "--compare", "a", "b")):
        run = command(tmp_path, *arguments)
        assert run.returncode == 2
        assert "name an experiment file to run, or two runs to compare with --compare A B" in run.stderr
