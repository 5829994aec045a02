"""The examples run as their README says: through the real program, with no key and no network."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import forked
import pytest

from equipoise.experiment.reading import read_definition

ROOT = Path(__file__).resolve().parents[2]
EXAMPLES = ROOT / "examples"
SHARED = ROOT.parent / "shared" / "data"
README = (EXAMPLES / "README.md").read_text(encoding="utf-8")
NAMES = sorted(
    path.parent.name
    for path in EXAMPLES.glob("*/experiment.yaml")
    if not path.with_name("run.py").exists()  # those are in test_examples_of_designs
)
BY_HAND = "written by hand for this example, not measured on any model"

GATES = {
    "model": (4, "inconclusive", {"larger": "pass", "newer": "inconclusive"}),
    "prompt": (0, "pass", {"treatment": "pass"}),
    "retrieval-top-k": (0, "pass", {"eight": "pass"}),
    "serving-endpoint": (4, "inconclusive", {"fp8": "inconclusive"}),
    "temperature": (3, "fail", {"warm": "fail"}),
}
CHANGES = {
    "model": {"model"},
    "prompt": {"system"},
    "retrieval-top-k": {"retrieval.top_k"},
    "serving-endpoint": {"endpoint.base_url", "serving.precision"},
    "temperature": {"params.temperature"},
}
# Ends the process that looks up a name or connects to anything, whichever library does it.
GUARD = """\
import os, sys

def refuse(event, arguments):
    if event in ("socket.connect", "socket.getaddrinfo", "socket.gethostbyname", "socket.sendto"):
        sys.stderr.write(f"the network was asked for: {event} {arguments}")
        sys.stderr.flush()
        os._exit(99)

sys.addaudithook(refuse)
"""
RUN = "from equipoise.cli.main import run; run()"


def start(guard, place, *command):
    """Start the program (or Python) in a folder, with none of our settings and under the guard."""
    clean = {key: value for key, value in os.environ.items() if not key.startswith(("OPENAI", "EQUIPOISE"))}
    program, *words = map(str, command)
    if program == "equipoise":
        program, words = "-c", [RUN, *words]
    else:
        program, *words = words
    if program == "-c":
        return forked.run([sys.executable, "-c", GUARD + words[0], *words[1:]], cwd=place, env=clean)
    return subprocess.run(
        [sys.executable, program, *words],
        cwd=place,
        env=clean | {"PYTHONPATH": str(guard)},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture(scope="module")
def guard(tmp_path_factory):
    """A folder whose presence on the path of Python keeps a program off the network."""
    folder = tmp_path_factory.mktemp("guard")
    (folder / "sitecustomize.py").write_text(GUARD, encoding="utf-8")
    return folder


@pytest.fixture
def run(guard, tmp_path):
    """Runs the program in an empty folder, without a key, and ends it where it asks for the network."""
    place = tmp_path / "elsewhere"
    place.mkdir()

    def run(*command):
        return start(guard, place, *command)

    run.place = place
    return run


@pytest.fixture(scope="module")
def outcome(guard, tmp_path_factory):
    """What `arena --json` says of an example; each is run once, in an empty folder that stays empty."""
    known = {}

    def outcome(name):
        if name not in known:
            place = tmp_path_factory.mktemp(name)
            known[name] = start(
                guard,
                place,
                "equipoise",
                "arena",
                EXAMPLES / name / "experiment.yaml",
                "--no-record",
                "--json",
            )
            assert not list(place.iterdir())
        return json.loads(known[name].stdout)

    return outcome


def table(heading):
    """The rows of the README's table below a heading, as lists of cells."""
    section = README.split(f"## {heading}\n", 1)[1].split("\n## ", 1)[0]
    lines = [line for line in section.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]


def quoted(cell):
    """What a cell quotes: the texts between backticks."""
    return re.findall(r"`([^`]+)`", cell)


def target(cell):
    """Where the link in a cell leads."""
    return re.search(r"\]\(([^)]+)\)", cell)[1]


def test_the_guard_ends_a_program_that_asks_for_the_network(run):
    """Without this the other tests would prove nothing about the network."""
    asked = run("python", "-c", "import socket; socket.create_connection(('127.0.0.1', 9), timeout=1)")
    assert asked.returncode == 99, asked.stderr
    assert "the network was asked for" in asked.stderr


def test_there_is_one_example_for_each_kind_of_change():
    """Model, prompt, temperature, retrieval and serving each have their folder, and the tables here know them all."""
    assert NAMES == sorted(GATES) == sorted(CHANGES)


@pytest.mark.parametrize("name", NAMES)
def test_an_example_changes_what_its_name_says_and_nothing_else(name):
    """The differences from control are the ones that are declared, and no warning is due."""
    reading = read_definition(EXAMPLES / name / "experiment.yaml")
    assert {each.path for each in reading.experiment.differences} == CHANGES[name]
    assert {change.split(".")[0] for change in reading.experiment.changes} == {
        path.split(".")[0] for path in CHANGES[name]
    }
    assert not reading.warnings


def test_the_examples_differ_in_units_arms_and_shares():
    """Together they show every unit that fits a bot, one split that is not even, and one experiment of three arms."""
    read = {name: read_definition(EXAMPLES / name / "experiment.yaml").experiment for name in NAMES}
    assert {each.unit.type for each in read.values()} == {"conversation", "user", "session", "request"}
    assert [name for name, each in read.items() if len(set(each.allocation.values())) > 1] == [
        "serving-endpoint"
    ]
    assert [name for name, each in read.items() if len(each.variants) == 3] == ["model"]
    assert len({each.name for each in read.values()}) == len(read)


@pytest.mark.parametrize("name", NAMES)
def test_what_is_written_by_hand_is_marked_as_such(name):
    """The definition says so at its head and again where the files are named, and the files' names say it as well."""
    text = (EXAMPLES / name / "experiment.yaml").read_text(encoding="utf-8")
    head, offline = text.split("\nname:", 1)[0], text.split("\noffline:", 1)[1]
    assert BY_HAND in " ".join(head.replace("#", " ").split())
    assert BY_HAND in " ".join(offline.replace("#", " ").split())
    recorded = re.findall(r"file: ([^,}]+-by-hand\.\w+)", offline)
    beside = {path.name for path in (EXAMPLES / name).iterdir() if path.suffix in {".jsonl", ".csv"}}
    assert set(recorded) == beside


@pytest.mark.parametrize("name", NAMES)
def test_the_plan_of_an_example_is_drawn(run, name):
    """`plan` ends well without a word on stderr, sizes the primary, prints the difference and leaves nothing behind."""
    file = EXAMPLES / name / "experiment.yaml"
    told = run("equipoise", "plan", file)
    assert (told.returncode, told.stderr) == (0, "")
    for path in CHANGES[name]:
        assert f": {path}: " in told.stdout
    assert "<- binding" in told.stdout
    assert not list(run.place.iterdir())
    drawn = json.loads(run("equipoise", "plan", file, "--json").stdout)
    primary = read_definition(file).experiment.primary.name
    assert drawn["sizes"][primary]["question"] == "detect"
    assert drawn["total"] >= drawn["sizes"][primary]["total"]
    assert drawn["days"] > 0


@pytest.mark.parametrize("name", NAMES)
def test_the_gate_of_an_example_comes_out_as_told(run, outcome, name):
    """`arena` replays what is recorded, leaves no case unscored, decides as its story says, and writes one report."""
    file, (code, decision, arms) = EXAMPLES / name / "experiment.yaml", GATES[name]
    told = run("equipoise", "arena", file, "--no-record", "--report", "x.html")
    assert (told.returncode, told.stderr) == (code, "")
    assert f"GATE {decision.upper()}: " in told.stdout.splitlines()[0]
    assert sorted(path.name for path in run.place.iterdir()) == ["equipoise-out", "x.html"]
    assert decision in (run.place / "x.html").read_text(encoding="utf-8").lower()

    known = outcome(name)
    assert known["cases"]["number"] == 8
    assert known["spent"]["requests"] == 0
    assert {variant: arm["decision"] for variant, arm in known["gate"]["arms"].items()} == arms
    for variant in known["variants"].values():
        assert (variant["answered"], variant["errored"]) == (8, 0)
        assert variant.get("preference", {}).get("unscored", 0) == 0


def test_an_uneven_split_needs_more_units(run):
    """Where the README says that four to one costs units, an even split of the same definition needs fewer."""
    assert "needs more of them than an even split would" in README
    uneven = EXAMPLES / "serving-endpoint"
    even = run.place / "a" / "b"
    shutil.copytree(uneven, even)
    text = (even / "experiment.yaml").read_text(encoding="utf-8")
    assert text.count("{control: 4/5, fp8: 1/5}") == 1
    (even / "experiment.yaml").write_text(
        text.replace("{control: 4/5, fp8: 1/5}", "{control: 1/2, fp8: 1/2}"), encoding="utf-8"
    )
    totals = [
        json.loads(run("equipoise", "plan", folder / "experiment.yaml", "--json").stdout)["total"]
        for folder in (uneven, even)
    ]
    assert totals[0] > totals[1]


def test_an_open_gate_wants_a_reason_and_a_failed_one_takes_none(run):
    """As the README says: `register` goes on after an inconclusive gate with a reason, and never after a failed one."""
    assert "wants a `--reason` for going on" in " ".join(README.split())
    told = {}
    for name in ("serving-endpoint", "temperature"):
        file = EXAMPLES / name / "experiment.yaml"
        run("equipoise", "arena", file)
        told[name] = [
            run("equipoise", "register", file, *words).returncode
            for words in ((), ("--reason", "eight cases settle little"))
        ]
    assert told["serving-endpoint"][0] != 0
    assert told["serving-endpoint"][1] == 0
    assert all(told["temperature"])


def test_the_temperature_fails_for_the_invented_address_alone(outcome):
    """The one failed check is safety, on the case that asks for deletion, for an e-mail address."""
    known = outcome("temperature")
    failed = [
        (case["id"], variant, name, score["explanation"])
        for case in known["by_case"]
        for variant, samples in case["scores"].items()
        for name, score in samples[0].items()
        if score["passed"] is False
    ]
    ((case, variant, name, why),) = failed
    assert (case, variant, name) == ("delete-everything", "warm", "safety")
    assert "e-mail address" in why


def test_the_prompt_is_graded_by_its_rubric(outcome):
    """The three axes have means over all eight cases, and policy rises as the README says."""
    known = outcome("prompt")
    for variant in known["variants"].values():
        axes = ("clarity", "accuracy", "policy")
        assert [variant["measures"][axis]["scored"] for axis in axes] == [8, 8, 8]
    was, now = (
        known["variants"][name]["measures"]["policy"]["mean"]["value"] for name in ("control", "treatment")
    )
    assert re.search(rf"policy rise from {was:.1f} to {now:.1f}", README)


@pytest.mark.parametrize(
    "row", table("One support bot, five kinds of change"), ids=lambda row: target(row[0])
)
def test_the_table_of_the_readme_quotes_what_is_printed(run, row):
    """Every quotation in a row stands in the output of the program, and the exit code is the one it names."""
    name, _, planned, decided, code = row
    planning = run("equipoise", "plan", EXAMPLES / target(name))
    gating = run("equipoise", "arena", EXAMPLES / target(name), "--no-record", "--report", "x.html")
    assert len(quoted(planned)) == 2
    assert all(text in planning.stdout for text in quoted(planned)), planning.stdout
    assert quoted(decided)
    assert all(text in gating.stdout for text in quoted(decided)), gating.stdout
    assert (planning.returncode, gating.returncode) == (0, int(code))


def test_the_readme_lists_every_example():
    """Each folder and each file of real data has its row."""
    listed = [
        target(row[0])
        for heading in ("One support bot, five kinds of change", "Real data")
        for row in table(heading)
    ]
    there = [f"{name}/experiment.yaml" for name in NAMES]
    there += [
        f"real/{path.name}" for path in (EXAMPLES / "real").iterdir() if path.suffix in {".yaml", ".py"}
    ]
    assert sorted(listed) == sorted(there)


def test_what_the_readme_tells_of_the_stories_is_so(outcome):
    """The counts of wins, ties and losses, and the number of cases that would settle it, are those that come out."""
    known = {name: outcome(name)["variants"] for name in NAMES}

    def counts(example, variant):
        seen = known[example][variant]["preference"]
        return tuple(seen[count] for count in ("wins", "ties", "losses"))

    assert "seven wins and a tie" in README
    assert counts("prompt", "treatment") == (7, 1, 0)
    assert "never wins and ties\n  four times" in README
    assert counts("model", "newer") == (0, 4, 4)
    assert "as good as control takes 197" in README
    assert outcome("model")["gate"]["arms"]["newer"]["cases_to_settle"] == 197
    wins, _, losses = counts("temperature", "warm")
    assert wins > losses
    assert "six wins, and a loss" in README
    assert counts("retrieval-top-k", "eight") == (6, 1, 1)
    assert "the interval begins at 40.8 %" in README
    assert f"{known['retrieval-top-k']['eight']['preference']['raw']['low']:.1%}" == "40.8%"
    assert "seven ties and a loss" in README
    assert counts("serving-endpoint", "fp8") == (0, 7, 1)


@pytest.mark.skipif(
    not SHARED.is_dir(), reason="the real data are not beside the repository (../shared/data)"
)
@pytest.mark.parametrize("row", table("Real data"), ids=lambda row: target(row[0]))
def test_the_real_examples_print_what_the_readme_quotes(run, row):
    """Each command of the table of real data runs, and every quotation stands in its output."""
    _, _, command, comes_out, code = row
    program, *arguments = shlex.split(quoted(command)[0])
    done = run(program, *(ROOT / each if each.startswith("examples/") else each for each in arguments))
    assert (done.returncode, done.stderr) == (int(code), "")
    assert len(quoted(comes_out)) >= 2
    assert all(text in done.stdout for text in quoted(comes_out)), done.stdout


def test_the_script_says_what_is_missing(run, tmp_path):
    """Away from its data the script ends with one sentence that names what it wanted."""
    alone = tmp_path / "a" / "b" / "c" / "upworthy_sample_ratio.py"
    alone.parent.mkdir(parents=True)
    alone.write_bytes((EXAMPLES / "real" / "upworthy_sample_ratio.py").read_bytes())
    done = run("python", alone)
    assert (done.returncode, done.stdout) == (1, "")
    assert re.fullmatch(r"the data are not there: .*packages\.csv\.gz\. Put .*\n", done.stderr)
