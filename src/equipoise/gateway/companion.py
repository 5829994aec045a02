"""A process beside the one that serves: started again when it dies, ended with it, and never in its way."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import orjson

__all__ = ["companion", "told_by"]

_BEHIND_S = 1.0
"""Whoever serves starts first."""
_PAUSE_S = 10.0
_PATIENCE_S = 10.0
_REFUSED = 2


@contextmanager
def companion(command: Sequence[str], what: str, *, pause_s: float = _PAUSE_S) -> Iterator[threading.Event]:
    """Run a command in a process of its own for as long as the block runs; gives what is set where it runs no more.

    It dies alone: it is started again ten seconds later, or `pause_s`, and not at all where it refused (2), which it has
    said why. At the end it is told to stop (SIGTERM), and killed if that takes longer than ten seconds.
    """
    ending, over = threading.Event(), threading.Event()
    running: list[subprocess.Popen[bytes]] = []
    lock = threading.Lock()

    def look_after() -> None:
        if ending.wait(_BEHIND_S):
            return
        while True:
            with lock:
                if ending.is_set():
                    return
                try:
                    # A group of its own: Ctrl-C is for the one who serves, who tells this one.
                    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, process_group=0)  # noqa: S603 - our own command line  # fmt: skip
                except OSError as error:
                    print(f"{what} could not be started: {error.strerror or error}", file=sys.stderr)
                    return
                running[:] = [process]
            code = process.wait()
            if ending.is_set() or code in (0, _REFUSED):
                return
            print(f"{what} died with {code}; starting it again in {pause_s:g} s", file=sys.stderr)
            if ending.wait(pause_s):
                return

    def run() -> None:
        try:
            look_after()
        finally:
            over.set()

    thread = threading.Thread(target=run, name=what, daemon=True)
    thread.start()
    try:
        yield over
    finally:
        ending.set()
        with lock:
            for process in running:
                process.terminate()
        thread.join(_PATIENCE_S)
        for process in running:
            process.kill()


def told_by(file: Path) -> dict[str, Any] | None:
    """What a companion has written down of itself; None where it has said nothing, or nothing that can be read."""
    with suppress(OSError, orjson.JSONDecodeError):
        said = orjson.loads(file.read_bytes())
        return said if isinstance(said, dict) else None
    return None
