"""`pip install equipoise` alone: what the light path promises, with everything of the extras taken away."""

from __future__ import annotations

import subprocess
import sys

import pytest

TAKEN = ("numpy", "scipy", "duckdb", "pyarrow", "jinja2", "markupsafe", "pandas", "polars")
HEAVY = ("numpy", "ibis", "duckdb", "scipy", "pyarrow", "aiohttp", "starlette", "openai", "openfeature")
WITHOUT = f"import sys; sys.modules.update(dict.fromkeys({TAKEN!r})); "


def light(code, cwd, *arguments):
    return subprocess.run(
        [sys.executable, "-c", WITHOUT + code, *arguments],
        cwd=cwd,
        capture_output=True,
        text=True,
        check=False,
    )


CLI = "from equipoise.cli.main import run; run()"


def test_reading_routing_and_recording_need_no_extra(tmp_path):
    """A definition is read, a unit routed, an exposure kept, and the log listed, all without the numbers."""
    assert light(CLI, tmp_path, "init", "e").returncode == 0
    done = light(
        "from equipoise import Router, open_log\n"
        "log = open_log('e.db')\n"
        "with Router('e/experiment.yaml', log=log) as router:\n"
        "    print(router.assign('conversation-1').expose(wait=True), log.head())",
        tmp_path,
    )
    assert (done.stdout, done.stderr) == ("True 1\n", "")
    listed = light(CLI, tmp_path, "list", "--log", "e.db")
    assert listed.stdout == "no experiment is registered in this log\n"
    assert light(CLI, tmp_path, "schema").returncode == 0


@pytest.mark.parametrize(
    "command", [["plan", "e/experiment.yaml"], ["size", "proportion", "--baseline", ".6", "--mde", ".05"]]
)
def test_a_command_that_misses_its_extra_prints_the_line_that_installs_it(tmp_path, command):
    """Nothing but the sentence, and the exit code of a usage error."""
    light(CLI, tmp_path, "init", "e")
    done = light(CLI, tmp_path, *command)
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr == (
        "error: this command needs the 'analysis' extra. Install it: pip install 'equipoise[analysis]'\n"
    )


def test_a_name_of_the_front_door_says_which_extra_it_misses(tmp_path):
    """The error is an ImportError as well, so that a caller who expects one is not surprised."""
    done = light(
        "\ntry:\n    from equipoise import analyze\nexcept ImportError as error:\n    print(error)", tmp_path
    )
    assert done.stdout == (
        "equipoise.analyze needs the 'analysis' extra. Install it: pip install 'equipoise[analysis]'\n"
    )


def test_importing_the_router_pulls_in_nothing_heavy(tmp_path):
    """Not even reading a definition and assigning units touches numbers, servers or clients."""
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            f"import sys; from equipoise import Router; print([name for name in {HEAVY} if name in sys.modules])",
        ],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == "[]\n"


def test_serving_by_a_router_pulls_in_nothing_heavy(tmp_path):
    """Nor do the names of the whole path: a unit is assigned, exposed and tracked, with `wrap` and pins at hand."""
    assert light(CLI, tmp_path, "init", "e").returncode == 0
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            (
                "import sys\n"
                "from equipoise import Router, open_log, open_pins, wrap\n"
                "with Router('e/experiment.yaml', log=open_log('e.db'), secret='a secret for tests only') as router:\n"
                "    unit = router.assign('conversation-1')\n"
                "    unit.expose(wait=True), unit.track('resolved'), unit.token\n"
                f"print([name for name in {HEAVY} if name in sys.modules])"
            ),
        ],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == "[]\n"


def test_wrapping_without_the_client_is_refused_in_a_sentence(tmp_path):
    """Where `openai` is not installed nothing can be its client."""
    assert light(CLI, tmp_path, "init", "e").returncode == 0
    done = light(
        "sys.modules['openai'] = None\n"
        "from equipoise import Router, open_log, wrap\n"
        "with Router('e/experiment.yaml', log=open_log('e.db')) as router:\n"
        "    try:\n        wrap(object(), router)\n    except Exception as error:\n        print(error)",
        tmp_path,
    )
    assert (done.stdout, done.stderr) == (
        (
            "wrap takes a client of the openai package, OpenAI or AsyncOpenAI, and this is a object; "
            "for another client call router.assign, and expose where you serve\n"
        ),
        "",
    )
