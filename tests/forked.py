"""Programs in processes of their own that begin where their imports end: those are made once, and each start is a fork.

Each has its own memory, descriptors, folder, environment and signals; it may be killed like any other. What a start
itself does, such as what it imports, is not seen in this way: tests of that start an interpreter.
"""

from __future__ import annotations

import atexit
import contextlib
import gc
import importlib
import json
import os
import runpy
import select
import signal
import socket
import struct
import subprocess
import sys
import threading
import traceback
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import IO, Any, Self

_PRELOADED = (
    "duckdb",
    "jinja2",
    "pyarrow.parquet",
    "scipy.optimize",
    "scipy.special",
    "equipoise.arena.rehearsing",
    "equipoise.arena.run",
    "equipoise.cli.main",
    "equipoise.conduct.analyze",
    "equipoise.conduct.gate",
    "equipoise.conduct.look",
    "equipoise.conduct.register",
    "equipoise.conduct.rehearse",
    "equipoise.dashboard.serving",
    "equipoise.events.opening",
    "equipoise.events.postgres",
    "equipoise.events.sqlite",
    "equipoise.experiment.reading",
    "equipoise.gateway.serving",
    "equipoise.integrations.outbox",
    "equipoise.monitor.judging",
    "equipoise.monitor.watches",
    "equipoise.monitor.weights",
)
_NUMBER = struct.Struct("<i")
_RUN = "from equipoise.cli.main import run; run()"


class Process:
    """As `subprocess.Popen` with text and three pipes, for `python -c …`, `python -m …` and the program `equipoise`."""

    def __init__(
        self,
        args: Sequence[str | Path],
        *,
        env: Mapping[str, str] | None = None,
        cwd: str | Path | None = None,
    ) -> None:
        self.args = args
        self.returncode: int | None = None
        job = {
            "words": [str(each) for each in args],
            "env": dict(os.environ if env is None else env),
            "cwd": str(cwd or os.getcwd()),
        }
        self._lock = threading.Lock()
        self._end, end = socket.socketpair()
        stdin, given = os.pipe()
        said, stdout = os.pipe()
        complained, stderr = os.pipe()
        try:
            _stable().order(job, [stdin, stdout, stderr, end.fileno()])
        finally:
            for each in (stdin, stdout, stderr):
                os.close(each)
            end.close()
            self.stdin: IO[str] = os.fdopen(given, "w", encoding="utf-8")
            self.stdout: IO[str] = os.fdopen(said, encoding="utf-8")
            self.stderr: IO[str] = os.fdopen(complained, encoding="utf-8")
        self.pid = self._number(None)

    def _number(self, timeout: float | None) -> int:
        self._end.settimeout(timeout)
        answer = self._end.recv(_NUMBER.size)
        if not answer:
            raise RuntimeError("what starts the processes has ended")
        return int(_NUMBER.unpack(answer)[0])

    def wait(self, timeout: float | None = None) -> int:
        """How it ended: the number of a signal is negative."""
        with self._lock:
            if self.returncode is None:
                try:
                    self.returncode = self._number(timeout)
                except (TimeoutError, BlockingIOError):
                    raise subprocess.TimeoutExpired(self.args, timeout or 0.0) from None
                self._end.close()
            return self.returncode

    def poll(self) -> int | None:
        """How it ended, None while it goes on."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            return self.wait(0.0)
        return None

    def send_signal(self, number: int) -> None:
        """Nothing where it has ended."""
        if self.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    def communicate(self, input: str | None = None, timeout: float | None = None) -> tuple[str, str]:
        """What is left of its words, once it has ended."""
        told = ["", ""]

        def read(number: int, pipe: IO[str]) -> None:
            with pipe:
                told[number] = pipe.read()

        readers = [
            threading.Thread(target=read, args=each, daemon=True)
            for each in enumerate((self.stdout, self.stderr))
        ]
        for each in readers:
            each.start()
        with contextlib.suppress(BrokenPipeError):
            if input:
                self.stdin.write(input)
            self.stdin.close()
        for each in readers:
            each.join(timeout)
            if each.is_alive():
                raise subprocess.TimeoutExpired(self.args, timeout or 0.0)
        self.wait(timeout)
        return told[0], told[1]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for each in (self.stdin, self.stdout, self.stderr):
            with contextlib.suppress(BrokenPipeError):
                each.close()
        self.wait()


def run(
    args: Sequence[str | Path],
    *,
    input: str | None = None,
    timeout: float | None = None,
    env: Mapping[str, str] | None = None,
    cwd: str | Path | None = None,
) -> subprocess.CompletedProcess[str]:
    """As `subprocess.run` with text and `capture_output`."""
    with Process(args, env=env, cwd=cwd) as process:
        try:
            stdout, stderr = process.communicate(input, timeout)
        finally:
            process.kill()
    assert process.returncode is not None
    return subprocess.CompletedProcess(args, process.returncode, stdout, stderr)


class _Stable:
    """The process that has imported everything and starts what it is told to; it ends with its owner."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._control, theirs = socket.socketpair()
        # One thread: only such a process may be forked without a thought.
        env = dict(os.environ) | {"OPENBLAS_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(sys.path)}
        self._process = subprocess.Popen(
            [sys.executable, __file__, str(theirs.fileno())],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, pass_fds=[theirs.fileno()], env=env, start_new_session=True,
        )  # fmt: skip
        theirs.close()

    def order(self, job: dict[str, Any], descriptors: list[int]) -> None:
        with self._lock:
            said = json.dumps(job).encode() + b"\n"
            sent = socket.send_fds(self._control, [said], descriptors)
            self._control.sendall(said[sent:])

    def end(self) -> None:
        self._control.close()
        self._process.wait()


_started: list[_Stable] = []
_starting = threading.Lock()


def _stable() -> _Stable:
    with _starting:
        if not _started:
            _started.append(_Stable())
            atexit.register(_started[0].end)
        return _started[0]


def _serve(control: socket.socket) -> dict[str, Any]:
    """Forks for each order; returns in the new process alone, with its order."""
    heard, rung = os.pipe()
    os.set_blocking(rung, False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(rung)
    ends: dict[int, int] = {}
    while True:
        ready, _, _ = select.select([control, heard], [], [])
        if heard in ready:
            os.read(heard, 4096)
            while ends:
                pid, status = os.waitpid(-1, os.WNOHANG)
                if not pid:
                    break
                end = ends.pop(pid)
                with contextlib.suppress(BrokenPipeError):
                    os.write(end, _NUMBER.pack(os.waitstatus_to_exitcode(status)))
                os.close(end)
        if control in ready:
            said, descriptors, _, _ = socket.recv_fds(control, 2**16, 4)
            if not said:
                for pid in ends:
                    os.kill(pid, signal.SIGKILL)
                os._exit(0)
            while not said.endswith(b"\n"):
                said += control.recv(2**16)
            pid = os.fork()
            if not pid:
                signal.set_wakeup_fd(-1)
                signal.signal(signal.SIGCHLD, signal.SIG_DFL)
                for number in range(3):
                    os.dup2(descriptors[number], number)
                for each in (*descriptors, *ends.values(), heard, rung):
                    os.close(each)
                control.close()
                return dict(json.loads(said))
            ends[pid] = descriptors.pop()
            os.write(ends[pid], _NUMBER.pack(pid))
            for each in descriptors:
                os.close(each)


def _become(job: dict[str, Any]) -> None:
    """The program, to its end."""
    os.chdir(job["cwd"])
    os.environ.clear()
    os.environ.update(job["env"])
    program, *words = job["words"]
    script = _RUN
    if program == sys.executable:
        how, what, *words = words
        if how == "-m":
            sys.argv = [what, *words]
            runpy.run_module(what, run_name="__main__", alter_sys=True)
            return
        program, script = how, what
    sys.argv = [program, *words]
    main = ModuleType("__main__")
    sys.modules["__main__"] = main
    exec(compile(script, "<string>", "exec"), vars(main))


def _end(program: Callable[[dict[str, Any]], None], job: dict[str, Any]) -> None:
    """Run it and end as an interpreter does, but for the taking down of every module: the system does that at once."""
    code: Any = 0
    try:
        program(job)
    except SystemExit as leaving:
        code = leaving.code
        if not isinstance(code, int | None):
            print(code, file=sys.stderr)
            code = 1
    except KeyboardInterrupt:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        os.kill(os.getpid(), signal.SIGINT)
    except BaseException:
        traceback.print_exc()
        code = 1
    threading._shutdown()  # type: ignore[attr-defined]
    atexit._run_exitfuncs()
    for each in (sys.stdout, sys.stderr):
        each.flush()
    os._exit(code or 0)


if __name__ == "__main__":
    for _each in _PRELOADED:
        importlib.import_module(_each)
    gc.collect()
    gc.freeze()
    sys.path[0] = ""
    _end(_become, _serve(socket.socket(fileno=int(sys.argv[1]))))
