"""The action and the recipes for CI are true: they parse, name what exists, and the action's script runs."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
import yaml
from typer.main import get_command

from equipoise.arena.gate import GateResult
from equipoise.cli.main import app

ROOT = Path(__file__).resolve().parents[2]
TEXT = (ROOT / "docs" / "ci.md").read_text(encoding="utf-8")
SOURCE = (ROOT / "action.yml").read_text(encoding="utf-8")
ACTION = yaml.safe_load(SOURCE)
STEPS = {step["name"]: step for step in ACTION["runs"]["steps"] if "name" in step}
RECIPES = [yaml.safe_load(block) for block in re.findall(r"```yaml\n(.*?)```", TEXT, re.DOTALL)]


def options() -> set[str]:
    return {
        each for one in get_command(app).commands["arena"].params for each in (*one.opts, *one.secondary_opts)
    }


def test_every_option_that_is_named_exists():
    """Each `--option` of `equipoise arena` in the action and in the recipes is one of the command's."""
    joined = SOURCE.replace("\\\n", " ")
    commands = re.findall(r"equipoise arena (.+)", joined + TEXT.replace("`", "\n"))
    named = {word for command in commands for word in re.findall(r"--[a-z-]+", command)}
    named |= {word for word in ("--max-cost", "--json", "--csv") if f"`{word}" in TEXT}
    named |= set(re.findall(r"--[a-z-]+", RECIPES[0]["jobs"]["gate"]["steps"][1]["with"]["arguments"]))
    assert {"--markdown", "--junit", "--journal", "--max-cost", "--dry-run", "--compare"} <= named
    assert named <= options()


def test_the_recipe_for_github_uses_the_action_as_it_is():
    """Every input that the recipe and the table name exists, and every input is explained."""
    step = next(each for each in RECIPES[0]["jobs"]["gate"]["steps"] if "equipoise" in each.get("uses", ""))
    assert set(step["with"]) <= set(ACTION["inputs"])
    rows = re.findall(r"^\| (`[a-z`, -]+`) \|", TEXT, re.MULTILINE)
    assert {name.strip("`, ") for row in rows for name in row.split(",")} == set(ACTION["inputs"])
    used = set(re.findall(r"inputs\.([a-z-]+)", SOURCE))
    assert used == set(ACTION["inputs"])
    assert all(f"`{name}`" in TEXT for name in ACTION["outputs"])


def test_no_input_is_read_as_a_program():
    """A script takes what others wrote from its environment; nothing is put into its text."""
    scripts = [step["run"] for step in ACTION["runs"]["steps"] if "run" in step]
    assert len(scripts) == 3
    assert not any("${{" in script for script in scripts)


def test_the_recipe_for_gitlab_names_one_report():
    """The JUnit file that the command writes is the one that GitLab reads, and the cache holds the journal."""
    job = RECIPES[1]["prompt-gate"]
    command = job["script"][1]
    assert f"--junit {job['artifacts']['reports']['junit']}" in command
    assert f"--journal {job['cache']['paths'][0]}" in command


@pytest.mark.parametrize("decision", ["pass", "fail", "inconclusive", "invalid"])
def test_the_table_of_exit_codes_is_the_gates(decision):
    """Each decision stands beside its code."""
    code = GateResult(decision=decision, reason="", arms=()).exit_code
    assert re.search(rf"^\| {code} \| {decision}\b", TEXT, re.MULTILINE)


def run(name, folder, **values):
    """A step of the action as a runner would carry it out."""
    program = Path(sys.executable).parent
    return subprocess.run(
        ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", STEPS[name]["run"]],
        cwd=folder,
        env={**os.environ, "PATH": f"{program}:{os.environ['PATH']}", **values},
        capture_output=True,
        text=True,
    )


def gate(folder, file, arguments=""):
    done = run(
        "Gate",
        folder,
        FILE=str(file),
        ARGUMENTS=arguments,
        FOLDER="out of the way",
        JOURNAL="kept/journal.jsonl",
        GITHUB_STEP_SUMMARY="summary.md",
        GITHUB_OUTPUT="output",
    )
    assert done.returncode == 0, done.stderr
    return done, (folder / "summary.md").read_text(), (folder / "output").read_text()


def test_the_gate_of_the_action_writes_its_summary_and_its_files(tmp_path):
    """Recorded cases that pass: the report as summary, options handed on, and every file in its place."""
    _, summary, output = gate(tmp_path, ROOT / "examples" / "prompt" / "experiment.yaml", "--seed\n3\n")
    assert output == "result=pass\nexit-code=0\n"
    assert summary.startswith("# Prompt Arena: ")
    assert "- seed: 3" in summary
    folder = tmp_path / "out of the way"
    assert {path.name for path in folder.iterdir()} == {
        "arena.html",
        "arena.md",
        "arena.csv",
        "arena.junit.xml",
        "arena.log",
    }
    counts = ET.parse(folder / "arena.junit.xml").getroot().attrib
    assert (counts["tests"], counts["failures"], counts["errors"]) == ("2", "0", "0")


def test_a_wrong_file_is_told_in_the_summary(tmp_path):
    """No report: the message stands in the summary, the result is an error, and nothing runs in its stead."""
    done, summary, output = gate(tmp_path, "no such file; touch owned", "--seed $(touch owned)")
    assert output == "result=error\nexit-code=2\n"
    assert summary.startswith("The arena ended without a report (error):\n\n    ")
    assert not (tmp_path / "owned").exists()
    assert done.stderr


@pytest.mark.parametrize(
    "result, code, fail_on, left",
    [
        ("pass", "0", "fail inconclusive invalid", 0),
        ("fail", "3", "fail inconclusive invalid", 3),
        ("inconclusive", "4", "fail inconclusive invalid", 4),
        ("inconclusive", "4", "fail,invalid", 0),
        ("invalid", "5", "fail,invalid", 5),
        ("unavailable", "6", "", 6),
        ("error", "2", "", 2),
    ],
)
def test_the_job_fails_where_it_should(tmp_path, result, code, fail_on, left):
    """Decisions fail the job where they are named; what is broken always does."""
    assert run("Pass or fail", tmp_path, RESULT=result, CODE=code, FAIL_ON=fail_on).returncode == left
