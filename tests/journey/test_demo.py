"""`equipoise demo`, as somebody runs it who has just installed it: from hypothesis to verdict, on to a rollout, and again."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import forked
import pytest

COMMAND = Path(sys.executable).with_name("equipoise")
NAME = "support-policy-prompt"


def equipoise(*words: str | Path, cwd: Path, **more) -> subprocess.CompletedProcess[str]:
    # No key, and nowhere to go: what the demo asks, it asks on this machine.
    away = {"OPENAI_API_KEY", "OPENAI_BASE_URL", "EQUIPOISE_BASE_URL", "EQUIPOISE_LOG"}
    env = {key: value for key, value in os.environ.items() if key not in away}
    env |= {
        "HTTP_PROXY": "http://192.0.2.1:9",
        "HTTPS_PROXY": "http://192.0.2.1:9",
        "ALL_PROXY": "http://192.0.2.1:9",
    }
    return forked.run([COMMAND, *words], cwd=cwd, env=env, **more)


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("demo")


@pytest.fixture(scope="module")
def walked(place) -> dict:
    done = equipoise("demo", "--json", "--folder", "walk", cwd=place)
    assert (done.returncode, done.stderr) == (0, "")
    return json.loads(done.stdout)


def test_it_ends_in_ship_with_a_difference_that_is_really_there(walked):
    """Five points were put in; the interval holds them and not zero, and every guardrail is held."""
    analysis = walked["analysis"]
    assert walked["simulated"] is True
    assert (analysis["verdict"], analysis["arm"], analysis["healthy"]) == ("ship", "treatment", True)
    assert sum(analysis["units"].values()) == 10_000
    primary = analysis["effects"][0]
    assert (primary["metric"], primary["priority"]) == ("resolution_rate", "primary")
    assert 0 < primary["difference"]["low"] < 0.05 < primary["difference"]["high"]
    guards = {
        (effect["metric"], effect["segment"]): effect["held"]
        for effect in analysis["effects"]
        if effect["held"]
    }
    assert guards == {
        ("cost_per_success", None): "held",
        ("error_rate", None): "held",
        ("latency_p95", None): "held",
        ("safety_rate", None): "held",
        ("resolution_rate", "device=phone"): "held",
    }


def test_five_cases_settle_little_and_it_says_so(walked):
    """Four wins and a tie are a win rate of 90 %, and inconclusive; the means of the rubric are computed."""
    arena = walked["arena"]
    assert arena["decision"] == "inconclusive"
    seen = arena["variants"]["treatment"]["preference"]
    assert seen["raw"]["value"] == pytest.approx(0.9)
    assert (seen["wins"], seen["ties"], seen["losses"]) == (4, 1, 0)
    assert seen["raw"]["low"] < 0.4
    assert arena["gate"]["arms"]["treatment"]["cases_to_settle"] > 5
    means = {
        arm: [
            arena["variants"][arm]["measures"][axis]["mean"]["value"]
            for axis in ("clarity", "accuracy", "policy")
        ]
        for arm in ("control", "treatment")
    }
    assert means == {"control": pytest.approx([3.4, 3.2, 1.0]), "treatment": pytest.approx([4.2, 4.2, 4.6])}


def test_the_log_holds_the_whole_way(walked, place):
    """list and show tell it: registered with its reason, exposed, looked at, decided."""
    listed = json.loads(equipoise("list", "--json", "--log", "walk/equipoise.db", cwd=place).stdout)
    assert [(each["name"], each["exposed"], each["looks"], each["verdict"]) for each in listed] == [
        (NAME, 10_000, 1, "ship")
    ]
    told = json.loads(equipoise("show", NAME, "--json", "--log", "walk/equipoise.db", cwd=place).stdout)
    assert [entry["kind"] for entry in told["ledger"]] == [
        "gate",
        "registration",
        "transition",
        "allocation",
        "look",
        "decision",
    ]
    gate, registration, transition, _, look, decision = told["ledger"]
    assert gate["decision"] == "inconclusive"
    assert registration["reason"] == transition["reason"] != ""
    assert transition["evidence"]["overridden"] == ["the offline gate was inconclusive"]
    assert (look["number"], look["final"]) == (1, True)
    assert (decision["look"], decision["verdict"], decision["arm"]) == (look["event_id"], "ship", "treatment")
    assert sum(told["exposed"].values()) == 10_000
    people = equipoise("show", NAME, "--log", "walk/equipoise.db", cwd=place)
    assert (people.returncode, people.stderr) == (0, "")
    assert f"verdict: ship treatment; {walked['analysis']['because']}" in people.stdout


def test_analysing_again_gives_the_same_verdict_and_the_same_bytes(walked, place):
    """The verdict is recomputed from the log: same JSON, same page, and nothing is added to the record."""
    before = (place / "walk" / "equipoise.db").read_bytes()
    done = equipoise(
        "analyze", NAME, "--json", "--report", "again.html", "--log", "walk/equipoise.db", cwd=place
    )
    assert (done.returncode, done.stderr) == (0, "")
    again = json.loads(done.stdout)
    assert again.pop("report") == "again.html"
    assert again == walked["analysis"]
    assert (place / "again.html").read_bytes() == (place / walked["reports"]["analysis"]).read_bytes()
    assert (place / "walk" / "equipoise.db").read_bytes() == before


def test_the_second_act_is_watched_and_paused(walked):
    """Shadow's pairs open the canary; the first slow window is an alert, the second a pause, and nothing before them."""
    watched = walked["watched"]
    assert watched["shadow"]["turns"]["treatment"] >= 100
    assert (watched["entered"]["stage"], watched["entered"]["service"]) == ("canary", "open")
    assert watched["entered"]["evidence"]["shadow"]["turns"] == watched["shadow"]["turns"]
    began, *acted = watched["news"]
    assert began["says"] == f"watching {watched['experiment']}: 1 watch"
    assert [
        (each["facts"]["action"], each["facts"]["metric"], each["facts"]["variant"]) for each in acted
    ] == [
        ("alert", "latency_p95", "treatment"),
        ("pause", "latency_p95", "treatment"),
    ]
    first, second = (each["facts"]["ends"] for each in acted)
    assert second - first == 300.0
    # Two windows of the canary were as they should be before the model was made slow.
    assert first - watched["entered"]["starts"] == pytest.approx(1_200.0, abs=20.0)
    stands = watched["standing"]
    assert (stands["stage"], stands["service"]) == ("canary", "paused")
    assert [(each["breached"], each["needed"], each["verdict"]) for each in stands["watches"]] == [
        (2, 2, "breached")
    ]
    assert stands["ahead"]["command"] == 'equipoise rollout support-cheaper-model resume --reason "…"'


def test_the_second_act_is_judged_labelled_and_rolled_back(walked, place):
    """The lowest score leads to its turn's text, people's labels to a calibration; the ledger has all of it."""
    watched = walked["watched"]
    assert watched["judged"]["scored"] >= 5
    assert (watched["judged"]["unscored"], watched["judged"]["trouble"]) == ({}, None)
    (turn,) = watched["followed"]["turns"]
    scores = {each["name"]: each["value"] for each in watched["followed"]["scores"]}
    script = [json.loads(line) for line in (place / "walk" / "script.jsonl").read_text().splitlines()]
    (row,) = [each for each in script if each["answer"] == turn["text"]["answer"]]
    assert scores == row["grades"]
    (policy,) = watched["calibration"]
    assert (policy["score"], policy["raters"], policy["minimum"]) == ("policy", 2, 0.8)
    assert policy["labels"] + policy["split"] == watched["judged"]["scored"]
    assert (watched["rolled_back"]["stage"], watched["rolled_back"]["service"]) == (
        "rolled back",
        "redirected",
    )
    told = json.loads(
        equipoise("show", "support-cheaper-model", "--json", "--log", watched["log"], cwd=place).stdout
    )
    moves = [(each["stage"], each["by"]) for each in told["ledger"] if each["kind"] == "transition"]
    assert moves == [
        ("shadow", "demo"),
        ("canary", "demo"),
        ("canary", "monitor"),
        # First it is done, then those whom it met are counted.
        ("rolled back", "demo"),
        ("rolled back", "demo"),
    ]
    shown = equipoise("log", "show", turn["trace"], "--log", watched["log"], cwd=place)
    assert (shown.returncode, shown.stderr) == (0, "")
    assert f"  answer: {turn['text']['answer']}" in shown.stdout.splitlines()


def test_running_it_twice_starts_afresh_and_a_person_is_told_what_is_simulated(place):
    """A second run replaces the first one's folder; the text says at its top and its end that all is simulated."""
    first = equipoise("demo", "--folder", "twice", "--conversations", "200", cwd=place)
    second = equipoise("demo", "--folder", "twice", "--conversations", "200", cwd=place)
    assert (first.returncode, second.returncode) == (0, 0)
    assert second.stderr == ""
    assert second.stdout.startswith("SIMULATED: ")
    assert "All of this was simulated" in second.stdout
    assert [line.split(". ")[0] for line in second.stdout.splitlines() if line.startswith("== ")] == [
        f"== {n}" for n in range(1, 12)
    ]
    assert first.stdout.splitlines()[:4] == second.stdout.splitlines()[:4]
    assert sorted(path.name for path in (place / "twice").iterdir()) == [
        "arena.html",
        "cheaper.yaml",
        "equipoise.db",
        "experiment.yaml",
        "golden.jsonl",
        "journal.jsonl",
        "prompts",
        "report.html",
        "rubric.yaml",
        "script.jsonl",
        "watched.db",
        "watched.db.outbox",
        "watched.db.texts",
        "watched.db.windows",
    ]


@pytest.mark.parametrize("until", ["experiment.yaml", "equipoise.db"])
def test_killed_half_way_it_runs_again(place, until):
    """Cut off while files are laid out or conversations recorded, the next run finds its way."""
    folder = place / f"killed-{until}"
    running = forked.Process([COMMAND, "demo", "--folder", folder, "--json"], cwd=place)
    deadline = time.monotonic() + 30
    while not (folder / until).exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    time.sleep(0.3)
    running.send_signal(signal.SIGKILL)
    said, _ = running.communicate()
    assert (running.returncode, said) == (-signal.SIGKILL, "")
    done = equipoise("demo", "--folder", folder, "--json", "--conversations", "200", cwd=place)
    assert (done.returncode, done.stderr) == (0, "")
    assert sum(json.loads(done.stdout)["analysis"]["units"].values()) == 200


@pytest.mark.parametrize("theirs", ["thesis.tex", "script.jsonl and thesis.tex", "prompts/mine.md", "a file"])
def test_a_folder_that_is_not_its_own_is_left_alone(place, theirs):
    """Whatever no demo wrote keeps the folder from being replaced, even beside files that a demo does write."""
    folder = place / theirs.replace("/", "-")
    if theirs == "a file":
        folder.write_text("precious", encoding="utf-8")
        says = f"{folder} is a file; name a folder with --folder"
    else:
        for name in theirs.split(" and "):
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_text("precious", encoding="utf-8")
        stranger = theirs.split(" and ")[-1]
        says = f"{folder} holds something that no demo wrote ({stranger}); name another folder with --folder"
    done = equipoise("demo", "--folder", folder, cwd=place)
    assert (done.returncode, done.stdout, done.stderr) == (2, "", f"error: {says}\n")
    kept = [folder] if folder.is_file() else [path for path in folder.rglob("*") if path.is_file()]
    assert {path.read_text(encoding="utf-8") for path in kept} == {"precious"}
