"""`equipoise serve` as a process of its own, for the tests."""

from __future__ import annotations

import json
import os
import sys
from contextlib import contextmanager
from pathlib import Path

import forked
import openai
from gateways import definition

from equipoise.conduct.register import register
from equipoise.events.opening import open_log
from equipoise.experiment.reading import read_canonical

COMMAND = (sys.executable, "-c", "from equipoise.cli.main import run; run()", "serve")
ASK = {"model": "experiment/bot", "messages": [{"role": "user", "content": "Where is it?"}]}
QUIET = {key: value for key, value in os.environ.items() if not key.startswith(("EQUIPOISE", "OPENAI"))}


@contextmanager
def serving(folder: Path, *more: str, log: str | None = None):
    """A process that serves; gives it and its base URL."""
    # Without a dashboard, which has tests of its own: several of these run at once, and it has one port.
    place = (
        "--log",
        log or str(folder / "log.db"),
        "--state",
        str(folder / "state"),
        "--json",
        "--no-dashboard",
    )
    with forked.Process((*COMMAND, "--port", "0", *place, *more), env=QUIET) as process:  # fmt: skip
        try:
            line = process.stdout.readline()
            assert line, process.stderr.read()
            yield process, json.loads(line)["base_url"]
        finally:
            process.kill()


def registered(folder: Path, port: int, **more) -> None:
    log = open_log(folder / "log.db")
    register(log, read_canonical(definition(port, **more)), by="test", reason="a test")
    log.close()


def client(url: str) -> openai.OpenAI:
    return openai.OpenAI(base_url=url, api_key="none", max_retries=0, timeout=30)
