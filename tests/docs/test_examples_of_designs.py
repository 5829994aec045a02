"""The examples beyond the plain A/B: their scripts go all the way, and their pages say what comes out."""

from __future__ import annotations

import os
import re
import shlex
import sys
from pathlib import Path

import forked
import pytest

from equipoise.experiment.reading import read_definition

ROOT = Path(__file__).resolve().parents[2]
EXAMPLES = ROOT / "examples"
README = (EXAMPLES / "README.md").read_text(encoding="utf-8")
DESIGNS = {
    "bandit-prompts": ("bandit", "conversation"),
    "cluster-assistant": ("ab", "cluster"),
    "interleaving-rankers": ("interleaving", "user"),
    "switchback-serving": ("switchback", "slot"),
}
SCRIPT = "import runpy, sys; sys.argv = sys.argv[1:]; runpy.run_path(sys.argv[0], run_name='__main__')"


def start(place, *words):
    """The program, or a script, in a folder and with none of our settings."""
    clean = {key: value for key, value in os.environ.items() if not key.startswith(("OPENAI", "EQUIPOISE"))}
    program = ["equipoise"] if words[0] == "equipoise" else [sys.executable, "-c", SCRIPT]
    return forked.run([*program, *words[1:]], cwd=place, env=clean)


@pytest.fixture(scope="module")
def ran(tmp_path_factory):
    """What the script of an example leaves and says; each is run once."""
    known = {}

    def ran(name):
        if name not in known:
            place = tmp_path_factory.mktemp(name)
            known[name] = place / "kept", start(place, "python", EXAMPLES / name / "run.py", "kept")
        return known[name]

    return ran


def rows():
    """The table of these examples: each folder, what its plan says, what its script says."""
    section = README.split("## Beyond the plain A/B\n", 1)[1].split("\n## ", 1)[0]
    for line in [line for line in section.splitlines() if line.startswith("| [")]:
        folder, _, planned, said = line.strip("|").split("|")
        yield (
            re.search(r"\[([^]]+)\]", folder)[1],
            *(re.findall(r"`([^`]+)`", each) for each in (planned, said)),
        )


def test_there_is_an_example_of_each_design():
    """Each is what its name says, is read without a warning, and has its row in the table and its page."""
    there = {path.parent.name for path in EXAMPLES.glob("*/run.py")}
    assert there == set(DESIGNS) == {name for name, *_ in rows()}
    for name, (method, unit) in DESIGNS.items():
        reading = read_definition(EXAMPLES / name / "experiment.yaml")
        assert (reading.experiment.method, reading.experiment.unit.type) == (method, unit)
        assert not reading.warnings
        said = " ".join((EXAMPLES / name / "README.md").read_text(encoding="utf-8").split())
        assert re.search(
            r"\*\*The \w+( and the \w+)? are made up; nothing here is measured on any \w+\.\*\*", said
        )


@pytest.mark.parametrize(
    ("name", "planned", "said"), [*rows()], ids=lambda each: each if isinstance(each, str) else ""
)
def test_the_table_quotes_what_is_printed(ran, tmp_path, name, planned, said):
    """The plan and the script end well, and every quotation stands in what they print; the report is there."""
    told = start(tmp_path, "equipoise", "plan", EXAMPLES / name / "experiment.yaml")
    assert (told.returncode, told.stderr) == (0, "")
    assert planned
    assert all(text in told.stdout for text in planned), told.stdout
    place, done = ran(name)
    assert done.returncode == 0, done.stderr
    assert "error" not in done.stderr
    assert len(said) >= 2
    assert all(text in done.stdout for text in said), done.stdout
    identity = read_definition(EXAMPLES / name / "experiment.yaml").experiment.name
    assert (place / "equipoise-out" / f"{identity}.html").stat().st_size > 10_000


@pytest.mark.parametrize("name", sorted(DESIGNS))
def test_the_verdict_of_a_script_is_computed_again_from_its_log(ran, name):
    """What the script leaves is a log like any other: its recorded look comes out the same, and nobody can mix two runs."""
    place, _ = ran(name)
    experiment = read_definition(EXAMPLES / name / "experiment.yaml").experiment.name
    again = start(place, "equipoise", "verify", experiment)
    assert again.returncode == 0, again.stdout + again.stderr
    twice = start(place.parent, "python", EXAMPLES / name / "run.py", "kept")
    assert (twice.returncode, twice.stdout) == (1, "")
    assert twice.stderr == "kept has a log already; name another folder\n"


def test_the_bandit_is_weighed_by_the_monitor_and_follows_what_resolves(ran):
    """Each hour has its shares, the last ones by the monitor itself; the arm that resolves most has nearly everything."""
    _, done = ran("bandit-prompts")
    hours = re.findall(r"hour +(\d): .*steps (\d+)%", done.stdout)
    assert [int(hour) for hour, _ in hours] == [*range(1, 8)]
    assert min(int(share) for _, share in hours) > 50
    assert re.search(r"support-openings@\w{12}: epoch 8 of 3,843 rewards: control 5%, steps 95%", done.stderr)


def test_the_commands_of_the_pages_run(tmp_path):
    """Each command of each page ends well, `simulate` with two runs in place of many, and sizes are those that it tells."""
    (tmp_path / "examples").symlink_to(EXAMPLES)
    for name in DESIGNS:
        page = (EXAMPLES / name / "README.md").read_text(encoding="utf-8")
        lines = re.search(r"```bash\n(.*?)```", page, re.DOTALL)[1].splitlines()
        commands = [shlex.split(line, comments=True) for line in lines]
        assert commands[-1] == ["python", f"examples/{name}/run.py"]
        for command in commands[:-1]:
            words = [
                "2" if before == "--runs" else word
                for before, word in zip(["", *command], command, strict=False)
            ]
            done = start(tmp_path, *words)
            assert (done.returncode, done.stderr) == (0, ""), done.stderr
    page = " ".join((EXAMPLES / "cluster-assistant" / "README.md").read_text(encoding="utf-8").split())
    assert "they tell as much as eleven, says the plan" in page
    assert "106 of them make 3,922 requests, where requests that are alike in nothing would be 1,128" in page
    teams = start(tmp_path, "equipoise", "plan", "examples/cluster-assistant/experiment.yaml").stdout
    assert "106 clusters at most" in teams
    assert "a unit is a cluster of 37 readings" in teams
    assert "they tell as much as 11.3 independent ones" in teams
    alone = start(tmp_path, "equipoise", "size", "proportion", "--baseline", "0.60", "--mde", "8pp").stdout
    assert "1,128 in all" in alone
