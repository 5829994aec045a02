"""`equipoise serve` as a process, and a raw HTTP client for it: for tests that kill, starve and deceive it."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import forked
import httpx2 as httpx
from processes import ASK, COMMAND, QUIET

from equipoise.conduct.register import register
from equipoise.events.opening import open_log
from equipoise.experiment.reading import read_canonical


@dataclass
class Process:
    """A gateway that serves at `url`, which ends in /v1."""

    process: subprocess.Popen[str] | forked.Process
    url: str

    def ask(self, unit: str | None = "c1", body: dict[str, Any] | None = None, **head: str) -> httpx.Response:
        """One completion for a conversation; the answer whatever it is."""
        named = {name.replace("_", "-"): value for name, value in head.items()}
        if unit is not None:
            named["x-conversation-id"] = unit
        return httpx.post(f"{self.url}/chat/completions", json=body or ASK, headers=named, timeout=60)

    def arm(self, unit: str, **head: str) -> str | None:
        """The variant a conversation is served."""
        return self.ask(unit, **head).headers.get("x-equipoise-variant")

    def reason(self, unit: str, **head: str) -> str:
        """Why it is."""
        return self.ask(unit, **head).headers["x-equipoise-reason"]

    def health(self) -> dict[str, Any]:
        found: dict[str, Any] = httpx.get(self.url.removesuffix("/v1") + "/healthz", timeout=60).json()
        return found

    def number(self, name: str) -> float:
        """A number of /metrics without labels."""
        page = httpx.get(self.url.removesuffix("/v1") + "/metrics", timeout=60).text
        return float(next(line.split()[1] for line in page.splitlines() if line.startswith(f"{name} ")))


@contextmanager
def serving(
    folder: Path, *more: str, log: str | None = None, state: str = "state", **env: str
) -> Iterator[Process]:
    """A process that serves from a folder; killed at the end if it still lives."""
    place = (
        "--log",
        log or str(folder / "log.db"),
        "--state",
        str(folder / state),
        "--json",
        "--no-dashboard",
    )
    command, env = (*COMMAND, "--port", "0", *place, *more), QUIET | env
    with (
        # What is loaded before a program is loaded when an interpreter starts.
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=env)
        if "LD_PRELOAD" in env
        else forked.Process(command, env=env)
    ) as process:
        try:
            assert process.stdout is not None
            assert process.stderr is not None
            line = process.stdout.readline()
            assert line, process.stderr.read()
            yield Process(process, json.loads(line)["base_url"])
        finally:
            process.kill()


def registered(log: str | Path, *definitions: dict[str, Any]) -> None:
    """Register definitions in the log at a place."""
    opened = open_log(log)
    for each in definitions:
        register(opened, read_canonical(each), by="test", reason="a test")
    opened.close()


def facts(log: str | Path, *kinds: str) -> list[Any]:
    """What the log at a place holds of these kinds."""
    opened = open_log(log)
    found = [record.fact for record in opened.read_since(0, kinds=kinds)]
    opened.close()
    return found
