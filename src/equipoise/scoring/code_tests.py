"""Code that must pass its tests: run in a process of its own, with limits and without a network.

A guard against accidents (endless loops, full memory, stray requests), not a jail for hostile code: run the
arena in a container where the model's code is not to be trusted.
"""

from __future__ import annotations

import asyncio
import os
import re
import signal
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from weakref import WeakKeyDictionary

from equipoise.experiment.evaluators import Declared, Kind
from equipoise.experiment.variant import thaw
from equipoise.scoring.evaluating import Score, Subject, errored, fails, graded, passes, unscored
from equipoise.scoring.judging import identity

__all__ = ["CodeTests", "code_of"]

_FENCE = re.compile(r"^[ \t]*```[ \t]*([A-Za-z0-9_+-]*)[^\n`]*$", re.MULTILINE)
_PYTHON = ("python", "python3", "py")
_TIMEOUT_S = 10.0
_MEMORY_MB = 512.0
_LONGEST_REPORT = 4096
_INSIDE = Path(__file__).with_name("code_process.py")


def code_of(answer: str) -> str:
    r"""The last block of Python in an answer, else its last code block, else the whole of it.

    A block that is never closed goes to the end. Linear in the length of the answer.

    >>> code_of("Sure:\n```python\nx = 1\n```\nIt prints:\n```\n1\n```")
    'x = 1'
    >>> code_of("x = 1")
    'x = 1'
    """
    blocks: list[tuple[str, str]] = []
    opened: re.Match[str] | None = None
    for fence in _FENCE.finditer(answer):
        if opened is None:
            opened = fence
        else:
            blocks.append((opened[1].lower(), answer[opened.end() + 1 : fence.start()].removesuffix("\n")))
            opened = None
    if opened is not None:
        blocks.append((opened[1].lower(), answer[opened.end() + 1 :]))
    python = [code for language, code in blocks if language in _PYTHON]
    return (python or [code for _, code in blocks] or [answer])[-1]


@dataclass(frozen=True, slots=True)
class CodeTests:
    """An evaluator that runs an answer's code and then its tests; it passes where neither raises.

    The tests are the case's reference, or the declaration's `tests`: plain assertions, functions named
    `test_…`, cases of unittest, or with `entry` a function `check` that is called with the answer's function
    of that name (as in HumanEval). Limits: `timeout_s` of wall time (10) and about as much of CPU time,
    `memory_mb` of address space (512), 1 MiB a file, 128 processes and threads (which the kernel does not
    hold root to); an empty environment and a folder that is removed afterwards.

    The score's label says how the network was taken away: `network namespace` where the kernel allows one
    (then nothing that the code started outlives it either), else `sockets refused`, which binds Python's own
    sockets only, and not programs that the code starts.

    Tests that cannot be run are an error and no failure. Runs only by `score`: it takes tens of milliseconds.

    Source of the form with `entry`: Chen et al. (2021), "Evaluating Large Language Models Trained on Code".

    >>> evaluator = CodeTests(Declared(name="right", rule="code_tests"))
    >>> subject = Subject(answer="def twice(x): return x + x", reference="assert twice(2) == 5")
    >>> asyncio.run(evaluator.score(subject))["right"].explanation
    'AssertionError (tests.py, line 1)'
    """

    declared: Declared

    @property
    def name(self) -> str:
        return self.declared.name

    @property
    def kind(self) -> Kind:
        return "rule"

    @property
    def revision(self) -> int:
        return self.declared.revision

    @property
    def inline(self) -> bool:
        """Never: there is no `check`."""
        return False

    @property
    def digest(self) -> str:
        """SHA-256 of the declaration and of what is run around the code."""
        return identity(
            {
                "rule": "code_tests",
                "argument": thaw(self.declared.argument),
                "revision": self.declared.revision,
                "negated": self.declared.negated,
                "content": _inside(),
            }
        )

    @property
    def measures(self) -> tuple[str, ...]:
        return (self.declared.name,)

    async def score(self, subject: Subject) -> Mapping[str, Score]:
        return {self.declared.name: graded(await self._run(subject), self.declared)}

    async def _run(self, subject: Subject) -> Score:
        argument = self.declared.argument
        settings = argument if isinstance(argument, Mapping) else {}
        tests = settings.get("tests", {"from": "reference"})
        tests = subject.reference if isinstance(tests, Mapping) else tests
        if not tests or not tests.strip():
            return unscored("the case has no tests; write them as its reference")
        timeout_s = float(settings.get("timeout_s", _TIMEOUT_S))
        memory_mb = float(settings.get("memory_mb", _MEMORY_MB))
        async with _turns():
            # What the code started may still write there while it is being removed.
            with tempfile.TemporaryDirectory(prefix="equipoise-code-", ignore_cleanup_errors=True) as folder:
                place = Path(folder)
                _write(place / "answer.py", code_of(subject.answer))
                _write(place / "tests.py", tests)
                return await _tried(place, timeout_s, memory_mb, settings.get("entry", ""))


@cache
def _inside() -> str:
    return _INSIDE.read_text("utf-8")


def _write(path: Path, code: str) -> None:
    path.write_text(code, "utf-8", "replace", newline="")


async def _tried(place: Path, timeout_s: float, memory_mb: float, entry: str) -> Score:
    try:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-I",
            str(_INSIDE),
            str(int(timeout_s) + 1),
            str(int(memory_mb * 1024 * 1024)),
            entry,
            cwd=place,
            env={"PATH": "/usr/bin:/bin", "HOME": str(place), "TMPDIR": str(place)},
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
            start_new_session=True,
        )
    except OSError as error:
        return errored(f"the code could not be run: {error.strerror}")
    assert process.stdout is not None
    try:
        isolation, outcome = await asyncio.wait_for(_report(process.stdout), timeout_s)
    except TimeoutError:
        return fails(f"the code ran longer than {timeout_s:g} s")
    finally:
        _end(process)
        await process.wait()
    if not isolation:
        return errored("the process for the code did not start; `code_tests` needs Linux or macOS")
    return replace(_read(outcome, memory_mb), label=isolation)


async def _report(stream: asyncio.StreamReader) -> tuple[str, str]:
    """The two lines of the process; empty ones where it said nothing."""
    said = b""
    while said.count(b"\n") < 2 and len(said) < _LONGEST_REPORT and (more := await stream.read(1024)):
        said += more
    isolation, outcome, *_ = [*said.decode("utf-8", "replace").split("\n"), "", ""]
    return isolation, outcome


def _read(outcome: str, memory_mb: float) -> Score:
    kind, _, said = outcome.partition(" ")
    match kind:
        case "passed":
            return passes()
        case "failed":
            return fails(said)
        case "memory":
            return fails(f"the code took more than {memory_mb:g} MB")
        case "faulty":
            return errored(said)
    if said == str(-signal.SIGKILL):
        return fails("the code was killed: it took too much CPU time, or more memory than this machine has")
    if said == str(-signal.SIGXCPU):
        return fails("the code took too much CPU time")
    return fails("the code ended the process before its tests were through")


def _end(process: asyncio.subprocess.Process) -> None:
    """End the process and whatever it started."""
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):
        return


_gates: WeakKeyDictionary[asyncio.AbstractEventLoop, asyncio.Semaphore] = WeakKeyDictionary()


def _turns() -> asyncio.Semaphore:
    """As many processes at once as there are cores, whatever the run's concurrency: time is limited by the wall."""
    loop = asyncio.get_running_loop()
    if loop not in _gates:
        _gates[loop] = asyncio.Semaphore(os.cpu_count() or 1)
    return _gates[loop]
