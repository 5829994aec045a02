"""Code that must pass its tests: run in a process of its own, with limits and without a network.

A guard against accidents (endless loops, full memory, stray requests), not a jail for hostile code: run the
arena in a container where the model's code is not to be trusted.
"""

from __future__ import annotations

import asyncio
import re
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from equipoise.experiment.evaluators import Declared, Kind
from equipoise.experiment.variant import thaw
from equipoise.scoring.evaluating import Score, Subject, errored, fails, graded, passes, unscored
from equipoise.scoring.judging import identity

__all__ = ["CodeTests", "code_of"]

_FENCE = re.compile(r"```[A-Za-z0-9_+-]*[ \t]*\n(.*?)(?:\n[ \t]*```|\Z)", re.DOTALL)
_TIMEOUT_S = 10.0
_MEMORY_MB = 512.0
_AT_ONCE = 4
_LONGEST = 200

_INSIDE = """\
import ctypes, resource, socket, sys
seconds, bytes_ = int(sys.argv[1]), int(sys.argv[2])
resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds + 1))
resource.setrlimit(resource.RLIMIT_AS, (bytes_, bytes_))
resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, 1 << 20))
resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
# A network namespace of its own has no way out; as an ordinary user that takes a user namespace, too.
libc = ctypes.CDLL(None, use_errno=True)
NEWUSER, NEWNET = 0x10000000, 0x40000000
if libc.unshare(NEWNET) != 0:
    libc.unshare(NEWUSER | NEWNET)

def refuse(*_, **__):
    raise OSError("there is no network here")

socket.socket.connect = socket.socket.connect_ex = socket.socket.sendto = refuse
socket.create_connection = socket.getaddrinfo = refuse
del ctypes, resource, socket, libc
with open("answer.py", encoding="utf-8") as file:
    code = compile(file.read(), "answer.py", "exec")
space = {"__name__": "answer"}
exec(code, space)
with open("tests.py", encoding="utf-8") as file:
    tests = compile(file.read(), "tests.py", "exec")
exec(tests, space)
for name, test in list(space.items()):
    if name.startswith("test_") and callable(test):
        test()
"""


def code_of(answer: str) -> str:
    r"""The last code block of an answer, or the whole of it where there is none.

    >>> code_of("Sure:\n```python\nx = 1\n```\nDone.")
    'x = 1'
    """
    blocks = _FENCE.findall(answer)
    return blocks[-1] if blocks else answer


@dataclass(frozen=True, slots=True)
class CodeTests:
    """An evaluator that runs an answer's code and then its tests; it passes where neither raises.

    The tests are the case's reference, or the declaration's `tests`: plain assertions, or functions named
    `test_…`. Limits: `timeout_s` of wall time (10), `memory_mb` of address space (512), 1 MiB a file.
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
    def digest(self) -> str:
        """SHA-256 of the declaration and of what is run around the code."""
        return identity(
            {
                "rule": "code_tests",
                "argument": thaw(self.declared.argument),
                "revision": self.declared.revision,
                "negated": self.declared.negated,
                "inside": _INSIDE,
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
        if not tests:
            return unscored("the case has no tests; write them as its reference")
        timeout_s = float(settings.get("timeout_s", _TIMEOUT_S))
        memory_mb = float(settings.get("memory_mb", _MEMORY_MB))
        async with _turns():
            with tempfile.TemporaryDirectory(prefix="equipoise-code-") as folder:
                place = Path(folder)
                (place / "answer.py").write_text(code_of(subject.answer), "utf-8", "surrogatepass")
                (place / "tests.py").write_text(str(tests), "utf-8", "surrogatepass")
                return await _tried(place, timeout_s, memory_mb)


async def _tried(place: Path, timeout_s: float, memory_mb: float) -> Score:
    limits = str(int(timeout_s) + 1), str(int(memory_mb * 1024 * 1024))
    try:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-I",
            "-c",
            _INSIDE,
            *limits,
            cwd=place,
            env={"PATH": "/usr/bin:/bin", "HOME": str(place), "TMPDIR": str(place)},
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.PIPE,
            start_new_session=True,
        )
    except OSError as error:
        return errored(f"the code could not be run: {error.strerror}")
    try:
        _, said = await asyncio.wait_for(process.communicate(), timeout_s)
    except TimeoutError:
        return fails(f"the code ran longer than {timeout_s:g} s")
    finally:
        _end(process)
    if process.returncode == 0:
        return passes()
    last = said.decode("utf-8", "replace").strip().rsplit("\n", 1)[-1][:_LONGEST]
    if "MemoryError" in last:
        return fails(f"the code took more than {memory_mb:g} MB")
    return fails(last or f"the code ended with status {process.returncode}")


def _end(process: asyncio.subprocess.Process) -> None:
    """End the process and whatever it started."""
    import os
    import signal

    try:
        os.killpg(process.pid, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):
        return


_gates: dict[int, asyncio.Semaphore] = {}


def _turns() -> asyncio.Semaphore:
    """A few processes at once, whatever the run's concurrency; one gate for each event loop."""
    loop = id(asyncio.get_running_loop())
    if loop not in _gates:
        _gates.clear()
        _gates[loop] = asyncio.Semaphore(_AT_ONCE)
    return _gates[loop]
