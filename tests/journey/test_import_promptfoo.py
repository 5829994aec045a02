"""`equipoise import promptfoo`: from a config to a gate that runs."""

from __future__ import annotations

import json
import os
import sys

import forked

from equipoise.experiment.reading import read_definition
from equipoise.providers.simulated import SimulatedAnswer, SimulatedEndpoint

CONFIG = """
description: Support bot
prompts:
  - "Answer politely: {{question}}"
  - file://chat.json
  - file://generate.js
providers:
  - openai:gpt-4o-mini
  - id: openai:chat:gpt-4.1
    config: {temperature: 0.2, tools: []}
  - anthropic:messages:claude-3-5-haiku
tests:
  - vars: {question: "Where is my parcel?"}
    assert: [{type: icontains, value: parcel}, {type: javascript, value: output.length < 99}]
  - vars: {question: [Hello, Hi]}
    assert: [{type: python, value: len(output) < 400}]
"""


def run(folder, *arguments, url="http://127.0.0.1:9/v1"):
    return forked.run(
        [sys.executable, "-c", "from equipoise.cli.main import run; run()", *arguments],
        cwd=folder,
        env=os.environ | {"EQUIPOISE_BASE_URL": url, "OPENAI_API_KEY": "none"},
        timeout=60,
    )


def test_a_config_becomes_a_definition_whose_gate_runs(tmp_path):
    """Every prompt of every provider is a variant; the tests are used where they are; the rest is said."""
    (tmp_path / "promptfooconfig.yaml").write_text(CONFIG)
    chat = [{"role": "system", "content": "Be kind"}, {"role": "user", "content": "{{question}}"}]
    (tmp_path / "chat.json").write_text(json.dumps(chat))
    made = run(tmp_path, "import", "promptfoo", "promptfooconfig.yaml", "--out", "bot", "--json")
    assert made.returncode == 0, made.stderr
    told = json.loads(made.stdout)
    assert (told["cases"], len(told["variants"])) == (3, 4)
    said = " | ".join(told["not_carried_over"])
    for part in (
        "generate.js is a program",
        "claude-3-5-haiku is no OpenAI-compatible endpoint",
        "tools is not",
        "type javascript",
    ):
        assert part in said
    experiment = read_definition(tmp_path / "bot" / "experiment.yaml").experiment
    assert experiment.control.template.text == "Answer politely: {{question}}"
    assert experiment.variants[1].params == {} or experiment.variants[1].params["temperature"] == 0.2

    def bot(body):
        return SimulatedAnswer(text=f"Your parcel: {body['messages'][-1]['content']}")

    with SimulatedEndpoint(bot) as url:
        gate = run(tmp_path, "arena", "bot/experiment.yaml", "--no-record", "--json", url=url)
    assert gate.returncode == 4, gate.stderr
    found = json.loads(gate.stdout)
    assert found["gate"]["arms"].keys() == set(told["variants"]) - {"control"}
    assert all(variant["measures"]["assertions"]["passed"] == 3 for variant in found["variants"].values())


def test_it_does_not_write_over_what_is_there_and_reads_no_other_file(tmp_path):
    """A second run needs --force; a file that is no config is refused with what would be."""
    (tmp_path / "c.yaml").write_text("prompts: [Hi]\nproviders: [openai:gpt-4.1]\ntests: [{vars: {a: b}}]\n")
    assert run(tmp_path, "import", "promptfoo", "c.yaml", "--out", "x").returncode == 0
    again = run(tmp_path, "import", "promptfoo", "c.yaml", "--out", "x")
    assert (again.returncode, "write over it with --force" in again.stderr) == (2, True)
    assert run(tmp_path, "import", "promptfoo", "c.yaml", "--out", "x", "--force").returncode == 0
    (tmp_path / "d.yaml").write_text("a: 1\n")
    other = run(tmp_path, "import", "promptfoo", "d.yaml")
    assert (other.returncode, "it has no `prompts`" in other.stderr) == (2, True)
