"""What runs inside the process of `code_tests`: limits, no network, the answer's code, then its tests.

Run as a file of its own by `python -I`, so it imports nothing of Equipoise. It reports two lines on standard
output: how the network was taken away, and the outcome. What the code itself prints is thrown away.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import traceback
from collections.abc import Coroutine, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any, NoReturn

_NEWIPC, _NEWUSER, _NEWPID, _NEWNET = 0x08000000, 0x10000000, 0x20000000, 0x40000000
_PARENT_DEATH_SIGNAL = 1
_PROCESSES = 128
_FILE_BYTES = 1 << 20
_LONGEST = 200


def main(seconds: int, memory_bytes: int, entry: str) -> NoReturn:
    """Run `answer.py` and `tests.py` of the working folder in a child, and report how that ended."""
    with os.fdopen(os.dup(1), "w", encoding="utf-8", errors="replace") as report:
        nothing = os.open(os.devnull, os.O_RDWR)
        os.dup2(nothing, 1)
        os.dup2(nothing, 2)
        processes = _tasks() + _PROCESSES
        _say(report, _isolate())
        # Only a child is inside a new process namespace; when it ends, the kernel ends all it started.
        child = os.fork()
        if child == 0:
            _die_with_parent()
            _limit(seconds, memory_bytes, processes)
            _refuse_sockets()
            itself = os.getpid()
            outcome = _outcome(entry)
            # A copy that the code made of itself has no say.
            if os.getpid() == itself:
                _say(report, outcome)
            os._exit(0)
        _, status = os.waitpid(child, 0)
        # Read only where the child could not say how it ended.
        _say(report, f"ended {os.waitstatus_to_exitcode(status)}")
    os._exit(0)


def _say(report: Any, line: str) -> None:
    report.write(" ".join(line.split())[:_LONGEST] + "\n")
    report.flush()


def _tasks() -> int:
    """How many processes and threads this user has: the kernel's limit counts them, too."""
    count = 0
    for entry in os.scandir("/proc") if os.path.isdir("/proc/self/task") else ():
        try:
            if entry.name.isdigit() and entry.stat().st_uid == os.getuid():
                count += len(os.listdir(f"{entry.path}/task"))
        except OSError:  # it ended meanwhile
            continue
    return count


def _isolate() -> str:
    """Leave the network behind, and where the kernel lets us, every other process as well."""
    _die_with_parent()
    unshare = getattr(ctypes.CDLL(None), "unshare", None)
    # An ordinary user may do this in a user namespace only; some kernels and containers forbid even that.
    for flags in (_NEWNET | _NEWPID | _NEWIPC, _NEWUSER | _NEWNET | _NEWPID | _NEWIPC, _NEWUSER | _NEWNET):
        if unshare is not None and unshare(flags) == 0:
            return "network namespace"
    return "sockets refused"


def _die_with_parent() -> None:
    prctl = getattr(ctypes.CDLL(None), "prctl", None)
    if prctl is not None:
        prctl(_PARENT_DEATH_SIGNAL, signal.SIGKILL)


def _limit(seconds: int, memory_bytes: int, processes: int) -> None:
    import resource

    for which, most in (
        (resource.RLIMIT_CPU, seconds),
        (resource.RLIMIT_AS, memory_bytes),
        (resource.RLIMIT_FSIZE, _FILE_BYTES),
        (resource.RLIMIT_NPROC, processes),
        (resource.RLIMIT_CORE, 0),
    ):
        hard = resource.getrlimit(which)[1]
        bound = most if hard == resource.RLIM_INFINITY else min(most, hard)
        try:
            resource.setrlimit(which, (bound, bound))
        except (OSError, ValueError):  # a system that has no such limit
            continue


def _refuse_sockets() -> None:
    """Python's own sockets say no, which also covers sockets of this machine that are files."""
    import socket

    def refuse(*_: Any, **__: Any) -> NoReturn:
        raise OSError("there is no network here")

    for name in ("connect", "connect_ex", "sendto", "sendmsg"):
        setattr(socket.socket, name, refuse)
    for name in ("create_connection", "getaddrinfo", "gethostbyname", "gethostbyaddr"):
        setattr(socket, name, refuse)


def _outcome(entry: str) -> str:
    try:
        tests = compile(Path("tests.py").read_text("utf-8"), "tests.py", "exec")
    except (SyntaxError, ValueError) as error:
        return f"faulty the tests are not Python: {_last_line(error)}"
    # A module that can be imported: dataclasses look theirs up, and tests may say `from answer import …`.
    module = ModuleType("answer")
    sys.modules["answer"] = module
    space = module.__dict__
    try:
        code = compile(Path("answer.py").read_text("utf-8"), "answer.py", "exec")
        exec(code, space)  # noqa: S102 - running it is what was asked for
        before = dict(space)
        exec(tests, space)  # noqa: S102
        check = space.get("check") if space.get("check") is not before.get("check") else None
        if bool(entry) is not callable(check):
            return (
                f"faulty the tests define no function 'check' to call with '{entry}'"
                if entry
                else "faulty the tests define 'check' and nothing calls it; name what it checks: {entry: FUNCTION}"
            )
        if callable(check):
            check(space[entry])
        for test in _tests(before, space):
            test()
    except MemoryError:
        return "memory"
    except KeyError as error:
        missing = entry and error.args == (entry,) and entry not in space
        return f"failed the code defines no '{entry}'" if missing else f"failed {_last_line(error)}"
    except SystemExit:
        return "failed the code ended the process before its tests were through"
    except BaseException as error:  # noqa: BLE001 - whatever it raises, it did not pass
        return f"failed {_last_line(error)}"
    return "passed"


def _tests(before: dict[str, Any], space: dict[str, Any]) -> Iterator[Any]:
    """What the tests define and somebody must call: functions named `test_…`, and cases of unittest."""
    unittest = sys.modules.get("unittest")
    for name, found in list(space.items()):
        if before.get(name) is found:
            continue
        if unittest and isinstance(found, type) and issubclass(found, unittest.TestCase):
            for case in unittest.defaultTestLoader.loadTestsFromTestCase(found):
                # `debug` raises what fails, and does not collect it.
                yield case.debug
        elif name.startswith("test_") and callable(found):
            yield lambda found=found: _called(found)


def _called(test: Any) -> None:
    result = test()
    if isinstance(result, Coroutine):
        import asyncio

        asyncio.run(result)


def _last_line(error: BaseException) -> str:
    """The last line of the traceback, and the place in the answer or the tests that it comes from."""
    said = traceback.format_exception_only(error)[-1].strip()
    if isinstance(error, SyntaxError):
        return f"{said} ({error.filename}, line {error.lineno})"
    frames = traceback.extract_tb(error.__traceback__)
    places = [frame for frame in frames if frame.filename in ("answer.py", "tests.py")]
    room = _LONGEST - 40
    return f"{said[:room]} ({places[-1].filename}, line {places[-1].lineno})" if places else said


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3])
