"""From a live turn to a golden case: real traffic through a gateway, judged, looked into, promoted, asked by the arena."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import forked
import httpx2 as httpx
import pytest
from gateways import gateway, until
from judged import definition, grades
from processes import ASK, QUIET, client, serving

from equipoise.conduct.register import register
from equipoise.events.opening import open_log, open_texts
from equipoise.experiment.reading import read_canonical
from equipoise.providers.simulated import SimulatedAnswer, SimulatedEndpoint


def equipoise(*words: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", "from equipoise.cli.main import run; run()", *words, "--log", "l.db"]
    return forked.run(command, cwd=cwd, env=QUIET)


def answers(body):
    """The judge grades; the bot keeps to the policy unless it is told to be brief, and repeats an address."""
    if body["model"] == "judge":
        return grades(body)
    brief = any("Be brief." in each["content"] for each in body["messages"])
    return SimulatedAnswer(text="No, jo@example.org." if brief else "By policy, no.")


@pytest.fixture
def world(tmp_path: Path):
    """A log of twelve conversations that a gateway served and a judge read, and the definition as a file."""
    endpoint = SimulatedEndpoint(answers, models=("a", "b", "judge"))
    with endpoint as url:
        said = definition(url, variants={
            "control": {"model": "a", "endpoint": {"base_url": url, "key_env": "NO_KEY"}},
            "treatment": {"model": "b", "system": "Be brief.", "endpoint": {"base_url": url, "key_env": "NO_KEY"}},
        })  # fmt: skip
        log = open_log(tmp_path / "l.db")
        with gateway(said, log=log, texts=lambda create: open_texts(tmp_path / "l.db", create=create)) as at:
            for number in range(12):
                client(at.url).chat.completions.create(
                    **ASK, extra_headers={"x-conversation-id": f"c{number}"}
                )
            at.facts("turn", at_least=12)
            until(lambda: at.gateway.texts.kept == 12, "the texts")
        log.close()
        judged = equipoise("monitor", "--only", "judge", "--once", cwd=tmp_path)
        assert judged.returncode == 0, judged.stderr
        identity = read_canonical(said).identity
        assert re.fullmatch(
            rf"{identity}: 12 turns judged, 0 not, 0 wait; today \$0\.\d{{4}}\n", judged.stdout
        )
        assert judged.stderr.endswith(f" {identity}: 12 turns judged\n")
        (tmp_path / "bot.yaml").write_text(json.dumps(said))
        yield tmp_path


def test_a_live_turn_that_fails_becomes_a_case_that_every_variant_is_asked(world):
    """Traffic, draw, judgement, `log show`, `log promote`, `arena`: each by the real program, at real servers."""
    log = open_log(world / "l.db")
    scores = [record.fact for record in log.read_since(0, kinds=("score",))]
    turns = {record.fact.trace: record.fact for record in log.read_since(0, kinds=("turn",))}
    log.close()
    assert len(scores) == 3 * 12
    low = {each.trace for each in scores if each.name == "policy" and each.value == 2.0}
    assert low == {trace for trace, turn in turns.items() if turn.variant == "treatment"}
    assert 0 < len(low) < 12

    trace = min(low)
    shown = equipoise("log", "show", trace, cwd=world)
    assert (shown.returncode, shown.stderr) == (0, "")
    lines = shown.stdout.splitlines()
    assert "  system: Be brief." in lines
    assert "  user: Where is it?" in lines
    assert "  answer: No, [e-mail address]." in lines
    assert sum("  score " in line for line in lines) == 3
    (policy,) = [line for line in lines if "score policy = 2.0" in line]
    assert re.fullmatch(r"[\d-]+ [\d:]+  score policy = 2\.0 by rubric@[0-9a-f]{12}, \$0\.\d{6}", policy)
    assert lines[lines.index(policy) + 1] == "    because: policy is 2"
    assert '    judges: [{"model": "judge", "params": {}}]' in lines
    assert '    axes: {"policy": "It keeps to the policy.", "tone": "It is kind."}' in lines
    assert any(line.startswith("    prompt: You grade one answer to a request") for line in lines)
    assert '    replied: [{"model": "judge", "fingerprint": "simulated"}]' in lines

    done = equipoise("log", "promote", trace, "--cases", "golden.jsonl", cwd=world)
    assert (done.returncode, done.stderr) == (0, "")
    added, digest, *lacks = done.stdout.splitlines()
    assert added == f"case 'live-{trace}' added to golden.jsonl, which now holds 1 case"
    assert re.fullmatch(r"  their digest: [0-9a-f]{64}; the arena asks this one of every variant from its next run on", digest)  # fmt: skip
    assert lacks == [
        (
            "  there is no right answer: what compares with a reference leaves the case unscored until one is written under "
            "`reference`; the answer that was given stands under `origin`"
        ),
        "  personal data was replaced by its kind (e-mail address: 1); invent some where the case depends on it",
    ]
    case = json.loads((world / "golden.jsonl").read_text())
    assert (case["id"], case["input"], case["tags"]) == (f"live-{trace}", "Where is it?", ["live"])
    origin = case["origin"]
    assert (origin["trace"], origin["variant"], origin["answer"]) == (
        trace,
        "treatment",
        "No, [e-mail address].",
    )
    assert origin["scores"] == {"max_words": 1.0, "policy": 2.0, "tone": 2.0}

    again = equipoise("log", "promote", trace, "--cases", "golden.jsonl", cwd=world)
    assert (again.returncode, again.stdout) == (2, "")
    assert (
        again.stderr == f"error: golden.jsonl has the turn of trace {trace} already, as case 'live-{trace}'\n"
    )
    other = equipoise("log", "promote", max(turns.keys() - {trace}), "--cases", "golden.jsonl", cwd=world)
    assert other.stderr == (
        f"error: golden.jsonl has a case that asks the same: 'live-{trace}'. Give that one the reference or the checks that "
        "it lacks\n"
    )

    text = (world / "golden.jsonl").read_text().replace('"tags"', '"reference": "By policy, no.", "tags"')
    (world / "golden.jsonl").write_text(text)
    ran = equipoise("arena", "bot.yaml", "--json", cwd=world)
    assert ran.returncode in (0, 3, 4, 5), ran.stderr
    result = json.loads(ran.stdout)
    (asked,) = result["by_case"]
    assert (asked["id"], asked["tags"]) == (f"live-{trace}", ["live"])
    policy = {name: given[0]["policy"]["value"] for name, given in asked["scores"].items()}
    assert policy == {"control": 5.0, "treatment": 2.0}

    drift = equipoise("drift", "bot", cwd=world)
    assert (drift.returncode, drift.stderr) == (0, "")
    instrument = policy_by(scores)
    assert f"policy by {instrument}, control" in drift.stdout.splitlines()
    assert "scores of control alone: two arms side by side would be a look at the effect" in drift.stdout
    (gap,) = [
        line for line in drift.stdout.splitlines() if line.startswith(f"  policy by {instrument}, control: ")
    ]
    assert "golden not estimable (there is 1 case" in gap
    assert re.search(r"^treatment +b +simulated ", drift.stdout, re.MULTILINE)


def policy_by(scores) -> str:
    (instrument,) = {each.evaluator for each in scores if each.name == "policy"}
    return instrument


def test_what_is_served_is_judged_without_anybody_asking(tmp_path):
    """`equipoise serve` alone: conversations through its gateway have scores a little later, and its health says so."""
    with SimulatedEndpoint(answers, models=("a", "b", "judge")) as url:
        said = definition(url, variants={
            "control": {"model": "a", "endpoint": {"base_url": url, "key_env": "NO_KEY"}},
            "treatment": {"model": "b", "system": "Be brief.", "endpoint": {"base_url": url, "key_env": "NO_KEY"}},
        })  # fmt: skip
        log = open_log(tmp_path / "log.db")
        experiment = read_canonical(said)
        register(log, experiment, by="test", reason="a test")
        with serving(tmp_path) as (_, base_url):
            for number in range(4):
                client(base_url).chat.completions.create(
                    **ASK, extra_headers={"x-conversation-id": f"c{number}"}
                )
            health = base_url.removesuffix("/v1") + "/healthz"

            def stands():
                chores = httpx.get(health).json().get("monitor", {})
                return chores.get("judge", {}).get("experiments", {}).get(experiment.identity, {})

            until(lambda: stands().get("scored") == 4, "the judge")
        scores = [record.fact for record in log.read_since(0, kinds=("score",))]
        log.close()
    assert {each.unit for each in scores} == {f"c{number}" for number in range(4)}
    assert len(scores) == 12
