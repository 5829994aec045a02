"""Who is measured: what stands between the load and the upstream, how it is started, and how the two are run.

A contender is a command and a port. To add one, write a function like `nginx` below and put it into the tuple that
is handed to `rig`; where it cannot run on this machine it says why and is left out.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from urllib.request import urlopen

from online import nginx as plain
from online.cpu import cpu_s, memory_mib, peak_mib, pinned

__all__ = ["Contender", "Make", "Rig", "Running", "free_port", "missing", "nginx", "passthrough", "rig"]

HERE = Path(__file__).parent
CONTENDER_CORE = 0
LOAD_CORE = 1
PATIENCE_S = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Contender:
    """What is asked instead of the upstream: `argv` serves at 127.0.0.1:`port` until it is told to stop.

    It is ready once `GET ready` is answered with 200. `model` and `units` are what the load asks it: a model, and
    the same few conversations again and again ("known") or one that is new in each request ("new"). One
    that `shadows` asks the upstream more often than it is asked.
    """

    name: str
    argv: tuple[str, ...]
    port: int
    ready: str = "/v1/models"
    environment: Mapping[str, str] = field(default_factory=dict)
    model: str = "bench-model"
    units: str = "known"
    shadows: bool = False


Make = Callable[[Path, int], Contender | str]
"""From a folder of its own and the port of the upstream to a contender, or to why there is none."""


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def missing() -> str | None:
    """Why nothing can be measured here; None where it can."""
    wanting = [name for name in ("uvloop", "httptools", "orjson") if find_spec(name) is None]
    if wanting:
        return f"load and upstream need {' and '.join(wanting)}, which must be installed first"
    if not sys.platform.startswith("linux"):
        return "CPU seconds are read from /proc, which only Linux has"
    return None


def nginx(folder: Path, upstream: int) -> Contender | str:
    if plain.PROGRAM is None:
        return "it is not installed"
    port = free_port()
    return Contender(name="nginx", argv=plain.write(folder, port, upstream), port=port)


def passthrough(_folder: Path, upstream: int) -> Contender | str:
    wanting = [name for name in ("uvicorn", "aiohttp") if find_spec(name) is None]
    if wanting:
        return f"it needs {' and '.join(wanting)}, which must be installed first"
    port = free_port()
    server = ("-m", "uvicorn", "--app-dir", str(HERE.parent), "online.passthrough:app", "--port", str(port))
    kind = ("--loop", "uvloop", "--http", "httptools", "--log-level", "warning", "--no-access-log")
    return Contender(
        name="ASGI pass-through",
        argv=(sys.executable, *server, *kind),
        port=port,
        environment={"UPSTREAM": f"http://127.0.0.1:{upstream}"},
    )


@dataclass(frozen=True, slots=True)
class Running:
    """A contender that serves; without a process it is the upstream itself, asked directly."""

    contender: Contender
    process: subprocess.Popen[str] | None = None
    log: Path | None = None

    @property
    def name(self) -> str:
        return self.contender.name

    def said(self) -> str:
        """The end of what it has written, for the message of an error."""
        end = self.log.read_text(encoding="utf-8", errors="replace")[-2000:].strip() if self.log else ""
        return f"It said: {end}" if end else "It said nothing."

    def cpu_s(self) -> float:
        assert self.process is not None
        return cpu_s(self.process.pid)

    def memory_mib(self) -> float:
        assert self.process is not None
        return memory_mib(self.process.pid)

    def peak_mib(self) -> float:
        assert self.process is not None
        return peak_mib(self.process.pid)


@dataclass(frozen=True, slots=True)
class Rig:
    """An upstream, the way straight to it, and the contenders before it; `absent` says why others are not there."""

    upstream: int
    direct: Running
    contenders: tuple[Running, ...]
    absent: Mapping[str, str]

    def served(self) -> dict[str, int]:
        """What the upstream has served so far."""
        with urlopen(f"http://127.0.0.1:{self.upstream}/count", timeout=PATIENCE_S) as reply:
            return dict(json.loads(reply.read()))

    def load(self, at: Running, *more: str) -> dict[str, float]:
        """What a load generator saw there; every request must be answered in full, and reach the upstream once."""
        asked = at.contender
        argv = (sys.executable, str(HERE / "load.py"), "--port", str(asked.port))
        say = ("--model", asked.model, "--units", asked.units)
        before = self.served()
        done = subprocess.run(
            pinned((*argv, *say, *more), LOAD_CORE), check=False, capture_output=True, text=True
        )
        if done.returncode:
            raise RuntimeError(f"{at.name}: {done.stderr.strip()[-2000:]} {at.said()}")
        seen = dict(json.loads(done.stdout))
        after = self.served()
        reached = after["requests"] - before["requests"]
        if seen["failed"] or reached < seen["requests"] or (reached > seen["requests"] and not asked.shadows):
            raise RuntimeError(
                f"{at.name}: {seen['requests']:.0f} requests were answered in full and {seen['failed']:.0f} were not, "
                f"while {reached} reached the upstream. A figure of that would say nothing. {at.said()}"
            )
        return seen | {"chunks": after["chunks"] - before["chunks"]}


@contextmanager
def rig(makes: Sequence[Make], *, first_ms: float = 0, gap_ms: float = 0, chunks: int = 400) -> Iterator[Rig]:
    """Upstream and contenders while the context lasts: contenders on core 0, the upstream (and load) on core 1."""
    said = ("--first-ms", str(first_ms), "--gap-ms", str(gap_ms), "--chunks", str(chunks))
    with ExitStack() as stack:
        process = stack.enter_context(
            _started(pinned((sys.executable, str(HERE / "upstream.py"), *said), LOAD_CORE), {}, None)
        )
        assert process.stdout is not None
        upstream = int(json.loads(process.stdout.readline())["port"])
        running, absent = [], {}
        for make in makes:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-")))
            made = make(folder, upstream)
            if isinstance(made, str):
                absent[make.__name__] = made
                continue
            log = folder / "said.txt"
            process = stack.enter_context(_started(pinned(made.argv, CONTENDER_CORE), made.environment, log))
            one = Running(made, process, log)
            _wait(one)
            running.append(one)
        direct = Running(Contender(name="direct", argv=(), port=upstream))
        yield Rig(upstream, direct, tuple(running), absent)


@contextmanager
def _started(
    argv: tuple[str, ...], environment: Mapping[str, str], log: Path | None
) -> Iterator[subprocess.Popen[str]]:
    with open(log or os.devnull, "w", encoding="utf-8") as errors:
        process = subprocess.Popen(
            argv,
            env=os.environ | environment,
            stdout=subprocess.PIPE if log is None else errors,
            stderr=None if log is None else errors,
            text=True,
        )
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(PATIENCE_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        if process.stdout is not None:
            process.stdout.close()


def _wait(one: Running) -> None:
    assert one.process is not None
    asked = f"http://127.0.0.1:{one.contender.port}{one.contender.ready}"
    until = time.monotonic() + PATIENCE_S
    while time.monotonic() < until and one.process.poll() is None:
        try:
            with urlopen(asked, timeout=1):
                return
        except OSError:
            time.sleep(0.05)
    raise RuntimeError(f"{one.name} did not answer GET {one.contender.ready}. {one.said()}")
