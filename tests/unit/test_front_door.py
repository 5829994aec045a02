"""The front door: the public names are what exists, and every command speaks the same way."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import forked
import pytest
import typer

import equipoise
from equipoise.cli.main import app

COMMAND = Path(sys.executable).with_name("equipoise")


def python(code: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True)


def commands() -> dict[tuple[str, ...], list[str]]:
    """Every command by its words, with the options that are shown."""
    found = {}

    def walk(words: tuple[str, ...], command) -> None:
        if hasattr(command, "commands"):
            for name, inner in command.commands.items():
                walk((*words, name), inner)
        else:
            shown = [each for each in command.params if not getattr(each, "hidden", False)]
            found[words] = [option for parameter in shown for option in parameter.opts]

    walk((), typer.main.get_command(app))
    return found


def test_the_public_names_are_sorted_and_exactly_what_exists():
    """`__all__` is sorted, holds no name twice, agrees with where the names live, and every one of them is there."""
    assert equipoise.__all__ == sorted(set(equipoise.__all__))
    assert sorted(equipoise._HOMES) == equipoise.__all__
    for name in equipoise.__all__:
        thing = getattr(equipoise, name)
        assert thing.__name__ == name
        assert thing.__module__ == f"equipoise.{equipoise._HOMES[name]}"
    assert set(equipoise.__all__) <= set(dir(equipoise))
    # What the package holds beside them is private, a submodule, or a help of its own.
    others = {name for name in vars(equipoise) if not name.startswith("_")} - set(equipoise.__all__)
    modules = {path.stem for path in Path(equipoise.__file__).parent.iterdir()}
    assert others - modules <= {"annotations", "TYPE_CHECKING", "Any"}


def test_every_name_imports_in_a_fresh_interpreter():
    """One by one and by a star, with warnings as errors."""
    names = equipoise.__all__
    done = python(
        "import sys\n"
        f"for name in {names!r}:\n"
        "    [sys.modules.pop(m) for m in list(sys.modules) if m.split('.')[0] == 'equipoise']\n"
        "    exec(f'from equipoise import {name}')\n"
        "ns = {}; exec('from equipoise import *', ns)\n"
        f"assert set({names!r}) <= set(ns), 'star'\n"
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_a_name_that_is_not_there_says_so():
    """The usual AttributeError, so that hasattr and `from … import` behave."""
    with pytest.raises(AttributeError) as refused:
        equipoise.Experment  # noqa: B018
    assert str(refused.value) == "module 'equipoise' has no attribute 'Experment'"


def test_a_router_does_not_pay_for_the_numbers():
    """Routing imports neither numpy, scipy, duckdb, pyarrow, pandas nor a plotting library."""
    done = python(
        "import sys\nfrom equipoise import Assignment, Experiment, Exposure, Router, load_experiment, open_log\n"
        "heavy = {'numpy', 'scipy', 'duckdb', 'pyarrow', 'pandas', 'polars', 'jinja2'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_every_command_takes_json_and_says_what_it_is_for():
    """`--json` everywhere, and a first line of help for each command."""
    found = commands()
    assert {words[0] for words in found} >= {
        "analyze",
        "arena",
        "demo",
        "init",
        "list",
        "plan",
        "register",
        "rollout",
        "schema",
        "show",
        "size",
    }
    assert [words for words, options in found.items() if "--json" not in options] == []


def test_the_help_of_every_command_starts(capsys, monkeypatch):
    """It goes to stdout, names the command and its options, and ends with 0."""
    from equipoise.cli.main import run

    for words, options in commands().items():
        monkeypatch.setattr(sys, "argv", ["equipoise", *words, "--help"])
        with pytest.raises(SystemExit) as left:
            run()
        said = capsys.readouterr()
        assert (left.value.code, said.err) == (0, "")
        assert " ".join(words) in said.out
        assert all(option in said.out for option in options if option.startswith("--"))


def test_what_the_starter_leaves_as_comments_holds_as_it_stands(tmp_path):
    """Rollout, watches, capture and online judge of `init` need no more than their comment signs taken away."""
    forked.run([COMMAND, "init", "mine"], cwd=tmp_path)
    path = tmp_path / "mine" / "experiment.yaml"
    head, tail = path.read_text(encoding="utf-8").split("# rollout: ")
    path.write_text(f"{head}rollout: {tail.replace(chr(10) + '# ', chr(10))}", encoding="utf-8")
    experiment = equipoise.load_experiment(path)
    assert experiment.rollout.stages == ("shadow", "canary", "ab")
    assert [(each.metric, each.then) for each in experiment.watches] == [("latency_p95", "pause")]
    assert (experiment.text_share > 0, experiment.online_judge is not None) == (True, True)
    words = [COMMAND, "register", path, "--reason", "a test"]
    done = forked.run(words, cwd=tmp_path)
    assert (done.returncode, done.stdout.splitlines()) == (
        0,
        [
            f"{experiment.identity} is registered, stage shadow",
            "  in spite of: the offline gate has not been run for this definition; the reason is recorded",
            "Serve it: equipoise serve. Where it stands: equipoise rollout support-policy-prompt",
        ],
    )


def test_stdout_holds_nothing_but_the_result(tmp_path):
    """init, plan, register, list, show, schema with --json: each one JSON document on stdout and nothing on stderr."""
    told = {}
    file = "experiment/experiment.yaml"
    for words in (
        ("init", "experiment"),
        ("plan", file),
        ("register", file, "--reason", "a test"),
        ("list",),
        ("show", "support-policy-prompt"),
        ("schema",),
    ):
        done = forked.run([COMMAND, *words, "--json"], cwd=tmp_path)
        assert (done.returncode, done.stderr) == (0, ""), words
        told[words[0]] = json.loads(done.stdout)
    assert (
        told["init"]["experiment"]
        == told["plan"]["experiment"]
        == told["register"]["experiment"]
        == told["show"]["experiment"]
    )
    assert [each["name"] for each in told["list"]] == ["support-policy-prompt"]
    assert told["register"]["overridden"] == ["the offline gate has not been run for this definition"]
    assert [entry["kind"] for entry in told["show"]["ledger"]] == ["registration", "transition", "allocation"]


def test_a_reader_that_goes_away_is_no_success():
    """`equipoise … | head -c 1`, on much and on little: no complaint, and an exit code that is not "pass, ship"."""
    for words in (("schema",), ("size", "proportion", "--baseline", "0.6", "--mde", "0.05")):
        running = subprocess.Popen([COMMAND, *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        running.stdout.close()
        complaint = running.stderr.read()
        running.stderr.close()
        assert (running.wait(), complaint) == (1, b"")
