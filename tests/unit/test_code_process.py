"""Code of an answer in a process of its own: every outcome, every limit, and nothing left behind."""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

from equipoise.experiment.evaluators import Declared
from equipoise.scoring import code_process
from equipoise.scoring.code_tests import CodeTests, code_of
from equipoise.scoring.evaluating import Subject

INSIDE = Path(code_process.__file__)
ENDED = "the code ended the process before its tests were through"
CHECK = "def check(candidate):\n    assert candidate(2) == 4"
TWICE = "def twice(x):\n    return x + x"


def evaluator(**settings):
    return CodeTests(Declared(name="code", rule="code_tests", argument=settings or True))


def tried(answer, tests, **settings):
    subject = Subject(answer=answer, reference=tests)
    return asyncio.run(evaluator(**settings).score(subject))["code"]


@pytest.mark.parametrize(
    "answer, tests",
    [
        (TWICE, "assert twice(2) == 4"),
        (TWICE, "def test_two():\n    assert twice(2) == 4"),
        (TWICE, "from answer import twice as f\nassert f(2) == 4"),
        (TWICE, "import unittest\nclass T(unittest.TestCase):\n    def test_two(self):\n        self.assertEqual(twice(2), 4)"),
        (TWICE, "async def test_two():\n    assert twice(2) == 4"),
        ("def test_mine(argument): ...", "assert True"),
        ("from __future__ import annotations\nfrom dataclasses import dataclass\n@dataclass\nclass A:\n    x: int", "assert A(1).x == 1"),
        ("import sys\nprint('x' * 10**7)\nsys.stderr.write('x' * 10**7)", "assert True"),
        ("if __name__ == '__main__':\n    1 / 0", "assert True"),
    ],
)  # fmt: skip
def test_code_that_holds_to_its_tests_passes(answer, tests):
    """Assertions, functions, unittest, coroutines; what the code prints or would do as a script is no matter."""
    found = tried(answer, tests)
    assert (found.value, found.passed, found.why_not) == (1.0, True, None), found


@pytest.mark.parametrize(
    "answer, tests, said",
    [
        (TWICE, "assert twice(2) == 5", "AssertionError (tests.py, line 1)"),
        (TWICE, "x = 1\nassert twice(2) == 5, 'not five'", "AssertionError: not five (tests.py, line 2)"),
        (TWICE, "async def test_two():\n    assert twice(2) == 5", "AssertionError (tests.py, line 2)"),
        (TWICE, "import unittest\nclass T(unittest.TestCase):\n    def test_two(self):\n        self.assertEqual(twice(2), 5)", "AssertionError: 4 != 5 (tests.py, line 4)"),
        ("def twice(x):\n    return 1 / 0", "twice(2)", "ZeroDivisionError: division by zero (answer.py, line 2)"),
        ("def twice(x) return x", "assert True", "SyntaxError: expected ':' (answer.py, line 1)"),
        ("def twice(x): return {}[x]", "twice('a b')", "KeyError: 'a b' (answer.py, line 1)"),
        ("import sys\nsys.exit(0)", "assert False", ENDED),
        ("import os\nos._exit(0)", "assert False", ENDED),
        ("import os, signal\nos.kill(os.getpid(), signal.SIGSEGV)\nimport ctypes\nctypes.string_at(0)", "assert False", ENDED),
        ("raise ValueError('line\\nbreak')", "assert True", "ValueError: line break (answer.py, line 1)"),
        ("open('big', 'w').write('x' * (1 << 21))", "assert True", "OSError: [Errno 27] File too large (answer.py, line 1)"),
        ("x = bytearray(1 << 33)", "assert True", "the code took more than 512 MB"),
        ("import os\nassert os.environ.get('EQUIPOISE_SECRET') is None\nassert 'HOME' in os.environ", "assert False", "AssertionError (tests.py, line 1)"),
    ],
)  # fmt: skip
def test_code_that_does_not_fails_with_the_last_line(monkeypatch, answer, tests, said):
    """The last line of the traceback and its place; ending the process early is no way to pass."""
    monkeypatch.setenv("EQUIPOISE_SECRET", "1")
    found = tried(answer, tests)
    assert (found.value, found.passed, found.explanation) == (0.0, False, said)


def test_the_form_of_humaneval_calls_check_with_the_named_function():
    """`entry` names the function; what the answer lacks is a failure, what the tests lack is an error."""
    assert tried(TWICE, CHECK, entry="twice").passed
    assert tried("def twice(x): return x", CHECK, entry="twice").explanation == "AssertionError (tests.py, line 2)"  # fmt: skip
    assert tried("def double(x): return x", CHECK, entry="twice").explanation == "the code defines no 'twice'"
    for found, why in (
        (tried(TWICE, CHECK), "the tests define 'check' and nothing calls it; name what it checks: {entry: FUNCTION}"),
        (tried(TWICE, "assert True", entry="twice"), "the tests define no function 'check' to call with 'twice'"),
        (tried(TWICE, "assert 1 1"), "the tests are not Python: SyntaxError: invalid syntax (tests.py, line 1)"),
    ):  # fmt: skip
        assert (found.value, found.errored, found.why_not) == (None, True, why)


@pytest.mark.parametrize("answer", ["while True: pass", "import time\ntime.sleep(60)"])
def test_code_that_takes_too_long_is_ended(answer):
    """An endless loop and an endless wait fail at the limit of wall time."""
    started = time.perf_counter()
    found = tried(answer, "assert True", timeout_s=0.5)
    assert (found.passed, found.explanation) == (False, "the code ran longer than 0.5 s")
    assert time.perf_counter() - started < 30


def test_nothing_is_left_behind(tmp_path, monkeypatch):
    """No folder, and where the kernel gives namespaces no process either, though it left the session."""
    nap = f"61.{os.getpid()}"
    # A place of its own: other tests run code at the same time.
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    code = (
        f"import subprocess\nsubprocess.Popen(['sleep', '{nap}'], start_new_session=True)\nopen('kept', 'w')"
    )
    found = tried(code, "assert True")
    assert found.passed, found
    assert list(tmp_path.iterdir()) == []
    if found.label == "network namespace":
        shown = subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True, check=True).stdout
        assert f"sleep {nap}" not in shown


@pytest.mark.parametrize(
    "code, kinds",
    [
        ("import urllib.request\nurllib.request.urlopen('http://127.0.0.1:{port}')", ("there is no network here",)),
        ("import socket\nsocket.create_connection(('127.0.0.1', {port}))", ("there is no network here",)),
        ("import _socket\n_socket.socket().connect(('127.0.0.1', {port}))", ("Network is unreachable",)),
    ],
)  # fmt: skip
def test_no_request_gets_out(code, kinds):
    """Not to a server that listens on this very machine; past Python's own sockets the namespace holds."""
    import socket

    with socket.create_server(("127.0.0.1", 0)) as server:
        server.setblocking(False)
        found = tried(code.format(port=server.getsockname()[1]), "assert True")
        if "_socket" in code and found.label != "network namespace":
            pytest.skip("the kernel gives no network namespace here")
        assert found.passed is False
        assert any(kind in found.explanation for kind in kinds), found
        with pytest.raises(BlockingIOError):
            server.accept()


def test_where_the_kernel_gives_no_namespace_sockets_refuse(tmp_path):
    """The weaker guard is there on its own, and the first line says so."""
    if (
        shutil.which("unshare") is None
        or subprocess.run(["unshare", "-r", "true"], capture_output=True).returncode
    ):
        pytest.skip("no user namespaces to try it in")
    (tmp_path / "answer.py").write_text("import socket\nsocket.create_connection(('127.0.0.1', 9))")
    (tmp_path / "tests.py").write_text("assert True")
    forbid = "echo 0 > /proc/sys/user/max_user_namespaces; echo 0 > /proc/sys/user/max_net_namespaces"
    command = f'{forbid}; exec "{sys.executable}" -I "{INSIDE}" 5 536870912 ""'
    done = subprocess.run(
        ["unshare", "-r", "sh", "-c", command], cwd=tmp_path, capture_output=True, text=True
    )
    assert done.stdout.splitlines()[:2] == [
        "sockets refused",
        "failed OSError: there is no network here (answer.py, line 2)",
    ]


def test_many_at_once_and_in_one_loop_after_another():
    """Processes take turns; an evaluator may be used in a second event loop."""
    one = evaluator()

    async def several():
        subjects = [Subject(answer=f"x = {n}", reference="assert x < 6") for n in range(12)]
        return [found["code"].passed for found in await asyncio.gather(*map(one.score, subjects))]

    for _ in range(2):
        assert asyncio.run(several()) == [True] * 6 + [False] * 6


def test_a_cancelled_score_ends_its_process():
    """Who stops a run leaves no loop turning."""
    nap = f"62.{os.getpid()}"

    async def stopped():
        code = f"import subprocess\nsubprocess.run(['sleep', '{nap}'])"
        task = asyncio.create_task(evaluator().score(Subject(answer=code, reference="assert True")))
        for _ in range(200):
            await asyncio.sleep(0.02)
            if f"sleep {nap}" in _processes():
                break
        assert f"sleep {nap}" in _processes()
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await asyncio.sleep(0.1)

    asyncio.run(stopped())
    assert f"sleep {nap}" not in _processes()


def _processes():
    return subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True, check=True).stdout


@pytest.mark.parametrize(
    "answer, code",
    [
        ("x = 1", "x = 1"),
        ("A:\n```python\nx = 1\n```\nB:\n```py\nx = 2\n```", "x = 2"),
        ("```python\nx = 1\n```\nIt prints\n```\n1\n```\n", "x = 1"),
        ("```\nx = 1\n```\n```\nx = 2\n```", "x = 2"),
        ("```python\n```\nand\n```python\nx = 3\n```", "x = 3"),
        ("```python\r\nx = 1\r\n```\r\n", "x = 1\r"),
        ("1. Do:\n   ```Python3\n   x = 1\n   ```", "   x = 1"),
        ("```python\nx = 1\nno end", "x = 1\nno end"),
        ("say ```x``` inline", "say ```x``` inline"),
        ("```python\ns = '''a\n```js\n'''\n```", "s = '''a"),
    ],
)
def test_the_code_of_an_answer_is_its_last_block_of_python(answer, code):
    """Marked blocks before unmarked ones, the last before the first, the whole where there is none."""
    assert code_of(answer) == code


def test_the_digest_covers_what_is_run_around_the_code():
    """Settings tell; the name does not."""
    digests = {evaluator(timeout_s=n).digest for n in (1, 2)} | {evaluator().digest}
    assert len(digests) == 3
    assert CodeTests(Declared(name="other", rule="code_tests")).digest == evaluator().digest
